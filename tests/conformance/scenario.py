"""What a vector describes, in the product's own objects: metric, charge, period and arrivals.

The period of a vector is any range, so it is a timeline of its own instead of one that follows from
a plan. Everything else is the live path: records are decoded, deduplicated and folded by a
`Partition`, and read as figures of a `Span`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from app.billing_periods.day_count import inclusive_days
from app.billing_periods.instants import LAST_MS, parse_iso8601_ms
from app.definitions.judging import Judging
from app.definitions.model import ALL_FILTER_VALUES, Charge, ChargeFilter, Metric, MetricFilter
from app.definitions.periods import NEVER_MS, Period
from app.definitions.state import Definitions
from app.definitions.timeline import FixedPeriods
from app.numbers import property_text
from app.wire.arrivals import Arrival, arrivals_of, runs_of
from app.wire.properties import read_properties
from tables.breakdown_fold import BreakdownFold
from tables.cells.cell import Span
from tables.cells.keys import SpanKey
from tables.changelogged.members import Members
from tables.charge import ChargeFold
from tables.entries_fold import EntriesFold, buckets_with_entries
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.routing.route import Route
from tests.conformance.files import Json, Literals, Vector

ORGANIZATION = "vectors"
_QUARTER_S = 900
ONE_BUCKET = "match_filters"
"""Id of the filter that stands for a vector's `match_filters`."""


class CannotRun(Exception):
    """The vector asks for something that no rule here gives; the message says what."""


class DecidedOtherwise(CannotRun):
    """The vector asks for what this product decided otherwise; the message says what."""


class Folded(NamedTuple):
    """A vector's events folded for one period."""

    span: Span
    period: Period
    members: Members
    sent: tuple[Arrival, ...]
    """Events of the subscription, in order of position."""
    taken: tuple[Arrival, ...]
    """Those of them that the vector's selection leaves."""
    presenting: Span | None = None
    """Span of the second fold, of a charge with presentation keys."""
    entries: Span | None = None
    """Span of the fold by entries, of a charge whose price asks for single events."""


def metric_of(vector: Json) -> Metric:
    """The metric of a vector."""
    described = vector["metric"]
    return Metric(
        id="metric",
        organization_id=ORGANIZATION,
        code=described["code"],
        name=described.get("name") or described["code"],
        aggregation_type=described["aggregation_type"],
        field_name=described.get("field_name"),
        expression=described.get("expression"),
        recurring=bool(described.get("recurring")),
        rounding_function=described.get("rounding_function"),
        rounding_precision=described.get("rounding_precision"),
        weighted_interval=described.get("weighted_interval"),
        filters=tuple(
            MetricFilter(f["key"], tuple(f["values"])) for f in described.get("filters") or ()
        ),
        created_at_ms=0,
    )


def charge_of(vector: Json) -> Charge:
    """The charge of a vector; its `match_filters` become the one filter there is."""
    described = vector.get("charge") or {}
    price = _price_of(vector)
    grouped_by = described.get("grouped_by")
    filters = [
        _filter(f"filter-{number}", f.get("name"), f["values"], f.get("grouped_by"), price)
        for number, f in enumerate(described.get("filters") or ())
    ]
    if vector.get("match_filters"):
        filters = [_filter(ONE_BUCKET, None, vector["match_filters"], grouped_by, price)]
    return Charge(
        id="charge",
        metric_id="metric",
        code="charge",
        charge_model=price.model,
        created_at_ms=0,
        pay_in_advance=bool(described.get("pay_in_advance")),
        prorated=bool(described.get("prorated")),
        accepts_target_wallet=bool(described.get("accepts_target_wallet")),
        properties={
            **_grouping(grouped_by),
            **_presentation(described.get("presentation_by")),
            **price.properties,
        },
        filters=tuple(filters),
    )


def is_left_out(charge: Charge, filter_id: str | None) -> bool:
    """Whether the vector is about its `match_filters` alone, and a bucket is the other one."""
    return filter_id is None and any(each.id == ONE_BUCKET for each in charge.filters)


class _Price(NamedTuple):
    """What of a price asks for single events."""

    model: str
    properties: Mapping[str, Any]


def _price_of(vector: Json) -> _Price:
    """A price that asks for what the mode of the vector is about."""
    mode = vector.get("mode")
    if mode == "running_total":
        free = {f"free_units_{name}": value for name, value in vector["free_units"].items()}
        return _Price("percentage", free)
    if mode in _BY_ENTRIES:
        prorated = bool((vector.get("charge") or {}).get("prorated"))
        if prorated:
            return _Price("graduated", {})
        return _Price("percentage", {"per_transaction_min_amount": "1"})
    return _Price("standard", {})


_BY_ENTRIES = ("per_event", "spells", "breakdown", "daily_sum")


def _filter(
    filter_id: str,
    name: str | None,
    values: Json,
    grouped_by: Sequence[str] | None,
    price: _Price,
) -> ChargeFilter:
    return ChargeFilter(
        id=filter_id,
        invoice_display_name=name,
        values={key: tuple(allowed) for key, allowed in values.items()},
        properties={**_grouping(grouped_by), **price.properties},
    )


def _presentation(keys: Sequence[str] | None) -> Mapping[str, Any]:
    return {"presentation_group_keys": [{"value": key} for key in keys]} if keys else {}


def _grouping(keys: Sequence[str] | None) -> Mapping[str, Any]:
    return {"pricing_group_keys": list(keys)} if keys else {}


def period_of(described: Json | None, subscription: Json) -> Period:
    """The period of a vector or checkpoint; without one, all time.

    `from` and `to` are inclusive as printed: a `to` without a fraction lasts to the end of its
    second.
    """
    if described is None:
        return _period(0, LAST_MS, LAST_MS + 1, "UTC", None, subscription)
    from_ms, to_ms = instant_ms(described["from"]), instant_ms(described["to"])
    end_ms = to_ms + (1 if "." in described["to"] else 1000)
    timezone = described.get("timezone") or "UTC"
    return _period(from_ms, to_ms, end_ms, timezone, described.get("duration_days"), subscription)


def _period(
    from_ms: int,
    to_ms: int,
    end_ms: int,
    timezone: str,
    duration_days: int | None,
    subscription: Json,
) -> Period:
    return Period(
        start_ms=from_ms,
        end_ms=end_ms,
        to_ms=to_ms,
        last_ms=to_ms,
        duration_days=duration_days or max(1, inclusive_days(from_ms, to_ms, timezone)),
        timezone=timezone,
        fixed_at_ms=NEVER_MS,
        due_at_ms=NEVER_MS,
        late_until_ms=NEVER_MS,
        closing_reason="period_end",
        upgraded=bool(subscription.get("upgraded")),
    )


def is_bucket(candidate: ChargeFilter | None, expected: Json) -> bool:
    """Whether an expectation means this filter: by name if it has one, else by values."""
    name, values = expected.get("name"), expected.get("values")
    if candidate is None or (name is None and values is None):
        return candidate is None and name is None and values is None
    if name is not None:
        return bool(candidate.invoice_display_name == name)
    return {key: set(texts) for key, texts in candidate.values.items()} == {
        key: set(texts) for key, texts in (values or {}).items()
    }


def instant_ms(text: str) -> int:
    """Return the instant that a vector names, in milliseconds."""
    at_ms = parse_iso8601_ms(text)
    if at_ms is None:
        raise CannotRun(f"{text!r} is no instant")
    return at_ms


def measured(period: Period) -> Period:
    """The period as figures are computed over it.

    A range that ends with a day goes on to the next midnight; one that ends at another whole second
    (a termination) is measured to that instant, though an event at it counts.
    """
    to_ms = period.to_ms
    # Midnight is at a quarter of an hour in UTC, wherever on Earth it is.
    ends_at_instant = to_ms % 1000 == 0 and to_ms // 1000 % _QUARTER_S != _QUARTER_S - 1
    return period._replace(end_ms=to_ms) if ends_at_instant else period


def arrivals(vector: Vector) -> list[Arrival]:
    """The events as arrivals of one partition, in the order of the file.

    Each is appended as soon as the one before it, but not before its own time.
    """
    arrived: list[Arrival] = []
    append_time_ms, judging = 0, Judging(ORGANIZATION)
    for offset, event in enumerate(vector.events):
        record = _record(vector.json, event, offset)
        for decoded in arrivals_of(record, (), append_time_ms, 0, offset, judging):
            if not isinstance(decoded, Arrival):
                raise CannotRun(f"event {offset} is refused: {decoded}")
            append_time_ms = max(append_time_ms, decoded.timestamp_ms)
            arrived.append(replace(decoded, append_time_ms=append_time_ms))
    return arrived


def _record(vector: Json, event: Literals, offset: int) -> bytes:
    """The raw record of an event; values keep their spelling."""
    defaults = {
        "organization_id": ORGANIZATION,
        "external_subscription_id": external_id(vector),
        "transaction_id": f"event {offset}",
        "code": vector["metric"]["code"],
    }
    return msgspec.json.encode({**defaults, **event})


def external_id(vector: Json) -> str:
    """The subscription's external id."""
    subscription = vector.get("subscription") or {}
    return subscription.get("external_id") or "sub"


def fold(
    vector: Vector,
    described: Json | None,
    events: Sequence[Arrival],
    external: str | None = None,
) -> Folded:
    """Fold arrivals for one period of the vector; `external`: of another subscription of it."""
    period = period_of(described, vector.json.get("subscription") or {})
    metric = metric_of(vector.json)
    charge = charge_of(vector.json)
    charge_fold = ChargeFold(charge, metric, period.timezone)
    partition = Partition(0, Definitions(), EventIndex(), Members(capacity=None))
    name = (ORGANIZATION, external or external_id(vector.json))
    presenting = BreakdownFold(charge, metric, period.timezone) if charge.presents else None
    entries = None
    if buckets_with_entries(charge, metric):
        entries = EntriesFold(charge, metric, period.timezone)
    spans = [
        None
        if fold is None
        else Span(
            name,
            SpanKey("subscription", fold.charge.id, period.start_ms),
            fold,
            FixedPeriods([period]),
            NEVER_MS,
        )
        for fold in (charge_fold, presenting, entries)
    ]
    span = spans[0]
    assert span is not None
    route = Route(*name, metric.code, (), tuple(each for each in spans if each is not None))
    partition.routes.lend({(*name, metric.code): route})
    selected = list(_selected(vector.json, metric, period, events))
    partition.fold(runs_of(selected))
    sent, taken = (
        tuple(arrival for arrival in some if arrival.name == name) for some in (events, selected)
    )
    return Folded(span, measured(period), partition.members, sent, taken, *spans[1:])


def _selected(
    vector: Json, metric: Metric, period: Period, events: Sequence[Arrival]
) -> Iterator[Arrival]:
    """Those events that a vector's selection of one bucket or group, or missing carry, leaves."""
    ignored = [_expanded(entry, metric) for entry in vector.get("ignore_filters") or () if entry]
    group = vector.get("group_values") or {}
    carries = vector.get("carry") != "none"
    for arrival in events:
        if not carries and arrival.timestamp_ms < period.start_ms:
            continue
        texts = {
            key: property_text(raw)
            for key, raw in read_properties(arrival.event.properties).items()
        }
        if any(all(texts.get(k) in values for k, values in entry.items()) for entry in ignored):
            continue
        if all((texts.get(key) or None) == (value or None) for key, value in group.items()):
            yield arrival


def _expanded(values: Json, metric: Metric) -> dict[str, frozenset[str]]:
    allowed = {f.key: f.values for f in metric.filters}
    return {
        key: frozenset(allowed.get(key, ()) if ALL_FILTER_VALUES in listed else listed)
        for key, listed in values.items()
    }
