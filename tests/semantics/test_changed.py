"""`usage.changed`: which codes of which subscriptions have changed, told at multiples of g."""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid5

import pytest

from app.definitions import commands
from app.definitions.model import SettingsRecord
from tests.world import bodies
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import amend, cancel, raw
from tests.world.story import Story

END = "2024-01-20"


def told(**settings: object) -> Story:
    story = Story(**{"usage_changed": True, **settings})
    story.metric("m", "sum_agg").metric("n", "count_agg")
    return story.plan({"code": "m"}, {"code": "n"}).subscribe()


def messages(story: Story, at: str = END) -> list[tuple[str, list[str]]]:
    """(moment, codes) of each message."""
    found = story.messages(at, "usage-changed")
    return [(message["as_of"][5:-5], message["codes"]) for message in found]


def test_many_events_of_a_minute_are_one_message() -> None:
    story = told()
    for second in range(1, 46):
        story.send(f"2024-01-10T10:00:{second:02}", "nm"[second % 2], v="1")
    (message,) = story.messages(END, "usage-changed")
    identity = message["lago_subscription_id"]
    namespace = uuid5(NAMESPACE_URL, "meterstream:usage-records")
    as_of = "2024-01-10T10:01:00.000Z"
    assert message == {
        "schema_version": 2,
        "id": str(uuid5(namespace, f"changed:{identity}:{as_of}")),
        "type": "usage.changed",
        "organization_id": ORG,
        "external_customer_id": "customer",
        "external_subscription_id": SUBSCRIPTION,
        "lago_subscription_id": identity,
        "codes": ["m", "n"],
        "as_of": as_of,
    }


def test_nothing_is_told_unless_it_is_asked_for() -> None:
    assert messages(told(usage_changed=False).send("2024-01-10T10:00:01", v="1")) == []


@pytest.mark.parametrize(
    ("grid_s", "moment"),
    [(1, "10:00:10"), (4, "10:00:12"), (15, "10:00:15"), (60, "10:01:00"), (600, "10:10:00")],
)
def test_moments_are_multiples_of_the_grid_of_ten_seconds_at_least(
    grid_s: int, moment: str
) -> None:
    story = told(close_grid_s=grid_s).send("2024-01-10T10:00:01", v="1")
    assert messages(story) == [(f"01-10T{moment}", ["m"])]


def test_what_is_appended_at_a_moment_is_told_at_it() -> None:
    story = told().send("2024-01-10T10:01:00", v="1").send("2024-01-10T10:01:00.001", v="1")
    assert messages(story) == [("01-10T10:01:00", ["m"]), ("01-10T10:02:00", ["m"])]


def test_what_does_not_count_is_not_told() -> None:
    story = told().send("2024-01-10T10:00:01", v="1")
    first = raw("m", "t0", ms("2024-01-10T10:00:01"), v="1")
    story.append("2024-01-10T10:05:00", first)
    story.send("2024-01-10T10:06:01", v="no number")
    story.send("2024-01-10T10:07:01")
    story.send("2024-01-10T10:08:01", "unknown", v="1")
    story.send("2023-11-10T10:08:01", appended="2024-01-10T10:09:01", v="1")
    assert messages(story) == [("01-10T10:01:00", ["m"])]


def test_a_cancel_is_told_once_and_an_unknown_one_never() -> None:
    story = told().send("2024-01-10T10:00:01", v="1")
    story.append("2024-01-11T10:00:01", cancel("t0"))
    story.append("2024-01-11T10:05:01", cancel("t0"))
    story.append("2024-01-11T10:06:01", cancel("never"))
    assert messages(story) == [("01-10T10:01:00", ["m"]), ("01-11T10:01:00", ["m"])]


def test_an_event_that_was_cancelled_before_it_came_is_not_told() -> None:
    story = told().append("2024-01-10T10:00:01", cancel("t1"))
    story.send("2024-01-10T10:00:02", v="1")
    assert messages(story) == []


def test_an_amended_event_is_told_of_both_codes() -> None:
    story = told().send("2024-01-10T10:00:01", v="1")
    amended = raw("n", "t0", ms("2024-01-10T10:00:01"), v="1")
    story.append("2024-01-11T10:00:01", amend(amended))
    assert messages(story)[1:] == [("01-11T10:01:00", ["m", "n"])]


def test_a_definition_is_told_of_codes_whose_events_it_leads_elsewhere() -> None:
    story = told().send("2024-01-10T10:00:01", v="1", region="eu")
    plan = bodies.plan("plan", [bodies.charge("m", filters=[{"values": {"region": ["eu"]}}])])
    metric = bodies.metric(
        "m", "sum_agg", field_name="v", filters=[{"key": "region", "values": ["eu"]}]
    )
    story.define("2024-01-11T09:00:30", commands.update_billable_metric(ORG, "m", metric))
    before = messages(story)
    story.define("2024-01-11T10:00:30", commands.update_plan(ORG, "plan", plan))
    assert messages(story)[len(before) :] == [("01-11T10:01:00", ["m"])]
    plan = plan | {"name": "another name"}
    plan.pop("charges", None)
    story.define("2024-01-11T11:00:30", commands.update_plan(ORG, "plan", plan))
    assert messages(story)[len(before) + 1 :] == []


@pytest.mark.parametrize(("limits", "tells"), [(4, True), (5, False)])
@pytest.mark.parametrize("scope", ["current", "lifetime"])
def test_an_alert_changes_no_usage(scope: str, limits: int, *, tells: bool) -> None:
    story = told(input_limits=limits).send("2024-01-10T10:00:01", v="1")
    alert = {
        "alert_type": f"billable_metric_{scope}_usage_units",
        "code": "a",
        "billable_metric_code": "m",
        "thresholds": [{"code": "t", "value": "100"}],
    }
    story.define("2024-01-15T00:00:01", commands.create_alert(ORG, SUBSCRIPTION, alert))
    story.define("2024-01-16T00:00:01", commands.delete_alert(ORG, SUBSCRIPTION, "a"))
    of_alert = [("01-15T00:01:00", ["m"]), ("01-16T00:01:00", ["m"])]
    told_of_alert = of_alert if tells and scope == "lifetime" else []
    assert messages(story) == [("01-10T10:01:00", ["m"]), *told_of_alert]


def test_a_moment_tells_of_the_definitions_that_belong_to_it_alone() -> None:
    """They bring another grid. What came within the minute is cancelled in its millisecond."""
    story = Story(usage_changed=True).metric("m", "sum_agg", recurring=True)
    story.plan({"code": "m"}).subscribe().send("2024-01-10T10:00:01", v="1")
    story.append("2024-01-10T10:00:01", cancel("t0"))
    later = SettingsRecord(usage_changed=True, close_grid_s=600, revise_every_s=7200)
    story.define("2024-01-10T10:00:30", commands.set_settings(later))
    assert messages(story) == [("01-10T10:10:00", ["m"])]


def test_a_subscription_is_told_of_events_that_came_before_it() -> None:
    story = Story(usage_changed=True).metric("m", "sum_agg").metric("n", "count_agg")
    story.plan({"code": "m"}, {"code": "n"}).send("2024-01-05", v="1")
    story.subscribe("2024-01-10T10:00:30")
    assert messages(story) == [("01-10T10:01:00", ["m"])]


@pytest.mark.parametrize("dated", ["2023-11-05", "2024-01-05"], ids=["before it", "in its period"])
def test_it_is_told_of_events_that_were_cancelled_before_they_came(dated: str) -> None:
    """The message is the same as if the event had come first."""
    story = Story(usage_changed=True).metric("m", "sum_agg").metric("n", "count_agg")
    story.plan({"code": "m"}, {"code": "n"}).append("2024-01-06", cancel("t1"))
    story.send(dated, appended="2024-01-07", v="1").subscribe("2024-01-10T10:00:30")
    assert messages(story) == [("01-10T10:01:00", ["m"])]


def test_who_is_not_active_at_the_moment_is_not_told() -> None:
    story = told().send("2024-01-10T10:00:01", v="1")
    command = commands.terminate_subscription(ORG, SUBSCRIPTION)
    story.define("2024-01-10T10:00:30", command)
    assert messages(story) == []


def test_a_change_of_the_setting_holds_from_the_next_moment_on() -> None:
    story = told(usage_changed=False).send("2024-01-10T10:00:01", v="1")
    on = commands.set_settings(SettingsRecord(usage_changed=True))
    off = commands.set_settings(SettingsRecord())
    story.define("2024-01-10T10:02:30", on)
    story.send("2024-01-10T10:02:31", v="1").send("2024-01-10T10:03:31", v="1")
    story.define("2024-01-10T10:03:32", off)
    story.send("2024-01-10T10:05:01", v="1")
    assert messages(story) == [("01-10T10:03:00", ["m"])]


@pytest.mark.parametrize(
    ("before", "after", "moment"),
    [
        ({"usage_changed": True}, {"close_grid_s": 600}, "10:10:00"),
        ({"usage_changed": False}, {}, "10:01:00"),
    ],
    ids=["another grid", "on"],
)
def test_settings_hold_for_the_definitions_of_their_millisecond(
    before: dict[str, object], after: dict[str, object], moment: str
) -> None:
    """A worker may know of both before it looks at the first; the offline fold does not."""
    story = Story(**before).metric("m", "sum_agg").plan({"code": "m"})
    story.send("2024-01-05", v="1").subscribe("2024-01-10T10:00:30")
    settings = SettingsRecord(**{"usage_changed": True, **after})  # type: ignore[arg-type]
    story.define("2024-01-10T10:00:30", commands.set_settings(settings))
    assert messages(story) == [(f"01-10T{moment}", ["m"])]
