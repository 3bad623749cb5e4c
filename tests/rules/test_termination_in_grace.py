"""By the rules of version 1 a termination has no grace: it is due before a period in grace."""

from __future__ import annotations

import msgspec
import pytest

from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, lines, plan_body
from tests.world.events import event
from tests.world.partition import Live

GRACE = SettingsRecord(close_grid_s=60, revise_every_s=3600, grace_s=5 * 86_400, fold_version=1)
ENDED_MS = START_MS + WEEK_MS + 2 * DAY_MS


def published(
    *, plan_changes: bool, delivered_ms: int, new_grace_days: int | None = None
) -> list[tuple[str, str, str]]:
    """(period start, cut, units) of a subscription that ends two days into its second week."""
    base = [(d.append_time_ms, d.command) for d in definitions_of(["balance"], GRACE)]
    base.append((ENDED_MS, commands.terminate_subscription(ORG, SUBSCRIPTION)))
    if plan_changes:
        charges = plan_body(["balance"])["charges"]
        base.append((ENDED_MS + HOUR_MS, commands.update_plan(ORG, "plan", {"charges": charges})))
    if new_grace_days is not None:
        billing = {"invoice_grace_period": new_grace_days}
        customer = {"external_id": "customer", "billing_configuration": billing}
        base.append((ENDED_MS + HOUR_MS, commands.upsert_customer(ORG, customer)))
    live = Live(lines(base))
    live.define_all()
    for offset, (at_ms, appended_ms, value) in enumerate(
        [
            (START_MS, START_MS, "1"),
            (START_MS + 1, ENDED_MS + DAY_MS, "10"),
        ]
    ):
        arrived = event("balance", f"t{offset}", at_ms, v=value)
        live.deliver([Arrival(arrived, ORG, appended_ms, 0, offset, 0)])
        live.close_until(min(appended_ms, delivered_ms))
    live.close_until(START_MS + 5 * WEEK_MS)
    return [
        (body["period"]["from"][:10], body["closed_at"][:13], body["units"])
        for body in live.bodies()
        if body["type"] != "period.completed"
    ]


def test_both_periods_are_published_each_when_it_is_due() -> None:
    """The second at the termination without what came later, the first after its grace with it."""
    wanted = [
        ("2024-01-08", "2024-01-10T00", "1.0"),
        ("2024-01-08", "2024-01-11T00", "11.0"),
        ("2024-01-01", "2024-01-13T00", "11.0"),
    ]
    assert published(plan_changes=False, delivered_ms=1 << 60) == wanted


def test_cuts_taken_late_say_the_same() -> None:
    """Everything is folded before the first cut is taken."""
    assert published(plan_changes=False, delivered_ms=0) == published(
        plan_changes=False, delivered_ms=1 << 60
    )


def test_a_grace_that_changes_after_the_second_was_due_changes_only_the_first() -> None:
    """Whether the cuts are taken in time or under everything that was defined later."""

    def cuts(delivered_ms: int) -> list[tuple[str, str, str]]:
        return published(plan_changes=False, delivered_ms=delivered_ms, new_grace_days=6)

    assert cuts(1 << 60) == cuts(0)
    assert [(start, cut) for start, cut, _ in cuts(0)] == [
        ("2024-01-08", "2024-01-10T00"),
        ("2024-01-08", "2024-01-11T00"),
        ("2024-01-01", "2024-01-14T00"),
    ]


def test_the_second_keeps_charges_that_the_first_no_longer_has() -> None:
    """The plan loses its charge between the two due times."""
    assert published(plan_changes=True, delivered_ms=0)[0] == ("2024-01-08", "2024-01-10T00", "1.0")


def in_force_later(
    changed: SettingsRecord,
    events: list[tuple[str, int, dict[str, str]]],
    *,
    grouped: bool = False,
    in_time: bool,
) -> list[tuple[str, str, str]]:
    """(period start, cut, units), sorted, under settings of three hours after late events.

    They come while the first period is in grace and the second published. `in_time`: everything is
    folded and published as it comes, with a restart before each; else when all of it is known.
    """
    base = [(d.append_time_ms, d.command) for d in definitions_of(["balance"], GRACE)]
    if grouped:
        (charge,) = plan_body(["balance"])["charges"]
        charge["properties"]["pricing_group_keys"] = ["g"]
        base.append((START_MS, commands.update_plan(ORG, "plan", {"charges": [charge]})))
    base.append((ENDED_MS, commands.terminate_subscription(ORG, SUBSCRIPTION)))
    base.append((ENDED_MS + DAY_MS + 3 * HOUR_MS, commands.set_settings(changed)))
    live = Live(lines(base))
    if not in_time:
        live.define_all()
    for offset, (name, at_ms, properties) in enumerate(events):
        appended_ms = ENDED_MS + DAY_MS + 1 + offset
        if in_time:
            live.close_until(appended_ms - 1)
            live.restart()
        arrived = event("balance", name, at_ms, **properties)
        live.deliver([Arrival(arrived, ORG, appended_ms, 0, offset, 0)])
    if in_time:
        live.close_until(ENDED_MS + DAY_MS + 2 * HOUR_MS)
    live.close_until(START_MS + 5 * WEEK_MS)
    return sorted(
        (body["period"]["from"][:10], body["closed_at"][5:16], body["units"])
        for body in live.bodies()
        if body["type"] != "period.completed"
    )


@pytest.mark.parametrize("revise_every_s", [6 * 3600, 1800])
@pytest.mark.parametrize("at_ms", [START_MS + 1, START_MS - DAY_MS])
def test_the_second_is_revised_as_it_was_due_whatever_the_first_will_be(
    at_ms: int, revise_every_s: int
) -> None:
    """For events of the first, or of before it: revise_every_s changes while it is in grace."""
    changed = msgspec.structs.replace(GRACE, revise_every_s=revise_every_s)
    told = [
        in_force_later(changed, [("late", at_ms, {"v": "10"})], in_time=in_time)
        for in_time in (True, False)
    ]
    assert told[0] == told[1]
    assert told[0] == [("2024-01-01", "01-13T00:00", "10.0"), ("2024-01-08", "01-11T01:00", "10.0")]


def test_the_second_keeps_the_groups_it_was_due_with_whatever_the_first_will_admit() -> None:
    """max_groups changes while the first is in grace."""
    changed = msgspec.structs.replace(GRACE, max_groups=1)
    events: list[tuple[str, int, dict[str, str]]] = [
        ("a", START_MS + 1, {"v": "1", "g": "a"}),
        ("b", START_MS + 2, {"v": "2", "g": "b"}),
    ]
    told = [in_force_later(changed, events, grouped=True, in_time=each) for each in (True, False)]
    assert told[0] == told[1]
    assert told[0] == [
        ("2024-01-01", "01-13T00:00", "1.0"),
        ("2024-01-01", "01-13T00:00", "2.0"),
        ("2024-01-08", "01-11T01:00", "1.0"),
        ("2024-01-08", "01-11T01:00", "2.0"),
    ]
