"""Events keep to limits from a settings record on, in whatever order both are learnt."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.bounds.limits import VALUE_BYTES
from app.definitions import commands
from app.wire.arrivals import Arrival
from tests.laws.test_partition import ALL, in_order, same
from tests.world.clock import DAY_MS, START_MS
from tests.world.definitions import SETTINGS, CommandAt, changing_definitions, lines
from tests.world.events import arrivals, event
from tests.world.partition import Live
from tests.world.profiles import examples

LIMITS = commands.set_settings(msgspec.structs.replace(SETTINGS, input_limits=1))
ROUNDED = commands.set_settings(msgspec.structs.replace(SETTINGS, input_limits=2))
EXACT_ENDS = commands.set_settings(msgspec.structs.replace(SETTINGS, input_limits=4))
AS_LAGO = commands.set_settings(msgspec.structs.replace(SETTINGS, input_limits=5))
COMPUTED = ("sum", "max", "latest", "level", "balance")
LONG = "z" * (VALUE_BYTES + 1)


@st.composite
def limited_definitions(draw: st.DrawFn) -> list[CommandAt]:
    """Definitions that change, limits from any moment on."""
    others = [(line.append_time_ms, line.command) for line in draw(changing_definitions(ALL))]
    limited = (START_MS + draw(st.integers(0, 28)) * DAY_MS, LIMITS)
    return lines([others[0], *sorted([*others[1:], limited], key=lambda line: line[0])])


@st.composite
def computing_definitions(draw: st.DrawFn) -> list[CommandAt]:
    """The same, where values are thirds and results are rounded from any moment on."""
    others = [(line.append_time_ms, line.command) for line in draw(changing_definitions(COMPUTED))]
    for _, command in others:
        if command.type in ("create_billable_metric", "update_billable_metric"):
            command.payload["billable_metric"]["expression"] = "event.properties.v / 3"
    later = [
        (START_MS + draw(st.integers(0, 28)) * DAY_MS, each)
        for each in draw(st.sampled_from([[ROUNDED], [LIMITS, ROUNDED]]))
    ]
    later[-1] = max(at_ms for at_ms, _ in later), ROUNDED
    return lines([others[0], *sorted([*others[1:], *later], key=lambda line: line[0])])


@st.composite
def long_arrivals(draw: st.DrawFn) -> list[Arrival]:
    """Events some of which have a member or a group of over 4,096 bytes."""
    made = []
    for arrival in draw(arrivals(ALL)):
        long = draw(st.sampled_from(["", "", "u", "g"]))
        sent = arrival.event
        if long:
            properties = {**msgspec.json.decode(sent.properties), long: LONG}
            sent = event(sent.code, sent.transaction_id, sent.timestamp_ms, **properties)
        made.append(replace(arrival, event=sent))
    return made


@st.composite
def writing_definitions(draw: st.DrawFn) -> list[CommandAt]:
    """The same, where values hang on how a number is written: as Lago does from any moment on."""
    others = [(line.append_time_ms, line.command) for line in draw(changing_definitions(COMPUTED))]
    for _, command in others:
        if command.type in ("create_billable_metric", "update_billable_metric"):
            text = "concat(greatest(1.0, 1), event.properties.v)"
            command.payload["billable_metric"]["expression"] = text
    later = START_MS + draw(st.integers(0, 28)) * DAY_MS, AS_LAGO
    first = others[0][0], EXACT_ENDS
    return lines([first, *sorted([*others[1:], later], key=lambda line: line[0])])


def learnt_whenever(
    definitions: list[CommandAt], events: list[Arrival], data: st.DataObject
) -> None:
    """Compare what is learnt in some order, with restarts, to what is learnt in order."""
    live = Live(definitions)
    for arrival in events:
        live.define(data.draw(st.integers(0, 3)))
        live.deliver([arrival])
        if data.draw(st.integers(0, 3)) == 0:
            live.restart()
    live.define_all()
    same(in_order(definitions, events), live)


@examples(80)
@given(limited_definitions(), long_arrivals(), st.data())
def test_limits_hold_from_their_record_on_whenever_it_is_learnt(
    definitions: list[CommandAt], events: list[Arrival], data: st.DataObject
) -> None:
    learnt_whenever(definitions, events, data)


@examples(80)
@given(computing_definitions(), arrivals(COMPUTED), st.data())
def test_results_are_rounded_from_their_record_on_whenever_it_is_learnt(
    definitions: list[CommandAt], events: list[Arrival], data: st.DataObject
) -> None:
    learnt_whenever(definitions, events, data)


@examples(80)
@given(writing_definitions(), arrivals(COMPUTED), st.data())
def test_numbers_are_written_as_lago_does_from_their_record_on_whenever_it_is_learnt(
    definitions: list[CommandAt], events: list[Arrival], data: st.DataObject
) -> None:
    learnt_whenever(definitions, events, data)
