"""Rules of `input_limits` 4: where periods end, exactly; an older log keeps what it had."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions import commands
from app.definitions.model import SettingsRecord
from tables.reading.verification import Verification
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

SEATS = {"pay_in_advance": True}


def verified(story: Story, at: str) -> bool:
    """Whether records and cells of a moment are those that the log gives."""
    verification = Verification(story.meter(at).partition, [(ORG, SUBSCRIPTION)])
    verification.feed(story.arrivals())
    same = not any(compared.differences for compared in filter(None, verification.compare()))
    return same and not any(verification.compare_published())


def to_plan(code: str) -> dict[str, Any]:
    return {"external_customer_id": "customer", "plan_code": code, "external_id": SUBSCRIPTION}


def upgraded(limits: int, *charges: dict[str, Any], **more: Any) -> Story:
    """A seat paid in advance, and an upgrade in the millisecond in which January ends."""
    story = Story(close_grid_s=60, input_limits=limits)
    story.metric("m", "unique_count_agg", recurring=True)
    story.plan({**SEATS, **more}).plan(*charges, code="dearer", amount_cents=500_000)
    story.subscribe().send("2024-01-02", v="a")
    return story.define("2024-02-01", commands.create_subscription(ORG, to_plan("dearer")))


def recorded(story: Story, at: str) -> list[tuple[str, str]]:
    """What records say that is left to bill: from when, and why the period closed."""
    found = [each for each in story.records(at) if each["type"] == "usage.recorded"]
    return [(each["period"]["from"][:10], each["closing_reason"]) for each in found]


@pytest.mark.parametrize("prorated", [False, True])
@pytest.mark.parametrize("goes_on", [False, True])
def test_an_upgrade_where_a_period_ends_leaves_nothing_that_is_paid_in_advance(
    *, goes_on: bool, prorated: bool
) -> None:
    next_charges = [SEATS] if goes_on else []
    following = [("2024-02-01", "period_end")] * goes_on
    story = upgraded(4, *next_charges, prorated=prorated)
    assert recorded(story, "2024-03-02") == following
    assert verified(story, "2024-03-02")
    # By the rules of before it was published, unless the next plan carries it on.
    before = [("2024-01-01", "plan_change")] * (prorated or not goes_on)
    assert recorded(upgraded(3, *next_charges, prorated=prorated), "2024-03-02") == [
        *before,
        *following,
    ]


@pytest.mark.parametrize(("grace_s", "stays"), [(0, True), (86_400, False)])
def test_a_period_that_is_fixed_keeps_how_an_upgrade_ended_it(grace_s: int, *, stays: bool) -> None:
    story = Story(close_grid_s=60, input_limits=3, grace_s=grace_s)
    story.metric("m", "unique_count_agg", recurring=True)
    story.plan(SEATS).plan(code="dearer", amount_cents=500_000).subscribe()
    story.send("2024-01-02", v="a")
    story.define("2024-02-01", commands.create_subscription(ORG, to_plan("dearer")))
    newer = SettingsRecord(close_grid_s=60, input_limits=4, grace_s=grace_s)
    story.define("2024-02-01T12:00:00", commands.set_settings(newer))
    assert recorded(story, "2024-03-02") == [("2024-01-01", "plan_change")] * stays
    assert verified(story, "2024-03-02")
