"""`meter preview`: what it refuses to read, and what it prints against a running worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.local_servers.ports import free_ports
from tests.app.cli.conftest import Meter
from tests.world.live.api import Api

PLAN = '{"plan": {"code": "plan"}}'


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("{", (), "is no JSON"),
        ("[]", (), "needs"),
        ("5", (), "needs"),
        ('{"customer": {}}', (), "needs"),
        ('{"plan": {}, "billable_metric": {}}', (), "needs"),
        (PLAN, ("--history",), "--history goes with --apply"),
        (PLAN, ("--apply", "--json"), "--apply with --json needs --yes"),
    ],
    ids=str,
)
def test_what_cannot_be_meant(text: str, options: tuple[str, ...], said: str) -> None:
    found = CliRunner().invoke(cli, ["preview", "-", *options], input=text)
    assert found.exit_code == 2
    assert said in found.output


def test_without_a_worker_nothing_is_previewed() -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    found = CliRunner().invoke(cli, ["preview", "-", "--url", url, "--key", "k"], input=PLAN)
    assert found.exit_code == 3
    assert "No worker answers" in found.output


@pytest.mark.servers
async def test_the_running_period_of_a_plan_without_its_filter(
    api: Api, meter: Meter, tmp_path: Path
) -> None:
    status, answer = await api.call("GET", "/plans/plan")
    assert status == 200
    (charge,) = answer["plan"]["charges"]
    changed = {**charge, "id": charge["lago_id"], "filters": []}
    file = tmp_path / "change.json"
    file.write_text(json.dumps([{"plan": {"code": "plan", "charges": [changed]}}]))

    found = await meter("preview", str(file), COLUMNS="200")
    assert found.exit_code == 0, found.output
    header, *rows = found.stdout.splitlines()
    assert header.split("\t")[:4] == ["customer", "subscription", "period", "metric"]
    assert len(rows) == 2
    assert all("acme [big]" in row and "sub/1" in row and "open" in row for row in rows)
    assert "2 cells would differ, of 1 subscriptions and 1 customers; 0 of them" in found.stderr
    said = json.loads((await meter("preview", str(file), "--json")).stdout)
    assert [
        (cell["filters"], cell["before"] and cell["before"]["units"], cell["after"] is None)
        for cell in said["cells"]
    ] == [
        (None, "2.00000000000000000001", False),
        ({"region": ["eu"]}, "1.00000000000000000001", True),
    ]
    assert said["cells"][0]["after"]["units"] == "3.00000000000000000002"
    assert said["cells"][0]["delta_units"] == "+1.00000000000000000001"

    refused = await meter("preview", str(file), "--apply")
    assert refused.exit_code == 1, "nobody confirmed"
    status, answer = await api.call("GET", "/plans/plan")
    assert answer["plan"]["charges"][0]["filters"] != []
    made = await meter("preview", str(file), "--apply", "--yes")
    assert made.stdout.splitlines()[-1] == "Applied."
    status, answer = await api.call("GET", "/plans/plan")
    assert answer["plan"]["charges"][0]["filters"] == []
