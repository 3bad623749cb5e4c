"""Packing cells away, at whatever moment, never changes a figure."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from tables.changelogged.checkpoint import Checkpoint
from tables.changelogged.checksum import record_hash
from tables.closing.close import close_subscription
from tables.partition.cooling import GRAIN_MS, IDLE_MS, WARM_BYTES, Cooling
from tables.reading.series import Series, SeriesWindow
from tables.reading.tracing import Tracer
from tables.reading.usage import current_usage_steps
from tables.reading.verification import Verification
from tests.laws.test_partition import ALL, GRACES, few, in_order, same
from tests.world.begun import begun
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    changing_definitions,
    definitions_of,
)
from tests.world.events import arrivals, arrived
from tests.world.partition import AtOnce, Live

NAME = (ORG, SUBSCRIPTION)


@few
@given(st.data())
def test_cooling_between_definitions_and_events(data: st.DataObject) -> None:
    definitions = data.draw(changing_definitions(ALL))
    events = data.draw(arrivals(ALL))
    live, warm = Live(definitions), Live(definitions)
    for arrival in events:
        defined, flushed = data.draw(st.tuples(st.integers(0, 3), st.booleans()))
        for one in (live, warm):
            one.define(defined)
            one.deliver([arrival])
            if flushed:
                one.flush()
        # What the changelog does not have yet must stay as it is.
        live.partition.packing.pack(NAME)
        assert not (flushed and live.partition.routes.spans) or live.partition.standing.changes
    same(in_order(definitions, events), live)
    same(warm, live)
    for one in (warm, live):
        one.flush()
    assert warm.changelog.tables["presence"] == live.changelog.tables["presence"]


@few
@given(st.data())
def test_definitions_and_readers_find_some_codes_packed_and_others_at_hand(
    data: st.DataObject,
) -> None:
    codes = data.draw(st.lists(st.sampled_from(ALL), min_size=2, max_size=5, unique=True))
    definitions = data.draw(changing_definitions(codes))
    live, warm = Live(definitions), Live(definitions)
    for one in (live, warm):
        one.define_until(START_MS)
    for arrival in data.draw(arrivals(codes, max_events=24)):
        defined, packed, read = data.draw(st.tuples(*[st.integers(0, 3)] * 3))
        for one in (live, warm):
            one.define(int(defined == 0))
            one.deliver([arrival])
            one.flush()
        if read == 0:
            asked = NAME, max(arrival.append_time_ms, START_MS)
            found = [drained(current_usage_steps(o.partition, *asked)) for o in (live, warm)]
            assert found[0] == found[1]
        if packed < 2:
            live.partition.packing.pack(NAME)
    same(warm, live)
    for one in (warm, live):
        one.flush()
    assert warm.changelog.tables["presence"] == live.changelog.tables["presence"]


@few
@given(st.data())
def test_unpacking_by_steps_between_definitions_and_events(data: st.DataObject) -> None:
    definitions = data.draw(changing_definitions(ALL))
    live, warm = Live(definitions), Live(definitions)
    taken, steps = st.integers(0, 4), live.partition.packing.unpacking(NAME)
    with (
        patch("tables.partition.packing.STEP_ITEMS", 1),
        patch("tables.partition.filling.STEP_ITEMS", 1),
    ):
        for arrival in data.draw(arrivals(ALL)):
            defined = data.draw(st.integers(0, 3))
            for one in (live, warm):
                one.define(defined)
            list(islice(steps, data.draw(taken)))
            for one in (live, warm):
                one.deliver([arrival])
                one.flush()
            list(islice(steps, data.draw(taken)))
            live.partition.packing.pack(NAME)
            steps = live.partition.packing.unpacking(NAME)
            list(islice(steps, data.draw(taken)))
        drained(steps)
    same(warm, live)
    for one in (warm, live):
        one.flush()
    assert warm.changelog.tables["presence"] == live.changelog.tables["presence"]


def test_what_changes_between_two_steps_stays_at_hand() -> None:
    live = Live(definitions_of(["count", "max"]))
    live.define_all()
    live.deliver([arrived(code, i, START_MS, v="1") for i, code in enumerate(("count", "max"))])
    live.flush()
    partition = live.partition
    for offset, flushes in enumerate((False, True), 2):
        with (
            patch("tables.partition.packing.STEP_ITEMS", 1),
            patch("tables.partition.filling.STEP_ITEMS", 1),
        ):
            packing = partition.packing.packing(NAME)
            # Of two cells the first is packed by now.
            next(packing)
            next(packing)
            live.deliver([arrived("count", offset, START_MS, v="1")])
            if flushes:
                live.flush()
            drained(packing)
        assert not partition.packing.is_packed(NAME)
        live.flush()
    usage = drained(current_usage_steps(partition, NAME, START_MS))
    assert usage is not None
    assert [str(row.units) for row in usage.rows] == ["3", "1"]


def test_packed_cells_of_several_periods_come_back_to_their_own() -> None:
    live = Live(definitions_of(["sum"]))
    live.define_all()
    weeks = (2, 0, 1)
    live.deliver([arrived("sum", n, START_MS + n * WEEK_MS, v=str(n + 1)) for n in weeks])
    live.flush()
    packing, spans = live.partition.packing, live.partition.routes.spans

    def cells() -> dict[int, bytes]:
        drained(packing.unpacking_all(NAME))
        return {
            layer.start_ms: cell.packed()
            for span in spans.values()
            for layer in span.layers.values()
            for cell in layer.cells.values()
        }

    before = cells()
    packing.pack(NAME)
    assert not spans
    assert cells() == before
    assert len(set(before.values())) == len(weeks)


def test_cells_that_no_event_touches_are_packed() -> None:
    live = Live(definitions_of(["sum"]))
    live.define_all()
    live.deliver([arrived("sum", 0, START_MS, v="1")])
    live.flush()
    partition = live.partition
    cooling, checkpoint = Cooling(partition), partition.checkpoint

    def warm_after(idle_ms: int, most_bytes: int = 1 << 20) -> bool:
        checkpoint.append_time_ms = START_MS + idle_ms
        drained(cooling.cooling(most_bytes))
        return bool(partition.routes.by_key)

    assert warm_after(0)
    assert warm_after(IDLE_MS - 1)
    assert partition.event_ranges.codes.count_awake == 1
    assert not warm_after(IDLE_MS + GRAIN_MS)
    assert partition.event_ranges.codes.count_awake == 0
    assert not any(partition.timelines.names_of(ORG))
    assert not cooling.has_work
    partition.packing.unpack(NAME)
    assert warm_after(IDLE_MS // 2)
    assert not warm_after(IDLE_MS // 2, most_bytes=1)


@few
@given(st.data())
def test_whatever_is_at_hand_cools_once_it_is_idle(data: st.DataObject) -> None:
    """Definitions, looks, restarts and looks that break off leave none that is forgotten."""
    definitions = data.draw(changing_definitions(ALL))
    live = AtOnce(definitions)
    for arrival in data.draw(arrivals(ALL)):
        live.define(data.draw(st.integers(0, 3)))
        live.deliver([arrival])
        live.partition.checkpoint.append_time_ms = arrival.append_time_ms
        step = data.draw(st.sampled_from(["flush", "look", "restart", "cool", "break off", ""]))
        if step == "restart":
            live.restart()
        elif step == "flush":
            live.flush()
        elif step == "look":
            live.look_up_ahead(NAME)
            drained(current_usage_steps(live.partition, NAME, arrival.append_time_ms))
        elif step:
            steps = Cooling(live.partition).cooling(data.draw(st.sampled_from([0, 1 << 30])))
            next(steps, None)
            if step == "cool":
                drained(steps)
            steps.close()
    live.define_all()
    live.flush()
    # Restored times of events are up to an hour late.
    live.partition.checkpoint.append_time_ms += IDLE_MS + HOUR_MS + GRAIN_MS
    cooling = Cooling(live.partition)
    drained(cooling.cooling(1 << 30))
    for _ in live.partition.packing.pack_later():
        pass
    assert not live.partition.routes.by_key
    assert not any(live.partition.timelines.names_of(ORG))
    live.partition.checkpoint.append_time_ms += IDLE_MS + 2 * GRAIN_MS
    drained(cooling.cooling(1 << 30))
    assert not cooling.has_work
    live.flush()
    assert live.partition.event_ranges.codes.count_awake == 0


def test_who_was_refolded_for_a_copy_of_another_code_cools_as_well() -> None:
    """Settings that are read late refuse an event; its copy counts, and has another code."""
    definitions = definitions_of(["count", "sum"])
    narrow = commands.set_settings(replace(SETTINGS, late_window_s=DAY_MS // 1_000))
    live = AtOnce([*definitions, CommandAt(START_MS, len(definitions), narrow)])
    late_ms = START_MS + 3 * WEEK_MS
    first = arrived("count", 0, START_MS, transaction_id="t")
    copy = arrived("sum", 1, late_ms, transaction_id="t", v="1")
    live.define(len(definitions))
    live.deliver([replace(first, append_time_ms=late_ms), copy])
    live.define_all()
    live.flush()
    cooling = Cooling(live.partition)
    live.partition.checkpoint.append_time_ms = late_ms + IDLE_MS + 2 * GRAIN_MS
    drained(cooling.cooling(1 << 30))
    assert not live.partition.routes.by_key
    usage = drained(current_usage_steps(live.partition, NAME, late_ms))
    assert usage is not None
    assert [str(row.units) for row in usage.rows] == ["1"]
    assert not usage.stale


@pytest.mark.parametrize("breaks_off", [False, True])
def test_what_stays_at_hand_at_a_look_is_looked_at_again(breaks_off: bool) -> None:
    live = Live(definitions_of(["sum"]))
    live.define_all()
    live.deliver([arrived("sum", 0, START_MS, v="1")])
    if breaks_off:
        live.flush()
    partition, cooling = live.partition, Cooling(live.partition)
    partition.checkpoint.append_time_ms = START_MS + IDLE_MS + GRAIN_MS
    with (
        patch("tables.partition.packing.STEP_ITEMS", 1),
        patch("tables.partition.filling.STEP_ITEMS", 1),
    ):
        steps = cooling.cooling(1 << 30)
        next(steps, None)
        steps.close()
    assert partition.routes.by_key
    live.flush()
    partition.checkpoint.append_time_ms += IDLE_MS + 2 * GRAIN_MS
    drained(cooling.cooling(1 << 30))
    assert not partition.routes.by_key


def test_beyond_the_room_for_warm_cells_those_touched_longest_ago_are_packed() -> None:
    live = Live(definitions_of(["sum"]))
    live.define_all()
    names = [(ORG, f"idle_{number}") for number in range(4)]
    for number, name in enumerate(names):
        at_ms = START_MS + number * GRAIN_MS
        live.deliver([arrived("sum", number, at_ms, external_id=name[1], v="1")])
    live.flush()
    partition = live.partition
    partition.checkpoint.append_time_ms = START_MS + 4 * GRAIN_MS
    drained(Cooling(partition).cooling(2 * WARM_BYTES))
    assert [key[:2] for key in partition.routes.by_key] == names[2:]


def test_who_was_touched_is_not_looked_at_before_it_may_be_idle() -> None:
    live = Live(definitions_of(["sum"]))
    live.define_all()
    live.deliver([arrived("sum", n, START_MS, external_id=f"warm_{n}", v="1") for n in range(9)])
    live.flush()
    partition, cooling = live.partition, Cooling(live.partition)
    partition.checkpoint.append_time_ms = START_MS
    drained(cooling.cooling(1 << 30))
    looked = partition.work.counts["cool", "names"]
    for idle_ms in range(0, IDLE_MS, GRAIN_MS):
        partition.checkpoint.append_time_ms = START_MS + idle_ms
        drained(cooling.cooling(1 << 30))
    assert partition.work.counts["cool", "names"] == looked == 9


def test_a_look_installs_nothing_that_stays() -> None:
    live = Live(definitions_of(["sum"]))
    live.define_all()
    live.deliver([arrived("sum", 0, START_MS, v="1")])
    live.flush()
    partition = live.partition
    partition.packing.pack(NAME)
    drained(current_usage_steps(partition, NAME, START_MS))
    assert not partition.routes.by_key
    assert any(partition.timelines.names_of(ORG))
    partition.checkpoint.append_time_ms = START_MS + IDLE_MS + GRAIN_MS
    cooling = Cooling(partition)
    drained(cooling.cooling(1 << 20))
    assert not any(partition.timelines.names_of(ORG))
    assert not cooling.has_work


def test_definitions_of_one_millisecond() -> None:
    """The first is none of a packed meter key's concern, the second brings back another of them."""
    definitions, folded = definitions_of(["sum", "balance"]), []
    for cools in (False, True):
        live = Live(definitions)
        live.define_all()
        live.deliver(
            [arrived("sum", 0, START_MS, v="1"), arrived("balance", 1, START_MS + WEEK_MS, v="1")]
        )
        live.flush()
        if cools:
            live.partition.packing.pack(NAME)
        at_ms = START_MS + WEEK_MS + DAY_MS
        live.append(at_ms, commands.delete_billable_metric(ORG, "sum"))
        live.append(at_ms, commands.delete_billable_metric(ORG, "balance"))
        live.deliver([arrived("sum", 2, at_ms + 1, v="1")])
        folded.append(live.cells())
    assert folded[0] == folded[1]


def test_a_later_fold_version_reaches_periods_that_are_fixed() -> None:
    """They are asked for by the keys that they are presented by, ever after."""
    definitions = definitions_of(["sum"], replace(SETTINGS, fold_version=1), presents=True)
    folded = []
    for cools in (False, True):
        live = Live(definitions)
        live.define_all()
        live.deliver([arrived("sum", 0, START_MS, v="1")])
        live.flush()
        live.close_until(START_MS + 3 * WEEK_MS)
        if cools:
            live.partition.packing.pack(NAME)
            assert live.partition.packing.is_packed(NAME)
        live.append(START_MS + 4 * WEEK_MS, commands.set_settings(SETTINGS))
        folded.append(live.cells())
    assert folded[0] == folded[1]


@few
@given(st.data())
def test_a_cut_leaves_packed_cells_as_they_were(data: st.DataObject) -> None:
    definitions = definitions_of(ALL, data.draw(GRACES), presents=True)
    events = data.draw(arrivals(ALL))
    live = Live(definitions)
    live.define_all()
    live.deliver(events)
    live.flush()
    partition = live.partition
    partition.packing.pack(NAME)
    packed = partition.packing.pieces(NAME)
    partition.packing.as_packed.clear()
    cut_ms = START_MS + WEEK_MS
    live.define_until(cut_ms)
    records = list(close_subscription(partition, NAME, cut_ms))
    partition.packing.pack(NAME, partition.packing.as_packed.pop(NAME, ()))
    assert partition.packing.pieces(NAME) == packed
    assert not partition.routes.spans
    hot = in_order(definitions, [])
    hot.deliver(events)
    hot.define_until(cut_ms)
    assert records == list(close_subscription(hot.partition, NAME, cut_ms))


def test_a_number_that_an_older_program_spelled_otherwise() -> None:
    """It is no difference to verify, and is written anew before its cell is packed away."""
    live = Live(definitions_of(["max"]))
    live.define_all()
    live.deliver([arrived("max", 0, START_MS, v="1")])
    live.flush()
    log = live.changelog
    ((key, written),) = log.cells.items()
    version, ((cut_ms, state),), *more = msgspec.msgpack.decode(written)
    older = msgspec.msgpack.encode((version, [(cut_ms, [*state[:-1], "1.0"])], *more))
    checkpoint = msgspec.msgpack.decode(log.record, type=Checkpoint)
    checkpoint.cells_hash = record_hash(key, older)
    log.cells[key], log.record = older, msgspec.msgpack.encode(checkpoint)
    live.partition = log.restored(live.definitions)
    verification = begun(Verification(live.partition, [NAME]))
    verification.feed(live.arrived())
    assert [meter_key.differences for meter_key in filter(None, verification.compare())] == [[]]
    live.partition.packing.unpack(NAME)
    live.partition.packing.pack(NAME)
    live.restart()
    assert log.cells == {key: written}
    live.partition.packing.pack(NAME)
    assert not live.partition.routes.spans


@pytest.mark.parametrize(
    ("carry", "version"),
    [([False, False], 2), ([True, True], 2), ([False, True], 66), ([True, False], 66)],
)
def test_an_earlier_program_leaves_a_cell_with_bare_events_alone(
    carry: list[bool], version: int
) -> None:
    """It would lose count of those without an amount; this one comes back to the same cell."""
    live = Live(definitions_of(["sum"]))
    live.define_all()
    for offset, carries in enumerate(carry):
        arrival = arrived("sum", offset, START_MS, v="1")
        amount = Decimal(2) if carries else None
        event = replace(arrival.event, precise_total_amount_cents=amount)
        live.deliver([replace(arrival, event=event)])
    live.flush()
    (written,) = live.changelog.cells.values()
    assert msgspec.msgpack.decode(written)[0] == version
    live.restart()
    live.deliver([arrived("sum", 2, START_MS, v="0")])
    live.flush()
    bare = 0 if not any(carry) else 1 + carry.count(False)
    ((_, ((_, state),), *_),) = map(msgspec.msgpack.decode, live.changelog.cells.values())
    assert state[3:] == ["2", "0", *([bare] if bare else [])]


def test_traces_and_series_of_packed_cells_know_which_groups_are_admitted() -> None:
    live = Live(definitions_of(["sum"], SettingsRecord(grace_s=0, max_groups=1)))
    live.define_all()
    events = [
        arrived("sum", offset, START_MS, transaction_id=g, v="1", g=g)
        for offset, g in enumerate("xy")
    ]
    live.deliver(events)

    def told() -> tuple[str, str]:
        meter_key = (*NAME, "sum")
        (traced,) = Tracer(live.partition, meter_key).trace(events[1])
        live.partition.packing.pack(NAME)
        series = Series(
            live.partition, meter_key, [SeriesWindow(START_MS, START_MS + WEEK_MS)], "UTC"
        )
        for each in events:
            series.feed(each)
        (charge,) = drained(series.values())
        return str(traced.reason), str(charge.values[0].units)

    live.flush()
    assert told() == ("too_many_groups", "1")
    live.partition.packing.pack(NAME)
    assert not live.partition.routes.by_key
    assert told() == ("too_many_groups", "1")
