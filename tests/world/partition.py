"""A partition without a worker.

`Live` feeds a `Partition` the way a worker does, in whatever order a test asks for. It keeps all
arrivals, so that refolds can read them again.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

import msgspec

from app.bounds.turns import drained
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.outcome import Applied, Impact
from app.definitions.state import Definitions
from app.wire.arrivals import Arrival, MeterKey, Run, SubscriptionKey, runs_of
from app.wire.instant_records import INSTANT_TYPES
from app.wire.usage_records import PublishedRecord
from tables.cells.cell import Span
from tables.cells.keys import SpanKey
from tables.changelogged.checkpoint import Checkpoint
from tables.changelogged.checksum import ChangelogSum
from tables.changelogged.instants import InstantTable
from tables.changelogged.members import MemberKey, SetKey
from tables.changelogged.presence import LogsKept
from tables.closing.changed import changed_at
from tables.closing.close import close_subscription, entering_history, next_cut, settle
from tables.closing.forgetting import Forgetting
from tables.closing.instants import instants_at, members_ahead, members_wanted
from tables.closing.schedule import Schedule
from tables.event_index.index import EventIndex
from tables.event_index.row_log import RowLog
from tables.partition.copies import Duplicate
from tables.partition.intake import WaitForDefinitions
from tables.partition.partition import Partition, Straight
from tables.partition.redirection import refolds_of
from tables.partition.refold import Refold
from tables.partition.refold_apart import (
    EntriesElsewhere,
    TakingOver,
    outcome,
    told,
    told_again,
)
from tables.partition.snapshot import Changes
from tables.partition.tables import Carried
from tables.routing.route import Route
from tests.world.definitions import (
    CommandAt,
)

T = TypeVar("T")
Key = TypeVar("Key", bytes, MemberKey)

FROM_THE_START = LogsKept()
"""The logs have lost nothing."""


class Changelog:
    """Everything that flushes wrote, compacted."""

    def __init__(self) -> None:
        self.cells: dict[bytes, bytes] = {}
        self.members: dict[MemberKey, bytes] = {}
        self.store: dict[MemberKey, bytes] = {}
        """Redis, which drops whole sets; filled in anew it has the members of the changelog."""
        self.tables: dict[str, dict[bytes, bytes]] = {
            "presence": {},
            "published": {},
            "corrections": {},
            "evaluations": {},
            "instants": {},
            "daily": {},
        }
        self.index_rows = b""
        self.at_rest: list[bytes] = []
        """Records of the log of figures."""
        self.record = b""

    def take(self, partition: Partition) -> Changes:
        """Apply one flush, and return what it has."""
        partition.instants.let_rest()
        changes = partition.take_changes()
        _compact(self.cells, changes.rows["cells"])
        _compact(self.store, changes.stored)
        _compact(self.members, changes.stored)
        for name, rows in self.tables.items():
            _compact(rows, changes.rows[name])
        self.index_rows += changes.index_rows
        self.at_rest += [record.value for record in changes.at_rest]
        partition.index.seal_flush(partition.checkpoint.flush)
        partition.instants.at_rest.seal_flush(partition.checkpoint.flush)
        self.record = msgspec.msgpack.encode(partition.checkpoint)
        return changes

    def some_of(self, cursors: Mapping[SetKey, int]) -> dict[SetKey, tuple[int, dict[str, bytes]]]:
        """Two members of each set from its cursor on, as the store tells them."""
        found = {}
        for key, cursor in cursors.items():
            members = sorted((t, packed) for (of, t), packed in self.store.items() if of == key)
            after = cursor + 2 if cursor + 2 < len(members) else 0
            found[key] = after, dict(members[cursor : cursor + 2])
        return found

    def stored_sets(self) -> set[SetKey]:
        """Sets that the store has members of."""
        return {key for key, _ in self.store}

    def restored(
        self, definitions: Definitions, untold: Iterable[tuple[int, int, Impact]] = ()
    ) -> Partition:
        """A partition as a worker restores it; `untold`: what the flush had not taken over."""
        checkpoint = msgspec.msgpack.decode(self.record, type=Checkpoint)
        at_rest = RowLog()
        at_rest.load(self.at_rest)
        carried = Carried(checkpoint, instants=InstantTable(at_rest))
        partition = Partition(0, definitions, EventIndex(), carried=carried)
        partition.index.load(self.index_rows)
        for key, value in self.tables["presence"].items():
            partition.event_ranges.load(key, value)
        for key, value in self.tables["published"].items():
            partition.published.load_all([(key, value)])
        drained(partition.published.loading())
        for key, value in self.tables["corrections"].items():
            partition.corrections.load(key, value)
        for key, value in self.tables["evaluations"].items():
            partition.evaluations.load(key, value)
        for key, value in self.tables["instants"].items():
            partition.instants.load(key, value)
        drained(partition.daily.load_all(self.tables["daily"]))
        for key, value in self.cells.items():
            partition.packing.load_cell(key, value)
        for _, at_ms, impact in untold:
            partition.redefinition.tell(impact, at_ms, until_ms=checkpoint.definitions_ms)
        drained(partition.loaded())
        assert drained(partition.restored())
        drained(partition.announcing())
        untold_ms = drained(partition.cuts.untold_ms())
        for name in partition.definitions.alerts.by_name:
            for _ in partition.cuts.announcing_grid(name, untold_ms):
                pass
        assert partition.index.length == partition.checkpoint.index_length
        return partition


def _compact(kept: dict[Key, bytes], changes: Mapping[Key, bytes | None]) -> None:
    for key, value in changes.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value


def feed_apart(job: Refold, arrivals: Sequence[Arrival]) -> None:
    """Feed a refold that has just begun as another process does, told of it in bytes."""
    index = EntriesElsewhere(job.partition.index.find_many)
    there = told_again(map(_sent, told(job)), index)
    there.feed(arrivals)
    taking = TakingOver(job)
    for part in map(_sent, outcome(there)):
        taking.take(part)


def _sent(part: T) -> T:
    found: T = pickle.loads(pickle.dumps(part))  # noqa: S301 - it is our own
    return found


class Live:
    """A partition with everything that was delivered to it."""

    refolds_apart = False
    """Whether the first events of a refold are fed to it where another process would be."""
    waits = True
    """Whether definitions that shape watched figures wait for the grid cut before them."""
    keeps_forgotten = True
    """Whether a refold for definitions leaves out what is forgotten."""

    def __init__(self, definitions: Sequence[CommandAt] = ()):
        self.definitions = Definitions()
        self.partition = Partition(0, self.definitions, EventIndex())
        self.records: list[PublishedRecord] = []
        self.accepted = self.straight = self.first = self.fed_apart = self.left_out = 0
        self.duplicates: list[Duplicate] = []
        self.changelog = Changelog()
        self._to_define = list(definitions)
        self._impacts: list[tuple[int, int, Impact]] = []
        self._arrived: dict[tuple[int, ...], Arrival] = {}

    def define(self, count: int = 1) -> None:
        """Apply the next definitions."""
        for _ in range(count):
            if not self._to_define:
                break
            line = self._to_define.pop(0)
            applied = apply(
                self.definitions, line.command.encode(), line.append_time_ms, line.offset
            )
            if isinstance(applied, Applied) and applied.impact is not None:
                at_ms = self.definitions.append_time_ms
                self._impacts.append((line.offset, at_ms, applied.impact))
                self.partition.redefinition.tell(applied.impact)
                self.renew()

    def renew(self) -> None:
        """Look at whom definitions concern, but for those that wait for a grid cut."""
        standing = self.partition.standing
        while (since_ms := standing.behind_since_ms) is not None:
            if self.waits and since_ms > standing.looks_until_ms:
                break
            found = refolds_of(self.partition.redefinition.renewing(waits=self.waits))
            self.refold(found, redefined=self.keeps_forgotten)

    def append(self, at_ms: int, command: Command) -> None:
        """One more definition, applied at once."""
        assert not self._to_define
        self._to_define.append(CommandAt(at_ms, self.definitions.offset, command))
        self.define()

    def define_all(self) -> None:
        self.define(len(self._to_define))

    def drop_definitions(self) -> None:
        """Forget the definitions that are not applied yet, as if they never came."""
        self._to_define.clear()

    def define_until(self, at_ms: int) -> None:
        """Apply what was appended until then, and let the log have reached it."""
        while self._to_define and self._to_define[0].append_time_ms <= at_ms:
            self.define()
        self.definitions.append_time_ms = max(self.definitions.append_time_ms, at_ms)

    def deliver(self, arrivals: Sequence[Arrival]) -> None:
        """Fold one slice, and refold what an earlier copy of an event asks for."""
        for arrival in arrivals:
            self._arrived[arrival.position] = arrival
        runs = runs_of(arrivals)
        self._fill(self.partition.missing_members(runs))
        rest = self.fold_first(self.fold_straight(runs))
        while True:
            try:
                closely = self.partition.fold_closely(rest)
                break
            except WaitForDefinitions as wait:
                self.define_until(wait.past_ms + 1)
                # As a worker does: a route may have other sets of members now.
                self._fill(self.partition.missing_members(rest))
        self.accepted += closely.accepted
        self.duplicates += closely.duplicates
        self.refold(self.partition.stale.take_displaced_keys())

    def fold_straight(self, runs: list[Run]) -> list[Run]:
        """Fold what leads straight into a cell; return the rest."""
        straight = self.partition.fold_straight(runs)
        self.straight += straight.accepted
        return self._led(straight)

    def fold_first(self, runs: list[Run]) -> list[Run]:
        """Fold the first events that lead straight into a new cell; return the rest."""
        first = self.partition.fold_first(runs)
        self.first += first.accepted
        return self._led(first)

    def _led(self, straight: Straight) -> list[Run]:
        self.accepted += straight.accepted
        self.duplicates += straight.copies.duplicates()
        return straight.rest

    def _fill(self, missing: Iterable[MemberKey]) -> None:
        for name in missing:
            stored = self.changelog.store.get(name)
            assert stored == self.changelog.members.get(name)
            self.partition.members.fill(name, stored)

    def look_up_members(self, cut_ms: int) -> None:
        """Ask the store for what a cut needs, as its owner does beforehand."""
        self._fill(drained(members_wanted(self.partition, cut_ms)))

    def look_up_ahead(self, name: SubscriptionKey) -> None:
        """Ask the store for what a query needs, as a worker does beforehand."""
        self._fill(drained(members_ahead(self.partition, name)))

    def keep(self, arrival: Arrival) -> None:
        """Let the log have it, whoever folds it."""
        self._arrived[arrival.position] = arrival

    def arrived(self) -> list[Arrival]:
        """Everything in the log, in the order in which it was first delivered."""
        return list(self._arrived.values())

    def flush(self) -> None:
        """Write what changed since the last flush."""
        self.changelog.take(self.partition)

    def restart(self) -> None:
        """Flush, and go on with a partition restored from what was ever written."""
        behind_ms = self.partition.standing.behind_since_ms
        if behind_ms is not None:
            self.partition.checkpoint.definitions_ms = behind_ms - 1
        self.flush()
        untold = [told for told in self._impacts if behind_ms is not None and told[1] >= behind_ms]
        self.partition = self.changelog.restored(self.definitions, untold)
        drained(self.partition.changed.telling_again(self._impacts))
        self.renew()

    def refold(self, meter_keys: Iterable[MeterKey], *, redefined: bool = False) -> None:
        """Refold meter keys from all that was delivered; `redefined`: for definitions alone."""
        meter_keys = set(meter_keys)
        keeping = meter_keys if redefined else set[MeterKey]()
        if meter_keys:
            refold, swapped = Refold(self.partition, meter_keys, redefined=keeping), False
            self.left_out += bool(refold.dated_from)
            while not swapped:
                arrivals = self.read_for(refold)
                if self.refolds_apart and refold.stands_alone:
                    self.fed_apart += 1
                    first = max(1, len(arrivals) * 2 // 3)
                    feed_apart(refold, arrivals[:first])
                    arrivals = arrivals[first:]
                refold.feed(arrivals)
                if refold.waits_past_ms >= 0:
                    # Whether an event is too late hangs on what is not defined yet.
                    self.define_until(refold.waits_past_ms + 1)
                    refold = Refold(self.partition, meter_keys, redefined=keeping)
                else:
                    swapped = refold.swap()
            # As a worker does; what was taken in for a copy of another code is refolded as well.
            stale = self.partition.stale
            stale.finish(stale.refolding_keys - refold.meter_keys)
            self.refold(stale.take_displaced_keys())

    def read_for(self, refold: Refold) -> list[Arrival]:
        """Return what a refold has to read, and no event of before or of another code."""
        _, codes = refold.sought()
        begin = refold.appended_from
        all_begin = min(begin.values()) if begin.keys() >= refold.meter_keys else -1

        def begins(arrival: Arrival) -> int:
            # An amendment may have given it another code.
            corrected = self.partition.corrections.touches(arrival.name)
            return all_begin if corrected else begin.get(arrival.meter_key, -1)

        return [
            each
            for each in self._arrived.values()
            if (codes is None or each.event.code in codes) and each.append_time_ms >= begins(each)
        ]

    def refold_all(self) -> None:
        self.refold(
            (*name, code)
            for name, codes in self.partition.event_ranges.codes.items()
            for code in codes
        )

    def close_until(self, at_ms: int) -> None:
        """Publish every cut up to a time; everything up to it must have been delivered."""
        self.define_until(at_ms)
        names = sorted(self.definitions.all_subscription_keys())
        while True:
            cuts = [next_cut(self.partition, name) for name in names]
            cuts += self.partition.changed.next_ms(), self.partition.cuts.next_of_history()
            cut_ms = min(*cuts, self.partition.standing.next_awaited_ms())
            history_ms = self.partition.standing.next_history_ms()
            if min(cut_ms, history_ms) > at_ms:
                break
            if history_ms <= cut_ms:
                self.refold(refolds_of(entering_history(self.partition)))
                continue
            self.look_up_members(cut_ms)
            decided = chain(instants_at(self.partition, cut_ms), changed_at(self.partition, cut_ms))
            self.records += (record for record in decided if record is not None)
            for name in names:
                if next_cut(self.partition, name) == cut_ms:
                    self.records += close_subscription(self.partition, name, cut_ms)
            settle(self.partition, cut_ms)
            self.renew()

    def forget(self, name: SubscriptionKey) -> bool:
        """Forget what is final, as the owner does; return whether any cells went."""
        schedule, counts = Schedule(self.partition, ()), self.partition.work.counts
        found = Forgetting(self.partition, schedule)
        before = counts["close", "cells"]
        found.note_ended(name)
        while found.has_work:
            drained(found.forgetting(FROM_THE_START))
            self.empty_sets()
        return counts["close", "cells"] > before

    def empty_sets(self) -> None:
        """Empty the sets of members that nothing is folded into any more, as the owner does."""
        members = self.partition.members
        while members.leaving:
            drained(members.emptying(self.changelog.some_of(members.leaving)))
            if members.leaving:
                # Of a large set the store has no more what is gone.
                self.flush()

    def cells(self) -> dict[Any, Any]:
        """Every cell as packed for the changelog, but for the refold that made it."""
        found: dict[Any, Any] = {}
        for name, codes in self.partition.event_ranges.codes.items():
            for code in codes:
                for span, packed in cells_of(
                    self.partition.packing.route_of((*name, code))
                ).items():
                    for key, value in packed.items():
                        found[span, key] = msgspec.msgpack.decode(value)[:2]
        return found

    def members(self) -> dict[Any, Any]:
        """Every member that has operations, but for the refold that made its set."""
        found: dict[Any, Any] = {}
        members = self.partition.members
        for packed, kept in members.at_hand(members._sets).items():
            subscription_id, charge_id, start_ms, _, *place = msgspec.msgpack.decode(packed)
            if packed not in members.leaving:
                for text, (member, _) in kept.items():
                    if member:
                        found[subscription_id, charge_id, start_ms, repr(place), text] = member
        return found

    def bodies(self) -> list[dict[str, Any]]:
        """Published records as JSON, without those of single events."""
        bodies = (msgspec.json.decode(record.value) for record in self.records)
        return [body for body in bodies if body["type"] not in INSTANT_TYPES]

    def instants(self) -> list[dict[str, Any]]:
        """Records of single events as JSON."""
        bodies = (msgspec.json.decode(record.value) for record in self.records)
        return [body for body in bodies if body["type"] in INSTANT_TYPES]

    def values(self) -> list[bytes]:
        """Published records as bytes, in an order of their own."""
        return sorted(record.value for record in self.records)


class AtOnce(Live):
    """Looks at every definition at once, as a worker does that has taken all cuts before."""

    waits = False


def sum_of(records: Iterable[tuple[bytes, bytes]]) -> ChangelogSum:
    """The sum of (key, value) records of a changelog."""
    return ChangelogSum().after((key, None, value) for key, value in records)


def cells_of(route: Route) -> dict[SpanKey, dict[bytes, bytes]]:
    """Packed cells of a route by span and key."""
    return {span.key: packed_cells(span) for span in route.spans}


def packed_cells(span: Span) -> dict[bytes, bytes]:
    """Packed cells of a span that are not empty."""
    return {
        cell.packed_key(): cell.packed()
        for layer in span.layers.values()
        for cell in layer.cells.values()
        if not cell.blank(span.fold.aggregation)
    }
