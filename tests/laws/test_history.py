"""The law of history records: with one over everything it is as if it had always been so."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.command import Command
from tests.laws.test_preview import changes
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import METRICS, ORG, definitions_of, lines
from tests.world.events import arrivals, slices
from tests.world.partition import Live
from tests.world.profiles import examples

ALL = tuple(METRICS)
END_MS = START_MS + 10 * WEEK_MS
FIGURES = (
    "units",
    "prorated_units",
    "total_aggregated_units",
    "precise_total_amount_cents",
    "events_count",
    "digest",
)


def newest(live: Live) -> dict[str, tuple[Any, ...]]:
    """What is published in the end, by cell id, of cells that show anything."""
    found: dict[str, tuple[Any, ...]] = {}
    for body in live.bodies():
        if body["type"] != "period.completed":
            found[body["cell_id"]] = tuple(body[name] for name in FIGURES)
    return {cell: figures for cell, figures in found.items() if figures[0] != "0.0" or figures[4]}


@examples(60)
@given(st.data())
def test_it_is_as_if_it_had_always_been_so(data: st.DataObject) -> None:
    base = definitions_of(ALL, presents=True)
    made = {line.command.type: line.command for line in base}
    charges = made["create_plan"].payload["plan"]["charges"]
    metrics = [line.command for line in base if line.command.type == "create_billable_metric"]
    ids = [command.payload["id"] for command in metrics]
    before = [(line.append_time_ms, line.command) for line in base]
    change: Command = data.draw(changes(charges))
    history = commands.apply_history(ORG, metric_ids=ids, from_ms=0, to_ms=END_MS)
    weeks = data.draw(st.sampled_from([1, 2, 3, 5, 8]))
    at_ms = START_MS + weeks * WEEK_MS + data.draw(st.sampled_from([0, 1, HOUR_MS, DAY_MS]))
    events = data.draw(arrivals(ALL, max_events=20))

    always = Live(lines([*before, (START_MS - 1, change)]))
    always.define_all()
    always.deliver(events)
    always.close_until(END_MS)

    late = Live(
        lines(
            [
                *before,
                (at_ms, change),
                (at_ms + data.draw(st.integers(0, 3 * HOUR_MS)), history),
            ]
        )
    )
    for batch in data.draw(slices(events)):
        late.define(data.draw(st.integers(0, 9)))
        late.deliver(batch)
    late.define_all()
    late.close_until(END_MS)
    assert newest(late) == newest(always)
