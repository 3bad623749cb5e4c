"""docs/reference is what the source says, and no code is without a cause and a cure."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from app.wire.refusals import RefusalCode
from tables.not_counted import Reason
from tests.docs import codes, codes_in_source
from tests.docs.reference import FOLDER, pages

ROOT = Path(__file__).parents[2]
NAMES = ("settings.md", "cli.md", "metrics.md", "codes.md")


@cache
def made() -> dict[str, str]:
    return pages()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_what_the_source_says(name: str) -> None:
    """`python -m tests.docs.reference` writes them anew."""
    assert (FOLDER / name).read_text() == made()[name]


def test_no_other_page_is_there() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(made()) == set(NAMES)


def test_every_code_of_a_dead_letter_has_cause_and_cure() -> None:
    assert codes.DEAD_LETTERS.keys() == set(RefusalCode)


def test_every_reason_not_to_count_has_cause_and_cure() -> None:
    assert codes.NOT_COUNTED.keys() == set(get_args(Reason))


def test_every_code_of_an_answer_has_cause_and_cure() -> None:
    assert codes_in_source.answers() - codes.ANSWERS.keys() == set()
    assert codes_in_source.of_fields() - codes.FIELDS.keys() == set()


def test_no_code_is_told_that_nobody_answers() -> None:
    source = "".join(
        path.read_text()
        for folder in codes_in_source.ANSWERING
        for path in (ROOT / folder).rglob("*.py")
    )
    told = codes.ANSWERS.keys() | codes.FIELDS.keys()
    assert {code for code in told if code not in source} == set()
