"""Whatever comments, tests and pages cite is there: sections and rows of docs/rules, links, tests.

What the pages of the rules name as tests: `test_rules`.

A section is cited with the name of its page, as in records-and-cuts §4. In a page of the rules a §
without a name means that page. Rows are cited as faults F5 and bounded-work H8.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest

from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "docs" / "rules"
PAGES = (
    "billing-periods",
    "bounded-work",
    "deviations",
    "faults",
    "metering-semantics",
    "records-and-cuts",
    "state",
    "stream-engine",
)
"""Pages of the rules; each has to be there."""

FOLDERS = ("agents", "app", "bench", "deploy", "docs", "tables", "tests")

SUFFIXES = (".py", ".md", ".toml", ".yml", ".yaml", "Makefile")
"""Of files that may cite."""

LINKING = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "docs/*.md", "docs/rules/*.md")
"""Pages whose links and tests are looked up."""

_NAMES = "|".join(PAGES)
_NUMBER = r"§\d+(?:\.\d+)*"
_FURTHER = r"(?:\s*(?:,|\band\b|\bto\b|-)\s*)"
_CITED = re.compile(rf"{_NUMBER}(?:{_FURTHER}{_NUMBER})*")
_NAMED = re.compile(rf"(?:^|[^\w-])(?P<page>{_NAMES})(?:\.md)?[`)]*\s+$")
"""What stands before a citation that names its page."""
_OTHERS = re.compile(rf"\bRFC\s+\d+\s+{_CITED.pattern}")
"""Sections of documents that are not ours."""
_ROW = r"[A-Z]\d{1,2}"
_ROWS = re.compile(
    rf"\b(?P<page>faults|bounded-work)(?:\.md)?(?:\s+{_NUMBER})?\s+"
    rf"(?P<rows>{_ROW}(?:{_FURTHER}{_ROW})*)\b"
)
_HEADING = re.compile(r"^(?P<level>#+)\s+(?P<text>.+?)\s*$", re.MULTILINE)
_SECTION = re.compile(r"^(\d+(?:\.\d+)*)\.?\s")
_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_TEST = re.compile(r"`(?P<path>tests/[\w/.-]+\.py)::(?P<name>\w+)`")


class Citation(NamedTuple):
    """A section that something cites."""

    page: str
    """Empty: none is named."""
    section: str


def citations(text: str, page: str = "") -> Iterator[Citation]:
    """The sections that a text cites; `page`: the page of the rules that it is."""
    text = _OTHERS.sub("", _joined(text))
    for cited in _CITED.finditer(text):
        named = _NAMED.search(text, max(0, cited.start() - 80), cited.start())
        for number in re.findall(_NUMBER, cited[0]):
            yield Citation(named["page"] if named else page, number.removeprefix("§"))


def rows_cited(text: str) -> Iterator[tuple[str, str]]:
    """Page and row of each that a text cites."""
    for cited in _ROWS.finditer(_joined(text)):
        for row in re.findall(_ROW, cited["rows"]):
            yield cited["page"], row


def _joined(text: str) -> str:
    """A citation may go on in the next line of a comment, a docstring or a page."""
    return re.sub(r"\s*\n\s*(?:#(?!#)\s*)?", " ", text)


def files() -> Iterator[Path]:
    """The project's own, whatever lies beside them."""
    yield from (each for each in ROOT.iterdir() if each.is_file())
    for folder in FOLDERS:
        yield from (each for each in (ROOT / folder).rglob("*") if each.is_file())


NAMES = sorted(each.relative_to(ROOT).as_posix() for each in files())
CITING = [name for name in NAMES if name.endswith(SUFFIXES)]
PROSE = [name for name in NAMES if any(Path(name).match(each) for each in LINKING)]


@cache
def headings(path: Path) -> tuple[str, ...]:
    """Texts of a page's headings; lines of its examples are none."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return tuple(found["text"] for found in _HEADING.finditer(text))


@cache
def sections(page: str) -> frozenset[str]:
    """Numbers of a page's headings."""
    path = RULES / f"{page}.md"
    found = [_SECTION.match(text) for text in headings(path)] if path.exists() else []
    return frozenset(each[1] for each in found if each)


@cache
def rows(page: str) -> frozenset[str]:
    """Names of a page's rows."""
    text = (RULES / f"{page}.md").read_text()
    return frozenset(re.findall(rf"^\| ({_ROW}) \|", text, re.MULTILINE))


@cache
def anchors(path: Path) -> frozenset[str]:
    """What may stand behind # in a link to a page."""
    found: Counter[str] = Counter()
    for text in headings(path):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).lower()
        found[re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")] += 1
    again = (f"{slug}-{n}" for slug, count in found.items() for n in range(1, count))
    return frozenset([*found, *again])


@cache
def functions(path: Path) -> frozenset[str]:
    """Names of a module's functions."""
    body = ast.parse(path.read_text()).body
    return frozenset(
        each.name for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@cache
def constants() -> frozenset[str]:
    """Names in capitals of the product, and of the faults that are simulated."""
    modules = [each for each in NAMES if re.match(r"(app|agents|tables)/.*\.py$", each)]
    texts = [(ROOT / each).read_text() for each in [*modules, "tests/simulation/steps.py"]]
    return frozenset(
        name
        for text in texts
        for name in re.findall(r"^ *([A-Z][A-Z0-9_]*)(?:: [^=\n]+)? = ", text, re.MULTILINE)
    )


def page_of(name: str) -> str:
    """The page of the rules that a file is; empty: none."""
    path = ROOT / name
    return path.stem if path.parent == RULES else ""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_the_rules_is_there_and_named(page: str) -> None:
    assert (RULES / f"{page}.md").is_file()


def test_there_is_no_other_page() -> None:
    assert {path.stem for path in RULES.glob("*.md")} <= set(PAGES)


def test_whatever_is_cited_is_a_heading() -> None:
    wrong = {
        f"{name}: {cited.page or 'no page'} §{cited.section}"
        for name in CITING
        for cited in citations((ROOT / name).read_text(), page_of(name))
        if cited.section not in sections(cited.page)
    }
    assert wrong == set()


def test_whatever_row_is_cited_is_there() -> None:
    wrong = {
        f"{name}: {page} {row}"
        for name in CITING
        for page, row in rows_cited((ROOT / name).read_text())
        if row not in rows(page)
    }
    assert wrong == set()


@pytest.mark.parametrize("name", PROSE)
def test_links_lead_somewhere(name: str) -> None:
    here, wrong = ROOT / name, []
    for link in _LINK.finditer(re.sub(r"`[^`\n]*`", "", here.read_text())):
        target = link["target"]
        if re.match(r"[a-z]+:", target):
            continue
        path_text, _, anchor = target.partition("#")
        path = (here.parent / unquote(path_text)).resolve() if path_text else here
        inside = path == ROOT or ROOT in path.parents
        if not (inside and path.exists()) or (anchor and anchor not in anchors(path)):
            wrong.append(target)
    assert wrong == []


@pytest.mark.parametrize("name", [name for name in PROSE if not page_of(name)])
def test_tests_that_are_named_are_there(name: str) -> None:
    wrong = [
        f"{named['path']}::{named['name']}"
        for named in _TEST.finditer((ROOT / name).read_text())
        if not (ROOT / named["path"]).is_file()
        or named["name"] not in functions(ROOT / named["path"])
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_limits_and_settings_that_are_named_are_there(page: str) -> None:
    named = set(
        re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`", (RULES / f"{page}.md").read_text())
    )
    settings = {f"METER_{name.upper()}" for name in Settings.model_fields}
    assert named - settings - constants() == set()


# How a citation is read; § is spelled by its number, or these lines would cite as well.
SIGN = "\N{SECTION SIGN}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"(state {SIGN}3)", [("state", "3")]),
        (f"state.md {SIGN}3-{SIGN}4", [("state", "3"), ("state", "4")]),
        (f"`state` {SIGN}3 to {SIGN}5", [("state", "3"), ("state", "5")]),
        (
            f"see records-and-cuts {SIGN}2, {SIGN}4 and state {SIGN}7.",
            [("records-and-cuts", "2"), ("records-and-cuts", "4"), ("state", "7")],
        ),
        (f"# as bounded-work\n    # {SIGN}2.2 has it", [("bounded-work", "2.2")]),
        (f"[state](state.md) {SIGN}1", [("state", "1")]),
        (f"by {SIGN}1.4", [("", "1.4")]),
        (f"({SIGN}1.4)", [("", "1.4")]),
        (f"{SIGN}4.1", [("", "4.1")]),
        (f"a restate {SIGN}1", [("", "1")]),
        (f"a page that is not there: product {SIGN}2", [("", "2")]),
        (f"RFC 6749 {SIGN}4.4", []),
    ],
)
def test_citations_are_read(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(citations(text)) == expected


def test_rows_are_read() -> None:
    text = "(faults F5, F6), bounded-work C1, H9 and\n    M20; not C3"
    expected = [("faults", "F5"), ("faults", "F6")]
    expected += [("bounded-work", row) for row in ("C1", "H9", "M20")]
    assert list(rows_cited(text)) == expected
