"""`GET /events/not_counted`: what no charge counted, by reason and code, with a few samples."""

from __future__ import annotations

from itertools import chain
from typing import Any

from app.api.answering.call import Call
from app.api.answering.peers import Outgoing, ask_all, value_of
from app.billing_periods.instants import iso_milliseconds
from app.bounds.limits import NOT_COUNTED_SAMPLES
from app.bounds.turns import STEP_ITEMS, Steps, Work, in_order
from app.meter.evidence import Uncounted

Json = dict[str, Any]


async def index(call: Call) -> Any:
    """Answer what all workers have not counted, each since it has its partitions."""
    reason, code = call.query.text("reason"), call.query.text("code")
    found = await call.meter.events.not_counted(call.organization_id, reason, code)
    since_ms = call.meter.events.not_counted_since_ms()
    since = [] if since_ms < 0 else [iso_milliseconds(since_ms)]
    told: list[Json] = []
    for reply in await ask_all(call, Outgoing("GET", call.request.rel_url.raw_path_qs)):
        answer = value_of(reply)
        told += answer["not_counted"]
        # An older program beside this one, while it is rolled out, does not say.
        if (its := answer.get("since", iso_milliseconds(call.now_ms))) is not None:
            since.append(its)
    work = Work("request", "not counted", call.organization_id)
    return {
        "not_counted": await call.api.turns.run(work, _merged(found, told)),
        "since": max(since, default=None),
    }


def _merged(found: list[Uncounted], told: list[Json]) -> Steps[list[Json]]:
    """Merge the workers' entries into one for each reason and code, most events first."""
    merged: dict[tuple[str, str], Json] = {}
    for number, one in enumerate(chain(map(_json, found), told), 1):
        known = merged.setdefault((one["reason"], one["code"]), one)
        if known is not one:
            known["events_count"] += one["events_count"]
            known["first_at"] = min(known["first_at"], one["first_at"])
            known["last_at"] = max(known["last_at"], one["last_at"])
            known["samples"] = (known["samples"] + one["samples"])[:NOT_COUNTED_SAMPLES]
        if number % STEP_ITEMS == 0:
            yield
    ordered = yield from in_order(
        merged.values(), key=lambda one: (-one["events_count"], one["reason"], one["code"])
    )
    listed: list[Json] = []
    for number, one in enumerate(ordered, 1):
        listed.append(one)
        if number % STEP_ITEMS == 0:
            yield
    return listed


def _json(one: Uncounted) -> Json:
    return {
        "reason": one.reason,
        "code": one.code,
        "events_count": one.events_count,
        "first_at": iso_milliseconds(one.first_ms),
        "last_at": iso_milliseconds(one.last_ms),
        "samples": [
            {
                "transaction_id": sample.transaction_id,
                "external_subscription_id": sample.external_subscription_id,
                "timestamp": iso_milliseconds(sample.timestamp_ms),
            }
            for sample in one.samples
        ],
    }
