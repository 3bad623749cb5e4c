"""Unique counts paid in advance: operations of one property in rows, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.turns import drained
from app.definitions import commands
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction
from tables import unique_count
from tables.changelogged.instants import InstantTable
from tables.changelogged.members import MemberKey, Members, pack_member
from tables.changelogged.operations import BLOCK_ROWS, ROW_PREFIX
from tables.fold import Folded, UniqueOperation, apply_members
from tables.instants.sweep import Sweep
from tables.reading.verification import Verification
from tables.unique_count import Member, MemberOperation, was_active
from tests.world.begun import begun
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    lines,
    metric_body,
    plan_body,
    subscription_body,
)
from tests.world.events import arrived, event, slices
from tests.world.partition import Live
from tests.world.profiles import examples
from tests.world.repaired import Repaired

NAME = (b"set", "seat")
PAID_AT_ONCE = {"heads": False, "seats": True, "passes": False}
"""Unique counts, and whether they are prorated; but for passes they recur."""
END_MS = START_MS + 6 * WEEK_MS


@contextmanager
def room_in_a_member(operations: int) -> Iterator[None]:
    """Let members keep fewer operations, so that few events have rows."""
    known = unique_count.WHOLE_OPERATIONS
    unique_count.WHOLE_OPERATIONS = operations
    try:
        yield
    finally:
        unique_count.WHOLE_OPERATIONS = known


# One property


@st.composite
def operations(draw: st.DrawFn, most: int = 40) -> list[MemberOperation]:
    """Operations of one property in order of position, some of one instant."""
    made, append_time_ms = [], 1000
    for offset in range(draw(st.integers(0, most))):
        append_time_ms += draw(st.sampled_from([0, 0, 1, 7]))
        position = (append_time_ms, draw(st.integers(0, 1)), offset, 0)
        timestamp_ms = draw(st.integers(-3, 12))
        made.append(MemberOperation(0, 0, timestamp_ms, position, draw(st.booleans())))
    return made


@examples(200)
@given(st.data())
def test_rows_know_what_came_before_as_a_whole_member_does(data: st.DataObject) -> None:
    """In any order, settled at any moments, half of it restored from the changelog."""
    made = data.draw(operations())
    whole: Member = tuple(sorted(made, key=lambda o: (o.timestamp_ms, o.position)))
    table, kept = InstantTable(), dict[bytes, bytes]()
    arriving, count = data.draw(st.permutations(made)), data.draw(st.integers(0, len(made)))
    for operation in arriving[:count]:
        table.operations.add(NAME, operation)
    kept.update((key, value) for key, value in table.take_changes().items() if value is not None)
    table = InstantTable()
    for key, value in kept.items():
        table.load(key, value)
    drained(table.operations.settling(data.draw(st.integers(0, 1400))))
    for operation in [*arriving[count:], *arriving[: data.draw(st.integers(0, 3))]]:
        table.operations.add(NAME, operation)
    assert table.sum.records == len(made)
    sweep = Sweep(Members(capacity=None, operations=table.operations))
    for one in sorted(made, key=lambda o: o.position):
        asked = (one.timestamp_ms, one.position, one.position)
        assert sweep.was_active(NAME, *asked) == was_active(whole, *asked)
        if data.draw(st.integers(0, 5)) == 0:
            drained(table.operations.settling(one.position[0]))


@examples(60)
@given(st.data())
def test_dropped_rows_leave_nothing_behind(data: st.DataObject) -> None:
    made, other = data.draw(operations()), (b"other", "seat")
    table = InstantTable()
    for operation in data.draw(st.permutations(made)):
        table.operations.add(NAME, operation)
        table.operations.add(other, operation)
    drained(table.operations.settling(data.draw(st.integers(0, 1400))))
    table.operations.drop([NAME[0]])
    if data.draw(st.booleans()):
        drained(table.operations.deleting())
    again = data.draw(st.lists(st.sampled_from(made), max_size=3)) if made else []
    for operation in again:
        table.operations.add(NAME, operation)
    drained(table.operations.deleting())
    kept = {key: value for key, value in table.take_changes().items() if value is not None}
    assert len(kept) == table.sum.records == len(made) + len(set(again))
    restored = InstantTable()
    for key, value in kept.items():
        restored.load(key, value)
    assert restored.operations.of_set(b"other") == table.operations.of_set(b"other")
    assert restored.operations.of_set(b"set") == table.operations.of_set(b"set")


# A partition


def definitions_of() -> list[CommandAt]:
    plan = plan_body(PAID_AT_ONCE)
    for charge in plan["charges"]:
        prorated = PAID_AT_ONCE[charge["code"]]
        charge |= {"pay_in_advance": True, "prorated": prorated}
    made = [commands.set_settings(SETTINGS)]
    made += [commands.create_billable_metric(ORG, metric_body(code)) for code in PAID_AT_ONCE]
    made.append(commands.create_plan(ORG, plan))
    made.append(commands.upsert_customer(ORG, {"external_id": "customer"}))
    made.append(commands.create_subscription(ORG, subscription_body()))
    return lines((START_MS - DAY_MS, command) for command in made)


DEFINITIONS = definitions_of()


@st.composite
def seats(draw: st.DrawFn) -> list[Arrival]:
    """Events of one or two properties, many of them late and some of them repeated."""
    made: list[Arrival] = []
    append_time_ms = START_MS + DAY_MS
    for offset in range(draw(st.integers(4, 14))):
        append_time_ms += draw(st.sampled_from([0, 1, 20_000, DAY_MS, WEEK_MS]))
        late_ms = draw(st.sampled_from([0, 0, 1, 30_000, DAY_MS, 8 * DAY_MS]))
        name = f"t{draw(st.integers(0, 30))}"
        code = draw(st.sampled_from(tuple(PAID_AT_ONCE)))
        properties: dict[str, Any] = {
            "u": draw(st.sampled_from("aaab")),
            "g": "x",
            "operation_type": draw(st.sampled_from(["add", "remove"])),
        }
        made.append(
            arrived(
                code,
                offset,
                append_time_ms - late_ms,
                append_time_ms,
                transaction_id=name,
                **properties,
            )
        )
    return made


def in_order(events: Sequence[Arrival]) -> Live:
    live = Live(DEFINITIONS)
    live.define_all()
    for arrival in sorted(events, key=lambda each: each.position):
        live.close_until(arrival.append_time_ms - 1)
        live.deliver([arrival])
    return live


def end_of(live: Live) -> int:
    """Return when six weeks are over and all was appended: in order, cuts were taken so far."""
    return max(END_MS, *(each.append_time_ms for each in live.arrived()))


def told(live: Live) -> tuple[list[bytes], dict[Any, Any]]:
    live.close_until(end_of(live))
    return live.values(), live.cells()


def changelogs(live: Live) -> tuple[dict[MemberKey, bytes], dict[bytes, bytes]]:
    """Members and rows as they are written, whatever refold made them."""
    live.flush()
    live.empty_sets()
    live.flush()

    def ungenerated(key: bytes) -> bytes:
        named = msgspec.msgpack.decode(key)
        return msgspec.msgpack.encode([*named[:3], *named[4:]])

    rows = {
        ungenerated(msgspec.msgpack.decode(key[1:-32])[0])
        + msgspec.msgpack.decode(key[1:-32])[1].encode()
        + key[-32:]: value
        for key, value in live.changelog.tables["instants"].items()
        if key.startswith(ROW_PREFIX)
    }
    members = live.changelog.members.items()
    return {(ungenerated(key), text): value for (key, text), value in members}, rows


@examples(80)
@given(st.data())
def test_order_batches_refolds_and_restarts_tell_and_write_the_same(data: st.DataObject) -> None:
    events = data.draw(seats())
    with room_in_a_member(data.draw(st.sampled_from([1, 2, 3]))):
        live = Live(DEFINITIONS)
        live.define_all()
        for batch in data.draw(slices(events)):
            live.deliver(batch)
            if data.draw(st.integers(0, 3)) == 0:
                live.refold_all()
            if data.draw(st.integers(0, 3)) == 0:
                live.restart()
        live.deliver(events[: data.draw(st.integers(0, len(events)))])
        one, other = in_order(events), live
        assert told(one) == told(other)
        for each in (one, other):
            each.refold_all()
        assert changelogs(one) == changelogs(other)
    whole = in_order(events)
    assert told(whole) == told(one)


def test_what_comes_after_six_weeks_is_told_alike_in_any_batches() -> None:
    events = [
        arrived("heads", offset, at_ms, transaction_id=f"t{offset}", u="a", operation_type="add")
        for offset, at_ms in enumerate((START_MS + DAY_MS, END_MS + DAY_MS, END_MS + 2 * DAY_MS))
    ]
    live = Live(DEFINITIONS)
    live.define_all()
    live.deliver(events)
    assert told(in_order(events)) == told(live)


@examples(40)
@given(st.data())
def test_verify_finds_nothing_and_misses_no_row(data: st.DataObject) -> None:
    events = data.draw(seats())
    with room_in_a_member(2):
        live = in_order(events)
        end_ms = end_of(live)
        live.close_until(end_ms)
        verification = begun(Verification(live.partition, [(ORG, SUBSCRIPTION)]))
        verification.feed(live.arrived())
        at_hand, next_cut_ms = live.partition.members, end_ms
        sets = verification.member_sets(verification.meter_keys)

        def differences() -> int:
            found = at_hand.at_hand({each.key for each in sets})
            return sum(
                each.difference(0, {}, found.get(each.key, {}), next_cut_ms) is not None
                for each in sets
            )

        assert differences() == 0
        for each in sets:
            for rows in each.rows.values():
                rows.pop()
        assert differences() == sum(bool(each.rows) for each in sets)


def test_what_an_older_program_wrote_gets_rows_when_it_changes() -> None:
    """It kept all operations of a property in its member, however many they were."""
    events = [
        arrived(
            "passes",
            i,
            START_MS + DAY_MS + (i * 7 % 50) * 1000,
            START_MS + DAY_MS + i * 1000 + 60_000,
            u="a",
            g="x",
            operation_type="remove" if i % 3 else "add",
        )
        for i in range(50)
    ]
    with room_in_a_member(1000):
        old = in_order(events[:40])
        old.close_until(events[39].append_time_ms)
        old.restart()
        assert not changelogs(old)[1]
    for arrival in events[40:]:
        old.deliver([arrival])
    old.restart()
    new = in_order(events)
    assert told(old) == told(new)
    assert changelogs(old) == changelogs(new)
    assert len(changelogs(new)[1]) == 50


def test_a_correction_that_makes_an_operation_of_an_event_asks_for_its_member() -> None:
    """Its members are no longer at hand when its cut comes."""
    plan = plan_body(["spent", "passes"])
    made = [
        commands.set_settings(SETTINGS),
        *(commands.create_billable_metric(ORG, metric_body(code)) for code in ("spent", "passes")),
        commands.create_plan(ORG, plan),
        commands.create_subscription(ORG, subscription_body()),
    ]
    told = lines((START_MS - DAY_MS, command) for command in made)
    live = Repaired(told, repairs=True)
    live.deliver([arrived("passes", 0, START_MS, u="a", g="x")])
    live.close_until(START_MS + HOUR_MS)
    at_ms = START_MS + 2 * HOUR_MS + 1
    live.deliver([arrived("spent", 1, at_ms, v="1")])
    to = event("passes", "t1", at_ms, u="a", g="x")
    amended = Correction(ORG, SUBSCRIPTION, "t1", "amend", to, "c", b"")
    live.correct(CorrectionArrival(amended, ORG, at_ms + 1, 0, 2, 0))
    live.restart()
    live.close_until(at_ms + HOUR_MS)
    assert [record["units"] for record in live.instants()] == ["1.0", "0.0"]


# However many there are


def cost_of(count: int, step_ms: int) -> tuple[float, float, int]:
    """Bytes written and rows looked at for each operation of one property, and the longest row.

    `step_ms`: from one event to the next; the log has them a second apart.
    """
    live = Live(DEFINITIONS)
    live.define_all()
    (span,) = live.partition.packing.route_of((ORG, SUBSCRIPTION, "heads")).spans
    layer = span.layer_at(START_MS + WEEK_MS - 1)
    assert layer is not None
    cell, members, folded = layer.cell(None, ()), live.partition.members, Folded()
    name = (span.set_named((None, (), None)), "seat")
    members.create_empty(name[0])
    written, longest, looked_at = 0, 0, members.operations.looked_at
    for first in range(0, count, 500):
        made = [
            MemberOperation(
                layer.start_ms,
                0,
                START_MS + WEEK_MS - 1_000_000 + i * step_ms,
                (START_MS + i * 1000, 0, i, 0),
                i % 3 > 0,
            )
            for i in range(first, min(count, first + 500))
        ]
        for one in reversed(made):
            before = members.get(name)
            apply_members([UniqueOperation(cell, name, one)], members, 0, folded)
            now = members.get(name)
            if now != before:
                written += len(pack_member(now))
                longest = max(longest, len(pack_member(now)))
        sweep = Sweep(members)
        for one in made:
            sweep.was_active(name, one.timestamp_ms, one.position, one.position)
        drained(members.operations.settling(made[-1].position[0]))
    rows = live.partition.instants.take_changes()
    written += sum(len(key) + len(value or b"") for key, value in rows.items())
    return written / count, (members.operations.looked_at - looked_at) / count, longest


@pytest.mark.parametrize(
    ("step_ms", "most"),
    [(9, 100_000), (-9, 10_000), (0, 10_000)],
    ids=["in order", "backwards", "of one instant"],
)
def test_each_operation_costs_the_same_however_many_there_are(step_ms: int, most: int) -> None:
    few, more, many = (cost_of(count, step_ms) for count in (1_000, 10_000, most))
    assert many[0] <= more[0] * 1.02 <= few[0] * 1.04 < 500
    assert max(few[1], more[1], many[1]) <= 4
    assert few[2] == more[2] == many[2] < 1_000
    assert BLOCK_ROWS < 1_000


def test_the_same_holds_from_event_to_figure() -> None:
    costs: list[tuple[float, float]] = []
    for count in (500, 2_000):
        live, written = Live(DEFINITIONS), 0
        live.define_all()
        begun_ms = START_MS + DAY_MS
        for first in range(0, count, 100):
            events = [
                arrived(
                    "passes",
                    i,
                    begun_ms + (count - i) * 10,
                    begun_ms + DAY_MS + i * 1000,
                    u="a",
                    g="x",
                    operation_type="remove" if i % 3 else "add",
                )
                for i in range(first, first + 100)
            ]
            live.deliver(events)
            live.close_until(events[-1].append_time_ms - 1)
            changes = live.changelog.take(live.partition)
            rows = {k: v for k, v in changes.rows["instants"].items() if k.startswith(ROW_PREFIX)}
            written += sum(
                len(v or b"") for v in (*changes.rows["members"].values(), *rows.values())
            )
            written += sum(map(len, rows))
        assert len(live.instants()) > count - 200
        looked_at = live.partition.members.operations.looked_at
        costs.append((written / count, looked_at / count))
    few, many = costs
    assert many[0] <= few[0] * 1.01 < 500
    assert many[1] <= few[1] * 1.5 < 6
