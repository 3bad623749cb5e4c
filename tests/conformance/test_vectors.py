"""Every conformance vector that needs no worker, and the reference figures beside them."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.aggregation import seen_at
from tests.conformance.directory import Outcome, check_file, vector_files
from tests.conformance.figures import CellFigures, billed_in_full, cells, total
from tests.conformance.files import OWN, VECTORS, Vector, read_vectors
from tests.conformance.scenario import arrivals, fold


def in_files(folder: Path) -> list[Any]:
    """Return each vector as (file, id); collecting the tests runs none of them."""
    return [
        pytest.param(path, vector.id, id=vector.id)
        for path in vector_files(folder)
        if path.name != "api.json"
        for vector in read_vectors(path)
    ]


@cache
def outcomes(path: Path) -> dict[str, Outcome]:
    return {outcome.vector_id: outcome for outcome in check_file(path).outcomes}


@pytest.mark.parametrize(("path", "vector_id"), [*in_files(VECTORS), *in_files(OWN)])
def test_vector(path: Path, vector_id: str) -> None:
    outcome = outcomes(path)[vector_id]
    assert outcome.differences == []
    assert outcome.skipped is None
    assert outcome.unread == ()


def referenced() -> list[Any]:
    """Vectors with figures of the calculator that checked them: more than they expect."""
    return [
        pytest.param(vector, id=vector.id)
        for path in sorted((VECTORS / "aggregation").glob("*.json"))
        for vector in read_vectors(path)
        if "reference" in vector.json
    ]


@pytest.mark.parametrize("vector", referenced())
def test_reference_figures(vector: Vector) -> None:
    events = arrivals(vector)
    checkpoints = vector.json.get("checkpoints")
    reference = vector.json["reference"]
    if checkpoints is None:
        assert_reference(reference, figures(vector, vector.json["period"], events))
        return
    for checkpoint, figures_then in zip(checkpoints, reference, strict=True):
        then = figures(vector, checkpoint["period"], seen_at(checkpoint, events))
        assert_reference(figures_then, then)


def figures(vector: Vector, period: Any, events: Any) -> list[CellFigures]:
    in_use = vector.json.get("mode") == "current_usage"
    found = cells(fold(vector, period, events), current_usage=in_use)
    in_full = vector.json.get("bill_full_amount")
    return [billed_in_full(cell) for cell in found] if in_full else found


def assert_reference(reference: Any, found: list[CellFigures]) -> None:
    for group in reference.get("groups", ()):
        (cell,) = [cell for cell in found if cell.grouped_by == group["grouped_by"]]
        assert_numbers(group, cell.numbers)
    assert_numbers(reference, total(found))


def assert_numbers(reference: Any, numbers: Any) -> None:
    """Weighted sums are given as fractions; the product rounds them up at 20 decimals."""
    for name, text in reference.items():
        if name not in ("groups", "grouped_by", "units_exact", "spells"):
            difference = Fraction(numbers[name]) - Fraction(text)
            assert 0 <= difference < Fraction(1, 10**19), name
