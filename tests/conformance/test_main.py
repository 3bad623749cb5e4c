"""The command `python -m tests.conformance`: what it counts, what it tells, how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.errors import StackError
from tests.conformance.__main__ import conformance

VECTOR: dict[str, Any] = {
    "id": "sum-1",
    "metric": {"code": "m", "aggregation_type": "sum_agg", "field_name": "v"},
    "subscription": {"external_id": "sub_1", "started_at": "2024-03-01T00:00:00Z"},
    "period": {"from": "2024-03-01T00:00:00Z", "to": "2024-03-31T23:59:59.999Z"},
    "events": [
        {"transaction_id": "a", "timestamp": "2024-03-02T00:00:00Z", "properties": {"v": 1.5}}
    ],
    "expect": {"units": "1.5"},
}


def directory(tmp_path: Path, *vectors: Any) -> str:
    (tmp_path / "aggregation").mkdir()
    (tmp_path / "aggregation" / "mine.json").write_text(json.dumps(vectors))
    return str(tmp_path)


def test_all_pass(tmp_path: Path) -> None:
    result = CliRunner().invoke(conformance, [directory(tmp_path, VECTOR)])
    assert result.exit_code == 0
    assert result.stdout == "aggregation/mine.json: 1 of 1 pass\n1 of 1 pass\n"


def test_a_difference_names_vector_field_and_both_values(tmp_path: Path) -> None:
    wrong = {**VECTOR, "id": "sum-2", "expect": {"units": "2", "fee": "1"}}
    result = CliRunner().invoke(conformance, [directory(tmp_path, VECTOR, wrong)])
    assert result.exit_code == 1
    assert "  sum-2: units: expected 2, got 1.5\n" in result.stdout
    assert "  sum-2: fee: expected 1, got nothing that is computed here\n" in result.stdout
    assert "1 of 2 pass\n" in result.stdout


def test_a_key_that_nothing_reads_is_told(tmp_path: Path) -> None:
    odd = {**VECTOR, "id": "sum-2", "charge": {"tiered": True}, "weather": {"sun": 1}}
    result = CliRunner().invoke(conformance, [directory(tmp_path, VECTOR, odd)])
    assert result.exit_code == 0
    assert "  1 have charge.tiered, which nothing here reads (sum-2)\n" in result.stdout
    assert "  1 have weather, which nothing here reads (sum-2)\n" in result.stdout
    assert "2 of 2 pass\n" in result.stdout


def test_what_was_decided_otherwise_is_not_run(tmp_path: Path) -> None:
    replacing = {**VECTOR, "dedup": "replace_same_timestamp"}
    result = CliRunner().invoke(conformance, [directory(tmp_path, replacing)])
    assert result.exit_code == 0
    assert "1 not run: dedup replace_same_timestamp: here the first event" in result.stdout


@pytest.mark.parametrize(
    ("name", "vector"),
    [
        pytest.param(
            "day_counts_odd.json",
            {
                "timezone": "Australia/Lord_Howe",
                "from": "2024-04-06T13:00:00Z",
                "to": "2024-04-07T13:29:59Z",
                "expect": {"days": 1},
            },
            id="day-counts",
        ),
        pytest.param(
            "periods_odd.json",
            {
                "interval": "monthly",
                "billing_time": "calendar",
                "timezone": "UTC",
                "subscription_at": "2024-01-01T00:00:00Z",
                "billing_at": "2024-02-01T00:00:00Z",
                "expect": {"charges_duration_in_days": 31, "charges_from_datetime": None},
            },
            id="periods",
        ),
    ],
)
def test_a_file_may_be_named_for_what_it_adds(tmp_path: Path, name: str, vector: Any) -> None:
    (tmp_path / name).write_text(json.dumps([{"id": "odd", **vector}]))
    result = CliRunner().invoke(conformance, [str(tmp_path)])
    assert "1 of 1 pass\n" in result.stdout, result.stdout


def test_json(tmp_path: Path) -> None:
    wrong = {**VECTOR, "mode": "pricing"}
    result = CliRunner().invoke(conformance, ["--json", directory(tmp_path, wrong)])
    assert result.exit_code == 1
    (file,) = json.loads(result.stdout)
    (failed,) = file["failed"]
    assert failed["id"] == "sum-1"
    assert failed["differences"][0]["field"] == "mode"
    assert file["unread"] == []


def test_a_file_of_no_known_format(tmp_path: Path) -> None:
    (tmp_path / "unheard_of.json").write_text('[{"id": "x-1"}]')
    result = CliRunner().invoke(conformance, [str(tmp_path)])
    assert "a known format" in result.stdout
    assert "0 of 1 pass" in result.stdout
    assert result.exit_code == 1


@pytest.mark.servers
@pytest.mark.slow
def test_a_worker_is_started_for_the_api(tmp_path: Path) -> None:
    request = {"method": "GET", "path": "/api/v1/billable_metrics/none"}
    right = {"id": "api-1", "request": request, "expect": {"status": 404}}
    wrong = {"id": "api-2", "request": request, "expect": {"status": 200}}
    (tmp_path / "api.json").write_text(json.dumps([right, wrong]))
    result = CliRunner().invoke(conformance, [directory(tmp_path, VECTOR)])
    assert result.exit_code == 1
    assert "live api.json: 1 of 2 pass" in result.stdout
    assert "  api-2: answer: expected as in expect, got status: 404, expected 200" in result.stdout
    assert "2 of 3 pass" in result.stdout


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "periods.json").write_text("[{")
    result = CliRunner().invoke(conformance, [directory(tmp_path, VECTOR)])
    assert result.exit_code == 1
    assert "periods.json: file: expected a list of vectors, got periods.json: " in result.stdout
    assert "1 of 2 pass" in result.stdout


def test_an_empty_directory(tmp_path: Path) -> None:
    result = CliRunner().invoke(conformance, [str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no vectors" in result.stderr


def test_servers_that_do_not_start_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_servers(_: object) -> None:
        raise StackError("no Java is found")

    monkeypatch.setattr("tests.conformance.__main__.check_live", no_servers)
    result = CliRunner().invoke(conformance, ["--live", directory(tmp_path, VECTOR)])
    assert result.exit_code == 1
    assert "1 of 1 pass" in result.stdout
    assert "Error: no Java is found" in result.stderr


@pytest.mark.servers
@pytest.mark.slow
def test_live(tmp_path: Path) -> None:
    wrong = {**VECTOR, "id": "sum-2", "expect": {"units": "2"}}
    offline = {**VECTOR, "id": "sum-3", "ignore_filters": [{"v": ["2"]}]}
    arguments = ["--live", directory(tmp_path, VECTOR, wrong, offline)]
    result = CliRunner().invoke(conformance, arguments)
    assert result.exit_code == 1
    assert "live aggregation/mine.json: 1 of 3 pass, 1 not run\n" in result.stdout
    assert "  sum-2: usage units: expected 2, got 1.5\n" in result.stdout
    assert "  sum-2: records units: expected 2, got 1.5\n" in result.stdout
    assert (
        "  1 not run: ignore_filters asks for something that no plan has (sum-3)\n" in result.stdout
    )


CALLS: dict[str, Any] = {
    "id": "late-1",
    "definitions": [
        {
            "_append_time": "2024-01-01T00:00:00Z",
            "method": "POST",
            "path": "/api/v1/billable_metrics",
            "body": {
                "billable_metric": {
                    "name": "calls",
                    "code": "calls",
                    "aggregation_type": "count_agg",
                }
            },
        },
        {
            "_append_time": "2024-01-01T00:00:00Z",
            "method": "POST",
            "path": "/api/v1/plans",
            "body": {
                "plan": {
                    "name": "p",
                    "code": "p",
                    "interval": "monthly",
                    "amount_cents": 0,
                    "amount_currency": "EUR",
                    "pay_in_advance": False,
                    "charges": [{"billable_metric_code": "calls", "charge_model": "standard"}],
                }
            },
        },
        {
            "_append_time": "2024-01-01T00:00:00Z",
            "method": "POST",
            "path": "/api/v1/subscriptions",
            "body": {
                "subscription": {
                    "external_customer_id": "c",
                    "plan_code": "p",
                    "external_id": "sub",
                }
            },
        },
    ],
    "events": [
        {
            "_append_time": "2024-01-02T00:00:00Z",
            "external_subscription_id": "sub",
            "transaction_id": "a",
            "code": "calls",
        },
        {
            "_append_time": "2024-04-02T00:00:00Z",
            "external_subscription_id": "sub",
            "transaction_id": "b",
            "code": "calls",
            "timestamp": "2024-01-03T00:00:00Z",
        },
    ],
    "at": "2024-02-02T00:00:00Z",
    "expect": {
        "records": [
            {
                "code": "calls",
                "from": "2024-01-01T00:00:00Z",
                "units": "1",
                "closed_at": "2024-02-01T00:00:00.000Z",
            }
        ],
        "completions": [{"from": "2024-01-01T00:00:00Z", "records_count": 1}],
        "refused": [],
        "usage": [{"code": "calls", "units": "0"}],
    },
}


def test_two_logs_come_to_the_records_that_are_expected(tmp_path: Path) -> None:
    later = {**CALLS, "id": "late-2", "at": "2024-04-03T00:00:00Z"}
    (tmp_path / "late.json").write_text(json.dumps([CALLS, later]))
    result = CliRunner().invoke(conformance, [str(tmp_path)])
    assert "1 of 2 pass\n" in result.stdout
    assert (
        "completions: expected nothing more, got {'from': '2024-02-01T00:00:00Z'" in result.stdout
    )
    assert (
        "refused: expected nothing more, got {'transaction_id': 'b', 'code': 'too_late'}"
        in result.stdout
    )


def test_a_request_that_is_refused_is_told(tmp_path: Path) -> None:
    twice = [*CALLS["definitions"], CALLS["definitions"][0]]
    (tmp_path / "late.json").write_text(json.dumps([{**CALLS, "definitions": twice}]))
    result = CliRunner().invoke(conformance, [str(tmp_path)])
    assert "CannotRun: POST /api/v1/billable_metrics: 422" in result.stdout
