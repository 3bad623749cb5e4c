"""What is dropped goes with its last reference: the collector passes over what lives long."""

from __future__ import annotations

import gc

from app.definitions.model import SettingsRecord
from tables.partition.refold import Refold
from tests.world.clock import DAY_MS, START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)


def live() -> Live:
    found = Live(definitions_of(["count"], SettingsRecord()))
    found.define_all()
    return found


def unseen() -> int:
    """Objects that only the collector finds."""
    return gc.collect()


def test_cells_of_what_is_packed_or_refolded_leave_nothing_to_the_collector() -> None:
    world = live()
    table = world.partition
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            refold = Refold(table, [(*NAME, "count")])
            route = refold.routes[*NAME, "count"]
            for span in route.spans:
                layer = span.layer_at(START_MS + DAY_MS)
                assert layer is not None
                layer.cell(None, ())
            assert refold.swap()
            del refold, route, span, layer
        assert unseen() == 0
    finally:
        gc.enable()
