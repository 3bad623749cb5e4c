"""`?wait_for=`: the answer holds that record, whatever partition it was produced to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from aiokafka import AIOKafkaProducer

from app.main import Worker
from app.settings import LOCAL_ORGANIZATION_ID
from tests.world import bodies
from tests.world.live.api import Api
from tests.world.live.producer import encoded, event_key, foreign_producer, raw_event

pytestmark = pytest.mark.servers

CUSTOMER = "customer"


@pytest.fixture
async def producer(worker: Worker) -> AsyncIterator[AIOKafkaProducer]:
    async with foreign_producer(worker.settings) as started:
        yield started


@pytest.fixture
async def subscriptions(worker: Worker, api: Api) -> tuple[str, str]:
    """Two whose homes are different partitions."""
    await api.make_metric("calls", "count_agg")
    await api.make_plan("plan", [bodies.charge("calls")])
    names = [f"sub-{number}" for number in range(20)]
    first = names[0]
    second = next(name for name in names if home(worker, name) != home(worker, first))
    for name in (first, second):
        await api.subscribe(name, "plan", CUSTOMER)
    return first, second


def home(worker: Worker, name: str) -> int:
    return worker.engine.homes.of(LOCAL_ORGANIZATION_ID, name)


async def units(api: Api, subscription: str, partition: int, offset: int) -> Decimal:
    path = (
        f"/customers/{CUSTOMER}/current_usage?external_subscription_id={subscription}"
        f"&wait_for={partition}:{offset}"
    )
    status, answer = await api.call("GET", path)
    assert status == 200, answer
    (charge,) = answer["customer_usage"]["charges_usage"]
    return Decimal(charge["units"])


@pytest.mark.parametrize("misplaced", [False, True], ids=["at-home", "forwarded"])
async def test_a_produced_record_is_in_the_answer(
    misplaced: bool,
    worker: Worker,
    api: Api,
    subscriptions: tuple[str, str],
    producer: AIOKafkaProducer,
) -> None:
    other, subscription = subscriptions
    partition = home(worker, other if misplaced else subscription)
    topic = worker.settings.topic(worker.settings.raw_topic)
    for number in range(1, 6):
        event = encoded(raw_event(subscription, f"t{number}", "calls"))
        key = event_key(subscription)
        sent = await producer.send_and_wait(topic, event, key=key, partition=partition)
        assert await units(api, subscription, partition, sent.offset) == number


async def test_the_whole_batch_is_in_the_answer(
    worker: Worker, api: Api, subscriptions: tuple[str, str]
) -> None:
    """One record holds it: at the home of its first event, the others are forwarded."""
    batch = [
        {"transaction_id": f"t-{name}", "external_subscription_id": name, "code": "calls"}
        for name in subscriptions
    ]
    await api.post("/events/batch", {"events": batch})
    partition = home(worker, subscriptions[0])
    offset = worker.engine.owned[partition].state.checkpoint.raw_next - 1
    for name in subscriptions:
        assert await units(api, name, partition, offset) == 1


async def test_a_record_that_does_not_come(
    worker: Worker, api: Api, subscriptions: tuple[str, str]
) -> None:
    path = f"/customers/{CUSTOMER}/current_usage?external_subscription_id={subscriptions[0]}"
    partitions = [home(worker, name) for name in subscriptions]
    asked = [api.call("GET", f"{path}&wait_for={partition}:1000") for partition in partitions]
    for status, answer in await asyncio.gather(*asked):
        assert (status, answer["code"]) == (503, "not_folded_yet")
