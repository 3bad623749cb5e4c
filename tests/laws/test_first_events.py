"""Laws of the straight way: first events take it once their routes are compiled.

That they are folded as whoever looks at each closely is a law of `test_straight`, and one here of
the implicit plan.
"""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.log import apply
from app.definitions.outcome import Applied
from app.wire.arrivals import runs_of
from app.wire.refusals import MAX_EVENT_AHEAD_MS
from tests.laws.test_straight import APART, PLAIN, Close, counting, play, same, with_ids_once
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    changing_definitions,
    definitions_of,
    lines,
)
from tests.world.events import arrivals, arrived, slices
from tests.world.partition import Live
from tests.world.profiles import examples

IMPLICIT = commands.set_settings(replace(SETTINGS, implicit_plan=True))
STRANGER = "stranger"
"""Nobody defines a subscription under it."""


def with_implicit_plan(definitions: list[CommandAt]) -> list[CommandAt]:
    """Return definitions after settings that have an implicit plan."""
    (settings, *others) = [(line.append_time_ms, line.command) for line in definitions]
    return lines([(settings[0], IMPLICIT), *others])


def test_the_first_event_of_a_cell_goes_straight_once_its_route_is_compiled() -> None:
    """Also after a rest, beside the events that the cell has."""
    live = Live(definitions_of([*PLAIN, *APART]))
    live.define_all()
    for number in range(2):
        for code in (*PLAIN, *APART):
            name = f"{code}{number}"
            live.deliver([arrived(code, number, START_MS, transaction_id=name, u="a", v="1")])
        live.flush()
        live.partition.packing.pack((ORG, SUBSCRIPTION))
    assert (live.straight, live.first) == (0, 2 * len(PLAIN))
    assert {cuts[0][1][0] for _, cuts in live.cells().values()} == {2}


def test_the_first_event_of_a_later_period_goes_straight() -> None:
    """One of an earlier period that comes after it does not, and leads it nowhere else."""
    live = Live(definitions_of(PLAIN))
    live.define_all()
    weeks = [0, 0, 1, 1, 0, 1, 3]
    for number, week in enumerate(weeks):
        live.deliver(
            [
                arrived(code, n, START_MS + week * WEEK_MS, START_MS + n, u="a", v="1")
                for n, code in enumerate(PLAIN, number * len(PLAIN))
            ]
        )
    first = sum(number == weeks.index(week) for number, week in enumerate(weeks))
    assert (live.straight, live.first) == (3 * len(PLAIN), first * len(PLAIN))
    counts = sorted(cuts[0][1][0] for _, cuts in live.cells().values())
    assert counts == sorted(len(PLAIN) * [weeks.count(week) for week in set(weeks)])


@pytest.mark.parametrize("code", PLAIN)
def test_events_of_the_implicit_plan_go_straight(code: str) -> None:
    live = Live(with_implicit_plan(definitions_of(PLAIN)))
    live.define_all()
    for number in range(3):
        live.deliver([arrived(code, number, START_MS, external_id=STRANGER, u="a", v="1")])
    assert (live.straight, live.first) == (2, 1)


@examples(80)
@given(st.data())
def test_straight_is_closely_of_the_implicit_plan(data: st.DataObject) -> None:
    """Also of one whose subscription is defined later."""
    definitions = with_implicit_plan(data.draw(changing_definitions([*PLAIN, *APART])))
    names = [data.draw(st.sampled_from([SUBSCRIPTION, STRANGER]))]
    events = data.draw(arrivals([*PLAIN, *APART], ids=20, max_events=30, external_ids=names))
    batches = data.draw(slices(events))
    lives = Live(definitions), Close(definitions)
    for batch in chain.from_iterable(map(with_ids_once, batches)):
        defined, restarts = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 5)))
        for live in lives:
            play(live, batch, defined, closes=False, restarts=restarts == 0)
    same(*lives)


@pytest.mark.parametrize("value", [None, "1"], ids=["no value", "known id"])
def test_a_first_event_that_is_not_folded_leaves_no_cell(value: str | None) -> None:
    live = Live(definitions_of(["count", "max"]))
    live.define_all()
    live.deliver([arrived("count", 0, START_MS, transaction_id="t0")])
    name = "t0" if value else "t1"
    odd = arrived("max", 1, START_MS, transaction_id=name, v=value)
    assert live.fold_first(runs_of([odd])) == runs_of([odd])
    route = live.partition.routes.by_key[odd.meter_key]
    # Nobody would ask whether definitions outdated it.
    assert (route.bounds, route.cell) == (b"", None)
    assert [layer.cells for span in route.spans for layer in span.layers.values()] == [{}]
    live.deliver([odd])
    assert len(live.cells()) == 1


def test_a_first_event_after_a_start_has_its_member_learnt_before() -> None:
    live = Live(definitions_of(["heads"]))
    live.define_all()
    first, second = (arrived("heads", n, START_MS, transaction_id=f"t{n}", u="a") for n in range(2))
    live.deliver([first])
    live.flush()
    live.restart()
    assert live.fold_first(runs_of([second])) == runs_of([second])
    assert live.partition.missing_members(runs_of([second]))


def test_first_events_ask_the_newest_periods_whether_they_are_taken() -> None:
    """Also while a route is made as its cells were folded, for nobody has looked at it since."""
    live = Live(definitions_of(["count"]))
    live.define_all()
    for number in range(2):
        live.deliver([arrived("count", number, START_MS, transaction_id=f"t{number}")])
        live.flush()
        live.partition.packing.pack((ORG, SUBSCRIPTION))
    assert live.first == 2
    at_ms = START_MS + HOUR_MS
    ended = commands.terminate_subscription(ORG, SUBSCRIPTION).encode()
    told = apply(live.definitions, ended, at_ms, live.definitions.offset)
    assert isinstance(told, Applied)
    assert told.impact is not None
    live.partition.redefinition.tell(told.impact)
    runs = runs_of([arrived("count", 2, START_MS, at_ms + DAY_MS, transaction_id="t2")])
    assert live.fold_first(runs) == runs


@pytest.mark.parametrize("too_far_ms", [0, 1])
def test_what_follows_them_goes_nowhere_if_it_is_dated_too_far_ahead(too_far_ms: int) -> None:
    """Another partition may be ten years behind, or have a clock that is."""
    live = counting()
    live.deliver([arrived("count", n, START_MS + n) for n in range(2)])
    came_ms = START_MS + 1 - MAX_EVENT_AHEAD_MS - too_far_ms
    early = arrived("count", 7, START_MS + 1, came_ms, partition=1).forwarded(0, 0)
    told = live.partition.fold(runs_of([early]))
    assert (told.accepted, len(told.refused)) == (1 - too_far_ms, too_far_ms)
