"""The policy for known vulnerabilities: what fails at once, and what passes for how long."""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "deploy" / "audit.py"
TODAY = date(2026, 11, 22)


@pytest.fixture(scope="module")
def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit"] = module
    spec.loader.exec_module(module)
    return module


def report(name: str, *fixed_in: str) -> dict[str, Any]:
    vulnerability = {"id": "ID-1", "fix_versions": list(fixed_in), "aliases": [], "description": ""}
    return {"dependencies": [{"name": name, "version": "1", "vulns": [vulnerability]}]}


@pytest.mark.parametrize(
    ("name", "fixed_in", "days", "said"),
    [
        ("worker-part", ("2",), 10, "is fixed in 2"),
        ("Worker_part", ("2",), 10, "is fixed in 2"),
        ("worker-part", (), None, "say in audit-exceptions.toml"),
        ("worker-part", (), 10, None),
        ("worker-part", (), -1, "its exception ended"),
        ("worker-part", (), 31, "lasts over 30 days"),
        ("test-part", ("2",), None, "say in audit-exceptions.toml"),
        ("test-part", ("2",), 30, None),
    ],
)
def test_what_fails_and_what_passes(
    audit: Any, name: str, fixed_in: tuple[str, ...], days: int | None, said: str | None
) -> None:
    entries = [] if days is None else [audit.Excepted("ID-1", "why", TODAY + timedelta(days=days))]
    found = audit.found_in(report(name, *fixed_in))
    lines = audit.objections(found, entries, {"meterstream", "worker-part"}, TODAY)
    assert len(lines) == (said is not None)
    assert said is None or said in lines[0]


def test_an_exception_for_nothing_is_told(audit: Any) -> None:
    (line,) = audit.objections([], [audit.Excepted("ID-9", "why", TODAY)], set(), TODAY)
    assert line.startswith("ID-9")


def test_what_could_not_be_looked_up_is_never_fine(
    audit: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps({"dependencies": [{"name": "x", "skip_reason": "unknown"}]}))
    assert audit.main(["--report", str(file)]) == 2
    assert audit.main(["--report", str(tmp_path / "none")]) == 2
    file.write_text(json.dumps(report("redis", "99")))
    assert audit.main(["--report", str(file)]) == 1
    assert "take that" in capsys.readouterr().out


def test_what_a_worker_needs_is_told_from_what_tests_need(audit: Any) -> None:
    runtime = audit.runtime_packages(audit.required_by)
    assert {"aiokafka", "redis", "async-timeout"} <= runtime
    # Others ask for these two as aiohttp_cors and charset_normalizer.
    assert {"aiohttp-cors", "charset-normalizer"} <= runtime
    assert not {"pytest", "hypothesis", "ruff", "trustme"} & runtime


def test_the_exceptions_that_stand_there_are_readable(audit: Any) -> None:
    for entry in audit.exceptions_in((FILE.parent / "audit-exceptions.toml").read_text()):
        assert entry.why
        assert isinstance(entry.until, date)
