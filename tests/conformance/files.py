"""Vector files as read: JSON with its numbers kept, and the events as they would be sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

Json = Mapping[str, Any]
Literals = Mapping[str, msgspec.Raw]
"""Fields of an object with their JSON literals, so that 1.0 stays `1.0`."""


VECTORS = Path(__file__).parent / "vectors"
"""The vectors that stand in this repository."""

OWN = Path(__file__).parent / "own"
"""Corners that those leave out, worked out by hand from the rules."""


class InvalidVectors(ValueError):
    """A file that holds no list of vectors; the message names it."""


class Vector(NamedTuple):
    """One vector: as parsed, and its events as literals."""

    json: Json
    events: tuple[Literals, ...]

    @property
    def id(self) -> str:
        """Its id; `?` when it has none."""
        return str(self.json.get("id", "?"))


class _Events(msgspec.Struct):
    events: tuple[dict[str, msgspec.Raw], ...] | None = None


def read_vectors(path: Path) -> list[Vector]:
    """The vectors of a file, in order. Raises `InvalidVectors`, or OSError."""
    content = path.read_bytes()
    try:
        parsed = json.loads(content, parse_float=Decimal)
        events = msgspec.json.decode(content, type=list[_Events])
    except (ValueError, RecursionError) as error:
        raise InvalidVectors(f"{path.name}: {error}") from error
    return [Vector(vector, raw.events or ()) for vector, raw in zip(parsed, events, strict=True)]
