"""Every end of a period has the grace of the customer: a plan change and a termination, too."""

from __future__ import annotations

from app.definitions import commands
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

Row = tuple[str, str, str, str]


def story(**settings: int) -> Story:
    """Plans a and b, b the cheaper; a subscription to a, with three days of grace."""
    told = Story(close_grid_s=1, **settings).metric("m", "count_agg")
    billing = {"invoice_grace_period": 3}
    customer = {"external_id": "customer", "billing_configuration": billing}
    told.define("2023-12-31", commands.upsert_customer(ORG, customer))
    for code, amount_cents in (("a", 200), ("b", 100), ("c", 300)):
        told.plan({}, code=code, amount_cents=amount_cents)
    return told.subscribe(plan_code="a")


def change(told: Story, plan_code: str) -> Story:
    body = {
        "external_customer_id": "customer",
        "plan_code": plan_code,
        "external_id": SUBSCRIPTION,
    }
    return told.define("2024-01-15", commands.create_subscription(ORG, body))


def shown(told: Story) -> list[Row]:
    return [
        (r["plan_code"], r["closing_reason"], r["units"], r["closed_at"][:16])
        for r in told.records("2024-03-05")
    ]


def test_a_downgrade() -> None:
    told = change(story().send("2024-01-05"), "b").send("2024-01-31", appended="2024-02-02")
    assert shown(told) == [("a", "plan_change", "2.0", "2024-02-04T00:00")]


def test_an_upgrade_while_the_next_plan_goes_on() -> None:
    told = change(story().send("2024-01-05"), "c")
    told.send("2024-01-06", appended="2024-01-16").send("2024-01-17")
    assert shown(told) == [
        ("a", "plan_change", "2.0", "2024-01-18T00:00"),
        ("c", "period_end", "1.0", "2024-02-04T00:00"),
    ]


def test_a_termination() -> None:
    told = story().define("2024-01-20T12:00", commands.terminate_subscription(ORG, SUBSCRIPTION))
    told.send("2024-01-19", appended="2024-01-22")
    assert shown(told) == [("a", "termination", "1.0", "2024-01-23T12:00")]


def test_a_wished_end() -> None:
    told = story()
    body = {"ending_at": "2024-01-20T12:00:00Z"}
    told.define("2024-01-02", commands.update_subscription(ORG, SUBSCRIPTION, body))
    told.send("2024-01-19", appended="2024-01-22")
    assert shown(told) == [("a", "termination", "1.0", "2024-01-23T12:00")]


def test_the_late_window_counts_from_there() -> None:
    told = story(late_window_s=86_400)
    told.define("2024-01-20T12:00", commands.terminate_subscription(ORG, SUBSCRIPTION))
    told.send("2024-01-19", appended="2024-01-24T12:00")
    told.send("2024-01-19", appended="2024-01-24T12:00:01")
    assert [str(refusal.code) for refusal in told.meter("2024-02-01").refused] == ["too_late"]
    assert shown(told) == [("a", "termination", "1.0", "2024-01-24T12:00")]


def test_by_the_rules_of_version_1_only_a_whole_period_has_it() -> None:
    told = story(fold_version=1)
    told.define("2024-01-20T12:00", commands.terminate_subscription(ORG, SUBSCRIPTION))
    told.send("2024-01-19", appended="2024-01-22")
    assert shown(told)[0] == ("a", "termination", "1.0", "2024-01-22T00:00")
