"""The table of routes: which spans it has, and what of them a flush writes."""

from __future__ import annotations

from tables.routing.route import Route
from tests.world.clock import START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

KEY = (ORG, SUBSCRIPTION, "count")


def test_a_cell_that_no_layer_takes_over_is_not_written() -> None:
    """The span that follows under the same key ends before the cell's period."""
    live = Live(definitions_of(["count"]))
    live.define_all()
    live.deliver([arrived("count", 0, START_MS + 1)])
    routes = live.partition.routes
    (span,) = routes.by_key[KEY].spans
    shorter = span.emptied()
    shorter.end_ms = span.key.start_ms
    routes.install(KEY, Route(*KEY, (span.timeline,), (shorter,)))
    assert (span.stands, routes.spans[span.key]) == (False, shorter)
    assert live.partition.take_changes().cells == []
    assert live.partition.checkpoint.cells == 0
