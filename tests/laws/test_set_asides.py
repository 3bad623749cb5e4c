"""Law: what is set aside was never there, whenever it is named and however it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.indexes.set_asides import Aside
from app.definitions.judging import Judging
from app.definitions.log import apply
from app.definitions.state import Definitions
from app.offline.fold import EventLine, OfflineMeter
from app.wire.arrivals import Arrival, arrivals_of
from app.wire.refusals import Refusal
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import METRICS, ORG, CommandAt, changing_definitions, logged
from tests.world.events import arrivals
from tests.world.partition import Live
from tests.world.profiles import examples

ALL = tuple(METRICS)
END_MS = START_MS + 8 * WEEK_MS
NOTHING = b"no fold gets to these bytes"


def set_aside(offset: int, count: int = 1, index: int | None = None, partition: int = 0) -> Command:
    return commands.set_aside(
        partition, offset, count=count, index=index, code="set_aside", message="no fold ends"
    )


def place_of(arrival: Arrival) -> tuple[int, int]:
    return arrival.raw_partition, arrival.raw_offset


@examples(20)
@given(st.data())
def test_what_is_set_aside_was_never_there(data: st.DataObject) -> None:
    events = sorted(data.draw(arrivals(ALL)), key=lambda each: each.position)
    places = [place_of(each) for each in events]
    away = data.draw(st.sets(st.sampled_from(places))) if places else set()
    lines = data.draw(changing_definitions(ALL))
    for partition, offset in sorted(away):
        # After it was appended, and perhaps long after its period is due.
        appended_ms = max(e.append_time_ms for e in events if place_of(e) == (partition, offset))
        at_ms = max(data.draw(st.integers(appended_ms, END_MS)), lines[-1].append_time_ms)
        command = set_aside(offset, partition=partition)
        lines = [*lines, CommandAt(at_ms, lines[-1].offset + 1, command)]
    live = Live(lines)
    for arrival in events:
        live.close_until(arrival.append_time_ms - 1)
        live.define_until(arrival.append_time_ms)
        if place_of(arrival) not in away:
            live.deliver([arrival])
    live.define_all()
    live.close_until(END_MS)
    meter = OfflineMeter()
    meter.run(
        logged(lines),
        [_line(each, NOTHING if place_of(each) in away else each.event.body) for each in events],
        END_MS,
    )
    assert sorted(record.value for record in meter.records) == live.values()
    assert NOTHING not in [one.value for one in meter.refused if isinstance(one, Refusal)]


def _line(arrival: Arrival, value: bytes) -> EventLine:
    return EventLine(arrival.append_time_ms, arrival.raw_partition, arrival.raw_offset, value)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9))), st.integers(0, 60))
def test_ranges_hold_what_each_of_them_holds(ranges: list[tuple[int, int]], offset: int) -> None:
    held = {each for first, count in ranges for each in range(first, first + count)}
    aside = aside_of(set_aside(first, count) for first, count in ranges)
    assert (aside is not None and aside.holds(offset)) == (offset in held)
    after = offset
    while after in held:
        after += 1
    assert offset == after if aside is None else aside.after(offset) == after


def test_one_more_range_is_compared_with_few_of_those_there_are() -> None:
    """The log may have very many of them; a start takes over one after the other."""
    compared: list[int] = []

    class Offset(int):
        def __add__(self, other: int) -> Offset:
            return Offset(int(self) + other)

        def __lt__(self, other: int) -> bool:
            compared.append(other)
            return int(self) < other

        def __gt__(self, other: int) -> bool:
            compared.append(other)
            return int(self) > other

        def __le__(self, other: int) -> bool:
            compared.append(other)
            return int(self) <= other

    aside, places = Aside(), [Offset(offset) for offset in range(0, 4_000, 2)]
    (one,) = definitions_with([set_aside(0)]).set_asides.listed()
    for offset in places[1::2] + places[::2]:
        compared.clear()
        aside.add(msgspec.structs.replace(one, offset=offset))
        assert len(compared) < 100
    assert all(aside.after(offset) == offset + 1 for offset in places)


def aside_of(made: Iterable[Command]) -> Aside | None:
    return definitions_with(made).set_asides.of(0)


def definitions_with(made: Iterable[Command]) -> Definitions:
    definitions = Definitions()
    for offset, command in enumerate(made):
        apply(definitions, command.encode(), offset, offset)
    return definitions


def test_an_element_goes_and_the_others_stay() -> None:
    value = (
        b'[{"transaction_id":"a","external_subscription_id":"s","code":"c","organization_id":"o"},'
        b'{"transaction_id":"b","external_subscription_id":"s","code":"c","organization_id":"o"}]'
    )
    found = arrivals_of(value, (), 0, 0, 3, Judging(ORG), aside_of([set_aside(3, index=0)]))
    assert [each.event.transaction_id for each in found if isinstance(each, Arrival)] == ["b"]


def test_lifting_takes_one_off_the_list_and_leaves_its_place_empty() -> None:
    definitions, command = Definitions(), set_aside(3)
    apply(definitions, command.encode(), 0, 0)
    assert [each.offset for each in definitions.set_asides.listed()] == [3]
    assert +definitions.set_asides.counts == {"set_aside": 1}
    apply(definitions, commands.lift(command.id).encode(), 1, 1)
    assert definitions.set_asides.listed() == []
    assert not +definitions.set_asides.counts
    aside = definitions.set_asides.of(0)
    assert aside is not None
    assert aside.holds(3)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: set_aside(-1),
        lambda: set_aside(0, count=0),
        lambda: set_aside(0, count=2, index=0),
        lambda: commands.lift("nothing of this id"),
    ],
)
def test_what_names_no_place_changes_nothing(wrong: Callable[[], Command]) -> None:
    definitions = Definitions()
    outcome = apply(definitions, wrong().encode(), 0, 0)
    assert getattr(outcome, "status", None) in (404, 422)
    assert definitions.set_asides.of(0) is None
