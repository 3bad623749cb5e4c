"""Corrections over REST on real servers: the running period, and a published one as revision."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.main import running_worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from tests.live.weekly import define, subscribe
from tests.world.live.api import Api, api_of
from tests.world.live.consumer import Ledger, read_ledger
from tests.world.live.offline import fold_offline
from tests.world.live.producer import encoded, event_key, foreign_producer
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

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
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s - 5 * DAY_S))
    path = (
        f"/customers/c/usage/explain?external_subscription_id={SUBSCRIPTION}"
        f"&billable_metric_code=gb&at={at}&since_revision=0"
    )

    async def explained() -> list[Any]:
        _, answer = await api.call("GET", path)
        explanation = answer["explanation"]
        return [
            (cell["published"]["units"], cell["published"]["revision"], cell["equal"])
            for cell in explanation["cells"]
        ] + [(e["transaction_id"], e["amended"]) for e in explanation["events"]]

    await eventually(explained, [("4.0", 1, True), ("past-1", True)])
    ledger = await read_ledger(live_settings)
    assert ledger.records == await fold_offline(live_settings, tmp_path)


@pytest.mark.servers
async def test_producers_are_believed_through_a_gateway_only(
    live_settings: Settings, tmp_path: Path
) -> None:
    """A header says whose an event is; REST and replay write grants for what corrects."""
    distrust = {"producer_trust": "header", "producers_may_correct": False}
    settings = live_settings.model_copy(update={**distrust, "producers_may_admit": False})
    began_s = int(time.time()) - 9 * DAY_S
    ours = ("meter-organization", LOCAL_ORGANIZATION_ID.encode())
    cancel = {"operation": "cancel", "correction_id": "k"}
    sent: list[tuple[dict[str, Any], list[tuple[str, bytes]]]] = [
        (event("gate", "2", began_s), [ours]),
        (event("stolen", "100", began_s), []),
        (event("twice", "100", began_s), [ours, ours]),
        (event("rest", "0", began_s) | cancel, [ours]),
        (event("rest", "0", began_s) | cancel, [ours, ("meter-granted", b"0")]),
    ]
    async with running_worker(settings, **SESSIONS) as worker, api_of(worker.url) as api:
        await define(api)
        await subscribe(api, SUBSCRIPTION, began_s + 8 * DAY_S)
        for name in ("rest", "other"):
            await api.post("/events", {"event": event(name, "3", began_s + 9 * DAY_S)})
        async with foreign_producer(settings) as producer:
            for body, headers in sent:
                body |= {"organization_id": LOCAL_ORGANIZATION_ID, "timestamp": began_s + 9 * DAY_S}
                await producer.send_and_wait(
                    settings.topic(settings.raw_topic),
                    encoded(body),
                    key=event_key(SUBSCRIPTION),
                    headers=headers,
                )
        await eventually(lambda: api.units("c", SUBSCRIPTION), {"gb": Decimal(8)})

        async def letters() -> list[Any]:
            return sorted((await api.overview())["dead_letters"], key=lambda each: each["offset"])

        async def codes() -> list[str]:
            return [each["code"] for each in await letters()]

        # What nobody vouches for is in no one's dead letters.
        await eventually(codes, ["invalid_correction"] * 2)
        await correct(api, "other")
        await eventually(lambda: api.units("c", SUBSCRIPTION), {"gb": Decimal(5)})
        *_, letter = await letters()
        place = (letter["partition"], letter["offset"])
        assert await worker.gateway.repairs.replay(LOCAL_ORGANIZATION_ID, *place, "me")
        await eventually(lambda: api.units("c", SUBSCRIPTION), {"gb": Decimal(2)})
        _, changes = await api.call("GET", "/definitions/changes")
        granted = [each for each in changes["changes"] if each["type"] == "grant"]
        assert [each["changed_by"] for each in granted][1:] == ["me"]
        assert (await read_ledger(settings)).records == await fold_offline(settings, tmp_path)
