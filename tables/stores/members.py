"""Members of unique counts in Redis: one exact hash per set, property text → packed operations.

Redis is a rebuildable copy of the member changelog. Beside the sets stands the flush that they
reflect (the watermark) and the epoch of the partition's owner: a lower epoch is refused, another
watermark than expected means that members were lost or rolled back, and they are rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.settings import Settings
from tables.members import MemberName

CHUNK = 2_000
"""Members in one script call, so that no call holds Redis for long."""

_WRITE = """
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if epoch > tonumber(ARGV[1]) then
  return redis.error_reply('STALEEPOCH ' .. epoch)
end
local gone = tonumber(ARGV[3])
for i = 1, gone do
  redis.call('DEL', KEYS[1 + i])
end
local set = gone + 1
for i = 4, #ARGV, 2 do
  set = set + 1
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[set], ARGV[i])
  else
    redis.call('HSET', KEYS[set], ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], 'flush', ARGV[2])
end
return 1
"""


class StaleEpoch(Exception):
    """A newer owner of the partition writes these members."""


class MembersLost(Exception):
    """Redis does not hold what was written to it."""


class MemberStore:
    """Members of all partitions of this worker."""

    def __init__(self, settings: Settings):
        if settings.redis_url is None:
            raise ValueError("METER_REDIS_URL is not set")
        self._prefix = settings.consumer_group
        self._redis: Redis = Redis.from_url(settings.redis_url)
        self._write = self._redis.register_script(_WRITE)
        self._watermarks: dict[int, bytes] = {}

    async def start(self) -> None:
        """Connect."""
        await self._redis.ping()

    async def stop(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def load_many(self, number: int, names: Sequence[MemberName]) -> list[bytes | None]:
        """Packed members, None for those never written. Raises `MembersLost`."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hget(self._meta(number), "flush")
            for key, text in names:
                pipeline.hget(self._set(number, key), text.encode())
            watermark, *packed = await pipeline.execute()
        if watermark != self._watermarks.get(number):
            raise MembersLost(f"members of partition {number} stand at flush {watermark!r}")
        return packed

    async def write(
        self,
        number: int,
        epoch: int,
        flush: int,
        gone: Sequence[bytes],
        members: Sequence[tuple[MemberName, bytes | None]],
    ) -> None:
        """Write what a flush changed, last its number. Raises `StaleEpoch`."""
        chunks = list(_chunks(members)) or [[]]
        for i, chunk in enumerate(chunks):
            emptied = list(gone) if i == 0 else []
            watermark = str(flush) if i == len(chunks) - 1 else ""
            await self._write_chunk(number, epoch, watermark, emptied, chunk)
        self._watermarks[number] = str(flush).encode()

    async def _write_chunk(
        self,
        number: int,
        epoch: int,
        watermark: str,
        gone: list[bytes],
        members: list[tuple[MemberName, bytes | None]],
    ) -> None:
        keys = [self._meta(number), *(self._set(number, key) for key in gone)]
        arguments: list[Any] = [epoch, watermark, len(gone)]
        for (key, text), packed in members:
            keys.append(self._set(number, key))
            arguments += (text.encode(), packed or b"")
        try:
            await self._write(keys=keys, args=arguments)
        except ResponseError as error:
            if str(error).startswith("STALEEPOCH"):
                raise StaleEpoch(f"partition {number} has a newer owner") from error
            raise

    async def stands_at(self, number: int, flush: int) -> bool:
        """Whether the members of a partition reflect exactly this flush."""
        watermark = await self._redis.hget(self._meta(number), "flush")
        self._watermarks[number] = str(flush).encode()
        return bool(watermark == self._watermarks[number])

    async def replace_all(
        self, number: int, epoch: int, flush: int, members: Iterable[tuple[MemberName, bytes]]
    ) -> None:
        """Empty the partition's sets and fill them anew."""
        pattern = self._meta(number).removesuffix(b"meta") + b"*"
        async for key in self._redis.scan_iter(match=pattern, count=1_000):
            await self._redis.delete(key)
        for chunk in _chunks(members):
            await self._write_chunk(number, epoch, "", [], chunk)
        await self.write(number, epoch, flush, [], [])

    def _meta(self, number: int) -> bytes:
        return f"{self._prefix}:{{{number}}}:meta".encode()

    def _set(self, number: int, key: bytes) -> bytes:
        return f"{self._prefix}:{{{number}}}:".encode() + key


def _chunks(
    members: Iterable[tuple[MemberName, bytes | None]],
) -> Iterator[list[tuple[MemberName, bytes | None]]]:
    rest = iter(members)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
