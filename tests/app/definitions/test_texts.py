"""Changes that nobody has to look back at: none at all, and those of texts that are only shown."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply, decide
from app.definitions.outcome import Applied
from app.definitions.state import Definitions
from app.definitions.versions import Versions
from tests.world.definitions_log import ORG, Log, metric_body, plan_body, subscription_body

Body = dict[str, Any]


def put_metric(body: Body) -> Command:
    return commands.update_billable_metric(ORG, "storage", body)


def put_plan(body: Body) -> Command:
    return commands.update_plan(ORG, "plan_code", body)


def put_customer(body: Body) -> Command:
    return commands.upsert_customer(ORG, {"external_id": "cust_1", **body})


def put_subscription(body: Body) -> Command:
    return commands.update_subscription(ORG, "sub_1", body)


def one_of_each() -> Log:
    log = Log()
    region = [{"key": "region", "values": ["eu", "us"]}]
    log.metric(description="first", filters=region)
    buckets = [{"values": {"region": ["eu"]}}]
    charge = {"billable_metric_code": "storage", "charge_model": "package", "filters": buckets}
    log.plan(description="first", charges=[charge], metadata={"a": "1"})
    log.customer(name="first", timezone="Asia/Tokyo", metadata=[{"key": "a", "value": "1"}])
    log.subscribe(name="first")
    return log


def versions_of(definitions: Definitions) -> list[Versions[Any]]:
    return [
        *definitions.metric_versions.values(),
        *definitions.plan_versions.values(),
        *definitions.customer_versions.values(),
        *definitions.subscription_versions.values(),
    ]


CASES = [
    pytest.param(put_metric, {"description": "second"}, id="metric"),
    pytest.param(put_plan, {"description": "second"}, id="plan"),
    pytest.param(put_plan, {"name": "second"}, id="plan-name"),
    pytest.param(put_plan, {"metadata": {"a": "2"}}, id="plan-metadata"),
    pytest.param(put_customer, {"name": "second"}, id="customer"),
    pytest.param(put_subscription, {"name": "second"}, id="subscription"),
]


@pytest.mark.parametrize(("put", "body"), CASES)
def test_of_versions_that_differ_in_texts_the_newest_is_kept(
    put: Callable[[Body], Command], body: Body
) -> None:
    log = one_of_each()
    made = [list(versions.changes) for versions in versions_of(log.definitions)]
    for _ in range(3):
        log.now_ms += 1_000
        changed = log.accept(put(body))
    assert [list(versions.changes) for versions in versions_of(log.definitions)] == made
    assert changed in [versions.at() for versions in versions_of(log.definitions)]


@pytest.mark.parametrize(("put", "body"), CASES)
def test_what_changes_nothing_decides_no_change(put: Callable[[Body], Command], body: Body) -> None:
    log = one_of_each()
    changed = log.accept(put(body))
    log.now_ms += 1_000
    decision = decide(log.definitions, put(body), log.now_ms)
    assert not hasattr(decision, "code")
    assert (decision.object, decision.impact, decision.changes) == (changed, None, ())
    assert log.append(put(body)) == Applied(put(body).type, changed, None)


def test_charges_that_stay_change_nothing() -> None:
    log = one_of_each()
    (plan,) = log.definitions.plans(ORG)
    filters = [{"values": {"region": ["eu"]}}]
    kept = {"id": plan.charges[0].id, "charge_model": "package", "filters": filters}
    decision = decide(log.definitions, put_plan({"charges": [kept]}), log.now_ms)
    assert not hasattr(decision, "code")
    assert decision.changes == ()


@pytest.mark.parametrize(
    ("put", "body"),
    [
        pytest.param(put_metric, {"name": "second"}, id="in-usage-records"),
        pytest.param(put_plan, {"amount_cents": 5}, id="price"),
        pytest.param(put_customer, {"timezone": "UTC"}, id="timezone"),
        pytest.param(put_subscription, {"ending_at": "2026-01-01"}, id="end"),
    ],
)
def test_what_is_looked_back_at_makes_a_version(put: Callable[[Body], Command], body: Body) -> None:
    log = one_of_each()
    count = sum(map(len, versions_of(log.definitions)))
    log.accept(put(body))
    assert sum(map(len, versions_of(log.definitions))) == count + 1


def test_a_text_of_a_metric_in_use_leaves_the_plans_as_they_are() -> None:
    log = one_of_each()
    before = log.definitions.plans(ORG)
    log.accept(put_metric({"description": "x", "filters": [{"key": "region", "values": ["eu"]}]}))
    assert [plan is old for plan, old in zip(log.definitions.plans(ORG), before, strict=True)] == [
        True
    ]


def test_a_filter_that_stays_costs_nothing_anew() -> None:
    log = Log()
    filters = [{"key": "k", "values": [str(i) for i in range(1_000)]}]
    old = log.metric(filters=filters)
    changed = log.accept(put_metric(metric_body(name="other", filters=filters)))
    assert changed.filters is old.filters


def test_definitions_with_every_text_are_accepted() -> None:
    log = one_of_each()
    assert log.accept(put_plan(plan_body(invoice_display_name="shown"))).invoice_display_name
    again = log.append(commands.create_subscription(ORG, subscription_body(name="other")))
    assert isinstance(again, Applied)


def test_two_thousand_descriptions_weigh_as_much_as_one() -> None:
    log = Log()
    log.metric()
    (known,) = log.definitions.metric_versions.values()
    tracemalloc.start()
    for number in range(2_000):
        apply(
            log.definitions,
            put_metric({"description": str(number).rjust(4_096)}).encode(),
            log.now_ms + number,
            len(log.records) + number,
        )
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(known) == 1
    assert grown < 1_000_000
