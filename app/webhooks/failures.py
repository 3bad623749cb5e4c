"""What was given up, in a file of the process: the newest, a line each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

KEPT: Final = 10_000
"""Lines that are kept at least; twice as many at most."""

_FILE: Final = "webhooks-failed.jsonl"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that was given up. Neither the body nor what the endpoint answered is kept."""

    given_up_at: str
    organization_id: str
    lago_endpoint_id: str
    host: str
    webhook_type: str
    unique_key: str
    attempts: int
    reason: str


def host_of(url: str) -> str:
    """Return the host of an endpoint's URL: the rest may hold a secret."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class Failures:
    """The file of one state directory."""

    def __init__(self, directory: Path):
        self._path = directory / _FILE
        self._lines = -1
        """Lines in the file; -1: not counted yet."""
        self._may_be_torn = True

    def note(self, failure: Failure) -> None:
        """Add a line; now and then drop the oldest. Raises OSError when the disk takes nothing."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._lines < 0:
            self._lines = len(self._all())
        with self._path.open("ab") as file:
            # First the end of a line that a crash may have torn; an empty one is passed over.
            file.write(b"\n" * self._may_be_torn + msgspec.json.encode(failure) + b"\n")
        self._may_be_torn = False
        self._lines += 1
        if self._lines >= 2 * KEPT:
            kept = self._all()[-KEPT:]
            whole = self._path.with_suffix(".new")
            whole.write_bytes(b"".join(line + b"\n" for line in kept))
            whole.replace(self._path)
            self._lines = len(kept)

    def newest(self) -> Iterator[Failure]:
        """Yield what is kept, newest first; a torn line is left out."""
        for line in reversed(self._all()):
            try:
                yield msgspec.json.decode(line, type=Failure)
            except msgspec.MsgspecError:
                continue

    def _all(self) -> list[bytes]:
        try:
            return self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
