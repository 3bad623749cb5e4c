"""Corrections over REST on real servers: the running period, and a published one as revision."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.live.api import Api, eventually
from tests.live.consumer import Ledger, read_ledger
from tests.live.offline import fold_offline
from tests.live.weekly import define, subscribe

DAY_S = 86_400
SUBSCRIPTION = "corrected"


def event(transaction_id: str, gb: str, at_s: int) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "external_subscription_id": SUBSCRIPTION,
        "code": "gb",
        "timestamp": at_s,
        "properties": {"gb": gb},
    }


async def correct(api: Api, transaction_id: str, **more: Any) -> None:
    body = {
        "external_subscription_id": SUBSCRIPTION,
        "transaction_id": transaction_id,
        "operation": "cancel",
        **more,
    }
    await api.post("/events/corrections", {"correction": body})


def revisions(ledger: Ledger) -> list[tuple[str, str | None]]:
    """(units, reason) of the newest revisions of cells."""
    return sorted(
        (record["units"], record["revision_reason"])
        for record in ledger.newest.values()
        if record["type"] != "period.completed"
    )


@pytest.mark.servers
async def test_cancel_and_amend(live_settings: Settings, api: Api, tmp_path: Path) -> None:
    now_s = int(time.time())
    started_s = now_s - 9 * DAY_S
    await define(api)
    await subscribe(api, SUBSCRIPTION, started_s)
    for sent in (
        event("now-1", "5", now_s - 60),
        event("now-2", "7", now_s - 60),
        event("past-1", "11", now_s - 5 * DAY_S),
    ):
        await api.post("/events", {"event": sent})

    async def published() -> list[tuple[str, str | None]]:
        return revisions(await read_ledger(live_settings))

    # The first week closed when the subscription was created; its event came after that.
    await eventually(published, [("11.0", None)])
    await correct(api, "now-1")
    amended = event("past-1", "4", now_s - 5 * DAY_S)
    await correct(api, "past-1", operation="amend", event=amended)
    await eventually(lambda: api.units("c", SUBSCRIPTION), {"gb": Decimal(7)})
    await eventually(published, [("4.0", "correction")])

    status, past = await api.call(
        "GET", f"/customers/c/past_usage?external_subscription_id={SUBSCRIPTION}"
    )
    assert status == 200
    assert past["usage_periods"][0]["charges_usage"][0]["units"] == "4.0"
    ledger = await read_ledger(live_settings)
    assert ledger.records == await fold_offline(live_settings, tmp_path)
