"""The live page's figures as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from app.billing_periods.instants import iso_milliseconds, iso_seconds
from app.meter.health import Reason
from app.meter.overview import (
    ELSEWHERE,
    ClosingView,
    DeadLetterView,
    Overview,
    PartitionView,
    RecordView,
    UsageView,
)
from app.numbers import plain

Json = dict[str, Any]


def overview_json(overview: Overview) -> Json:
    """Return an overview as JSON, with times as text and quantities as exact decimal text."""
    return {
        "now": iso_seconds(overview.now_ms),
        "worker": overview.worker,
        "health": [{**reason_json(each), "worker": overview.worker} for each in overview.health],
        "partitions": [_partition(view) for view in overview.partitions],
        "closing": [_closing(view, overview.now_ms) for view in overview.closing],
        "usage": [_usage(view) for view in overview.usage],
        "usage_total": overview.usage_total,
        "records": [_record(view) for view in overview.records],
        "dead_letters": [_dead_letter(view) for view in overview.dead_letters],
        "set_aside": overview.set_aside,
        "parked": overview.parked,
    }


def reason_json(reason: Reason) -> Json:
    """Return a reason for bad health as JSON, as /health/ready and the page tell it."""
    return {
        "code": reason.code,
        "since": iso_seconds(reason.since_ms),
        "message": reason.message,
    }


def merged(overviews: Sequence[Json], limit: int) -> Json:
    """Return one overview made of those of several workers; the first is the one that answers."""
    partitions: dict[int, Json] = {}
    for partition in _partitions(overviews):
        known = partitions.get(partition["partition"])
        # A worker knows best what it owns itself.
        if known is None or known["state"] == ELSEWHERE:
            partitions[partition["partition"]] = partition
    return {
        "now": overviews[0]["now"],
        "worker": overviews[0]["worker"],
        "workers": len(overviews),
        # An older program beside this one, while it is rolled out, says nothing of it.
        "health": [item for overview in overviews for item in overview.get("health", ())],
        "partitions": [partitions[number] for number in sorted(partitions)],
        "closing": sorted(_all(overviews, "closing"), key=lambda held: str(held["since"])),
        "usage": sorted(_all(overviews, "usage"), key=_events_count, reverse=True)[:limit],
        "usage_total": sum(overview["usage_total"] for overview in overviews),
        "records": _newest(_all(overviews, "records"), "closed_at", limit),
        "dead_letters": _newest(_all(overviews, "dead_letters"), "failed_at", limit),
        "set_aside": overviews[0].get("set_aside", 0),
        "parked": sum(overview.get("parked", 0) for overview in overviews),
    }


def _partitions(overviews: Sequence[Json]) -> Iterator[Json]:
    """Yield the partitions of every worker; a partition of another worker names it as owner."""
    for overview in overviews:
        for partition in overview["partitions"]:
            is_its_own = partition["owner"] is None and partition["state"] != ELSEWHERE
            if is_its_own and overview is not overviews[0]:
                yield {**partition, "owner": overview["worker"]}
            else:
                yield partition


def _events_count(line: Json) -> int:
    count: int = line["events_count"]
    return count


def _all(overviews: Sequence[Json], name: str) -> list[Json]:
    return [item for overview in overviews for item in overview[name]]


def _newest(items: list[Json], time: str, limit: int) -> list[Json]:
    distinct = {msgspec.json.encode(item, order="sorted"): item for item in items}
    return sorted(distinct.values(), key=lambda item: str(item[time]), reverse=True)[:limit]


def _partition(view: PartitionView) -> Json:
    append_time_ms = view.append_time_ms
    return {
        "partition": view.partition,
        "state": view.state,
        "owner": view.owner,
        "offset": view.offset,
        "lag": view.lag,
        "rekeyed_lag": view.rekeyed_lag,
        "events_per_s": round(view.events_per_s, 1),
        "append_time": None if append_time_ms is None else iso_milliseconds(append_time_ms),
    }


def _closing(view: ClosingView, now_ms: int) -> Json:
    return {
        "partition": view.partition,
        "cut": iso_seconds(view.cut_ms),
        "blocked_by": view.blocked_by,
        "since": iso_seconds(view.since_ms),
        "waiting_s": max(now_ms - view.since_ms, 0) // 1000,
    }


def _usage(view: UsageView) -> Json:
    return {
        "organization_id": view.organization_id,
        "external_customer_id": view.external_customer_id,
        "external_subscription_id": view.external_subscription_id,
        "billable_metric_code": view.billable_metric_code,
        "charge_code": view.charge_code,
        "units": None if view.units is None else plain(view.units),
        "events_count": view.events_count,
        "from": iso_seconds(view.from_ms),
        "to": iso_seconds(view.to_ms),
        "implicit": view.implicit,
    }


def _record(view: RecordView) -> Json:
    return dict(msgspec.structs.asdict(view))


def _dead_letter(view: DeadLetterView) -> Json:
    fields = msgspec.structs.asdict(view)
    failed_at = iso_seconds(fields.pop("failed_at_ms"))
    return {**fields, "failed_at": failed_at}


def tag_of(overview: Json) -> str:
    """Return an entity tag of what an overview shows, without its time."""
    shown = {name: part for name, part in overview.items() if name != "now"}
    shown["closing"] = [{**held, "waiting_s": 0} for held in overview["closing"]]
    digest = blake2b(msgspec.json.encode(shown), digest_size=16).hexdigest()
    return f'"{digest}"'
