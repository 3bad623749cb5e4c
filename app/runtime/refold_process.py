"""The process that feeds one large refold: it reads the ledger, folds, tells the outcome and ends.

Its worker starts it, tells it everything over a pipe, and is asked for entries of the event index.
It knows no Kafka, no Redis and no settings.
"""

from __future__ import annotations

import os
import pickle
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from app.bounds.turns import drained
from app.definitions.indexes.set_asides import SetAsides
from app.ledger.blocks import LedgerStretch, Located
from app.log import told
from app.runtime.scanning.ledger_rows import LedgerRows
from app.wire.arrivals import Arrival
from tables.event_index.entries import Entry
from tables.event_index.rows import ID_BYTES
from tables.partition.refold import Refold
from tables.partition.refold_apart import (
    EntriesElsewhere,
    PartitionFacts,
    ToldRoutes,
    outcome,
    told_again,
)

ASKED_AT_ONCE: Final = 10_000
"""Events that are fed, and asked for in the index, at once."""

REFOLD_DATA_BYTES: Final = 512 * 1024 * 1024
"""Its data memory, at most. With more it fails, and the loop feeds the refold."""

NICER: Final = 10


class ToRead(NamedTuple):
    """What is to be read: the last that the worker tells before it is asked."""

    parts: list[tuple[list[LedgerStretch], Located]]
    rows: LedgerRows
    set_asides: SetAsides
    share: float


class AskedIds(NamedTuple):
    """Ids to be found in the event index."""

    ids: bytes


class FoundEntries(NamedTuple):
    """Their entries, packed by msgpack, and which share of a core is left from here on."""

    entries: bytes
    share: float


class Failed(NamedTuple):
    """Why there will be no outcome."""

    reason: str


class Done(NamedTuple):
    """The end of the outcome: what the ledger had, and how much memory that took."""

    rows: LedgerRows
    memory_bytes: int


def write_frame(file: BinaryIO, told: object) -> None:
    """Write one message. Raises OSError if nobody reads it any more."""
    write_packed(file, pickle.dumps(told))


def write_packed(file: BinaryIO, frame: bytes) -> None:
    """Write one message that is packed."""
    file.write(frame)
    file.flush()


def read_frame(file: BinaryIO) -> Any:
    """Return the next message. Raises EOFError if the other side has ended."""
    try:
        return pickle.load(file)  # noqa: S301 - the worker and its child are one program
    except (EOFError, pickle.UnpicklingError) as error:
        raise EOFError("the other side has ended") from error


class Child:
    """One refold, fed here."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO):
        self._reading, self._writing = reading, writing
        self._share = 1.0
        self._rested_s = time.process_time()

    def run(self) -> None:
        """Read what is told, feed it, tell the outcome."""
        parts, last = list[PartitionFacts | ToldRoutes](), self._read()
        while not isinstance(last, ToRead):
            parts.append(last)
            last = self._read()
        self._share = last.share
        job = told_again(iter(parts), EntriesElsewhere(self._find_many))
        for arrivals in self._arrivals(last, job):
            job.feed(arrivals)
            self._rest()
        for part in outcome(job):
            write_frame(self._writing, part)
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        write_frame(self._writing, Done(last.rows, kilobytes * 1024))

    def _read(self) -> Any:
        return read_frame(self._reading)

    def _arrivals(self, reading: ToRead, job: Refold) -> Iterator[list[Arrival]]:
        """Yield what the ledger has, so many events at once that few questions are asked."""
        found: list[Arrival] = []
        for spans, located in reading.parts:
            reading.rows.pass_over(spans)
            chunks, first = located.read(), 0
            while first < len(chunks):
                work = job.partition.work
                steps = reading.rows.portion(chunks, first, reading.set_asides, work, "refold")
                first, arrived = drained(steps)
                found += [each for each in arrived if isinstance(each, Arrival)]
                if len(found) >= ASKED_AT_ONCE:
                    yield found
                    found = []
        if found:
            yield found

    def _find_many(self, ids: Sequence[bytes]) -> list[Entry | None]:
        write_frame(self._writing, AskedIds(b"".join(ids)))
        answer: FoundEntries = self._read()
        self._share = answer.share
        return _decode_entries(answer.entries)

    def _rest(self) -> None:
        """Leave the core to others until no more than the share of it was used."""
        used_s = time.process_time() - self._rested_s
        time.sleep(used_s * (1 / self._share - 1))
        self._rested_s = time.process_time()


encode_entries = msgspec.msgpack.Encoder().encode
_decode_entries = msgspec.msgpack.Decoder(list[Entry | None]).decode


def ids_of(asked: AskedIds) -> list[bytes]:
    """Return the ids that are asked for."""
    return [asked.ids[at : at + ID_BYTES] for at in range(0, len(asked.ids), ID_BYTES)]


def main() -> None:
    """Feed the refold that is told on standard input."""
    os.nice(NICER)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = REFOLD_DATA_BYTES if hard < 0 else min(REFOLD_DATA_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    child = Child(sys.stdin.buffer, sys.stdout.buffer)
    try:
        child.run()
    except (EOFError, BrokenPipeError):
        # The worker has ended, or does without.
        pass
    except Exception as error:
        with suppress(OSError):
            write_frame(sys.stdout.buffer, Failed(told(error)))
