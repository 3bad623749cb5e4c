"""Checks of aggregation vectors, by mode. Each gives the differences; none when all agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from app.definitions.model import ChargeFilter
from app.wire.arrivals import Arrival
from app.wire.properties import read_properties
from app.wire.timestamps import parse_timestamp
from tables.charge import ChargeFold
from tests.conformance.comparison import Comparison, Difference, numbers_of
from tests.conformance.figures import CellFigures, billed_in_full, cells, total
from tests.conformance.files import Json, Vector
from tests.conformance.in_advance import check_event_units, check_positions, check_support
from tests.conformance.periods import check_period_mode_vector
from tests.conformance.presented import check_presented
from tests.conformance.scenario import (
    CannotRun,
    DecidedOtherwise,
    arrivals,
    charge_of,
    fold,
    is_bucket,
    metric_of,
)
from tests.conformance.single_events import check_single_events
from tests.conformance.wire import (
    check_expression_vector,
    check_rounding_vector,
    check_timestamp_vector,
)

Check = Callable[[Vector], Iterator[Difference]]


def check_aggregation_vector(vector: Vector) -> list[Difference]:
    """What differs from what the vector expects. Raises `DecidedOtherwise`."""
    mode = vector.json.get("mode", "billing")
    check = _MODES.get(mode)
    if check is None:
        return [Difference("mode", f"one of {', '.join(_MODES)}", mode)]
    try:
        return list(check(vector))
    except DecidedOtherwise:
        raise
    except CannotRun as error:
        return [Difference("vector", "one that can be run", str(error))]


def _folding(vector: Vector) -> Iterator[Difference]:
    """Modes `billing`, `current_usage` and `precise_amount`."""
    check_choices(vector.json)
    events = arrivals(vector)
    if "checkpoints" not in vector.json:
        yield from _state(vector, vector.json, events, "")
        return
    for number, checkpoint in enumerate(vector.json["checkpoints"]):
        seen = seen_at(checkpoint, events)
        yield from _state(vector, checkpoint, seen, f"checkpoints[{number}].")


def check_choices(vector: Json) -> None:
    """Raise `CannotRun` for a value of a key of which only some are folded."""
    if vector.get("dedup") not in _DEDUP:
        raise DecidedOtherwise(
            f"dedup {vector['dedup']}: here the first event of a transaction_id counts, ever"
        )
    if vector.get("carry") not in _CARRY:
        raise CannotRun(f"carry {vector['carry']!r} is not known here")


_DEDUP = (None, "reject_transaction_id")
_CARRY = (None, "none")


def seen_at(checkpoint: Json, events: list[Arrival]) -> list[Arrival]:
    """The events that are in at a checkpoint."""
    if "events_ingested" in checkpoint:
        return events[: checkpoint["events_ingested"]]
    at_ms = parse_timestamp(checkpoint["at"])
    return [event for event in events if event.timestamp_ms <= at_ms]


def _state(
    vector: Vector, described: Json, events: list[Arrival], place: str
) -> Iterator[Difference]:
    period = described.get("period", vector.json.get("period"))
    external = (described.get("subscription") or {}).get("external_id")
    folded = fold(vector, period, events, external)
    found = cells(folded, current_usage=vector.json.get("mode") == "current_usage")
    if vector.json.get("bill_full_amount"):
        found = [billed_in_full(cell) for cell in found]
    compare = Comparison(vector.json.get("compare") or {})
    filters = [*charge_of(vector.json).filters, None]
    for name, wanted in described["expect"].items():
        here = place + name
        if name == "groups":
            yield from _groups(wanted, found, compare, here)
        elif name == "filters":
            yield from _filters(wanted, found, filters, compare, here)
        elif name == "presentation_breakdowns":
            yield from check_presented(wanted, folded, compare, here)
        else:
            yield from compare.number(name, wanted, total(found), here)


def _groups(
    wanted: list[Json], found: list[CellFigures], compare: Comparison, place: str
) -> Iterator[Difference]:
    left = {_key(cell.grouped_by): cell for cell in found}
    for expected in wanted:
        here = f"{place}{_key(expected['grouped_by'])}"
        cell = left.pop(_key(expected["grouped_by"]), None)
        if cell is None:
            yield Difference(here, "a group", "none")
            continue
        for name, number in expected.items():
            if name != "grouped_by":
                yield from compare.number(name, number, cell.numbers, f"{here}.{name}")
    for key, cell in left.items():
        if any(cell.numbers.values()):
            yield Difference(f"{place}{key}", "no group", numbers_of(cell.numbers))


def _key(grouped_by: Mapping[str, Any]) -> str:
    texts = {key: None if value is None else str(value) for key, value in grouped_by.items()}
    return msgspec.json.encode(dict(sorted(texts.items()))).decode()


def _filters(
    wanted: list[Json],
    found: list[CellFigures],
    filters: list[ChargeFilter | None],
    compare: Comparison,
    place: str,
) -> Iterator[Difference]:
    left = list(filters)
    for number, expected in enumerate(wanted):
        here = f"{place}[{number}]"
        named = next((f for f in left if is_bucket(f, expected)), _NO_BUCKET)
        if isinstance(named, _NoBucket):
            yield Difference(here, f"a bucket {expected.get('values')}", "none")
            continue
        left.remove(named)
        yield from _bucket(expected, _cells_of(named, found), compare, here)
    for unexpected in left:
        numbers = total(_cells_of(unexpected, found))
        if any(numbers.values()):
            name = None if unexpected is None else dict(unexpected.values)
            yield Difference(f"{place} {name}", "no usage", numbers_of(numbers))


class _NoBucket:
    """None is the default bucket."""


_NO_BUCKET = _NoBucket()


def _cells_of(bucket: ChargeFilter | None, found: list[CellFigures]) -> list[CellFigures]:
    filter_id = None if bucket is None else bucket.id
    return [cell for cell in found if cell.filter_id == filter_id]


def _bucket(
    expected: Json, found: list[CellFigures], compare: Comparison, place: str
) -> Iterator[Difference]:
    for name, wanted in expected.items():
        here = f"{place}.{name}"
        if name == "groups":
            yield from _groups(wanted, found, compare, here)
        elif name not in ("values", "name"):
            yield from compare.number(name, wanted, total(found), here)


def _filter_match(vector: Vector) -> Iterator[Difference]:
    """Which filters an event matches, and which one it counts in."""
    charge, metric = charge_of(vector.json), metric_of(vector.json)
    fold_all = ChargeFold(charge, metric, "UTC")
    alone = [
        ChargeFold(msgspec.structs.replace(charge, filters=(one,)), metric, "UTC")
        for one in charge.filters
    ]
    names = {one.id: one.invoice_display_name for one in charge.filters}
    for arrival in arrivals(vector):
        properties = read_properties(arrival.event.properties)
        sent = (arrival.event.code, arrival.timestamp_ms, properties, arrival.append_time_ms)
        best, *ids = [
            place and place[0] for place in (f.place_of(*sent) for f in (fold_all, *alone))
        ]
        got = {
            "matched": [names[filter_id] for filter_id in ids if filter_id is not None],
            "best": None if best is None else names[best],
        }
        for name, wanted in vector.json["expect"].items():
            if name not in got or got[name] != wanted:
                nothing = "nothing that is computed here"
                yield Difference(name, str(wanted), str(got.get(name, nothing)))


def _worded(check: Callable[[Json], list[str]]) -> Check:
    """A check of another package, whose differences are sentences."""

    def run(vector: Vector) -> Iterator[Difference]:
        for sentence in check(vector.json):
            yield Difference("expect", str(dict(vector.json["expect"])), sentence)

    return run


_MODES: Mapping[str, Check] = {
    "billing": _folding,
    "current_usage": _folding,
    "precise_amount": _folding,
    "filter_match": _filter_match,
    "per_event": check_single_events,
    "running_total": check_single_events,
    "spells": check_single_events,
    "breakdown": check_single_events,
    "daily_sum": check_single_events,
    "pay_in_advance_event": check_event_units,
    "position": check_positions,
    "support": check_support,
    "expression": _worded(check_expression_vector),
    "rounding": _worded(check_rounding_vector),
    "timestamp": _worded(check_timestamp_vector),
    "period": _worded(check_period_mode_vector),
}
