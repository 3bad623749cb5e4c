"""Breakdowns of a folded vector: the rows of all its cells, by group and presentation keys."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from app.bounds.turns import drained
from tables.cells.breakdown import breakdowns
from tests.conformance.comparison import Comparison, Difference
from tests.conformance.files import Json
from tests.conformance.scenario import CannotRun, Folded, is_left_out


def check_presented(
    wanted: list[Json], folded: Folded, compare: Comparison, place: str
) -> Iterator[Difference]:
    """Compare the rows of all cells, in any order."""
    left = _rows(folded)
    for expected in wanted:
        key = _key(expected["groups"])
        here = f"{place}{key}"
        values = left.get(key)
        if not values:
            yield Difference(here, "a row", "none")
            continue
        closest = min(values, key=lambda value: abs(value - Decimal(str(expected["value"]))))
        values.remove(closest)
        yield from compare.number("units", expected["value"], {"units": closest}, here)
    for key, values in left.items():
        for value in values:
            yield Difference(f"{place}{key}", "no row", str(value))


def _rows(folded: Folded) -> dict[str, list[Decimal]]:
    """Return units by the group and texts of the row; of several buckets there may be several."""
    if folded.presenting is None:
        raise CannotRun("the charge has no presentation keys")
    found = drained(breakdowns(folded.presenting, folded.period))
    if found is None:
        raise CannotRun("there are too many rows")
    charge = folded.span.fold.charge
    buckets = {bucket.id: bucket for bucket in charge.filters}
    rows: dict[str, list[Decimal]] = {}
    for (filter_id, groups), of_cell in found.rows.items():
        if is_left_out(charge, filter_id):
            continue
        bucket = None if filter_id is None else buckets[filter_id]
        group = dict(zip(charge.group_keys(bucket), groups, strict=True))
        for texts, units in of_cell:
            shown = dict(zip(found.keys[filter_id], texts, strict=True))
            rows.setdefault(_key(group | shown), []).append(units)
    return rows


def _key(groups: Json) -> str:
    texts = {key: None if value is None else str(value) for key, value in groups.items()}
    return msgspec.json.encode(dict(sorted(texts.items()))).decode()
