from typing import Any

import pytest

from app.api.definitions.definitions_json import subscription_json
from app.definitions import commands
from app.definitions.model import SettingsRecord, Subscription
from app.definitions.outcome import Applied, Impact, Rejected
from tests.world.clock import ms
from tests.world.definitions_log import ORG, START, Log, subscription_body

MANDATORY, INVALID_DATE = ["value_is_mandatory"], ["invalid_date"]


@pytest.fixture
def log() -> Log:
    """Three plans, from cheap to dear, by their price a year."""
    log = Log(START)
    log.plan("cheap", interval="yearly", amount_cents=1_000)
    log.plan(amount_cents=100)
    log.plan("dear", interval="weekly", amount_cents=100)
    return log


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"external_customer_id": ""}, {"external_customer_id": MANDATORY}),
        ({"external_customer_id": {}}, {"external_customer_id": MANDATORY}),
        ({"external_customer_id": [1]}, {"external_customer_id": ["value_is_invalid"]}),
        ({"external_id": None}, {"external_id": MANDATORY}),
        ({"subscription_at": "soon"}, {"subscription_at": INVALID_DATE}),
        ({"subscription_at": 1_700_000_000}, {"subscription_at": INVALID_DATE}),
        ({"subscription_at": "9999-01-01"}, {"subscription_at": INVALID_DATE}),
        ({"ending_at": "never"}, {"ending_at": INVALID_DATE}),
        ({"ending_at": "2024-01-31T23:59:59Z"}, {"ending_at": INVALID_DATE}),
        (
            {"ending_at": "2024-02-05T23:00:00Z", "subscription_at": "2024-02-05T01:00:00Z"},
            {"ending_at": INVALID_DATE},
        ),
        ({"billing_time": ""}, {"billing_time": MANDATORY}),
        ({"billing_time": "lunar"}, {"billing_time": ["value_is_invalid"]}),
        (
            {"external_id": "", "billing_time": "x", "ending_at": "y"},
            {
                "external_id": MANDATORY,
                "billing_time": ["value_is_invalid"],
                "ending_at": INVALID_DATE,
            },
        ),
    ],
    ids=str,
)
def test_what_a_subscription_may_not_be(
    log: Log, changes: dict[str, Any], details: dict[str, list[str]]
) -> None:
    refused = log.refuse(commands.create_subscription(ORG, subscription_body(**changes)))
    assert refused == Rejected(422, "validation_errors", details)
    assert list(log.definitions.customers(ORG)) == []


@pytest.mark.parametrize("plan_code", ["nope", None, "", 5, ["x"]])
def test_an_unknown_plan_is_not_found(log: Log, plan_code: object) -> None:
    body = subscription_body(plan_code=plan_code, external_id="")
    assert log.refuse(commands.create_subscription(ORG, body)) == Rejected(404, "plan_not_found")


@pytest.mark.parametrize("body", [None, [], "text", 5, {}])
def test_any_body_is_answered(log: Log, body: object) -> None:
    assert log.refuse(commands.create_subscription(ORG, body)).status == 422


def test_blanks_around_its_ids_and_its_name_are_none_of_them(log: Log) -> None:
    body = {"external_customer_id": " c ", "external_id": "\ts\n", "name": " n "}
    made = log.accept(commands.create_subscription(ORG, subscription_body(**body)))
    assert (made.external_customer_id, made.external_id, made.name) == ("c", "s", "n")


def test_an_unknown_customer_is_created_and_numbers_are_texts(log: Log) -> None:
    subscription = log.subscribe(external_customer_id=123, external_id=789, name=456)
    assert (subscription.external_customer_id, subscription.external_id) == ("123", "789")
    assert subscription.name == "456"
    customer = log.definitions.customer(ORG, "123")
    assert customer is not None
    assert customer.created_at_ms == log.now_ms


@pytest.mark.parametrize(
    ("timezone", "subscription_at", "started_at", "status"),
    [
        pytest.param("UTC", None, START, "active", id="default-now"),
        pytest.param("UTC", START, START, "active", id="now"),
        pytest.param("UTC", "2023-03-05T10:00:00Z", "2023-03-05T10:00:00Z", "active", id="past"),
        pytest.param("UTC", "2024-01-31T20:00:00Z", "2024-01-31T20:00:00Z", "active", id="today"),
        pytest.param("UTC", "2024-02-01T00:00:00Z", "2024-02-01T00:00:00Z", "pending", id="future"),
        pytest.param(
            "America/New_York", "2024-01-31T06:00:00Z", "2024-01-31T06:00:00Z", "pending",
            id="tomorrow-in-new-york",
        ),
        pytest.param(
            "Asia/Tokyo", "2024-01-31T16:00:00Z", "2024-01-31T16:00:00Z", "pending",
            id="tomorrow-in-tokyo",
        ),
    ],
)  # fmt: skip
def test_when_it_starts(
    log: Log, timezone: str, subscription_at: str | None, started_at: str, status: str
) -> None:
    log.customer(timezone=timezone)
    subscription = log.subscribe(subscription_at=subscription_at)
    assert subscription.started_at_ms == ms(started_at)
    assert subscription.status_at(log.now_ms) == status
    assert subscription.status_at(ms(started_at)) == "active"
    assert subscription.subscription_at_ms == ms(subscription_at or START)


def test_usage_does_not_start_before_an_earlier_subscription_ended(log: Log) -> None:
    log.subscribe()
    log.at("2024-02-10T12:00:00Z").accept(commands.terminate_subscription(ORG, "sub_1"))
    log.at("2024-02-20T00:00:00Z")
    again = log.subscribe(subscription_at="2024-02-01T00:00:00Z")
    assert again.started_at_ms == ms("2024-02-10T12:00:00Z")
    assert again.subscription_at_ms == ms("2024-02-01T00:00:00Z")
    assert again.previous_subscription_id is None
    later = log.subscribe(external_id="other", subscription_at="2024-02-01T00:00:00Z")
    assert later.started_at_ms == ms("2024-02-01T00:00:00Z")


def test_the_same_plan_again_changes_nothing(log: Log) -> None:
    first = log.subscribe(name="mine", billing_time="anniversary")
    outcome = log.append(commands.create_subscription(ORG, subscription_body(name="other")))
    assert outcome == Applied("create_subscription", first, None)
    assert len(log.definitions.subscriptions(ORG, "sub_1")) == 1


@pytest.mark.parametrize("subscription_at", [None, "2024-06-01T00:00:00Z"])
def test_an_external_id_is_of_one_customer_at_a_time(log: Log, subscription_at: str | None) -> None:
    log.subscribe(subscription_at=subscription_at)
    body = subscription_body(external_customer_id="cust_2")
    refused = log.refuse(commands.create_subscription(ORG, body))
    assert refused.details == {"external_id": ["value_already_exist"]}
    assert log.definitions.customer(ORG, "cust_2") is None


def test_another_customer_may_take_an_id_whose_subscription_ended(log: Log) -> None:
    log.subscribe()
    log.at("2024-02-10T12:00:00Z").accept(commands.terminate_subscription(ORG, "sub_1"))
    assert log.subscribe(external_customer_id="cust_2").external_customer_id == "cust_2"


@pytest.mark.parametrize("plan_code", ["dear", "same_price"])
def test_an_upgrade_takes_over_at_once(log: Log, plan_code: str) -> None:
    log.plan("same_price", interval="semiannual", amount_cents=600)
    old = log.subscribe(billing_time="anniversary", ending_at="2025-01-01T00:00:00Z")
    log.at("2024-02-10T12:00:00.250Z")
    new = log.subscribe(plan_code=plan_code, billing_time="calendar", name="new")
    replaced = log.newest(old)
    assert replaced.terminated_at_ms == new.started_at_ms == log.now_ms
    assert (replaced.replaced_by, replaced.upgraded) == (new.id, True)
    assert new.previous_subscription_id == old.id
    assert new.subscription_at_ms == old.subscription_at_ms
    assert (new.billing_time, new.name) == ("anniversary", "new")
    assert new.ending_at_ms == ms("2025-01-01T00:00:00Z")
    statuses = [s.status_at(log.now_ms) for s in (replaced, new)]
    assert statuses == ["terminated", "active"]


def test_a_downgrade_waits_for_the_end_of_the_period(log: Log) -> None:
    log.customer(timezone="Europe/Paris")
    old = log.subscribe(billing_time="anniversary")
    log.at("2024-02-10T12:00:00Z")
    answered = log.subscribe(plan_code="cheap")
    assert answered == log.newest(old)
    # 31 January, 29 February: the local midnight of the next post.
    end_ms = ms("2024-02-28T23:00:00Z")
    assert (answered.terminated_at_ms, answered.upgraded) == (end_ms, False)
    assert answered.status_at(end_ms - 1) == "active"
    assert answered.replaced_by is not None
    new = log.definitions.subscription_by_id(answered.replaced_by)
    assert new is not None
    assert (new.started_at_ms, new.previous_subscription_id) == (end_ms, old.id)
    assert [new.status_at(at) for at in (end_ms - 1, end_ms)] == ["pending", "active"]


@pytest.mark.parametrize(
    ("billing_time", "subscription_at", "asked", "fold_version", "at"),
    [
        ("calendar", "2024-01-01T00:00:00Z", "2024-03-10T00:00:00Z", 2, "2024-04-01T00:00:00Z"),
        ("anniversary", "2024-01-15T00:00:00Z", "2024-03-20T00:00:00Z", 2, "2024-04-15T00:00:00Z"),
        ("calendar", "2024-01-01T00:00:00Z", "2024-03-10T00:00:00Z", 1, "2025-01-01T00:00:00Z"),
    ],
)
def test_a_downgrade_of_a_plan_split_by_month_waits_for_the_next_month(
    log: Log, billing_time: str, subscription_at: str, asked: str, fold_version: int, at: str
) -> None:
    """By version 1 it waits for the end of the plan's year."""
    log.accept(commands.set_settings(SettingsRecord(fold_version=fold_version)))
    log.plan("split", interval="yearly", amount_cents=9_999, bill_charges_monthly=True)
    log.subscribe(plan_code="split", billing_time=billing_time, subscription_at=subscription_at)
    answered = log.at(asked).subscribe(plan_code="cheap")
    assert answered.terminated_at_ms == ms(at)
    shown = subscription_json(log.definitions, answered, log.now_ms)
    assert shown["downgrade_plan_date"] == at[:10]


def test_a_split_of_fixed_charges_alone_keeps_the_end_of_the_plan(log: Log) -> None:
    log.plan("split", interval="yearly", amount_cents=9_999, bill_fixed_charges_monthly=True)
    log.subscribe(plan_code="split", subscription_at="2024-01-01T00:00:00Z")
    assert log.subscribe(plan_code="cheap").terminated_at_ms == ms("2025-01-01T00:00:00Z")


def downgraded(log: Log) -> tuple[Subscription, Subscription]:
    """The subscription that goes on, and the one that is to follow."""
    old = log.subscribe()
    answered = log.subscribe(plan_code="cheap")
    assert answered.id == old.id
    following = log.definitions.subscription_by_id(answered.replaced_by or "")
    assert following is not None
    return answered, following


def test_another_downgrade_takes_the_place_of_a_planned_one(log: Log) -> None:
    log.plan("cheaper", amount_cents=1)
    _, planned = downgraded(log)
    again = log.subscribe(plan_code="cheaper")
    assert log.newest(planned).status_at(log.now_ms) == "canceled"
    assert again.replaced_by not in (None, planned.id)


def test_an_upgrade_takes_the_place_of_a_planned_downgrade(log: Log) -> None:
    old, planned = downgraded(log)
    log.at("2024-01-31T02:00:00Z")
    new = log.subscribe(plan_code="dear")
    assert log.newest(planned).status_at(log.now_ms) == "canceled"
    replaced = log.newest(old)
    assert (replaced.terminated_at_ms, replaced.replaced_by) == (log.now_ms, new.id)
    assert replaced.upgraded


def test_a_canceled_downgrade_lets_the_old_one_go_on(log: Log) -> None:
    old, planned = downgraded(log)
    canceled = log.accept(commands.terminate_subscription(ORG, "sub_1", "pending"))
    assert (canceled.id, canceled.canceled_at_ms) == (planned.id, log.now_ms)
    going_on = log.newest(old)
    assert (going_on.terminated_at_ms, going_on.replaced_by) == (None, None)


def test_a_downgrade_to_a_plan_that_is_deleted_does_not_happen(log: Log) -> None:
    old, planned = downgraded(log)
    log.accept(commands.delete_plan(ORG, "cheap"))
    assert log.newest(planned).canceled_at_ms == log.now_ms
    assert log.newest(old).end_ms is None


def test_the_end_of_a_customer_ends_the_whole_chain(log: Log) -> None:
    old, planned = downgraded(log)
    log.accept(commands.delete_customer(ORG, "cust_1"))
    assert log.newest(old).terminated_at_ms == log.now_ms
    assert log.newest(planned).canceled_at_ms == log.now_ms


def test_the_end_of_a_customer_is_stronger_than_a_wished_end(log: Log) -> None:
    old = log.subscribe(ending_at="2030-01-01T00:00:00Z")
    log.subscribe(plan_code="cheap")
    log.accept(commands.delete_customer(ORG, "cust_1"))
    assert log.newest(old).end_ms == log.now_ms
    assert log.definitions.current_subscription(ORG, "sub_1", log.now_ms) is None


def test_what_is_to_follow_cannot_end_before_it_starts(log: Log) -> None:
    downgraded(log)
    log.at("2024-01-31T02:00:00Z")
    body = {"ending_at": "2024-02-01T12:00:00Z"}
    refused = log.refuse(commands.update_subscription(ORG, "sub_1", body, "pending"))
    assert refused.details == {"ending_at": INVALID_DATE}


def test_a_start_cannot_be_moved_past_the_end(log: Log) -> None:
    log.subscribe(subscription_at="2024-06-01T00:00:00Z", ending_at="2024-07-01T00:00:00Z")
    body = {"subscription_at": "2024-07-02T00:00:00Z"}
    refused = log.refuse(commands.update_subscription(ORG, "sub_1", body))
    assert refused.details == {"subscription_at": INVALID_DATE}
    later = {**body, "ending_at": "2024-08-01T00:00:00Z"}
    assert log.accept(commands.update_subscription(ORG, "sub_1", later)).ending_at_ms == ms(
        "2024-08-01T00:00:00Z"
    )


def test_a_wished_end_before_a_planned_downgrade_takes_its_place(log: Log) -> None:
    log.at("2024-02-02T00:00:00Z")
    old, planned = downgraded(log)
    body = {"ending_at": "2024-02-20T00:00:00Z"}
    log.accept(commands.update_subscription(ORG, "sub_1", body))
    assert log.newest(old).end_ms == ms("2024-02-20T00:00:00Z")
    assert log.newest(old).replaced_by is None
    assert log.newest(planned).canceled_at_ms == log.now_ms


def test_a_downgrade_that_would_start_after_the_end_is_refused(log: Log) -> None:
    log.at("2024-02-02T00:00:00Z")
    log.subscribe(ending_at="2024-02-20T00:00:00Z")
    body = subscription_body(plan_code="cheap")
    refused = log.refuse(commands.create_subscription(ORG, body))
    assert refused.details == {"ending_at": INVALID_DATE}


@pytest.mark.parametrize("subscription_at", ["2024-01-31T20:00:00Z", "2024-06-01T00:00:00Z"])
def test_what_has_not_started_just_gets_the_other_plan(log: Log, subscription_at: str) -> None:
    first = log.subscribe(subscription_at=subscription_at)
    changed = log.subscribe(plan_code="dear")
    plan = log.definitions.plan(ORG, "dear")
    assert plan is not None
    assert (changed.id, changed.plan_id) == (first.id, plan.id)
    assert len(log.definitions.subscriptions(ORG, "sub_1")) == 1
    assert not log.definitions.has_subscribers(first.plan_id)


def test_a_deletion_ends_the_active_one_now(log: Log) -> None:
    old = log.subscribe()
    log.at("2024-02-10T12:00:00Z")
    outcome = log.append(commands.terminate_subscription(ORG, "sub_1"))
    assert isinstance(outcome, Applied)
    assert (outcome.object.id, outcome.object.terminated_at_ms) == (old.id, log.now_ms)
    assert outcome.impact == Impact(ORG, "sub_1")
    assert log.refuse(commands.terminate_subscription(ORG, "sub_1")) == Rejected(
        404, "subscription_not_found"
    )


def test_a_deletion_ends_what_was_to_follow_too(log: Log) -> None:
    old, planned = downgraded(log)
    ended = log.accept(commands.terminate_subscription(ORG, "sub_1"))
    assert (ended.id, ended.terminated_at_ms, ended.replaced_by) == (old.id, log.now_ms, None)
    assert log.newest(planned).canceled_at_ms == log.now_ms


@pytest.mark.parametrize("status", [None, "active", "terminated", "nonsense", ["pending"]])
def test_a_pending_one_is_canceled_only_by_its_status(log: Log, status: Any) -> None:
    pending = log.subscribe(subscription_at="2024-06-01T00:00:00Z")
    assert log.refuse(commands.terminate_subscription(ORG, "sub_1", status)).status == 404
    canceled = log.accept(commands.terminate_subscription(ORG, "sub_1", "pending"))
    assert (canceled.id, canceled.canceled_at_ms) == (pending.id, log.now_ms)
    assert canceled.status_at(ms("2025-01-01T00:00:00Z")) == "canceled"


@pytest.mark.parametrize("status", ["nonsense", "pending", "terminated"])
def test_who_names_another_status_ends_and_changes_nothing(log: Log, status: str) -> None:
    log.subscribe()
    for command in (
        commands.terminate_subscription(ORG, "sub_1", status),
        commands.update_subscription(ORG, "sub_1", {"name": "x"}, status),
    ):
        assert log.refuse(command) == Rejected(404, "subscription_not_found")


def test_a_wished_end_ends_it(log: Log) -> None:
    subscription = log.subscribe(ending_at="2024-02-10T00:00:00Z")
    log.at("2024-02-10T00:00:00Z")
    assert subscription.status_at(log.now_ms) == "terminated"
    assert log.refuse(commands.terminate_subscription(ORG, "sub_1")).status == 404
    assert log.subscribe().id != subscription.id


@pytest.mark.parametrize("ending_at", [None, "2024-12-31T00:00:00Z"], ids=["none", "later"])
def test_one_that_has_ended_does_not_go_on(log: Log, ending_at: str | None) -> None:
    ended = log.subscribe(ending_at="2024-03-10T00:00:00Z")
    new = log.at("2024-03-20T00:00:00Z").subscribe()
    command = commands.update_subscription(ORG, "sub_1", {"ending_at": ending_at}, "terminated")
    log.at("2024-03-21T00:00:00Z").accept(command)
    assert log.newest(ended).end_ms == ended.end_ms
    assert log.definitions.current_subscription(ORG, "sub_1", log.now_ms) == new


@pytest.mark.parametrize("status", [None, "active"])
def test_name_and_end_can_be_changed(log: Log, status: str | None) -> None:
    log.subscribe(name="old")
    body = {"name": "new", "ending_at": "2024-03-01", "subscription_at": "2020-01-01"}
    changed = log.accept(commands.update_subscription(ORG, "sub_1", body, status))
    assert (changed.name, changed.ending_at_ms) == ("new", ms("2024-03-01T00:00:00Z"))
    assert changed.subscription_at_ms == ms(START)
    cleared = log.accept(commands.update_subscription(ORG, "sub_1", {"ending_at": None}))
    assert (cleared.name, cleared.ending_at_ms) == ("new", None)


def test_a_name_touches_no_usage(log: Log) -> None:
    log.subscribe()
    named = log.append(commands.update_subscription(ORG, "sub_1", {"name": "x"}))
    ended = log.append(commands.update_subscription(ORG, "sub_1", {"ending_at": "2024-03-01"}))
    assert isinstance(named, Applied)
    assert isinstance(ended, Applied)
    assert named.impact is None
    assert ended.impact == Impact(ORG, "sub_1")


@pytest.mark.parametrize(
    ("subscription_at", "status"),
    [
        ("2024-07-01T00:00:00Z", "pending"),
        ("2024-01-30T00:00:00Z", "active"),
        ("2024-01-31T09:00:00Z", "active"),
    ],
)
def test_the_start_of_a_pending_one_can_be_moved(
    log: Log, subscription_at: str, status: str
) -> None:
    log.subscribe(subscription_at="2024-06-01T00:00:00Z")
    body = {"subscription_at": subscription_at}
    moved = log.accept(commands.update_subscription(ORG, "sub_1", body))
    assert moved.subscription_at_ms == moved.started_at_ms == ms(subscription_at)
    assert moved.status_at(log.now_ms) == status


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({"subscription_at": "x"}, {"subscription_at": INVALID_DATE}),
        ({"ending_at": "2024-01-31"}, {"ending_at": INVALID_DATE}),
        ({"name": {}}, {"name": ["value_is_invalid"]}),
    ],
    ids=str,
)
def test_what_an_update_may_not_say(
    log: Log, body: dict[str, Any], details: dict[str, list[str]]
) -> None:
    old = log.subscribe(subscription_at="2024-06-01T00:00:00Z")
    refused = log.refuse(commands.update_subscription(ORG, "sub_1", body))
    assert refused == Rejected(422, "validation_errors", details)
    assert log.newest(old) == old


@pytest.mark.parametrize(
    ("external_id", "status"), [("nope", None), ("sub_1", "pending"), ("sub_1", "x")]
)
def test_unknown_subscriptions_are_not_found(
    log: Log, external_id: str, status: str | None
) -> None:
    log.subscribe()
    command = commands.update_subscription(ORG, external_id, {"name": "x"}, status)
    assert log.refuse(command) == Rejected(404, "subscription_not_found")


def test_what_was_known_at_a_moment_stays_known(log: Log) -> None:
    first = log.subscribe()
    created_ms = log.now_ms
    log.at("2024-02-10T12:00:00Z")
    second = log.subscribe(plan_code="dear")
    old, new = log.definitions.subscriptions(ORG, "sub_1")
    assert (old.at(created_ms - 1), old.at(created_ms), new.at(created_ms)) == (None, first, None)
    assert new.at() == second
    assert list(log.definitions.all_subscription_keys()) == [(ORG, "sub_1")]
    assert log.definitions.subscriptions(ORG, "nope") == []


@pytest.mark.parametrize("invoice", ["generate", "skip"])
def test_one_with_an_end_to_come_begins_when_it_is_told_to_begin_earlier(
    log: Log, invoice: str
) -> None:
    """Its own end is none of what earlier ones of the external id have published."""
    body = {"subscription_at": "2024-06-01T00:00:00Z", "ending_at": "2024-07-01T00:00:00Z"}
    log.subscribe(**body, on_termination_invoice=invoice)
    told = {"subscription_at": "2024-01-01T00:00:00Z"}
    subscription = log.accept(commands.update_subscription(ORG, "sub_1", told, "pending"))
    assert subscription.started_at_ms == subscription.subscription_at_ms == ms("2024-01-01")
    assert subscription.status_at(log.now_ms) == "active"
