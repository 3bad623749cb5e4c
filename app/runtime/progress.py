"""Progress of every raw partition, as its owners report it with each flush.

By it cuts are taken and workers asked, and its topic has records of whoever may write there. So a
report is sealed with the secret that workers share: what anybody else writes counts for nothing. An
owner of before may report late, for what it has forwarded is acknowledged whoever owns it now; and
what somebody appends again says no more than it did. That is why no report has to be looked up in
the log of the fenced owner, whose transactions stand in the changelog only: those lag behind where
a partition forwards ahead of its flushes, and others would wait for its Redis.
"""

from __future__ import annotations

import asyncio
import hmac
from hashlib import sha256
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from app.definitions.periods import NEVER_MS
from app.kafka.topics import METER_PROGRESS
from app.settings import Settings

_SEAL: Final = "seal"
_VERSION_SEAL: Final = "version_seal"
_SEALED: Final = 6
"""Fields that the seal is of, as an earlier program has it; another one is of all."""


class Progress(NamedTuple):
    """What a partition's owner tells all workers with every flush."""

    partition: int
    append_time_ms: int
    """Forwards of everything appended until then are acknowledged."""
    next_cut_ms: int
    """The earliest cut that waits for time to pass, on whatever partition."""
    epoch: int
    url: str
    raw_next: int
    state_version: int = 0
    """Newest version of state that its program reads; 0: an earlier program, which tells none."""


class Seal:
    """What the workers of one application close their reports with."""

    def __init__(self, settings: Settings):
        self._secret = settings.peer_secret.get_secret_value().encode()
        self._about = f"{settings.topic(METER_PROGRESS)}\n".encode()

    def close(self, progress: Progress) -> bytes:
        """Return the record: JSON with the field names, for operators who read the topic."""
        seals = {_SEAL: self.of(progress[:_SEALED]), _VERSION_SEAL: self.of(progress)}
        return msgspec.json.encode({**progress._asdict(), **seals})

    def open(self, value: bytes | None) -> Progress | None:
        """Return the report, or None if no worker of ours wrote it.

        A newer program may have added to it.
        """
        try:
            told = msgspec.json.decode(value or b"")
            progress = Progress(*(told[name] for name in Progress._fields[:_SEALED]))
            if not self.is_of(str(told[_SEAL]), progress[:_SEALED]):
                return None
        except (msgspec.MsgspecError, KeyError, TypeError):
            return None
        whole = progress._replace(state_version=told.get("state_version", 0))
        return whole if self.is_of(str(told.get(_VERSION_SEAL)), whole) else progress

    def is_of(self, seal: str, said: tuple[object, ...]) -> bool:
        """Return whether a seal closes what was said."""
        return hmac.compare_digest(seal.encode(), self.of(said).encode())

    def of(self, said: tuple[object, ...]) -> str:
        """Return the seal that closes what is said."""
        sealed = self._about + msgspec.json.encode(said)
        return hmac.new(self._secret, sealed, sha256).hexdigest()


class ProgressTable:
    """The newest report of each partition; append times never go back."""

    def __init__(self) -> None:
        self._newest: dict[int, Progress] = {}
        self._waiting: dict[int, int] = {}
        """The cut of each partition that is past it and has not taken it."""
        self._behind = 0
        """The partition that was found behind a cut last: it is looked at first."""
        self.waiting = asyncio.Event()
        """Set while a partition is past its cut and has not taken it."""
        self.stirred = asyncio.Event()
        """Set by each report and by who waits for definitions: the ticks look, and clear it."""

    def note(self, progress: Progress) -> None:
        """Take a report over."""
        known = self._newest.get(progress.partition)
        if known is not None:
            append_time_ms = max(known.append_time_ms, progress.append_time_ms)
            # An owner of before may report late; that its forwards are acknowledged stays true.
            newest = progress if progress.epoch >= known.epoch else known
            progress = newest._replace(append_time_ms=append_time_ms)
        self._newest[progress.partition] = progress
        if progress.next_cut_ms < progress.append_time_ms:
            self._waiting[progress.partition] = progress.next_cut_ms
        else:
            self._waiting.pop(progress.partition, None)
        (self.waiting.set if self._waiting else self.waiting.clear)()
        self.stirred.set()

    def append_time_ms(self, partition: int) -> int:
        """Return the append time up to which forwards are acknowledged; -1 if unknown."""
        progress = self._newest.get(partition)
        return -1 if progress is None else progress.append_time_ms

    def first_behind(self, cut_ms: int, partitions: int) -> int | None:
        """Return one of the partitions that has not passed a cut, as far as it is known; or None.

        While one lags, all others ask for it again and again.
        """
        for partition in chain((min(self._behind, partitions - 1),), range(partitions)):
            if self.append_time_ms(partition) <= cut_ms:
                self._behind = partition
                return partition
        return None

    def epoch(self, partition: int) -> int:
        """Return the epoch of the newest owner that has reported; 0 if none has."""
        newest = self._newest.get(partition)
        return 0 if newest is None else newest.epoch

    def next_cut_ms(self, from_ms: int, own_ms: int = NEVER_MS) -> int:
        """Return the earliest cut that a partition waits for and a log at `from_ms` has not passed.

        Earlier cuts wait for something other than time, such as a refold, and block no other
        partition. `own_ms`: the next cut of whoever asks, which it may not have reported yet.
        """
        cuts = (own_ms, *(p.next_cut_ms for p in self._newest.values()))
        return min((cut_ms for cut_ms in cuts if cut_ms >= from_ms), default=NEVER_MS)

    def latest_past_ms(self, now_ms: int) -> int | None:
        """Return the latest cut before now that a partition waits for; None: there is none."""
        cuts = (p.next_cut_ms for p in self._newest.values())
        return max((cut_ms for cut_ms in cuts if cut_ms < now_ms), default=None)

    def is_waited_for(self, partition: int, append_time_ms: int) -> bool:
        """Return whether another one is past its cut, and this one at an append time is not.

        One that is not past it itself would not take it yet.
        """
        waiting = self._waiting.items()
        if not waiting:
            return False
        reached_ms = max(append_time_ms, self.append_time_ms(partition))
        return any(reached_ms <= cut_ms for other, cut_ms in waiting if other != partition)

    def all_read(self, state_version: int, partitions: int) -> bool:
        """Return whether the owners of all partitions read state of a version."""
        newest = map(self._newest.get, range(partitions))
        return all(p is not None and p.state_version >= state_version for p in newest)

    def of(self, partition: int) -> Progress | None:
        """Return the newest report of a partition."""
        return self._newest.get(partition)

    def all(self) -> list[Progress]:
        """Return the newest report of every partition that has reported."""
        return [self._newest[number] for number in sorted(self._newest)]
