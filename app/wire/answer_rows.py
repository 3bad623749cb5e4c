"""Answers about usage as rows: periods by cell, events by charge, series by window.

They are made from the JSON of the API, here for its CSV and by the command line for what it prints.
Each has columns in an order that only grows, and a text for each column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from app.wire.record_rows import pairs_text

Json = Mapping[str, Any]

# Usage of periods

USAGE_COLUMNS: Final = (
    "external_customer_id",
    "external_subscription_id",
    "from_datetime",
    "to_datetime",
    "state",
    "billable_metric_code",
    "charge_code",
    "filters",
    "grouped_by",
    "units",
    "events_count",
    "published_units",
    "revision",
    "pending_delta_units",
    "pending_cut",
    "pending_reasons",
    "live_units",
    "live_events_count",
    "closed_at",
    "final_after",
    "as_of",
)
USAGE_INSTANTS: Final = frozenset(
    {"from_datetime", "to_datetime", "pending_cut", "closed_at", "final_after", "as_of"}
)


def usage_rows(customer: str, subscription: str, periods: Iterable[Json]) -> Iterator[list[str]]:
    """Yield a row for each cell: a charge, or each filter and group of it."""
    for period in periods:
        told = [customer, subscription, period["from_datetime"], period["to_datetime"]]
        told.append(period.get("state", "open"))
        times = [period.get("closed_at"), period.get("final_after"), period["as_of"]["append_time"]]
        for charge in period["charges_usage"]:
            code = [charge["billable_metric"]["code"], charge["charge"].get("code")]
            for filters, groups, figures in _cells(charge):
                yield _texts([*told, *code, filters, groups, *_figures(figures), *times])


def _cells(charge: Json) -> Iterator[tuple[str, str, Json]]:
    grouped = False
    # Groups may be made only while they are read.
    for group in charge["grouped_usage"]:
        grouped, named = True, pairs_text(group["grouped_by"])
        for bucket in group["filters"]:
            yield _filters(bucket), named, bucket
        if not group["filters"]:
            yield "", named, group
    if not grouped:
        for bucket in charge["filters"]:
            yield _filters(bucket), "", bucket
        if not charge["filters"]:
            yield "", "", charge


def _filters(bucket: Json) -> str:
    return "everything else" if bucket["values"] is None else pairs_text(bucket["values"])


def _figures(figures: Json) -> list[object]:
    published, pending = figures.get("published") or {}, figures.get("pending") or {}
    live = figures.get("live") or figures
    return [
        figures["units"],
        figures["events_count"],
        published.get("units"),
        published.get("revision"),
        pending.get("delta_units"),
        pending.get("cut"),
        "|".join(pending.get("reasons") or ()),
        live["units"],
        live["events_count"],
    ]


# Events

EXPLAINED_COLUMNS: Final = (
    "status",
    "reason",
    "change",
    "transaction_id",
    "timestamp",
    "code",
    "append_time",
    "position",
    "charge_code",
    "filters",
    "grouped_by",
    "value",
    "revision",
    "cut",
)
TRACED_COLUMNS: Final = (
    "status",
    "reason",
    "amended",
    "timestamp",
    "code",
    "append_time",
    "position",
    "duplicate_of",
    "billable_metric_code",
    "charge_code",
    "period_from",
    "period_until",
    "filters",
    "grouped_by",
    "value",
    "counts_from_cut",
)
EVENT_INSTANTS: Final = frozenset(
    {"timestamp", "append_time", "cut", "period_from", "period_until", "counts_from_cut"}
)


def event_rows(event: Json, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yield a row for each charge that looked at an event; one without, where none did."""
    place, first = event["position"], event["duplicate_of"]
    told = {
        **event,
        "amended": "true" if event["amended"] else "false",
        "append_time": place["append_time"],
        "position": place_text(place),
        "duplicate_of": None if first is None else place_text(first),
    }
    for charge in event["charges"] or [{}]:
        period = charge.get("period") or {}
        of_charge = {
            "reason": charge.get("reason") or event["reason"],
            "period_from": period.get("from"),
            "period_until": period.get("until"),
            "filters": pairs_text(charge.get("filters")),
            "grouped_by": pairs_text(charge.get("grouped_by")),
        }
        yield _texts(map({**told, **charge, **of_charge}.get, columns))


def place_text(position: Json) -> str:
    """Return a position in the raw topic as partition:offset:index."""
    return f"{position['partition']}:{position['offset']}:{position['index']}"


# Series

SERIES_COLUMNS: Final = (
    "from",
    "until",
    "charge_code",
    "units",
    "total_aggregated_units",
    "events_count",
    "billable_metric_code",
    "external_subscription_id",
)
SERIES_INSTANTS: Final = frozenset({"from", "until"})


def series_rows(series: Json) -> Iterator[list[str]]:
    """Yield a row for each window of each charge."""
    for charge in series["charges"]:
        for value in charge["values"]:
            told = {**series, **charge, **value}
            yield _texts(told[name] for name in SERIES_COLUMNS)


def _texts(values: Iterable[object]) -> list[str]:
    return ["" if value is None else str(value) for value in values]
