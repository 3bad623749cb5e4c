"""What an event bills at once: its record, its corrections and its proofs, on real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.billing_periods.instants import parse_iso8601_ms
from app.cli.explain import explain
from app.main import Worker
from tests.live.proofs import run
from tests.world import bodies
from tests.world.live.api import Api, Json
from tests.world.live.consumer import Ledger, read_on
from tests.world.live.offline import fold_offline
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers


async def test_an_event_paid_in_advance_from_its_record_to_the_close(
    worker: Worker, api: Api, tmp_path: Path
) -> None:
    await api.make_metric("seats", "sum_agg", field_name="v")
    await api.make_plan("plan", [bodies.charge("seats", pay_in_advance=True)])
    await api.subscribe("sub", "plan")
    ledger = Ledger()

    async def billed() -> list[tuple[str, int, str]]:
        await read_on(worker.settings, ledger)
        found = [(r["event_transaction_id"], r["revision"], r["units"]) for r in of_events(ledger)]
        return sorted(found)

    wanted: list[tuple[str, int, str]] = []
    for number, (v, units) in enumerate(((10, "10.0"), (-6, "0.0"), (10, "4.0"))):
        await api.send("sub", f"t{number}", "seats", v=v)
        wanted.append((f"t{number}", 0, units))
        await eventually(billed, wanted)
    for record in of_events(ledger):
        cut_ms = parse_iso8601_ms(record["closed_at"])
        appended_ms = parse_iso8601_ms(record["position"]["append_time"])
        assert cut_ms is not None
        assert appended_ms is not None
        assert 0 <= cut_ms - appended_ms < 1_000 * worker.settings.close_grid_s

    cancel = {
        "external_subscription_id": "sub",
        "transaction_id": "t0",
        "operation": "cancel",
    }
    await api.post("/events/corrections", {"correction": cancel})
    await eventually(billed, [("t0", 1, "0.0"), ("t1", 0, "0.0"), ("t2", 0, "4.0")])
    await names_its_records(worker, api, {r["event_transaction_id"]: r for r in of_events(ledger)})

    status, _ = await api.call("DELETE", "/subscriptions/sub")
    assert status == 200

    async def closed() -> list[tuple[str, str, str]]:
        await read_on(worker.settings, ledger)
        found = [r for r in ledger.newest.values() if r["type"] != "period.completed"]
        return [(r["units"], r["billing"], r["billed_in_advance"]) for r in found]

    # What is left of t1 and t2 is what t2 has billed.
    await eventually(closed, [("4.0", "none", "4.0")])
    assert ledger.repeats == 0
    assert ledger.records == await fold_offline(worker.settings, tmp_path)


def of_events(ledger: Ledger) -> list[Json]:
    return list(ledger.instants.values())


async def names_its_records(worker: Worker, api: Api, records: dict[str, Json]) -> None:
    """Trace, explain and `meter explain` say which records an event has, and what it bills."""
    status, answer = await api.call("GET", "/events/t0/trace?external_subscription_id=sub")
    assert status == 200
    (arrival,) = answer["trace"]["arrivals"]
    told = ("instant_id", "id", "cell_id", "lago_charge_id", "revision", "units", "closed_at")
    for events in ([arrival], await explained(api)):
        for event in events:
            record = records[event["transaction_id"]]
            (instant,) = event["instants"]
            assert {key: instant[key] for key in told} == {key: record[key] for key in told}
            assert instant["events_count"] == record["events_count"]
            assert instant["prorated_units"] is None
    said = await run(worker, explain, "sub", "seats", "-o", "table")
    assert said.exit_code == 0, said.output
    words = "".join(said.stdout.split())
    assert records["t2"]["instant_id"].split("-")[0] in words
    assert "Published" in words
    assert "notyet" in words


async def explained(api: Api) -> list[Json]:
    path = "/customers/c/usage/explain?external_subscription_id=sub&billable_metric_code=seats"
    status, answer = await api.call("GET", path)
    assert status == 200
    events: list[Json] = answer["explanation"]["events"]
    assert [event["status"] for event in events] == ["cancelled", "counted", "counted"]
    return events
