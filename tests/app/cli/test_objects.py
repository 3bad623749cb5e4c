"""`meter list`, `get`, `apply` and `delete` against a running worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.main import Worker
from tests.app.cli.conftest import Meter
from tests.world import bodies
from tests.world.live.api import Api, Json
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers


async def rows(meter: Meter, *words: str) -> list[dict[str, str]]:
    answer = await meter("list", *words)
    assert answer.exit_code == 0, answer.output
    header, *lines = (line.split("\t") for line in answer.stdout.splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


async def test_what_there_is_is_listed_and_shown(
    worker: Worker, api: Api, meter: Meter, tmp_path: Path
) -> None:
    assert [(one["code"], one["aggregation_type"]) for one in await rows(meter, "metrics")] == [
        ("storage", "sum_agg")
    ]
    assert [(one["code"], one["charges"]) for one in await rows(meter, "plans")] == [
        ("plan", '["storage"]')
    ]
    assert [one["external_id"] for one in await rows(meter, "customers")] == ["acme [big]"]
    (subscription,) = await rows(meter, "subscriptions", "--customer", "acme [big]")
    assert (subscription["external_id"], subscription["status"]) == ("sub/1", "active")
    assert await rows(meter, "subscriptions", "--status", "terminated") == []

    async def events() -> list[str]:
        return sorted(one["transaction_id"] for one in await rows(meter, "events"))

    await eventually(events, ["t0", "t1"])
    assert await rows(meter, "events", "--code", "nothing") == []
    await api.post(
        "/events",
        {"event": {"transaction_id": "x", "external_subscription_id": "sub/1", "code": "none"}},
    )

    async def uncounted() -> list[tuple[str, str]]:
        return [(one["code"], one["events_count"]) for one in await rows(meter, "not-counted")]

    await eventually(uncounted, [("none", "1")])
    assert (await meter("list", "not-counted")).stderr == ""
    for owned in worker.engine.owned.values():
        owned.state.not_counted.since_ms = 1_000
    told = "What came up to 1970-01-01T00:00:01.000Z is not listed: others folded it.\n"
    assert (await meter("list", "not-counted")).stderr == told
    kinds = [one["type"] for one in await rows(meter, "changes")]
    assert "create_plan" in kinds
    assert await rows(meter, "dead-letters") == []
    assert (await meter("list", "subscriptions", "--status", "gone")).exit_code == 2
    for words in (("list", "dead-letters"), ("dead-letters", "list"), ("dead-letters", "replay")):
        misspelt = await meter(*words, "--code", "invalid-json")
        assert (misspelt.exit_code, "'invalid_json'" in misspelt.stderr) == (2, True)
    wrong = await meter("list", "plans", "--code", "x")
    assert (wrong.exit_code, "takes no --code" in wrong.stderr) == (2, True)
    assert "Did you mean" in (await meter("list", "plans", "--custmer", "x")).stderr

    shown = json.loads((await meter("get", "plan", "plan", "--json")).stdout)
    assert shown["plan"]["code"] == "plan"
    missing = await meter("get", "metric", "storrage")
    assert (missing.exit_code, "Did you mean 'storage'?" in missing.stderr) == (4, True)
    event = await meter("get", "event", "t0")
    assert "code\tstorage" in event.stdout.splitlines()
    for words in (("get", "dead-letter"), ("dead-letters", "show")):
        none = await meter(*words, "0/77")
        assert none.exit_code == 4
        assert "There is no dead letter at 0/77" in none.stderr
        assert "`meter dead-letters list`" in none.stderr
    await defined_by_files(api, meter, tmp_path / "definitions.json")


async def defined_by_files(api: Api, meter: Meter, path: Path) -> None:
    """A file makes what is missing, changes what differs, and nothing when it comes again."""
    charge = {**bodies.charge("calls"), "code": "calls"}
    file = [
        {"plan": bodies.plan("team", [charge])},
        {"billable_metric": bodies.metric("calls", "count_agg")},
        {"customer": {"external_id": "new", "name": "New"}},
    ]

    async def applied(*words: str) -> list[tuple[str, str]]:
        path.write_text(json.dumps(file))
        answer = await meter("apply", "-f", str(path), *words, "--json")
        assert answer.exit_code == 0, answer.output
        steps: list[Json] = json.loads(answer.stdout)
        return [(one["name"], one["action"]) for one in steps]

    made = [("calls", "create"), ("team", "create"), ("new", "create")]
    assert await applied("--dry-run") == made
    assert (await api.call("GET", "/plans/team"))[0] == 404
    assert await applied("--yes") == made
    _, before = await api.call("GET", "/plans/team")
    assert await applied("--yes") == [(name, "unchanged") for name, _ in made]
    file[2]["customer"]["name"] = "Newer"
    file[0]["plan"]["name"] = "The team"
    assert [action for _, action in await applied("--yes")] == ["unchanged", "update", "update"]
    _, after = await api.call("GET", "/plans/team")
    assert after["plan"]["name"] == "The team"
    assert after["plan"]["charges"][0]["lago_id"] == before["plan"]["charges"][0]["lago_id"]
    wrong = await meter("apply", "-f", str(path), "--url", "nowhere")
    assert wrong.exit_code == 2

    gone = await meter("delete", "plan", "team", "--yes")
    assert gone.exit_code == 0, gone.output
    assert (await meter("delete", "plan", "team", "--yes")).exit_code == 4
    assert (await meter("get", "plan", "team")).exit_code == 4
    await eventually(lambda: ended(meter), 0)


async def ended(meter: Meter) -> int:
    return (await meter("delete", "subscription", "sub/1", "--yes")).exit_code
