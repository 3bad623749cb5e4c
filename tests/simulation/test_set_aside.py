"""What no fold gets to the end of: named by the owner that follows, and passed by every fold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from app.definitions.log import apply
from app.definitions.state import Definitions
from app.kafka.topics import METER_DEFINITIONS
from app.wire.arrivals import Arrival
from tests.simulation.check import Outcome
from tests.simulation.play import play
from tests.simulation.script import Event, Pass, Script, Several, Step
from tests.simulation.test_simulation import base, used
from tests.world.clock import HOUR_MS, WEEK_MS
from tests.world.folding import look_before_folding

POISON = "poison"


@pytest.fixture(autouse=True)
def _planted() -> Iterator[None]:
    """A defect: folding one event raises."""

    def look(arrival: Arrival) -> None:
        if arrival.event.transaction_id.startswith(POISON):
            raise ZeroDivisionError("no fold ends")

    with look_before_folding(look):
        yield


def played(steps: Iterable[Step], seed: int) -> Outcome:
    pauses = [Pass(1, WEEK_MS), Pass(WEEK_MS, WEEK_MS), Pass(HOUR_MS)]
    return play(Script(2, 2, [*base(), *steps, *pauses, used("last", 1)]), seed)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("place", [0, 1])
def test_an_event_is_set_aside_and_the_others_count(place: int, seed: int) -> None:
    """At its home, or forwarded there."""
    steps = [used("a", place), used(POISON, place), used("b", place), used("c", 1 - place)]
    outcome = played(steps, seed)
    assert outcome.check() == []
    (one,) = listed(outcome)
    assert (one.partition, one.index) == (place, 0)
    assert "no fold ends" in one.message
    (letter,) = letters(outcome)
    assert letter["meter-error-code"] == b"set_aside"
    assert int(letter["meter-source-offset"] or b"") == one.offset


@pytest.mark.parametrize("seed", range(4))
def test_of_an_array_only_what_fails_is_set_aside(seed: int) -> None:
    elements = (used("a", 0), used(POISON, 0), used("b", 0), used(f"{POISON}2", 0))
    outcome = played([Several(elements)], seed)
    assert outcome.check() == []
    assert [one.index for one in listed(outcome)] == [1, 3]


def test_what_no_changelog_takes_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tables.partition.snapshot.CHANGELOG_RECORD_BYTES", 1_000)

    def seat(name: str, text: str) -> Event:
        return Event("seats", name, 0, properties={"u": text}, place=0)

    outcome = played([seat("a", "a"), seat("large", "x" * 1_000), seat("b", "b")], 0)
    assert outcome.check() == []
    (one,) = listed(outcome)
    assert "TooLargeForChangelog" in one.message
    assert [letter["meter-error-code"] for letter in letters(outcome)] == [b"set_aside"]


def listed(outcome: Outcome) -> list[Any]:
    definitions = Definitions()
    for entry in outcome.broker.log(METER_DEFINITIONS).entries:
        apply(definitions, entry.value, entry.timestamp, entry.offset)
    return definitions.set_asides.listed()


def letters(outcome: Outcome) -> list[dict[str, bytes | None]]:
    return [
        dict(entry.headers)
        for number in range(outcome.partitions)
        for entry in outcome.broker.log("events-dead-letter", number).entries
    ]
