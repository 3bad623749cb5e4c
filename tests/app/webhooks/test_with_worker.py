"""A user's way: a URL named over the API, a worker that counts, and who is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import running_worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from tests.app.webhooks.conftest import assigned, producing
from tests.world import bodies
from tests.world.live.api import Api, api_of
from tests.world.live.receiver import Receiver
from tests.world.live.webhooks import running_webhooks
from tests.world.live.worker import SESSIONS
from tests.world.waiting import until


@pytest.fixture
async def api(webhook_settings: Settings, local_redis: LocalRedis) -> AsyncIterator[Api]:
    """A worker's API, with `meter webhooks` beside it."""
    (port,) = free_ports(1)
    settings = webhook_settings.model_copy(
        update={
            "redis_url": local_redis.url,
            "advertised_url": None,
            "http_port": port,
            "flush_interval_s": 0.3,
        }
    )
    async with (
        running_worker(settings, **SESSIONS) as worker,
        running_webhooks(settings),
        api_of(worker.url) as found,
    ):
        await until(lambda: not worker.gateway.not_ready(), every_s=0.1)
        await assigned(settings)
        yield found


async def test_who_names_a_url_is_told_of_definitions_and_refused_events(
    api: Api, receiver: Receiver, webhook_settings: Settings
) -> None:
    endpoint = {"webhook_url": f"{receiver.url}/a"}
    await api.post("/webhook_endpoints", {"webhook_endpoint": endpoint})
    metric = await api.make_metric("m", "count_agg")
    await api.make_plan("p")
    subscribed = await api.subscribe("s", "p")
    event = {"organization_id": LOCAL_ORGANIZATION_ID, "external_subscription_id": "s"}
    value = json.dumps({**event, "transaction_id": "t"}).encode()
    async with producing(webhook_settings) as topics:
        await topics.append(webhook_settings.raw_topic, value)
    await until(lambda: "event.error" in receiver.types_at("/a"))
    assert len(receiver.requests) == 5, receiver.types_at("/a")
    told = {one.type: one.told for one in receiver.requests}
    assert told["billable_metric.created"]["billable_metric"] == metric
    started = told["subscription.started"]["subscription"]
    assert started["customer"]["external_id"] == "c"
    assert {name: started[name] for name in subscribed} == subscribed
    error = told["event.error"]["event_error"]
    assert "missing_field" in json.loads(error["message"])
    assert error["event"]["transaction_id"] == "t"
    assert {one["organization_id"] for one in told.values()} == {LOCAL_ORGANIZATION_ID}
    assert set(told) == {
        "billable_metric.created",
        "plan.created",
        "customer.created",
        "subscription.started",
        "event.error",
    }
    key = await api.call("GET", "/webhooks/json_public_key")
    assert key[0] == 200


async def test_an_event_of_a_charge_paid_in_advance_is_a_fee(api: Api, receiver: Receiver) -> None:
    endpoint = {"webhook_url": f"{receiver.url}/a", "event_types": ["fee.created"]}
    await api.post("/webhook_endpoints", {"webhook_endpoint": endpoint})
    await api.make_metric("m", "count_agg")
    await api.make_plan("p", [bodies.charge("m", pay_in_advance=True)])
    subscribed = await api.subscribe("s", "p")
    for number in range(2):
        await api.send("s", f"t{number}", "m")
    await until(lambda: len(receiver.requests) == 2)
    fees = [one.told["fee"] for one in receiver.at("/a")]
    assert [fee["event_transaction_id"] for fee in fees] == ["t0", "t1"]
    for fee in fees:
        assert (fee["units"], fee["amount_cents"], fee["pay_in_advance"]) == ("1.0", 0, True)
        assert fee["lago_subscription_id"] == subscribed["lago_id"]
        assert fee["item"]["code"] == "m"
        assert fee["lago_id"] not in (None, "")


async def test_a_crossed_threshold_is_told(api: Api, receiver: Receiver) -> None:
    endpoint = {"webhook_url": f"{receiver.url}/a", "event_types": ["alert.triggered"]}
    await api.post("/webhook_endpoints", {"webhook_endpoint": endpoint})
    await api.make_metric("m", "count_agg")
    await api.make_plan("p", [bodies.charge("m")])
    await api.subscribe("s", "p")
    alert = {
        "alert_type": "billable_metric_current_usage_units",
        "code": "many",
        "billable_metric_code": "m",
        "thresholds": [{"code": "two", "value": "2"}],
    }
    await api.post("/subscriptions/s/alerts", {"alert": alert})
    for number in range(2):
        await api.send("s", f"t{number}", "m")
    await until(lambda: len(receiver.requests) == 1)
    (told,) = receiver.requests
    triggered = told.told["triggered_alert"]
    assert (triggered["alert_code"], triggered["current_value"]) == ("many", "2.0")
    assert [each["code"] for each in triggered["crossed_thresholds"]] == ["two"]
