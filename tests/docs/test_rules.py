"""docs/rules: every section names a test that shows it, and every test that is named is there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "rules").glob("*.md"))
HEADING = re.compile(r"^#{2,6} (?=\d)", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def page_of(page: Path) -> str:
    return page.stem


@cache
def functions_of(path: str) -> frozenset[str]:
    """Names of the functions of a module; none where there is no such module."""
    module = ROOT / path
    text = module.read_text() if module.is_file() else ""
    return frozenset(re.findall(r"^(?:async )?def (\w+)\(", text, re.MULTILINE))


def sections(text: str) -> list[str]:
    """The numbered sections of a page, without those that only lead to sections of their own."""
    starts = [*HEADING.finditer(text)]
    ends = [start.start() for start in starts[1:]] + [len(text)]
    levels = [len(start[0].strip()) for start in starts] + [0]
    return [
        text[start.end() : end]
        for start, end, level, following in zip(starts, ends, levels, levels[1:], strict=False)
        if following <= level
    ]


def test_there_are_pages() -> None:
    assert {"billing-periods", "metering-semantics", "stream-engine"} <= set(map(page_of, PAGES))


@pytest.mark.parametrize("page", PAGES, ids=page_of)
def test_named_tests_are_there(page: Path) -> None:
    named = NAMED.findall(page.read_text())
    assert named
    assert [f"{path}::{name}" for path, name in named if name not in functions_of(path)] == []


@pytest.mark.parametrize("page", PAGES, ids=page_of)
def test_every_section_names_a_test(page: Path) -> None:
    without = [
        each.splitlines()[0] for each in sections(page.read_text()) if not NAMED.search(each)
    ]
    assert without == []
