"""Which periods current and past usage show."""

from __future__ import annotations

from typing import Any

from tests.world.story import Story


def used(period: dict[str, object]) -> list[str]:
    charges: list[dict[str, str]] = period["charges_usage"]  # type: ignore[assignment]
    return [entry["units"] for entry in charges]


def test_one_that_starts_later_today_shows_its_first_period() -> None:
    story = Story().metric("m", "sum_agg").plan({})
    story.subscribe(at="2024-01-10", subscription_at="2024-01-10T18:00:00Z")
    story.send("2024-01-10T19:00:00Z", appended="2024-01-10T01:00:00Z", v=3)
    usage = story.usage("2024-01-10T12:00:00Z")
    assert usage["from_datetime"] == "2024-01-10T18:00:00Z"
    assert usage["to_datetime"] == "2024-01-31T23:59:59Z"
    assert used(usage) == ["3.0"]


def test_the_implicit_plan_has_past_months_too() -> None:
    story = Story(implicit_plan=True).metric("m", "sum_agg")
    story.metric("balance", "sum_agg", recurring=True)
    for at in ("2024-01-10", "2024-03-05", "2024-04-02"):
        story.send(at, v=2).send(at, "balance", v=1)
    periods = story.past("2024-04-20")
    assert [period["from_datetime"][:10] for period in periods] == [
        "2024-03-01",
        "2024-02-01",
        "2024-01-01",
    ]
    # Charges are in the order of the metrics' names: balance, m.
    assert [used(period) for period in periods] == [["2.0", "2.0"], ["1.0"], ["1.0", "2.0"]]
    assert [period["final"] for period in periods] == [False] * 3


def test_without_an_event_the_implicit_plan_has_no_past() -> None:
    assert Story(implicit_plan=True).metric("m", "sum_agg").past("2024-04-20") == []


def test_past_usage_leaves_out_what_was_not_used_also_in_grace() -> None:
    story = Story(grace_s=86_400).metric("m", "weighted_sum_agg", recurring=True)
    story.plan({"properties": {"pricing_group_keys": ["g"]}}).subscribe()
    story.send("2024-01-10", v=2, g="gone").send("2024-01-10", v=1, g="here")
    story.send("2024-01-11", v=-2, g="gone")
    (february, january) = story.past("2024-03-01T12:00:00Z")
    assert len(january["charges_usage"][0]["grouped_usage"]) == 2
    assert [g["grouped_by"] for g in february["charges_usage"][0]["grouped_usage"]] == [
        {"g": "here"}
    ]
    assert february["final"] is False


def test_a_late_event_is_pending_until_the_next_revision() -> None:
    story = Story().metric("m", "sum_agg").plan({}).subscribe()
    story.send("2024-01-10", v=2).send("2024-01-11", appended="2024-02-03T10:15:00Z", v=3)
    story.send("2024-01-12", code="m", appended="2024-02-03T10:20:00Z", v=4)

    def january(at: str) -> dict[str, Any]:
        period = story.past(at)[-1]
        (charge,) = period["charges_usage"]
        return {**period, **charge}

    before = january("2024-02-03T10:30:00Z")
    assert (before["state"], before["closed_at"]) == ("published", "2024-02-01T00:00:00.000Z")
    assert before["units"] == "2.0"
    assert before["published"] == {"revision": 0, "units": "2.0", "events_count": 1}
    assert before["pending"] == {
        "cut": "2024-02-03T11:00:00.000Z",
        "events": 2,
        "delta_units": "7.0",
        "reasons": ["late_events"],
    }
    assert (before["live"]["units"], before["live"]["events_count"]) == ("9.0", 3)
    after = january("2024-02-03T11:30:00Z")
    assert after["published"] == {"revision": 1, "units": "9.0", "events_count": 3}
    assert (after["pending"], after["closed_at"]) == (None, "2024-02-03T11:00:00.000Z")
    assert january("2024-03-13")["state"] == "final"
