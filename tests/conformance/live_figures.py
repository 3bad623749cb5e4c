"""Figures as the worker shows and publishes them, against those that a vector expects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from app.definitions.model import Charge, ChargeFilter
from app.numbers import ZERO, exact_sum
from tests.conformance.comparison import Comparison, Difference, numbers_of
from tests.conformance.figures import CellFigures, Numbers
from tests.conformance.files import Json
from tests.conformance.scenario import ONE_BUCKET, is_bucket

_CLAMPED = ("units", "full_units", "current_units", "total_aggregated_units")

RECORD_NAMES = (
    "units",
    "full_units",
    "current_units",
    "events_count",
    "total_aggregated_units",
    "precise_total_amount_cents",
)
"""The numbers that records have."""

Wanted = Callable[[CellFigures], bool]


def usage_cells(
    charge_usage: Json, charge: Charge, names: Sequence[str], *, in_advance: bool = False
) -> list[CellFigures]:
    """The cells that usage shows of a charge; `in_advance`: with what was billed at once."""
    if charge_usage["grouped_usage"]:
        groups = [(each["grouped_by"], each) for each in charge_usage["grouped_usage"]]
    else:
        groups = [({}, charge_usage)]
    return [
        CellFigures(filter_id, grouped_by, _usage_numbers(figures, names, in_advance=in_advance))
        for grouped_by, group in groups
        for filter_id, figures in _buckets(group, charge)
    ]


def _buckets(shown: Json, charge: Charge) -> Iterator[tuple[str | None, Json]]:
    if not charge.filters:
        yield None, shown
    for entry in shown["filters"]:
        found = (f.id for f in charge.filters if _is_filter(f, entry))
        yield (None if entry["values"] is None else next(found)), entry


def _is_filter(candidate: ChargeFilter, entry: Json) -> bool:
    values = {key: tuple(allowed) for key, allowed in (entry["values"] or {}).items()}
    name: str | None = entry["invoice_display_name"]
    return dict(candidate.values) == values and candidate.invoice_display_name == name


def usage_names(charge: Charge, *, unique: bool) -> tuple[str, ...]:
    """The numbers that usage shows of a charge: of a prorated one, those before proration."""
    hidden = {"precise_total_amount_cents"}
    if charge.prorated:
        hidden |= {"units", "events_count"} if unique else {"units"}
    return tuple(name for name in RECORD_NAMES if name not in hidden)


def _usage_numbers(figures: Json, names: Sequence[str], *, in_advance: bool) -> Numbers:
    own = {name: name for name in ("total_aggregated_units", "events_count")}
    if in_advance:
        own["units"] = "in_advance_units"
    return {name: Decimal(figures[own.get(name, "units")]) for name in names}


def record_cells(
    records: Iterable[Json], charge: Charge, filter_ids: Sequence[str], *, unique: bool
) -> list[CellFigures]:
    """The cells of one period in the newest records; `filter_ids` are the plan's, in order."""
    ids = dict(zip(filter_ids, (f.id for f in charge.filters), strict=True))
    return [
        CellFigures(
            ids.get(record["lago_charge_filter_id"]),
            record["grouped_by"] or {},
            _record_numbers(record, unique=unique),
        )
        for record in records
    ]


def _record_numbers(record: Json, *, unique: bool) -> Numbers:
    units, prorated = Decimal(record["units"]), record["prorated_units"]
    counted = Decimal(record["events_count"])
    if unique and prorated is not None:
        # What vectors call so is the prorated value, cut off.
        counted = Decimal(int(Decimal(prorated)))
    numbers = (
        units if prorated is None else Decimal(prorated),
        units,
        units,
        counted,
        Decimal(record["total_aggregated_units"]),
        Decimal(record["precise_total_amount_cents"] or 0),
    )
    return dict(zip(RECORD_NAMES, numbers, strict=True))


class _Figure(NamedTuple):
    """Expected numbers and the cells that they are the sum of."""

    place: str
    numbers: Mapping[str, Any]
    of: Wanted


def compared(
    expect: Json,
    found: Sequence[CellFigures],
    names: Sequence[str],
    charge: Charge,
    compare: Comparison,
    place: str,
) -> Iterator[Difference]:
    """Differences in those expected numbers that `names` has, and usage where none is expected."""
    shown = [cell for cell in found if not _is_beside(cell, charge)]
    figures = list(_figures(expect, charge, place))
    for figure in figures:
        # What is not among the cells is nothing.
        cells = [cell.numbers for cell in shown if figure.of(cell)]
        numbers = {name: exact_sum(cell[name] for cell in cells) for name in names}
        for name, wanted in figure.numbers.items():
            if name in numbers:
                yield from compare.number(
                    name, _clamped(name, wanted), numbers, figure.place + name
                )
    parts = [figure for figure in figures if figure.of is not _everything]
    for cell in shown:
        if parts and any(cell.numbers.values()) and not any(part.of(cell) for part in parts):
            place_of = f"{place}{cell.filter_id} {dict(cell.grouped_by)}"
            yield Difference(place_of, "no usage", numbers_of(cell.numbers))


def _is_beside(cell: CellFigures, charge: Charge) -> bool:
    """Whether it is what `match_filters` leaves out."""
    only = [f.id for f in charge.filters] == [ONE_BUCKET]
    return only and cell.filter_id != ONE_BUCKET


def _clamped(name: str, wanted: object) -> object:
    """Vectors give aggregates before clamping, usage and records after it."""
    if name in _CLAMPED and isinstance(wanted, str | int | Decimal):
        return max(ZERO, Decimal(wanted))
    return wanted


def _figures(expect: Json, charge: Charge, place: str) -> Iterator[_Figure]:
    numbers = {key: value for key, value in expect.items() if key not in ("groups", "filters")}
    if not _adds_up_clamped(expect):
        numbers = {key: value for key, value in numbers.items() if key not in _CLAMPED}
    yield _Figure(place, numbers, _everything)
    for group in expect.get("groups") or ():
        yield _group(group, _everything, place)
    left: list[ChargeFilter | None] = [*charge.filters, None]
    for bucket in expect.get("filters") or ():
        named = next(f for f in left if is_bucket(f, bucket))
        left.remove(named)
        of, inside = _in_bucket(named), f"{place}{bucket.get('name') or bucket.get('values')} "
        parts = ("values", "name", "groups")
        yield _Figure(inside, {k: v for k, v in bucket.items() if k not in parts}, of)
        for group in bucket.get("groups") or ():
            yield _group(group, of, inside)


def _adds_up_clamped(expect: Json) -> bool:
    """Whether no part is below 0, so that the whole is the sum of what is shown of the parts."""
    parts = [*(expect.get("groups") or ()), *(expect.get("filters") or ())]
    return all(Decimal(part.get(name, 0)) >= 0 for part in parts for name in _CLAMPED)


def _everything(_: CellFigures) -> bool:
    return True


def _group(group: Json, inside: Wanted, place: str) -> _Figure:
    wanted = {k: None if v is None else str(v) for k, v in group["grouped_by"].items()}

    def of(cell: CellFigures) -> bool:
        return inside(cell) and dict(cell.grouped_by) == wanted

    return _Figure(f"{place}{wanted} ", {k: v for k, v in group.items() if k != "grouped_by"}, of)


def _in_bucket(bucket: ChargeFilter | None) -> Wanted:
    filter_id = None if bucket is None else bucket.id

    def of(cell: CellFigures) -> bool:
        return cell.filter_id == filter_id

    return of
