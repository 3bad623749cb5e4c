"""A termination has no grace, so it is due before the period that is in grace before it."""

from __future__ import annotations

from app.definitions import commands
from app.definitions.model import SettingsRecord
from tables.fold import Arrival
from tests.laws import world
from tests.laws.world import DAY_MS, HOUR_MS, ORG, START_MS, SUBSCRIPTION, WEEK_MS, Live, lines

GRACE = SettingsRecord(close_grid_s=60, revise_every_s=3600, grace_s=5 * 86_400)
ENDED_MS = START_MS + WEEK_MS + 2 * DAY_MS


def published(
    *, plan_changes: bool, delivered_ms: int, new_grace_days: int | None = None
) -> list[tuple[str, str, str]]:
    """(period start, cut, units) of a subscription that ends two days into its second week."""
    base = [(d.append_time_ms, d.command) for d in world.definitions_of(["balance"], GRACE)]
    base.append((ENDED_MS, commands.terminate_subscription(ORG, SUBSCRIPTION)))
    if plan_changes:
        charges = world.plan_body(["balance"])["charges"]
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
        arrived = world.event("balance", f"t{offset}", at_ms, v=value)
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
