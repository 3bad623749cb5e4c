"""`meter send`, `meter trace` and `meter reconcile`: what a producer finds out by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.cli.outcomes import outcome_of
from app.cli.send import refusal_of
from tests.app.cli.conftest import Meter
from tests.world.live.api import Api


def event(transaction_id: str, **more: Any) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "external_subscription_id": "sub/1",
        "code": "storage",
        "properties": {"gb": "1.50"},
    } | more


def written(path: Path, events: list[dict[str, Any]]) -> str:
    path.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in events))
    return str(path)


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        ({"timestamp": ["invalid_format"]}, "timestamp: invalid_format"),
        (
            {"code": ["value_is_mandatory"], "transaction_id": ["value_is_too_long"]},
            "code: value_is_mandatory; transaction_id: value_is_too_long",
        ),
        ("expression_evaluation_failed: Division by zero",) * 2,
    ],
)
def test_a_refusal_names_its_field(problem: object, reason: str) -> None:
    assert refusal_of(3, event("a"), problem).reason == reason


@pytest.mark.servers
async def test_a_producer_finds_its_mistakes(api: Api, meter: Meter, tmp_path: Path) -> None:
    assert api is not None
    events = [
        *(event(f"good{i}") for i in range(120)),
        event("unknown", code="nobody-defined"),
        event("lacks", properties={}),
        event("future", timestamp="4102444800"),
        event("good0"),
        event("good1", properties={"gb": "9"}),
    ]
    file, report = written(tmp_path / "events.jsonl", events), tmp_path / "report.jsonl"
    first = await meter("send", file, "--report", str(report))
    assert first.exit_code == 1, first.output
    assert first.stdout.startswith("125 sent: 120 counted, ")
    for part in (
        "1 duplicate",
        "2 not counted (missing_property 1, unknown_code 1)",
        "1 refused (timestamp: value_is_out_of_range 1)",
        "1 differs (properties.gb 1)",
    ):
        assert part in first.stdout, first.stdout
    told = [json.loads(line) for line in report.read_text().splitlines()]
    assert {one["transaction_id"]: one["line"] for one in told} == {
        "unknown": 121,
        "lacks": 122,
        "future": 123,
        "good1": 125,
    }

    unnamed = await meter("send", file)
    assert (unnamed.exit_code, "--report FILE" in unnamed.stderr) == (1, True)
    assert "--report" not in first.stderr

    again = await meter("send", written(tmp_path / "good.jsonl", events[:120]), "--json")
    assert (again.exit_code, json.loads(again.stdout)) == (
        0,
        {"sent": 120, "outcomes": {"duplicate": {"": 120}}},
    )

    shown = await meter("trace", "sub/1", "good0", "-o", "table")
    assert shown.exit_code == 0
    assert "counted: storage" in shown.stdout
    assert "counted as 1.5" in shown.stdout
    absent = await meter("trace", "sub/1", "nobody")
    assert (absent.exit_code, "has no event nobody" in absent.stderr) == (4, True)

    await assert_reconciled(meter, tmp_path)

    whole = written(tmp_path / "whole.jsonl", events[:120])
    assert (await meter("reconcile", whole)).exit_code == 0
    nothing = tmp_path / "nothing.jsonl"
    nothing.touch()
    assert (await meter("reconcile", str(nothing))).exit_code == 3


async def assert_reconciled(meter: Meter, tmp_path: Path) -> None:
    """A list of a producer's own is compared with what was sent before."""
    listed = tmp_path / "list.csv"
    listed.write_text(
        "tx,sub,code,gb\ngood0,sub/1,storage,1.5\ngood1,sub/1,storage,2\nlost,sub/1,storage,1\n"
        "unknown,sub/1,nobody-defined,\n"
    )
    columns = "transaction_id=tx,external_subscription_id=sub,value=gb"
    compared = await meter("reconcile", str(listed), "--map", columns, "--json")
    assert compared.exit_code == 1
    found = json.loads(compared.stdout)
    assert (found["listed"], found["counted"]) == (4, 1)
    assert {
        one["transaction_id"]: (one["outcome"], one["reason"]) for one in found["differing"]
    } == {
        "good1": ("differs", "value 1.5"),
        "lost": ("missing", ""),
        "unknown": ("not_counted", "unknown_code"),
    }
    rows = (await meter("reconcile", str(listed), "--map", columns)).stdout.splitlines()
    assert [row.split("\t")[2] for row in rows[1:]] == ["good1", "lost", "unknown"]
    form = ("-o", "table")
    text = await meter("reconcile", str(listed), "--map", columns, "--extra", *form, COLUMNS="160")
    assert "4 listed: 1 counted" in text.stdout
    # 118 others that were sent above, one that lacks its property, and the two of the fixture.
    assert "; 121 not listed" in text.stdout


@pytest.mark.parametrize(
    ("given", "value", "outcome"),
    [
        ("1.50", "1.5", "counted"),
        ("2", "1.5", "differs"),
        ("anna", "add:anna", "counted"),
        ("anna", "remove:anna", "counted"),
        ("bob", "add:anna", "differs"),
    ],
)
def test_a_given_value_is_the_one_that_counts(given: str, value: str, outcome: str) -> None:
    verdict: dict[str, Any] = {
        "transaction_id": "t",
        "external_subscription_id": "s",
        "verdict": "counted",
        "reason": None,
        "differs": [],
        "event": {
            "code": "c",
            "timestamp": "2026-01-01T00:00:00.000Z",
            "position": {"partition": 0, "offset": 1, "index": 0},
            "charges": [{"counted": True, "value": value}],
        },
    }
    found = outcome_of(1, {"value": given}, verdict)
    assert (found.outcome, found.day, found.place) == (outcome, "2026-01-01", "0:1:0")
