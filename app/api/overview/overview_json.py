"""The live page's figures as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from math import inf
from typing import Any

import msgspec

from app.api.http import json_text
from app.billing_periods.instants import iso_milliseconds, iso_seconds
from app.meter.health import Reason
from app.meter.overview import (
    ELSEWHERE,
    LATELY_MS,
    ClosingView,
    DeadLetterView,
    Overview,
    PartitionView,
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
        "records": [msgspec.structs.asdict(view) for view in overview.records],
        "dead_letters": [_dead_letter(view) for view in overview.dead_letters],
        "set_aside": overview.set_aside,
        "parked": overview.parked,
        "dead_letters_lately": sum(
            overview.now_ms - letter.failed_at_ms < LATELY_MS for letter in overview.dead_letters
        ),
        "dead_letters_more": overview.dead_letters_more,
        "not_counted_codes": _digests(overview.not_counted_lately),
        "not_counted_since": _since(overview),
        "each_worker": [_worker(overview)],
    }


def _digests(codes: Iterable[tuple[str, str]] | None) -> list[str] | None:
    """Return one short name for each reason and code; a code itself may be long."""
    if codes is None:
        return None
    return [blake2b("\n".join(each).encode(), digest_size=8).hexdigest() for each in codes]


def _since(overview: Overview) -> str | None:
    """Return since when what was not counted is known, if that is not for the whole hour."""
    since_ms = overview.not_counted_since_ms
    return iso_seconds(since_ms) if since_ms > overview.now_ms - LATELY_MS else None


def _worker(overview: Overview) -> Json:
    about, ours = overview.about, [each for each in overview.partitions if each.is_ours]
    return {
        "worker": overview.worker,
        "version": about.version,
        "since": iso_seconds(about.since_ms),
        "partitions": len(ours),
        "lag": sum((each.lag or 0) + each.rekeyed_lag for each in ours),
        "memory_bytes": about.memory_bytes,
        "verified": about.verified,
        "differing": about.differing,
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
        # Every worker reads all dead letters.
        "dead_letters_lately": max(each.get("dead_letters_lately", 0) for each in overviews),
        "dead_letters_more": any(each.get("dead_letters_more", False) for each in overviews),
        "not_counted_lately": _distinct(each.get("not_counted_codes") for each in overviews),
        "not_counted_since": max(
            (each["not_counted_since"] for each in overviews if each.get("not_counted_since")),
            default=None,
        ),
        "each_worker": [item for each in overviews for item in each.get("each_worker", ())],
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


def _distinct(digests: Iterable[Sequence[str] | None]) -> int | None:
    """Return how many codes the workers tell of together: several may tell of the same."""
    known = [each for each in digests if each is not None]
    return len(set().union(*known)) if known else None


def _events_count(line: Json) -> float:
    """Return how many events a line has; what is too much to be summed up comes first."""
    count: int | None = line["events_count"]
    return inf if count is None else count


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
        "timezone": view.timezone,
        "implicit": view.implicit,
    }


def _dead_letter(view: DeadLetterView) -> Json:
    fields = msgspec.structs.asdict(view)
    failed_at = iso_seconds(fields.pop("failed_at_ms"))
    return {**fields, "failed_at": failed_at}


class SentOverview:
    """One overview, and what it is sent as: made once, for all who look at it."""

    def __init__(self, overview: Json):
        self.overview = overview
        self.fragments: dict[object, tuple[str, bytes]] = {}
        """(tag, HTML) of the page by what was asked for."""

    @cached_property
    def body(self) -> bytes:
        """The overview as JSON."""
        return json_text.encode(self.overview)

    @cached_property
    def tag(self) -> str:
        """Entity tag of what it shows, without what changes with the clock alone."""
        shown = {name: part for name, part in self.overview.items() if name != "now"}
        shown["closing"] = [{**held, "waiting_s": 0} for held in self.overview["closing"]]
        shown["each_worker"] = [{**w, "memory_bytes": 0} for w in self.overview["each_worker"]]
        return tag_of(json_text.encode(shown))


def tag_of(content: bytes) -> str:
    """Return the entity tag of what is sent."""
    return f'"{blake2b(content, digest_size=16).hexdigest()}"'
