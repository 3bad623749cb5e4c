"""What is queued for definitions alone leaves out what is forgotten; everything else does not."""

from __future__ import annotations

from app.runtime.partition.refold_queue import RefoldQueue
from app.wire.arrivals import MeterKey
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
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
    queued.want_displaced()
    state.stale.miss([OTHER])
    queued.want_orphaned()
    assert state.stale.whole_keys == {ONE, OTHER}


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
