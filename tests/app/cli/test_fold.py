"""`meter fold`: files in, records and usage out, and what is said about other lines."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import fold
from app.cli.main import cli
from app.definitions import commands
from app.definitions.files import definition_line
from app.offline.fold import OfflineMeter
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of

FEBRUARY = "2024-02-01T00:00:00Z"


def event(transaction_id: str, at: str, v: Any, **more: Any) -> dict[str, Any]:
    return {
        "organization_id": ORG,
        "external_subscription_id": SUBSCRIPTION,
        "transaction_id": transaction_id,
        "code": "sum",
        "timestamp": at,
        "properties": {"v": v},
        **more,
    }


def run(tmp_path: Path, *events: str | dict[str, Any], options: tuple[str, ...] = ()) -> Result:
    definitions, lines = tmp_path / "definitions", tmp_path / "events"
    definitions.write_bytes(
        b"".join(
            definition_line(d.command, d.append_time_ms, d.offset) for d in definitions_of(["sum"])
        )
    )
    texts = [e if isinstance(e, str) else json.dumps(e) for e in events]
    lines.write_text("\n".join(texts))
    return CliRunner().invoke(
        cli, ["fold", str(definitions), str(lines), "--at", FEBRUARY, *options]
    )


def recorded(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [record for record in found if str(record.get("type", "")).startswith("usage.")]


def test_records_then_usage(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        event("a", "2024-01-02T00:00:00Z", "1.5"),
        event("b", "2024-01-31T00:00:00Z", 2),
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("type") for line in lines] == [
        "usage.recorded",
        *["period.completed"] * 4,
        None,
    ]
    assert lines[0]["units"] == "1.5"
    usage = lines[-1]
    assert (usage["organization_id"], usage["external_subscription_id"]) == (ORG, SUBSCRIPTION)
    assert usage["customer_usage"]["from_datetime"] == "2024-01-29T00:00:00Z"
    assert usage["customer_usage"]["charges_usage"][0]["units"] == "2.0"


def test_of_what_was_made_memory_has_one_cut_and_all_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0

    class Watched(OfflineMeter):
        def _next_cut(self) -> int:
            nonlocal most
            most = max(most, len(self.records))
            return super()._next_cut()

    monkeypatch.setattr(fold, "OfflineMeter", Watched)
    result = run(tmp_path, event("a", "2024-01-02T00:00:00Z", "1"), options=("--records-only",))
    assert len(result.stdout.splitlines()) == 5
    assert most <= 2


def test_no_record_is_printed_if_a_line_is_none(tmp_path: Path) -> None:
    late = event("b", "2024-01-31T00:00:00Z", "1", _append_time="no time")
    result = run(tmp_path, event("a", "2024-01-02T00:00:00Z", "1"), late)
    assert result.exit_code == 1
    assert "neither ms nor RFC 3339" in result.output
    assert "usage.recorded" not in result.output


def test_records_only(tmp_path: Path) -> None:
    result = run(tmp_path, options=("--records-only",))
    kinds = [json.loads(line)["type"] for line in result.stdout.splitlines()]
    assert kinds == ["period.completed"] * 4


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(event("a", "2024-01-02T00:00:00Z", "3"), id="plain"),
        pytest.param([event("a", "2024-01-02T00:00:00Z", "3")], id="array"),
        pytest.param({"_value": [event("a", "2024-01-02T00:00:00Z", "3")]}, id="value"),
        pytest.param(
            {"_value_base64": b64encode(json.dumps(event("a", "1704153600", 3)).encode()).decode()},
            id="base64",
        ),
        pytest.param(
            {
                "specversion": "1.0",
                "id": "a",
                "type": "sum",
                "subject": SUBSCRIPTION,
                "organizationid": ORG,
                "time": "2024-01-02T00:00:00Z",
                "data": {"v": 3},
                "_headers": {"content-type": "application/cloudevents+json"},
                "_partition": 2,
            },
            id="headers",
        ),
    ],
)
def test_spellings_of_a_value(tmp_path: Path, line: Any) -> None:
    (record,) = recorded(run(tmp_path, json.dumps(line)))
    assert record["units"] == "3.0"


def test_append_times_decide_what_is_late(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        event("a", "2024-01-02T00:00:00Z", 1, _append_time="2024-01-02T00:00:00Z"),
        event("b", "2024-01-03T00:00:00Z", 1, _append_time=1704675600001),
    )
    first, revised = recorded(result)
    assert (first["units"], revised["units"]) == ("1.0", "2.0")
    assert revised["closed_at"] == "2024-01-08T02:00:00.000Z"
    assert revised["revision_reason"] == "late_events"


def test_partitions_may_stand_in_any_order(tmp_path: Path) -> None:
    """Whatever the order of the lines, the event of 4 January was appended last."""
    early_ms, late_ms = 1704240000000, 1704675600001
    lines: list[str | dict[str, Any]] = [
        event("b", "2024-01-02T00:00:00Z", 1, _append_time=early_ms + 2, _partition=2),
        event("a", "2024-01-02T00:00:00Z", 1, _append_time=early_ms + 1, _partition=0),
        "",
        event("late", "2024-01-04T00:00:00Z", 4, _append_time=late_ms, _partition=2),
        event("c", "2024-01-03T00:00:00Z", 2, _append_time=early_ms + 3, _partition=0),
        event("d", "2024-01-03T00:00:00Z", 3, _append_time=early_ms + 4, _partition=1),
    ]
    first, revised = recorded(run(tmp_path, *lines))
    assert (first["units"], revised["units"]) == ("7.0", "11.0")


def test_events_from_a_pipe(tmp_path: Path) -> None:
    definitions = tmp_path / "definitions"
    definitions.write_bytes(
        b"".join(
            definition_line(d.command, d.append_time_ms, d.offset) for d in definitions_of(["sum"])
        )
    )
    lines = "\n".join(json.dumps(event(name, "2024-01-02T00:00:00Z", 2)) for name in "ab")
    result = CliRunner().invoke(cli, ["fold", str(definitions), "-", "--at", FEBRUARY], lines)
    (record,) = recorded(result)
    assert record["units"] == "4.0"


def test_refusals_are_counted_on_stderr(tmp_path: Path) -> None:
    result = run(tmp_path, {"_value_base64": b64encode(b"{").decode()}, {"code": "sum"})
    assert "1 events refused: invalid_json, the first: " in result.stderr
    assert "1 events refused: missing_field, the first: external_subscription_id" in result.stderr


def test_rejected_definitions_are_told_apart(tmp_path: Path) -> None:
    definitions, events = tmp_path / "definitions", tmp_path / "events"
    definitions.write_bytes(
        definition_line(commands.create_plan(ORG, {"code": "p"}), 1, 7)
        + b"".join(
            definition_line(commands.delete_plan(ORG, "nobody"), 1, 8 + number)
            for number in range(11)
        )
    )
    events.touch()
    result = CliRunner().invoke(cli, ["fold", str(definitions), str(events), "--at", FEBRUARY])
    told = result.stderr.splitlines()
    assert told[0].startswith("definition 7 rejected: validation_errors (")
    assert "; name: value_is_mandatory; " in told[0]
    assert told[1] == "definition 8 rejected: plan_not_found"
    assert told[9:] == ["definition 16 rejected: plan_not_found", "12 definitions rejected"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param("{", "line 2: ", id="no-json"),
        pytest.param('{"_append_time": "soon"}', "_append_time 'soon'", id="append-time"),
        pytest.param('{"_offset": 0}', "_offset 0 goes back", id="offset"),
        pytest.param('{"_value_base64": "?"}', "line 2: ", id="base64"),
        pytest.param('{"_headers": {"a": 1}}', "_headers", id="headers"),
    ],
)
def test_lines_that_are_no_records(tmp_path: Path, line: str, told: str) -> None:
    result = run(tmp_path, event("a", "2024-01-02T00:00:00Z", 1), line)
    assert result.exit_code == 1
    assert "events: line 2: " in result.stderr
    assert told in result.stderr


def test_definitions_are_no_events(tmp_path: Path) -> None:
    (command, *_) = definitions_of(["sum"])
    line = definition_line(command.command, command.append_time_ms, command.offset).decode()
    result = run(tmp_path, event("a", "2024-01-02T00:00:00Z", 1), line)
    assert result.exit_code == 1
    assert "events: line 2: `payload` with a `type`: a definition" in result.stderr
    assert result.stdout == ""
    # What an export tells of the raw topic is what was there, whatever that is.
    exported = json.dumps({"_partition": 0, **json.loads(line), "_offset": 1})
    assert run(tmp_path, exported).exit_code == 0


def test_wrong_definitions(tmp_path: Path) -> None:
    (tmp_path / "definitions").write_text('{"type": "plan"}')
    (tmp_path / "events").write_text("")
    files = [str(tmp_path / "definitions"), str(tmp_path / "events")]
    result = CliRunner().invoke(cli, ["fold", *files, "--at", "1704675600001"])
    assert result.exit_code == 1
    assert "definitions: line 1: " in result.stderr


def test_at_must_be_an_instant(tmp_path: Path) -> None:
    result = run(tmp_path, options=("--at", "tomorrow"))
    assert result.exit_code == 2
    assert "'tomorrow' is neither" in result.stderr


def test_a_number_that_is_small_is_no_time(tmp_path: Path) -> None:
    """Of a year, a date without hyphens and seconds nobody means milliseconds."""
    for at in ("2026", "20261001", "1790812800"):
        result = run(tmp_path, options=("--at", at))
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"Invalid value for '--at': '{at}' would be {int(at):,} ms after 1970" in (
            result.stderr
        )
        assert "2026-10-01T00:00:00Z" in result.stderr
    assert run(tmp_path, options=("--at", str(fold.LEAST_MS))).exit_code == 0


@pytest.mark.parametrize("at", ["9999-06-01", "9" * 30])
def test_at_leaves_room_for_the_periods_after_it(tmp_path: Path, at: str) -> None:
    result = run(tmp_path, options=("--at", at))
    assert result.exit_code == 2
    assert f"'{at}' lies beyond the year 8999" in result.stderr


def test_what_goes_to_a_topic_is_printed_when_it_is_named(tmp_path: Path) -> None:
    folded = event("a", "2024-01-02T00:00:00Z", "1.5")
    assert len(recorded(run(tmp_path, folded, options=("--topic", "usage-records")))) == 1
    assert recorded(run(tmp_path, folded, options=("--topic", "usage-alerts"))) == []
    both = ("--topic", "usage-alerts", "--topic", "usage-records")
    assert len(recorded(run(tmp_path, folded, options=both))) == 1
