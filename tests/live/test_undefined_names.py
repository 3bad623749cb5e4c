"""Events before their subscription on real servers, with room for hardly any undefined name."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from app.billing_periods.instants import parse_iso8601_ms
from app.main import running_worker
from app.settings import Settings
from tests.live.test_corrections import correct, event
from tests.live.weekly import define, subscribe
from tests.world.live.api import Api, api_of
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

NAMES = [f"undefined-{number}" for number in range(9)]


async def _not_counted(api: Api) -> set[tuple[str, str, int]]:
    status, answer = await api.call("GET", "/events/not_counted")
    assert status == 200
    assert answer["since"] is None
    return {(o["reason"], o["code"], o["events_count"]) for o in answer["not_counted"]}


@pytest.mark.servers
async def test_nothing_is_lost(live_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tables.changelogged.presence_table.UNDEFINED_NAMES", 1)
    now_s = int(time.time())
    async with running_worker(live_settings, **SESSIONS) as worker, api_of(worker.url) as api:
        await define(api)
        for number, name in enumerate(NAMES):
            for code in ("gb", "later"):
                sent = event(f"t-{code}", str(number), now_s - 60)
                sent |= {"external_subscription_id": name, "code": code}
                await api.post("/events", {"event": sent})
        expected = {
            ("unknown_subscription", "gb", len(NAMES)),
            ("unknown_code", "later", len(NAMES)),
        }
        await eventually(lambda: _not_counted(api), expected)
        states = [owned.state for owned in worker.engine.owned.values()]
        assert all(len(state.event_ranges.undefined) <= 1 for state in states)
        assert any(state.event_ranges.rest for state in states)
        await correct(api, "t-gb", external_subscription_id=NAMES[3])
        amended = event("t-gb", "40", now_s - 60) | {"external_subscription_id": NAMES[4]}
        await correct(
            api, "t-gb", external_subscription_id=NAMES[4], operation="amend", event=amended
        )
        await subscribe(api, NAMES[8], now_s - 86_400)
        await eventually(lambda: api.units("c", NAMES[8]), {"gb": Decimal(8)})
    # Another process finds what this one has not kept.
    async with running_worker(live_settings, **SESSIONS) as worker, api_of(worker.url) as api:
        _, answer = await api.call("GET", "/events/not_counted")
        since_ms = parse_iso8601_ms(answer["since"] or "")
        assert since_ms is not None, "it calls nothing what it has not seen"
        assert since_ms >= now_s * 1000
        for name in NAMES[:8]:
            await subscribe(api, name, now_s - 86_400)
        for number, name in enumerate(NAMES):
            units = {3: 0, 4: 40}.get(number, number)
            await eventually(lambda name=name: api.units("c", name), {"gb": Decimal(units)})  # type: ignore[misc]
