"""How much an organization may have, and how often it may change it."""

from __future__ import annotations

from typing import Any

import pytest

from app.bounds import limits
from app.bounds.quotas import Quotas
from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import decide
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Rejected
from app.definitions.quotas import MINUTE_MS, Taken, elapsed_charges, over_quota
from tests.world.definitions_log import ORG, Log, metric_body, plan_body, subscription_body

ONE_OF_EACH = Quotas(metrics=1, plans=1, customers=1, subscriptions=1)
CHARGE = {"billable_metric_code": "storage", "charge_model": "package"}


def full_log() -> Log:
    log = Log()
    log.metric()
    log.plan()
    log.subscribe()
    return log


def refused(log: Log, command: Command, quotas: Quotas) -> Rejected | None:
    decision = decide(log.definitions, command, log.now_ms)
    assert not isinstance(decision, Rejected), decision
    elapsed = drained(elapsed_charges(log.definitions, decision, log.now_ms))
    return drained(over_quota(log.definitions, decision, elapsed, quotas))


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (commands.create_billable_metric(ORG, metric_body("b")), "billable_metrics"),
        (commands.create_plan(ORG, plan_body("b")), "plans"),
        (commands.upsert_customer(ORG, {"external_id": "b"}), "customers"),
        (
            commands.create_subscription(ORG, subscription_body(external_id="b")),
            "subscriptions",
        ),
    ],
)
def test_of_what_there_may_be_one_there_is_one(command: Command, field: str) -> None:
    found = refused(full_log(), command, ONE_OF_EACH)
    assert found == Rejected(422, "validation_errors", {field: ["limit_is_1"]})
    assert refused(full_log(), command, Quotas()) is None


@pytest.mark.parametrize(
    "command",
    [
        commands.update_billable_metric(ORG, "storage", {"name": "b"}),
        commands.update_plan(ORG, "plan_code", {"name": "b"}),
        commands.upsert_customer(ORG, {"external_id": "cust_1", "name": "b"}),
        commands.update_subscription(ORG, "sub_1", {"name": "b"}),
        commands.terminate_subscription(ORG, "sub_1"),
        commands.delete_plan(ORG, "plan_code"),
    ],
)
def test_what_there_is_may_still_be_changed(command: Command) -> None:
    assert refused(full_log(), command, ONE_OF_EACH) is None


def test_an_external_id_has_so_many_subscriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUBSCRIPTIONS_OF_ONE_ID", 2)
    log, again = full_log(), commands.create_subscription(ORG, subscription_body())
    log.accept(commands.terminate_subscription(ORG, "sub_1"))
    assert refused(log, again, Quotas()) is None
    log.subscribe()
    log.accept(commands.terminate_subscription(ORG, "sub_1"))
    found = refused(log, again, Quotas())
    assert found == Rejected(422, "validation_errors", {"external_id": ["limit_is_2"]})


def test_another_organization_has_its_own() -> None:
    other = commands.create_billable_metric("other", metric_body())
    assert refused(full_log(), other, ONE_OF_EACH) is None


def test_what_is_deleted_makes_room() -> None:
    log = full_log()
    log.accept(commands.delete_plan(ORG, "plan_code"))
    assert refused(log, commands.create_plan(ORG, plan_body("b")), ONE_OF_EACH) is None


def elapsed(log: Log, command: Command) -> int:
    decision = decide(log.definitions, command, log.now_ms)
    assert not isinstance(decision, Rejected), decision
    return drained(elapsed_charges(log.definitions, decision, log.now_ms))


@pytest.mark.parametrize(
    ("interval", "changes", "since", "count"),
    [
        pytest.param("weekly", {}, "2024-01-01", 4 * 2, id="weeks"),
        pytest.param("monthly", {}, "2023-01-15", 12 * 2, id="months"),
        pytest.param("yearly", {}, "2000-01-15", 24 * 2, id="years"),
        pytest.param(
            "yearly", {"bill_charges_monthly": True}, "2000-01-15", 24 * 12 * 2, id="by-month"
        ),
        pytest.param("weekly", {"charges": []}, "2024-01-01", 4, id="no-charges"),
        pytest.param("weekly", {}, "2024-02-20", 0, id="to-come"),
        pytest.param("weekly", {}, "2024-01-31", 0, id="today"),
    ],
)
def test_elapsed_periods_are_counted_by_arithmetic(
    interval: str, changes: dict[str, Any], since: str, count: int
) -> None:
    log = Log("2024-01-31T12:00:00Z")
    log.metric()
    log.plan(**{"interval": interval, "charges": [CHARGE, CHARGE], **changes})
    command = commands.create_subscription(ORG, subscription_body(subscription_at=since))
    assert elapsed(log, command) == count


def test_elapsed_periods_end_with_the_subscription_and_count_once() -> None:
    log = Log("2024-01-31T12:00:00Z")
    log.metric()
    log.plan(interval="weekly", charges=[CHARGE])
    made = log.subscribe(subscription_at="2020-01-01")
    rename = commands.update_subscription(ORG, "sub_1", {"name": "b"})
    assert elapsed(log, rename) == 0
    assert elapsed(log, commands.terminate_subscription(ORG, "sub_1")) == 0
    assert made.started_at_ms < log.now_ms


def test_periods_that_are_not_closed_cost_nothing() -> None:
    log = Log()
    log.accept(commands.set_settings(SettingsRecord(close_elapsed=False)))
    log.metric()
    log.plan(interval="weekly", charges=[CHARGE])
    since = subscription_body(subscription_at="1970-01-01")
    assert elapsed(log, commands.create_subscription(ORG, since)) == 0


def test_more_elapsed_periods_than_the_quota_are_refused() -> None:
    log = Log()
    log.metric()
    log.plan(interval="weekly", charges=[CHARGE] * 20)
    since = subscription_body(subscription_at="1970-01-01")
    found = refused(log, commands.create_subscription(ORG, since), Quotas())
    out_of_range = {"subscription_at": ["value_is_out_of_range"]}
    assert found == Rejected(422, "validation_errors", out_of_range)
    lately = subscription_body(subscription_at="2023-01-01")
    assert refused(log, commands.create_subscription(ORG, lately), Quotas()) is None


def test_a_minute_has_so_many_changes() -> None:
    taken, at_ms = Taken(), 10 * MINUTE_MS + 15_500

    def take(organization_id: str = ORG, later_ms: int = 0) -> int:
        return taken.take(organization_id, "plan_changes", 2, at_ms + later_ms)

    assert [take(), take(), take()] == [0, 0, 45]
    assert take("other") == 0
    assert take(later_ms=44_499) == 1
    assert take(later_ms=44_500) == 0


def test_nothing_is_kept_of_a_minute_that_is_over() -> None:
    """Whoever took something once is not remembered for good."""
    taken = Taken()
    for number in range(1_000):
        assert taken.take(f"org-{number}", "plan_changes", 2, number * MINUTE_MS) == 0
    assert [len(amounts) for _, amounts in taken._taken.values()] == [1]


def test_what_is_refused_takes_nothing() -> None:
    taken = Taken()
    amounts = [900, 200, 100, 1]
    waits = [taken.take(ORG, "elapsed", 1_000, 0, amount) for amount in amounts]
    assert waits == [0, 86_400, 0, 86_400]


def test_without_a_quota_anything_goes() -> None:
    assert Taken().take(ORG, "corrections", None, 0, 10**9) == 0
