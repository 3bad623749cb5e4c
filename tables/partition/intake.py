"""Intake: which events of a slice are taken, and which are too late, or known already."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from functools import partial
from itertools import accumulate, compress, groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import xxhash

from app.kernel import apart, index_rows, lead, reach_of
from app.wire.arrivals import Arrival, MeterKey, Run, SubscriptionKey
from app.wire.identity import event_body_hash
from app.wire.refusals import MAX_EVENT_AHEAD_MS, OUT_OF_RANGE_MESSAGE, RefusalCode, check_range
from tables.changelogged.members import Members, SetKey
from tables.event_index.entries import Entry, pack_entries, unpack_entry
from tables.event_index.index import EventIndex
from tables.event_index.rows import ROW_BYTES, ids_in, rows_at
from tables.fold import Folded, aim_first
from tables.partition.copies import Duplicate, SortedOut, sort_out
from tables.partition.corrected import Corrected
from tables.partition.earlier_copies import EarlierCopy
from tables.partition.packing import Packing
from tables.partition.route_table import RouteTable
from tables.partition.tables import Tables
from tables.routing.route import LateRoute, Route


class RefusedArrival(NamedTuple):
    """An event that is refused whatever its metrics are."""

    arrival: Arrival
    code: RefusalCode
    message: str


class Led(NamedTuple):
    """Runs that lead straight into a cell, whose events are all new."""

    routes: list[Route]
    runs: list[Run]
    """One for each route."""
    farther: list[tuple[Route, Run]]
    """Some of them, which the event ranges do not cover yet."""
    unsure: list[Run]
    """Some of them, whose members may have to be learnt."""
    rest: list[Run]
    """All others, which are to be looked at closely."""
    rows: bytearray
    """One for each event of `runs`, in order."""
    late: list[LateRoute]
    """Routes of late events among them, also if no event is left."""
    known: list[tuple[Route, Run]]
    """Runs of events whose ids are known, or come twice, with where they lead."""
    known_rows: bytes
    """One for each event of `known`, in order."""
    stored: list[bytes | None]
    """What the index has of each of these; None: it is to be asked once `rows` are added."""

    @property
    def ends(self) -> list[int]:
        """Where each run ends among all events."""
        return list(accumulate(map(len, map(itemgetter(1), self.runs))))

    def without(self, odd: Set[int]) -> Led:
        """Return the same with the events of some places among the rest: alone, not their runs."""
        if not odd:
            return self
        led, apart = self._parted(sorted(odd))
        return led._replace(rest=[*led.rest, *(run for _, run in apart)])

    def without_known(self, index: EventIndex) -> Led:
        """Return the same with the events whose ids are known, or came before, among the known."""
        found = index.known(self.rows)
        if not found:
            return self
        places = sorted(found)
        led, known = self._parted(places)
        rows, stored = rows_at(self.rows, places), [found[at] for at in places]
        return led._replace(known=known, known_rows=rows, stored=stored)

    def _parted(self, odd_places: list[int]) -> tuple[Led, list[tuple[Route, Run]]]:
        """Return the same without the events of some places, and these in runs, in order."""
        ends = self.ends
        runs: list[Run | None] = [*self.runs]
        parted: list[tuple[Route, Run]] = []
        left: dict[int, Run | None] = {}
        """Runs that lose events, by identity of what they were; None: all events."""
        for number, places in groupby(odd_places, partial(bisect_right, ends)):
            run = self.runs[number]
            first = ends[number] - len(run[1])
            kept, others = apart(run[1], [place - first for place in places])
            left[id(run)] = runs[number] = (run[0], kept) if kept else None
            parted.append((self.routes[number], (run[0], others)))
        even = np.ones(len(self.rows) // ROW_BYTES, np.bool_)
        even[odd_places] = False
        farther = [(route, left.get(id(run), run)) for route, run in self.farther]
        unsure = [left.get(id(run), run) for run in self.unsure]
        led = Led(
            [route for route, run in zip(self.routes, runs, strict=True) if run],
            [run for run in runs if run],
            [(route, run) for route, run in farther if run],
            [run for run in unsure if run],
            self.rest,
            bytearray(rows_at(self.rows, even)),
            self.late,
            self.known,
            self.known_rows,
            self.stored,
        )
        return led, parted


class WaitForDefinitions(Exception):
    """Whether an event is too late hangs on definitions that are not applied yet."""

    def __init__(self, past_ms: int):
        super().__init__(f"definitions past {past_ms}")
        self.past_ms = past_ms


class Intake:
    """What one partition takes of the events that come."""

    def __init__(
        self,
        tables: Tables,
        routes: RouteTable,
        packing: Packing,
        corrected: Corrected,
    ):
        self._definitions = tables.definitions
        self._index = tables.index
        self._corrections = tables.corrections
        self._checkpoint = tables.checkpoint
        self._timelines = routes.timelines
        self._routes = routes
        self._packing = packing
        self._corrected = corrected
        self._earlier: list[EarlierCopy] = []

    def lead(
        self, runs: list[Run], complete: Set[SetKey], first: dict[MeterKey, Route] | None = None
    ) -> Led:
        """Find the runs that lead straight into a cell. Only how far their events reach is changed.

        `complete`: the sets whose members are all at hand. `first`: by these routes alone.
        """
        rows = bytearray()
        hashing = _xxh3, event_body_hash, rows
        *found, rest = lead(runs, first or self._routes.by_key, complete, *hashing)
        late = self._late_routes(rest, complete) if rest and not first else {}
        if late:
            *more, rest = lead(rest, late, complete, *hashing)
            found = [one + other for one, other in zip(found, more, strict=True)]
        routes, straight, farther, unsure = found
        led = Led(routes, straight, farther, unsure, rest, rows, [*late.values()], [], b"", [])
        led = led.without_known(self._index)
        return led.without(self._awaited(led)) if self._corrections.awaits_any() else led

    def _awaited(self, led: Led) -> set[int]:
        """Return the places of events that may be corrected already.

        Others of their names go straight: a correction may stay without its event for good.
        """
        awaits, awaits_event = self._corrections.awaits, self._corrections.awaits_event
        found, end = set[int](), 0
        for (meter_key, _), next_end in zip(led.runs, led.ends, strict=True):
            begin, end = end, next_end
            if awaits(meter_key[:2]):
                ids = ids_in(led.rows[begin * ROW_BYTES : end * ROW_BYTES])
                found.update(at for at, each in enumerate(ids, begin) if awaits_event(each))
        return found

    def aimed(self, runs: Iterable[Run], members: Members) -> dict[MeterKey, Route]:
        """Aim routes at cells that no event has taken: the first, or the first of a later period.

        Return these routes.
        """
        found: dict[MeterKey, Route] = {}
        by_key, told_of = self._routes.by_key, self._routes.told_of
        for meter_key, run in runs:
            route = by_key.get(meter_key)
            # Who weighed them has compiled it.
            if route is None or route.made_at != told_of:
                route = self._packing.route_of(meter_key)
            if len(route.spans) != 1 or len(route.timelines) > 1:
                continue
            newest_ms, earliest_ms, *_ = reach_of(run)
            layer = route.layer
            # Those that came before lead nowhere, or not to a period that ends before these.
            if route.event_ranges is not None and (layer is None or newest_ms < layer.end_ms):
                continue
            # Whatever the route was compiled under, the newest terms say what is too late.
            if route.timelines != tuple(map(_timeline_in, self._timelines.of(meter_key[:2]))):
                continue
            if check_range(newest_ms, earliest_ms) is None and aim_first(route, newest_ms, members):
                found[meter_key] = route
        return found

    def copies(self, led: Led) -> SortedOut:
        """Return what is the same as an event that came before it, and what is not.

        The index has what is new by now: a first one may have come with its copy.
        """
        asked = [at for at, row in enumerate(led.stored) if row is None]
        rows = rows_at(led.known_rows, asked)
        found, stored = self._index.find_rows(b"".join(ids_in(rows))), [*led.stored]
        for place, at in enumerate(asked):
            # What is no longer known stands for itself: it is no copy.
            stored[at] = found.get(place, rows[place * ROW_BYTES : (place + 1) * ROW_BYTES])
        return sort_out(led.known, led.known_rows, b"".join(filter(None, stored)))

    def _late_routes(self, runs: Iterable[Run], complete: Set[SetKey]) -> dict[MeterKey, LateRoute]:
        """Return where events of runs may go that came like others before."""
        found: dict[MeterKey, LateRoute] = {}
        told_of, taken_ms = self._routes.told_of, self._checkpoint.cut_ms
        for meter_key, run in runs:
            route = self._routes.by_key.get(meter_key)
            late = None if route is None else route.late
            if late is None:
                continue
            if late.made_at != told_of:
                # Whatever the route was compiled under, the newest terms say what is too late.
                if late.timelines != tuple(map(_timeline_in, self._timelines.of(meter_key[:2]))):
                    continue
                late.made_at = told_of
            if late.holds(taken_ms, complete, run):
                found[meter_key] = late
        return found

    def admit(
        self, runs: Iterable[Run]
    ) -> tuple[list[tuple[Route, Sequence[Arrival]]], list[bytes], bytearray, list[RefusedArrival]]:
        """Split runs into events that may count, with ids and rows in order, and refused ones.

        Hot path: `index_rows` hashes as `event_id` and `event_body_hash` do.
        """
        taken: list[tuple[Route, Sequence[Arrival]]] = []
        rows = bytearray()
        refused: list[RefusedArrival] = []
        routes = self._routes.by_key
        for meter_key, run in runs:
            route = routes.get(meter_key)
            if route is None or route.event_ranges is None:
                route = self._packing.route_of(meter_key)
            # Most events fall into the period that the last one of the route did, long before it
            # is due; everything else is looked at closely.
            layer = route.spans[0].current if route.spans else None
            period = None if layer is None else layer.period
            name = meter_key[:2]
            if period is None:
                bounds = self._bounds_of(name, run)
            else:
                start_ms, end_ms = period[:2]
                bounds = start_ms, end_ms, end_ms - MAX_EVENT_AHEAD_MS, period.due_at_ms
            hashing = _xxh3, event_body_hash, rows
            if not index_rows(*name, run, *bounds, *hashing) and (
                period is None or not index_rows(*name, run, *self._bounds_of(name, run), *hashing)
            ):
                run = self._looked_at(run, bounds, refused)
                index_rows(*name, run, *_ALWAYS, *hashing)
            if run:
                taken.append((route, run))
        return taken, ids_in(rows), rows, refused

    def _bounds_of(self, name: SubscriptionKey, run: Sequence[Arrival]) -> Bounds:
        """Return between which times all events of a name are taken, like those of a run."""
        timelines = self._timelines.of(name)
        newest_ms, earliest_ms, *_ = reach_of(run)
        if check_range(newest_ms, earliest_ms) is not None:
            # No calendar may have such a time.
            return _NEVER
        if not timelines:
            # What has no period is never too late.
            return 0, earliest_ms + MAX_EVENT_AHEAD_MS + 1, earliest_ms, _FOREVER_MS
        # If another subscription may have a period of that time, events are looked at closely.
        period = timelines[0][1].holding(newest_ms) if len(timelines) == 1 else None
        if period is None:
            return _NEVER
        start_ms, end_ms = period[:2]
        return start_ms, end_ms, end_ms - MAX_EVENT_AHEAD_MS, period.open_until_ms

    def _looked_at(
        self, run: Sequence[Arrival], bounds: Bounds, refused: list[RefusedArrival]
    ) -> list[Arrival]:
        """Return the events of a run that are taken."""
        start_ms, end_ms, after_ms, until_ms = bounds
        admitted: list[Arrival] = []
        for arrival in run:
            timestamp_ms, append_time_ms = arrival.timestamp_ms, arrival.append_time_ms
            plain = start_ms <= timestamp_ms < end_ms and after_ms <= append_time_ms <= until_ms
            refusal = None if plain else self.refusal(arrival, timestamp_ms)
            if refusal is None:
                admitted.append(arrival)
            else:
                refused.append(refusal)
        return admitted

    def refusal(self, arrival: Arrival, timestamp_ms: int) -> RefusedArrival | None:
        """Return why an event is refused; None: it is taken. May raise `WaitForDefinitions`."""
        refusal = check_range(timestamp_ms, arrival.append_time_ms)
        if refusal is not None:
            return RefusedArrival(arrival, refusal, OUT_OF_RANGE_MESSAGE)
        refusal = self.too_late(arrival, timestamp_ms)
        return (
            None if refusal is None else RefusedArrival(arrival, refusal, _LATE_MESSAGES[refusal])
        )

    def too_late(
        self, arrival: Arrival, timestamp_ms: int, until_ms: int | None = None
    ) -> RefusalCode | None:
        """Return why the event's period no longer takes it; None: it does (records-and-cuts §2).

        Under all definitions, or under those appended until a time.
        """
        append_time_ms = arrival.append_time_ms
        # Ask the timeline: the route is the old one until a refold is done, and a refusal is final.
        period = self._timelines.period_at(arrival.name, timestamp_ms, until_ms)
        if period is None or append_time_ms <= period.open_until_ms or arrival.admitted:
            return None
        judged_ms = period.due_at_ms if period.fold_version == 1 else period.open_until_ms
        if self._definitions.append_time_ms <= judged_ms:
            raise WaitForDefinitions(judged_ms)
        if period.fold_version > 1:
            code = arrival.event.code
            metric = self._definitions.metric(arrival.name[0], code, judged_ms)
            if metric is None or metric.recurring:
                return None
        if append_time_ms > period.late_until_ms:
            return RefusalCode.TOO_LATE
        return RefusalCode.PERIOD_CLOSED

    def only_new(
        self,
        taken: list[tuple[Route, Sequence[Arrival]]],
        ids: list[bytes],
        packed: bytearray,
        stored: list[Entry | None],
        duplicates: list[Duplicate],
        folded: Folded,
    ) -> tuple[list[tuple[Route, Sequence[Arrival]]], bytearray]:
        """Leave out what is known already, and what was corrected before it came.

        Return runs, and rows of new events.
        """
        runs: list[tuple[Route, Sequence[Arrival]]] = []
        latest: dict[bytes, Entry] = {}
        moved: dict[bytes, Entry] = {}
        new: list[bytes] = []
        rows = bytearray()
        awaits = self._corrections.awaits if self._corrections.awaits_any() else None
        repeated = {identity for identity, times in Counter(ids).items() if times > 1}
        repeated.update(compress(ids, stored))
        end = 0
        for route, run in taken:
            begin, end = end, end + len(run)
            corrected = (
                awaits is not None
                and awaits(route.meter_key[:2])
                and any(map(self._corrections.awaits_event, ids[begin:end]))
            )
            if not corrected and repeated.isdisjoint(ids[begin:end]):
                # As most late events, whose runs need not be taken apart.
                rows += packed[begin * ROW_BYTES : end * ROW_BYTES]
                runs.append((route, run))
                continue
            left: list[Arrival] = []
            for at, arrival in enumerate(run, begin):
                identity, entry = ids[at], unpack_entry(packed, at)
                known = latest.get(identity) or stored[at]
                if known is None:
                    new.append(identity)
                    latest[identity] = entry
                    if corrected and self._corrections.history(identity):
                        self._corrected.fold_new(arrival, identity, folded)
                    else:
                        left.append(arrival)
                    continue
                if entry[:4] < known[:4]:
                    latest[identity] = entry
                    if stored[at] is not None:
                        moved[identity] = entry
                duplicate = self._repeated(arrival, entry, known)
                if duplicate is not None:
                    duplicates.append(duplicate)
            if left:
                runs.append((route, left))
        self._index.add_many([*moved], [*moved.values()])
        if self._corrections:
            # A corrected event may have had a route made anew that no event had taken yet.
            runs = [(self._packing.route_of(route.meter_key), left) for route, left in runs]
        return runs, rows + pack_entries(new, [latest[identity] for identity in new])

    def _repeated(self, arrival: Arrival, entry: Entry, known: Entry) -> Duplicate | None:
        """Judge an event with a known id: the smallest position wins (records-and-cuts §3)."""
        if entry[:4] == known[:4]:
            return None
        same, replaced = entry.body_hash == known.body_hash, entry[:4] < known[:4]
        if replaced:
            self._corrected.take_earlier(arrival)
            self._earlier.append(EarlierCopy(arrival, known, same))
        return Duplicate(arrival, known, identical=True if same else None, replaced=replaced)

    def take_earlier(self) -> list[EarlierCopy]:
        """Hand out copies of known events that were appended before these."""
        taken, self._earlier = self._earlier, []
        return taken


_timeline_in = itemgetter(1)

Bounds = tuple[int, int, int, int]
"""Event times from the first until before the second, append times from the third to the fourth."""

_FOREVER_MS = 1 << 62
_NEVER: Bounds = (0, -1, 0, -1)
_ALWAYS: Bounds = (-_FOREVER_MS, _FOREVER_MS, -_FOREVER_MS, _FOREVER_MS)
_xxh3 = xxhash.xxh3_64_intdigest

_LATE_MESSAGES = {
    RefusalCode.TOO_LATE: "the period closed too long ago for late events; replay with meter-admit"
    " or correct it by transaction_id",
    RefusalCode.PERIOD_CLOSED: "the period is closed and late events are refused; replay with"
    " meter-admit or correct it by transaction_id",
}
