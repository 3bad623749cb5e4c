"""A type of aggregation is registered twice, and named nowhere else.

Every other law folds all types of the registry: `tests/world/definitions.py` makes a metric for
each.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.definitions.aggregation_types import AGGREGATION_TYPES, NOT_FOR_SALE
from tables.aggregation import Aggregation
from tables.registry import AGGREGATIONS
from tables.unique_count import UniqueCount
from tests.world.definitions import METRICS

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = "app/definitions/aggregation_types.py"
SAMPLES = ("app/cli/demo.py", "app/cli/up.py")
"""They create metrics of their own, as a user would."""

each = pytest.mark.parametrize("name", AGGREGATIONS)
_NAME = re.compile(r"""["']([a-z_]+_agg)["']""")


def test_what_the_api_accepts_is_what_can_be_folded() -> None:
    assert list(AGGREGATIONS) == list(AGGREGATION_TYPES)


@each
def test_the_api_asks_for_what_the_class_uses(name: str) -> None:
    made, allowed = AGGREGATIONS[name], AGGREGATION_TYPES[name]
    assert allowed.needs_field == (made.reads != "nothing")
    assert allowed.numeric == (made.reads == "number")
    assert allowed.over_time == (made.units_so_far is not Aggregation.units_so_far)
    assert allowed.recurring or not allowed.prorated


@each
def test_only_types_with_members_read_operations(name: str) -> None:
    made = AGGREGATIONS[name]
    assert (made.reads == "operation") == issubclass(made, UniqueCount)


@each
def test_every_type_is_in_the_world_of_the_laws(name: str) -> None:
    assert name in {metric["aggregation_type"] for metric in METRICS.values()}


def test_a_type_is_named_where_it_is_registered_and_nowhere_else() -> None:
    places = {
        (found, str(module.relative_to(ROOT)))
        for folder in ("app", "agents", "tables")
        for module in (ROOT / folder).rglob("*.py")
        if str(module.relative_to(ROOT)) not in SAMPLES
        for found in _NAME.findall(module.read_text())
    }
    own = {name: f"{made.__module__.replace('.', '/')}.py" for name, made in AGGREGATIONS.items()}
    accepted = {(name, ACCEPTED) for name in (*AGGREGATION_TYPES, NOT_FOR_SALE)}
    assert places == accepted | set(own.items())
