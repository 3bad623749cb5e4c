"""The table of routes: where events of each meter key go, and the spans whose cells they reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain

from app.bounds.turns import STEP_ITEMS, Steps, freeing
from app.definitions.model import Charge, HistoryRecord, Metric, Plan, Subscription
from app.definitions.outcome import Impact
from app.definitions.periods import NEVER_MS, Period
from app.definitions.timeline import Timeline
from app.definitions.versions import Versions
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.cells.cell import Cell, Layer, Span
from tables.cells.daily_span import DailySpan
from tables.cells.days import Days
from tables.cells.grids import decided_until, same_cut_until
from tables.cells.keys import SpanKey
from tables.cells.watch import ALWAYS, Watch, stretches_of
from tables.changelogged.members import SetKey
from tables.charge import ChargeFold
from tables.partition.at_hand import AtHand
from tables.partition.snapshot import Snapshot
from tables.partition.staleness import Staleness
from tables.partition.standing import Standing
from tables.partition.tables import Tables
from tables.partition.timelines import Timelines, TimelineTable
from tables.routing.implicit import implicit_span
from tables.routing.lifetime import lifetime_spans
from tables.routing.period_charges import PeriodCharges
from tables.routing.plan import NOW, ChargeFolds, SpanPlan, Under, plan_spans
from tables.routing.route import Route

RESTS = -2
"""`made_at` of a route that is compiled again when it is taken."""

MOST_BEGUN = 1_000
"""How many routes may be begun before it is looked which of them no event has taken."""

UNIQUE_AS_MANY = 4
"""Events of a sum that are folded straight while one of a unique count is."""

ALIKE = 256
"""How many charges of periods are at hand."""


class RouteTable:
    """Routes of one partition, compiled from the definitions, with their spans.

    Cells that are packed are no concern of it: `Packing` finds a route whatever its state is.
    """

    def __init__(
        self,
        tables: Tables,
        snapshot: Snapshot,
        standing: Standing,
        timelines: TimelineTable,
        at_hand: AtHand,
        stale: Staleness,
    ):
        self._definitions = tables.definitions
        self._checkpoint = tables.checkpoint
        self._event_ranges = tables.event_ranges
        self._snapshot = snapshot
        self._standing = standing
        self.timelines = timelines
        self._at_hand = at_hand
        self._stale = stale
        self._folds = ChargeFolds()
        self.by_key: dict[MeterKey, Route] = {}
        self.spans: dict[SpanKey, Span] = {}
        self.heaviest = 1
        """The greatest of `straight_weight` that any route had."""
        self._unused_routes: dict[SubscriptionKey, set[str]] = {}
        """Codes whose routes were compiled before any event of theirs counted, but for `_begun`."""
        self._begun: list[Route] = []
        """Routes that were compiled so lately: an event takes most of them at once."""
        self._lends = False
        """Whether it has routes whose events others have."""
        self.told_of = 0
        """Number of definitions that the partition was told of."""
        self._charges: dict[tuple[int, int, tuple[int, ...]], tuple[object, PeriodCharges]] = {}
        """With the plan, what the periods of one cut fold under: most of a plan are alike."""
        self._charges_known = (0, -1)
        """Definitions and history records by which it stands."""
        self._old: dict[str | None, int] = {}
        """By organization (None: all), the `made_at` below which routes may be outdated."""

    def compile(
        self,
        meter_key: MeterKey,
        until_ms: int | None = None,
        history_ms: int | None = None,
        timelines: Timelines | None = None,
    ) -> Route:
        """Return a route without cells, under all definitions or those appended up to a time.

        `history_ms`: under history records appended until then, instead of those in force.
        `timelines`: with these periods only.
        """
        organization_id, external_id, code = meter_key
        name = (organization_id, external_id)
        definitions = self._definitions
        share = None
        if timelines is None:
            timelines = self.timelines.of(name, until_ms)
            if until_ms is None and len(timelines) == 1:
                share = self.timelines.shared
        plans: list[SpanPlan] = []
        history: Sequence[HistoryRecord] = ()
        if definitions.history.records:
            history_ms = self._standing.history_ms if history_ms is None else history_ms
            history = definitions.history_of(organization_id, history_ms)
        has_alerts = definitions.alerts.first_ms < NEVER_MS
        under = NOW if until_ms is None and not history else Under(until_ms, history)
        for subscription, timeline in timelines:
            plans += plan_spans(
                definitions, subscription, timeline, code, self._folds, under, share
            )
            if has_alerts:
                plans += lifetime_spans(
                    definitions, subscription, timeline, code, self._folds, until_ms
                )
        if not timelines and (settings := definitions.settings_at(until_ms)).implicit_plan:
            metric = definitions.metric(organization_id, code, until_ms)
            if metric is not None:
                limits = definitions.settings.input_limits(until_ms)
                plans.append(implicit_span(self._folds, name, metric, settings, limits))
        spans: list[Span] = []
        for key, fold, timeline, end_ms in plans:
            span = (DailySpan if fold.by_day else Span)(name, key, fold, timeline, end_ms)
            if has_alerts or fold.in_advance or fold.by_day:
                span.watch = self._watch_of(name, span, until_ms)
            spans.append(span)
        if len(timelines) == 1:
            found: tuple[Timeline, ...] = (timelines[0][1],)
        else:
            found = tuple(timeline for _, timeline in timelines)
        return Route(organization_id, external_id, code, found, tuple(spans))

    def _watch_of(self, name: SubscriptionKey, span: Span, until_ms: int | None) -> Watch | None:
        """Return since when the cells of a span are watched; None: nobody does."""
        definitions, fold = self._definitions, span.fold
        if fold.by_day:
            grids = definitions.close_grids_ms(until_ms)
            return Watch(ALWAYS, grids, self._checkpoint, Days(span.timeline, grids))
        carries = fold.in_advance and fold.metric.recurring
        # What its cells carry into a period is told with each event (records-and-cuts §4).
        grids = definitions.close_grids_ms(until_ms)
        # Whatever who is deleted asked for until then is told.
        told_ms = decided_until(self._checkpoint.grid_done_ms, grids)
        # Those who ask until the same cut watch as the first of them does.
        alike_until = partial(same_cut_until, grids=grids)
        asked = definitions.alerts.asking(
            name, fold.metric.id, until_ms, told_ms, alike_until=alike_until
        )
        asking = ALWAYS if carries else asked
        stretches = stretches_of(asking, grids)
        if not stretches or not (span.timeline.published or fold.over_life):
            return None
        return Watch(stretches, grids, self._checkpoint, is_retaken=carries)

    def fold_of(self, charge: Charge, metric: Metric, timezone: str) -> ChargeFold:
        """Return a compiled charge, under all definitions."""
        limits = self._definitions.settings.input_limits()
        return self._folds.fold_of(charge, metric, timezone, limits)

    def span_start_ms(
        self, name: SubscriptionKey, fold: ChargeFold, timeline: Timeline, period: Period
    ) -> int | None:
        """Return where the span of a charge begins that holds a period; None: it may be another.

        Of whoever has a timeline, with the only subscription of `name`, which never changed.
        """
        definitions, charge_id, start_ms = self._definitions, fold.charge.id, period.start_ms
        if definitions.history.records:
            return None
        (versions,) = definitions.subscriptions(*name)
        plans = plan_spans(definitions, versions, timeline, fold.metric.code, self._folds)
        starts_ms = (
            key.start_ms
            for key, _, _, end_ms in plans
            if key.charge_id == charge_id and key.start_ms <= start_ms < end_ms
        )
        return next(starts_ms, None)

    def charges_of(
        self,
        subscription: Subscription,
        period: Period,
        plans: Versions[Plan] | None = None,
    ) -> PeriodCharges:
        """Return the charges that a period of a subscription folds under.

        `plans`: its plan through time, of who has it; None: it is looked up.
        """
        definitions = self._definitions
        history_ms = self._standing.history_ms if definitions.history.records else -1
        known = (definitions.offset, history_ms)
        if self._charges_known != known or len(self._charges) >= ALIKE:
            self._charges.clear()
            self._charges_known = known
        covered: Sequence[HistoryRecord] = ()
        if subscription.organization_id in definitions.history.by_organization:
            covered = self._standing.covering(subscription.organization_id).of(period)
        if plans is None:
            plans = definitions.plan_of(subscription.id)
        key = (id(plans), period.fixed_at_ms, tuple([record.offset for record in covered]))
        found = self._charges.get(key)
        if found is None:
            # As long as the plan is kept, no other object has its id.
            found = self._charges[key] = plans, PeriodCharges(definitions, plans, period, covered)
        return found[1]

    def find(self, meter_key: MeterKey) -> Route | None:
        """Return the route of a meter key; None: it is not at hand or must be compiled again."""
        route = self.by_key.get(meter_key)
        return None if route is None or self.is_outdated(route) else route

    def straight_weight(self, meter_key: MeterKey) -> int:
        """Return how many events of one sum are folded straight while one of a meter key is.

        One whose route is not at hand is not folded straight.
        """
        route = self.by_key.get(meter_key)
        return 1 if route is None else _straight_weight(route)

    def may_have_any(self, name: SubscriptionKey) -> bool:
        """Return whether `may_have_cells` is true of any meter key of an external subscription."""
        return bool(self._lends or name in self._unused() or self._event_ranges.codes_of(name))

    def may_have_cells(self, meter_key: MeterKey) -> bool:
        """Return whether events of a meter key came, or its route was lent with cells."""
        return (
            meter_key in self.by_key
            or self._event_ranges.find(meter_key[:2], meter_key[2]) is not None
        )

    def is_outdated(self, route: Route) -> bool:
        """Return True if a route must be compiled again: no event took it, and it is old.

        Or it rests.
        """
        if route.made_at == RESTS:
            return True
        if route.made_at == self.told_of or route.event_ranges is not None:
            return False
        old, organization_id = self._old, route.organization_id
        if route.made_at >= max(old.get(organization_id, 0), old.get(None, 0)):
            return False
        name = (organization_id, route.external_subscription_id)
        return self._event_ranges.find(name, route.code) is None

    def rest(self, route: Route) -> None:
        """Have a route compiled again when it is taken next; the new one has its cells.

        For definitions that send no event of it elsewhere.
        """
        route.lose_aim()
        route.event_ranges, route.made_at = None, RESTS

    def is_at_hand(self, name: SubscriptionKey) -> bool:
        """Return whether anything of an external subscription is made and not packed."""
        return (
            self.timelines.has(name)
            or name in self._unused()
            or any((*name, code) in self.by_key for code in self._event_ranges.codes_of(name))
        )

    def note_gone(self, name: SubscriptionKey) -> None:
        """Spare cooling a look at an external subscription, if nothing of it is at hand."""
        if not self.is_at_hand(name):
            self._at_hand.drop(name)

    def tell(self, impact: Impact) -> None:
        """Outdate the timelines and routes that a definition may change."""
        self.note_told()
        organization_id = impact.organization_id
        if organization_id is not None and impact.external_subscription_id is not None:
            name = (organization_id, impact.external_subscription_id)
            self.timelines.tell(name)
            self.drop_unused(name)
        else:
            self.outdate(organization_id)
            if impact.moves_cuts:
                self.timelines.outdate(organization_id)

    def note_told(self) -> None:
        """Count a definition, or history records: what is made from here on is under it."""
        self.told_of += 1

    def outdate(self, organization_id: str | None) -> None:
        """Note that routes of an organization, None: of all, may be others now."""
        self._old[organization_id] = self.told_of

    def begin_unused(self, meter_key: MeterKey, route: Route) -> None:
        """Put a route in place that is compiled before any event of it counts."""
        self.begin(meter_key, route)
        self._begun.append(route)
        if len(self._begun) >= MOST_BEGUN:
            self._unused()

    def _unused(self) -> dict[SubscriptionKey, set[str]]:
        """Return by name the codes whose routes no event had taken when somebody asked."""
        rest = self._event_ranges.rest
        for route in self._begun:
            # Nothing is kept of whom the common entry stands for.
            if route.event_ranges is None or route.event_ranges is rest:
                name = (route.organization_id, route.external_subscription_id)
                self._unused_routes.setdefault(name, set()).add(route.code)
        self._begun.clear()
        return self._unused_routes

    def drop_unused(self, name: SubscriptionKey) -> None:
        """Drop routes that no event has taken: they are simply compiled again when one comes."""
        for code in self._unused().pop(name, ()):
            if self._event_ranges.find(name, code) is None:
                route = self.by_key.pop((*name, code), None)
                for span in route.spans if route is not None else ():
                    self._take_out(span.key)

    def install(self, meter_key: MeterKey, route: Route) -> Route:
        """Put a route in place of the one that a meter key has; its spans take over the cells."""
        self.lead_by(route)
        self.begin(meter_key, route)
        return route

    def begin(self, meter_key: MeterKey, route: Route) -> None:
        """Do what `install` does of a meter key without events: nothing of it is forgotten."""
        replaced = self._put_route(meter_key, route)
        route.made_at = self.told_of
        spans = self.spans
        for span in route.spans:
            # One that comes with cells has sets of members.
            generation = span.generation if span.layers else None
            old = spans.setdefault(span.key, span)
            if old is not span:
                self._put(span)
                self._hand_on(old, span)
            else:
                span.stands = True
                if span.fold.unique:
                    span.generation = self._generation()
            if generation is not None:
                span.generation = generation
        if replaced is not route:
            for span in replaced.spans:
                # One that no event has reached, or the meter key would be refolded.
                self._drop(span)

    def lead_by(self, route: Route) -> None:
        """Let a route know which of its cells are forgotten."""
        name = (route.organization_id, route.external_subscription_id)
        forgotten_ms = self._event_ranges.forgotten_ms(name, route.code)
        route.lose_aim()
        for span in route.spans:
            span.forgotten_ms, span.current = forgotten_ms, None

    def _hand_on(self, old: Span, span: Span) -> None:
        """Give a new span the cells that its predecessor has for its key."""
        for layer in old.layers.values():
            self._move_layer(layer, span)
        span.sets, span.generation = old.sets, old.generation

    def _move_layer(self, layer: Layer, span: Span) -> None:
        target = span.layer_starting(layer.start_ms)
        for cell in layer.cells.values():
            if target is None:
                self._snapshot.delete(cell)
                continue
            cell.layer = target
            target.cells[cell.filter_id, cell.groups] = cell

    def _drop(self, span: Span) -> None:
        if self.spans.get(span.key) is span:
            self._take_out(span.key)
        span.drop()

    def _put(self, span: Span) -> None:
        """Have a span under its key, in place of the one that was there."""
        self._take_out(span.key)
        self.spans[span.key] = span
        span.stands = True

    def _take_out(self, key: SpanKey) -> None:
        """Have no span under a key."""
        old = self.spans.pop(key, None)
        if old is not None:
            old.stands = False

    def remove(self, meter_key: MeterKey) -> Sequence[Span]:
        """Take out a route whose cells are packed; return its spans, which the caller drops."""
        route = self.by_key.pop(meter_key, None)
        spans = () if route is None else route.spans
        for span in spans:
            self._take_out(span.key)
        return spans

    def replacing(
        self, meter_key: MeterKey, refolded: Route | None, *, keeps: bool = False
    ) -> Steps[list[SetKey]]:
        """Replace a meter key's route and cells by those of a refold; return the sets to forget.

        Nothing is folded meanwhile; a reader finds the one route or the other. No span has their
        generation again. `keeps`: what is forgotten stays so.
        """
        cells = yield from self._deleting(meter_key)
        gone = self._replace(meter_key, refolded, keeps=keeps)
        yield
        yield from freeing(cells)
        return gone

    def _deleting(self, meter_key: MeterKey) -> Steps[list[Cell]]:
        """Delete the cells of a meter key, and return them; its route still has them."""
        cells, route = list[Cell](), self.by_key.get(meter_key)
        layers = [
            layer for span in (route.spans if route else ()) for layer in span.layers.values()
        ]
        for cell in chain.from_iterable(layer.cells.values() for layer in layers):
            self._snapshot.delete(cell)
            cells.append(cell)
            if len(cells) % STEP_ITEMS == 0:
                yield
        return cells

    def _replace(self, meter_key: MeterKey, refolded: Route | None, *, keeps: bool) -> list[SetKey]:
        route = self.by_key.pop(meter_key, None)
        gone: list[SetKey] = []
        for span in route.spans if route is not None else ():
            if span.fold.unique:
                gone += span.all_sets().values()
            if (standing := self.spans.get(span.key, span)) is not span:
                # Its charge is about another code, whose first event took these cells over.
                self._stale.displace([(*meter_key[:2], standing.fold.metric.code)])
            self._drop(span)
        if not keeps:
            self._event_ranges.note_forgotten(meter_key, -1)
        if refolded is not None:
            self.lead_by(refolded)
            self._put_route(meter_key, refolded)
            for span in refolded.spans:
                self._put(span)
        return gone

    def _put_route(self, meter_key: MeterKey, route: Route) -> Route:
        """Have events of a meter key go by a route; return the one before, or the same one."""
        replaced = self.by_key.setdefault(meter_key, route)
        if replaced is not route:
            self.by_key[meter_key] = route
        spans = route.spans
        if len(spans) > 1 or (spans and spans[0].fold.unique):
            # Most are light, and made at the first event of a meter key.
            self.heaviest = max(self.heaviest, _straight_weight(route))
        self._at_hand.note(meter_key[:2])
        return replaced

    def lend(self, routes: Mapping[MeterKey, Route]) -> None:
        """Add routes for reading only; somebody else keeps their cells."""
        self._lends = True
        self.by_key.update(routes)

    def _generation(self) -> int:
        """Return the generation of a span without cells: no changelog has its sets of members.

        The first call notes the generation, so that it stays until the next refold.
        """
        self._checkpoint.generation = self.generation_now
        return self._checkpoint.generation

    @property
    def generation_now(self) -> int:
        """Generation that a span without cells would have if it were made now; it is not noted."""
        known = self._checkpoint.generation
        return self._checkpoint.flush if known < 0 else known

    def next_generation(self) -> int:
        """Return the generation of spans that a refold beginning now will make."""
        return max(self._checkpoint.flush, self._checkpoint.generation) + 1

    def skip_generation(self) -> None:
        """Let no span made from here on have a generation that sets of members were made under."""
        # One more than a refold that has begun already: its generation is taken.
        self._checkpoint.generation = self.next_generation() + 1


def _straight_weight(route: Route) -> int:
    spans = route.spans
    if not spans:
        return 1
    if route.layer is not None:
        # Those of subscriptions that ended take nothing.
        count = 1
    else:
        count = len(spans) if route.late is None else 1 + len(route.late.beside)
    return count * (UNIQUE_AS_MANY if spans[-1].fold.unique else 1)
