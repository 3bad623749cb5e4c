"""Attacks by reading: deep pages, many scans at once, events of huge arrays."""

from __future__ import annotations

import asyncio

import pytest

from app.bounds.limits import SCANS_AT_ONCE, SCANS_WAITING_OF_ORGANIZATION
from tests.attacks.victim import Victim
from tests.world.waiting import eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

METRIC, SUBSCRIPTION, CUSTOMER = "reads", "read-over-and-over", "reader"
EVENTS = 30_000
LONG_CHARGES = 15
"""With some 2,970 weeks nearly all that a quota admits."""
EXPLAIN = (
    f"/customers/{CUSTOMER}/usage/explain?external_subscription_id={SUBSCRIPTION}"
    f"&billable_metric_code={METRIC}"
)


@pytest.fixture(scope="module")
async def read(victim: Victim) -> Victim:
    """The victim, prepared."""
    return await prepared(victim)


async def prepared(victim: Victim) -> Victim:
    """The victim, once it has folded many events of one subscription."""
    await victim.charge(METRIC, CUSTOMER, SUBSCRIPTION)
    await victim.append(METRIC, [(SUBSCRIPTION, {})] * EVENTS)
    await victim.counted(CUSTOMER, SUBSCRIPTION, EVENTS)
    return victim


async def test_a_page_has_a_thousand_items_and_reaches_so_deep(read: Victim) -> None:
    async with read.attacked():
        status, answer = await read.reader.call("GET", f"{EXPLAIN}&per_page=1000000")
        assert status == 200
        assert len(answer["explanation"]["events"]) == 1_000
        assert answer["explanation"]["counts"] == {"counted": EVENTS}
        assert answer["explanation"]["equal"]
        assert answer["meta"]["total_pages"] == EVENTS // 1_000
        status, answer = await read.reader.call("GET", "/events?per_page=999999999&page=2")
        assert status == 200
        assert len(answer["events"]) == 1_000
        assert answer["meta"]["total_count"] == EVENTS
        status, answer = await read.reader.call("GET", "/events?whole=true")
        assert (status, len(answer["events"])) == (200, EVENTS)
        for path in (EXPLAIN + "&", "/events?"):
            status, answer = await read.reader.call("GET", f"{path}per_page=1000&page=101")
            assert status == 422
            assert answer["error_details"] == {"page": ["value_is_out_of_range"]}


async def test_of_many_scans_some_are_refused_and_nobody_else_waits(read: Victim) -> None:
    async with read.attacked():
        answers = await asyncio.gather(
            *(read.reader.call("GET", f"{EXPLAIN}&per_page=1") for _ in range(20))
        )
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 429}
    # A sample that the worker verifies of itself may have one of the places.
    assert statuses.count(200) >= SCANS_AT_ONCE + SCANS_WAITING_OF_ORGANIZATION - 1

    async def places() -> list[float]:
        metrics = await read.metrics()
        return [metrics[f"meter_scans,state={state}"] for state in ("running", "waiting")]

    # So it has afterwards, for a while.
    await eventually(places, [0, 0])


async def test_an_event_is_looked_for_in_turns(read: Victim) -> None:
    async with read.attacked():
        for n in (0, EVENTS - 1):
            status, answer = await read.reader.call("GET", f"/events/{METRIC}-{n}")
            assert (status, answer["event"]["transaction_id"]) == (200, f"{METRIC}-{n}")
        assert (await read.reader.call("GET", "/events/never"))[0] == 404


async def test_of_thousands_of_periods_only_the_page_is_computed(read: Victim) -> None:
    charge = {"billable_metric_code": METRIC, "charge_model": "package"}
    await read.attacker.make_plan("long", [charge] * LONG_CHARGES, interval="weekly")
    await read.attacker.subscribe("long", "long", "long", subscription_at="1970-01-01")
    path = "/customers/long/past_usage?external_subscription_id=long&per_page=1"
    async with read.attacked():
        for page in (1, 1_000, 2_900):
            status, answer = await read.reader.call("GET", f"{path}&page={page}")
            assert (status, len(answer["usage_periods"])) == (200, 1)
    assert answer["meta"]["total_count"] > 2_900
