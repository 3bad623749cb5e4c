"""docs/reference is what the source says, and no code is without a cause and a cure."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from app.api.record_schemas import InstantRecord, PeriodCompleted, UsageRecord
from app.definitions.model import ClosingReason
from app.page.causes import DEAD_LETTERS, NOT_COUNTED
from app.webhooks.reasons import Reason as GivenUp
from app.wire.refusals import RefusalCode
from tables.not_counted import Reason
from tests.docs import codes, codes_in_source, fields
from tests.docs.reference import FOLDER, RECORDS, marked, pages

ROOT = Path(__file__).parents[2]
NAMES = ("settings.md", "cli.md", "metrics.md", "codes.md")


@cache
def made() -> dict[str, str]:
    return pages()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_what_the_source_says(name: str) -> None:
    """`python -m tests.docs.reference` writes them anew."""
    assert (FOLDER / name).read_text() == made()[name]


def test_the_tables_of_records_are_what_the_models_say() -> None:
    """`python -m tests.docs.reference` writes them anew."""
    page = RECORDS.read_text()
    assert page.count("<!-- made: ") == page.count("<!-- end -->") == 5
    assert page == marked(page)


@pytest.mark.parametrize(
    ("told", "model"),
    [
        (fields.USAGE_RECORD, UsageRecord),
        (fields.PERIOD_COMPLETED, PeriodCompleted),
        (fields.INSTANT_RECORD, InstantRecord),
    ],
)
def test_every_field_of_a_record_is_told(
    told: dict[str, fields.Told], model: type[BaseModel]
) -> None:
    properties = model.model_json_schema()["properties"]
    assert told.keys() == properties.keys()
    nullable = {
        name for name, schema in properties.items() if {"type": "null"} in schema.get("anyOf", ())
    }
    assert {name for name, each in told.items() if each.null} == nullable


def test_every_reason_is_told() -> None:
    assert fields.CLOSING_REASONS.keys() == set(get_args(ClosingReason))
    schema = UsageRecord.model_json_schema()["properties"]["revision_reason"]
    assert fields.REVISION_REASONS.keys() == set(schema["anyOf"][0]["enum"])


def test_no_other_page_is_there() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(made()) == set(NAMES)


def test_every_code_of_a_dead_letter_has_cause_and_cure() -> None:
    assert DEAD_LETTERS.keys() == set(RefusalCode)


def test_every_reason_not_to_count_has_cause_and_cure() -> None:
    assert NOT_COUNTED.keys() == set(get_args(Reason))


def test_every_reason_of_a_webhook_has_cause_and_cure() -> None:
    assert codes.WEBHOOKS.keys() == set(GivenUp)


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
