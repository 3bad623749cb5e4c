"""A cut looks at cells that changed since the one before, and at no others."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.periods import Period
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction
from tables.cells.cell import Span
from tables.cells.noted import Noted
from tables.closing.close import close_subscription
from tests.world.bodies import Json
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of, grouped_by_g
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.repaired import Repaired

GROUPS = 40
NAME = (ORG, SUBSCRIPTION)
DUE_MS = START_MS + WEEK_MS
RECURRING = ("prepaid", "balance", "seats", "level")


class Named:
    """A cell, as far as its changes go."""

    def __init__(self) -> None:
        self.late: dict[int, object] | None = None
        self.dirty = False


def test_all_are_looked_at_until_all_were_told() -> None:
    cell, teller = Named(), object()
    noted = Noted([cell])
    assert noted.look(teller) is None
    assert noted.look(teller) is None  # the first did not come to its end
    noted.told(teller)
    assert noted.look(object()) is None
    noted.told(teller)
    assert noted.look(teller) is not None
    assert noted.look(teller) is None


def test_who_changes_is_looked_at_once_it_is_told_and_longer_while_nobody_would_note_it() -> None:
    clean, dirty, teller = Named(), Named(), object()
    noted = Noted([clean, dirty])
    noted.look(teller)
    noted.told(teller)
    dirty.dirty = True
    noted.add(clean)
    noted.add(dirty)
    assert set(noted.look(teller) or ()) == {clean, dirty}
    noted.told(teller)
    assert list(noted.look(teller) or ()) == [dirty]
    dirty.dirty = False
    noted.told(teller)
    # It has none of a cut to come, and changed all the same since that look.
    assert noted.late() == []
    assert list(noted.look(teller) or ()) == [dirty]
    noted.told(teller)
    assert list(noted.look(teller) or ()) == []


def test_states_of_cuts_to_come_are_looked_at_until_they_are_settled() -> None:
    late, teller = Named(), object()
    noted = Noted([late])
    noted.look(teller)
    late.late = {1: object()}
    noted.add(late)
    for _ in range(2):
        noted.told(teller)
        assert list(noted.look(teller) or ()) == [late]
    assert noted.late() == [late]
    late.late = None
    assert noted.late() == []


def test_who_gets_states_of_cuts_to_come_while_nobody_would_note_it_is_looked_at() -> None:
    cell, teller = Named(), object()
    noted = Noted([cell])
    noted.look(teller)
    cell.dirty = True
    noted.add(cell)
    cell.late = {1: object()}
    cell.dirty = False
    for _ in range(2):
        noted.told(teller)
        assert list(noted.look(teller) or ()) == [cell]
    assert noted.late() == [cell]


def sent(offset: int, appended_ms: int, group: int, value: str = "1") -> Arrival:
    return arrived("sum", offset, START_MS, appended_ms, v=value, g=f"g{group}")


def closed(*, presents: bool = False) -> Live:
    """A week of many groups, told by its first cut."""
    live = Live(definitions_of(["sum"], presents=presents))
    live.define_all()
    live.deliver([sent(group, START_MS, group) for group in range(GROUPS)])
    live.flush()
    live.close_until(DUE_MS)
    live.flush()
    return live


def told(live: Live, cut_ms: int) -> list[Json]:
    """Cells that the cuts until one tell."""
    known = len(live.bodies())
    live.close_until(cut_ms)
    return [body for body in live.bodies()[known:] if body["type"] != "period.completed"]


def revised(live: Live, cut_ms: int) -> list[tuple[str, str]]:
    """(group, units) of what a revision cut tells."""
    return [(body["grouped_by"]["g"], body["units"]) for body in told(live, cut_ms)]


def cells_of_cuts(live: Live) -> int:
    return live.partition.work.counts["close", "cells"]


@pytest.mark.parametrize("presents", [False, True])
def test_a_revision_looks_at_the_group_that_changed(
    *, presents: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where records say more than figures: rows by presentation keys, single events."""
    live, states, merged = closed(presents=presents), Span.states, list[object]()

    def noted(span: Span, period: Period, filter_id: str | None, *of: Any) -> Any:
        merged.append((span.key, filter_id, *of))
        return states(span, period, filter_id, *of)

    looked = cells_of_cuts(live)
    live.deliver([sent(100, DUE_MS + 1, 7)])
    monkeypatch.setattr(Span, "states", noted)
    (body,) = told(live, DUE_MS + HOUR_MS)
    assert (body["grouped_by"]["g"], body["units"]) == ("g7", "2.0")
    rows = [{"presentation_by": {"u": None}, "units": "2.0"}] if presents else None
    assert body["presentation_breakdowns"] == rows
    assert cells_of_cuts(live) - looked < GROUPS / 2
    assert len(merged) < GROUPS / 2


def many_of(code: str, grid_before_s: int = 60) -> Repaired:
    """Many groups of a code in the first week; settings had another grid once."""
    settings = replace(SETTINGS, close_grid_s=grid_before_s, revise_every_s=grid_before_s)
    definitions = definitions_of([code], settings)
    grouped_by_g(definitions)
    live = Repaired(definitions, repairs=True)
    live.append(START_MS - HOUR_MS + 1, commands.set_settings(SETTINGS))
    live.deliver(
        [arrived(code, n, START_MS, START_MS, v="1", u="a", g=f"g{n}") for n in range(GROUPS)]
    )
    live.close_until(START_MS + HOUR_MS)
    live.flush()
    return live


@pytest.mark.parametrize("code", ["passes", "spent", "prepaid", "balance", "seats", "level"])
def test_a_late_event_of_what_recurs_or_is_billed_at_once_is_looked_at_alone(code: str) -> None:
    """Also by the week after, which shows what recurs as well."""
    live = many_of(code)
    for week in (1, 2):
        cut_ms = START_MS + week * WEEK_MS
        live.close_until(cut_ms)
        live.flush()
        # One of the last week is late for its cut, another one since.
        for number in (1, 2):
            looked, cut_ms = cells_of_cuts(live), cut_ms + HOUR_MS
            of_it: dict[str, Any] = {"v": "1", "u": f"{week}{number}", "g": "g7"}
            live.deliver([arrived(code, week * 1_000 + number, START_MS, cut_ms - 1, **of_it)])
            live.flush()
            groups = [body["grouped_by"]["g"] for body in told(live, cut_ms)]
            live.flush()
            assert groups == ["g7"] * (week if code in RECURRING else 1)
            assert cells_of_cuts(live) - looked < GROUPS / 2


@pytest.mark.parametrize(
    ("code", "grid_before_s", "cancels"), [("balance", 60, True), ("spent", 7_001, False)]
)
def test_all_are_looked_at_where_more_may_have_changed_than_cells(
    code: str, grid_before_s: int, *, cancels: bool
) -> None:
    """A correction may change what the week before was told, a cut off a grid what is billed."""
    live = many_of(code, grid_before_s)
    live.close_until(DUE_MS)
    live.flush()
    looked = list[int]()
    for hour in (1, 2, 3):
        live.deliver([arrived(code, 100 + hour, START_MS, DUE_MS + hour * HOUR_MS - 1, v="1")])
        if cancels and hour == 2:
            cancel = Correction(ORG, SUBSCRIPTION, "t101", "cancel", None, "c", b"")
            live.correct(CorrectionArrival(cancel, ORG, DUE_MS + 2 * HOUR_MS - 1, 0, 1, 0))
            assert live.outcomes == {"repaired": 1}
        before = cells_of_cuts(live)
        live.close_until(DUE_MS + hour * HOUR_MS)
        live.flush()
        looked.append(cells_of_cuts(live) - before)
    assert (looked[0] < GROUPS / 2) == cancels
    assert looked[2] > GROUPS


@pytest.mark.parametrize("flushes", [False, True])
def test_a_group_that_changes_twice_is_told_twice(flushes: bool) -> None:
    live = closed()
    for hour in (1, 2, 3):
        live.deliver([sent(100 + hour, DUE_MS + hour * HOUR_MS - 1, 7)])
        if flushes:
            live.flush()
        assert revised(live, DUE_MS + hour * HOUR_MS) == [("g7", f"{hour + 1}.0")]


def test_what_comes_late_before_what_came_on_time_is_flushed_is_revised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tables.cells.cell.FEW_CELLS", 0)
    live = Live(definitions_of(["sum"]))
    live.define_all()
    second_ms, end_ms = START_MS + WEEK_MS, START_MS + 2 * WEEK_MS
    live.deliver([arrived("sum", 1, second_ms, v="1")])
    live.flush()
    # A revision of the first week settles the second, whose cells are noted from then on.
    live.deliver([arrived("sum", 2, START_MS, second_ms + 1, v="1")])
    live.close_until(second_ms + HOUR_MS)
    live.flush()
    live.deliver([arrived("sum", 3, second_ms, end_ms - HOUR_MS, v="1")])
    live.deliver([arrived("sum", 4, START_MS, end_ms - HOUR_MS, v="1")])
    live.close_until(end_ms - 1)
    live.deliver([arrived("sum", 5, second_ms, end_ms + 1, v="1")])
    live.flush()
    assert [body["units"] for body in told(live, end_ms)] == ["2.0"]
    live.flush()
    assert [body["units"] for body in told(live, end_ms + HOUR_MS)] == ["3.0"]
    cells = [states for (_, states) in live.cells().values()]
    assert [len(states) for states in cells] == [1, 1]


def test_a_cut_that_ends_early_looks_at_all_when_it_is_taken_again() -> None:
    live = closed()
    cut_ms = DUE_MS + HOUR_MS
    live.deliver([sent(100, DUE_MS + 1, 7), sent(101, DUE_MS + 1, 8)])
    live.flush()
    steps = close_subscription(live.partition, NAME, cut_ms)
    live.records.append(next(steps))
    del steps
    live.flush()
    assert len(revised(live, cut_ms)) == 1
    assert revised(live, DUE_MS + 2 * HOUR_MS) == []


def test_a_cell_that_a_correction_leaves_nothing_in_is_revised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tables.cells.cell.FEW_CELLS", 0)
    live = Repaired(definitions_of(["count"]), repairs=True)
    live.deliver([arrived("count", 0, START_MS, transaction_id="t")])
    live.flush()
    live.close_until(DUE_MS)
    live.flush()
    cancel = Correction(ORG, SUBSCRIPTION, "t", "cancel", None, "c", b"")
    live.correct(CorrectionArrival(cancel, ORG, DUE_MS + 1, 0, 1, 0))
    assert live.outcomes == {"repaired": 1}
    live.close_until(DUE_MS + HOUR_MS)
    told = [body["units"] for body in live.bodies() if body["type"] != "period.completed"]
    assert told == ["1.0", "0.0"]


def test_what_is_settled_is_found_without_going_through_all() -> None:
    live = closed()
    live.deliver([sent(100, DUE_MS + 1, 7)])
    revised(live, DUE_MS + HOUR_MS)
    route = live.partition.routes.by_key[(*NAME, "sum")]
    (layer,) = (layer for span in route.spans for layer in span.layers.values())
    assert not any(cell.late for cell in layer.cells.values())


def test_what_a_period_cut_short_billed_beyond_its_end_is_looked_at_when_it_is_taken_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would count in the week after, which has no charge any more: no cell changes."""
    monkeypatch.setattr("tables.cells.cell.FEW_CELLS", 0)
    definitions, begun_ms = definitions_of(["spent"]), START_MS + HOUR_MS
    grouped_by_g(definitions)
    live = Repaired(definitions, repairs=True)
    live.deliver([arrived("spent", 0, START_MS, begun_ms, v="1", g="x")])
    live.deliver([arrived("spent", 1, DUE_MS - HOUR_MS, begun_ms, v="2", g="x")])
    live.close_until(begun_ms + HOUR_MS)
    elsewhere = {"external_id": "customer", "timezone": "Asia/Tokyo"}
    live.append(begun_ms + 2 * HOUR_MS, commands.upsert_customer(ORG, elsewhere))
    live.flush()
    live.close_until(DUE_MS)
    live.append(DUE_MS + 1, commands.update_plan(ORG, "plan", {"charges": []}))
    for hour in (0, 1):
        late_ms = DUE_MS + hour * HOUR_MS + 2
        live.deliver([arrived("spent", 2 + hour, START_MS, late_ms, v="4", g="y")])
        live.flush()
        live.close_until(DUE_MS + (hour + 1) * HOUR_MS)
        live.flush()
    cancel = Correction(ORG, SUBSCRIPTION, "t1", "cancel", None, "c", b"")
    live.correct(CorrectionArrival(cancel, ORG, DUE_MS + 2 * HOUR_MS + 1, 0, 4, 0))
    assert live.outcomes == {"repaired": 1}
    live.flush()
    live.close_until(DUE_MS + 3 * HOUR_MS)
    told = [body for body in live.bodies() if body["type"] != "period.completed"]
    shown = [(body["units"], body["billed_in_advance"]) for body in told]
    assert shown == [("1.0", "3.0"), ("4.0", "4.0"), ("8.0", "8.0"), ("1.0", "1.0")]
