"""What is queued for definitions alone leaves out what is forgotten; everything else does not."""

from __future__ import annotations

from app.runtime.partition.refold_queue import RefoldQueue
from app.wire.arrivals import MeterKey
from tables.event_index.index import EventIndex
from tables.partition.left_out import FROM_THE_FIRST
from tables.partition.partition import Partition
from tests.world.definitions import definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

ONE: MeterKey = ("o", "one", "gb")
OTHER: MeterKey = ("o", "other", "gb")


def queue() -> tuple[RefoldQueue, Partition]:
    state = Partition(0, Live().definitions, EventIndex())
    return RefoldQueue(state), state


def test_a_meter_key_is_refolded_as_a_whole_if_anything_asks_for_it() -> None:
    queued, state = queue()
    queued.want([ONE, OTHER], 1, redefined=True)
    assert state.stale.whole_keys == set()
    queued.want([ONE], 2)
    queued.want([ONE], 3, redefined=True)
    assert state.stale.whole_keys == {ONE}


def test_what_an_earlier_copy_changes_is_refolded_as_a_whole() -> None:
    queued, state = queue()
    state.stale.displace([ONE])
    runs = [(ONE, [arrived("gb", 0, 7), arrived("gb", 1, 5)]), (OTHER, [arrived("gb", 2, 9)])]
    queued.want_displaced(runs)
    assert queued.since_ms == 5
    # Of a repair: nobody knows from when on.
    state.stale.displace([ONE])
    queued.want_displaced()
    assert queued.since_ms == state.checkpoint.cut_ms
    state.stale.miss([OTHER])
    queued.want_orphaned()
    assert state.stale.whole_keys == {ONE, OTHER}


def test_a_repair_waits_for_a_refold_for_corrections_and_so_does_its_cut() -> None:
    """Else the refold that comes next would have to be one of all codes."""
    queued, _ = queue()
    name = ONE[:2]
    queued.want_repair(name, 5)
    assert not queued.defer_repair(name)
    queued.recorrect(name, 5, {ONE}, 2)
    queued.want_repair(name, 4)
    assert queued.defer_repair(name)
    assert not queued.repairs
    assert queued.since_ms == 4
    meter_keys, names = queued.begin()
    assert (set(meter_keys), set(names)) == ({ONE}, {name})
    queued.want_repair(name, 3)
    assert queued.defer_repair(name)
    assert queued.since_ms == 3
    queued.let_cuts_go_on((0, -1))
    queued.want_repair(name, 6)
    assert not queued.defer_repair(name)
    assert queued.since_ms == 6


def test_what_is_forgotten_may_stay_so_if_no_correction_is_of_before() -> None:
    queued, state = queue()
    name = ONE[:2]
    queued.recorrect(name, 5, {ONE}, 20)
    assert state.stale.whole_keys == set()
    queued.recorrect(name, 5, {ONE}, 10)
    queued.recorrect(name, 5, {ONE}, 30)
    meter_keys, names = queued.begin()
    assert names == {name: 10}
    queued.recorrect(name, 5, {ONE}, 40)
    queued.put_back(meter_keys, names)
    assert queued.begin()[1] == {name: 10}
    queued.recorrect(name, 5, {ONE}, FROM_THE_FIRST)
    assert state.stale.whole_keys == {ONE}


def test_no_repair_waits_for_a_refold_of_nothing() -> None:
    """Nobody knows an event of the subscription, so no meter key was queued."""
    queued, _ = queue()
    queued.requeue_corrections([ONE[:2]], 5)
    queued.want_repair(ONE[:2], 4)
    assert not queued.defer_repair(ONE[:2])


def test_it_is_so_until_it_was_done() -> None:
    queued, state = queue()
    queued.want([ONE], 1)
    meter_keys, _ = queued.begin()
    # An earlier copy comes while the refold runs: another one is to follow.
    queued.want([OTHER], 2)
    queued.swapped(meter_keys)
    queued.let_cuts_go_on((0, -1))
    assert state.stale.whole_keys == {OTHER}
    meter_keys, _ = queued.begin()
    queued.put_back(meter_keys, {})
    assert state.stale.whole_keys == {OTHER}
    queued.begin()
    queued.swapped([OTHER])
    queued.let_cuts_go_on((0, -1))
    assert state.stale.whole_keys == set()


def test_cuts_wait_for_what_was_queued_before_them() -> None:
    queued, _ = queue()
    queued.want([ONE], 5)
    taken = queued.begin()
    queued.want([OTHER], 9)
    assert queued.since_ms == 5
    queued.put_back(*taken)
    assert queued.since_ms == 5
    queued.begin()
    queued.want([ONE], 12)
    queued.let_cuts_go_on((0, -1))
    assert queued.since_ms == 12
    # After a refold of two has failed only one is taken at a time.
    queued.want([OTHER], 14)
    queued.halve(2)
    assert set(queued.begin()[0]) == {ONE}
    queued.let_cuts_go_on((0, -1))
    assert queued.since_ms == 12
    queued.begin()
    queued.let_stand({OTHER[:2]}, "lost", [OTHER], {})
    queued.let_cuts_go_on((0, -1))
    assert queued.since_ms is None


def test_cells_stand_under_what_comes_before_what_is_left_to_do() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    definitions = live.definitions
    first_ms, last_ms = definitions.records.times_ms[0], definitions.records.times_ms[-1]
    last = definitions.offset, definitions.append_time_ms
    queued = RefoldQueue(live.partition)
    queued.want([ONE], last_ms)
    queued.begin()
    queued.want([OTHER], last_ms + 1)
    queued.note_definitions(*last)
    assert queued.definitions_taken == (definitions.last_offset_at(last_ms - 1) + 1, last_ms - 1)
    queued.let_cuts_go_on(last)
    assert queued.definitions_taken == last
    queued.want([ONE], first_ms)
    queued.note_definitions(*last)
    assert queued.definitions_taken == last
