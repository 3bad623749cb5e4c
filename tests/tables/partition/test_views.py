"""What is made to look at some external subscriptions is kept for the next query."""

from __future__ import annotations

import pytest

from app.definitions import commands
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
