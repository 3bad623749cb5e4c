"""lago-javascript-client, unchanged, against a running worker: `javascript/calls.mjs`."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.main import running_worker
from app.settings import Settings
from tests.clients.conftest import Months
from tests.world import bodies
from tests.world.clock import ManualClock, ms
from tests.world.live.api import KEY, Api, api_of
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

VERSION = "1.53.0"
ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".meter" / "javascript"
SCRIPT = Path(__file__).parent / "javascript" / "calls.mjs"
ANALYTICS = SCRIPT.with_name("analytics.mjs")
TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
async def client_module() -> str:
    """The URL of the client's module; installed once, beside other local state."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed, so Lago's JavaScript client cannot run")
    package = INSTALLED / "node_modules" / "lago-javascript-client"
    if not _is_installed(package):
        INSTALLED.mkdir(parents=True, exist_ok=True)
        options = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund")
        wanted = f"lago-javascript-client@{VERSION}"
        code, _, said = await run("npm", "install", *options, "--prefix", str(INSTALLED), wanted)
        if code != 0:
            pytest.skip(f"npm could not install {wanted}, so it cannot run: {said}")
        assert _is_installed(package)
    return (package / "esm" / "mod.js").as_uri()


def _is_installed(package: Path) -> bool:
    described = package / "package.json"
    if not described.exists():
        return False
    return bool(json.loads(described.read_text())["version"].removeprefix("v") == VERSION)


async def run(*command: str) -> tuple[int | None, str, str]:
    """Exit code, output and errors of a command."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode, out.decode(), err.decode()


async def test_every_call(client_module: str, worker_url: str, months: Months) -> None:
    earlier_s = int(months.within_previous.timestamp())
    code, out, err = await run(
        *("node", str(SCRIPT), client_module, worker_url, "javascript-key"),
        *(months.previous.isoformat(), str(earlier_s)),
    )
    assert code == 0, err
    got = json.loads(out)
    assert_objects(got)
    assert_charges(got)
    assert_events(got, earlier_s)
    assert_usage(got, months)
    assert_terms(got)
    assert_refusals(got)


def assert_objects(got: Any) -> None:
    storage = got["metric"]["billable_metric"]
    assert storage["filters"] == [{"key": "region", "values": ["eu", "us"]}]
    assert got["metricUpdated"]["billable_metric"]["name"] == "Disk"
    assert got["metricFound"]["billable_metric"]["lago_id"] == storage["lago_id"]
    assert got["metrics"]["meta"]["total_count"] == 2
    assert len(got["metrics"]["billable_metrics"]) == 1
    assert [c["billable_metric_code"] for c in got["plan"]["plan"]["charges"]] == [
        "storage",
        "calls",
    ]
    assert got["planUpdated"]["plan"]["name"] == "Renamed"
    assert len(got["planUpdated"]["plan"]["charges"]) == 2
    assert [plan["code"] for plan in got["plans"]["plans"]] == ["plan"]
    assert got["customer"]["customer"]["applicable_timezone"] == "UTC"
    assert [c["external_id"] for c in got["customers"]["customers"]] == ["customer"]
    assert got["subscription"]["subscription"]["status"] == "active"
    assert got["subscriptionUpdated"]["subscription"]["name"] == "Mine"
    for listing in ("subscriptions", "customerSubscriptions"):
        (subscription,) = got[listing]["subscriptions"]
        assert subscription["external_id"] == "subscription"
    assert got["terminated"]["subscription"]["status"] == "terminated"
    assert got["planGone"]["plan"]["code"] == "plan"
    assert got["metricGone"]["billable_metric"]["code"] == "storage"
    assert got["customerGone"]["customer"]["external_id"] == "customer"


def assert_charges(got: Any) -> None:
    made, updated = got["chargeMade"]["charge"], got["chargeUpdated"]["charge"]
    assert updated == {**made, "invoice_display_name": "Extra"}
    changed = got["filterUpdated"]["filter"]
    assert changed == {**got["filterMade"]["filter"], "properties": {"amount": "4"}}
    assert got["filterFound"] == {"filter": changed}
    assert got["filters"]["filters"] == [changed]
    assert got["chargeFound"]["charge"] == {**updated, "filters": [changed]}
    assert [each["code"] for each in got["charges"]["charges"]] == ["extra", "calls"]
    assert got["charges"]["meta"]["total_count"] == 3
    assert got["filterGone"] == {"filter": changed}
    assert got["chargeGone"] == {"charge": updated}
    assert got["chargeUnknown"]["body"]["code"] == "charge_not_found"
    of_subscription = got["subscriptionCharges"]["charges"]
    assert [each["code"] for each in of_subscription] == ["calls", "storage"]


def assert_events(got: Any, earlier_s: int) -> None:
    assert got["event"]["event"]["transaction_id"] == "one"
    assert [event["transaction_id"] for event in got["batch"]["events"]] == [
        "two",
        "three",
        "four",
    ]
    found = got["eventFound"]["event"]
    assert found["properties"] == {"gb": "2", "region": "us"}
    assert got["events"]["meta"]["total_count"] == 4
    again = got["eventAgain"]
    assert again["status"] == 422
    assert again["body"]["error_details"] == {"transaction_id": ["value_already_exist"]}


def assert_usage(got: Any, months: Months) -> None:
    usage = got["usage"]["customer_usage"]
    by_code = {each["billable_metric"]["code"]: each for each in usage["charges_usage"]}
    assert by_code["storage"]["units"] == "0.0"
    assert by_code["calls"]["units"] == "2.0"
    assert [(g["grouped_by"], g["units"]) for g in by_code["calls"]["grouped_usage"]] == [
        ({"zone": "a"}, "1.0"),
        ({"zone": "b"}, "1.0"),
    ]
    (period,) = got["past"]["usage_periods"]
    assert period["from_datetime"] == months.previous.strftime("%Y-%m-%dT%H:%M:%SZ")
    (storage,) = period["charges_usage"]
    assert [(f["values"], f["units"]) for f in storage["filters"]] == [
        ({"region": ["eu"]}, "1.5"),
        (None, "2.0"),
    ]

    # No day has passed here; `tests/live/test_daily.py` asks for days that have.
    assert got["analytics"] == {"usages": []}
    assert got["analyticsRefused"]["body"]["error_details"] == {
        "time_granularity": ["value_is_invalid"]
    }
    (whole,) = got["fullUsage"]["customer_usage"]["charges_usage"]
    assert whole["units"] == "3.5"
    assert got["fullUsageRefused"]["body"]["code"] == "full_usage_not_allowed"


def assert_terms(got: Any) -> None:
    (of_plan,) = [c for c in got["planUpdated"]["plan"]["charges"] if c["code"] == "calls"]
    own = got["charge"]["charge"]
    assert own["lago_parent_id"] == of_plan["lago_id"] != own["lago_id"]
    assert got["chargeOwn"]["charge"] == {**own, "invoice_display_name": "Ours"}
    assert got["chargeFilter"]["filter"]["values"] == {"region": ["us"]}
    kept = {**got["chargeFilter"]["filter"], "properties": {"amount": "4"}}
    assert got["chargeFilterUpdated"] == got["chargeFilterFound"] == {"filter": kept}
    assert kept in got["chargeFilters"]["filters"]
    assert got["chargeFilterGone"]["filter"] == kept
    alert = got["alertFound"]["alert"]
    assert [alert] == got["alerts"]["alerts"]
    assert alert["lago_id"] == got["alert"]["alert"]["lago_id"]
    assert [(each["value"], each["recurring"]) for each in alert["thresholds"]] == [
        ("10.0", False),
        ("5.0", True),
    ]
    renamed = got["alertUpdated"]["alert"]
    assert (renamed["name"], renamed["lago_id"]) == ("Many calls", alert["lago_id"])
    assert got["alertGone"]["alert"]["lago_id"] == alert["lago_id"]
    assert not got["alertsGone"]
    assert got["endpoint"]["webhook_endpoint"]["signature_algo"] == "hmac"
    moved = got["endpointUpdated"]["webhook_endpoint"]
    assert moved["webhook_url"] == "https://example.com/moved"
    assert got["endpointFound"]["webhook_endpoint"] == moved
    assert got["endpoints"]["webhook_endpoints"] == [moved]
    assert got["endpointGone"]["webhook_endpoint"] == moved
    assert got["organizationFound"]["organization"] == got["organization"]["organization"]
    assert [each["code"] for each in got["entities"]["billing_entities"]] == ["default"]
    assert got["organization"]["organization"]["timezone"] == "Europe/Paris"
    assert got["entity"]["billing_entity"]["timezone"] == "Europe/Paris"
    projected = got["projected"]["customer_projected_usage"]["charges_usage"]
    assert all("projected_units" in each for each in projected)


def assert_refusals(got: Any) -> None:
    assert got["nameless"]["status"] == 422
    assert got["nameless"]["body"]["error_details"] == {"name": ["value_is_mandatory"]}
    assert got["unknown"]["status"] == 404
    assert got["unknown"]["body"]["code"] == "billable_metric_not_found"
    assert got["stranger"] == {"status": 401, "body": {"status": 401, "error": "Unauthorized"}}
    assert got["estimate"]["body"]["error_details"] == {
        "code": ["does_not_match_an_instant_charge"]
    }
    for name in ("estimateInstant", "estimateInstants"):
        assert got[name]["body"]["code"] == "feature_unavailable"
    assert got["publicKey"]["status"] == 404
    assert got["ended"]["status"] == 405
    assert got["ended"]["body"]["code"] == "no_active_subscription"


async def test_analytics_has_a_row_for_each_day_week_and_month(
    client_module: str, live_settings: Settings
) -> None:
    settings = live_settings.model_copy(update={"test_clock": True, "daily_records": True})
    clock = ManualClock(ms("2024-03-02T09:00:00"))
    async with running_worker(settings, clock, **SESSIONS) as worker, api_of(worker.url) as api:
        await used(api, {"2024-03-02": 2, "2024-03-03": 3, "2024-03-05": 4})
        clock.advance_to(ms("2024-03-06T00:00:02"))

        async def days() -> int:
            _, answer = await api.call("GET", "/analytics/usage?from_date=2024-03-01")
            return len(answer["usages"])

        await eventually(days, 3)
        arguments = (client_module, worker.url, KEY, "2024-03-01", "2024-03-31")
        code, out, err = await run("node", str(ANALYTICS), *arguments)
    assert code == 0, err
    assert {name: [shown(row) for row in rows] for name, rows in json.loads(out).items()} == {
        "daily": [
            ("2024-03-02", "2024-03-02", "2.0"),
            ("2024-03-03", "2024-03-03", "3.0"),
            ("2024-03-05", "2024-03-05", "4.0"),
        ],
        "weekly": [("2024-02-26", "2024-03-03", "5.0"), ("2024-03-04", "2024-03-10", "4.0")],
        "monthly": [("2024-03-01", "2024-03-31", "9.0")],
    }


async def used(api: Api, units: dict[str, int]) -> None:
    """Define a subscription, and send it an event on each of some days."""
    await api.make_metric("seats", "sum_agg", field_name="v")
    await api.make_plan("plan", [bodies.charge("seats")])
    await api.subscribe("s1", "plan", subscription_at="2024-03-01")
    for day, value in units.items():
        await api.send("s1", day, "seats", ms(f"{day}T10:00:00") // 1000, v=value)


def shown(row: Any) -> tuple[str, str, str]:
    return row["start_of_period_dt"], row["end_of_period_dt"], row["units"]
