"""The commands of `docs/from-lago.md`, run one after the other against a stand-in for Lago."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import cli
from tests.app.api.conftest import Running
from tests.app.cli.lago import stand_in
from tests.app.cli.lago.stand_in import StandIn
from tests.world.pages import DOCS, commands

LAGO = "https://api.getlago.com"


async def test_every_command_of_the_page_works(
    lago: StandIn, here: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lago.key").write_text(stand_in.KEY + "\n")
    lago.lists["billable_metrics"] = [stand_in.metric("calls", "count_agg")]
    lago.lists["plans"] = [stand_in.plan("pro", [stand_in.charge("of_calls", "calls")])]
    lago.lists["customers"] = [stand_in.customer("acme")]
    lago.lists["subscriptions"] = [stand_in.subscription("s", "acme", "pro")]
    ran = []
    for given, words in commands((DOCS / "from-lago.md").read_text()):
        assert LAGO in words
        if words[0] == "compare" and not lago.current:
            # It shows what is shown here, without what Lago does not say.
            path = "/api/v1/customers/acme/{}_usage?external_subscription_id=s"
            lago.current["s"] = [(await here.must("GET", path.format("current")))["customer_usage"]]
            past = (await here.must("GET", path.format("past")))["usage_periods"]
            lago.past["s"] = [{k: v for k, v in each.items() if k != "state"} for each in past]
        environment = {"METER_URL": here.base_url, "METER_API_KEY": here.key} | given
        asked = [lago.url if word == LAGO else word for word in words]
        runner = CliRunner(env=environment)
        answer = await asyncio.to_thread(runner.invoke, cli, asked)
        assert answer.exit_code == 0, (words, answer.output)
        ran.append(words[0])
    assert ran == ["migrate", "migrate", "compare", "compare"]
    assert Path("ids.json").exists()
