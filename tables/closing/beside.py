"""What records say of cells besides their figures: rows by presentation keys, and single events."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

import msgspec

from app.bounds.limits import RECORD_LIST_BYTES
from app.bounds.turns import Steps
from app.definitions.by_identity import ByIdentity
from app.definitions.model import Charge, ChargeFilter, Metric
from app.definitions.per_event import asked_of
from app.definitions.periods import Period
from app.numbers import plain
from app.wire.usage_records import ARREARS, BillingText
from tables.aggregation import Groups
from tables.breakdown_fold import breakdown_id
from tables.cells.breakdown import Breakdowns, breakdowns
from tables.cells.cell import Span
from tables.cells.entries import source_of
from tables.entries_fold import asks, entries_id
from tables.per_event import PerEvent, per_event
from tables.routing.route import Route


class Beside(NamedTuple):
    """What the records of one charge and period say besides their figures."""

    charge: Charge
    metric: Metric
    period: Period
    cut_ms: int
    span: Span
    entries: Span | None
    """Span that keeps the entries of its events."""
    found: Breakdowns | None
    """Rows by presentation keys; None: there are none, or too many."""

    def text(self, bucket: ChargeFilter | None, groups: Groups) -> BillingText:
        """Return what the record of a cell says."""
        filter_id = None if bucket is None else bucket.id
        return ARREARS._replace(
            presentation_breakdowns=self.rows(filter_id, groups),
            per_event=self._lists(bucket, filter_id, groups),
        )

    def rows(self, filter_id: str | None, groups: Groups) -> str:
        """Return the rows of a cell as JSON; null: it has none."""
        if self.found is None:
            return "null"
        rows = self.found.rows.get((filter_id, groups), [])
        keys = self.found.keys.get(filter_id, ())
        return _bounded(
            [
                {
                    "presentation_by": dict(zip(keys, row.texts, strict=True)),
                    "units": plain(row.units),
                }
                for row in rows
            ]
        )

    def _lists(self, bucket: ChargeFilter | None, filter_id: str | None, groups: Groups) -> str:
        asked = asked_of(self.charge, self.metric, bucket)
        if asked.nothing:
            return "null"
        source = source_of(self.span, self.entries, self.period, filter_id, groups, self.cut_ms)
        lists = per_event(asked, source)
        text = _lists_text(lists)
        return text if len(text) <= RECORD_LIST_BYTES else _lists_text(PerEvent(lists.length))


class ToldOfAll(NamedTuple):
    """What of a charge is the same for all of its cells."""

    default_keys: tuple[str, ...]
    """What its default bucket is grouped by."""
    has_more: bool
    """Whether records say anything besides their figures."""
    filters: dict[str, ChargeFilter]

    def filter(self, filter_id: str | None) -> ChargeFilter | None:
        """Return one of its filters: each cell asks for its own, of thousands."""
        return None if filter_id is None else self.filters.get(filter_id)


def _told_of_all(charge: Charge, metric: Metric) -> ToldOfAll:
    filters = {charge_filter.id: charge_filter for charge_filter in charge.filters}
    return ToldOfAll(charge.group_keys(None), charge.presents or asks(charge, metric), filters)


_told_of = ByIdentity(_told_of_all)


def told_of(charge: Charge, metric: Metric) -> ToldOfAll:
    """Return what of a charge is the same for all of its cells."""
    return _told_of.of(charge, metric)


def beside(
    route: Route,
    span: Span,
    charge: Charge,
    metric: Metric,
    period: Period,
    cut_ms: int,
    cells: Container[tuple[str | None, Groups]] | None,
) -> Steps[Beside]:
    """Return what the records of a charge that says more say as of a cut, by steps.

    `cells`: of these only; None: of all.
    """
    asked = asks(charge, metric)
    found: Breakdowns | None = None
    if charge.presents:
        presenting = span_named(route, span, breakdown_id(charge.id), period)
        found = Breakdowns({}, {})
        if presenting is not None:
            found = yield from breakdowns(presenting, period, cut_ms, cells=cells)
    entries = span_named(route, span, entries_id(charge.id), period) if asked else None
    return Beside(charge, metric, period, cut_ms, span, entries, found)


def no_events(charge: Charge, metric: Metric, bucket: ChargeFilter | None) -> BillingText:
    """Return what the record of a cell says that has nothing any more."""
    asked = asked_of(charge, metric, bucket)
    nothing = PerEvent(
        0,
        [] if asked.values else None,
        [] if asked.prorated_values else None,
        [] if asked.running_total else None,
    )
    return ARREARS._replace(
        presentation_breakdowns="[]" if charge.presents else "null",
        per_event="null" if asked.nothing else _lists_text(nothing),
    )


def span_named(route: Route, span: Span, name: str, period: Period) -> Span | None:
    """Return the span of a period that folds a charge in another way; None: it has none."""
    return next(spans_named(route.spans, span.key.subscription_id, name, period), None)


def spans_named(
    spans: Iterable[Span], subscription_id: str, name: str, period: Period
) -> Iterator[Span]:
    """Yield those of the spans that fold a charge of a subscription by a name in a period."""
    key, start_ms = (subscription_id, name), period.start_ms
    for each in spans:
        if each.key[:2] == key and each.key.start_ms <= start_ms < each.end_ms:
            yield each


def _bounded(rows: list[dict[str, object]]) -> str:
    text = msgspec.json.encode(rows).decode()
    return text if len(text) <= RECORD_LIST_BYTES else "null"


def _lists_text(lists: PerEvent) -> str:
    shown = {
        "count": lists.length,
        "values": lists.values,
        "prorated_values": lists.prorated_values,
        "running_total": lists.running_total,
    }
    return msgspec.json.encode(shown).decode()
