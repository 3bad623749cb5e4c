"""The newest values of a changelog of any size: what has no room in memory lies on local disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import msgspec
import xxhash

from app.kafka.topics import MEBIBYTE, MEMBERS_CHANGELOG
from app.runtime.topics.changelogs import read_changelogs
from app.settings import Settings
from tables.changelogged.checksum import ChangelogSum
from tables.spool import Place, Spool

PARTS: Final = 256
"""Keys are sorted by hash into so many parts, and a part at a time is at hand: of ten million
members of a usual size that are some 12 MB."""
AT_HAND_BYTES: Final = 16 * MEBIBYTE
"""With more than this at hand all of it goes to disk."""
_ENTRY_BYTES: Final = 150
"""What a key and its value take in memory besides their bytes."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[bytes, bytes | None]]).decode


class SpooledNewest:
    """The newest value of every key."""

    def __init__(self, spool: Spool):
        self._spool = spool
        self._places: list[list[Place]] = [[] for _ in range(PARTS)]
        self._at_hand: list[dict[bytes, bytes | None]] = [{} for _ in range(PARTS)]
        self.at_hand_bytes = 0

    def take(self, key: bytes, value: bytes | None) -> None:
        """Take over one record of the changelog; a None value deletes."""
        self._at_hand[xxhash.xxh3_64_intdigest(key) % PARTS][key] = value
        self.at_hand_bytes += len(key) + len(value or b"") + _ENTRY_BYTES
        if self.at_hand_bytes > AT_HAND_BYTES:
            for at_hand, places in zip(self._at_hand, self._places, strict=True):
                places.append(self._spool.put(_encode(list(at_hand.items()))))
                at_hand.clear()
            self.at_hand_bytes = 0

    def parts(self) -> Iterator[dict[bytes, bytes]]:
        """Yield the newest values part by part, without deleted keys."""
        for places, at_hand in zip(self._places, self._at_hand, strict=True):
            newest: dict[bytes, bytes | None] = {}
            for place in places:
                newest.update(_decode(self._spool.get(place)))
            newest |= at_hand
            yield {key: value for key, value in newest.items() if value is not None}

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the newest values, without deleted keys."""
        for part in self.parts():
            yield from part.items()

    async def sum(self) -> ChangelogSum:
        """Return the sum of what there is; others run between two parts."""
        found = ChangelogSum()
        for part in self.parts():
            found = found.after((key, None, value) for key, value in part.items())
            await asyncio.sleep(0)
        return found


def spool_of(settings: Settings) -> Spool:
    """Return a spool on local disk, for what has no room in memory."""
    return Spool(settings.state_dir / "spool")


async def newest_members(settings: Settings, number: int) -> SpooledNewest:
    """Return what the member changelog of a partition has: most of it on disk, if it is much."""
    found = SpooledNewest(spool_of(settings))
    await read_changelogs(settings, {MEMBERS_CHANGELOG: found.take}, number)
    return found
