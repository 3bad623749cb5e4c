"""docs/GLOSSARY.md and docs/ARCHITECTURE.md name places in the source: each of them exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = (ROOT / "docs" / "GLOSSARY.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
PLACE = re.compile(r"`((?:app|agents|tables)/[\w/]+\.py):([\w.]+)`")
PLACES = sorted({match for page in (GLOSSARY, ARCHITECTURE) for match in PLACE.findall(page)})
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in GLOSSARY.splitlines()
    if line.startswith("|")
][2:]
PACKAGES = ("app", "agents", "tables")


def defined(body: Iterable[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Names of functions, classes and variables; those of a class behind its name."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name, body=inner):
                yield prefix + name
                yield from defined(inner, f"{prefix}{name}.")
            case ast.Assign(targets=targets):
                yield from (prefix + each.id for each in targets if isinstance(each, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name
            case _:
                pass


@cache
def names_of(path: str) -> frozenset[str]:
    """What a module defines; nothing where there is no such module."""
    module = ROOT / path
    if not module.is_file():
        return frozenset()
    return frozenset(defined(ast.parse(module.read_text()).body))


@pytest.mark.parametrize(("path", "name"), PLACES, ids=map(":".join, PLACES))
def test_a_place_that_is_named_is_there(path: str, name: str) -> None:
    assert name in names_of(path)


def test_both_pages_name_places() -> None:
    assert len(PLACE.findall(GLOSSARY)) >= 40
    assert len(PLACE.findall(ARCHITECTURE)) >= 20


def test_a_word_has_a_meaning_a_place_and_a_difference() -> None:
    words = [row[0] for row in ROWS]
    assert words == sorted(set(words))
    for word, meaning, place, difference in ROWS:
        assert meaning.endswith("."), word
        assert len(PLACE.findall(place)) == 1, word
        assert difference.startswith("not "), word


def test_every_package_has_its_sentence() -> None:
    """The table tells the same as the packages: what lives there, and what it may import."""
    rows = re.findall(r"^\| `([\w/]+)` \| (.+\.) \| (.+\.) \|$", ARCHITECTURE, re.MULTILINE)
    found = {
        str(module.parent.relative_to(ROOT)): " ".join(
            (ast.get_docstring(ast.parse(module.read_text())) or "").split()
        )
        for package in PACKAGES
        for module in (ROOT / package).rglob("__init__.py")
    }
    assert {name for name, _, _ in rows} == found.keys()
    assert [n for n, lives, may in rows if not found[n].startswith(f"{lives} {may}")] == []
