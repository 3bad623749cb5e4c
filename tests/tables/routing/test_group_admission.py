"""Which groups find room, from events in any order: by steps, and with no more than find room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.bounds.turns import SORTED_AT_ONCE, drained
from app.wire.arrivals import Arrival
from tables.cells.keys import pack_position
from tables.routing import group_admission
from tables.routing.group_admission import GroupAdmission
from tables.routing.route import Route
from tests.world.clock import START_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.profiles import examples


def route_of(most: int) -> Route:
    """A route of a sum by `g`, with room for so many groups."""
    made = definitions_of(["sum"], replace(SETTINGS, max_groups=most))
    made[2].command.payload["plan"]["charges"][0]["properties"]["pricing_group_keys"] = ["g"]
    live = Live(made)
    live.define_all()
    return live.partition.routes.compile((ORG, SUBSCRIPTION, "sum"))


def of_group(group: int, offset: int) -> Arrival:
    return arrived("sum", offset, START_MS, v="1", g=f"{group}")


def note(admission: GroupAdmission, route: Route, events: Sequence[Arrival]) -> None:
    for event in events:
        admission.note(route, event.event, event.timestamp_ms, event.position)


def admitted(admission: GroupAdmission, route: Route) -> dict[str | None, bytes] | None:
    """First positions by group, if not all find room."""
    for span in route.spans:
        span.place_layer(START_MS)
    (span,) = drained(admission.imposing(route)).spans
    limits = [layer.group_limit for layer in span.layers.values()]
    if not limits or limits[0] is None:
        return None
    return {group: first for (group,), first in limits[0].firsts.items()}


@examples(100)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 99)), max_size=60), st.integers(1, 5))
def test_the_groups_that_came_first_find_room(noted: list[tuple[int, int]], most: int) -> None:
    groups = {offset: group for group, offset in noted}
    route, admission = route_of(most), GroupAdmission()
    note(admission, route, [of_group(groups[offset], offset) for _, offset in noted])
    firsts: dict[str | None, bytes] = {}
    for offset, group in sorted(groups.items()):
        firsts.setdefault(f"{group}", pack_position(of_group(group, offset).position))
    kept = sum(len(some) for *_, some in admission.told())
    assert kept == min(len(firsts), most)
    found = admitted(admission, route)
    assert found == (dict(list(firsts.items())[:most]) if len(firsts) > most else None)


@examples(100)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 99)), max_size=60), st.integers(1, 5))
def test_what_another_process_noted_finds_no_more_room(
    noted: list[tuple[int, int]], most: int
) -> None:
    groups = {offset: group for group, offset in noted}
    events = [of_group(groups[offset], offset) for _, offset in noted]
    route, alone = route_of(most), GroupAdmission()
    note(alone, route, events)
    here, there = GroupAdmission(), GroupAdmission()
    note(here, route, events[::2])
    note(there, route, events[1::2])
    for told in there.told():
        here.take_over(told)
    assert admitted(here, route) == admitted(alone, route)


class Counted(bytes):
    """A first position that counts how often any is turned over."""

    turned = 0

    def translate(self, *of: Any) -> bytes:
        Counted.turned += 1
        return super().translate(*of)


def test_a_group_that_finds_no_room_is_told_without_a_look_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one, too: what is admitted is in order by then."""
    most, looked = 200, list[int]()
    route, admission = route_of(most), GroupAdmission()
    monkeypatch.setattr(group_admission, "pack_position", lambda at: Counted(pack_position(at)))
    for group in reversed(range(2 * most)):
        Counted.turned = 0
        note(admission, route, [of_group(group, group)])
        looked.append(Counted.turned)
    assert max(looked) <= 2
    assert admitted(admission, route) == {
        f"{group}": pack_position(of_group(group, group).position) for group in range(most)
    }


def test_many_groups_are_compared_and_opened_by_steps() -> None:
    most = 5 * SORTED_AT_ONCE
    route, admission = route_of(most), GroupAdmission()
    note(admission, route, [of_group(group, group) for group in reversed(range(most + 100))])
    (layer,) = [span.place_layer(START_MS) for span in route.spans]
    assert layer is not None
    for group in range(most):
        layer.cell(None, (f"{group}",))
    steps = admission.agreeing(route)
    assert len(list(steps)) == 5
    assert drained(admission.agreeing(route))
    assert len(list(admission.imposing(route))) == 5
    layer.cell(None, (f"{most}",))
    assert not drained(admission.agreeing(route))
