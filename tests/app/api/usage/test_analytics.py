"""`GET /analytics/usage`: which days it asks for, and how it adds up what workers know."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import ClientSession

from app.bounds.turns import STEP_ITEMS, Turns, Work
from app.definitions.commands import set_settings
from app.definitions.model import SettingsRecord
from app.meter.usage import AnalyticsRow
from tests.app.api.conftest import Running, start
from tests.app.api.ledger import ORGANIZATION

USAGE = "/api/v1/analytics/usage"
DAY = date(2024, 3, 4)


async def keeps_days(running: Running) -> Running:
    await running.meter.define(set_settings(SettingsRecord(daily_records=True)))
    return running


@pytest.fixture
async def days(api: Running) -> Running:
    return await keeps_days(api)


@pytest.fixture
async def other(session: ClientSession) -> AsyncIterator[Running]:
    running = await keeps_days(await start(session))
    yield running
    if running.server is not None:
        await running.server.stop()


async def test_the_last_30_days_are_asked_for(days: Running) -> None:
    assert await days.must("GET", USAGE) == {"usages": []}
    (query,) = days.meter.asked_for_days
    assert (query.to_date - query.from_date).days == 29
    assert query.granularity == "daily"


@pytest.mark.parametrize(
    ("query", "details"),
    [
        ("time_granularity=hourly", {"time_granularity": ["value_is_invalid"]}),
        ("from_date=yesterday", {"from_date": ["invalid_date"]}),
        ("to_date=2024-02-30", {"to_date": ["invalid_date"]}),
        (
            "is_billable_metric_recurring=maybe",
            {"is_billable_metric_recurring": ["value_is_invalid"]},
        ),
        ("from_date=2023-01-01&to_date=2024-01-02", {"from_date": ["range_too_wide"]}),
        (
            "time_granularity=monthly&from_date=1990-01-01&to_date=2024-01-01",
            {"from_date": ["range_too_wide"]},
        ),
    ],
)
async def test_what_is_refused(days: Running, query: str, details: dict[str, Any]) -> None:
    answer = await days.call("GET", f"{USAGE}?{query}")
    assert (answer.status, answer.body["error_details"]) == (422, details)


async def test_a_leap_year_of_days_is_not_too_wide(days: Running) -> None:
    await days.must("GET", f"{USAGE}?from_date=2024-01-01&to_date=2024-12-31")


async def test_rows_of_all_workers_are_added_up(days: Running, other: Running) -> None:
    days.meter.elsewhere["s"] = other.base_url
    ours, theirs = AnalyticsRow(DAY, "calls", "EUR", Decimal(2)), Decimal("0.5")
    days.meter.days[ORGANIZATION] = [ours, ours._replace(code="seats")]
    other.meter.days[ORGANIZATION] = [ours._replace(units=theirs), ours._replace(currency="USD")]
    query = "time_granularity=weekly&from_date=2024-03-01&to_date=2024-03-31&plan_code=p"
    found = (await days.must("GET", f"{USAGE}?{query}"))["usages"]
    assert [(r["billable_metric_code"], r["amount_currency"], r["units"]) for r in found] == [
        ("calls", "EUR", "2.5"),
        ("calls", "USD", "2.0"),
        ("seats", "EUR", "2.0"),
    ]
    assert found[0] == {
        "organization_id": ORGANIZATION,
        "start_of_period_dt": "2024-03-04",
        "end_of_period_dt": "2024-03-10",
        "amount_currency": "EUR",
        "amount_cents": 0,
        "billable_metric_code": "calls",
        "units": "2.5",
        "is_billable_metric_deleted": True,
    }
    assert other.meter.asked_for_days == days.meter.asked_for_days


@pytest.mark.parametrize("count", [640, 3_200])
async def test_rows_are_added_and_told_by_steps(
    days: Running, other: Running, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    days.meter.elsewhere["s"] = other.base_url
    rows = [AnalyticsRow(DAY, f"m{n:05}", "EUR", Decimal(1)) for n in range(count)]
    days.meter.days[ORGANIZATION] = other.meter.days[ORGANIZATION] = rows
    steps, holding = Counter[str](), Turns.holding

    def counted(turns: Turns, work: Work) -> Any:
        steps[work.what] += 1
        return holding(turns, work)

    monkeypatch.setattr(Turns, "holding", counted)
    found = (await days.must("GET", USAGE))["usages"]
    assert [row["units"] for row in found] == ["2.0"] * count
    # The other one tells its rows, this one adds them to its own.
    assert steps["analytics"] >= 2 * count / STEP_ITEMS


async def test_the_owner_of_a_subscription_answers_alone(days: Running, other: Running) -> None:
    days.meter.elsewhere["s"] = other.base_url
    other.meter.days[ORGANIZATION] = [AnalyticsRow(DAY, "calls", "EUR", Decimal(2))]
    query = "external_subscription_id=s&is_billable_metric_recurring=false"
    assert len((await days.must("GET", f"{USAGE}?{query}"))["usages"]) == 1
    assert days.meter.asked_for_days == []
    assert other.meter.asked_for_days[0].recurring is False


async def test_a_key_that_reads_may_ask(days: Running) -> None:
    assert (await days.call("GET", USAGE, key="reader")).status == 200
