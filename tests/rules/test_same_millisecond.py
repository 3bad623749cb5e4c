"""A restore between definitions of one millisecond, which as-of look-ups cannot tell apart.

The last flush stands under the first of them, but cells come back under all of them: some of them
lie where no span reaches then.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Applied
from app.wire.arrivals import Arrival, MeterKey
from tables.cells.keys import CellKey
from tables.changelogged.members import member_changelog_key
from tables.partition.redirection import refolds_of
from tables.reading.usage import current_usage
from tests.world import bodies
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of, metric_body
from tests.world.events import arrived, event
from tests.world.partition import Live, sum_of

USED_MS = START_MS + WEEK_MS + DAY_MS
CHANGED_MS = USED_MS + DAY_MS
BASE = definitions_of(["filtered"])
RENAMED = commands.upsert_customer(ORG, {"external_id": "customer", "name": "first"})
TRIMMED = commands.update_billable_metric(
    ORG, "filtered", metric_body("filtered", filters=[{"key": "g", "values": ["y"]}])
)
"""Both filters of the charge go; the first week, which is closed, keeps them."""


def used_in_the_second_week() -> Live:
    live = Live(BASE)
    live.define_all()
    live.close_until(START_MS + WEEK_MS + HOUR_MS)
    live.deliver([arrived("filtered", 0, USED_MS, transaction_id="t", v="5", g="x")])
    live.append(CHANGED_MS, RENAMED)
    live.partition.checkpoint.definitions_ms = CHANGED_MS
    live.flush()
    return live


def restored_between() -> Live:
    live = used_in_the_second_week()
    assert restore_after(live, TRIMMED) == {(ORG, SUBSCRIPTION, "filtered")}
    return live


def restore_after(live: Live, command: Command) -> set[MeterKey]:
    """Restore, with a definition of the millisecond of the flush applied meanwhile."""
    impact = applied(live, command)
    live.partition = live.changelog.restored(live.definitions)
    partition = live.partition
    partition.redefinition.tell(impact, until_ms=CHANGED_MS)
    meter_keys = refolds_of(partition.redefinition.renewing()) | set(
        partition.redirection.meter_keys_of(impact, CHANGED_MS)
    )
    live.refold(meter_keys)
    return meter_keys


def applied(live: Live, command: Command, at_ms: int = CHANGED_MS) -> Any:
    outcome = apply(live.definitions, command.encode(), at_ms, live.definitions.offset)
    assert isinstance(outcome, Applied)
    return outcome.impact


def cells(live: Live) -> list[CellKey]:
    return [msgspec.msgpack.decode(key, type=CellKey) for key in live.changelog.cells]


def test_nothing_stays_of_cells_that_no_span_reaches() -> None:
    live = restored_between()
    live.flush()
    undisturbed = used_in_the_second_week()
    undisturbed.append(CHANGED_MS, TRIMMED)
    undisturbed.flush()
    assert cells(live) == cells(undisturbed)
    assert [cell.filter_id for cell in cells(live)] == [None]
    assert live.partition.checkpoint.cells == 1


def test_they_do_not_come_back_with_a_span_that_reaches_them() -> None:
    """A history record makes both weeks fold alike."""
    live = restored_between()
    live.append(
        CHANGED_MS + 1,
        commands.apply_history(
            ORG,
            metric_ids=[line.command.payload["id"] for line in BASE if is_metric(line.command)],
            from_ms=START_MS,
            to_ms=START_MS + WEEK_MS,
        ),
    )
    live.close_until(CHANGED_MS + HOUR_MS)
    live.restart()
    live.close_until(START_MS + 2 * WEEK_MS + HOUR_MS)
    shown = [msgspec.json.decode(value) for value in live.values()]
    assert [r["units"] for r in shown if r["type"] != "period.completed"] == ["5.0"]


def test_one_that_comes_while_another_of_then_waits_is_told_apart() -> None:
    """The restore leaves the first one to be looked at later, as who waits for a grid cut."""
    live = used_in_the_second_week()
    first = applied(live, commands.set_settings(replace(SETTINGS, grace_s=60)))
    live.partition = live.changelog.restored(live.definitions, [(0, CHANGED_MS, first)])
    live.partition.redefinition.tell(applied(live, TRIMMED))
    refolded = refolds_of(live.partition.redefinition.renewing())
    assert refolded == {(ORG, SUBSCRIPTION, "filtered")}


def test_a_cell_of_another_aggregation_is_counted_anew() -> None:
    """A metric that only the implicit plan charges may change its type, and keeps its charge."""
    settings = SettingsRecord(grace_s=0, default_organization_id=ORG, implicit_plan=True)
    kinds = ("settings", "create_billable_metric", "upsert_customer")
    live = Live([one for one in definitions_of(["sum"], settings) if one.command.type in kinds])
    live.define_all()
    live.deliver([arrived("sum", 0, USED_MS, transaction_id="t", v="5")])
    live.append(CHANGED_MS, RENAMED)
    live.partition.checkpoint.definitions_ms = CHANGED_MS
    live.flush()
    counted = bodies.metric("sum", "count_agg")
    restore_after(live, commands.update_billable_metric(ORG, "sum", counted))
    live.flush()
    live.restart()
    usage = current_usage(live.partition, (ORG, SUBSCRIPTION), CHANGED_MS)
    assert usage is not None
    assert [(str(row.units), row.events_count) for row in usage.rows] == [("1", 1)]


def is_metric(command: Command) -> bool:
    return command.type == "create_billable_metric"


def test_a_set_that_cells_of_a_reached_layer_share_stays_until_the_refold() -> None:
    """Another timezone moves the third week, not the second; a recurring metric has one set."""
    live = Live(definitions_of(["heads"]))
    live.define_all()
    uses = [
        Arrival(event("heads", f"t{i}", at_ms, u="a"), ORG, USED_MS, 0, i, 0)
        for i, at_ms in enumerate((USED_MS, START_MS + 2 * WEEK_MS))
    ]
    live.deliver(uses)
    live.append(CHANGED_MS, RENAMED)
    live.restart()
    (shared,) = live.changelog.stored_sets()
    moved = commands.upsert_customer(ORG, {"external_id": "customer", "timezone": "Asia/Tokyo"})
    partition = live.partition
    partition.redefinition.tell(applied(live, moved))
    refolded = refolds_of(partition.redefinition.renewing())
    live.flush()
    assert len(live.changelog.cells) == 1
    assert live.changelog.stored_sets() == {shared}
    live.refold(refolded)
    live.empty_sets()
    live.flush()
    assert len(live.changelog.cells) == 2
    assert shared not in live.changelog.stored_sets()


@pytest.mark.parametrize("reaches", [False, True], ids=["no span", "a span without cells"])
def test_a_set_that_is_gone_is_not_begun_again(reaches: bool) -> None:
    """The next restart comes before the refold, and brings the charge back as it was."""
    live = Live(definitions_of(["heads"]))
    live.define_all()
    changed_ms = CHANGED_MS if reaches else START_MS
    live.append(changed_ms, RENAMED)
    first, second = (
        Arrival(event("heads", f"t{i}", START_MS + 2 * WEEK_MS, u="a"), ORG, CHANGED_MS, 0, i, 0)
        for i in range(2)
    )
    live.deliver([first])
    live.restart()
    impact = applied(live, commands.delete_billable_metric(ORG, "heads"), changed_ms)
    live.partition.redefinition.tell(impact)
    assert refolds_of(live.partition.redefinition.renewing())
    assert live.changelog.stored_sets()
    live.restart()
    gone = live.changelog.stored_sets()
    assert gone <= set(live.partition.members.leaving)
    live.empty_sets()
    live.flush()
    assert not live.changelog.stored_sets()
    live.partition.redefinition.tell(impact, until_ms=changed_ms - 1)
    live.deliver([second])
    live.flush()
    assert live.changelog.stored_sets().isdisjoint(gone)
    members = live.changelog.members.items()
    packed = [(member_changelog_key(name), value) for name, value in members]
    assert sum_of(packed) == live.partition.members.sum


def test_what_comes_back_with_another_code_is_refolded_too() -> None:
    """Two alerts on who was packed in their millisecond: each asks for a code's whole life."""
    codes = ["sum", "count"]
    live = Live(definitions_of(codes))
    live.define_all()
    uses = [event(code, code, USED_MS, v="5") for code in codes]
    live.deliver([Arrival(use, ORG, USED_MS, 0, i, 0) for i, use in enumerate(uses)])
    live.append(CHANGED_MS, RENAMED)
    live.flush()
    live.partition.packing.pack((ORG, SUBSCRIPTION))
    for code in codes:
        alert = {
            "alert_type": "billable_metric_lifetime_usage_units",
            "code": code,
            "billable_metric_code": code,
            "thresholds": [{"value": "1"}],
        }
        impact = applied(live, commands.create_alert(ORG, SUBSCRIPTION, alert))
        live.partition.redefinition.tell(impact)
    refolded = refolds_of(live.partition.redefinition.renewing())
    assert refolded == {(ORG, SUBSCRIPTION, code) for code in codes}
    live.refold(refolded)
    live.flush()
    assert sum(cell.charge_id.endswith(":lifetime") for cell in cells(live)) == len(codes)
