"""Rules of `input_limits` 4 and 5: where periods end, exactly; an older log keeps what it had."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions import commands
from app.definitions.model import SettingsRecord
from tables.reading.verification import Verification
from tests.world.begun import begun
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

SEATS = {"pay_in_advance": True}


def verified(story: Story, at: str) -> bool:
    """Whether records and cells of a moment are those that the log gives."""
    verification = begun(Verification(story.meter(at).partition, [(ORG, SUBSCRIPTION)]))
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


@pytest.mark.parametrize("kind", ["sum_agg", "unique_count_agg", "weighted_sum_agg"])
@pytest.mark.parametrize("at", ["2024-02-01", "2024-02-01T00:00:01"])
@pytest.mark.parametrize("limits", [4, 5])
def test_an_upgrade_where_a_period_ends_leaves_no_whole_period_to_the_next_plan(
    kind: str, at: str, limits: int
) -> None:
    story = Story(close_grid_s=60, input_limits=limits)
    story.metric("m", kind, recurring=True)
    story.plan({}).plan({}, code="dearer", amount_cents=500_000)
    story.subscribe().send("2024-01-02", v=1)
    story.define(at, commands.create_subscription(ORG, to_plan("dearer")))
    ends = at == "2024-02-01"
    january = ("2024-01-01", "plan_change" if ends else "period_end")
    told = [] if ends and limits == 4 else [january]
    assert recorded(story, "2024-03-02") == [*told, ("2024-02-01", "period_end")]
    assert verified(story, "2024-03-02")


NEWER = commands.set_settings(SettingsRecord(close_grid_s=60, input_limits=4))
MOVES = commands.upsert_customer(ORG, {"external_id": "customer", "timezone": "America/New_York"})


def seats(limits: int, at: str, zone: str = "UTC") -> Story:
    """A subscription that begins at a moment, of a customer of some timezone, with 30 seats."""
    story = Story(close_grid_s=60, input_limits=limits)
    story.metric("m", "sum_agg", recurring=True).plan({})
    customer = commands.upsert_customer(ORG, {"external_id": "customer", "timezone": zone})
    story.define("2024-01-01", customer)
    story.define(at, commands.create_subscription(ORG, to_plan("plan")))
    return story.send(f"{at[:10]}T23:00" if "T" in at else f"{at}T00:10", v=30)


def ended(story: Story, at: str) -> list[tuple[str, str]]:
    """Periods that have records: from when until when."""
    found = [each["period"] for each in story.records(at)]
    return [(each["from"][5:16], each["to"][5:16]) for each in found]


SLIVER = ("06-01T00:00", "06-01T03:59")
BEHIND = ("06-01T04:00", "07-01T03:59")
JUNE = ("06-01T00:00", "07-01T03:59")


@pytest.mark.parametrize(("limits", "periods"), [(3, [SLIVER, BEHIND]), (4, [JUNE])])
def test_a_timezone_cuts_no_first_period_short(limits: int, periods: list[tuple[str, str]]) -> None:
    story = seats(limits, "2024-06-01").define("2024-06-10", MOVES)
    assert ended(story, "2024-07-02") == periods
    assert verified(story, "2024-07-02")


def test_a_first_period_that_a_timezone_cut_short_stays_so_once_it_is_fixed() -> None:
    story = seats(3, "2024-06-01").define("2024-06-10", MOVES).define("2024-06-11", NEWER)
    assert ended(story, "2024-07-02") == [SLIVER, BEHIND]
    assert verified(story, "2024-07-02")
    story = seats(3, "2024-06-01").define("2024-06-09", NEWER).define("2024-06-10", MOVES)
    assert ended(story, "2024-07-02") == [JUNE]


def test_a_first_period_of_hours_that_no_move_made_stays() -> None:
    """In New York before it began, or subscribed hours before the end of a month."""
    story = seats(4, "2024-06-01", "America/New_York")
    assert ended(story, "2024-07-02") == [SLIVER, BEHIND]
    late = seats(4, "2024-06-30T20:00").define("2024-06-30T21:00", MOVES)
    assert ended(late, "2024-08-02") == [
        ("06-30T20:00", "07-01T03:59"),
        ("07-01T04:00", "08-01T03:59"),
    ]


FARTHEST = ("Pacific/Kiritimati", "Etc/GMT+12")


def moved_farthest(limits: int, start: str) -> Story:
    """A balance of a customer that moves on 10 February from the farthest east to the west."""
    story = Story(close_grid_s=60, input_limits=limits).metric("m", "sum_agg", recurring=True)
    east, west = (
        commands.upsert_customer(ORG, {"external_id": "customer", "timezone": zone})
        for zone in FARTHEST
    )
    story.plan({}).define("2024-01-01", east)
    story.define(start, commands.create_subscription(ORG, to_plan("plan")))
    return story.send(start, v=5).define("2024-02-10", west)


BEFORE = ("01-09T00:00", "01-31T09:59")
HOURS = ("01-31T10:00", "02-01T11:59")


@pytest.mark.parametrize("limits", [4, 5])
def test_no_move_makes_a_period_of_26_hours(limits: int) -> None:
    moved = moved_farthest(limits, "2024-01-09")
    february = (
        [HOURS, ("02-01T12:00", "03-01T11:59")] if limits == 4 else [("01-31T10:00", "03-01T11:59")]
    )
    after = ("03-01T12:00", "04-01T11:59")
    assert ended(moved, "2024-04-02") == [BEFORE, *february, after]
    assert verified(moved, "2024-04-02")


@pytest.mark.parametrize("limits", [4, 5])
def test_no_move_makes_a_first_period_of_26_hours(limits: int) -> None:
    moved = moved_farthest(limits, "2024-01-31T10:00")
    february = (
        [HOURS, ("02-01T12:00", "03-01T11:59")] if limits == 4 else [("01-31T10:00", "03-01T11:59")]
    )
    assert ended(moved, "2024-04-01") == february
    assert verified(moved, "2024-04-01")


def test_a_timezone_cuts_no_first_period_of_the_next_plan_short() -> None:
    story = Story(close_grid_s=60, input_limits=4).metric("m", "sum_agg", recurring=True)
    story.plan({}, amount_cents=500).plan({}, code="cheaper")
    story.subscribe("2024-05-10").send("2024-05-11", v=30)
    story.define("2024-06-15", commands.create_subscription(ORG, to_plan("cheaper")))
    story.define("2024-07-10", MOVES)
    assert ended(story, "2024-08-02")[-1] == ("07-01T00:00", "08-01T03:59")
    assert verified(story, "2024-08-02")


def downgraded(limits: int, *, prorated: bool = False) -> Story:
    """A downgrade waits for July, and the customer moves to where July began hours before."""
    story = Story(close_grid_s=60, input_limits=limits).metric("m", "sum_agg", recurring=True)
    story.plan({"prorated": prorated}, amount_cents=500)
    story.plan({"prorated": prorated}, code="cheaper")
    story.define("2024-05-01", commands.create_subscription(ORG, to_plan("plan")))
    story.send("2024-06-01", v=30).send("2024-06-30T16:00", v=0)
    story.define("2024-06-15", commands.create_subscription(ORG, to_plan("cheaper")))
    tokyo = {"external_id": "customer", "timezone": "Asia/Tokyo"}
    return story.define("2024-06-30T20:00", commands.upsert_customer(ORG, tokyo))


BEGUN = [("05-01T00:00", "05-31T23:59"), ("06-01T00:00", "06-30T20:00")]
PARTED = [BEGUN[0], ("06-01T00:00", "06-30T14:59"), ("06-30T15:00", "06-30T20:00")]
JULY = ("06-30T20:00", "07-31T14:59")


def completed(story: Story, at: str) -> list[tuple[str, str]]:
    """Periods that are over: from when until when."""
    told = story.messages(at)
    found = [each["period"] for each in told if each["type"] == "period.completed"]
    return list(dict.fromkeys((each["from"][5:16], each["to"][5:16]) for each in found))


@pytest.mark.parametrize(("limits", "periods"), [(3, PARTED), (4, BEGUN)])
def test_a_downgrade_whose_post_has_passed_ends_the_period_that_runs(
    limits: int, periods: list[tuple[str, str]]
) -> None:
    story = downgraded(limits)
    story.send("2024-06-30T21:00", v=1).send("2024-06-30T19:00", "m", "2024-07-02", v=1)
    assert completed(story, "2024-08-01") == [*periods, JULY]
    assert verified(story, "2024-08-01")


def test_a_downgrade_that_parted_a_period_of_hours_did_so_for_ever() -> None:
    assert completed(downgraded(3).define("2024-06-30T22:00", NEWER), "2024-08-01") == [
        *PARTED,
        JULY,
    ]


def test_days_of_a_period_that_a_downgrade_ended_hours_later_are_its_own() -> None:
    told = downgraded(4, prorated=True).records("2024-08-01")
    assert [each["prorated_units"] for each in told] == ["30.0", "30.0"]
