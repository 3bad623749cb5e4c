"""A spool: values that are seldom read, on local disk instead of in memory.

They last as long as the process: whoever starts again has them from elsewhere. What the disk does
not take stays in memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile

Place = int | bytes
"""Where a value lies: its offset and length in one number, or the value itself."""

_LENGTH_BITS = 32


class UnnamedFile:
    """A file without a name: it is made by the first write, and goes with who holds it."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._descriptor = -1

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def write(self, value: bytes, at: int) -> None:
        """Write a value from a place on. Raises OSError if the disk does not take all of it."""
        if self._descriptor < 0:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with TemporaryFile(dir=self._directory) as file:
                self._descriptor = os.dup(file.fileno())
        written = os.pwrite(self._descriptor, value, at)
        if written < len(value):
            raise OSError(f"local disk takes {written} of {len(value)} bytes")

    def read(self, at: int, length: int) -> bytes:
        """Return what was written. Raises OSError if the disk gives it no more."""
        found = os.pread(self._descriptor, length, at)
        if len(found) != length:
            raise OSError(f"local disk has {len(found)} of {length} bytes that were written to it")
        return found


class Spool:
    """Values that were put; they go with it."""

    def __init__(self, directory: Path | None = None):
        """Take a directory; None: in memory."""
        self.directory = directory
        self._file = None if directory is None else UnnamedFile(directory)
        self._end = 0

    def put(self, value: bytes) -> Place:
        """Keep a value."""
        if self._file is None:
            return value
        try:
            self._file.write(value, self._end)
        except OSError:
            # No room, or no file: it is none of the value's fault.
            return value
        place = self._end << _LENGTH_BITS | len(value)
        self._end += len(value)
        return place

    def get(self, place: Place) -> bytes:
        """Return the value at a place. Raises OSError if the disk gives it no more."""
        if isinstance(place, bytes):
            return place
        if self._file is None:
            raise LookupError("nothing was put here")
        return self._file.read(place >> _LENGTH_BITS, place & (1 << _LENGTH_BITS) - 1)
