"""What is made to look at some external subscriptions is kept for the next query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app.bounds.turns import STEP_ITEMS, drained
from app.definitions import commands
from tables.cells.cell import Span
from tables.partition.filling import unpack_into
from tables.reading.usage import current_usage, current_usage_steps
from tests.world.clock import DAY_MS, START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, subscription_body
from tests.world.events import arrived
from tests.world.partition import Live

NAMES = [SUBSCRIPTION, "other"]


@pytest.mark.parametrize(("bound", "most"), [("KEPT_NAMES", 2), ("KEPT_BYTES", 1)])
def test_one_that_is_made_again_stays_when_others_go(
    bound: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the first to go: a definition came, and what was kept of it holds no more."""
    live = Live(definitions_of(["sum"]))
    live.define_all()
    other = {**subscription_body(), "external_id": "other"}
    live.append(START_MS, commands.create_subscription(ORG, other))
    live.define_all()
    for offset, name in enumerate(NAMES):
        live.deliver([arrived("sum", offset, START_MS, START_MS, external_id=name, v="1")])
    live.flush()
    for name in NAMES:
        live.partition.packing.pack((ORG, name))
        live.partition.views.route_of((ORG, name, "sum"))
    monkeypatch.setattr(f"tables.partition.views.{bound}", most - 1)
    live.append(START_MS + DAY_MS, commands.upsert_customer(ORG, {"external_id": "nobody"}))
    live.define_all()
    (span,) = live.partition.views.route_of((ORG, SUBSCRIPTION, "sum")).spans
    assert [cell.state.events for layer in span.layers.values() for cell in layer.cells.values()]
    assert live.partition.views.route_of((ORG, SUBSCRIPTION, "sum")).spans == (span,)


@pytest.mark.parametrize("between", ["nothing", "an event", "a definition"])
def test_very_many_packed_cells_are_looked_at_by_steps(
    between: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = 4 * STEP_ITEMS
    live, unpacked = Live(definitions_of(["sum"])), list[object]()
    live.define_all()
    live.deliver([arrived("sum", n, START_MS, START_MS, v="1", g=str(n)) for n in range(groups)])
    live.flush()
    name, views = (ORG, SUBSCRIPTION), live.partition.views
    usage = current_usage(live.partition, name, START_MS + 1)
    live.partition.packing.pack(name)

    def noted(span: Span, packed: Sequence[Any]) -> object:
        unpacked.extend(packed)
        return unpack_into(span, packed)

    monkeypatch.setattr("tables.partition.filling.unpack_into", noted)
    steps = current_usage_steps(live.partition, name, START_MS + 1)
    for _ in range(6):
        before = len(unpacked)
        next(steps)
        assert len(unpacked) <= before + STEP_ITEMS
    assert 0 < len(unpacked) < groups
    if between == "an event":
        live.deliver([arrived("sum", groups, START_MS, START_MS, v="1", g="0")])
        usage = current_usage(live.partition, name, START_MS + 1)
    elif between == "a definition":
        live.append(START_MS + 1, commands.upsert_customer(ORG, {"external_id": "nobody"}))
        live.define_all()
    found = drained(steps)
    assert found is not None
    assert usage is not None
    assert found.rows == usage.rows
    if between == "nothing":
        monkeypatch.undo()
        monkeypatch.setattr("tables.partition.filling.by_span", None)
        assert len(list(views.making(name))) == 0
