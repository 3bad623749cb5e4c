"""Laws of the whole partition: only positions and logs decide, never delivery.

Every law folds the same two logs in two ways and asks for the same cells and the same records.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.wire.arrivals import Arrival
from tables.changelogged.members import SetKey
from tests.world.bodies import Json
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import (
    GRACE_SETTINGS,
    METRICS,
    ORG,
    SETTINGS,
    SHORT_SETTINGS,
    CommandAt,
    changing_definitions,
    definitions_of,
)
from tests.world.events import arrivals, arrived, slices
from tests.world.partition import Live
from tests.world.profiles import examples

ALL = tuple(METRICS)
UNIQUE = ("heads", "unique")
"""Alone, so that many operations meet on one property."""
END_MS = START_MS + 10 * WEEK_MS
GRACES = st.sampled_from([SETTINGS, GRACE_SETTINGS, SHORT_SETTINGS])
few = examples(80)


def in_order(definitions: list[CommandAt], events: list[Arrival], kind: type[Live] = Live) -> Live:
    """Both logs by append time, one event a slice, each cut as soon as it can be taken."""
    live = kind(definitions)
    for arrival in sorted(events, key=lambda a: a.position):
        live.close_until(arrival.append_time_ms - 1)
        live.define_until(arrival.append_time_ms)
        live.deliver([arrival])
    live.define_all()
    return live


def same(one: Live, other: Live) -> None:
    """Cells after all cuts, and the records of all cuts, are equal byte for byte."""
    for live in (one, other):
        live.define_all()
        live.close_until(END_MS)
    assert one.values() == other.values()
    assert one.cells() == other.cells()


@pytest.mark.parametrize("codes", [ALL, UNIQUE], ids=["all", "unique"])
@few
@given(st.data())
def test_order_and_batches_of_delivery(codes: tuple[str, ...], data: st.DataObject) -> None:
    definitions = definitions_of(codes, data.draw(GRACES), presents=True)
    events = data.draw(arrivals(codes, ids=6))
    live = Live(definitions)
    live.define_all()
    for batch in data.draw(slices(events)):
        live.deliver(batch)
    same(in_order(definitions, events), live)


@few
@given(st.data())
def test_redelivery_of_ranges(data: st.DataObject) -> None:
    definitions = definitions_of(ALL, data.draw(GRACES), presents=True)
    events = data.draw(arrivals(ALL))
    once, again = Live(definitions), Live(definitions)
    for live in (once, again):
        live.define_all()
    once.deliver(events)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(events)))
        again.deliver(events[start : data.draw(st.integers(start, len(events)))])
    again.deliver(events)
    assert once.accepted == again.accepted
    assert once.cells() == again.cells()
    same(once, again)


@few
@given(st.data())
def test_refold_is_the_live_fold(data: st.DataObject) -> None:
    definitions = definitions_of(ALL, data.draw(GRACES), presents=True)
    events = data.draw(arrivals(ALL, ids=6))
    live = Live(definitions)
    live.define_all()
    live.deliver(events)
    live.close_until(START_MS + data.draw(st.integers(0, 6)) * WEEK_MS)
    before = live.cells()
    live.refold_all()
    assert live.cells() == before
    same(in_order(definitions, events), live)


def test_a_refold_awaits_no_cut_for_a_group_whose_first_event_another_filter_claims() -> None:
    """Too many rows show first where that event is; the cell of the other filter came later."""
    live = Live(definitions_of(["filtered"], presents=True))
    live.define_all()
    values: Json = {"v": "1", "operation_type": "add"}
    for offset, (late_ms, u) in enumerate([(60_000, "a"), (3 * WEEK_MS, "b")]):
        late = START_MS, START_MS + WEEK_MS + late_ms
        live.deliver([arrived("filtered", offset, *late, u=u, **values)])
    live.close_until(START_MS)
    before = live.cells()
    live.refold_all()
    assert live.cells() == before
    assert {len(states) for _, states in before.values()} == {2}


@few
@given(st.data())
def test_interleaving_of_definitions_and_events(data: st.DataObject) -> None:
    definitions = data.draw(changing_definitions(ALL))
    events = data.draw(arrivals(ALL))
    live = Live(definitions)
    for arrival in events:
        live.define(data.draw(st.integers(0, 3)))
        live.deliver([arrival])
    same(in_order(definitions, events), live)


@few
@given(st.data())
def test_events_before_all_definitions(data: st.DataObject) -> None:
    definitions = data.draw(changing_definitions(ALL))
    events = data.draw(arrivals(ALL))
    first_events = Live(definitions)
    first_events.deliver(events)
    first_definitions = Live(definitions)
    first_definitions.define_all()
    first_definitions.deliver(events)
    same(first_events, first_definitions)


@few
@given(st.data())
def test_restarts(data: st.DataObject) -> None:
    """Flushed, forgotten and restored at any moment; published in between or not."""
    definitions = definitions_of(ALL, data.draw(GRACES), presents=True)
    events = data.draw(arrivals(ALL, ids=8))
    live = Live(definitions)
    live.define_all()
    for batch in data.draw(slices(events, shuffle=False)):
        live.deliver(batch)
        closes, restarts = data.draw(st.tuples(st.booleans(), st.booleans()))
        if batch and closes:
            live.close_until(batch[-1].append_time_ms - 1)
        live.flush()
        if restarts:
            live.restart()
    same(in_order(definitions, events), live)


@few
@given(st.data())
def test_restarts_among_changing_definitions(data: st.DataObject) -> None:
    definitions = data.draw(changing_definitions(ALL))
    events = data.draw(arrivals(ALL))
    live = Live(definitions)
    for arrival in events:
        live.define(data.draw(st.integers(0, 3)))
        live.deliver([arrival])
        if data.draw(st.integers(0, 2)) == 0:
            live.restart()
    live.define_all()
    live.restart()
    same(in_order(definitions, events), live)


@few
@given(st.data())
def test_nothing_stays_in_the_store_of_sets_that_were_refolded(data: st.DataObject) -> None:
    live = Live(data.draw(changing_definitions(UNIQUE)))
    for arrival in data.draw(arrivals(UNIQUE)):
        live.define(data.draw(st.integers(0, 3)))
        live.deliver([arrival])
        if data.draw(st.booleans()):
            live.restart()
    live.define_all()
    assert kept_sets(live) <= sets_of(live)


def test_nothing_stays_in_the_store_of_sets_that_a_restart_finds_without_a_charge() -> None:
    """The metric goes in the millisecond that the definitions had reached at the restart."""
    live = Live(definitions_of(UNIQUE))
    live.define_all()
    live.append(START_MS, commands.upsert_customer(ORG, {"external_id": "customer"}))
    live.deliver([arrived("heads", 0, START_MS, START_MS + WEEK_MS, transaction_id="t", u="a")])
    live.restart()
    assert live.changelog.stored_sets()
    live.append(START_MS, commands.delete_billable_metric(ORG, "heads"))
    assert kept_sets(live) == sets_of(live) == set()


def test_nothing_stays_of_cells_and_sets_whose_place_other_groups_take() -> None:
    """Nobody has asked for the sets since the restart."""
    live = Live(definitions_of(UNIQUE))
    live.define_all()
    at_ms = START_MS + WEEK_MS
    live.deliver([arrived(code, n, START_MS, at_ms, u="a") for n, code in enumerate(UNIQUE)])
    live.restart()
    assert live.changelog.stored_sets()
    for code in UNIQUE:
        body = {"properties": {"amount": "1", "pricing_group_keys": ["u"]}}
        live.append(START_MS + 1, commands.update_charge(ORG, "plan", code, body))
    assert kept_sets(live) == sets_of(live)
    assert len(live.changelog.cells) == len(UNIQUE)


def kept_sets(live: Live) -> set[SetKey]:
    """Every set that the store or the changelog has members of, once all that leaves is gone."""
    live.flush()
    live.empty_sets()
    live.flush()
    return live.changelog.stored_sets() | {key for key, _ in live.changelog.members}


def sets_of(live: Live) -> set[SetKey]:
    """Every set of members that a span of the partition has."""
    live.cells()
    return {
        key
        for route in live.partition.routes.by_key.values()
        for span in route.spans
        if span.fold.unique
        for key in span.all_sets().values()
    }
