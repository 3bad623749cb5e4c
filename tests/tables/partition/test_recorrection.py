"""A refold for corrections leaves each event at the grid cut at which somebody asks for it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import msgspec
import pytest
from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS
from app.definitions import commands
from app.kafka.topics import USAGE_ALERTS
from app.wire.arrivals import Arrival, CorrectionArrival, MeterKey, runs_of
from app.wire.events import Correction
from tables.closing.close import next_cut
from tables.partition.recorrection import Recorrection
from tables.partition.refold import Refold
from tests.world.clock import DAY_MS, HOUR_MS, START_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.events import arrived, event
from tests.world.repaired import NAME, Repaired

MINUTE_MS = 60_000
DONE_MS = START_MS + 5 * MINUTE_MS
CAME_MS = START_MS + 10 * MINUTE_MS + 1
CUT_MS = START_MS + 11 * MINUTE_MS
CAME = arrived("sum", 1, CAME_MS, v="12", g="a")
ALERT = {
    "alert_type": "billable_metric_current_usage_units",
    "code": "a",
    "billable_metric_code": "sum",
    "thresholds": [{"code": "low", "value": "10"}],
}


def with_an_alert(**settings: int) -> Repaired:
    live = Repaired(definitions_of(["sum", "max"], replace(SETTINGS, **settings)), repairs=True)
    live.append(START_MS + 1, commands.create_alert(ORG, SUBSCRIPTION, ALERT))
    live.deliver([arrived("sum", 0, START_MS + 2, v="1", g="a")])
    live.close_until(DONE_MS)
    return live


def refolded(live: Repaired, horizon_ms: int, meanwhile: list[Arrival]) -> int:
    """Refold under corrections until a cut; return how often it was fed."""
    job = Refold(live.partition, {(*NAME, "sum")}, {NAME: horizon_ms})
    live.deliver(meanwhile)
    fed = 0
    while not fed or not job.swap():
        job.feed(live.read_for(job))
        fed += 1
    return fed


def alerts(live: Repaired) -> list[tuple[str, str, str]]:
    """(triggered_at, previous value, current value) of every message."""
    found = []
    for record in live.records:
        if record.topic == USAGE_ALERTS:
            told = msgspec.json.decode(record.value)["triggered_alert"]
            found.append((told["triggered_at"], told["previous_value"], told["current_value"]))
    return found


def grid_cuts(live: Repaired) -> list[int]:
    """Return the grid cuts that are known after a restart, from the cells alone."""
    live.restart()
    return [*live.partition.cuts.grid.of(NAME)]


def test_an_event_that_comes_while_its_alert_is_refolded_is_told_at_its_own_cut() -> None:
    """The next cut was a later one when the refold began."""
    live = with_an_alert()
    assert refolded(live, START_MS + HOUR_MS, [CAME]) == 2
    live.close_until(START_MS + HOUR_MS)
    assert alerts(live) == [("2024-01-01T00:11:00Z", "1.0", "13.0")]


def test_an_earlier_copy_is_told_at_its_own_cut_though_it_is_cancelled_later() -> None:
    """The copy that was folded has a later cut, and nothing has announced the earlier one."""
    live = with_an_alert()
    copies = [
        arrived("sum", 1, CAME_MS, later_ms, transaction_id="t", partition=partition, v="12", g="a")
        for partition, later_ms in ((1, CAME_MS + 10 * MINUTE_MS), (0, CAME_MS))
    ]
    for copy in copies:
        live.partition.fold(runs_of([copy]))
        live.keep(copy)
    gone_ms = CAME_MS + 20 * MINUTE_MS
    body = Correction(*NAME, "t", "cancel", None, "c", b"")
    live.partition.corrected.correct(CorrectionArrival(body, ORG, gone_ms, 0, 2, 0))
    assert refolded(live, START_MS + HOUR_MS, []) == 2
    live.close_until(START_MS + HOUR_MS)
    assert alerts(live) == [("2024-01-01T00:11:00Z", "1.0", "13.0")]
    assert [row.units for row in live.partition.evaluations.rows.values()] == ["1.0"]


def test_a_cut_before_a_group_gets_in_is_taken_though_it_shows_nothing() -> None:
    """The refold would find that cut again and again."""
    live = with_an_alert(max_groups=1)
    # Group b has a place once the event of group a has another code.
    late = arrived("sum", 1, CAME_MS, v="12", g="b")
    live.deliver([late])
    body = Correction(*NAME, "t0", "amend", event("max", "t0", START_MS + 2, v="1"), "c", b"")
    amended_ms = CAME_MS + 20 * MINUTE_MS
    live.partition.corrected.correct(CorrectionArrival(body, ORG, amended_ms, 0, 2, 0))
    assert refolded(live, next_cut(live.partition, NAME), []) == 2
    assert next_cut(live.partition, NAME) == CUT_MS
    live.close_until(START_MS + HOUR_MS)
    assert alerts(live) == [("2024-01-01T00:31:00Z", "1.0", "12.0")]


@pytest.mark.parametrize("horizon_ms", [START_MS + HOUR_MS, START_MS + 3 * DAY_MS])
def test_an_event_that_comes_meanwhile_is_told_in_its_own_day(horizon_ms: int) -> None:
    """The refold begins anew only if the day is over before the next cut that was known."""
    settings = replace(SETTINGS, daily_records=True)
    live = Repaired(definitions_of(["sum"], settings), repairs=True)
    live.close_until(DONE_MS)
    fed = refolded(live, horizon_ms, [CAME])
    assert fed == 1 + (horizon_ms > START_MS + DAY_MS)
    assert grid_cuts(live) == [START_MS + DAY_MS]


def test_a_refold_goes_on_if_nobody_asks_before_the_next_cut() -> None:
    """The next cut is that of the event, or no watched cell has the event, or nobody watches."""
    live, hour_ms = with_an_alert(), START_MS + HOUR_MS
    assert refolded(live, CUT_MS, [CAME]) == 1
    before = arrived("sum", 2, START_MS - DAY_MS, CAME_MS, v="1", g="a")
    assert refolded(with_an_alert(), hour_ms, [before]) == 1
    live.append(CUT_MS + 1, commands.delete_alert(ORG, SUBSCRIPTION, "a"))
    live.close_until(CUT_MS + 5 * MINUTE_MS)
    unwatched = arrived("sum", 2, CUT_MS + 10 * MINUTE_MS, v="1", g="a")
    assert refolded(live, hour_ms, [unwatched]) == 1


class _Counted(set[MeterKey]):
    """Meter keys that count how often some of them are looked for among all."""

    looks = 0

    def __sub__(self, others: AbstractSet[object]) -> set[MeterKey]:
        self.looks += 1
        return super().__sub__(others)


@pytest.mark.parametrize("count", [2, 20])
def test_all_meter_keys_are_gone_through_once_for_however_many_are_corrected(count: int) -> None:
    live = with_an_alert()
    meter_keys = _Counted((ORG, f"s-{n}", "sum") for n in range(count))
    job = Recorrection(live.partition, meter_keys, {key[:2]: CUT_MS for key in meter_keys})
    job.begin({})
    assert meter_keys.looks == 1


def test_where_a_refold_of_many_begins_is_found_by_steps() -> None:
    live = with_an_alert()
    meter_keys = {(*NAME, "sum"), *((ORG, f"s-{n}", "sum") for n in range(3 * STEP_ITEMS))}
    job = Refold(live.partition, meter_keys)
    assert len(list(job.starting((0, 0)))) >= 3
    assert job.start_offsets() == (0, None)
