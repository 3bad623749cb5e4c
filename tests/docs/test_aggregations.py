"""The tables of docs/aggregations.md are folded: each figure is what the product shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from app.definitions.aggregation_types import AGGREGATION_TYPES
from tests.world.bodies import Json
from tests.world.story import Story

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "aggregations.md").read_text()
FUTURE = "2024-06-01"
DECIMALS = ("units", "prorated_units", "total_aggregated_units")

Row = dict[str, str]


class Example(NamedTuple):
    """One section: what is defined, what is sent, and what is shown."""

    defined: Json
    events: list[Row]
    figures: list[Row]


def tables(text: str) -> Iterator[list[Row]]:
    """Yield the tables of a text, each as rows by the names of its columns."""
    for found in re.finditer(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        lines = [[c.strip() for c in line[1:-1].split("|")] for line in found[0].splitlines()]
        head, _, *rows = lines
        yield [dict(zip(head, row, strict=True)) for row in rows]


def examples() -> dict[str, Example]:
    found = {}
    for section in PAGE.split("\n## ")[1:]:
        name = section.partition("\n")[0]
        block = re.search(r"```json\n(.*?)```", section, re.DOTALL)
        assert block is not None, name
        events, figures = tables(section)
        found[name] = Example(json.loads(block[1]), events, figures)
    return found


EXAMPLES = examples()


def told(example: Example) -> Story:
    metric = dict(example.defined["metric"])
    story = Story().metric("m", metric.pop("aggregation_type"), **metric)
    story.plan(example.defined.get("charge", {})).subscribe()
    for row in example.events:
        properties = {name: value for name, value in row.items() if name != "event" and value}
        story.send(row["event"], appended=later(example, row), **properties)
    return story


def later(example: Example, row: Row) -> str:
    """Events come in the order of the table, none before the one above it."""
    return max(each["event"] for each in example.events[: example.events.index(row) + 1])


def entry(usage: Json, part: str) -> Json:
    """Return what usage shows of a part: of all, of a filter, of a group, of a filter of one."""
    (charge,) = usage["charges_usage"]
    at: Json = charge
    for step in filter(None, part.split(", ")):
        at = next(
            each for each in (*at.get("grouped_usage", ()), *at["filters"]) if is_of(each, step)
        )
    return at


def is_of(each: Json, step: str) -> bool:
    if "grouped_by" in each:
        return step in [f"{key}: {value or 'none'}" for key, value in each["grouped_by"].items()]
    if each["values"] is None:
        return step == "everything else"
    return step in [f"{key}: {' or '.join(v)}" for key, v in each["values"].items()]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_table_shows_what_is_folded(name: str) -> None:
    example = EXAMPLES[name]
    story = told(example)
    for row in example.figures:
        if "asked on" in row:
            shown = entry(story.usage(row["asked on"]), row.get("of", ""))
        else:
            (shown,) = (
                record
                for record in story.records(FUTURE)
                if record["period"]["from"].startswith(row["record of"])
            )
        figures = {key: shown[key] for key in row if key in DECIMALS}
        assert figures == {key: value for key, value in row.items() if key in DECIMALS}, row
        assert row.get("events", str(shown["events_count"])) == str(shown["events_count"]), row


def test_every_type_has_a_section_and_its_row_says_what_it_may() -> None:
    named = {example.defined["metric"]["aggregation_type"] for example in EXAMPLES.values()}
    assert named == set(AGGREGATION_TYPES)
    rows = next(tables(PAGE))
    assert {
        row["type"]: (row["recurring"], row["prorated"], row["paid in advance"]) for row in rows
    } == {
        f"`{name}`": tuple(
            "yes" if each else "no" for each in (rules.recurring, rules.prorated, rules.in_advance)
        )
        for name, rules in AGGREGATION_TYPES.items()
    }
