"""Daily records at a grid cut: of each period with a day that is over, the cells that changed.

Figures are those of the events appended until the cut and dated before the end of the day. What
came late shows in the next day: no record of a day is ever revised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from app.definitions.model import Charge, ChargeFilter, Metric, Plan
from app.definitions.timeline import Timeline
from app.numbers import EXACT, ZERO, plain
from app.wire.arrivals import SubscriptionKey
from app.wire.daily_records import DailyText, daily_record
from app.wire.usage_records import Envelope, PublishedRecord, RecordedCell, cell_id, groups_text
from tables.aggregation import Groups
from tables.cells.breakdown import Breakdowns, breakdowns
from tables.cells.cell import Cell, Span
from tables.cells.days import Days, shown_until_ms
from tables.cells.figures import NO_FIGURES, CellFigures
from tables.cells.noted import Noted
from tables.changelogged.daily import DailyCell
from tables.changelogged.piece_store import PeriodKey
from tables.closing.at_cut import AtCut
from tables.closing.beside import Beside, span_named, spans_named
from tables.closing.period_at_cut import CELLS_A_STEP, CHARGES_A_STEP
from tables.daily_fold import daily_breakdown_id, daily_id
from tables.partition.partition import Partition
from tables.routing.period_charges import PeriodCharges, charges_in_force


def daily_at(
    partition: Partition, name: SubscriptionKey, cut_ms: int
) -> Iterator[PublishedRecord | None]:
    """Yield the records of days that are over at a cut, and note what they say; None: a step.

    Settings have daily records then, and the grid cut was not taken before. Everything is as of the
    cut: whatever came after it is as if it had not come yet.
    """
    definitions = partition.definitions
    grids = definitions.close_grids_ms(cut_ms)
    later = definitions.has_commands_after(cut_ms)
    for versions, timeline in partition.timelines.of(name, cut_ms if later else None):
        for period, day in Days(timeline, grids).ended_at(cut_ms):
            as_of_ms = min(cut_ms, period.fixed_at_ms)
            subscription = versions.at(as_of_ms)
            plan = definitions.plan_through(versions).last_before_deletion(as_of_ms)
            if subscription is not None and plan is not None:
                as_of = period._replace(fixed_at_ms=as_of_ms)
                at_day = _AtDay(AtCut(partition, name, subscription, as_of, None, cut_ms), plan)
                yield from at_day.records(day.date.isoformat())
                if at_day.holds_back:
                    partition.cuts.schedule_day_after(name, cut_ms)
                else:
                    # What is held back the next day has to find.
                    at_day.note_told()
                if at_day.is_first:
                    told = subscription.id, period.start_ms
                    yield from forgetting_told(partition, told, timeline, cut_ms)


def forgetting_told(
    partition: Partition, name: PeriodKey, timeline: Timeline, cut_ms: int
) -> Iterator[None]:
    """Drop what records of some earlier periods said, once no cut to come shows a day of them."""
    grids = partition.definitions.close_grids_ms(cut_ms)
    over = (
        period
        for start_ms in partition.daily.told_before(name)
        if (period := timeline.holding(start_ms)) is not None
        and period.start_ms == start_ms
        and shown_until_ms(period, grids) <= cut_ms
        and period.due_at_ms <= cut_ms
    )
    for period in list(islice(over, FORGOTTEN_AT_ONCE)):
        yield from partition.daily.forgetting((name[0], period.start_ms))


FORGOTTEN_AT_ONCE = 8
"""Periods whose cells are dropped at most at a time."""


class _Cell(NamedTuple):
    """A cell as it is at the end of the day."""

    charge: Charge
    metric: Metric
    bucket: ChargeFilter | None
    grouped_by: tuple[tuple[str, str | None], ...]
    figures: CellFigures
    rows: str
    """Rows by presentation keys, as JSON."""


class _AtDay:
    """One period of a subscription at the end of a day."""

    def __init__(self, at: AtCut, plan: Plan):
        self._partition, self._name, self._subscription, self._period, _, self._cut_ms = at
        self._at = at
        self._plan = plan
        self._known = self._partition.daily.cells((self._subscription.id, self._period.start_ms))
        self.is_first = False
        """Whether these are the first records of the period."""
        self.holds_back = False
        """Whether a cell has changed and no record says so: the day has one already."""
        self._looked: list[Noted[Cell]] = []
        self._passed = set[str]()
        """Charges of which cells were passed over that have not changed."""
        self._gone_from = set[str]()
        """Cells of these that there are none of any more."""

    def records(self, day: str) -> Iterator[PublishedRecord | None]:
        """Yield the records of a day by cell id; None: a step."""
        seen, changed = set[str](), list[tuple[str, _Cell]]()
        yield from self._partition.packing.unpacking(self._name)
        for count, found in enumerate(self._cells(), 1):
            if found is not None:
                identity, cell = found
                seen.add(identity)
                if self._differs(identity, cell, day):
                    changed.append(found)
            if found is None or count % CELLS_A_STEP == 0:
                yield None
        for identity, known in list(self._known.items()):
            stays = known.charge_id in self._passed and identity not in self._gone_from
            gone = None if stays or identity in seen else self._gone(known)
            if gone is not None and self._differs(identity, gone, day):
                changed.append((identity, gone))
        self.is_first = bool(changed and not self._known)
        for identity, cell in sorted(changed, key=itemgetter(0)):
            yield self._record(identity, cell, day)

    def note_told(self) -> None:
        """Have later days look at what changes from now on."""
        for noted in self._looked:
            noted.told(self._partition.daily)

    def _differs(self, identity: str, cell: _Cell, day: str) -> bool:
        """Return whether a cell is not as its newest record says; a day has one record at most."""
        known, figures = self._known.get(identity), cell.figures
        if known is None:
            return bool(figures.units or figures.total_aggregated_units or figures.events_count)
        differs = (known.units, known.total_aggregated_units, known.events_count) != (
            plain(figures.units),
            plain(figures.total_aggregated_units),
            figures.events_count,
        )
        if differs and known.day >= day and known.cut_ms < self._cut_ms:
            self.holds_back = True
        return differs and known.day < day

    def _cells(self) -> Iterator[tuple[str, _Cell] | None]:
        """Yield the cells of the period with their ids; None: a step."""
        partition, period = self._partition, self._period
        for number, (charge, metric, *_) in enumerate(self._charges.in_force, 1):
            if number % CHARGES_A_STEP == 0:
                yield None
            route = partition.packing.route_of((*self._name, metric.code))
            named = self._subscription.id, daily_id(charge.id), period
            for span in spans_named(route.spans, *named):
                rows: Breakdowns | None = None
                if charge.presents:
                    rows = Breakdowns({}, {})
                    presenting = span_named(route, span, daily_breakdown_id(charge.id), period)
                    if presenting is not None:
                        rows = yield from breakdowns(presenting, period, self._cut_ms)
                told = Beside(charge, metric, period, self._cut_ms, span, None, rows)
                buckets = {bucket.id: bucket for bucket in charge.filters}
                for filter_id, groups in self._names_in(span, charge, buckets):
                    bucket = self._bucket(charge, buckets, filter_id)
                    found = self._cell(span, told, bucket, groups)
                    figures = found[1].figures
                    is_some = figures.period_events or figures.carries
                    if is_some or self._has_any(span, filter_id, groups):
                        yield found
                    else:
                        # It was emptied, and only what came after the cut made it again.
                        self._gone_from.add(found[0])
                        yield None

    def _has_any(self, span: Span, filter_id: str | None, groups: Groups) -> bool:
        """Return whether a cell would be there without what came after the cut."""
        nothing = span.fold.aggregation.initialize()
        state, before = span.states(self._period, filter_id, groups, self._cut_ms)
        return state != nothing or before not in (None, nothing)

    def _names_in(
        self, span: Span, charge: Charge, buckets: Mapping[str, ChargeFilter]
    ) -> Iterable[tuple[str | None, Groups]]:
        """Return the cells of a span that may have changed since the last day was told.

        Breakdowns have cells of their own: then all of them may have.
        """
        noted, changed = None if charge.presents else span.noted_in(self._period), None
        if noted is not None:
            self._looked.append(noted)
            changed = noted.look(self._partition.daily)
        if changed is None:
            return span.cells_of(self._period)
        self._passed.add(charge.id)
        layer = span.layers[self._period.start_ms]
        found = list[tuple[str | None, Groups]]()
        for cell in changed:
            if layer.uses(cell):
                found.append((cell.filter_id, cell.groups))
            else:
                bucket = self._bucket(charge, buckets, cell.filter_id)
                self._gone_from.add(self._identity(charge, bucket, cell.groups)[0])
        return found

    @cached_property
    def _charges(self) -> PeriodCharges:
        return self._partition.routes.charges_of(self._subscription, self._period)

    def _bucket(
        self, charge: Charge, buckets: Mapping[str, ChargeFilter], filter_id: str | None
    ) -> ChargeFilter | None:
        if filter_id is None:
            return None
        return buckets.get(filter_id) or self._charges.filter_before(charge.id, filter_id)

    def _identity(
        self, charge: Charge, bucket: ChargeFilter | None, groups: Groups
    ) -> tuple[str, tuple[tuple[str, str | None], ...]]:
        """Return the id of a cell, and its groups by their keys."""
        filter_id, start_ms = None if bucket is None else bucket.id, self._period.start_ms
        keys = charge.group_keys(bucket)
        keys = self._charges.keys_that_fit(charge, filter_id, groups, keys)
        grouped_by = tuple(zip(keys, groups, strict=False)) if groups else ()
        return cell_id(self._subscription, charge.id, filter_id, grouped_by, start_ms), grouped_by

    def _cell(
        self, span: Span, told: Beside, bucket: ChargeFilter | None, groups: Groups
    ) -> tuple[str, _Cell]:
        charge, filter_id = told.charge, None if bucket is None else bucket.id
        identity, grouped_by = self._identity(charge, bucket, groups)
        figures = span.figures(self._period, filter_id, groups, self._cut_ms)
        rows = told.rows(filter_id, groups) if charge.presents else "null"
        return identity, _Cell(charge, told.metric, bucket, grouped_by, figures, rows)

    def _gone(self, known: DailyCell) -> _Cell | None:
        """Return a cell that there is none of any more, under the definitions of its record."""
        definitions, at_ms = self._partition.definitions, known.cut_ms
        plans = definitions.plan_of(self._subscription.id)
        for charge, metric in charges_in_force(definitions, plans, None, at_ms):
            if charge.id == known.charge_id:
                buckets = {each.id: each for each in charge.filters}
                bucket = None if known.filter_id is None else buckets.get(known.filter_id)
                rows = "[]" if charge.presents else "null"
                return _Cell(charge, metric, bucket, known.grouped_by, NO_FIGURES, rows)
        return None

    def _record(self, identity: str, cell: _Cell, day: str) -> PublishedRecord:
        figures, known = cell.figures, self._known.get(identity)
        units, total = plain(figures.units), plain(figures.total_aggregated_units)
        before, events_before = (
            (ZERO, 0) if known is None else (Decimal(known.units), known.events_count)
        )
        delta = plain(EXACT.subtract(figures.units, before))
        prorated: str | None = None
        if cell.charge.prorated:
            prorated = plain(ZERO if figures.prorated_units is None else figures.prorated_units)
        entry = DailyCell(
            day,
            self._cut_ms,
            units,
            total,
            figures.events_count,
            cell.charge.id,
            None if cell.bucket is None else cell.bucket.id,
            cell.grouped_by,
        )
        self._partition.daily.put((self._subscription.id, self._period.start_ms), identity, entry)
        text = DailyText(
            units,
            prorated,
            total,
            figures.events_count,
            delta,
            figures.events_count - events_before,
            cell.rows,
        )
        envelope = self._envelope
        echo = envelope.echo_of(cell.charge, cell.metric, cell.bucket)
        recorded = RecordedCell(envelope, identity, echo, groups_text(cell.grouped_by))
        return daily_record(recorded, day, text)

    @cached_property
    def _envelope(self) -> Envelope:
        return self._at.envelope(self._plan, self._period.fixed_at_ms)
