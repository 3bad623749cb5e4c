"""The golden log folded twice: by `meter fold`, and by a partition that flushes as a worker does.

Both give the records of each kind as bytes, in the order in which they were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from click.testing import CliRunner

from app.api.http.json_text import encode
from app.api.usage.usage_json import current_usage_json
from app.bounds.turns import drained
from app.cli.event_lines import EventsFile
from app.cli.fold import fold
from app.definitions.command import Command
from app.definitions.files import read_definitions
from app.definitions.judging import Judging
from app.definitions.periods import NEVER_MS
from app.definitions.set_asides import named_in
from app.kafka.transactions import Record
from app.offline.fold import EventLine
from app.runtime.dead_letters import Source, dead_letters, source_of
from app.wire.arrivals import (
    Arrival,
    CorrectionArrival,
    MeterKey,
    Run,
    SubscriptionKey,
    arrivals_of,
    runs_of,
)
from app.wire.identity import same_body
from app.wire.refusals import Refusal
from app.wire.usage_records import PublishedRecord
from tables.closing.close import close_subscription, entering_history, next_cut, settle
from tables.closing.instants import instants_at, members_ahead, members_wanted
from tables.event_index.rows import ID_BYTES, ROW_BYTES
from tables.partition.copies import Duplicate
from tables.partition.intake import RefusedArrival, WaitForDefinitions
from tables.partition.partition import Slice
from tables.partition.redirection import refolds_of
from tables.partition.refold import Refold
from tables.reading.usage import current_usage
from tests.world.clock import ms
from tests.world.definitions import CommandAt
from tests.world.partition import AtOnce

Rows = dict[str, list[bytes]]
"""Records by their kind."""

HERE = Path(__file__).parent


class Log(NamedTuple):
    """Two committed files, and how far they are folded."""

    prefix: str
    """What names of its kinds begin with."""
    definitions: Path
    events: Path
    end_ms: int
    topics: tuple[str, ...]
    changelogs: tuple[str, ...] = ()
    """Those that only charges and alerts of version 2 have."""


LOG = Log(
    "",
    HERE / "definitions.jsonl",
    HERE / "events.jsonl",
    ms("2024-07-05"),
    ("usage-records",),
)
LOG_2 = Log(
    "version 2 ",
    HERE / "definitions_2.jsonl",
    HERE / "events_2.jsonl",
    ms("2026-05-05"),
    ("usage-records", "usage-alerts"),
    ("evaluations", "instants", "figures"),
)

BATCH = 13
"""Arrivals that the worker folds before it looks at definitions and cuts."""
RESTARTED_EVERY = 6
"""Batches after which the worker begins again with what it has flushed."""
_RAW = "events-raw"
_LETTERS = "events-dead-letter"


def folded(log: Log) -> Rows:
    """Return the records of both folds of a log, by kind."""
    made = {**folded_offline(log), **folded_live(log)}
    return {log.prefix + kind: records for kind, records in made.items()}


def folded_offline(log: Log) -> Rows:
    """Return the lines that `meter fold` prints."""
    topics = [f"--topic={topic}" for topic in log.topics]
    files = [str(log.definitions), str(log.events)]
    ran = CliRunner().invoke(fold, ["--at", str(log.end_ms), *topics, *files])
    assert ran.exit_code == 0, ran.output
    rows: Rows = {"offline usage records": [], "offline current usage": []}
    for line in ran.stdout_bytes.splitlines():
        kind = "current usage" if b'"customer_usage":' in line else "usage records"
        rows[f"offline {kind}"].append(line)
    return rows


def folded_live(log: Log) -> Rows:
    """Return everything that a worker writes and answers on its way through both logs."""
    with log.definitions.open("rb") as file:
        defined = [
            CommandAt(read.append_time_ms, read.offset, Command.decode(read.value or b""))
            for read in read_definitions(file)
        ]
    with log.events.open("rb") as file, EventsFile(file) as events:
        lines = [line for log in events.logs() for line in log]
    lines.sort(key=itemgetter(0, 1, 2))
    worker = Worker(defined, log.changelogs)
    for number, first in enumerate(range(0, len(lines), BATCH), 1):
        worker.take_batch(lines[first : first + BATCH])
        if number % RESTARTED_EVERY == 0:
            worker.restart()
            drained(worker.partition.corrected.following_all())
    worker.close_until(log.end_ms)
    worker.flush()
    worker.answer(log.end_ms)
    return worker.rows


class Worker(AtOnce):
    """A partition that owns everything, and what it writes."""

    def __init__(self, definitions: Sequence[CommandAt], changelogs: Sequence[str] = ()):
        super().__init__(definitions)
        self.definitions.set_asides.foresee(named_in(line.command.encode() for line in definitions))
        self.rows: Rows = {
            kind: []
            for kind in (
                *("usage records", "current usage", "dead letters", "duplicates", "checkpoints"),
                *("cells", "members", "presence", "published", "corrections", "index"),
                *changelogs,
            )
        }
        self._events: dict[tuple[int, ...], Arrival] = {}
        self._rekeyed = 0

    def take_batch(self, lines: Sequence[EventLine]) -> None:
        """Fold a batch a partition at a time, and then the definitions of its time.

        So arrivals come before definitions that were appended before them, and those of one
        partition before earlier ones of another. Corrections wait for every cut before them.
        """
        self.close_until(lines[0].append_time_ms - 1)
        for _, same in groupby(sorted(lines, key=attrgetter("partition")), key=itemgetter(1)):
            self._take([each for line in same for each in self._arriving(line)])
            self.flush()
        self.define_until(lines[-1].append_time_ms)
        self._recorrect(self.definitions.all_subscription_keys())
        self.flush()
        self.answer(lines[-1].append_time_ms)

    def _arriving(self, line: EventLine) -> Iterator[Arrival | CorrectionArrival]:
        """Yield what one raw record holds; what is refused of it becomes dead letters."""
        judging = Judging.by(self.definitions)
        aside = self.definitions.set_asides.of(line.partition)
        place = (line.append_time_ms, line.partition, line.offset)
        refused: list[Refusal] = []
        for each in arrivals_of(line.value, line.headers, *place, judging, aside):
            if isinstance(each, Refusal):
                refused.append(each)
            elif line.partition == 0:
                yield each
            else:
                yield each.forwarded(each.array_index, self._rekeyed)
                self._rekeyed += 1
        record = Raw(line.offset, line.append_time_ms, line.value, line.headers)
        self._refuse(refused, source_of(_RAW, line.partition, record, judging))

    def _take(self, arrived: Iterable[Arrival | CorrectionArrival]) -> None:
        for is_event, same in groupby(arrived, key=lambda each: isinstance(each, Arrival)):
            if is_event:
                self.deliver([each for each in same if isinstance(each, Arrival)])
            else:
                for each in same:
                    if isinstance(each, CorrectionArrival) and self.partition.corrected.correct(
                        each
                    ):
                        self._recorrect([each.name])

    def deliver(self, arrivals: Sequence[Arrival]) -> None:
        """Fold one slice, with the members and the definitions that it asks for."""
        for arrival in arrivals:
            self.keep(arrival)
            self._events[arrival.place[:3]] = arrival
        self._note(self._folded(runs_of(arrivals)))
        smaller = self.partition.stale.take_displaced_keys()
        self.refold(sorted(smaller))

    def _folded(self, runs: Sequence[Run]) -> Slice:
        while True:
            for name in self.partition.missing_members(runs):
                self.partition.members.fill(name, self.changelog.store.get(name))
            try:
                return self.partition.fold(runs)
            except WaitForDefinitions as wait:
                self.define_until(wait.past_ms + 1)

    def _note(self, folded: Slice) -> None:
        for refused in folded.refused:
            self._refuse_event(refused)
        for duplicate in folded.duplicates:
            self.rows["duplicates"].append(self._told(duplicate))

    def _told(self, duplicate: Duplicate) -> bytes:
        arrival, known, identical, replaced = duplicate
        if identical is None:
            identical = same_body(self._events[known[1:4]].event, arrival.event)
        return encode([arrival.place, known[1:5], identical, replaced])

    def refold(self, meter_keys: Iterable[MeterKey], *, redefined: bool = False) -> None:
        """Refold meter keys under the corrections that are in force."""
        if meter_keys := sorted(meter_keys):
            keeping = meter_keys if redefined else ()
            while not self._swapped(Refold(self.partition, meter_keys, redefined=keeping)):
                pass

    def _recorrect(self, names: Iterable[SubscriptionKey]) -> None:
        """Refold those whose cells show other corrections than their next cut."""
        for name in sorted(names):
            while self._shows_others(name):
                meter_keys = self.partition.event_ranges.meter_keys_of(name)
                horizons = {name: next_cut(self.partition, name)}
                if self._swapped(Refold(self.partition, meter_keys, horizons)):
                    break

    def _shows_others(self, name: SubscriptionKey) -> bool:
        next_ms = next_cut(self.partition, name)
        return self.partition.corrections.followed.wrong_since(name, next_ms) is not None

    def _swapped(self, refold: Refold) -> bool:
        """Feed a refold until it is swapped in; False if it has to begin again."""
        swapped = False
        while not swapped:
            refold.feed(self.arrived())
            if refold.waits_past_ms >= 0:
                refold.drop()
                self.define_until(refold.waits_past_ms + 1)
                return False
            swapped = refold.swap()
        for _, _, refused in refold.refused:
            self._refuse_event(refused)
        return True

    def close_until(self, at_ms: int) -> None:
        """Publish every cut up to a time, each with the corrections appended until it."""
        self.define_until(at_ms)
        while True:
            names = sorted(self.definitions.all_subscription_keys())
            cut_ms = min((next_cut(self.partition, name) for name in names), default=NEVER_MS)
            history_ms = self.partition.standing.next_history_ms()
            if min(cut_ms, history_ms) > at_ms:
                break
            if history_ms <= cut_ms:
                self.refold(sorted(refolds_of(entering_history(self.partition))))
                continue
            due = [name for name in names if next_cut(self.partition, name) == cut_ms]
            self._recorrect(due)
            self._fill(drained(members_wanted(self.partition, cut_ms)))
            self._publish(each for each in instants_at(self.partition, cut_ms) if each is not None)
            for name in due:
                if next_cut(self.partition, name) == cut_ms:
                    self._publish(close_subscription(self.partition, name, cut_ms))
            settle(self.partition, cut_ms)
            self._recorrect(names)

    def _publish(self, records: Iterable[PublishedRecord]) -> None:
        for each in records:
            self.records.append(each)
            record = Record(each.topic, 0, each.key, each.value, each.headers)
            self.rows["usage records"].append(encode_record(record))

    def flush(self) -> None:
        """Write what has changed; within a flush the order of its records tells nothing."""
        changes = self.changelog.take(self.partition)
        for kind, parts in groupby(self.partition.rows_of(changes), itemgetter(0)):
            rows = chain.from_iterable(zip(*part[1:], strict=True) for part in parts)
            for row in sorted(rows, key=itemgetter(0)):
                self.rows[kind].append(msgspec.msgpack.encode(row))
        packed = changes.index_rows
        index = [packed[at : at + ROW_BYTES] for at in range(0, len(packed), ROW_BYTES)]
        # The order of one id's rows tells which is the newest.
        index.sort(key=lambda row: row[:ID_BYTES])
        self.rows["index"].append(b"".join(index))
        if "figures" in self.rows:
            self.rows["figures"] += (record.value for record in changes.at_rest)
        self.rows["checkpoints"].append(self.changelog.record)

    def answer(self, at_ms: int) -> None:
        """Ask for the current usage of everybody."""
        names = {*self.definitions.all_subscription_keys(), *self.partition.event_ranges.codes}
        for name in sorted(names):
            self._fill(drained(members_ahead(self.partition, name)))
            usage = current_usage(self.partition, name, at_ms)
            body: Any = None if usage is None else current_usage_json(usage)
            self.rows["current usage"].append(encode([*name, body]))

    def _refuse_event(self, refused: RefusedArrival) -> None:
        arrival, code, message = refused
        place = arrival.raw_partition, arrival.raw_offset
        source = Source(_RAW, *place, None, (), arrival.organization_id)
        body, index = arrival.event.body, arrival.array_index
        self._refuse([Refusal(code, message, body, index)], source)

    def _refuse(self, refused: Sequence[Refusal], source: Source) -> None:
        for letter in dead_letters(_LETTERS, source.partition, refused, source, LOG.end_ms):
            self.rows["dead letters"].append(encode_record(letter))


@dataclass
class Raw:
    """A raw record, as whoever reads the topic has it."""

    offset: int
    timestamp: int
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    key: bytes | None = None
    timestamp_type: int = 1


def encode_record(record: Record) -> bytes:
    """Return what a record says, as one text of bytes."""
    return msgspec.msgpack.encode((record.key, record.value, list(record.headers)))
