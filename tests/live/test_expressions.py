"""An expression that fails on a real worker: refused at the door, told by trace behind it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.world import bodies
from tests.world.live.api import Api
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

JOINED = "concat(event.properties.a, '-', event.properties.b)"
WHY = "Variable: b not found"


async def test_a_failure_is_told_in_the_words_of_lago(api: Api) -> None:
    # Nothing refuses an event whose code is not known yet.
    await api.send("s", "early", "joined", a="x")
    await api.make_metric("joined", "unique_count_agg", field_name="v", expression=JOINED)
    await api.make_plan("p", [bodies.charge("joined")])
    await api.subscribe("s", "p", subscription_at="2024-01-01T00:00:00Z")
    names = {"transaction_id": "late", "external_subscription_id": "s", "code": "joined"}
    late = {"event": {**names, "properties": {"a": "x"}}}
    status, answer = await api.call("POST", "/events", late)
    assert (status, answer["error_details"]) == (422, f"expression_evaluation_failed: {WHY}")
    await api.send("s", "null", "joined", a="x", b=None)

    async def outcomes() -> list[Any]:
        found = []
        for transaction_id in ("early", "null"):
            _, told = await api.call("GET", f"/events/{transaction_id}/trace")
            (arrival,) = told["trace"]["arrivals"]
            found += [(each["reason"], each["value"]) for each in arrival["charges"]]
        return found

    await eventually(outcomes, [(WHY, None), (None, "add:x-")])
