"""Verification: live cells and published figures against a fold of the raw events. Pure.

Shadow cells of some subscriptions are folded from events that somebody reads again. At the place
where the live fold stands, they must equal the live cells byte for byte. Closing once more over
them must publish nothing. Every event that was read must be in the event index, or refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from app.bounds.turns import Steps
from app.definitions.alike_terms import Terms
from app.definitions.periods import Period
from app.meter.evidence import Difference
from app.wire.arrivals import Arrival, CorrectionArrival, MeterKey, Position, SubscriptionKey
from tables.cells.forgotten import as_forgotten_by
from tables.changelogged.presence import REST
from tables.closing.at_cut import AtCut
from tables.closing.billing import is_taken_again
from tables.closing.close import closing, next_cut
from tables.partition.left_out import FROM_THE_FIRST, first_kept_ms
from tables.partition.partition import Partition
from tables.partition.refold import Refold
from tables.partition.revised import Counted
from tables.partition.tables import Carried
from tables.reading.cell_differences import cells_of, differences_of, in_cells
from tables.reading.member_sets import MemberSet, member_sets
from tables.reading.published_before import PublishedBefore
from tables.reading.shown_last import ShownLast, turned_by
from tables.reading.tracing import is_before, verdict
from tables.routing.group_admission import impose_live
from tables.routing.route import Route

_MOST_LOST = 1_000
"""Lost events and corrections that are named; a partition that lost more is rebuilt anyhow."""


class Compared(NamedTuple):
    """The result of one meter key."""

    meter_key: MeterKey
    cells: int
    differences: list[Difference]
    skipped: bool = False
    """True: a refold runs, or ran while the events were read, or some of them may be deleted."""
    again: bool = False
    """True: it is not compared yet; whoever takes the place of this verification does that."""


class Verification:
    """Shadow cells of every meter key of some external subscriptions."""

    def __init__(
        self,
        partition: Partition,
        names: Iterable[SubscriptionKey],
        *,
        recent: bool = False,
        before: Verification | None = None,
    ):
        """Take external subscriptions; the caller runs `beginning` before it feeds anything.

        `recent`: periods whose cells are forgotten are passed over, and their events are not read.
        `before`: one that read all events already, and knows by now which groups are admitted.
        """
        self.partition = partition
        self._recent = recent
        self.names = frozenset(names)
        codes_of = partition.event_ranges.codes_of
        self.meter_keys = [(*name, code) for name in sorted(self.names) for code in codes_of(name)]
        self.lost: list[Difference] = []
        self._before = before
        """Until it has begun."""
        self._reads_again = before is not None
        self._to_compare: Sequence[MeterKey] = self.meter_keys
        if before is not None:
            self._to_compare = [key for name in sorted(before._left) for key in before._left[name]]
        self._left: dict[SubscriptionKey, list[MeterKey]] = {}
        """Meter keys where other groups came in than are admitted: events are in any order."""
        self.refold: Refold = Refold(partition, self.meter_keys, begins=False)
        self._apart: Refold = Refold(partition, self._recurring(), begins=False, merges=False)
        """States of all cuts of recurring metrics, for periods that are open no more."""
        self._turned: dict[SubscriptionKey, dict[str, list[Counted]]] = {}
        self._early: set[SubscriptionKey] = set()
        """With a correction that counted when its event was read, and was not in force yet."""
        self._generations: dict[MeterKey, dict[Any, int]] = {}
        self._terms: dict[SubscriptionKey, list[tuple[str, Sequence[Terms]]]] = {}
        self._repaired = partition.stale.repaired_since(self.names)
        self._starts: Mapping[int, int] = {}

    def beginning(self) -> Steps[None]:
        """Note what the live cells stand under, then make shadow routes, one step for each.

        A meter key that changes meanwhile is skipped in the end.
        """
        for name in self.names:
            self._terms[name] = self._terms_of(name)
            yield
        for meter_key in self.meter_keys:
            self._generations[meter_key] = self._generation(meter_key)
            yield
        for job in (self.refold, self._apart):
            yield from job.beginning()
            for meter_key, route in job.routes.items():
                live = self.partition.views.route_of(meter_key)
                if self._recent:
                    job.leave_out_forgotten(meter_key, live, route)
                if not self._reads_again:
                    # Events are read once then, but where the admission differs in the end.
                    impose_live(live, route)
                yield
        before, self._before = self._before, None
        if before is not None:
            yield from self.refold.opening_as(before.refold)
            yield from self._apart.opening_as(before._apart)

    def _recurring(self) -> list[MeterKey]:
        """Return meter keys of codes that a recurring metric has or had."""
        definitions = self.partition.definitions
        return [each for each in self.meter_keys if definitions.recurs(each[0], each[2])]

    def read_from(self, starts: Mapping[int, int]) -> None:
        """Note where each partition of events-raw begins, if nothing else is read."""
        self._starts = starts

    def again(self) -> Steps[Verification | None]:
        """Return one of what is left to compare, to be fed from the start; None: nothing is."""
        if not self._left:
            return None
        one = Verification(self.partition, self._left, recent=self._recent, before=self)
        yield from one.beginning()
        return one

    def drop(self) -> None:
        """Drop the shadow cells, because nobody asks for the result any more."""
        self.refold.drop()
        self._apart.drop()

    def feed(self, arrivals: Sequence[Arrival], *, strangers: bool = False) -> None:
        """Fold the arrivals of the verified subscriptions.

        Feed only arrivals that the live fold has passed. `strangers`: also check arrivals of
        subscriptions that have no event at all; the live fold must have missed none.
        """
        known = self.partition.event_ranges.codes
        wanted = []
        for arrival in arrivals:
            name = arrival.name
            if name in self.names or (strangers and name not in known):
                wanted.append(arrival)
        ids = [arrival.identity for arrival in wanted]
        found: list[Arrival] = []
        partition = self.partition
        for arrival, identity, entry in zip(
            wanted, ids, partition.index.find_many(ids), strict=True
        ):
            if entry is not None and entry[1:4] == arrival.place[:3]:
                if partition.corrections.touches(arrival.name) and (
                    partition.corrected.shows_early(identity, entry.append_time_ms)
                ):
                    self._early.add(arrival.name)
                # Read from events-raw alone, an arrival does not say how it was forwarded.
                found.append(replace(arrival, rekeyed_offset=entry.rekeyed_offset))
            elif entry is None or is_before(arrival, entry):
                self._check_lost(arrival)
        self.refold.feed(found)
        self._apart.feed(found)
        for arrival in found:
            self._note_turned(arrival)

    def _note_turned(self, arrival: Arrival) -> None:
        """Note an event before and after each correction that came after it."""
        for counted in turned_by(self.partition, arrival):
            by_code = self._turned.setdefault(arrival.name, {})
            by_code.setdefault(counted.arrival.event.code, []).append(counted)

    def check_corrections(
        self, arrivals: Iterable[CorrectionArrival], *, strangers: bool = False
    ) -> None:
        """Note corrections of the subscriptions that the live fold has not taken."""
        partition = self.partition
        for arrival in arrivals:
            name = arrival.name
            wanted = name in self.names or (strangers and name not in partition.event_ranges.codes)
            if wanted and not partition.corrections.has_taken(arrival):
                correction = arrival.correction
                told = {
                    "correction_id": correction.correction_id,
                    "transaction_id": correction.transaction_id,
                }
                self._lose("correction", name, "", arrival.position, told)

    def _check_lost(self, arrival: Arrival) -> None:
        if len(self.lost) < _MOST_LOST and verdict(self.partition, arrival).standing == "lost":
            told = {"transaction_id": arrival.event.transaction_id}
            self._lose("event", arrival.name, arrival.event.code, arrival.position, told)

    def _lose(
        self,
        kind: Literal["event", "correction"],
        name: SubscriptionKey,
        metric_code: str,
        position: Position,
        told: Mapping[str, str],
    ) -> None:
        _, partition, offset, index = position
        if not self._reads_again and len(self.lost) < _MOST_LOST:
            self.lost.append(
                Difference(
                    kind=kind,
                    partition=self.partition.number,
                    external_subscription_id=name[1],
                    metric_code=metric_code,
                    refolded={**told, "place": f"{partition}:{offset}:{index}"},
                )
            )

    def compare(self) -> Iterator[Compared | None]:
        """Yield each meter key's result; None is a step.

        The live fold must stand where the last event was read.
        """
        for meter_key in self._to_compare:
            compared = yield from self._compare_one(meter_key)
            yield compared

    def _compare_one(self, meter_key: MeterKey) -> Steps[Compared]:
        partition = self.partition
        if self._is_unproved(meter_key):
            return Compared(meter_key, 0, [], skipped=True)
        if not (yield from self._agree([meter_key])):
            if self._reads_again:
                return Compared(meter_key, 0, [], skipped=True)
            self._left.setdefault(meter_key[:2], []).append(meter_key)
            return Compared(meter_key, 0, [], again=True)
        shadow, live = self.refold.routes[meter_key], partition.views.route_of(meter_key)
        group_admission = self.refold.group_admission
        settled_ms = partition.cuts.settled_ms
        for one in in_cells(shadow.spans):
            if one is None:
                yield
            else:
                span, cell = one
                cell.settle(settled_ms, span.fold.aggregation)
        for settled in group_admission.settle(shadow):
            # A group whose events are all cancelled keeps its place.
            if settled is None:
                yield
        next_cut_ms = next_cut(partition, meter_key[:2])
        # Of what is forgotten the records are compared instead.
        ours = yield from cells_of(live)
        ours = yield from as_forgotten_by(live.spans, ours)
        theirs = yield from cells_of(shadow)
        theirs = yield from as_forgotten_by(live.spans, theirs)
        about = partition.number, meter_key, ours, theirs, next_cut_ms
        differences = yield from differences_of(*about)
        if differences and self._has_changed(meter_key):
            # Definitions go on between two steps.
            return Compared(meter_key, 0, [], skipped=True)
        return Compared(meter_key, len(theirs), differences)

    def member_sets(self, meter_keys: Iterable[MeterKey]) -> list[MemberSet]:
        """Return sets of members of some meter keys, with the members that each must hold."""
        return list(member_sets(self.partition, self.refold, meter_keys))

    def _agree(self, meter_keys: Iterable[MeterKey]) -> Steps[bool]:
        """Return whether the shadow cells of meter keys are those of the admitted groups."""
        for job in (self.refold, self._apart):
            for meter_key in meter_keys:
                route = job.routes.get(meter_key)
                if route is not None and not (yield from job.group_admission.agreeing(route)):
                    return False
        return True

    def _generation(self, meter_key: MeterKey) -> dict[Any, int]:
        """Return the generation of each span of a meter key, by span key."""
        return {
            span.key: span.generation for span in self.partition.views.route_of(meter_key).spans
        }

    def _terms_of(self, name: SubscriptionKey) -> list[tuple[str, Sequence[Terms]]]:
        """Return the terms that make the periods of a name's subscriptions, by subscription id."""
        return [
            (newest.id, timeline.terms)
            for versions, timeline in self.partition.timelines.of(name)
            if (newest := versions.at()) is not None
        ]

    def _is_unproved(self, meter_key: MeterKey) -> bool:
        """Return True if nothing proves a meter key: events of it may be deleted, or it changed."""
        entry = self.partition.event_ranges.find(meter_key[:2], meter_key[2])
        if entry is not None:
            forwarded = entry.rekeyed_first >= 0 and any(self._starts.values())
            if forwarded or 0 <= entry.raw_first < self._starts.get(self.partition.number, 0):
                return True
        return self._has_changed(meter_key)

    def _has_changed(self, meter_key: MeterKey) -> bool:
        """Return True if the live cells no longer stand under what the shadow cells began with.

        A definition may redirect later events without a refold of earlier ones.
        """
        partition, name = self.partition, meter_key[:2]
        if REST in partition.stale.refolding_keys:
            # Events of it may be found that only the log has.
            return True
        if name in self._repaired or name in self._early:
            return True
        if (
            meter_key in partition.stale.refolding_keys
            or self._generation(meter_key) != self._generations[meter_key]
        ):
            return True
        event_ranges = partition.event_ranges.codes[name][meter_key[2]]
        reach = (event_ranges.newest_ms, event_ranges.appended_ms)
        if self._terms_of(name) != self._terms[name]:
            return True
        live = partition.views.route_of(meter_key)
        dated_ms = self.refold.dated_from.get(meter_key)
        if dated_ms is not None:
            shown = partition.corrections.followed.are_shown(name, partition.cuts.settled_ms)
            if not shown or first_kept_ms(live) < dated_ms:
                # It may be about an event that was left out.
                return True
        return not self.refold.routes[meter_key].leads_like(live, *reach)

    def compare_published(self) -> Iterator[list[Difference] | None]:
        """Yield, for each subscription, what closing it again over the shadow cells would publish.

        An empty list means that all is well; None is a step.
        """
        partition = self.partition
        for name in sorted(self.names):
            announced_too = name in partition.corrected.names() or partition.history.revises(name)
            if partition.refolding(*name) or announced_too:
                # A correction or a definition is folded already and published at the next cut.
                yield []
                continue
            meter_keys = partition.event_ranges.meter_keys_of(name)
            if not meter_keys <= self._generations.keys() or any(
                map(self._is_unproved, meter_keys)
            ):
                # Something was published that the shadow cells do not have all of.
                yield []
                continue
            if name in self._left or not (yield from self._agree(meter_keys)):
                if not self._reads_again:
                    self._left.setdefault(name, [])
                yield []
                continue
            found: list[Difference] = []
            for one in chain(self._published(name), self._shown_last(name)):
                if one is not None:
                    found.append(one)
                yield None
            # Definitions go on between two steps.
            yield [] if found and any(map(self._has_changed, meter_keys)) else found

    def _shown_last(self, name: SubscriptionKey) -> Iterator[Difference | None]:
        """Yield what the last cuts of periods that are open no more showed otherwise."""
        partition, settled_ms = self.partition, self.partition.cuts.settled_ms
        routes = self._routes_in(self._apart, name)
        if not routes:
            return
        shadow = self._shadow(settled_ms, routes)
        for versions, timeline in partition.timelines.of(name):
            earlier: Period | None = None
            for period in timeline.until(settled_ms):
                subscription = versions.at(period.fixed_at_ms)
                is_over = period.carries_until_ms < settled_ms
                if is_over and self._compares(period) and subscription is not None:
                    at = AtCut(shadow, name, subscription, period, earlier, settled_ms)
                    for record in ShownLast(at, self._turned.get(name, {})).records():
                        body = None if record is None else msgspec.json.decode(record.value)
                        yield _of_record(partition.number, name, body) if body else None
                    yield None
                earlier = period

    def _routes_in(self, job: Refold, name: SubscriptionKey) -> dict[MeterKey, Route]:
        """Return the shadow routes of an external subscription, beside however many others."""
        codes = self.partition.event_ranges.codes_of(name)
        return {key: job.routes[key] for code in codes if (key := (*name, code)) in job.routes}

    def _compares(self, period: Period) -> bool:
        return not self._recent or period.final_ms > self.partition.cuts.settled_ms

    def _shadow(self, cut_ms: int, routes: Mapping[MeterKey, Route]) -> Partition:
        """Return a partition that takes a cut once more, over shadow cells."""
        partition = self.partition
        published = PublishedBefore(partition.published, cut_ms)
        carried = Carried(
            replace(partition.checkpoint),
            partition.event_ranges,
            published,
            instants=partition.instants.decided(),
        )
        shadow = Partition(
            partition.number, partition.definitions, partition.index, carried=carried
        )
        shadow.routes.lend(routes)
        return shadow

    def _published(self, name: SubscriptionKey) -> Iterator[Difference | None]:
        partition, settled_ms = self.partition, self.partition.cuts.settled_ms
        routes = self._routes_in(self.refold, name)
        for meter_key in routes.keys() & self.refold.dated_from.keys():
            partition.routes.lead_by(routes[meter_key])
        since_ms = self._compared_from(routes)
        periods = [
            period
            for _, timeline in partition.timelines.of(name)
            for period in timeline.within(since_ms, partition.checkpoint.cut_ms)
            if self._compares(period)
        ]
        dues_ms = {
            period.due_at_ms
            for period in periods
            if settled_ms < period.due_at_ms <= partition.checkpoint.cut_ms
        }
        for cut_ms in sorted({settled_ms, *dues_ms}):
            shadow = self._shadow(cut_ms, routes)
            if cut_ms == settled_ms:
                shadow.cuts.expect(name, cut_ms, [period.start_ms for period in periods])
            for record in closing(shadow, name, cut_ms):
                yield None
                if record is None or record.topic != "usage-records":
                    continue
                body = msgspec.json.decode(record.value)
                if is_taken_again(partition.instants, body["cell_id"], cut_ms):
                    # What was billed in advance since then the next revision tells.
                    continue
                if _is_full(body):
                    # Too many pairs: canceled events keep a place only where they had one.
                    continue
                yield _of_record(partition.number, name, body)

    def _compared_from(self, routes: Mapping[MeterKey, Route]) -> int:
        """Return since when periods end that are compared all, beside what a cut may revise."""
        dated_from = self.refold.dated_from
        return min((dated_from.get(key, FROM_THE_FIRST) for key in routes), default=FROM_THE_FIRST)


def _is_full(body: Mapping[str, Any]) -> bool:
    """Return True for a revision that would only take rows by presentation keys away."""
    properties = (body.get("charge") or {}).get("properties") or {}
    return (
        bool(properties.get("presentation_group_keys"))
        and body["presentation_breakdowns"] is None
        and body["delta_units"] == "0.0"
    )


_SHOWN = ("units", "prorated_units", "total_aggregated_units", "events_count", "digest")


def _of_record(number: int, name: SubscriptionKey, body: Mapping[str, Any]) -> Difference | None:
    """Return an unexpected record as a difference; None for completions of revisions."""
    if body["type"] == "period.completed" and body["revision"] > 0:
        return None
    charge = body.get("charge") or {}
    metric = body.get("billable_metric") or {}
    return Difference(
        kind="published",
        partition=number,
        external_subscription_id=name[1],
        metric_code=metric.get("code", ""),
        period_from=body["period"]["from"],
        charge_id=charge.get("lago_id"),
        filter_id=body.get("lago_charge_filter_id"),
        groups=tuple((body.get("grouped_by") or {}).values()),
        live={"units": str(body.get("previous_units"))},
        refolded={field: str(body[field]) for field in _SHOWN if body.get(field) is not None},
    )
