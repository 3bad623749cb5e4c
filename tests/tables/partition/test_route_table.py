"""The table of routes: which spans it has, and what of them a flush writes."""

from __future__ import annotations

from app.definitions import commands
from tables.routing.route import Route
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
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
    assert live.partition.take_changes().rows["cells"] == {}
    assert live.partition.checkpoint.cells == 0


def test_charges_are_shared_by_what_stands_under_the_same_definitions() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    state = live.partition
    ((versions, timeline),) = state.timelines.of((ORG, SUBSCRIPTION))
    subscription = versions.at()
    week, later = timeline.holding(START_MS), timeline.holding(START_MS + WEEK_MS)
    assert subscription is not None
    assert week is not None
    assert later is not None
    due = later._replace(start_ms=week.start_ms)

    def keys() -> list[tuple[str, ...]]:
        charges = [state.routes.charges_of(subscription, each) for each in (later, due)]
        assert (charges[0] is charges[1]) == (state.standing.history_ms < 0)
        return [each.charge.group_keys(None) for one in charges for each in one.in_force]

    def grouped(at_ms: int, key: str) -> None:
        properties = {"amount": "1", "pricing_group_keys": [key]}
        changed = {"charge_model": "standard", "properties": properties}
        live.append(at_ms, commands.update_charge(ORG, "plan", "count", changed))

    assert keys() == [(), ()]
    grouped(START_MS + 1, "g")
    assert keys() == [("g",), ("g",)]
    at_ms = later.due_at_ms + DAY_MS
    grouped(at_ms, "h")
    assert keys() == [("g",), ("g",)]
    (charge,) = state.routes.charges_of(subscription, due).in_force
    ids = {"metric_ids": (charge.metric.id,), "charge_ids": ()}
    record = commands.apply_history(ORG, from_ms=START_MS, to_ms=START_MS + 1, **ids)
    live.append(at_ms + 1, record)
    state.checkpoint.history_ms = at_ms + 1
    assert keys() == [("g",), ("h",)]


def test_routes_that_nothing_is_kept_of_are_dropped_once_defined() -> None:
    """Room for one name is left when three come at once: the others share the common entry."""
    live = Live(definitions_of(["count"]))
    ranges, routes = live.partition.event_ranges, live.partition.routes
    ranges.most_undefined = 1
    codes = ["count", "sum", "max"]
    live.deliver([arrived(code, number, START_MS + 1) for number, code in enumerate(codes)])
    taken = [routes.by_key[ORG, SUBSCRIPTION, code].event_ranges for code in codes]
    assert taken == [ranges.find((ORG, SUBSCRIPTION), "count"), ranges.rest, ranges.rest]
    routes.drop_unused((ORG, SUBSCRIPTION))
    assert [*routes.by_key] == [KEY]
