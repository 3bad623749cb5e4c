"""Packing cells away, at whatever moment, never changes a figure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tables.close import close_subscription
from tests.laws.test_partition import ALL, GRACES, few, in_order, same
from tests.laws.world import (
    ORG,
    START_MS,
    SUBSCRIPTION,
    WEEK_MS,
    Live,
    arrivals,
    changing_definitions,
    definitions_of,
)

NAME = (ORG, SUBSCRIPTION)


@few
@given(st.data())
def test_cooling_between_definitions_and_events(data: st.DataObject) -> None:
    definitions = data.draw(changing_definitions(ALL))
    events = data.draw(arrivals(ALL))
    live = Live(definitions)
    for arrival in events:
        live.define(data.draw(st.integers(0, 3)))
        live.deliver([arrival])
        flushed = data.draw(st.booleans())
        if flushed:
            live.flush()
        # What the changelog does not have yet must stay as it is.
        live.partition.cool(NAME)
        assert not (flushed and live.partition.spans)
    same(in_order(definitions, events), live)


@few
@given(st.data())
def test_a_cut_leaves_packed_cells_as_they_were(data: st.DataObject) -> None:
    definitions = definitions_of(ALL, data.draw(GRACES))
    events = data.draw(arrivals(ALL))
    live = Live(definitions)
    live.define_all()
    live.deliver(events)
    live.flush()
    partition = live.partition
    partition.cool(NAME)
    packed = partition.sealed_cells(NAME)
    cut_ms = START_MS + WEEK_MS
    live.define_until(cut_ms)
    records = list(close_subscription(partition, NAME, cut_ms))
    partition.cool(NAME, packed)
    assert partition.sealed_cells(NAME) == packed
    assert not partition.spans
    hot = in_order(definitions, [])
    hot.deliver(events)
    hot.define_until(cut_ms)
    assert records == list(close_subscription(hot.partition, NAME, cut_ms))
