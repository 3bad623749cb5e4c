"""Alerts ask for what workers tell, and the runbook has a heading for each."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from app.cli.main import cli
from app.definitions.model import FOLD_VERSION
from tests.deploy.metrics import OF_THE_SCRAPE, Told, series_of_a_worker, unknown_in

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
FILE = Path("deploy", "helm", "meterstream", "rules.yaml")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((ROOT / FILE).read_text())["groups"] for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in RULES]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
ALERTS = RUNBOOK.partition("\n## Alerts\n")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    return series_of_a_worker(tmp_path_factory.mktemp("state"))


def test_what_a_worker_tells_is_found(known: dict[str, Told]) -> None:
    assert known["meter_restore_seconds_bucket"].labels >= {"from", "le"}
    assert "unknown_code" in known["meter_events_not_counted_total"].values["reason"]
    assert str(FOLD_VERSION) in known["meter_build_info"].values["fold_version"]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_an_alert_asks_for_what_workers_tell(rule: dict[str, Any], known: dict[str, Told]) -> None:
    assert unknown_in(rule["expr"], known) == []
    labels = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
    told = [each for name, each in known.items() if re.search(rf"\b{name}\b", rule["expr"])]
    assert set(labels) <= set.union(*(each.labels for each in told))
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    assert rule["labels"]["severity"] in ("critical", "warning")


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_what_an_alert_sees_grow_is_there_before_it_does(
    rule: dict[str, Any], known: dict[str, Told]
) -> None:
    """Prometheus sees no increase in the first sample of a series."""
    for name in re.findall(r"increase\((\w+)", rule["expr"]):
        assert known[name].values.keys() == known[name].labels - OF_THE_SCRAPE


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("meter_lag_second > 1", ["meter_lag_second"]),
        ('meter_close_blocked{why="x"} > 0', ["meter_close_blocked{why}"]),
        ('meter_revisions_total{reason="late"}', ["meter_revisions_total=late"]),
        ("sum by (shard) (meter_cells)", ["shard"]),
    ],
)
def test_what_nobody_tells_is_found(
    expression: str, wrong: list[str], known: dict[str, Told]
) -> None:
    assert unknown_in(expression, known) == wrong


def test_each_alert_has_its_heading_and_each_heading_an_alert() -> None:
    assert re.findall(r"^### (\w+)$", ALERTS, re.MULTILINE) == NAMES
    assert [rule["annotations"]["runbook_url"] for rule in RULES] == [
        f"docs/runbook.md#{name.lower()}" for name in NAMES
    ]


def test_an_alert_leads_where_the_page_says(tmp_path: Path) -> None:
    """The command of the page, on a copy."""
    copied = tmp_path / FILE
    copied.parent.mkdir(parents=True)
    shutil.copy(ROOT / FILE, copied)
    (command,) = re.findall(r"^sed .*rules[.]yaml$", OPERATING, re.MULTILINE)
    (place,) = re.findall(r"https://[^#]*", command)
    subprocess.run(shlex.split(command), cwd=tmp_path, check=True)
    found = re.findall(r"runbook_url: (.*)", copied.read_text())
    assert found == [f"{place}#{name.lower()}" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_heading_says_all_that_is_asked_at_night(name: str) -> None:
    part = ALERTS.partition(f"### {name}\n")[2].partition("\n### ")[0]
    for word in ("Customers see", "Look", "Mend", "Not this", "If nothing is done it hurts"):
        assert f"- **{word}**: " in part, word
    (look,) = re.findall(r"^- \*\*Look\*\*: (.*)", part, re.MULTILINE)
    assert "when all is well" in look
    assert len(re.findall(r"`(?:meter |curl |kubectl |systemctl |redis-cli |kafka)", look)) <= 3


def test_metrics_and_commands_of_the_runbook_exist(known: dict[str, Told]) -> None:
    assert set(re.findall(r"meter_[a-z_]+", RUNBOOK)) - set(known) == set()
    for words in re.findall(r"`meter ([a-z-]+)", RUNBOOK):
        assert cli.get_command(click.Context(cli), words) is not None, words


def test_every_alert_is_shown_firing_and_quiet() -> None:
    tests = yaml.safe_load((FOLDER / "rules_test.yaml").read_text())["tests"]
    shown = [
        (each["alertname"], bool(each["exp_alerts"]))
        for t in tests
        for each in t["alert_rule_test"]
    ]
    assert sorted(shown) == sorted((name, fires) for name in NAMES for fires in (True, False))


def test_promtool_agrees() -> None:
    tool = shutil.which("promtool", path=f"{ROOT / '.meter' / 'tools'}:/usr/bin:/usr/local/bin")
    if tool is None:
        pytest.skip("promtool is not here: it comes with Prometheus")
    for words in (["check", "rules", str(ROOT / FILE)], ["test", "rules", "rules_test.yaml"]):
        ran = subprocess.run([tool, *words], cwd=FOLDER, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
