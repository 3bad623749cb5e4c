"""A directory of vectors: which check each file gets, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from app.billing_periods.vectors import (
    check_billing_day_vector,
    check_day_count_vector,
    check_period_vector,
)
from app.vectors.aggregation import check_aggregation_vector
from app.vectors.comparison import Difference
from app.vectors.files import Json, Vector, read_vectors

Check = Callable[[Vector], list[Difference]]

API_FILE = "api.json"


class Outcome(NamedTuple):
    """What came of one vector."""

    vector_id: str
    differences: list[Difference]
    skipped: str | None = None
    """Why it was not run."""

    @property
    def passed(self) -> bool:
        """Whether it ran and everything agrees."""
        return self.skipped is None and not self.differences


class FileOutcome(NamedTuple):
    """What came of the vectors of one file, in its order."""

    name: str
    outcomes: list[Outcome]

    @property
    def passed(self) -> int:
        """How many pass."""
        return sum(outcome.passed for outcome in self.outcomes)

    @property
    def skipped(self) -> int:
        """How many were not run."""
        return sum(outcome.skipped is not None for outcome in self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        """Those that ran and differ."""
        return [o for o in self.outcomes if o.differences and o.skipped is None]


def vector_files(directory: Path) -> list[Path]:
    """Every vector file of a directory, aggregations first."""
    return sorted(directory.glob("aggregation/*.json")) + sorted(directory.glob("*.json"))


def check_file(path: Path) -> FileOutcome:
    """Run every vector of one file that needs no worker. Raises `InvalidVectors` or OSError."""
    return FileOutcome(_name(path), list(_outcomes(path)))


def _outcomes(path: Path) -> Iterator[Outcome]:
    check = (
        check_aggregation_vector if path.parent.name == "aggregation" else _CHECKS.get(path.name)
    )
    for vector in read_vectors(path):
        if path.name == API_FILE and check is None:
            yield Outcome(vector.id, [], "needs a running worker; name one with --base-url")
        elif check is None:
            yield Outcome(vector.id, [Difference("file", "a known format", path.name)])
        else:
            yield Outcome(vector.id, _checked(check, vector))


def _checked(check: Check, vector: Vector) -> list[Difference]:
    # A vector that breaks the check must not hide those after it.
    try:
        return check(vector)
    except Exception as error:
        return [Difference("vector", "one that can be run", f"{type(error).__name__}: {error}")]


def _name(path: Path) -> str:
    return f"aggregation/{path.name}" if path.parent.name == "aggregation" else path.name


def _worded(check: Callable[[Json], list[str]]) -> Check:
    def run(vector: Vector) -> list[Difference]:
        expected = str(dict(vector.json["expect"]))
        return [Difference("expect", expected, sentence) for sentence in check(vector.json)]

    return run


_CHECKS: Mapping[str, Check] = {
    "periods.json": _worded(check_period_vector),
    "billing_days.json": _worded(check_billing_day_vector),
    "day_counts.json": _worded(check_day_count_vector),
}
