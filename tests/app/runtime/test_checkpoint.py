"""The checkpoint fits into its topic, whatever is under a refold."""

from __future__ import annotations

import sys

import msgspec
import pytest

from app.definitions.state import Definitions
from app.kafka.topics import CHANGELOG_MESSAGE_BYTES
from app.runtime.partition.cuts import Cuts
from app.runtime.partition.flush import FlushPacking
from app.runtime.partition.forwarder import Forwards
from app.runtime.partition.next_flush import NextFlush
from app.runtime.partition.refold_queue import RefoldQueue
from app.runtime.restoring.restore import refolding_keys
from app.runtime.topics.changelogs import MOST_REFOLDING
from app.wire.arrivals import MeterKey
from tables.changelogged.checkpoint import Checkpoint
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.partition.tables import Carried
from tests.app.runtime.alone import context_of

IDLE: MeterKey = ("o", "idle", "gb")


def _known(meter_keys: set[MeterKey], checkpoint: Checkpoint | None = None) -> Partition:
    """A partition that has events of these meter keys, and of one more."""
    state = Partition(0, Definitions(), EventIndex(), carried=Carried(checkpoint or Checkpoint()))
    state.event_ranges.most_undefined = sys.maxsize
    for organization_id, external_id, code in {*meter_keys, IDLE}:
        state.event_ranges.of((organization_id, external_id), code)
    return state


@pytest.mark.parametrize(
    ("meter_keys", "also"),
    [
        pytest.param({("o", f"s-{n}", "gb") for n in range(1_000)}, set(), id="some"),
        pytest.param({("o", "s" * 900_000 + str(n), "gb") for n in range(20)}, {IDLE}, id="long"),
        pytest.param({("o", f"s-{n}", "gb") for n in range(MOST_REFOLDING + 1)}, {IDLE}, id="many"),
    ],
)
def test_what_is_under_a_refold_is_so_again_after_a_restart(
    meter_keys: set[MeterKey], also: set[MeterKey]
) -> None:
    state = _known(meter_keys)
    context, queue, forwards = context_of(state.definitions), RefoldQueue(state), Forwards()
    cuts = Cuts(state, context, queue)
    queue.want(meter_keys, 17)
    ledger = context.ledger_room.of(0, state.checkpoint, context.raw_lookup.find_many)
    packing = FlushPacking(state, context, NextFlush(), queue, cuts, forwards, ledger)
    packed = packing.packed_checkpoint()
    assert len(packed) < CHANGELOG_MESSAGE_BYTES - 1_000
    restored = _known(meter_keys, msgspec.msgpack.decode(packed, type=Checkpoint))
    assert set(refolding_keys(restored)) == meter_keys | also
