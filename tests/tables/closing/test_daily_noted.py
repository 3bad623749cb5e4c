"""A day looks at cells that changed since the one before, and tells what all cells would tell."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from app.bounds.turns import STEP_ITEMS
from app.definitions import commands
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction
from tables.cells.cell import Span
from tables.closing.close import closing
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.repaired import Repaired
from tests.world.unpacked import Unpacked

DUE_MS = START_MS + WEEK_MS
DAILY = msgspec.structs.replace(SETTINGS, daily_records=True)


def sent(offset: int, at_ms: int, group: int) -> Arrival:
    return arrived("sum", offset, at_ms, at_ms, v="1", g=f"g{group}", transaction_id=str(offset))


def told(live: Repaired, until_ms: int) -> list[tuple[str, str, str]]:
    """(day, group, units) of the daily records until then, beginning with those not told yet."""
    before = len(live.records)
    live.define_until(until_ms)
    live.close_until(until_ms)
    live.flush()
    bodies: list[dict[str, Any]] = [
        json.loads(record.value)
        for record in live.records[before:]
        if record.topic == "usage-daily"
    ]
    return sorted(
        (each["day"], (each["grouped_by"] or {}).get("g", ""), each["units"]) for each in bodies
    )


def begun(groups: int) -> Repaired:
    """Two days of a period: one with all groups, and one with the second of them."""
    live = Repaired(definitions_of(["sum"], DAILY), repairs=True)
    live.define_until(START_MS)
    live.deliver([sent(number, START_MS + number, number) for number in range(groups)])
    live.flush()
    assert len(told(live, START_MS + DAY_MS)) == groups
    live.deliver([sent(groups, START_MS + DAY_MS + 1, 1)])
    live.flush()
    assert told(live, START_MS + 2 * DAY_MS) == [("2024-01-02", "g1", "2.0")]
    return live


@pytest.fixture(params=[True, False])
def all_looked_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    looks_at_all = bool(request.param)
    monkeypatch.setattr("tables.cells.cell.FEW_CELLS", 1_000_000 if looks_at_all else 0)
    return looks_at_all


@pytest.mark.parametrize("groups", [20, 200])
def test_a_day_looks_at_the_group_that_changed(
    groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = begun(groups)
    looked, figures = list[str](), Span.figures

    def looking(span: Span, *arguments: Any) -> Any:
        looked.append(arguments[2][0] or "")
        return figures(span, *arguments)

    monkeypatch.setattr(Span, "figures", looking)
    live.deliver([sent(groups + 1, START_MS + 2 * DAY_MS + 1, 7)])
    live.flush()
    assert told(live, START_MS + 3 * DAY_MS) == [("2024-01-03", "g7", "2.0")]
    # Also those of the day before: their events were states of a cut to come.
    assert sorted(looked) == ["g1", "g7"]


@pytest.mark.usefixtures("all_looked_at")
def test_a_cell_that_a_correction_leaves_nothing_in_is_told() -> None:
    live = begun(20)
    cancel = Correction(ORG, SUBSCRIPTION, "3", "cancel", None, "c", b"")
    live.correct(CorrectionArrival(cancel, ORG, START_MS + 2 * DAY_MS + 1, 0, 50, 0))
    live.flush()
    assert told(live, START_MS + 3 * DAY_MS) == [("2024-01-03", "g3", "0.0")]
    live.deliver([sent(60, START_MS + 3 * DAY_MS + 1, 3)])
    live.flush()
    assert told(live, START_MS + 4 * DAY_MS) == [("2024-01-04", "g3", "1.0")]


@pytest.mark.usefixtures("all_looked_at")
def test_a_cell_that_only_a_later_event_is_in_is_told_as_gone() -> None:
    """A worker that is behind folds that event first; the charge was changed meanwhile."""
    told_of = list[bytes]()
    later = sent(60, START_MS + 3 * DAY_MS + 1, 3)
    for is_behind in (False, True):
        live = begun(20)
        at_ms = START_MS + 2 * DAY_MS + 1
        (plan,) = (versions.at() for versions in live.definitions.plan_versions.values())
        assert plan is not None
        (charge,) = plan.charges
        changed = {
            "id": charge.id,
            "billable_metric_code": "sum",
            "properties": {"amount": "7", "pricing_group_keys": ["g"]},
        }
        live.append(at_ms, commands.update_plan(ORG, "plan", {"charges": [changed]}))
        live.define_until(at_ms)
        cancel = Correction(ORG, SUBSCRIPTION, "3", "cancel", None, "c", b"")
        live.correct(CorrectionArrival(cancel, ORG, at_ms, 0, 50, 0))
        live.deliver([later] if is_behind else [])
        live.flush()
        assert told(live, START_MS + 3 * DAY_MS) == [("2024-01-03", "g3", "0.0")]
        told_of += [record.value for record in live.records[-1:]]
        live.deliver([] if is_behind else [later])
        live.flush()
        assert told(live, START_MS + 4 * DAY_MS) == [("2024-01-04", "g3", "1.0")]
        told_of += [record.value for record in live.records[-1:]]
    bodies: list[dict[str, Any]] = [json.loads(text) for text in told_of]
    assert [body["charge"]["properties"]["amount"] for body in bodies] == ["1", "7", "1", "7"]


@pytest.mark.usefixtures("all_looked_at")
def test_a_cell_that_was_made_again_is_not_taken_for_the_one_before() -> None:
    """One without groups goes with its last event; days of another metric look at it, too."""
    live = Repaired(definitions_of(["count", "sum"], DAILY), repairs=True)
    live.define_until(START_MS)
    live.deliver([arrived("count", 0, START_MS, START_MS), sent(1, START_MS, 1)])
    live.flush()
    assert len(told(live, START_MS + DAY_MS)) == 2
    at_ms = START_MS + DAY_MS + 1
    cancel = Correction(ORG, SUBSCRIPTION, "t0", "cancel", None, "c", b"")
    live.correct(CorrectionArrival(cancel, ORG, at_ms, 0, 2, 0))
    assert live.outcomes == {"repaired": 1}
    live.flush()
    assert told(live, START_MS + 2 * DAY_MS) == [("2024-01-02", "", "0.0")]
    live.deliver([arrived("count", 3, at_ms + DAY_MS, at_ms + DAY_MS)])
    live.flush()
    assert told(live, START_MS + 3 * DAY_MS) == [("2024-01-03", "", "1.0")]
    for day in (3, 4, 5):
        live.deliver([sent(day + 1, at_ms + (day - 1) * DAY_MS, 1)])
        live.flush()
        shown = [("2024-01-0" + str(day + 1), "g1", f"{day - 1}.0")]
        assert told(live, START_MS + (day + 1) * DAY_MS) == shown


@pytest.mark.usefixtures("all_looked_at")
def test_a_day_after_a_restart_is_told() -> None:
    live = begun(20)
    live.deliver([sent(50 + n, START_MS + 2 * DAY_MS + 1 + n, n) for n in (3, 4)])
    live.flush()
    live.restart()
    assert [group for _, group, _ in told(live, START_MS + 3 * DAY_MS)] == ["g3", "g4"]
    live.deliver([sent(60, START_MS + 3 * DAY_MS + 1, 5)])
    live.restart()
    assert [group for _, group, _ in told(live, START_MS + 4 * DAY_MS)] == ["g5"]


def test_a_day_of_who_is_packed_unpacks_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = 4 * STEP_ITEMS
    live = begun(groups)
    name = ORG, SUBSCRIPTION
    live.deliver([sent(groups + 1, START_MS + 2 * DAY_MS + 1, 7)])
    live.flush()
    live.partition.packing.pack(name)
    unpacked = Unpacked(monkeypatch)
    live.define_until(START_MS + 3 * DAY_MS)
    # Where one span ends the next begins in the same step.
    steps = closing(live.partition, name, START_MS + 3 * DAY_MS)
    assert unpacked.most_at_once(steps) <= 2 * STEP_ITEMS
    assert unpacked.cells > groups


def test_rows_beside_cells_are_put_together_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live(definitions_of(["sum"], presents=True))
    live.define_all()
    rows = 4 * STEP_ITEMS
    live.deliver(
        [arrived("sum", n, START_MS, START_MS, v="1", u=f"u{n}", g="g") for n in range(rows)]
    )
    live.flush()
    count, states = 0, Span.states

    def noted(span: Span, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        return states(span, *arguments)

    monkeypatch.setattr(Span, "states", noted)
    known = [count, *(count for _ in closing(live.partition, (ORG, SUBSCRIPTION), DUE_MS)), count]
    assert count >= rows
    assert max(after - before for before, after in pairwise(known)) <= STEP_ITEMS + 1
