"""A shelf: chunks of what rests, on local disk instead of in memory.

Every worker has all definitions, and looks at few of them.
What lies here is read through the page cache: it stays at hand while there is memory to spare. It
lasts as long as the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.definitions.indexes.rows import CHUNK_BYTES, Chunk
from app.runtime import apart
from tables.spool import UnnamedFile


class Shelf:
    """One file without a name; a chunk that nobody has any more makes room for another."""

    def __init__(self, directory: Path):
        self._file = UnnamedFile(directory)
        self._end = 0
        self._free: list[int] = []
        """Where there is room before the end."""
        self._copies = 0
        """How many copies of this process may read what nobody has any more here."""

    def keep(self, chunk: bytes) -> Chunk:
        """Return the same bytes, on disk if it takes them, else as they are."""
        again = bool(self._free) and not self._copies
        first = self._free.pop() if again else self._end
        try:
            self._file.write(chunk, first)
        except OSError:
            # No room, or no file: it rests in memory then.
            if again:
                self._free.append(first)
            return chunk
        if not again:
            self._end += CHUNK_BYTES
        return _Shelved(self._file, first, len(chunk), self._free)

    async def first_failure(self, attempts: Sequence[apart.Attempt]) -> apart.Failed | None:
        """Make attempts in a copy of this process: it reads the same file, which others change."""
        self._copies += 1
        try:
            return await apart.first_failure(attempts)
        finally:
            self._copies -= 1


class _Shelved:
    """A chunk on the shelf."""

    __slots__ = ("_file", "_first", "_free", "_length")

    def __init__(self, file: UnnamedFile, first: int, length: int, free: list[int]):
        self._file = file
        self._first = first
        self._length = length
        self._free = free

    def __del__(self) -> None:
        self._free.append(self._first)

    def __getitem__(self, part: slice) -> bytes:
        """Return some bytes. Raises OSError if the disk gives them no more."""
        first, end, _ = part.indices(self._length)
        return self._file.read(self._first + first, end - first)
