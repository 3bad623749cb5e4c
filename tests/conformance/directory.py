"""A directory of vectors: which check each file gets, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.conformance.aggregation import check_aggregation_vector
from tests.conformance.alerts import check_alert_vector
from tests.conformance.comparison import Difference
from tests.conformance.files import Json, Vector, read_vectors
from tests.conformance.keys import (
    AGGREGATION,
    ALERTS,
    BILLING_DAYS,
    DAY_COUNTS,
    LATE,
    PERIODS,
    Known,
    unread,
)
from tests.conformance.late import check_late_vector
from tests.conformance.periods import (
    check_billing_day_vector,
    check_day_count_vector,
    check_period_vector,
)
from tests.conformance.scenario import DecidedOtherwise

Check = Callable[[Vector], list[Difference]]

_API = "api"


class Outcome(NamedTuple):
    """What came of one vector."""

    vector_id: str
    differences: list[Difference]
    skipped: str | None = None
    """Why it was not run."""
    unread: tuple[str, ...] = ()
    """Keys of it that nothing here reads."""

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
    format_ = _format_of(path)
    for vector in read_vectors(path):
        if format_ is None:
            yield Outcome(vector.id, [Difference("file", "a known format", path.name)])
        else:
            check, known = format_
            yield _checked(check, vector)._replace(unread=unread(vector.json, known))


def is_api_file(path: Path) -> bool:
    """Whether it holds vectors of the API."""
    return path.parent.name != "aggregation" and path.stem.startswith(_API)


def _format_of(path: Path) -> tuple[Check, Known] | None:
    """How its vectors are checked; a file may be named for what it adds, as `periods_odd.json`."""
    if path.parent.name == "aggregation":
        return check_aggregation_vector, AGGREGATION
    return next((found for name, found in _CHECKS.items() if path.stem.startswith(name)), None)


def _checked(check: Check, vector: Vector) -> Outcome:
    # A vector that breaks the check must not hide those after it.
    try:
        return Outcome(vector.id, check(vector))
    except DecidedOtherwise as error:
        return Outcome(vector.id, [], str(error))
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        return Outcome(vector.id, [Difference("vector", "one that can be run", told)])


def _name(path: Path) -> str:
    return f"aggregation/{path.name}" if path.parent.name == "aggregation" else path.name


def _worded(check: Callable[[Json], list[str]]) -> Check:
    def run(vector: Vector) -> list[Difference]:
        expected = str(dict(vector.json["expect"]))
        return [Difference("expect", expected, sentence) for sentence in check(vector.json)]

    return run


_CHECKS: Mapping[str, tuple[Check, Known]] = {
    "alerts": (check_alert_vector, ALERTS),
    "periods": (_worded(check_period_vector), PERIODS),
    "billing_days": (_worded(check_billing_day_vector), BILLING_DAYS),
    "day_counts": (_worded(check_day_count_vector), DAY_COUNTS),
    "late": (check_late_vector, LATE),
}
