"""Law of the limit of groups: the first by position are admitted, in any order of delivery."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.command import Command
from app.wire.arrivals import Arrival
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    CommandAt,
    lines,
    metric_body,
    plan_body,
    subscription_body,
)
from tests.world.events import event, slices
from tests.world.partition import Live
from tests.world.profiles import examples

COMPUTED = "computed"
"""Its expression stands in place of the property that groups."""
CODES = ("count", "sum", "unique", "seats", "balance", COMPUTED)
END_MS = START_MS + 6 * WEEK_MS
GROUPS = "vwxy "

few = examples(80)


def definitions_of(most: int) -> list[CommandAt]:
    """Every charge has groups, of two keys in the bucket of its filter."""
    plan = plan_body(CODES, presents=True)
    for charge in plan["charges"]:
        charge["properties"]["pricing_group_keys"] = ["g"]
        charge["prorated"] = False
    made: list[Command] = [
        commands.set_settings(msgspec.structs.replace(SETTINGS, max_groups=most))
    ]
    bodies = [metric_body(code) for code in CODES if code != COMPUTED]
    computed = {"code": COMPUTED, "field_name": "g", "expression": "event.properties.n"}
    bodies.append(metric_body("sum") | computed)
    made += [commands.create_billable_metric(ORG, body) for body in bodies]
    made.append(commands.create_plan(ORG, plan))
    made.append(commands.upsert_customer(ORG, {"external_id": "customer"}))
    made.append(commands.create_subscription(ORG, subscription_body()))
    return lines((START_MS - HOUR_MS, command) for command in made)


@st.composite
def arrivals(draw: st.DrawFn, *, max_events: int = 16) -> list[Arrival]:
    """Events of few days and many groups, of two raw partitions, in order of position."""
    code = draw(st.sampled_from(CODES))
    made: list[Arrival] = []
    offsets, append_time_ms = [0, 0], START_MS
    for number in range(draw(st.integers(0, max_events))):
        # Never so late that an event is refused.
        append_time_ms += draw(st.sampled_from([0, 1, HOUR_MS, DAY_MS, 2 * DAY_MS]))
        partition = draw(st.sampled_from([0, 0, 1]))
        properties: dict[str, Any] = {"v": "1.5", "u": draw(st.sampled_from("ab"))}
        properties["operation_type"] = draw(st.sampled_from(["add", "add", "remove"]))
        properties["n"] = draw(st.sampled_from("12345"))
        if draw(st.integers(0, 9)):
            properties["g"] = draw(st.sampled_from(GROUPS))
        if draw(st.integers(0, 9)) == 0:
            properties["v"] = properties["u"] = None
        timestamp_ms = START_MS + draw(st.integers(0, 3)) * 3 * DAY_MS
        made.append(
            Arrival(
                event(
                    draw(st.sampled_from([code, code, "sum"])),
                    f"t{draw(st.integers(0, number))}",
                    timestamp_ms,
                    **properties,
                ),
                ORG,
                append_time_ms,
                partition,
                offsets[partition],
                0,
                offsets[1] if partition else -1,
            )
        )
        offsets[partition] += 1
    return sorted(made, key=lambda arrival: arrival.position)


def in_order(definitions: list[CommandAt], events: list[Arrival]) -> Live:
    live = Live(definitions)
    live.define_all()
    for arrival in events:
        live.close_until(arrival.append_time_ms - 1)
        live.deliver([arrival])
    return live


def admitted(most: int, events: list[Arrival]) -> set[tuple[Any, ...]]:
    """(code, week, group) that have events, by the plain reading of the rule."""
    seen: set[str] = set()
    rooms: dict[tuple[Any, ...], list[Any]] = {}
    shown: set[tuple[Any, ...]] = set()
    for arrival in events:
        sent = arrival.event
        if sent.transaction_id in seen:
            continue
        seen.add(sent.transaction_id)
        properties = msgspec.json.decode(sent.properties)
        fields = {"count": "operation_type", "sum": "v", "balance": "v", COMPUTED: "n"}
        field = fields.get(sent.code, "u")
        if properties[field] is None:
            continue
        week_ms = (arrival.timestamp_ms - START_MS) // WEEK_MS * WEEK_MS + START_MS
        recurring = sent.code in ("seats", "balance")
        room = rooms.setdefault((sent.code, None if recurring else week_ms), [])
        text = properties["n"] if sent.code == COMPUTED else properties.get("g")
        group = None if text == " " else text
        if group not in room and len(room) < most:
            room.append(group)
        if group in room:
            shown.add((sent.code, week_ms, group))
    return shown


def cells_with_events(live: Live) -> set[tuple[Any, ...]]:
    found = set()
    for name, codes in live.partition.event_ranges.codes.items():
        for code in codes:
            for span in live.partition.packing.route_of((*name, code)).priced().spans:
                for layer in span.layers.values():
                    for (_, (group,)), cell in layer.cells.items():
                        if not cell.empty:
                            found.add((code, layer.start_ms, group))
    return found


@few
@given(st.data())
def test_order_of_delivery(data: st.DataObject) -> None:
    most = data.draw(st.integers(1, 3))
    events = data.draw(arrivals())
    definitions = definitions_of(most)
    ordered = in_order(definitions, events)
    assert cells_with_events(ordered) == admitted(most, events)
    live = Live(definitions)
    live.define_all()
    for batch in data.draw(slices(events)):
        live.deliver(batch)
        live.flush()
        if data.draw(st.integers(0, 3)) == 0:
            live.restart()
    for one in (ordered, live):
        one.close_until(END_MS)
    assert live.values() == ordered.values()
    assert live.cells() == ordered.cells()


@few
@given(st.data())
def test_refold_in_any_order(data: st.DataObject) -> None:
    most = data.draw(st.integers(1, 3))
    events = data.draw(arrivals())
    definitions = definitions_of(most)
    ordered = in_order(definitions, events)
    live = Live(definitions)
    for arrival in data.draw(st.permutations(events)):
        live.deliver([arrival])
    live.define_all()
    live.refold_all()
    for one in (ordered, live):
        one.close_until(END_MS)
    assert live.values() == ordered.values()
    assert live.cells() == ordered.cells()
