"""Revisions of an explained figure: which one an event is in, and what came since one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cached_property

from msgspec.structs import replace

from app.definitions.model import Subscription
from app.definitions.timeline import NEVER_MS, Period
from app.meter.errors import NoSuchRevision
from app.meter.evidence import Change
from app.meter.records import RecordPlace
from app.queries.trace import Found
from app.wire.arrivals import Arrival
from app.wire.identity import same_body
from app.wire.properties import read_properties
from app.wire.usage_records import cell_id
from tables.aggregation import Groups
from tables.cells.cell import Span
from tables.changelogged.published_period import PublishedCell, PublishedCellKey, PublishedPeriod
from tables.charge import ChargeFold
from tables.partition.partition import Partition
from tables.reading.tracing import Traced, Tracer
from tables.routing.period_charges import PeriodCharges
from tables.values import Ignored

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
        if most < 2 and not (since and most > since):
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


class Since:
    """What has changed since a cut: events that came, were corrected, or count otherwise now."""

    def __init__(
        self, state: Partition, revisions: Revisions, tracer: Tracer, chosen: Chosen, cut_ms: int
    ):
        """Take a tracer for what counted before, and what chooses the outcomes of it."""
        self._state, self._period, self._revisions = state, revisions.period, revisions
        self._tracer, self._chosen = tracer, chosen
        self.cut_ms = cut_ms
        self._before: dict[str, tuple[ChargeFold, ChargeFold] | None] = {}
        """By span's charge, how it folded before history records since then, and how it does."""

    def change_of(self, found: Found, chosen: Chosen) -> tuple[Change, tuple[Traced, ...]] | None:
        """Return why an event makes a difference, with what the charges make of it; else None."""
        verdict, now = found.verdict, _counted(chosen(found.traced))
        came = verdict.came or verdict.counted
        if came is None:
            return None
        if came.append_time_ms > self.cut_ms:
            return ("late", now) if now else None
        corrected_ms = verdict.corrected_ms
        if verdict.standing == "cancelled" or corrected_ms > self.cut_ms:
            then = self._as_it_counted(found.arrival, came.append_time_ms)
            was = () if then is None else _counted(self._chosen(_traced(self._tracer, then)))
            if not was and not now:
                return None
            counted = verdict.counted
            same = then is not None and counted is not None and same_body(then.event, counted.event)
            return None if same else ("corrected", now or was)
        traced = chosen(found.traced)
        counted = verdict.counted
        if counted is not None and self._counts_otherwise(counted, traced):
            return "definition", traced
        return None

    def _as_it_counted(self, arrival: Arrival, append_time_ms: int) -> Arrival | None:
        """Return an event under the corrections that the cut knew; None: it was cancelled."""
        placed = replace(arrival, append_time_ms=append_time_ms)
        counted = self._state.corrected.counted(arrival.identity, placed, self.cut_ms)
        return None if counted is None else counted.arrival

    def _folds(self, span: Span) -> tuple[ChargeFold, ChargeFold] | None:
        charge_id = span.fold.charge.id
        if charge_id not in self._before:
            self._before[charge_id] = self._found(span)
        return self._before[charge_id]

    def _found(self, span: Span) -> tuple[ChargeFold, ChargeFold] | None:
        state, period = self._state, self._period
        subscription, now = self._revisions.charges(span)
        if subscription is None or now is None:
            return None
        if not now.named_since(span.fold.charge, self.cut_ms):
            return None
        history = state.definitions.history_of(subscription.organization_id, self.cut_ms)
        plans = state.definitions.plan_of(subscription.id)
        then = PeriodCharges(state.definitions, plans, period, history).last(span.fold.charge.id)
        if then is None:
            return None
        return state.routes.fold_of(then.charge, then.metric, period.timezone), span.fold

    def _counts_otherwise(self, counted: Arrival, traced: Iterable[Traced]) -> bool:
        folds = filter(None, (self._folds(one.span) for one in traced))
        return any(_outcome(before, counted) != _outcome(now, counted) for before, now in folds)


def _counted(traced: Iterable[Traced]) -> tuple[Traced, ...]:
    return tuple(one for one in traced if one.reason is None)


def _outcome(fold: ChargeFold, arrival: Arrival) -> object:
    event = arrival.event
    properties = read_properties(event.properties)
    place = (event.code, arrival.timestamp_ms, properties, arrival.append_time_ms)
    value = fold.read_value(*place)
    if isinstance(value, Ignored):
        return value
    return value.digest_text, fold.cell_of(*place)


def _traced(tracer: Tracer, arrival: Arrival) -> Sequence[Traced]:
    return tracer.trace(arrival) if arrival.event.code == tracer.meter_key[2] else ()
