"""A revision cut looks at what came late, and at nothing else that there is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tables.closing.close import settle
from tables.partition.cuts import CutsToCome
from tables.partition.packing import Packing
from tests.tables.closing.test_forgetting import FINAL_MS, live
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, CommandAt, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

CODES = ["sum", "count", "balance", "seats"]
WEEKS = 5
NOW_MS = START_MS + WEEKS * WEEK_MS


def closed(defined: Sequence[CommandAt] = ()) -> Live:
    """Weeks that are closed and not final, with an event of each metric."""
    live = Live(defined or definitions_of(CODES))
    live.define_all()
    for week in range(WEEKS):
        at_ms = START_MS + week * WEEK_MS
        numbers = enumerate(CODES, week * len(CODES))
        live.deliver([arrived(code, n, at_ms, at_ms, v="1", u="a") for n, code in numbers])
        live.flush()
        live.close_until(at_ms + WEEK_MS)
    live.flush()
    return live


def looked(live: Live) -> tuple[int, int]:
    """Return how many periods and cells cuts have looked at."""
    counts = live.partition.work.counts
    return counts["close", "periods"], counts["close", "cells"]


@pytest.mark.parametrize(("code", "weeks"), [("sum", 1), ("balance", WEEKS - 2), ("seats", 3)])
@pytest.mark.parametrize("packed", [False, True])
def test_a_late_event_has_its_own_cells_looked_at_alone(
    code: str, weeks: int, *, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What recurs is carried on into all weeks since. The records are those of a look at all."""
    defined = definitions_of(CODES)
    live, whole = closed(defined), closed(defined)
    for one in (live, whole):
        late_ms = START_MS + 2 * WEEK_MS + 1
        one.deliver([arrived(code, 100, late_ms, NOW_MS + 1, v="1", u="b")])
        one.flush()
        if packed:
            one.partition.packing.pack((ORG, SUBSCRIPTION))
    before = looked(live)
    live.close_until(NOW_MS + HOUR_MS)
    periods, cells = looked(live)
    assert (periods - before[0], cells - before[1]) == (weeks, weeks)
    monkeypatch.setattr(CutsToCome, "layers_at", lambda *_: None)
    before = looked(whole)
    whole.close_until(NOW_MS + HOUR_MS)
    assert looked(whole)[0] - before[0] == WEEKS
    assert live.values() == whole.values()


def test_what_is_settled_has_the_cells_of_its_metric_looked_at_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live, asked, route_of = closed(), set[str](), Packing.route_of
    live.deliver([arrived("sum", 100, START_MS + 1, NOW_MS + 1, v="1")])
    (span,) = live.partition.packing.route_of((ORG, SUBSCRIPTION, "sum")).spans
    (cell,) = span.layers[START_MS].cells.values()
    assert cell.state.events == 1

    def noted(packing: Packing, meter_key: tuple[str, str, str]) -> object:
        asked.add(meter_key[2])
        return route_of(packing, meter_key)

    monkeypatch.setattr(Packing, "route_of", noted)
    settle(live.partition, NOW_MS + HOUR_MS)
    assert asked == {"sum"}
    assert cell.state.events == 2


@pytest.mark.parametrize("code", ["count", "calls"])
def test_the_final_cut_shows_what_came_until_then(code: str) -> None:
    """Of what is paid in advance it looks at all periods that are open."""
    one = live(1, code)
    one.deliver([arrived(code, 7, START_MS + HOUR_MS, FINAL_MS - 1)])
    one.close_until(FINAL_MS)
    revised = [body["units"] for body in one.bodies() if body["type"] == "usage.revised"]
    assert revised == ["2.0"]
