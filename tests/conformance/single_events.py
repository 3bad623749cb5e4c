"""Modes about single events: the lists of records and what `usage/explain` tells of days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec

from app.definitions.per_event import asked_of
from app.numbers import ceil_at
from tables.aggregation import Groups
from tables.cells.entries import source_of
from tables.per_event import ListSource, daily_sums, day_breakdown, per_event, unit_shares
from tests.conformance.comparison import Comparison, Difference
from tests.conformance.files import Vector
from tests.conformance.scenario import ONE_BUCKET, CannotRun, Folded, arrivals, fold

_DIGITS = 30
"""Of a share that nothing rounds."""


def check_single_events(vector: Vector) -> Iterator[Difference]:
    """Compare each list that is expected, item by item."""
    folded = fold(vector, vector.json.get("period"), arrivals(vector))
    found = _found(folded)
    compare = Comparison(vector.json.get("compare") or {})
    for name, wanted in vector.json["expect"].items():
        if name not in found:
            yield Difference(name, str(wanted), "nothing that is computed here")
            continue
        yield from _items(wanted, found[name], compare, name)


def _found(folded: Folded) -> Mapping[str, Any]:
    span, period = folded[:2]
    charge, metric = span.fold.charge, span.fold.metric
    bucket = next((each for each in charge.filters if each.id == ONE_BUCKET), None)
    filter_id = None if bucket is None else bucket.id
    source = source_of(span, folded.entries, period, filter_id, _group(folded, filter_id))
    lists = per_event(asked_of(charge, metric, bucket), source)
    found: dict[str, Any] = {
        "per_event": lists.values,
        "per_event_prorated": lists.prorated_values,
        # Where nothing is free Lago's list is empty, and a record has none.
        "running_total": lists.running_total or [],
        "by_date": [msgspec.structs.asdict(day) for day in _days(source)],
    }
    if charge.prorated:
        found["breakdown"] = [msgspec.structs.asdict(day) for day in day_breakdown(source)]
    if charge.prorated and span.fold.unique:
        found["spells"] = _spells(source)
    return found


def _days(source: ListSource) -> Sequence[Any]:
    return daily_sums(source) if source.lists == "number" else ()


def _group(folded: Folded, filter_id: str | None) -> Groups:
    cells = folded.span.cells_of(folded.period)
    names = [groups for bucket, groups in cells if bucket == filter_id]
    if len(names) > 1:
        raise CannotRun("there are lists of several groups")
    return names[0] if names else ()


def _spells(source: ListSource) -> list[dict[str, Any]]:
    """Additions with a share of days, by (timestamp, value), before rounding."""
    days = source.window.duration_days
    ordered = sorted(
        (share.operation.timestamp_ms, share.operation.text, share.days)
        for share in unit_shares(source)
        if share.adds and share.days
    )
    return [
        {"property": text, "ratio": ceil_at(Fraction(share, days), _DIGITS)}
        for _, text, share in ordered
    ]


def _items(
    wanted: Sequence[Any], got: Sequence[Any] | None, compare: Comparison, place: str
) -> Iterator[Difference]:
    if got is None or len(wanted) != len(got):
        yield Difference(place, f"{len(wanted)} items", str(got))
        return
    for number, (expected, item) in enumerate(zip(wanted, got, strict=True)):
        here = f"{place}[{number}]"
        if not isinstance(expected, Mapping):
            yield from compare.number("units", expected, {"units": Decimal(item)}, here)
            continue
        for name, value in expected.items():
            if name in _NUMBERS:
                yield from compare.number(
                    "units", value, {"units": Decimal(item[name])}, f"{here}.{name}"
                )
            elif item.get(name) != value:
                yield Difference(f"{here}.{name}", str(value), str(item.get(name)))


_NUMBERS = frozenset({"amount", "value", "ratio", "duration", "total_duration"})
