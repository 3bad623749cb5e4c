"""Alerts as definitions: what is accepted, in which order it is checked, and what goes on."""

from __future__ import annotations

from typing import Any

import pytest

from app.bounds.turns import STEP_ITEMS
from app.definitions import commands
from app.definitions.log import deciding
from app.definitions.model import Alert
from app.definitions.outcome import Applied, Rejected
from app.definitions.sizes import oversized
from tests.world import bodies
from tests.world.definitions_log import ORG, Log

SUB = "sub"


def log() -> Log:
    made = Log()
    for code in ("a", "b"):
        body = bodies.metric(code, "sum_agg", field_name="v")
        made.accept(commands.create_billable_metric(ORG, body))
    plan = bodies.plan("plan", [bodies.charge(billable_metric_code="a")])
    made.accept(commands.create_plan(ORG, plan))
    subscription = {"external_customer_id": "c", "plan_code": "plan", "external_id": SUB}
    made.accept(commands.create_subscription(ORG, subscription))
    return made


def body(**changes: Any) -> dict[str, Any]:
    return {
        "alert_type": "billable_metric_current_usage_units",
        "code": "low",
        "billable_metric_code": "a",
        "thresholds": [{"code": "t", "value": "10"}],
        **changes,
    }


def create(**changes: Any) -> Any:
    return commands.create_alert(ORG, SUB, body(**changes))


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"alert_type": "current_usage_amount"}, {"alert_type": ["feature_not_available"]}),
        ({"alert_type": " "}, {"alert_type": ["value_is_mandatory", "value_is_invalid"]}),
        ({"alert_type": "wallet_balance_amount"}, {"alert_type": ["invalid_type"]}),
        ({"thresholds": []}, {"thresholds": ["value_is_mandatory"]}),
        (
            {"thresholds": [{"value": value} for value in range(21)]},
            {"thresholds": ["too_many_thresholds"]},
        ),
        (
            {"thresholds": [{"value": "1"}, {"value": "1.0"}]},
            {"thresholds": ["duplicate_threshold_values"]},
        ),
        (
            {"thresholds": [{"value": v, "recurring": True} for v in (1, 2)]},
            {"thresholds": ["duplicate_threshold_values"]},
        ),
        ({"thresholds": [{"code": "x"}]}, {"thresholds:value": ["value_is_mandatory"]}),
        ({"thresholds": [{"value": "ten"}]}, {"thresholds:value": ["value_is_invalid"]}),
        (
            {"thresholds": [{"value": 0, "recurring": True}]},
            {"thresholds:value": ["recurring_value_is_negative"]},
        ),
        (
            {"billable_metric_code": None, "code": ""},
            {"billable_metric": ["value_is_mandatory"], "code": ["value_is_mandatory"]},
        ),
    ],
    ids=str,
)
def test_what_an_alert_may_not_be(changes: dict[str, Any], details: dict[str, list[str]]) -> None:
    refused = log().refuse(create(**changes))
    assert refused == Rejected(422, "validation_errors", details)


def test_what_it_is_about_has_to_be_there() -> None:
    made = log()
    assert made.refuse(create(billable_metric_code="c")).code == "billable_metric_not_found"
    other = commands.create_alert(ORG, "other", body())
    assert made.refuse(other).code == "subscription_not_found"
    pending = commands.create_alert(ORG, SUB, body(), "pending")
    assert made.refuse(pending).code == "subscription_not_found"


def test_a_subscription_has_a_code_and_a_metric_once() -> None:
    made = log()
    made.accept(create())
    taken = made.refuse(create(billable_metric_code="b"))
    assert taken.details == {"code": ["value_already_exist"]}
    assert made.refuse(create(code="x")).details == {"base": ["alert_already_exists"]}
    made.accept(create(code="x", billable_metric_code="b"))
    renamed = commands.update_alert(ORG, SUB, "x", {"code": "low"})
    assert made.refuse(renamed).details == {"code": ["value_already_exist"]}


def test_of_a_list_all_are_made_or_none() -> None:
    made = log()
    wrong = [body(), body(code="x", thresholds=[])]
    refused = made.refuse(commands.create_alerts(ORG, SUB, wrong))
    details: Any = refused.details
    assert list(details) == ["1"]
    assert details["1"] == {
        "params": body(code="x", thresholds=[]),
        "errors": {"thresholds": ["value_is_mandatory"]},
    }
    assert not made.definitions.alerts.versions
    right = [body(), body(code="x", billable_metric_code="b")]
    assert len(made.accept(commands.create_alerts(ORG, SUB, right))) == 2


def test_many_are_made_by_steps_and_each_is_seen_by_those_after_it() -> None:
    made, count = log(), 2 * STEP_ITEMS + 1
    for number in range(count):
        metric = bodies.metric(f"m{number}", "sum_agg", field_name="v")
        made.accept(commands.create_billable_metric(ORG, metric))
    alerts = [body(code=f"a{n}", billable_metric_code=f"m{n}") for n in range(count)]
    command = commands.create_alerts(ORG, SUB, alerts)
    assert len(list(deciding(made.definitions, command, made.now_ms))) == 2
    taken = body(code="a0", billable_metric_code="a"), body(code="b", billable_metric_code="m1")
    refused: Any = made.append(commands.create_alerts(ORG, SUB, [*alerts, *taken]))
    assert not isinstance(refused, Applied)
    assert {int(at): each["errors"] for at, each in refused.details.items()} == {
        count: {"code": ["value_already_exist"]},
        count + 1: {"base": ["alert_already_exists"]},
    }


def test_absent_keys_stay_and_given_thresholds_replace() -> None:
    made = log()
    first = made.accept(create(name="n"))
    changed = made.accept(commands.update_alert(ORG, SUB, "low", {"thresholds": [{"value": 5}]}))
    assert isinstance(changed, Alert)
    assert (changed.name, changed.metric_id) == ("n", first.metric_id)
    assert [str(threshold.value) for threshold in changed.thresholds] == ["5"]
    kept = made.accept(commands.update_alert(ORG, SUB, "low", {"thresholds": [], "name": None}))
    assert (kept.name, kept.thresholds) == (None, changed.thresholds)


def test_a_deleted_one_is_gone_and_makes_room() -> None:
    made = log()
    made.accept(create())
    made.accept(create(code="x", billable_metric_code="b"))
    made.accept(commands.delete_alert(ORG, SUB, "low"))
    assert made.refuse(commands.delete_alert(ORG, SUB, "low")).code == "alert_not_found"
    made.accept(create())
    made.accept(commands.delete_alerts(ORG, SUB))
    assert list(made.definitions.alerts.of((ORG, SUB))) == []


def test_long_texts_are_refused_at_the_door() -> None:
    long = "x" * 10_000
    assert oversized(create(code=long)) is not None
    assert oversized(commands.create_alerts(ORG, SUB, [body(name=long)])) is not None
    assert oversized(create()) is None
