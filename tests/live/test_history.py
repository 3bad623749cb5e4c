"""History records on real servers: revisions of a published period, the same bytes everywhere."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from pathlib import Path

import pytest

from app.billing_periods.instants import iso_seconds
from app.cli.preview import preview
from app.main import Worker, running_worker
from app.settings import Settings
from tests.live.proofs import run, verified
from tests.live.test_corrections import SUBSCRIPTION, event
from tests.live.weekly import define, subscribe
from tests.world.live.api import Api, Json, api_of
from tests.world.live.consumer import read_ledger
from tests.world.live.offline import fold_offline
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

DAY_S = 86_400
Shown = tuple[int, str, str, str | None]
"""Revision, group, units, reason."""


async def shown(settings: Settings) -> list[Shown]:
    """The newest revisions of cells."""
    ledger = await read_ledger(settings)
    return sorted(
        (
            record["revision"],
            ",".join((record["grouped_by"] or {}).values()),
            record["units"],
            record["revision_reason"],
        )
        for record in ledger.newest.values()
        if record["type"] != "period.completed"
    )


async def grouped(api: Api, *keys: str) -> Json:
    """The plan with another grouping of its only charge, as it is sent."""
    status, answer = await api.call("GET", "/plans/weekly")
    assert status == 200
    (charge,) = answer["plan"]["charges"]
    properties = {"amount": "1", "pricing_group_keys": list(keys)}
    return {
        "plan": {
            "code": "weekly",
            "charges": [{**charge, "id": charge["lago_id"], "properties": properties}],
        }
    }


async def previewed(worker: Worker, file: Path, *options: str) -> Json:
    """What `meter preview --json` says."""
    result = await run(worker, preview, str(file), "--json", *options)
    assert result.exit_code == 0, result.output
    said: Json = json.loads(result.stdout)
    return said


async def assert_previewed(worker: Worker, change: Path) -> None:
    """A preview tells what the published cells would be; of periods not asked about nothing."""
    said = await previewed(worker, change)
    assert [(c["published"], told(c, "before"), told(c, "after")) for c in said["cells"]] == [
        (True, "17.0", None),
        (True, None, "12.0"),
        (True, None, "5.0"),
    ]
    assert [c["grouped_by"] for c in said["cells"]] == [None, {"zone": "eu"}, {"zone": "us"}]
    assert {(c["external_customer_id"], c["external_subscription_id"]) for c in said["cells"]} == {
        ("c", SUBSCRIPTION)
    }
    later = await previewed(worker, change, "--from", "2020-01-01", "--to", "2020-02-01")
    assert later["cells"] == []


async def assert_grouped_by_zone(api: Api, past_s: int) -> None:
    """Past usage and its explanation have the groups of the history record, and all four events."""
    status, past_usage = await api.call(
        "GET", f"/customers/c/past_usage?external_subscription_id={SUBSCRIPTION}"
    )
    assert status == 200
    (charge,) = past_usage["usage_periods"][0]["charges_usage"]
    groups: list[Json] = charge["grouped_usage"]
    assert {g["grouped_by"]["zone"]: Decimal(g["units"]) for g in groups} == {
        "eu": Decimal(12),
        "us": Decimal(7),
    }
    status, answer = await api.call(
        "GET",
        f"/customers/c/usage/explain?external_subscription_id={SUBSCRIPTION}"
        f"&billable_metric_code=gb&at={iso_seconds(past_s * 1000)}",
    )
    assert status == 200, answer
    explained = answer["explanation"]
    assert explained["equal"]
    assert sorted(
        (c["grouped_by"]["zone"], c["live"]["units"], c["published"]["units"])
        for c in explained["cells"]
    ) == [("eu", "12.0", "12.0"), ("us", "7.0", "7.0")]
    assert explained["counts"] == {"counted": 4}


async def test_a_published_period_is_revised_under_a_history_record(
    live_settings: Settings, worker: Worker, api: Api, tmp_path: Path
) -> None:
    now_s = int(time.time())
    past_s = now_s - 5 * DAY_S
    await define(api)
    await subscribe(api, SUBSCRIPTION, now_s - 9 * DAY_S)
    for name, gb, zone in (("a", "11", "eu"), ("b", "5", "us"), ("c", "1", "eu")):
        sent = event(f"past-{name}", gb, past_s)
        sent["properties"]["zone"] = zone
        await api.post("/events", {"event": sent})

    async def published() -> list[tuple[str, str]]:
        return sorted((group, units) for _, group, units, _ in await shown(live_settings))

    await eventually(published, [("", "17.0")])
    revision, before = (await shown(live_settings))[0][0], await read_ledger(live_settings)
    change = tmp_path / "change.json"
    change.write_text(json.dumps(await grouped(api, "zone")))
    offset = worker.engine.definitions.records_applied

    await assert_previewed(worker, change)
    assert worker.engine.definitions.records_applied == offset

    await previewed(worker, change, "--apply", "--yes")
    await asyncio.sleep(1.5)
    assert (await read_ledger(live_settings)).records == before.records
    assert (await verified(worker))[0] == 0

    answer = await api.post("/history", {"history": {"billable_metric_codes": ["gb"]}})
    offset = answer["history"]["definitions_offset"]
    assert (await verified(worker))[0] == 0
    revised: list[Shown] = [
        (0, "eu", "12.0", None),
        (0, "us", "5.0", None),
        (revision + 1, "", "0.0", "definition"),
    ]
    await eventually(lambda: shown(live_settings), revised)
    ledger = await read_ledger(live_settings)
    closed_at = max(str(record["closed_at"]) for record in ledger.newest.values())
    revisions = [r for r in ledger.newest.values() if r["closed_at"] == closed_at]
    assert {record["definitions_offset"] for record in revisions} == {offset}
    assert len(revisions) == 4

    late = event("past-d", "2", past_s)
    late["properties"]["zone"] = "us"
    await api.post("/events", {"event": late})
    revised[1] = (1, "us", "7.0", "late_events")
    await eventually(lambda: shown(live_settings), sorted(revised))
    await assert_grouped_by_zone(api, past_s)
    assert (await verified(worker))[0] == 0
    ledger = await read_ledger(live_settings)
    assert ledger.records == await fold_offline(live_settings, tmp_path)


def told(cell: Json, when: str) -> str | None:
    """Units before or after."""
    return None if cell[when] is None else str(cell[when]["units"])


async def test_a_worker_that_starts_after_it_goes_on_with_it(
    live_settings: Settings, tmp_path: Path
) -> None:
    now_s = int(time.time())
    past_s = now_s - 5 * DAY_S
    async with running_worker(live_settings, **SESSIONS) as first, api_of(first.url) as api:
        await define(api)
        await subscribe(api, SUBSCRIPTION, now_s - 9 * DAY_S)
        sent = event("past-a", "3", past_s)
        sent["properties"]["zone"] = "eu"
        await api.post("/events", {"event": sent})

        async def published() -> list[tuple[str, str]]:
            return sorted((group, units) for _, group, units, _ in await shown(live_settings))

        await eventually(published, [("", "3.0")])
        change = tmp_path / "change.json"
        change.write_text(json.dumps(await grouped(api, "zone")))
        said = await previewed(first, change, "--apply", "--history", "--yes")
        assert said["applied"]
        assert len(said["history"]["charge_ids"]) == 1
    # It may have ended before the cut, after it, or in the middle of the refold.
    async with running_worker(live_settings, **SESSIONS) as second, api_of(second.url) as api:
        await eventually(published, [("", "0.0"), ("eu", "3.0")])
        late = event("past-b", "4", past_s)
        late["properties"]["zone"] = "eu"
        await api.post("/events", {"event": late})
        await eventually(published, [("", "0.0"), ("eu", "7.0")])
        assert (await verified(second))[0] == 0
        ledger = await read_ledger(live_settings)
        assert ledger.records == await fold_offline(live_settings, tmp_path)
