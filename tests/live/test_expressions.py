"""An expression that fails on a real worker: refused at the door, told by trace behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.main import running_worker
from app.settings import Settings
from tests.world import bodies
from tests.world.live.api import Api, api_of
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

PLAN = bodies.plan("p", [bodies.charge("joined")])
METRIC = {
    "name": "Joined",
    "code": "joined",
    "aggregation_type": "unique_count_agg",
    "field_name": "v",
    "expression": "concat(event.properties.a, '-', event.properties.b)",
}
WHY = "Variable: b not found"


@pytest.fixture
async def api(live_settings: Settings) -> AsyncIterator[Api]:
    async with running_worker(live_settings, **SESSIONS) as worker, api_of(worker.url) as api:
        yield api


def event(transaction_id: str, **properties: Any) -> dict[str, Any]:
    fields = {"transaction_id": transaction_id, "external_subscription_id": "s", "code": "joined"}
    return {"event": {**fields, "properties": properties}}


async def test_a_failure_is_told_in_the_words_of_lago(api: Api) -> None:
    # Nothing refuses an event whose code is not known yet.
    await api.post("/events", event("early", a="x"))
    await api.post("/billable_metrics", {"billable_metric": METRIC})
    await api.post("/plans", {"plan": PLAN})
    subscription = {"external_customer_id": "c", "plan_code": "p", "external_id": "s"}
    started = {"subscription_at": "2024-01-01T00:00:00Z", **subscription}
    await api.post("/subscriptions", {"subscription": started})
    status, answer = await api.call("POST", "/events", event("late", a="x"))
    assert (status, answer["error_details"]) == (422, f"expression_evaluation_failed: {WHY}")
    await api.post("/events", event("null", a="x", b=None))

    async def outcomes() -> list[Any]:
        found = []
        for transaction_id in ("early", "null"):
            _, told = await api.call("GET", f"/events/{transaction_id}/trace")
            (arrival,) = told["trace"]["arrivals"]
            found += [(each["reason"], each["value"]) for each in arrival["charges"]]
        return found

    await eventually(outcomes, [(WHY, None), (None, "add:x-")])
