"""Months pass on a test clock: closing, grace, revisions, balances that ripple, too late."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from app.main import running_worker
from app.settings import Settings
from tests.world import bodies
from tests.world.clock import ManualClock, ms
from tests.world.live.api import Api, Json, api_of
from tests.world.live.consumer import read_ledger, records_of
from tests.world.live.producer import foreign_producer, raw_event, send_in_turn
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

GRACE_DAYS = 3


class Calendar:
    """A product in which it is the time that a test says."""

    def __init__(self, settings: Settings, clock: ManualClock, api: Api, out: AIOKafkaProducer):
        self.settings = settings
        self.clock = clock
        self.api = api
        self.out = out
        self.sent = 0

    def at(self, text: str) -> None:
        """Let time pass until then."""
        self.clock.advance_to(ms(text))

    async def event(self, code: str, at: str, **properties: Any) -> None:
        """An event of that time, appended now and folded on return."""
        self.sent += 1
        event = raw_event("s", f"t{self.sent}", code, f"{ms(at) // 1000}", **properties)
        topic = self.settings.topic(self.settings.raw_topic)
        await send_in_turn(self.out, topic, [event], timestamp_ms=self.clock.now_ms())

    async def published(self) -> list[tuple[Any, ...]]:
        """Every record in the order of the topic's partition, without identifiers."""
        return [
            (
                r["type"].removeprefix("usage."),
                r["period"]["from"][:7],
                r.get("billable_metric", {}).get("code"),
                r["revision"],
                r.get("units"),
                r.get("previous_units"),
                r.get("delta_units"),
                r["closed_at"],
            )
            for r in map(_decoded, await records_of(self.settings, "usage-records"))
        ]

    async def api_units(self) -> dict[str, str]:
        """Current usage by metric."""
        return {code: f"{units:f}" for code, units in (await self.api.units("c", "s")).items()}

    async def dead_letters(self) -> list[str]:
        """Their codes."""
        records = await records_of(self.settings, self.settings.dead_letter_topic)
        return [dict(record.headers)["meter-error-code"].decode() for record in records]


def _decoded(record: Any) -> Json:
    decoded: Json = json.loads(record.value)
    return decoded


@pytest.fixture
async def calendar(live_settings: Settings) -> AsyncIterator[Calendar]:
    """1 January 2024: calls, a recurring balance, one subscription, three days' grace."""
    settings = live_settings.model_copy(update={"test_clock": True, "revise_every_s": 3600})
    clock = ManualClock(ms("2024-01-01T00:00:00"))
    async with (
        running_worker(settings, clock, **SESSIONS) as worker,
        api_of(worker.url) as api,
        foreign_producer(settings) as out,
    ):
        calendar = Calendar(settings, clock, api, out)
        await _define(api)
        yield calendar


async def _define(api: Api) -> None:
    await api.make_metric("calls", "count_agg")
    await api.make_metric("balance", "sum_agg", field_name="gb", recurring=True)
    await api.make_plan("p", [bodies.charge("calls"), bodies.charge("balance")])
    grace = {"invoice_grace_period": GRACE_DAYS}
    await api.post("/customers", {"customer": {"external_id": "c", "billing_configuration": grace}})
    await api.subscribe("s", "p", billing_time="calendar")


async def test_months(calendar: Calendar) -> None:
    published: list[tuple[Any, ...]] = []

    def record(month: str, code: str | None, revision: int, closed_at: str, *figures: str) -> None:
        kind = "period.completed" if code is None else "revised" if revision else "recorded"
        units, previous, delta = (*figures, None, None, None)[:3]
        published.append((kind, month, code, revision, units, previous, delta, closed_at))

    calendar.at("2024-01-05T00:00:00")
    await calendar.event("calls", "2024-01-04T12:00:00")
    await calendar.event("calls", "2024-01-05T00:00:00")
    await calendar.event("balance", "2024-01-05T00:00:00", gb=10)
    calendar.at("2024-02-03T23:59:59")
    # In grace: still of January.
    await calendar.event("calls", "2024-01-31T23:59:59")
    await eventually(calendar.api_units, {"calls": "0.0", "balance": "10.0"})
    assert await calendar.published() == []

    calendar.at("2024-02-04T00:00:02")
    due = "2024-02-04T00:00:00.000Z"
    for code, units in await _in_cell_order(calendar, {"calls": "3.0", "balance": "10.0"}):
        record("2024-01", code, 0, due, units)
    record("2024-01", None, 0, due)
    await eventually(calendar.published, published)

    calendar.at("2024-02-10T09:30:00")
    await calendar.event("calls", "2024-01-20T00:00:00")
    await calendar.event("balance", "2024-01-20T00:00:00", gb=5)
    await eventually(calendar.api_units, {"calls": "0.0", "balance": "15.0"})
    assert await calendar.published() == published

    calendar.at("2024-02-10T10:00:02")
    cut = "2024-02-10T10:00:00.000Z"
    revised = {"calls": ("4.0", "3.0", "1.0"), "balance": ("15.0", "10.0", "5.0")}
    for code, figures in await _in_cell_order(calendar, revised):
        record("2024-01", code, 1, cut, *figures)
    record("2024-01", None, 1, cut)
    await eventually(calendar.published, published)

    calendar.at("2024-03-04T00:00:02")
    due = "2024-03-04T00:00:00.000Z"
    record("2024-02", "balance", 0, due, "15.0")
    record("2024-02", None, 0, due)
    await eventually(calendar.published, published)

    calendar.at("2024-03-10T00:30:00")
    await calendar.event("balance", "2024-01-20T00:00:00", gb="0.25")
    calendar.at("2024-03-10T01:00:02")
    cut = "2024-03-10T01:00:00.000Z"
    record("2024-01", "balance", 2, cut, "15.25", "15.0", "0.25")
    record("2024-01", None, 2, cut)
    record("2024-02", "balance", 1, cut, "15.25", "15.0", "0.25")
    record("2024-02", None, 1, cut)
    await eventually(calendar.published, published)

    # January's due time was 4 February; forty days later nothing changes it any more.
    calendar.at("2024-03-15T00:00:02")
    await calendar.event("calls", "2024-01-20T00:00:00")
    await eventually(calendar.dead_letters, ["too_late"])
    calendar.at("2024-03-15T02:00:02")
    await calendar.event("calls", "2024-03-15T02:00:00")
    await eventually(calendar.api_units, {"calls": "1.0", "balance": "15.25"})
    assert await calendar.published() == published
    assert (await read_ledger(calendar.settings)).repeats == 0


async def _in_cell_order(calendar: Calendar, by_code: dict[str, Any]) -> list[tuple[str, Any]]:
    """Cells come in the order of their ids, which are random in a test."""

    async def ids() -> int:
        return len((await read_ledger(calendar.settings)).newest)

    await eventually(ids, len(by_code) + 1)
    newest = (await read_ledger(calendar.settings)).newest
    order = [
        record["billable_metric"]["code"]
        for _, record in sorted(newest.items())
        if record["type"] != "period.completed"
    ]
    return [(code, by_code[code]) for code in order]
