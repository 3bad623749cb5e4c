"""api.json against a running worker: every vector in an empty organization of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiohttp import ClientSession

from tests.conformance.api import Json, Skipped, check_api_vector
from tests.conformance.comparison import Difference
from tests.conformance.directory import FileOutcome, Outcome
from tests.conformance.files import InvalidVectors


class ApiServer(NamedTuple):
    """Where a worker answers, and keys of organizations that are empty."""

    base_url: str
    api_keys: Sequence[str]


def check_api_file(path: Path, server: ApiServer) -> FileOutcome:
    """Run the vectors as far as there are keys: each needs an organization of its own."""
    try:
        vectors = msgspec.json.decode(path.read_bytes(), type=list[Json])
    except msgspec.MsgspecError as error:
        raise InvalidVectors(f"{path.name}: {error}") from error
    return FileOutcome(path.name, asyncio.run(_outcomes(vectors, server)))


async def _outcomes(vectors: list[Json], server: ApiServer) -> list[Outcome]:
    keys = [*server.api_keys, *[None] * (len(vectors) - len(server.api_keys))]
    async with ClientSession() as session:
        return [
            await _outcome(vector, server.base_url, key, session)
            for vector, key in zip(vectors, keys, strict=False)
        ]


async def _outcome(
    vector: Json, base_url: str, api_key: str | None, session: ClientSession
) -> Outcome:
    name = str(vector.get("id", "?"))
    if api_key is None:
        return Outcome(name, [], "no --api-key of an empty organization is left for it")
    try:
        found = await check_api_vector(vector, base_url, api_key, session)
    except Exception as error:
        # A vector that breaks the check must not hide those after it.
        told = str(error) if isinstance(error, AssertionError) else repr(error)
        return Outcome(name, [Difference("setup", "one that succeeds", told)])
    if isinstance(found, Skipped):
        return Outcome(name, [], found.reason)
    return Outcome(name, [Difference("answer", "as in expect", line) for line in found])
