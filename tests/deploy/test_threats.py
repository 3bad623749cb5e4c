"""docs/THREATS.md names limits, settings and tests: all of them exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.bounds import limits
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "THREATS.md").read_text()
NAMED = sorted(set(re.findall(r"`([^`\n]+)`", PAGE)))
TESTS = [each for each in NAMED if "::" in each]
SETTINGS = [each for each in NAMED if re.fullmatch(r"METER_[A-Z_]*[A-Z]", each)]
LIMITS = [each for each in NAMED if re.fullmatch(r"[A-Z]+(_[A-Z]+)*", each)]
LIMITS = [each for each in LIMITS if each not in SETTINGS]
WHO = (
    "Nobody's key",
    "Read key",
    "Write key",
    "Operator key",
    "Producer",
    "Writer to an internal topic",
    "Consumer",
    "Redis",
    "Disk",
    "A mistaken operator",
)


@pytest.mark.parametrize("named", TESTS)
def test_a_test_that_is_named_is_there(named: str) -> None:
    path, _, function = named.partition("::")
    assert re.search(rf"^(async )?def {function}\(", (ROOT / path).read_text(), re.MULTILINE)


@pytest.mark.parametrize("named", SETTINGS)
def test_a_setting_that_is_named_is_there(named: str) -> None:
    assert named.removeprefix("METER_").lower() in Settings.model_fields


@pytest.mark.parametrize("named", LIMITS)
def test_a_limit_that_is_named_is_there(named: str) -> None:
    assert hasattr(limits, named)


def test_every_kind_of_attacker_has_a_row_with_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    for who in WHO:
        (row,) = [row for row in rows if f"**{who}**" in row]
        assert "::test_" in row, who
    assert len(LIMITS) > 30
    assert len(SETTINGS) > 8
    assert len(TESTS) > 40


def test_every_family_of_attacks_is_on_the_page() -> None:
    kit = {"test_quiet.py"}
    files = {each.name for each in (ROOT / "tests" / "attacks").glob("test_*.py")} - kit
    assert {each for each in files if f"tests/attacks/{each}::" not in PAGE} == set()


def test_paths_of_the_security_page_exist() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    for named in re.findall(r"`((?:deploy|docs|tests)/[\w./-]+|constraints\.txt)`", page):
        assert (ROOT / named).exists(), named
