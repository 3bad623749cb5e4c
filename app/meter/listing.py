"""A page of a listing, before what it shows is read."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

Place = TypeVar("Place", bound=tuple[Any, ...])
"""Where something that is listed lies; places have the order of their listing."""


class Listed(msgspec.Struct, Generic[Place], frozen=True):
    """Some of the places, in order, and how many there are."""

    places: list[Place]
    total_count: int
