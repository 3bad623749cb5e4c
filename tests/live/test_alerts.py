"""An alert from its definition over REST to its message on `usage-alerts`, on real servers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.kafka.topics import USAGE_ALERTS
from app.main import Worker
from tests.live.proofs import verified
from tests.world import bodies
from tests.world.live.api import Api
from tests.world.live.consumer import records_of
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

ALERTS = "/subscriptions/sub/alerts"


async def test_what_is_crossed_is_sent_once_and_the_alert_says_so(worker: Worker, api: Api) -> None:
    await api.make_metric("seats", "sum_agg", field_name="v")
    await api.make_plan("plan", [bodies.charge("seats")])
    await api.subscribe("sub", "plan")
    alert = {
        "alert_type": "billable_metric_current_usage_units",
        "code": "many",
        "billable_metric_code": "seats",
        "thresholds": [{"value": 10}, {"value": 50}, {"value": 25, "recurring": True}],
    }
    life = {"alert_type": "billable_metric_lifetime_usage_units", "code": "life"}
    both = {"alerts": [alert, {**alert, **life}]}
    made, of_life = (await api.post(ALERTS, both))["alerts"]

    async def crossed() -> list[list[list[str]]]:
        messages = await records_of(worker.settings, USAGE_ALERTS)
        found = [json.loads(message.value)["triggered_alert"] for message in messages]
        told: dict[str, list[list[str]]] = {made["lago_id"]: [], of_life["lago_id"]: []}
        for one in found:
            values = [each["value"] for each in one["crossed_thresholds"]]
            told[one["lago_alert_id"]].append(values)
        return list(told.values())

    async def previous() -> Any:
        status, answer = await api.call("GET", f"{ALERTS}/many")
        assert status == 200, answer
        return answer["alert"]["previous_value"]

    await api.send("sub", "t1", "seats", v=12)
    await eventually(crossed, [[["10.0"]]] * 2)
    await eventually(previous, "12.0")
    await api.send("sub", "t2", "seats", v=70)
    await eventually(crossed, [[["10.0"], ["50.0", "75.0"]]] * 2)
    await eventually(previous, "82.0")

    # What a fold of the logs makes of it is the same two messages of each alert; verify says so.
    exit_code, said = await verified(worker)
    assert (exit_code, said["records_verified"]["usage-alerts"]) == (0, 4), said
