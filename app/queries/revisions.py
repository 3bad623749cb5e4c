"""Revisions of an explained figure: which one an event is in, and what came since one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cached_property

from msgspec.structs import replace

from app.definitions.model import Subscription
from app.definitions.periods import NEVER_MS, Period
from app.meter.errors import NoSuchRevision
from app.meter.evidence import Change
from app.meter.records import RecordPlace
from app.queries.trace import FoundArrival
from app.wire.arrivals import Arrival
from app.wire.identity import same_body
from app.wire.usage_records import cell_id
from tables.aggregation import Groups
from tables.cells.cell import Span
from tables.changelogged.published_period import PublishedCell, PublishedCellKey, PublishedPeriod
from tables.charge import ChargeFold
from tables.partition.partition import Partition
from tables.reading.tracing import Traced, Tracer
from tables.routing.period_charges import PeriodCharges
from tables.values import Ignored, read_of

ListRevisions = Callable[[Period], Awaitable[Sequence[RecordPlace]]]
"""Reads from the topic what was ever published of the explained metric in a period."""

Chosen = Callable[[Iterable[Traced]], tuple[Traced, ...]]
"""Chooses the outcomes that shape the explained cells."""


class Revisions:
    """What is published of the cells of some spans in a period."""

    def __init__(self, state: Partition, spans: Iterable[Span], period: Period):
        self._state, self.period = state, period
        self._published: dict[str, PublishedPeriod] = {}
        """By subscription id, of those that have published anything of the period."""
        self._charges: dict[str, PeriodCharges] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._charge_ids = {span.fold.charge.id for span in spans}
        self._cuts_ms: dict[str, dict[int, int]] = {}
        """By cell id, the cut of each revision, where they were read."""
        for span in spans:
            self._add(span.key.subscription_id)

    def _add(self, subscription_id: str) -> None:
        state, period = self._state, self.period
        published = state.published.find((subscription_id, period.start_ms))
        subscription = state.definitions.subscription_by_id(subscription_id, period.fixed_at_ms)
        if published is not None and subscription is not None:
            self._published[subscription_id] = published
            self._subscriptions[subscription_id] = subscription
            self._charges[subscription_id] = state.routes.charges_of(subscription, period)

    def charges(self, span: Span) -> tuple[Subscription | None, PeriodCharges | None]:
        """Return the subscription of a span, and the charges that the period folds under."""
        subscription_id = span.key.subscription_id
        return self._subscriptions.get(subscription_id), self._charges.get(subscription_id)

    def newest(self, span: Span, filter_id: str | None, groups: Groups) -> PublishedCell | None:
        """Return a cell as it is published."""
        published, (_, charges) = self._published.get(span.key.subscription_id), self.charges(span)
        if published is None or charges is None:
            return None
        return published.cells.get(charges.name_of(span.fold.charge, filter_id, groups))

    def shown_ms(self, traced: Traced) -> int | None:
        """Return the cut that shows an event first; None: nothing of the period is published."""
        cut_ms = traced.cut_ms or self.period.due_at_ms
        return None if cut_ms >= NEVER_MS else cut_ms

    def of_event(self, traced: Traced) -> int | None:
        """Return the first revision that an event is in; None: none that is published."""
        newest, shown_ms = (
            self.newest(traced.span, traced.filter_id, traced.groups),
            self.shown_ms(traced),
        )
        if newest is None or shown_ms is None:
            return None
        if shown_ms > newest.cut_ms:
            # A cut may have found that nothing else is to be said.
            return newest.revision if shown_ms <= self._state.checkpoint.cut_ms else None
        known = self._cuts_ms.get(self._cell_id(traced), {})
        cuts_ms = {0: -1, **known} if newest.revision else {}
        earlier = [number for number, cut_ms in cuts_ms.items() if cut_ms >= shown_ms]
        if earlier:
            return min(earlier)
        return 0 if shown_ms < newest.cut_ms and newest.revision == 1 else newest.revision

    def _cell_id(self, traced: Traced) -> str:
        charges = self._charges[traced.span.key.subscription_id]
        name = charges.name_of(traced.span.fold.charge, traced.filter_id, traced.groups)
        return self._identity(traced.span.key.subscription_id, name)

    def _identity(self, subscription_id: str, name: PublishedCellKey) -> str:
        keys = self._charges[subscription_id].keys_of(name)
        grouped_by = tuple(zip(keys, name[2], strict=False))
        subscription = self._subscriptions[subscription_id]
        return cell_id(subscription, name[0], name[1], grouped_by, self.period.start_ms)

    @cached_property
    def _cells(self) -> dict[str, PublishedCell]:
        """Published cells of the explained charges, by cell id."""
        return {
            self._identity(subscription_id, name): cell
            for subscription_id, published in self._published.items()
            for name, cell in published.cells.items()
            if name[0] in self._charge_ids
        }

    async def read(self, list_revisions: ListRevisions, since: int | None) -> None:
        """Read when revisions were taken, where the table of the newest does not tell."""
        most = max((cell.revision for cell in self._cells.values()), default=0)
        if most < 2 and not (since is not None and most > since):
            return
        for place in await list_revisions(self.period):
            self._cuts_ms.setdefault(place.cell_id, {})[place.revision] = place.cut_ms

    def cut_ms(self, revision: int) -> int:
        """Return the first cut at which a cell had a revision; 0 is that of the period's first cut.

        Raises NoSuchRevision: no cell has it.
        """
        completed = any(published.revision >= 0 for published in self._published.values())
        if revision == 0 and completed:
            return self.period.due_at_ms
        found = [cell.cut_ms for cell in self._cells.values() if cell.revision == revision]
        found += [
            cuts_ms[revision]
            for cell, cuts_ms in self._cuts_ms.items()
            if cell in self._cells and revision in cuts_ms
        ]
        if not found:
            raise NoSuchRevision
        return min(found)

    def later_cuts(self, revision: int, cut_ms: int) -> dict[str, int]:
        """Return, by cell id, the cuts after one at which cells had a revision first."""
        found: dict[str, int] = {}
        for identity, cell in self._cells.items():
            known = self._cuts_ms.get(identity, {}).get(revision, -1)
            at_ms = cell.cut_ms if cell.revision == revision else known
            if at_ms > cut_ms:
                found[identity] = at_ms
        return found

    def id_of(self, traced: Traced) -> str | None:
        """Return the id of the cell that an event is in; None: the period has nothing published."""
        known = traced.span.key.subscription_id in self._charges
        return self._cell_id(traced) if known else None


class Since:
    """What has changed since a revision: events that came, were corrected, or count otherwise."""

    def __init__(
        self, state: Partition, revisions: Revisions, tracer: Tracer, chosen: Chosen, revision: int
    ):
        """Take a tracer for what counted before, and what chooses the outcomes of it.

        Raises NoSuchRevision: no cell has it.
        """
        self._state, self._period, self._revisions = state, revisions.period, revisions
        self._tracer, self._chosen = tracer, chosen
        self.cut_ms = revisions.cut_ms(revision)
        self._later_ms = revisions.later_cuts(revision, self.cut_ms)
        """By cell id, where the cell had the revision later than at that cut."""
        self._before: dict[tuple[int, str], tuple[ChargeFold, ChargeFold] | None] = {}
        """By cut and span's charge, how it folded before history records since, and how now."""

    def change_of(
        self, found: FoundArrival, chosen: Chosen
    ) -> tuple[Change, tuple[Traced, ...]] | None:
        """Return why an event makes a difference, with what the charges make of it; else None."""
        came = found.verdict.came or found.verdict.counted
        if came is None:
            return None
        changed = self._changed_since(self.cut_ms, found, came, chosen)
        if changed is None and self._later_ms:
            # What a cell showed first at a cut of its own may be corrected since.
            for cut_ms in self._own_cuts(found, came, chosen):
                changed = changed or self._changed_since(cut_ms, found, came, chosen)
        return changed

    def _own_cuts(self, found: FoundArrival, came: Arrival, chosen: Chosen) -> list[int]:
        """Return the later cuts of the cells that an event is in, or was in as it came."""
        traced, came_ms = [*chosen(found.traced)], came.append_time_ms
        if found.verdict.standing == "cancelled" or found.verdict.corrected_ms > came_ms:
            first = self._as_it_counted(found.arrival, came_ms, came_ms)
            traced += () if first is None else self._chosen(_traced(self._tracer, first))
        ids = {self._revisions.id_of(one) for one in _counted(traced)}
        return sorted({self._later_ms[one] for one in ids if one in self._later_ms})

    def _changed_since(
        self, cut_ms: int, found: FoundArrival, came: Arrival, chosen: Chosen
    ) -> tuple[Change, tuple[Traced, ...]] | None:
        verdict, now = found.verdict, _counted(chosen(found.traced))
        if came.append_time_ms > cut_ms:
            return ("late", now) if now else None
        corrected_ms = verdict.corrected_ms
        if verdict.standing == "cancelled" or corrected_ms > cut_ms:
            then = self._as_it_counted(found.arrival, came.append_time_ms, cut_ms)
            was = () if then is None else _counted(self._chosen(_traced(self._tracer, then)))
            if not was and not now:
                return None
            counted = verdict.counted
            same = then is not None and counted is not None and same_body(then.event, counted.event)
            return None if same else ("corrected", now or was)
        traced = chosen(found.traced)
        counted = verdict.counted
        if counted is not None and self._counts_otherwise(counted, traced, cut_ms):
            return "definition", traced
        return None

    def _as_it_counted(self, arrival: Arrival, append_time_ms: int, cut_ms: int) -> Arrival | None:
        """Return an event under the corrections that a cut knew; None: it was cancelled."""
        placed = replace(arrival, append_time_ms=append_time_ms)
        counted = self._state.corrected.counted(arrival.identity, placed, cut_ms)
        return None if counted is None else counted.arrival

    def _folds(self, span: Span, cut_ms: int) -> tuple[ChargeFold, ChargeFold] | None:
        name = (cut_ms, span.fold.charge.id)
        if name not in self._before:
            self._before[name] = self._found(span, cut_ms)
        return self._before[name]

    def _found(self, span: Span, cut_ms: int) -> tuple[ChargeFold, ChargeFold] | None:
        state, period = self._state, self._period
        subscription, now = self._revisions.charges(span)
        if subscription is None or now is None:
            return None
        if not now.named_since(span.fold.charge, cut_ms):
            return None
        history = state.definitions.history_of(subscription.organization_id, cut_ms)
        plans = state.definitions.plan_of(subscription.id)
        then = PeriodCharges(state.definitions, plans, period, history).last(span.fold.charge.id)
        if then is None:
            return None
        return state.routes.fold_of(then.charge, then.metric, period.timezone), span.fold

    def _counts_otherwise(self, counted: Arrival, traced: Iterable[Traced], cut_ms: int) -> bool:
        folds = filter(None, (self._folds(one.span, cut_ms) for one in traced))
        return any(_outcome(before, counted) != _outcome(now, counted) for before, now in folds)


def _counted(traced: Iterable[Traced]) -> tuple[Traced, ...]:
    return tuple(one for one in traced if one.reason is None)


def _outcome(fold: ChargeFold, arrival: Arrival) -> object:
    read = read_of(arrival)
    value = fold.read_value(*read)
    return value if isinstance(value, Ignored) else (value.digest_text, fold.place_of(*read))


def _traced(tracer: Tracer, arrival: Arrival) -> Sequence[Traced]:
    return tracer.trace(arrival) if arrival.event.code == tracer.meter_key[2] else ()
