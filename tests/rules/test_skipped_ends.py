"""A termination that skips its invoice publishes nothing of the period that it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.definitions import commands
from app.offline.fold import OfflineMeter
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

ENDED = "2024-01-20T12:00:00Z"
FROM, TO = "2024-01-01T00:00:00Z", "2024-01-31T23:59:59Z"


def story(**settings: Any) -> Story:
    """A monthly subscription from 2024 on, with events on three days of January."""
    told = Story(close_grid_s=1, **settings).metric("m", "count_agg").plan({}).subscribe()
    for at in ("2024-01-05", "2024-01-15", "2024-01-21"):
        told.send(at)
    return told


def end(told: Story, invoice: str | None, at: str = ENDED) -> Story:
    command = commands.terminate_subscription(ORG, SUBSCRIPTION, None, invoice)
    return told.define(at, command)


def update(told: Story, at: str, **body: Any) -> Story:
    return told.define(at, commands.update_subscription(ORG, SUBSCRIPTION, body))


def completed(told: Story, at: str = "2024-03-02") -> list[tuple[str, str, str]]:
    """(from, to, closing reason) of every period that is published."""
    found = [json.loads(record.value) for record in told.meter(at).records]
    return [
        (r["period"]["from"], r["period"]["to"], r["closing_reason"])
        for r in found
        if r["type"] == "period.completed"
    ]


def units(told: Story, at: str = "2024-02-02") -> list[tuple[str, str, str]]:
    return [(r["period"]["from"], r["period"]["to"], r["units"]) for r in told.records(at)]


def test_nothing_is_published_and_nothing_is_late() -> None:
    told = end(story(late_policy="refuse"), "skip")
    told.send("2024-01-19", appended="2024-03-01")
    assert completed(told) == []
    meter = told.meter("2024-03-02")
    assert meter.refused == []
    assert told.past("2024-03-02") == []


def test_periods_that_ended_before_are_published_in_grace_too() -> None:
    told = end(story(grace_s=3 * 86_400), "skip", "2024-02-02")
    assert completed(told) == [(FROM, TO, "period_end")]
    assert units(told, "2024-02-05") == [(FROM, TO, "3.0")]


def test_a_later_subscription_takes_what_was_skipped() -> None:
    told = end(story(), "skip").subscribe(at="2024-01-25", subscription_at="2024-01-10T00:00:00Z")
    assert units(told) == [("2024-01-10T00:00:00Z", TO, "2.0")]
    assert completed(told, "2024-02-02") == [("2024-01-10T00:00:00Z", TO, "period_end")]


def test_usage_of_the_earlier_one_ends_where_the_later_begins() -> None:
    told = end(story(), "skip").subscribe(at="2024-01-25", subscription_at="2024-01-10T00:00:00Z")
    found = told.meter("2024-02-02").definitions.subscriptions(ORG, SUBSCRIPTION)
    newest = [versions.at() for versions in found]
    assert [one and one.usage_end_ms for one in newest] == [ms("2024-01-10"), None]


def test_a_late_event_does_not_publish_what_is_left_of_a_skipped_period() -> None:
    """Nor does another end that was wished for when that part was over."""
    told = update(story(), "2024-01-02", ending_at="2024-02-20T00:00:00Z")
    told = end(update(told, "2024-01-19", ending_at=None), "skip")
    told.subscribe(at="2024-01-25", subscription_at="2024-01-10T00:00:00Z")
    told.send("2024-01-06", appended="2024-01-26")
    assert completed(told, "2024-02-02") == [("2024-01-10T00:00:00Z", TO, "period_end")]


def test_but_not_what_an_invoice_had() -> None:
    told = end(story(), "generate")
    told.subscribe(at="2024-01-25", subscription_at="2024-01-10T00:00:00Z")
    assert units(told) == [(FROM, ENDED, "2.0"), (ENDED, TO, "1.0")]


def test_a_later_one_begins_no_earlier_than_the_skipped_period() -> None:
    told = end(story(), "skip", "2024-02-10")
    told.subscribe(at="2024-02-15", subscription_at="2024-01-10T00:00:00Z")
    assert completed(told) == [
        (FROM, TO, "period_end"),
        ("2024-02-01T00:00:00Z", "2024-02-29T23:59:59Z", "period_end"),
    ]


def test_so_do_three_in_a_row() -> None:
    told = end(story(), "skip").subscribe(at="2024-01-22", subscription_at=FROM)
    end(told, "skip", "2024-01-23")
    told.subscribe(at="2024-01-24", subscription_at="2024-01-10T00:00:00Z")
    assert units(told) == [("2024-01-10T00:00:00Z", TO, "2.0")]


@pytest.mark.parametrize(
    ("kept", "invoice", "published"),
    [
        ("skip", None, False),
        ("skip", "generate", True),
        ("generate", "skip", False),
        (None, None, True),
        ("", "skip", False),
    ],
)
def test_the_query_wins_over_what_was_kept(
    kept: str | None, invoice: str | None, published: bool
) -> None:
    told = end(update(story(), "2024-01-02", on_termination_invoice=kept), invoice)
    assert bool(completed(told)) == published
    newest = told.meter("2024-02-02").definitions.subscriptions(ORG, SUBSCRIPTION)[-1].at()
    assert newest is not None
    assert newest.on_termination_invoice == ("generate" if published else "skip")


def test_a_wished_end_skips_as_it_was_kept() -> None:
    told = update(story(), "2024-01-02", ending_at=ENDED, on_termination_invoice="skip")
    assert completed(told) == []
    # What has ended is not changed any more.
    told.define(
        "2024-01-22",
        commands.update_subscription(
            ORG, SUBSCRIPTION, {"on_termination_invoice": "generate"}, "terminated"
        ),
    )
    assert completed(told) == []


def test_the_end_of_a_plan_skips_as_it_was_kept() -> None:
    told = update(story(), "2024-01-02", on_termination_invoice="skip")
    told.define(ENDED, commands.delete_plan(ORG, "plan"))
    assert completed(told) == []


def test_a_plan_change_is_no_termination() -> None:
    told = update(story(), "2024-01-02", on_termination_invoice="skip")
    told.plan({}, code="other", amount_cents=100)
    told.subscribe(at=ENDED, plan_code="other", subscription_at=None)
    assert completed(told)[0] == (FROM, ENDED, "plan_change")


def test_a_balance_goes_on() -> None:
    told = Story(close_grid_s=1).metric("m", "sum_agg", recurring=True).plan({}).subscribe()
    end(told.send("2024-01-05", v="5"), "skip").subscribe(at="2024-01-25", subscription_at=None)
    assert units(told) == [("2024-01-25T00:00:00Z", TO, "5.0")]


def test_another_value_is_refused() -> None:
    told = end(story(), "no")
    (rejected,) = refused(told)
    assert rejected == {"on_termination_invoice": ["invalid_value"]}
    told = update(story(), "2024-01-02", on_termination_invoice=True)
    (rejected,) = refused(told)
    assert rejected == {"on_termination_invoice": ["invalid_value"]}


def refused(told: Story) -> list[Any]:
    meter = OfflineMeter()
    meter.run(told.definitions, told.events, ms("2024-02-02"))
    return [rejected.details for _, rejected in meter.rejected]


def test_by_the_rules_of_version_1_every_end_is_published() -> None:
    told = end(story(fold_version=1), "skip")
    assert completed(told) == [(FROM, ENDED, "termination")]


def test_a_pending_one_looks_at_neither() -> None:
    told = Story(close_grid_s=1).metric("m", "count_agg").plan({})
    told.subscribe(at="2024-01-01", subscription_at="2024-03-01T00:00:00Z")
    told.define(
        "2024-01-02", commands.terminate_subscription(ORG, SUBSCRIPTION, "pending", "anything")
    )
    assert refused(told) == []


def test_a_period_in_grace_is_published_though_a_later_subscription_comes() -> None:
    told = Story(close_grid_s=60, grace_s=3 * 86_400).metric("m", "sum_agg")
    told.plan({"code": "m"}).subscribe().send("2024-01-05", v="5")
    end = commands.terminate_subscription(ORG, SUBSCRIPTION, None, "skip")
    told.define("2024-02-01T12:00:00", end)
    told.subscribe("2024-02-02", subscription_at="2024-01-25T00:00:00Z")
    assert [record["units"] for record in told.records("2024-02-05")] == ["5.0"]
