"""A filter comes into a running month and goes after it was published, over REST."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.main import running_worker
from app.settings import Settings
from tests.world import bodies
from tests.world.clock import ManualClock, ms
from tests.world.live.api import Api, Json, api_of
from tests.world.live.consumer import records_of
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

FILTERS = "/plans/p/charges/api/filters"
EU = {"region": ["eu"]}


class Months:
    """A worker in which it is the time that a test says."""

    def __init__(self, settings: Settings, clock: ManualClock, api: Api):
        self.settings = settings
        self.clock = clock
        self.api = api

    def at(self, text: str) -> None:
        """Let time pass until then."""
        self.clock.advance_to(ms(text))

    async def send(self, month: str) -> None:
        """Send ten events of now, four of them of region eu."""
        events = [
            {
                "transaction_id": f"{month}-{number}",
                "external_subscription_id": "s",
                "code": "calls",
                "timestamp": str(self.clock.now_ms() // 1000),
                "properties": {"region": "eu" if number < 4 else "us"},
            }
            for number in range(10)
        ]
        await self.api.post("/events/batch", {"events": events})

    async def shown(self) -> list[Any]:
        """Units of the running month: of the charge, and by filter."""
        (charge,) = (await self.api.current_usage("c", "s"))["charges_usage"]
        return [charge["units"], *((each["values"], each["units"]) for each in charge["filters"])]

    async def published(self) -> list[tuple[Any, ...]]:
        """Every usage record, by month and filter."""
        records: list[Json] = [
            json.loads(record.value) for record in await records_of(self.settings, "usage-records")
        ]
        cells = [
            (r["period"]["from"][:7], r["filters"], r["units"], r["revision"])
            for r in records
            if r["type"] != "period.completed"
        ]
        return sorted(cells, key=str)


@pytest.fixture
async def months(live_settings: Settings) -> AsyncIterator[Months]:
    """1 January 2024: a count by region, a plan with it as the charge `api`, a subscription."""
    settings = live_settings.model_copy(update={"test_clock": True, "revise_every_s": 3600})
    clock = ManualClock(ms("2024-01-01T00:00:00"))
    async with running_worker(settings, clock, **SESSIONS) as worker, api_of(worker.url) as api:
        regions = [{"key": "region", "values": ["eu", "us"]}]
        await api.make_metric("calls", "count_agg", filters=regions)
        await api.make_plan("p")
        await api.subscribe("s", "p")
        yield Months(settings, clock, api)


async def test_a_filter_comes_and_goes(months: Months) -> None:
    months.at("2024-01-10T00:00:00")
    await months.send("january")
    months.at("2024-01-12T00:00:00")
    # The charge, too, comes after the events that it counts.
    body = {"billable_metric_code": "calls", "charge_model": "standard", "code": "api"}
    await months.api.post("/plans/p/charges", {"charge": body})
    await eventually(months.shown, ["10.0"])

    months.at("2024-01-15T00:00:00")
    made = await months.api.post(FILTERS, {"filter": {"values": EU}})
    await eventually(months.shown, ["10.0", (EU, "4.0"), (None, "6.0")])

    months.at("2024-02-01T00:00:02")
    january = [("2024-01", None, "6.0", 0), ("2024-01", EU, "4.0", 0)]
    await eventually(months.published, january)

    months.at("2024-02-05T00:00:00")
    path = f"{FILTERS}/{made['filter']['lago_id']}"
    assert await months.api.call("DELETE", path) == (200, made)
    assert (await months.api.call("DELETE", path))[1]["code"] == "charge_filter_not_found"
    await months.send("february")
    await eventually(months.shown, ["10.0"])
    months.at("2024-03-01T00:00:02")
    await eventually(months.published, [*january, ("2024-02", None, "10.0", 0)])


async def test_terms_that_do_not_go_together_are_refused(months: Months) -> None:
    body = {"billable_metric_code": "calls", "charge_model": "standard", "code": "api"}
    wrong = {**body, "min_amount_cents": 1, "pay_in_advance": True}
    for path, given in (
        ("/plans/p/charges", {"charge": wrong}),
        ("/plans", {"plan": bodies.plan("q", [wrong])}),
    ):
        status, answer = await months.api.call("POST", path, given)
        details = {"min_amount_cents": ["not_compatible_with_pay_in_advance"]}
        assert (status, answer["error_details"]) == (422, details)
    assert (await months.api.call("GET", "/plans/q"))[0] == 404
    await months.api.post("/plans/p/charges", {"charge": body})


async def test_a_subscription_and_its_organization_have_terms_of_their_own(months: Months) -> None:
    body = {"billable_metric_code": "calls", "charge_model": "standard", "code": "api"}
    await months.api.post("/plans/p/charges", {"charge": body})
    months.at("2024-01-10T00:00:00")
    await months.send("january")
    await eventually(months.shown, ["10.0"])

    months.at("2024-01-12T00:00:00")
    own = {"charge": {"filters": [{"values": EU}]}}
    status, changed = await months.api.call("PUT", "/subscriptions/s/charges/api", own)
    assert status == 200
    await eventually(months.shown, ["10.0", (EU, "4.0"), (None, "6.0")])
    _, theirs = await months.api.call("GET", "/plans/p/charges/api")
    assert changed["charge"]["lago_parent_id"] == theirs["charge"]["lago_id"]
    assert theirs["charge"]["filters"] == []
    months.at("2024-02-01T00:00:02")
    january = [("2024-01", None, "6.0", 0), ("2024-01", EU, "4.0", 0)]
    await eventually(months.published, january)

    months.at("2024-02-05T00:00:00")
    paris = {"organization": {"timezone": "Europe/Paris"}}
    assert (await months.api.call("PUT", "/organizations", paris))[0] == 200
    await months.send("february")
    await eventually(months.shown, ["10.0", (EU, "4.0"), (None, "6.0")])
    cascade = {"charge": {"cascade_updates": True, "filters": [{"values": {"region": ["us"]}}]}}
    assert (await months.api.call("PUT", "/plans/p/charges/api", cascade))[0] == 200
    us = {"region": ["us"]}
    await eventually(months.shown, ["10.0", (EU, "4.0"), (us, "6.0"), (None, "0.0")])
    # Midnight in Paris.
    months.at("2024-02-29T23:00:02")
    february = [("2024-02", us, "6.0", 0), ("2024-02", EU, "4.0", 0)]
    await eventually(months.published, [*january, *sorted(february, key=str)])
