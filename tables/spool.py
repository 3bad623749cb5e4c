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


class Spool:
    """Values that were put; they go with it."""

    def __init__(self, directory: Path | None = None):
        """Take a directory; None: in memory."""
        self.directory = directory
        self._descriptor = -1
        self._end = 0

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def put(self, value: bytes) -> Place:
        """Keep a value."""
        if self.directory is None:
            return value
        try:
            if self._descriptor < 0:
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                with TemporaryFile(dir=self.directory) as file:
                    self._descriptor = os.dup(file.fileno())
            written = os.pwrite(self._descriptor, value, self._end)
        except OSError:
            # No room, or no file: it is none of the value's fault.
            return value
        if written < len(value):
            return value
        place = self._end << _LENGTH_BITS | len(value)
        self._end += len(value)
        return place

    def get(self, place: Place) -> bytes:
        """Return the value at a place. Raises OSError if the disk gives it no more."""
        if isinstance(place, bytes):
            return place
        if self._descriptor < 0:
            raise LookupError("nothing was put here")
        length = place & (1 << _LENGTH_BITS) - 1
        value = os.pread(self._descriptor, length, place >> _LENGTH_BITS)
        if len(value) != length:
            raise OSError(f"local disk has {len(value)} of {length} bytes that were written to it")
        return value
