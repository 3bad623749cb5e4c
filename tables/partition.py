"""One home partition: everything of its subscriptions, as a pure fold of the logs.

It knows no Kafka, Redis, clock or web. The shell feeds it arrivals and definitions, writes what
`take_changes` hands out in one transaction, and asks it for figures between slices. Its state is a
function of how far each log is applied, not of how the reading interleaved: what a definition
changes for events already folded is refolded (`tables.refold`).
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import lcm
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import xxhash
from msgspec.structs import replace

from app.definitions.model import (
    Charge,
    HistoryRecord,
    Metric,
    SettingsRecord,
    Subscription,
)
from app.definitions.outcome import Touch
from app.definitions.state import Definitions
from app.definitions.terms import subscription_terms, subscription_timeline
from app.definitions.timeline import NEVER_MS, Period, Timeline, ceil_to
from app.definitions.versions import Versions
from app.limits import CHANGELOG_RECORD_BYTES
from app.turns import STEP_ITEMS, Steps, drained
from app.wire.events import Event
from app.wire.identity import BODY_HASH_MASK, event_body_hash, event_id
from app.wire.refusals import MAX_EVENT_AHEAD_MS, OUT_OF_RANGE_MESSAGE, RefusalCode, check_range
from tables.cells import (
    FOLD_VERSION,
    Cell,
    CellKey,
    GroupCell,
    Layer,
    PackedCell,
    Span,
    SpanKey,
)
from tables.changelog_sum import SUM_MODULUS, ChangelogSum, record_hash
from tables.cold import ColdCells, Packed, has_late_cuts, is_newer, subscription_of
from tables.corrections import CorrectionArrival, CorrectionTable, Held
from tables.event_index.entries import Entry
from tables.event_index.index import EventIndex
from tables.fold import Arrival, Folded, Run, apply_members, fold_run, members_wanted
from tables.implicit import ImplicitPlan, subscription_id
from tables.in_force import PeriodCharges
from tables.members import MemberName, Members, SetKey, member_key
from tables.not_counted import NotCounted, Reason
from tables.presence import REST, Presence, PresenceTable, SubscriptionName
from tables.published import PublishedTable
from tables.registry import AGGREGATIONS
from tables.routes import ChargeFold, ChargeFolds, Route, SpanPlan, plan_spans
from tables.stores.spool import Place, Spool

Pair = tuple[str, str, str]
"""(organization_id, external_subscription_id, code)"""

Revised = tuple[SubscriptionName, str, int]
"""External subscription, metric code and the last cut that may be the first to show it, ms."""


Timelines = list[tuple[Versions[Subscription], Timeline]]
"""Of all subscriptions of an external id, canceled ones aside."""

Sealed = tuple[str, bytes]
"""(subscription id, its cells in one piece)"""


OutputMark = tuple[int, bytes]
"""(offset in usage-records, hash of the value there)"""


log = logging.getLogger(__name__)

TOLD_AT_ONCE = 256
"""Definitions that are looked at together: those that concern the same ones are looked at once."""


class StateTooNew(RuntimeError):
    """The changelog was written by a newer program; this one must not touch it."""


class PartitionRecord(msgspec.Struct, array_like=True, kw_only=True):
    """What a flush says of the whole partition: how far it has come, and sums to check it by."""

    fold_version: int = FOLD_VERSION
    epoch: int = 0
    flush: int = 0
    raw_next: int = 0
    rekeyed_next: int = 0
    append_time_ms: int = -1
    marks: dict[int, tuple[int, int]] = {}
    """Highest (raw offset, array index) taken of each raw partition through events-rekeyed."""
    definitions_offset: int = 0
    definitions_ms: int = -1
    index_length: int = 0
    cells: int = 0
    cells_hash: int = 0
    members: int = 0
    cut_ms: int = -1
    """Every cut up to it is published."""
    index_epoch: int = 0
    """When the event index was begun: an index of another time is not this one."""
    refolding: tuple[Pair, ...] = ()
    """Pairs whose refold was not swapped in yet: the index may already name another winner."""
    presence_sum: ChangelogSum | None = None
    """None: the record was written by a program that kept no sums of the other changelogs."""
    published_sum: ChangelogSum | None = None
    corrections_sum: ChangelogSum | None = None
    members_sum: ChangelogSum | None = None
    history_ms: int = -1
    """History records appended until then shape all cells."""
    output: OutputMark | None = None
    """The newest usage record; None: none yet, or the program that wrote this kept no note."""
    generation: int = -1
    """Sets of members of earlier ones may be void, so no span begins with those; -1: not noted."""
    attempt: int = 0
    """Take-overs since the last flush that moved an offset (bounded-work §1.4)."""
    behind: bool = False
    """Definitions were being looked at: for some cells those after `definitions_offset`, too."""
    searched_ms: int = -1
    """Among undefined names that are not kept one by one is none that was defined before."""


class Refused(NamedTuple):
    """An event that is refused whatever its metrics are."""

    arrival: Arrival
    code: RefusalCode
    message: str


class Duplicate(NamedTuple):
    """A later arrival of a known id; `identical` None when only the bodies can tell."""

    arrival: Arrival
    known: Entry
    identical: bool | None
    replaced: bool = False
    """The arrival has the smaller position: it counts now, the known one no longer."""


class Counted(NamedTuple):
    """An event as corrections have it."""

    arrival: Arrival
    since_ms: int
    """Append time of the correction that made it so; -1: none did."""


class Kept(NamedTuple):
    """An event as corrections have it, until the cuts that it revises are taken."""

    since_ms: int
    timestamp_ms: int
    spool: Spool
    place: Place

    @staticmethod
    def of(counted: Counted, spool: Spool) -> Kept:
        """With all that decides in which cells it counts."""
        arrival, since_ms = counted
        event = msgspec.structs.replace(arrival.event, body=b"")
        packed = msgspec.msgpack.encode(replace(arrival, event=event))
        return Kept(since_ms, arrival.timestamp_ms, spool, spool.put(packed))

    def arrival(self) -> Arrival:
        """The event, without its bytes."""
        return _decode_arrival(self.spool.get(self.place))


class Renewed(NamedTuple):
    """An external subscription that definitions were looked at for."""

    name: SubscriptionName
    refold: set[Pair]
    """Its pairs whose events they send elsewhere: they keep their routes until a refold."""
    cut_moved: bool
    """Whether its next cut may be another."""


class Told(NamedTuple):
    """A definition, until everything that it concerns was looked at."""

    touch: Touch
    at_ms: int
    """Its append time."""


class Slice(NamedTuple):
    """What folding a slice came to, besides changed cells."""

    accepted: int
    refused: list[Refused]
    duplicates: list[Duplicate]


class Changes(NamedTuple):
    """Changelog records of one flush; a None value deletes."""

    cells: list[tuple[bytes, bytes | None]]
    members: list[tuple[MemberName, bytes | None]]
    presence: list[tuple[bytes, bytes]]
    published: list[tuple[bytes, bytes]]
    corrections: list[tuple[bytes, bytes]]
    index_rows: bytes


class TooLargeForChangelog(Exception):
    """A cell, a member or a row outgrew what a changelog record may have."""

    def __init__(self, changelog: str, key: bytes, size: int, pair: Pair | None):
        whose = "" if pair is None else f" of organization {pair[0]}, {pair[1]}, {pair[2]}"
        super().__init__(
            f"A record of {size} bytes for the changelog of {changelog}{whose} is larger than "
            f"{CHANGELOG_RECORD_BYTES}"
        )
        self.key = key
        self.pair = pair
        """(organization, external subscription, code) whose events made it, where it is known."""


class WaitForDefinitions(Exception):
    """Whether an event is too late hangs on definitions that are not applied yet."""

    def __init__(self, past_ms: int):
        super().__init__(f"definitions past {past_ms}")
        self.past_ms = past_ms


class Partition:
    """State of one partition and the operations on it. Synchronous, single-threaded."""

    def __init__(
        self,
        number: int,
        definitions: Definitions,
        index: EventIndex,
        members: Members | None = None,
    ):
        self.number = number
        self.definitions = definitions
        self.index = index
        self.members = members or Members()
        self.presence = PresenceTable(self.is_defined, self._begin_rest)
        self.published = PublishedTable()
        self.corrections = CorrectionTable()
        self.folds = ChargeFolds()
        self.implicit = ImplicitPlan(self.folds)
        self.record = PartitionRecord()
        self.routes: dict[Pair, Route] = {}
        self.spans: dict[SpanKey, Span] = {}
        self.late_cuts: dict[SubscriptionName, set[int]] = {}
        """Revision cuts that events wait for."""
        self.corrected: dict[Revised, list[Kept]] = {}
        """What corrections revise in cuts to come: the events before and after each."""
        self.smaller_positions: set[Pair] = set()
        """Pairs to refold because an earlier event, or copy of one, came after a later one."""
        self._replaced: set[SubscriptionName] = set()
        self.strays: set[Pair] = set()
        """Pairs to refold because cells were found that no route leads to."""
        self.refolding_pairs: set[Pair] = set()
        """Pairs whose refold is queued or running: their routes stay until the swap."""
        self.stale: set[SubscriptionName] = set()
        """External subscriptions under a refold."""
        self.parked: dict[SubscriptionName, str] = {}
        """Those whose figures stand as they are, and why: they cannot be refolded."""
        self.half_closed: set[SubscriptionName] = set()
        """Those that a cut has published some cells of, and has yet to publish others."""
        self.ignored: Counter[Reason] = Counter()
        self.not_counted = NotCounted()
        self._cold = ColdCells()
        """Cells of external subscriptions that have no routes here."""
        self._thawed: dict[SpanKey, list[tuple[CellKey, Packed]]] = {}
        self._timelines: dict[SubscriptionName, tuple[int, Timelines]] = {}
        """With how many definitions had been told of when they were made."""
        self._stood: tuple[tuple[SubscriptionName, int, int] | None, Timelines] = (None, [])
        """The last ones that were made as of a time; of whom, of when, and under which offset."""
        self._eventless: dict[SubscriptionName, set[str]] = {}
        """Codes whose routes were compiled before any event of theirs counted."""
        self._dirty: list[Cell] = []
        self._known_unique_codes: tuple[int, frozenset[str]] = (-1, frozenset())
        self._late_names: set[SubscriptionName] = set()
        self._deleted: dict[bytes, None] = {}
        self._loaded = 0
        self._loaded_hash = 0
        self._loaded_late: set[str] = set()
        """Subscriptions with states of cuts to come."""
        self._restored_ms = -1
        """Append time that the definitions had reached when the partition was restored."""
        self._cooled_ms = -1
        """Append time that the definitions had reached when external subscriptions were packed."""
        self._cooled: set[SubscriptionName] = set()
        """Those packed then."""
        self._entered_ms = -1
        self._told: deque[Told] = deque()
        """Definitions that are queued, or looked at right now, in their order."""
        self._told_about: Counter[tuple[str | None, str | None]] = Counter()
        """How many of them are about an organization and an external id; None: about any."""
        self._told_of = 0
        """How many definitions it was told of."""
        self._routes_old: dict[str | None, int] = {}
        """By organization, None for all: routes that were made before may be others now."""
        self._timelines_old: dict[str | None, int] = {}
        self._stands_until_ms = -1
        """What was packed stands under definitions of until then, while some are looked at."""
        self._stands_history_ms: int | None = None
        """Likewise of history records, while some are put in force."""
        self._unclear: Container[SubscriptionName] = ()
        """Of those it cannot be told which definitions of one millisecond they stand under."""
        self._unclear_until_ms = -1
        self._again: dict[SubscriptionName, None] = {}
        """To be looked at once more: their routes were made under what held before."""
        self._searched_for = set[str | None]()
        """Organizations of whose definitions some may be of names that are not kept; None: all."""
        self._uncooled: dict[SubscriptionName, None] = {}
        """To be packed once no definition is left to be looked at."""

    # Folding

    @property
    def settings(self) -> SettingsRecord:
        """The settings in force now."""
        return self.definitions.settings_at()

    @property
    def settled_ms(self) -> int:
        """Late cuts up to it are published and merged."""
        every_ms = lcm(*self.revision_grids_ms)
        return self.record.cut_ms // every_ms * every_ms

    @property
    def history_ms(self) -> int:
        """History records appended until then are in force; cells may yet have to be refolded."""
        return max(self._entered_ms, self.record.history_ms)

    @property
    def revision_grids_ms(self) -> tuple[int, ...]:
        """Every time between two revisions that there was: periods due keep the one they had."""
        known = {record.revise_every_s for record in self.definitions.settings.all()}
        return tuple(sorted(each * 1000 for each in known or {self.settings.revise_every_s}))

    def unknown_members(self, runs: Iterable[Run]) -> list[MemberName]:
        """Members that must be learnt before the slice can be folded."""
        unknown: dict[MemberName, None] = {}
        codes, members = self._unique_codes(), self.members
        for pair, arrivals in self._counted_runs(runs) if self.corrections else runs:
            if pair[2] in codes:
                names = members_wanted(self.route_of(pair), arrivals, members)
                unknown.update((n, None) for n in names if members.unknown(n))
        return list(unknown)

    def _counted_runs(self, runs: Iterable[Run]) -> Iterator[Run]:
        """Runs, and whatever corrections that are known already may make of their events.

        Not what they make of them now: folding an event decides which of them are in force.
        """
        for pair, arrivals in runs:
            yield pair, arrivals
            if not self.corrections.touches(pair[:2]):
                continue
            for arrival in arrivals:
                for held in self.corrections.history(arrival.identity):
                    event = held.event
                    if event is not None:
                        yield (*pair[:2], event.code), (replace(arrival, event=event),)

    def _unique_codes(self) -> frozenset[str]:
        """Codes that a metric with members has or had, in any organization."""
        offset, codes = self._known_unique_codes
        if offset != self.definitions.offset:
            codes = frozenset(
                metric.code
                for versions in self.definitions.metric_versions.values()
                for metric in versions.all()
                if AGGREGATIONS[metric.aggregation_type].reads == "operation"
            )
            self._known_unique_codes = (self.definitions.offset, codes)
        return codes

    def fold(self, runs: Iterable[Run]) -> Slice:
        """Fold a slice. Raises `WaitForDefinitions` before anything is changed."""
        settled_ms = self.settled_ms
        taken, ids, entries, refused = self._admit(runs)
        stored = self.index.find_many(ids)
        folded = Folded()
        duplicates: list[Duplicate] = []
        members = self.members
        if any(stored) or len(set(ids)) < len(ids) or self.corrections:
            taken, ids, entries = self._only_new(taken, ids, entries, stored, duplicates, folded)
        for route, run in taken:
            noted = route.presence
            if noted is None or noted.written:
                name = (route.organization_id, route.external_subscription_id)
                noted = route.presence = self.presence.of(name, route.code)
            noted.note(run)
            if not fold_run(route, run, settled_ms, members, folded):
                self._note_unrouted(route, run, folded)
        for name in self._replaced:
            self.smaller_positions.update(self.pairs_of_name(name))
        self._replaced.clear()
        self.index.add_many(ids, entries)
        apply_members(folded.unique, members, settled_ms, folded)
        self.take_folded(folded)
        return Slice(len(ids), refused, duplicates)

    def _note_unrouted(self, route: Route, run: Sequence[Arrival], folded: Folded) -> None:
        """Count what no charge was asked about, by the reason."""
        for arrival in run:
            timestamp_ms = arrival.timestamp_ms
            if all(span.layer_at(timestamp_ms) is None for span in route.spans):
                folded.ignore(self.unrouted(route, arrival), arrival)

    def unrouted(self, route: Route, arrival: Arrival) -> Reason:
        """Why no charge of a route is asked about an event."""
        organization_id, _, code = route.pair
        if self.definitions.metric(organization_id, code) is None and not route.spans:
            return "unknown_code"
        if not route.timelines:
            return "outside_periods" if route.spans else "unknown_subscription"
        for timeline in route.timelines:
            if timeline.holding(arrival.timestamp_ms) is not None:
                return "no_charge"
        starts_ms = (t.terms[0].subscription.active_from_ms for t in route.timelines if t.terms)
        if min(starts_ms, default=-1) > arrival.append_time_ms:
            return "pending"
        return "outside_periods"

    def _only_new(
        self,
        taken: list[tuple[Route, list[Arrival]]],
        ids: list[bytes],
        entries: list[Entry],
        stored: list[Entry | None],
        duplicates: list[Duplicate],
        folded: Folded,
    ) -> tuple[list[tuple[Route, list[Arrival]]], list[bytes], list[Entry]]:
        """Leave out what is known already, and what was corrected before it came."""
        runs: list[tuple[Route, list[Arrival]]] = []
        latest: dict[bytes, Entry] = {}
        new: list[bytes] = []
        rows = zip(ids, entries, stored, strict=True)
        for route, run in taken:
            left: list[Arrival] = []
            for arrival, (identity, entry, found) in zip(run, rows, strict=False):
                known = latest.get(identity) or found
                if known is None:
                    new.append(identity)
                    latest[identity] = entry
                    if self.corrections.history(identity):
                        self._fold_corrected(arrival, identity, folded)
                    else:
                        left.append(arrival)
                    continue
                if entry[:4] < known[:4]:
                    latest[identity] = entry
                    if found is not None:
                        self.index.replace(identity, entry)
                duplicate = self._repeated(arrival, entry, known)
                if duplicate is not None:
                    duplicates.append(duplicate)
            if left:
                runs.append((route, left))
        return runs, new, [latest[identity] for identity in new]

    def _fold_corrected(self, arrival: Arrival, identity: bytes, folded: Folded) -> None:
        """A new event whose corrections came before it: fold what those appended before it say.

        For those appended after it, it is as if they came now.
        """
        event, name = arrival.event, arrival.name
        history = self.corrections.history(identity)
        self._note_versions(name, arrival, history)
        for held in history:
            if held.append_time_ms > arrival.append_time_ms:
                self.corrections.follow(held)
                self._announce(name, held.append_time_ms)
        counted = self.counted(identity, arrival)
        if counted is None:
            if self.route_of((*name, event.code)).grouped:
                # Its group takes a place all the same; that is the census of a refold.
                self.smaller_positions.add((*name, event.code))
            return
        fold_run(
            self.route_of((*name, counted.arrival.event.code)),
            (counted.arrival,),
            self.settled_ms,
            self.members,
            folded,
            counted.since_ms,
        )

    def counted(
        self, identity: bytes, arrival: Arrival, horizon_ms: int | None = None
    ) -> Counted | None:
        """The arrival as it counts in the cells; None when it is cancelled there.

        With `horizon_ms` as it counts under every correction appended until then.
        """
        counted: Counted | None = Counted(arrival, -1)
        for held in self.corrections.history(identity):
            at_ms = held.append_time_ms
            shown = held.in_force if horizon_ms is None else at_ms <= horizon_ms
            if shown or at_ms <= arrival.append_time_ms:
                event = held.event
                counted = None if event is None else Counted(replace(arrival, event=event), at_ms)
        return counted

    def revised_by_corrections(
        self, identity: bytes, arrival: Arrival, horizon_ms: int
    ) -> Iterator[tuple[Revised, Counted]]:
        """What corrections of an event revise in cuts to come: the event before and after each."""
        event: Event | None = arrival.event
        for held in self.corrections.history(identity):
            before, event = event, held.event
            at_ms = held.append_time_ms
            if not arrival.append_time_ms < at_ms <= horizon_ms:
                continue
            last_ms = max(self.revisions_after(at_ms))
            if last_ms > self.record.cut_ms:
                for version in (before, event):
                    if version is not None:
                        revised = (held.name, version.code, last_ms)
                        yield revised, Counted(replace(arrival, event=version), at_ms)

    def revisions_after(self, append_time_ms: int) -> set[int]:
        """The first revision cuts at or after an append time: one a grid that any period may have.

        Which periods a correction concerns is not known before its event is read.
        """
        return {ceil_to(append_time_ms, each) for each in self.revision_grids_ms}

    def correct(self, arrival: CorrectionArrival) -> bool:
        """Take a correction in; whether it changes what events count that are known.

        Published periods are revised at the first revision cut after it, at any age.
        """
        correction, name = arrival.correction, arrival.name
        touched = self.corrections.take(event_id(*name, correction.transaction_id), arrival)
        changes = False
        for held in touched:
            entry = self.index.find(held.identity)
            if entry is None:
                continue
            changes = True
            event = held.event
            if event is not None:
                # The event lies where those of its old code do.
                self.presence.spread(name, event.code)
                self._reach(name, event, entry.append_time_ms, held.append_time_ms)
            self._announce(name, held.append_time_ms)
        if changes:
            self.corrections.follow(touched[0])
        return changes

    def follow_corrections(self) -> set[SubscriptionName]:
        """After a restore: whose corrections have a revision cut to come."""
        names: set[SubscriptionName] = set()
        for held in sorted(self.corrections.all(), key=_position_of):
            if max(self.revisions_after(held.append_time_ms)) <= self.record.cut_ms:
                continue
            if self.index.find(held.identity) is not None:
                self.corrections.follow(held)
                self._announce(held.name, held.append_time_ms)
                names.add(held.name)
        return names

    def pairs_of_name(self, name: SubscriptionName) -> set[Pair]:
        """Every pair of an external subscription that has events."""
        return {(*name, code) for code in self.presence.codes.get(name, {})}

    def all_pairs(self) -> set[Pair]:
        """Every pair that has events, those not kept one by one as one."""
        pairs = {(*name, code) for name, codes in self.presence.codes.items() for code in codes}
        return pairs | ({REST} if self.presence.rest is not None else set())

    def names_before(
        self, pairs: Iterable[Pair], raw_start: int, rekeyed_start: int
    ) -> set[SubscriptionName]:
        """External subscriptions with an event that lies before where the logs begin."""
        return {
            (org, external_id)
            for org, external_id, code in pairs
            if (entry := self.presence.find((org, external_id), code)) is not None
            and (0 <= entry.raw_first < raw_start or 0 <= entry.rekeyed_first < rekeyed_start)
        }

    def _announce(self, name: SubscriptionName, append_time_ms: int) -> None:
        for cut_ms in self.revisions_after(append_time_ms):
            self.expect_cut(name, cut_ms)

    def expect_cut(self, name: SubscriptionName, cut_ms: int) -> None:
        """Have a revision cut taken; one that finds nothing new publishes nothing."""
        self.late_cuts.setdefault(name, set()).add(cut_ms)
        self._late_names.add(name)

    def take_folded(self, folded: Folded) -> None:
        """Remember what a fold changed, for the next flush and for the cuts to come."""
        self._dirty += folded.dirty
        if folded.ignored:
            self.ignored += folded.ignored
            self.not_counted.take(folded.not_counted)
        self.smaller_positions |= folded.displaced
        for cell in folded.late:
            name = cell.layer.span.name
            self._late_names.add(name)
            cuts = self.late_cuts.setdefault(name, set())
            cuts.update(cell.layer.revision_of(cut_ms) for cut_ms in cell.late or ())

    def take_late_names(self) -> set[SubscriptionName]:
        """External subscriptions that got late events since the last call."""
        names, self._late_names = self._late_names, set()
        return names

    def _admit(
        self, runs: Iterable[Run]
    ) -> tuple[list[tuple[Route, list[Arrival]]], list[bytes], list[Entry], list[Refused]]:
        """Split runs into events that may count, with ids and entries in order, and refused ones.

        Hot path: `event_id` and `event_body_hash` say the same of one event.
        """
        taken: list[tuple[Route, list[Arrival]]] = []
        ids: list[bytes] = []
        entries: list[Entry] = []
        refused: list[Refused] = []
        routes = self.routes
        for pair, run in runs:
            route = routes.get(pair)
            if route is None or route.presence is None:
                route = self.route_of(pair)
            prefix = f"{pair[0]}\0{pair[1]}\0"
            # Most events fall into the period that the last one of the route did, long before it
            # is due; everything else is looked at closely.
            layer = route.spans[0].current if route.spans else None
            if layer is None or layer.period is None:
                start_ms, end_ms, due_at_ms = 0, -1, -1
            else:
                start_ms, end_ms = layer.start_ms, layer.end_ms
                due_at_ms = layer.period.due_at_ms
            admitted: list[Arrival] = []
            for arrival in run:
                event, append_time_ms = arrival.event, arrival.append_time_ms
                timestamp_ms = event.timestamp_ms
                if timestamp_ms is None:
                    timestamp_ms = append_time_ms
                if (
                    not start_ms <= timestamp_ms < end_ms <= append_time_ms + MAX_EVENT_AHEAD_MS
                    or append_time_ms > due_at_ms
                ):
                    refusal = self.refusal(arrival, timestamp_ms)
                    if refusal is not None:
                        refused.append(refusal)
                        continue
                admitted.append(arrival)
                identity = _blank_id()
                identity.update((prefix + event.transaction_id).encode())
                ids.append(identity.digest())
                body_hash = (
                    event_body_hash(event) if event.envelope else _xxh3(event.body) & BODY_HASH_MASK
                )
                row = (
                    append_time_ms,
                    arrival.raw_partition,
                    arrival.raw_offset,
                    arrival.array_index,
                    arrival.rekeyed_offset,
                    body_hash,
                )
                # Plain __new__: the generated one costs three times as much.
                entries.append(_new(Entry, row))
            if admitted:
                taken.append((route, admitted))
        return taken, ids, entries, refused

    def refusal(self, arrival: Arrival, timestamp_ms: int) -> Refused | None:
        """Why an event is not taken, if it is not. May raise `WaitForDefinitions`."""
        refusal = check_range(timestamp_ms, arrival.append_time_ms)
        if refusal is not None:
            return Refused(arrival, refusal, OUT_OF_RANGE_MESSAGE)
        refusal = self.too_late(arrival, timestamp_ms)
        return None if refusal is None else Refused(arrival, refusal, _LATE_MESSAGES[refusal])

    def too_late(self, arrival: Arrival, timestamp_ms: int) -> RefusalCode | None:
        """Whether the event's period no longer takes it (records-and-cuts §2)."""
        append_time_ms = arrival.append_time_ms
        # Not by the route: until a refold is done it is the old one, and what is refused stays
        # refused.
        period = self.period_at(arrival.name, timestamp_ms)
        if period is None or append_time_ms <= period.refused_after_ms or arrival.admitted:
            return None
        if self.definitions.append_time_ms <= period.due_at_ms:
            raise WaitForDefinitions(period.due_at_ms)
        if append_time_ms > period.late_until_ms:
            return RefusalCode.TOO_LATE
        return RefusalCode.PERIOD_CLOSED

    def _repeated(self, arrival: Arrival, entry: Entry, known: Entry) -> Duplicate | None:
        """A known id again: the smallest position wins (records-and-cuts §3)."""
        if entry[:4] == known[:4]:
            return None
        if entry[:4] < known[:4]:
            name = arrival.name
            history = (
                self.corrections.history(arrival.identity) if self.corrections.touches(name) else ()
            )
            self._note_versions(name, arrival, history)
            self._replaced.add(name)
            self._follow_again(name, arrival, history)
            same = entry.body_hash == known.body_hash
            return Duplicate(arrival, known, True if same else None, replaced=True)
        if entry.body_hash == known.body_hash:
            return Duplicate(arrival, known, identical=True)
        return Duplicate(arrival, known, identical=None)

    def _note_versions(
        self, name: SubscriptionName, arrival: Arrival, history: Sequence[Held]
    ) -> None:
        """Presence of an event as it is and as its corrections have it."""
        versions = ((held.event, held.append_time_ms) for held in history)
        amended = [(event, at_ms) for event, at_ms in versions if event is not None]
        for code in sorted({arrival.event.code, *(event.code for event, _ in amended)}):
            # A route is renewed until its first event takes it.
            self.route_of((*name, code))
            self.presence.of(name, code).note((arrival,))
        for event, corrected_ms in amended:
            self._reach(name, event, arrival.append_time_ms, corrected_ms)

    def _reach(
        self, name: SubscriptionName, amended: Event, append_time_ms: int, corrected_ms: int
    ) -> None:
        at_ms = amended.timestamp_ms
        entry = self.presence.of(name, amended.code)
        # Its cut is that of its correction.
        entry.reach(append_time_ms if at_ms is None else at_ms, corrected_ms)

    def _follow_again(
        self, name: SubscriptionName, arrival: Arrival, history: Sequence[Held]
    ) -> None:
        """An earlier copy of an event was appended before corrections that the later one was not.

        Until them it counts as it is, from its own cut on.
        """
        for held in history:
            if held.append_time_ms > arrival.append_time_ms:
                self.corrections.follow(held)
                self._announce(name, arrival.append_time_ms)
                self._announce(name, held.append_time_ms)

    # Routes

    def route_of(self, pair: Pair) -> Route:
        """The route of a pair, compiled at its first event and when definitions touch it."""
        route = self.routes.get(pair)
        if route is not None and not self._is_outdated(route):
            return route
        organization_id, external_id, code = pair
        name = (organization_id, external_id)
        self.thaw(name)
        route = self.routes.get(pair)
        if route is not None and not self._is_outdated(route):
            return route
        if self.presence.find(name, code) is None:
            if self.presence.passes_over(name, code):
                # Nothing is kept of it; no charge asks about it.
                return Route(*pair, tuple(timeline for _, timeline in self.timelines(name)), ())
            self._eventless.setdefault(name, set()).add(code)
            return self._install(pair, self.compile(pair))
        return self._install(pair, self._compiled_as_it_stands(pair))

    def _is_outdated(self, route: Route) -> bool:
        """Whether it has to be compiled again: only one that no event has taken."""
        if route.presence is not None:
            return False
        old, organization_id = self._routes_old, route.organization_id
        if route.made_at >= max(old.get(organization_id, 0), old.get(None, 0)):
            return False
        name = (organization_id, route.external_subscription_id)
        return self.presence.find(name, route.code) is None

    def _compiled_as_it_stands(self, pair: Pair) -> Route:
        """A route of a pair that has events, under what these were folded under."""
        until_ms, history_ms = self._standing(pair[:2])
        if until_ms is not None or history_ms is not None:
            self._again[pair[:2]] = None
        return self.compile(pair, until_ms, history_ms)

    def _standing(self, name: SubscriptionName) -> tuple[int | None, int | None]:
        """What packed cells stand under: append times of definitions and of history records.

        None: under all that are in force, for nothing is left to be looked at.
        """
        if not self._told:
            return None, self._stands_history_ms
        until_ms = self._unclear_until_ms if name in self._unclear else self._stands_until_ms
        return until_ms, self._stands_history_ms

    def _install(self, pair: Pair, route: Route) -> Route:
        replaced = self.routes.get(pair)
        self.routes[pair] = route
        route.made_at = self._told_of
        for span in route.spans:
            self._adopt(span)
        for span in replaced.spans if replaced is not None else ():
            # One that no event has reached, or the pair would be refolded.
            if self.spans.get(span.key) is span:
                del self.spans[span.key]
            span.drop()
        return route

    def compile(
        self,
        pair: Pair,
        until_ms: int | None = None,
        history_ms: int | None = None,
        timelines: Timelines | None = None,
    ) -> Route:
        """A fresh route without cells, under all definitions or those appended up to a time.

        `history_ms`: under history records appended until then, instead of those in force.
        `timelines`: with these periods only.
        """
        organization_id, external_id, code = pair
        name = (organization_id, external_id)
        if timelines is None:
            timelines = self.timelines(name, until_ms)
        plans: list[SpanPlan] = []
        history = self.definitions.history_of(
            organization_id, self.history_ms if history_ms is None else history_ms
        )
        for subscription, timeline in timelines:
            plans += plan_spans(
                self.definitions, subscription, timeline, code, self.folds, until_ms, history
            )
        settings = self.definitions.settings_at(until_ms)
        if not timelines and settings.implicit_plan:
            metric = self.definitions.metric(organization_id, code, until_ms)
            if metric is not None:
                limited_after_ms = self.definitions.limited_after_ms(until_ms)
                plans.append(self.implicit.span_plan(name, metric, settings, limited_after_ms))
        spans = tuple(Span(name, *plan) for plan in plans)
        return Route(*pair, tuple(timeline for _, timeline in timelines), spans)

    def goes_elsewhere(self, pair: Pair, then: Partition) -> bool:
        """Whether events of a pair count otherwise under the definitions of another partition."""
        presence = self.presence.find(pair[:2], pair[2])
        if presence is None:
            return False
        reach, history_ms = _reach(presence), self.history_ms
        now = self.compile(pair).shape(*reach)
        return then.compile(pair, None, history_ms).shape(*reach) != now

    def fold_of(self, charge: Charge, metric: Metric, timezone: str) -> ChargeFold:
        """A compiled charge, under all definitions."""
        limited_after_ms = self.definitions.limited_after_ms()
        return self.folds.fold_of(charge, metric, timezone, limited_after_ms)

    def timelines(self, name: SubscriptionName, until_ms: int | None = None) -> Timelines:
        """Timelines under all definitions, or those appended up to a time."""
        before: Timelines = []
        if until_ms is None:
            made_at, before = self._timelines.get(name, (-1, []))
            old = self._timelines_old
            if made_at >= max(old.get(name[0], 0), old.get(None, 0)):
                return before
        stood, standing = self._stood
        if stood is not None and stood[0] == name:
            if stood[1:] == (until_ms, self.definitions.offset):
                return standing
            before = before or standing
        subscriptions = self.definitions.subscriptions(*name)
        if not subscriptions:
            # Of names that nothing defines there may be any number.
            return []
        known = {id(subscription): timeline for subscription, timeline in before}
        timelines = []
        for subscription in subscriptions:
            if _counts(subscription, until_ms):
                timeline = subscription_timeline(
                    self.definitions, subscription, until_ms, known.get(id(subscription))
                )
                timelines.append((subscription, timeline))
        if until_ms is None:
            self._timelines[name] = self._told_of, timelines
        else:
            self._stood = (name, until_ms, self.definitions.offset), timelines
        return timelines

    def _unfixed(self, name: SubscriptionName, before_ms: int) -> tuple[Timelines, Timelines]:
        """Timelines as of a time and now, without most of the periods that were fixed by then.

        All that was fixed is alike in both; where it might not be, they are whole.
        """
        definitions = self.definitions
        limited_ms = definitions.limited_after_ms()
        fixed_ms: int | None = before_ms
        if limited_ms != definitions.limited_after_ms(before_ms):
            fixed_ms = None
        found = []
        for subscription in definitions.subscriptions(*name):
            was = subscription_terms(definitions, subscription, before_ms)
            now = subscription_terms(definitions, subscription)
            if was != now[: len(was)]:
                fixed_ms = None
            found.append((subscription, was, now))
        old: Timelines = []
        new: Timelines = []
        for subscription, was, now in found:
            if _counts(subscription, before_ms):
                old.append((subscription, Timeline(was, fixed_ms=fixed_ms)))
            if _counts(subscription):
                new.append((subscription, Timeline(now, fixed_ms=fixed_ms)))
        return old, new

    def period_at(self, name: SubscriptionName, timestamp_ms: int) -> Period | None:
        """The period of an external id that an event falls in, whatever its charges."""
        for _, timeline in self.timelines(name):
            period = timeline.holding(timestamp_ms)
            if period is not None:
                return period
        return None

    def _generation(self) -> int:
        """That of a span without cells: the changelog has nothing of its sets of members.

        Noted when it is first asked for, so that it stays until the next refold.
        """
        if self.record.generation < 0:
            self.record.generation = self.record.flush
        return self.record.generation

    def next_generation(self) -> int:
        """That of spans made by a refold that begins now."""
        return max(self.record.flush, self.record.generation) + 1

    def _adopt(self, span: Span) -> None:
        """Give a new span the cells that its predecessor, or the changelog, has for its key."""
        old = self.spans.get(span.key)
        self.spans[span.key] = span
        if old is not None and old is not span:
            for layer in old.layers.values():
                self._move_layer(layer, span)
            span.sets, span.generation = old.sets, old.generation
        elif span.fold.unique:
            span.generation = self._generation()
        for name, (key, value) in self._thawed.pop(span.key, ()):
            layer_now, stored = span.layer_starting(name.layer_ms), _decode_cell(value)
            states = None if layer_now is None else _states_of(stored, span)
            if layer_now is None or states is None:
                self._thawed.setdefault(span.key, []).append((name, (key, value)))
                continue
            cell = layer_now.cell(name.filter_id, name.groups)
            span.generation = stored.generation
            if isinstance(cell, GroupCell):
                cell.first = stored.first
            for cut_ms, state in states:
                if cut_ms == 0:
                    cell.state = state
                else:
                    cell.late = {**(cell.late or {}), cut_ms: state}
            cell.hash = record_hash(key, value)

    # Cold subscriptions

    def is_cold(self, name: SubscriptionName) -> bool:
        """Whether the cells of an external subscription are packed, and its routes unmade."""
        return bool(self._cold) and any(i in self._cold for i in self._subscription_ids(name))

    def sealed_cells(self, name: SubscriptionName) -> list[Sealed]:
        """The packed cells of a cold external subscription, for `cool`."""
        found = ((i, self._cold.sealed(i)) for i in self._subscription_ids(name) if self._cold)
        return [(identity, sealed) for identity, sealed in found if sealed is not None]

    def thaw(self, name: SubscriptionName) -> None:
        """Make routes and cells of a cold external subscription, as they stand."""
        if not self._cold:
            return
        packed = [cell for i in self._subscription_ids(name) for cell in self._cold.take(i)]
        if not packed:
            return
        for cell in packed:
            key = _decode_key(cell[0])
            self._thawed.setdefault(SpanKey(*key[:3]), []).append((key, cell))
        for code in self.presence.codes.get(name, ()):
            pair = (*name, code)
            if pair not in self.routes:
                self._install(pair, self._compiled_as_it_stands(pair))
        if self._thawed:
            self._refold_strays(name)

    def _refold_strays(self, name: SubscriptionName) -> None:
        """Cells that no route leads to are a fault of ours: what they hold is counted anew."""
        for cells in self._thawed.values():
            for _, (key, value) in cells:
                self._deleted[key] = None
                hashed = record_hash(key, value)
                self.record.cells -= 1
                self.record.cells_hash = (self.record.cells_hash - hashed) % SUM_MODULUS
                # While it is being restored what was loaded is compared with the record yet.
                self._loaded -= 1
                self._loaded_hash -= hashed
        self._thawed.clear()
        self.strays.update((*name, code) for code in self.presence.codes.get(name, ()))

    def cool(self, name: SubscriptionName, sealed: Sequence[Sealed] = ()) -> None:
        """Pack the cells of an external subscription, unless a flush or a refold has to see them.

        What is packed is what the changelog has, so that nothing needs to be written. `sealed`: as
        they were packed before, if they did not change.
        """
        if name in self.stale:
            return
        if self._told or self._stands_history_ms is not None:
            self._uncooled[name] = None
            return
        self._drop_eventless(name)
        pairs = [(*name, code) for code in self.presence.codes.get(name, ())]
        spans = [span for p in pairs if p in self.routes for span in self.routes[p].spans]
        cells = [
            cell
            for span in spans
            for layer in span.layers.values()
            for cell in layer.cells.values()
        ]
        if any(cell.dirty for cell in cells):
            return
        if sealed and self.strays.isdisjoint(pairs):
            for identity, piece in sealed:
                self._cold.put_back(identity, piece)
        else:
            packed = [
                (cell, msgspec.msgpack.encode(cell.key), cell.packed())
                for cell in cells
                if cell.hash
            ]
            respelled = [c for c, key, value in packed if record_hash(key, value) != c.hash]
            if respelled:
                # An older program wrote the same in other words: the next flush writes it anew.
                for cell in respelled:
                    self.mark(cell)
                return
            for _, key, value in packed:
                self._cold.add(key, value)
            self._cold.seal()
        for span in spans:
            self.spans.pop(span.key, None)
            span.drop()
        for pair in pairs:
            self.routes.pop(pair, None)
        self._timelines.pop(name, None)
        if spans:
            now_ms = self.definitions.append_time_ms
            if now_ms != self._cooled_ms:
                self._cooled_ms, self._cooled = now_ms, set()
            self._cooled.add(name)

    def _subscription_ids(self, name: SubscriptionName) -> Iterable[str]:
        for versions in self.definitions.subscriptions(*name):
            yield next(versions.all()).id
        yield subscription_id(*name)

    def _move_layer(self, layer: Layer, span: Span) -> None:
        target = span.layer_starting(layer.start_ms)
        for cell in layer.cells.values():
            if target is None:
                self.delete(cell)
                continue
            cell.layer = target
            target.cells[cell.filter_id, cell.groups] = cell

    def mark(self, cell: Cell) -> None:
        """The cell changed: write it with the next flush."""
        if not cell.dirty:
            cell.dirty = True
            self._dirty.append(cell)

    def delete(self, cell: Cell) -> None:
        """The cell is no more; its changelog record goes with the next flush."""
        if cell.hash:
            self._deleted[msgspec.msgpack.encode(cell.key)] = None
            self.record.cells -= 1
            self.record.cells_hash = (self.record.cells_hash - cell.hash) % SUM_MODULUS
            cell.hash = 0
        cell.dirty = True  # no later change may write it again

    # Definitions

    def refolding(self, organization_id: str, external_id: str) -> bool:
        """Whether figures of an external subscription may not show all definitions yet."""
        name = (organization_id, external_id)
        return (
            name in self.stale
            or name in self.parked
            or name in self.half_closed
            or self._is_behind(name)
            or self._is_searched_for(organization_id)
        )

    def _is_searched_for(self, organization_id: str) -> bool:
        return REST[:2] in self.stale and bool(self._searched_for & {organization_id, None})

    def _is_behind(self, name: SubscriptionName) -> bool:
        organization_id = name[0]
        return any(self._told_about[one] for one in (name, (organization_id, None), (None, None)))

    @property
    def behind_since_ms(self) -> int | None:
        """Append time of the first definition not looked at; cuts at or after it have to wait."""
        return self._told[0].at_ms if self._told else None

    def tell(self, touch: Touch, at_ms: int | None = None, until_ms: int | None = None) -> None:
        """Take note of a definition that was applied; `renewing` looks at whom it concerns.

        `at_ms`: its append time, when others came after. `until_ms`: the append time up to which
        definitions were looked at before, for a partition that is being restored.
        """
        at_ms = self.definitions.append_time_ms if at_ms is None else at_ms
        organization_id = touch.organization_id
        self._told_of += 1
        if organization_id is not None and touch.external_subscription_id is not None:
            name = (organization_id, touch.external_subscription_id)
            self._timelines.pop(name, None)
            self._drop_eventless(name)
        else:
            self._routes_old[organization_id] = self._told_of
            if touch.moves_cuts:
                self._timelines_old[organization_id] = self._told_of
        if not self._told:
            self._stands_until_ms = at_ms - 1 if until_ms is None else until_ms
        if until_ms is None and self._unclear is not _EVERYBODY:
            # As-of look-ups cannot tell what cells were restored or packed under from what came
            # after, in the same millisecond.
            if at_ms <= self._restored_ms:
                self._unclear, self._unclear_until_ms = _EVERYBODY, self._restored_ms
            elif at_ms == self._cooled_ms:
                self._unclear, self._unclear_until_ms = self._cooled, at_ms
        self._told.append(Told(touch, at_ms))
        self._told_about[touch.organization_id, touch.external_subscription_id] += 1

    def renewing(self) -> Generator[Renewed | None, None, None]:
        """Look at whom the definitions concern that it was told of, a step for each.

        Events fold on meanwhile, by the routes that there are. Ended early it begins again.
        """
        while self._told:
            told = list(islice(self._told, TOLD_AT_ONCE))
            if any(touch.organization_id is None for touch, _ in told):
                # Settings that came into force before corrections that were read before them.
                for held in list(self.corrections.followed()):
                    self._announce(held.name, held.append_time_ms)
                    yield None
            yield from self._renewed_for([touch for touch, _ in told])
            yield from self._renewed_again()
            if self.presence.rest is not None:
                defining = [touch for touch, _ in told if self._defines(touch)]
                if defining:
                    self._searched_for.update(touch.organization_id for touch in defining)
                    yield Renewed(REST[:2], {REST}, False)
            for touch, _ in told:
                self._told.popleft()
                about = touch.organization_id, touch.external_subscription_id
                self._told_about[about] -= 1
                if not self._told_about[about]:
                    del self._told_about[about]
            if self._told:
                self._stands_until_ms = self._told[0].at_ms - 1
        self._unclear = ()
        yield from self._pack_later()

    def _renewed_for(self, touches: Iterable[Touch]) -> Iterator[Renewed | None]:
        """Of several definitions that concern the same ones the widest is enough."""
        seen: set[SubscriptionName] = set()
        for touch in sorted(dict.fromkeys(touches), key=lambda touch: touch.codes is not None):
            for name in self._concerned(touch):
                if name in seen:
                    yield None
                    continue
                if touch.codes is None:
                    seen.add(name)
                yield Renewed(name, self._looked_at(name, touch.codes), touch.moves_cuts)

    def _defines(self, touch: Touch) -> bool:
        """Whether a definition may be the first of a name that events came for."""
        organization_id, definitions = touch.organization_id, self.definitions
        if organization_id is None:
            return True
        if touch.external_subscription_id is not None:
            name = (organization_id, touch.external_subscription_id)
            since_ms = definitions.named_since_ms(*name)
            return self.record.searched_ms <= since_ms < NEVER_MS
        return any(
            self.record.searched_ms <= definitions.code_since_ms(organization_id, code) < NEVER_MS
            for code in touch.codes or ()
        )

    def searched_for(self) -> frozenset[str | None]:
        """Organizations that defined what names not kept one by one are searched for."""
        return frozenset(self._searched_for)

    def note_searched(self, defined_ms: int, organization_ids: frozenset[str | None]) -> None:
        """Whatever was defined until then is found among names that were not kept one by one."""
        self.record.searched_ms = max(self.record.searched_ms, defined_ms)
        self._searched_for -= organization_ids

    def is_defined(self, name: SubscriptionName, code: str) -> bool:
        """Whether anything is or was defined that may count events of a name."""
        return self.definitions.known_since_ms(*name, code) < NEVER_MS

    def _begin_rest(self) -> Presence:
        """What is known of undefined names that are not kept one by one, before the first is."""
        record = self.record
        record.searched_ms = self.definitions.append_time_ms
        return Presence(raw_first=record.raw_next, rekeyed_first=record.rekeyed_next)

    def _concerned(self, touch: Touch) -> Iterator[SubscriptionName]:
        """Whom a definition is about; they may be at home elsewhere, or have no event yet."""
        for code in sorted(touch.codes or ()):
            for name in self.presence.names_with(touch.organization_id or "", code):
                if self._is_on(name, touch.plan_id):
                    yield name
        if touch.codes is not None:
            return
        if touch.of_all:
            # Also without a subscription: for the implicit plan.
            for name in list(self.presence.codes):
                if touch.organization_id in (None, name[0]):
                    yield name
        yield from self.definitions.names_touched(touch)

    def _is_on(self, name: SubscriptionName, plan_id: str | None) -> bool:
        """Whether a subscription of that external id is on a plan."""
        return plan_id is None or any(
            newest is not None and newest.plan_id == plan_id
            for newest in (versions.at() for versions in self.definitions.subscriptions(*name))
        )

    def _renewed_again(self) -> Iterator[Renewed]:
        """Those whose cells were asked for before it was their turn, or after."""
        while self._again:
            name, _ = self._again.popitem()
            refold = self._looked_at(name, None)
            if name in self._unclear:
                refold |= self.pairs_of_name(name)
            yield Renewed(name, refold, False)

    def _pack_later(self) -> Iterator[None]:
        """Pack what could not be packed while definitions were looked at."""
        while self._uncooled and not self._told:
            name, _ = self._uncooled.popitem()
            self.cool(name)
            yield None

    def _looked_at(self, name: SubscriptionName, codes: Container[str] | None) -> set[Pair]:
        """New routes for old ones of some codes; those that must be refolded keep theirs."""
        try:
            return self._newly_routed(name, codes)
        except MemoryError:
            raise
        except Exception:
            # A refold finds out whether that is so of this one alone, and what to do about it.
            log.exception("It cannot be told what a definition changes for %s", name)
            return self.pairs_of_name(name)

    def _newly_routed(self, name: SubscriptionName, codes: Container[str] | None) -> set[Pair]:
        presences = self.presence.codes.get(name, {})
        found = {(*name, c): p for c, p in presences.items() if codes is None or c in codes}
        if not found:
            return set()
        if self.presence.undefined:
            for code in presences:
                self.presence.note_defined(name, code)
        until_ms, history_ms = self._standing(name)
        refold: set[Pair] = set()
        if self._told and name in self._unclear:
            refold.update(pair for pair in found if pair not in self.routes)
        elif self._stays_cold(name, found, until_ms, history_ms):
            return refold
        refold |= self._redirected(name, found, until_ms, history_ms)
        # Cells of before the definition have no route when it is unclear what they were made under.
        self.strays -= refold
        return refold

    def spare(self, name: SubscriptionName) -> None:
        """Drop what was made to look at an external subscription that has no routes at hand."""
        if name not in self.presence.codes or self.is_cold(name):
            self._timelines.pop(name, None)

    def _redirected(
        self,
        name: SubscriptionName,
        pairs: Mapping[Pair, Presence],
        before_ms: int | None,
        history_ms: int | None,
    ) -> set[Pair]:
        """New routes for old; the pairs that keep their old ones, because they are to be refolded.

        `before_ms`, `history_ms`: under what the old ones were compiled.
        """
        if self.is_cold(name):
            # Routes of every code come back as of then. Of another one, something else of that very
            # millisecond may have left the packed cells alone, and no one would look at it again.
            self.thaw(name)
            self._again.pop(name, None)
            codes = self.presence.codes.get(name, {})
            pairs = {(*name, code): presence for code, presence in codes.items()}
        return {
            pair
            for pair, presence in pairs.items()
            # A running refold may stand under older definitions: it has to be done again.
            if pair in self.refolding_pairs
            or self._changes_course(pair, presence, before_ms, history_ms)
        }

    # History records

    def charges_of(self, subscription: Subscription, period: Period) -> PeriodCharges:
        """What a period of a subscription folds under."""
        definitions = self.definitions
        history = definitions.history_of(subscription.organization_id, self.history_ms)
        plans = definitions.plan_versions[subscription.plan_id]
        return PeriodCharges(definitions, plans, period, history)

    def next_history_ms(self) -> int:
        """Append time of the next history record that is not in force; NEVER_MS: there is none.

        To be entered before any cut at or after it, once every cut before it is published.
        """
        records = self.definitions.history_after(self._history_entered_ms)
        return records[0].append_time_ms if records else NEVER_MS

    @property
    def _history_entered_ms(self) -> int:
        """History records appended until then were looked at, each to the end."""
        half_done = self._stands_history_ms
        return self.history_ms if half_done is None else half_done

    def entering_history(self) -> Generator[Renewed | None, None, None]:
        """Put the next history records in force, a step for each external subscription.

        Pairs that must be refolded keep their old routes until then. Everything that was appended
        until the records must have been folded, and the definitions looked at. Ended early it
        begins again.
        """
        records = self.definitions.history_after(self._history_entered_ms)
        self._stands_history_ms = self._history_entered_ms
        self._entered_ms = records[0].append_time_ms
        refolds = bool(self.refolding_pairs)
        self._told_of += 1
        for record in records:
            # A look-ahead may have made a route for a first event that is not folded yet.
            self._routes_old[record.organization_id] = self._told_of
            named = self.definitions.codes_named(record)
            for name in self._concerned(Touch(record.organization_id, codes=named)):
                refold = self._looked_at(name, named)
                refolds = refolds or bool(refold)
                yield Renewed(name, refold, False)
        for renewed in self._renewed_again():
            refolds = refolds or bool(renewed.refold)
            yield renewed
        self._stands_history_ms = None
        if not refolds:
            self.record.history_ms = self._entered_ms
        yield from self._announcing_history(records)
        yield from self._pack_later()

    def revised_by_history(self, name: SubscriptionName) -> bool:
        """Whether history records shape cells of a subscription that is not revised by them yet."""
        cuts = self.late_cuts.get(name, set())
        return any(
            not cuts.isdisjoint(self.revisions_after(record.append_time_ms))
            for record in self.definitions.history_of(name[0], self.history_ms)
        )

    def _announcing_history(self, records: Iterable[HistoryRecord]) -> Iterator[None]:
        """The revision cuts of what history records concern."""
        for record in records:
            at_ms, done_ms = record.append_time_ms, self.record.cut_ms
            if max(self.revisions_after(at_ms)) <= done_ms:
                continue
            for name in dict.fromkeys([*self.presence.codes, *self._timelines]):
                yield None
                if name[0] != record.organization_id:
                    continue
                cuts = {
                    ceil_to(at_ms, period.revise_every_ms)
                    for _, timeline in self.timelines(name)
                    for period in timeline.until(at_ms)
                    if record.covers(period.start_ms, period.due_at_ms)
                }
                for cut_ms in cuts:
                    if cut_ms > done_ms:
                        self.expect_cut(name, cut_ms)

    def _stays_cold(
        self,
        name: SubscriptionName,
        pairs: Mapping[Pair, Presence],
        before_ms: int | None,
        history_ms: int | None = None,
    ) -> bool:
        """Whether a cold external subscription is none of a definition's concern."""
        if name in self.stale or not self.is_cold(name):
            return False
        old: Timelines | None = None
        new: Timelines | None = None
        if before_ms is not None and history_ms is None:
            old, new = self._unfixed(name, before_ms)
        return all(
            self.compile(pair, before_ms, history_ms, old).shape(*_reach(presence))
            == self.compile(pair, timelines=new).shape(*_reach(presence))
            for pair, presence in pairs.items()
        )

    def pairs_of(self, touch: Touch) -> Iterator[Pair]:
        """Every pair with events that a definition may concern."""
        for name in self._concerned(touch):
            for code in list(self.presence.codes.get(name, ())):
                if touch.codes is None or code in touch.codes:
                    yield (*name, code)

    def _drop_eventless(self, name: SubscriptionName) -> None:
        """Routes that no event has taken are simply compiled again when one comes."""
        for code in self._eventless.pop(name, ()):
            if self.presence.find(name, code) is None:
                route = self.routes.pop((*name, code), None)
                for span in route.spans if route is not None else ():
                    self.spans.pop(span.key, None)

    def _changes_course(
        self,
        pair: Pair,
        presence: Presence,
        before_ms: int | None,
        history_ms: int | None = None,
    ) -> bool:
        """Swap the route in place if no folded event goes elsewhere; else say so."""
        old = self.routes.get(pair) or self.compile(pair, before_ms, history_ms)
        new = self.compile(pair)
        reach = _reach(presence)
        if old.shape(*reach) != new.shape(*reach):
            if pair not in self.routes:
                self._install(pair, old)
            return True
        self._install(pair, new)
        return False

    def replace(self, pair: Pair, refolded: Route | None) -> list[SetKey]:
        """Put the route and the cells of a refold in place of those that a pair has.

        The sets of members to be forgotten. They stay in the changelog where they are not at hand:
        under a generation that no span has again.
        """
        self.thaw(pair[:2])
        route = self.routes.pop(pair, None)
        gone: list[SetKey] = []
        for span in route.spans if route is not None else ():
            if span.fold.unique:
                gone += span.all_sets().values()
            for layer in span.layers.values():
                for cell in layer.cells.values():
                    self.delete(cell)
            # Of another code, that its charge is about now, it may be replaced already.
            if self.spans.get(span.key) is span:
                del self.spans[span.key]
            span.drop()
        if refolded is not None:
            self.routes[pair] = refolded
            for span in refolded.spans:
                self.spans[span.key] = span
        return gone

    # Flushing and restoring

    def pending_changes(self) -> int:
        """How many changelog records the next flush has, about."""
        tables = (self.members, self.presence, self.published, self.corrections)
        return len(self._dirty) + len(self._deleted) + sum(each.pending for each in tables)

    def take_changes(self) -> Changes:
        """Everything changed since the last flush; advances `record` to describe it."""
        return drained(self.taking_changes())

    def taking_changes(self) -> Steps[Changes]:
        """The same by small steps; nothing may be folded or swapped between them."""
        cells: list[tuple[bytes, bytes | None]] = []
        record = self.record
        dirty, self._dirty = self._dirty, []
        for count, cell in enumerate(dirty, 1):
            if count % STEP_ITEMS == 0:
                yield
            if self.spans.get(cell.layer.span.key) is not cell.layer.span:
                continue
            cell.dirty = False
            key, value = msgspec.msgpack.encode(cell.key), cell.packed()
            new_hash = record_hash(key, value)
            record.cells += cell.hash == 0
            record.cells_hash = (record.cells_hash + new_hash - cell.hash) % SUM_MODULUS
            cell.hash = new_hash
            self._deleted.pop(key, None)
            cells.append((key, value))
        cells += [(key, None) for key in self._deleted]
        self._deleted.clear()
        members = yield from self.members.taking_changes()
        changes = Changes(
            cells,
            members,
            self.presence.take_changes(),
            self.published.take_changes(),
            self.corrections.take_changes(),
            self.index.pending(),
        )
        record.flush += 1
        record.index_length = self.index.length
        record.members_sum = self.members.sum
        record.presence_sum = self.presence.sum
        record.published_sum = self.published.sum
        record.corrections_sum = self.corrections.sum
        return changes

    def rows_of(self, changes: Changes) -> Iterator[tuple[str, bytes, bytes | None]]:
        """(changelog, key, value) of changes, but for those of the index.

        Raises:
            TooLargeForChangelog: no changelog would take one of them.
        """
        members = ((member_key(name), value) for name, value in changes.members)
        for changelog, rows in (
            ("cells", changes.cells),
            ("members", members),
            ("presence", changes.presence),
            ("published", changes.published),
            ("corrections", changes.corrections),
        ):
            for key, value in rows:
                if value is not None and len(key) + len(value) > CHANGELOG_RECORD_BYTES:
                    raise TooLargeForChangelog(changelog, key, len(value), self.pair_of(key))
                yield changelog, key, value

    def pair_of(self, key: bytes) -> Pair | None:
        """Whose cell or member a changelog record is, by its key; None of anything else."""
        try:
            named = msgspec.msgpack.decode(key)
            if isinstance(named[0], bytes):
                named = msgspec.msgpack.decode(named[0])
            span = self.spans.get(SpanKey(*named[:3]))
        except (msgspec.DecodeError, TypeError):
            return None
        return None if span is None else (*span.name, span.fold.metric.code)

    def load_cell(self, key: bytes, value: bytes) -> None:
        """Take over one record of the cell changelog."""
        if is_newer(value):
            raise StateTooNew(f"a cell is of a fold version later than {FOLD_VERSION}")
        self._cold.add(key, value)
        self._loaded += 1
        self._loaded_hash += record_hash(key, value)
        if has_late_cuts(value):
            self._loaded_late.add(subscription_of(key))

    def forget_stored(self, keys: Iterable[bytes]) -> None:
        """Records of a torn state: deleted by the next flush unless they are written anew."""
        self._deleted.update(dict.fromkeys(keys))

    def restored(self) -> bool:
        """Whether counts and hash sums of what was loaded agree; cuts to come are known again.

        Published cells are checked where they can be mended (`app.runtime.restore`), members where
        they are read.
        """
        self._cold.seal()
        self._restored_ms = self.definitions.append_time_ms
        record = self.record
        if self.presence.rest is not None:
            # Whose definitions are being looked for is not written down.
            self._searched_for.add(None)
        self.members.sum = record.members_sum or self.members.sum
        if (self._loaded, self._loaded_hash % SUM_MODULUS) != (record.cells, record.cells_hash):
            return False
        if record.presence_sum not in (None, self.presence.sum):
            return False
        if self.corrections.outdated or record.corrections_sum not in (None, self.corrections.sum):
            return False
        in_force = [
            known
            for known in self.definitions.history_records
            if known.append_time_ms <= record.history_ms
        ]
        for _ in self._announcing_history(in_force):
            pass
        return all(self._expect_cuts(identity) for identity in sorted(self._loaded_late))

    def _expect_cuts(self, identity: str) -> bool:
        """Remember the revision cuts that cells of a subscription wait for."""
        versions = self.definitions.subscription_versions.get(identity)
        if versions is None:
            return False
        subscription = next(versions.all())
        name = (subscription.organization_id, subscription.external_id)
        for code in self.presence.codes.get(name, ()):
            for span in self.route_of((*name, code)).spans:
                late = {
                    layer.revision_of(cut_ms)
                    for layer in span.layers.values()
                    for cell in layer.cells.values()
                    for cut_ms in cell.late or ()
                }
                if late:
                    self.late_cuts.setdefault(name, set()).update(late)
        return True


class _Everybody(Container[SubscriptionName]):
    """All external subscriptions."""

    def __contains__(self, name: object) -> bool:
        return True


_EVERYBODY = _Everybody()


def refolds_of(steps: Iterable[Renewed | None]) -> set[Pair]:
    """What is to be refolded, of work that is done in one go: for whoever holds up nobody."""
    return {pair for renewed in steps if renewed is not None for pair in renewed.refold}


_new = tuple.__new__
_position_of = attrgetter("position")
# A copy of a hash that nothing was fed to costs less than a new one.
_blank_id = hashlib.blake2b(digest_size=12).copy
_xxh3 = xxhash.xxh3_64_intdigest
_decode_cell = msgspec.msgpack.Decoder(PackedCell).decode
_decode_key = msgspec.msgpack.Decoder(CellKey).decode
_decode_arrival = msgspec.msgpack.Decoder(Arrival).decode


def _states_of(stored: PackedCell, span: Span) -> list[tuple[int, Any]] | None:
    """States of a cell by cut; None when they are of another aggregation than the span's."""
    unpack = span.fold.aggregation.unpack
    try:
        return [(cut_ms, unpack(packed)) for cut_ms, packed in stored.cuts]
    except (ValueError, TypeError, ArithmeticError):
        return None


def _counts(subscription: Versions[Subscription], until_ms: int | None = None) -> bool:
    """Whether it was made by then, and not canceled."""
    newest = subscription.at(until_ms)
    return newest is not None and newest.canceled_at_ms is None


def _reach(presence: Presence) -> tuple[int, int]:
    """How far the events of a pair reach: what decides where they go, `Route.shape` compares."""
    return presence.newest_ms, presence.appended_ms


_LATE_MESSAGES = {
    RefusalCode.TOO_LATE: "the period closed too long ago for late events; replay with meter-admit"
    " or correct it by transaction_id",
    RefusalCode.PERIOD_CLOSED: "the period is closed and late events are refused; replay with"
    " meter-admit or correct it by transaction_id",
}
