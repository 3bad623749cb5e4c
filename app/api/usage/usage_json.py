"""Usage as Lago prints it (metering-semantics §6): pure functions over `PeriodUsage`.

Nothing is priced: amounts are there and 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from heapq import heapify, heappop
from operator import itemgetter
from typing import Any

import msgspec

from app.api.http.json_text import whole
from app.billing_periods.instants import iso_milliseconds, iso_seconds
from app.billing_periods.timezones import local_date
from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.aggregation_types import AGGREGATION_TYPES
from app.definitions.model import Charge, ChargeFilter, Metric
from app.meter.projection import passed_share, projected_row
from app.meter.usage import (
    AsOf,
    ChargeInForce,
    PeriodUsage,
    PresentedRow,
    Publication,
    UsageRow,
)
from app.numbers import exact_difference, exact_sum, plain

Json = dict[str, Any]
Group = tuple[tuple[str, str | None], ...]
Buckets = Mapping[str | None, tuple[int, ChargeFilter | None]]
"""By id of a filter, None for the default bucket: its place, and the filter."""

_PLACE = itemgetter(0)


class UsageSelection(msgspec.Struct, frozen=True):
    """Which charges to show."""

    charge_id: str | None = None
    charge_code: str | None = None
    billable_metric_code: str | None = None

    @property
    def names_charges(self) -> bool:
        """Whether only some charges are asked for; of several names the first given counts."""
        return any((self.charge_id, self.charge_code, self.billable_metric_code))

    def wants(self, in_force: ChargeInForce) -> bool:
        """Return whether this charge is asked for."""
        if self.charge_id:
            return in_force.charge.id == self.charge_id
        if self.charge_code:
            return in_force.charge.code == self.charge_code
        return self.billable_metric_code in (None, in_force.metric.code)


EVERYTHING = UsageSelection()


def select_charges(usage: PeriodUsage, selection: UsageSelection) -> tuple[ChargeInForce, ...]:
    """Return the charges asked for, by metric name; as in the plan when some are named."""
    chosen = tuple(charge for charge in usage.charges if selection.wants(charge))
    if selection.names_charges:
        return chosen
    return tuple(sorted(chosen, key=lambda charge: charge.metric.name.lower()))


def current_usage_json(usage: PeriodUsage, selection: UsageSelection = EVERYTHING) -> Json:
    """Return the `customer_usage` object: each charge, filter and default bucket, used or not."""
    shown: Json = whole(current_usage_stream(usage, selection))
    return shown


def current_usage_stream(usage: PeriodUsage, selection: UsageSelection = EVERYTHING) -> Json:
    """Return the `customer_usage` object, its lists to be streamed."""
    rows = _rows_by_charge(usage.rows)
    charges_usage = (
        _charge_json(usage, in_force, _complete(in_force, rows))
        for in_force in select_charges(usage, selection)
    )
    return _period_json(usage, charges_usage)


def projecting_usage(
    usage: PeriodUsage, at_ms: int, selection: UsageSelection = EVERYTHING
) -> Steps[Json]:
    """Return the `customer_projected_usage` object as seen at an instant, its lists to be streamed.

    A charge shows the sum of its rows first, so these are projected before.
    """
    rows, passed = _rows_by_charge(usage.rows), passed_share(usage, at_ms)
    chosen = select_charges(usage, selection)
    projected: list[list[UsageRow]] = []
    for in_force in chosen:
        of_charge: list[UsageRow] = []
        projected.append(of_charge)
        for row in _complete(in_force, rows):
            of_charge.append(projected_row(in_force, row, passed))
            if len(of_charge) % STEP_ITEMS == 0:
                yield
    charges_usage = (
        _charge_json(usage, in_force, of_charge)
        for in_force, of_charge in zip(chosen, projected, strict=True)
    )
    return _period_json(usage, charges_usage) | {"projected_amount_cents": 0}


def past_usage_stream(usage: PeriodUsage, selection: UsageSelection = EVERYTHING) -> Json:
    """Return one of the `usage_periods`, its lists to be streamed.

    It has only what was used or will be, and says how far the period has come.
    """
    rows = _rows_by_charge(row for row in usage.rows if _is_used(row))
    charges_usage = (
        _charge_json(usage, in_force, rows[in_force.charge.id])
        for in_force in select_charges(usage, selection)
        if in_force.charge.id in rows
    )
    return _period_json(usage, charges_usage) | _publication_json(usage.publication)


def _is_used(row: UsageRow) -> bool:
    """Return whether any figure is not 0 now, or will not be."""
    figures = (row.units, row.prorated_units, row.total_aggregated_units, row.events_count)
    return any(figures) or row.pending is not None


def _publication_json(publication: Publication) -> Json:
    return {
        "state": publication.state,
        "final": publication.state == "final",
        "due_at": _instant(publication.due_at_ms),
        "closed_at": _instant(publication.closed_at_ms),
        "final_after": _instant(publication.final_after_ms),
    }


def _instant(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso_milliseconds(at_ms)


def _three_figures(usage: PeriodUsage, rows: Sequence[UsageRow]) -> Json:
    """Return what is published of an ended period, what the next revision adds, and what it shows.

    Nothing for a period that runs: `units` is its only figure.
    """
    if usage.publication.state == "open":
        return {}
    revisions = [row.revision for row in rows if row.revision is not None]
    units, events = exact_sum(row.units for row in rows), sum(row.events_count for row in rows)
    live = [row.pending or row for row in rows]
    live_units = exact_sum(row.units for row in live)
    live_events = sum(row.events_count for row in live)
    reasons = {row.pending.cause for row in rows if row.pending is not None}
    cut = _instant(usage.publication.pending_cut_ms)
    figures = {"units": plain(units), "events_count": events}
    return {
        "published": {"revision": max(revisions), **figures} if revisions else None,
        "pending": {
            "cut": cut,
            "events": live_events - events,
            "delta_units": plain(exact_difference(live_units, units)),
            "reasons": sorted(reasons),
        }
        if reasons
        else None,
        "live": {
            "units": plain(live_units),
            "events_count": live_events,
            "as_of": iso_milliseconds(usage.as_of.append_time_ms),
        },
    }


def as_of_json(as_of: AsOf) -> Json:
    """Tell how far the figures are folded."""
    return {
        "append_time": iso_milliseconds(as_of.append_time_ms),
        "partition": as_of.partition,
        "raw_offset": as_of.raw_offset,
        "rekeyed_offset": as_of.rekeyed_offset,
    }


def _period_json(usage: PeriodUsage, charges_usage: Iterator[Json]) -> Json:
    return {
        "from_datetime": iso_seconds(usage.from_ms),
        "to_datetime": iso_seconds(usage.to_ms),
        "issuing_date": local_date(usage.to_ms, usage.timezone).isoformat(),
        "lago_invoice_id": None,
        "currency": usage.plan.amount_currency,
        "amount_cents": 0,
        "taxes_amount_cents": 0,
        "total_amount_cents": 0,
        "charges_usage": charges_usage,
        "as_of": as_of_json(usage.as_of),
        "stale": usage.stale,
    }


def _charge_json(usage: PeriodUsage, in_force: ChargeInForce, rows: Sequence[UsageRow]) -> Json:
    charge, metric = in_force.charge, in_force.metric
    buckets = _places(charge) if charge.filters else {}
    figures = _figures(rows)
    return {
        "units": figures["units"],
        **_in_advance(rows),
        **_projected(rows),
        "total_aggregated_units": figures["total_aggregated_units"],
        **_so_far(metric, rows),
        "events_count": figures["events_count"],
        "amount_cents": 0,
        "amount_currency": usage.plan.amount_currency,
        "pricing_unit_details": None,
        **_three_figures(usage, rows),
        "charge": {
            "lago_id": charge.id,
            "code": charge.code,
            "charge_model": charge.charge_model,
            "invoice_display_name": charge.invoice_display_name,
        },
        "billable_metric": {
            "lago_id": metric.id,
            "name": metric.name,
            "code": metric.code,
            "aggregation_type": metric.aggregation_type,
        },
        "filters": _filters_json(usage, buckets, rows),
        "grouped_usage": _grouped_json(usage, buckets, rows),
        **_presented(rows, lambda row: not row.grouped_by and row.filter_id is None),
    }


def _so_far(metric: Metric, rows: Sequence[UsageRow]) -> Json:
    """Return for averages over time what accrued by now.

    It stands beside what the period comes to at its end.

    Null when an event is dated in the future, for then the running sums cannot tell.
    """
    if not AGGREGATION_TYPES[metric.aggregation_type].over_time:
        return {}
    parts = [row.units_so_far for row in rows]
    known = [part for part in parts if part is not None]
    return {"units_so_far": plain(exact_sum(known)) if len(known) == len(parts) else None}


def _filters_json(usage: PeriodUsage, buckets: Buckets, rows: Sequence[UsageRow]) -> Iterator[Json]:
    """Yield an entry for each bucket with rows, oldest filter first, default bucket last."""
    by_filter = _rows_by_filter(rows)
    # A charge has thousands of filters at most, and a group few of them.
    for _, bucket in sorted((buckets[key] for key in by_filter if key in buckets), key=_PLACE):
        of_bucket = by_filter[bucket.id if bucket else None]
        yield (
            _figures(of_bucket)
            | _three_figures(usage, of_bucket)
            | {
                "invoice_display_name": bucket.invoice_display_name if bucket else None,
                "values": _lists(bucket.values) if bucket else None,
                **_presented(of_bucket, lambda _: True),
            }
        )


def _grouped_json(usage: PeriodUsage, buckets: Buckets, rows: Sequence[UsageRow]) -> Iterator[Json]:
    """Yield an entry for each group, by its values, null first; none when no bucket is grouped."""
    if not any(row.grouped_by for row in rows):
        return
    groups = _by(rows, lambda row: row.grouped_by)
    order = [(_group_order(group), number) for number, (group, _) in enumerate(groups)]
    # To sort them all is one long step; what comes next in a heap is found while they are written.
    heapify(order)
    while order:
        group, members = groups[heappop(order)[1]]
        filters = _filters_json(usage, buckets, members)
        yield _figures(members) | {
            **_three_figures(usage, members),
            "grouped_by": dict(group),
            "filters": filters if len(members) > STEP_ITEMS else list(filters),
            **_presented(members, lambda row: bool(row.grouped_by) and row.filter_id is None),
        }


def _presented(rows: Sequence[UsageRow], shows: Callable[[UsageRow], bool]) -> Json:
    """Return the parts of some of the cells, and what they come to where somebody asks."""
    shown = [row for row in rows if shows(row)]
    found = {"presentation_breakdowns": _parts_json(row.presented for row in shown)}
    if _is_projected(rows):
        parts = _parts_json(row.projected_presented for row in shown)
        found["projected_presentation_breakdowns"] = parts
    return found


def _parts_json(presented: Iterable[tuple[PresentedRow, ...] | None]) -> list[Json] | None:
    """Return the parts of some cells; None where one has too many."""
    shown: list[Json] = []
    for parts in presented:
        if parts is None:
            return None
        shown += (
            {"presentation_by": dict(part.presentation_by), "units": plain(part.units)}
            for part in parts
        )
    return shown


def _group_order(group: Group) -> list[str | bool]:
    """Return what groups are ordered by, in one list: nested ones are compared slowly."""
    order: list[str | bool] = []
    for key, value in group:
        order += (key, value is not None, value or "")
    return order


def _figures(rows: Sequence[UsageRow]) -> Json:
    """Return the sums over cells, as each is shown."""
    return {
        "units": plain(exact_sum(row.units for row in rows)),
        **_in_advance(rows),
        **_projected(rows),
        "total_aggregated_units": plain(exact_sum(row.total_aggregated_units for row in rows)),
        "events_count": sum(row.events_count for row in rows),
        "amount_cents": 0,
        "pricing_unit_details": None,
    }


def _in_advance(rows: Sequence[UsageRow]) -> Json:
    """Return what cells of a charge paid in advance show of it; nothing of other charges."""
    units = [row.in_advance_units for row in rows if row.in_advance_units is not None]
    return {"in_advance_units": plain(exact_sum(units))} if len(units) == len(rows) > 0 else {}


def _projected(rows: Sequence[UsageRow]) -> Json:
    """Return what cells come to by the end of the period; nothing where nobody asks."""
    if not _is_projected(rows):
        return {}
    units = [row.projected_units for row in rows if row.projected_units is not None]
    return {"projected_units": plain(exact_sum(units)), "projected_amount_cents": 0}


def _is_projected(rows: Sequence[UsageRow]) -> bool:
    """Return whether somebody asks what cells come to."""
    return any(row.projected_units is not None for row in rows)


def _buckets(charge: Charge) -> list[ChargeFilter | None]:
    """Return the charge's filters in order of age, then None: the default bucket."""
    return [*charge.filters, None]


def _places(charge: Charge) -> Buckets:
    return {
        bucket.id if bucket else None: (place, bucket)
        for place, bucket in enumerate(_buckets(charge))
    }


def _complete(in_force: ChargeInForce, rows: Mapping[str, list[UsageRow]]) -> list[UsageRow]:
    """Return rows of every bucket: one that used nothing gets a row of zeros in the null group."""
    charge = in_force.charge
    by_filter, complete = _rows_by_filter(rows.get(charge.id, [])), list[UsageRow]()
    for bucket in _buckets(charge):
        of_bucket = by_filter.get(bucket.id if bucket else None)
        complete += of_bucket or [_zero_row(in_force, bucket)]
    return complete


def _zero_row(in_force: ChargeInForce, bucket: ChargeFilter | None) -> UsageRow:
    charge = in_force.charge
    return UsageRow(
        charge_id=charge.id,
        filter_id=bucket.id if bucket else None,
        grouped_by=tuple((key, None) for key in charge.group_keys(bucket)),
        units=Decimal(0),
        total_aggregated_units=Decimal(0),
        units_so_far=Decimal(0),
        in_advance_units=Decimal(0) if charge.is_billed_at_once(in_force.metric) else None,
        events_count=0,
    )


def _rows_by_charge(rows: Iterable[UsageRow]) -> dict[str, list[UsageRow]]:
    return dict(_by(rows, lambda row: row.charge_id))


def _rows_by_filter(rows: Iterable[UsageRow]) -> dict[str | None, list[UsageRow]]:
    return dict(_by(rows, lambda row: row.filter_id))


def _by(
    rows: Iterable[UsageRow], key: Callable[[UsageRow], Any]
) -> list[tuple[Any, list[UsageRow]]]:
    """Return rows by key, in order of first appearance."""
    groups: dict[Any, list[UsageRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.items())


def _lists(values: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {key: list(items) for key, items in values.items()}
