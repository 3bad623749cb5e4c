"""Laws of proof: what is traced is what is counted, and only what is wrong is found to differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from app.meter.evidence import Difference
from app.wire.arrivals import Arrival
from app.wire.identity import digest_of
from tables.aggregation import DIGEST_MASK
from tables.cells.cell import Cell
from tables.changelogged.members import pack_member, unpack_member
from tables.reading.tracing import Traced, Tracer, verdict
from tables.reading.verification import Verification
from tests.world.begun import begun
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import METRICS, ORG, SUBSCRIPTION, changing_definitions, definitions_of
from tests.world.events import arrivals, arrived
from tests.world.partition import AtOnce, Live
from tests.world.profiles import examples
from tests.world.verified import rounds, wrong_members

ALL = tuple(METRICS)
NAME = (ORG, SUBSCRIPTION)
few = examples(60)


def delivered(data: st.DataObject, *, changing: bool = False) -> tuple[Live, list[Arrival]]:
    """A partition with events, cut at some moment."""
    definitions = (
        data.draw(changing_definitions(ALL)) if changing else definitions_of(ALL, presents=True)
    )
    events = data.draw(arrivals(ALL, ids=8))
    live = AtOnce(definitions)
    for arrival in events:
        live.define_until(arrival.append_time_ms)
        live.deliver([arrival])
    live.define_all()
    if events:
        live.close_until(data.draw(st.integers(START_MS, START_MS + 6 * WEEK_MS)))
    return live, events


def traced_with(live: Live, events: Sequence[Arrival]) -> list[tuple[Arrival, Traced]]:
    tracers: dict[str, Tracer] = {}
    found = []
    for arrival in events:
        counted = verdict(live.partition, arrival).counted
        if counted is not None:
            code = counted.event.code
            if code not in tracers:
                tracers[code] = Tracer(live.partition, (*NAME, code))
            found += [(counted, traced) for traced in tracers[code].trace(counted)]
    return found


def verified(live: Live, events: Sequence[Arrival]) -> list[Difference]:
    found = list[Difference]()
    first = begun(Verification(live.partition, [NAME]))
    for job in rounds(first, events, strangers=True):
        found += job.lost
        compared = [one for one in filter(None, job.compare()) if not one.again]
        assert not any(one.skipped for one in compared)
        found += chain.from_iterable(one.differences for one in compared)
        found += wrong_members(live, job, [one.meter_key for one in compared])
        found += chain.from_iterable(filter(None, job.compare_published()))
    return found


def store(live: Live) -> None:
    """A flush, and the store follows it: what was refolded is gone from it."""
    live.empty_sets()
    live.flush()
    live.partition.members.written(list(live.changelog.members))


def live_cells(live: Live) -> list[Cell]:
    """Cells that are billed: a tracer tells of no others."""
    return [
        cell
        for span in live.partition.routes.spans.values()
        if span.fold.prices
        for layer in span.layers.values()
        for cell in layer.cells.values()
        if cell.state.events or cell.late
    ]


@few
@given(st.data())
def test_digests_of_traced_events_are_those_of_the_live_cells(data: st.DataObject) -> None:
    live, events = delivered(data, changing=True)
    digests: dict[Any, int] = {}
    counts: dict[Any, int] = {}
    for arrival, traced in traced_with(live, events):
        if traced.reason is None:
            key = (traced.span.key, traced.layer.start_ms, traced.filter_id, traced.groups)
            counted = arrival.event
            digest = digest_of(
                counted.external_subscription_id,
                counted.transaction_id,
                arrival.timestamp_ms,
                counted.code,
                traced.value,
            )
            digests[key] = (digests.get(key, 0) + digest) & DIGEST_MASK
            counts[key] = counts.get(key, 0) + 1
    shown: dict[Any, tuple[int, int]] = {}
    for cell in live_cells(live):
        states = [cell.state, *(cell.late or {}).values()]
        key = (cell.layer.span.key, cell.layer.start_ms, cell.filter_id, cell.groups)
        events_count = sum(state.events for state in states)
        if events_count:
            shown[key] = (events_count, sum(state.digest for state in states) & DIGEST_MASK)
    assert shown == {key: (counts[key], digests[key]) for key in counts}


@few
@given(st.data())
def test_the_tracer_recomputes_the_live_figures(data: st.DataObject) -> None:
    live, events = delivered(data, changing=True)
    found = traced_with(live, events)
    spans = {id(traced.span): traced.span for _, traced in found}
    for span in spans.values():
        ours = live.partition.routes.spans[span.key]
        for period in span.timeline.until(START_MS + 5 * WEEK_MS):
            if span.key.start_ms <= period.start_ms < span.end_ms:
                for name in span.cells_of(period):
                    assert span.figures(period, *name) == ours.figures(period, *name)


@few
@given(st.data())
def test_every_arrival_has_one_standing(data: st.DataObject) -> None:
    live, events = delivered(data)
    standings = [verdict(live.partition, arrival) for arrival in events]
    assert "lost" not in {found.standing for found in standings}
    taken = [a for a, found in zip(events, standings, strict=True) if found.standing == "taken"]
    ids = [arrival.event.transaction_id for arrival in taken]
    assert len(ids) == len(set(ids))
    for arrival, found in zip(events, standings, strict=True):
        if found.standing == "duplicate":
            assert found.winner is not None
            assert found.winner[:4] < arrival.position


@few
@given(st.data())
def test_verification_finds_nothing_where_nothing_is_wrong(data: st.DataObject) -> None:
    live, events = delivered(data, changing=data.draw(st.booleans()))
    data.draw(st.sampled_from([Live.flush, store, Live.restart, Live.refold_all, Live.define]))(
        live
    )
    assert verified(live, events) == []


@few
@given(st.data())
def test_verification_finds_exactly_the_cell_that_is_wrong(data: st.DataObject) -> None:
    live, events = delivered(data)
    cells = [cell for cell in live_cells(live) if cell.state.events]
    assume(cells)
    wrong = data.draw(st.sampled_from(cells))
    wrong.state.digest ^= 1
    found = [difference for difference in verified(live, events) if difference.kind == "cell"]
    assert [(d.charge_id, d.filter_id, d.groups) for d in found] == [
        (wrong.layer.span.key.charge_id, wrong.filter_id, wrong.groups)
    ]
    assert found[0].live["state"] != found[0].refolded["state"]


@few
@given(st.data())
def test_verification_finds_exactly_the_member_that_is_wrong(data: st.DataObject) -> None:
    """Lost, altered or foreign, in the store or at hand."""
    live, events = delivered(data)
    store(live)
    stored = live.changelog.store
    assume(stored)
    key, text = data.draw(st.sampled_from(sorted(stored)))
    what = data.draw(st.sampled_from(["lost", "altered", "foreign", "at hand"]))
    if what == "lost":
        del stored[key, text]
    elif what == "foreign":
        stored[key, "nobody"], text = stored[key, text], "nobody"
    else:
        # What the newest operation says decides. When an earlier one was may decide nothing.
        *earlier, newest = unpack_member(stored[key, text])
        altered = (*earlier, newest._replace(adds=not newest.adds))
        if what == "altered":
            stored[key, text] = pack_member(altered)
        else:
            live.partition.members.put((key, text), altered)
    (found,) = verified(live, events)
    assert found.kind == "members"
    assert found.live["differing"] == "1"
    assert found.live[f'"{text}"'] != found.refolded[f'"{text}"']


@few
@given(st.data())
def test_verification_finds_published_figures_that_are_wrong(data: st.DataObject) -> None:
    live, events = delivered(data)
    published = [
        (name, cell_name, cell)
        for name, period in live.partition.published.periods.items()
        for cell_name, cell in period.cells.items()
        if cell.events_count
    ]
    assume(published)
    name, cell_name, cell = data.draw(st.sampled_from(published))
    wrong = msgspec.structs.replace(cell, events_count=cell.events_count + 1)
    live.partition.published.periods[name].cells[cell_name] = wrong
    (found,) = verified(live, events)
    assert (found.kind, found.charge_id) == ("published", cell_name[0])


def test_an_event_that_was_never_folded_is_found() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    first, second = (arrived("count", number, START_MS) for number in range(2))
    live.deliver([first])
    (found,) = verified(live, [first, second])
    assert found.kind == "event"
    assert found.refolded == {"transaction_id": "t1", "place": "0:1:0"}
