from collections.abc import Sequence
from typing import Any

import pytest

from app.bounds.turns import STEP_ITEMS, drained
from app.definitions import commands
from app.definitions.model import Charge, HistoryRecord, Plan
from app.definitions.outcome import Applied, Impact, Rejected
from tests.world.definitions_log import ORG, Log, plan_body

MANDATORY, INVALID = ["value_is_mandatory"], ["value_is_invalid"]
WRONG_MODEL = ["invalid_aggregation_type_or_charge_model"]
NOT_PRORATED = ["invalid_billable_metric_or_charge_model"]
REGION = [{"key": "region", "values": ["eu", "us"]}]


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        pytest.param({"name": None}, {"name": MANDATORY}, id="name"),
        pytest.param({"code": ""}, {"code": MANDATORY}, id="code"),
        pytest.param({"amount_cents": None}, {"amount_cents": MANDATORY}, id="amount-null"),
        pytest.param({"amount_cents": "x"}, {"amount_cents": INVALID}, id="amount-text"),
        pytest.param({"amount_cents": 1.5}, {"amount_cents": INVALID}, id="amount-fraction"),
        pytest.param({"amount_cents": 1e300}, {"amount_cents": INVALID}, id="amount-huge"),
        pytest.param(
            {"amount_cents": -1}, {"amount_cents": ["value_is_out_of_range"]}, id="amount-negative"
        ),
        pytest.param({"interval": None}, {"interval": INVALID}, id="interval-null"),
        pytest.param({"interval": "daily"}, {"interval": INVALID}, id="interval-unknown"),
        pytest.param({"amount_currency": "EURO"}, {"amount_currency": INVALID}, id="currency"),
        pytest.param(
            {"amount_currency": ["EUR"]}, {"amount_currency": INVALID}, id="currency-list"
        ),
        pytest.param({"pay_in_advance": None}, {"pay_in_advance": INVALID}, id="advance-null"),
        pytest.param({"trial_period": "long"}, {"trial_period": INVALID}, id="trial"),
        pytest.param({"charges": "x"}, {"charges": INVALID}, id="charges-text"),
        pytest.param({"charges": [5]}, {"charges": INVALID}, id="charges-numbers"),
        pytest.param({"metadata": "x"}, {"metadata": INVALID}, id="metadata"),
        pytest.param(
            {"name": "", "interval": "x", "amount_currency": None},
            {"name": MANDATORY, "interval": INVALID, "amount_currency": INVALID},
            id="all-together",
        ),
    ],
)
def test_what_a_plan_may_not_be(changes: dict[str, Any], details: dict[str, list[str]]) -> None:
    log = Log()
    refused = log.refuse(commands.create_plan(ORG, plan_body(**changes)))
    assert refused == Rejected(422, "validation_errors", details)
    assert log.definitions.plans(ORG) == []


@pytest.mark.parametrize("body", [None, [], "text", 5, {}])
def test_any_body_is_answered(body: object) -> None:
    assert Log().refuse(commands.create_plan(ORG, body)).status == 422


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        pytest.param({"bill_charges_monthly": True}, "bill_charges_monthly", None, id="monthly"),
        pytest.param(
            {"interval": "yearly", "bill_charges_monthly": True}, "bill_charges_monthly", True,
            id="yearly-split",
        ),
        pytest.param({"interval": "semiannual"}, "bill_charges_monthly", False, id="half"),
        pytest.param({"amount_cents": "12"}, "amount_cents", 12, id="amount-text"),
        pytest.param({"trial_period": 1}, "trial_period", 1.0, id="trial"),
        pytest.param({"metadata": {"a": "b"}}, "metadata", {"a": "b"}, id="metadata"),
        pytest.param({"charges": None}, "charges", (), id="charges-null"),
    ],
)  # fmt: skip
def test_what_a_plan_becomes(changes: dict[str, Any], field: str, value: object) -> None:
    assert getattr(Log().plan(**changes), field) == value


def test_of_two_racing_creations_of_a_code_the_second_loses() -> None:
    log = Log()
    first, second = (commands.create_plan(ORG, plan_body()) for _ in range(2))
    winner = log.accept(first)
    assert log.refuse(second).details == {"code": ["value_already_exist"]}
    assert log.definitions.plan(ORG, "plan_code") == winner


def created(log: Log, *charges: dict[str, Any], **metric: Any) -> Sequence[Charge]:
    """Charges on the metric `storage` of a new plan."""
    log.metric(**metric)
    bodies = [{"billable_metric_code": "storage", **charge} for charge in charges]
    return log.plan(charges=bodies).charges


@pytest.mark.parametrize(
    ("metric", "charge", "details"),
    [
        pytest.param({}, {"charge_model": "nope"}, {"charge_model": INVALID}, id="model-unknown"),
        pytest.param({}, {}, {"charge_model": INVALID}, id="model-absent"),
        pytest.param(
            {}, {"charge_model": "standard", "properties": {"amount": 1}},
            {"properties": ["invalid_amount"]}, id="amount-is-no-text",
        ),
        pytest.param(
            {}, {"charge_model": "standard", "properties": {"amount": "-1"}},
            {"properties": ["invalid_amount"]}, id="amount-negative",
        ),
        pytest.param(
            {}, {"charge_model": "standard", "properties": {"rate": "1"}},
            {"properties": ["invalid_amount"]}, id="amount-absent",
        ),
        pytest.param(
            {}, {"charge_model": "standard", "properties": [1]}, {"properties": INVALID},
            id="properties-list",
        ),
        pytest.param(
            {}, {"charge_model": "package", "properties": {"pricing_group_keys": ["a", ""]}},
            {"properties": ["invalid_type"]}, id="group-key-empty",
        ),
        pytest.param(
            {}, {"charge_model": "package", "properties": {"pricing_group_keys": "a"}},
            {"properties": ["invalid_type"]}, id="group-keys-text",
        ),
        pytest.param(
            {}, {"charge_model": "standard", "prorated": True}, {"prorated": NOT_PRORATED},
            id="prorated-metered",
        ),
        pytest.param(
            {"recurring": True}, {"charge_model": "package", "prorated": True},
            {"prorated": NOT_PRORATED}, id="prorated-package",
        ),
        pytest.param(
            {"recurring": True},
            {"charge_model": "graduated", "prorated": True, "pay_in_advance": True},
            {"prorated": NOT_PRORATED}, id="prorated-graduated-in-advance",
        ),
        pytest.param(
            {"recurring": True, "aggregation_type": "weighted_sum_agg"},
            {"charge_model": "standard", "prorated": True},
            {"prorated": NOT_PRORATED}, id="prorated-weighted",
        ),
        pytest.param(
            {"aggregation_type": "max_agg"}, {"charge_model": "standard", "pay_in_advance": True},
            {"pay_in_advance": WRONG_MODEL}, id="in-advance-max",
        ),
        pytest.param(
            {}, {"charge_model": "volume", "pay_in_advance": True},
            {"pay_in_advance": WRONG_MODEL}, id="in-advance-volume",
        ),
        pytest.param(
            {"aggregation_type": "count_agg"}, {"charge_model": "dynamic"},
            {"charge_model": WRONG_MODEL}, id="dynamic-count",
        ),
        pytest.param(
            {"filters": REGION}, {"charge_model": "package", "filters": [{"values": {}}]},
            {"values": MANDATORY}, id="filter-without-values",
        ),
        pytest.param(
            {"filters": REGION},
            {"charge_model": "package", "filters": [{"values": {"region": []}}]},
            {"values": MANDATORY}, id="filter-empty-list",
        ),
        pytest.param(
            {"filters": REGION},
            {"charge_model": "package", "filters": [{"values": {"region": ["asia"]}}]},
            {"values": INVALID}, id="filter-unknown-value",
        ),
        pytest.param(
            {"filters": REGION},
            {"charge_model": "package", "filters": [{"values": {"cloud": ["aws"]}}]},
            {"billable_metric_filter": ["relation_must_exist"]}, id="filter-unknown-key",
        ),
        pytest.param(
            {"filters": REGION},
            {
                "charge_model": "package",
                "filters": [
                    {"values": {"region": ["eu"]}, "properties": {"pricing_group_keys": [1]}}
                ],
            },
            {"properties": ["invalid_type"]}, id="filter-group-keys",
        ),
        pytest.param(
            {}, {"charge_model": "package", "filters": "x"}, {"filters": INVALID}, id="filters-text"
        ),
        pytest.param(
            {}, {"charge_model": "package", "regroup_paid_fees": "x"},
            {"regroup_paid_fees": INVALID}, id="regroup",
        ),
    ],
)  # fmt: skip
def test_what_a_charge_may_not_be(
    metric: dict[str, Any], charge: dict[str, Any], details: dict[str, list[str]]
) -> None:
    log = Log()
    log.metric(**metric)
    body = plan_body(charges=[{"billable_metric_code": "storage", **charge}])
    refused = log.refuse(commands.create_plan(ORG, body))
    assert refused == Rejected(422, "validation_errors", details)


@pytest.mark.parametrize(
    ("metric", "charge"),
    [
        pytest.param({"recurring": True}, {"charge_model": "standard", "prorated": True}, id="p1"),
        pytest.param(
            {"recurring": True},
            {"charge_model": "standard", "prorated": True, "pay_in_advance": True},
            id="p2",
        ),
        pytest.param(
            {"recurring": True, "aggregation_type": "unique_count_agg"},
            {"charge_model": "volume", "prorated": True},
            id="p3",
        ),
        pytest.param({}, {"charge_model": "dynamic"}, id="dynamic-sum"),
        pytest.param(
            {"aggregation_type": "count_agg"},
            {"charge_model": "graduated", "pay_in_advance": True},
            id="in-advance-count",
        ),
    ],
)
def test_allowed_combinations(metric: dict[str, Any], charge: dict[str, Any]) -> None:
    assert len(created(Log(), charge, **metric)) == 1


@pytest.mark.parametrize(
    "reference",
    [
        {"billable_metric_id": "8a0a2f0e-5b0e-4d3e-9a53-2f1d3c6b7a10"},
        {"billable_metric_id": 5},
        {"billable_metric_code": "nope"},
        {},
    ],
)
def test_an_unknown_metric_is_found_out_before_anything_else(reference: dict[str, Any]) -> None:
    log = Log()
    body = plan_body(name="", charges=[{**reference, "charge_model": "x"}])
    assert log.refuse(commands.create_plan(ORG, body)) == Rejected(
        404, "billable_metrics_not_found"
    )


def test_a_metric_of_another_organization_is_unknown() -> None:
    log = Log()
    metric = log.metric()
    body = plan_body(charges=[{"billable_metric_id": metric.id, "charge_model": "standard"}])
    refused = log.refuse(commands.create_plan("another", body))
    assert refused.code == "billable_metrics_not_found"


def test_codes_are_made_from_the_metric_around_the_given_ones() -> None:
    charges = created(
        Log(),
        {"charge_model": "package"},
        {"charge_model": "package", "code": "storage_2"},
        {"charge_model": "package", "code": ""},
    )
    assert [charge.code for charge in charges] == ["storage", "storage_2", "storage_3"]


def test_a_charge_code_is_taken_once_in_a_plan() -> None:
    log = Log()
    log.metric()
    charge = {"billable_metric_code": "storage", "charge_model": "package", "code": "c"}
    refused = log.refuse(commands.create_plan(ORG, plan_body(charges=[charge, charge])))
    assert refused.details == {"code": ["value_already_exist"]}


def test_defaults_of_a_charge() -> None:
    (charge,) = created(Log(), {"charge_model": "standard"})
    assert charge.properties == {"amount": "0"}
    assert (charge.invoiceable, charge.pay_in_advance, charge.prorated) == (True, False, False)
    assert (charge.min_amount_cents, charge.filters) == (0, ())


def test_filter_values_are_texts_and_the_marker_stands_alone() -> None:
    filters = [
        {"values": {"region": ["us", "us", "eu"]}},
        {"values": {"region": "us"}},
        {"values": {"region": ["us", "__ALL_FILTER_VALUES__"]}},
    ]
    (charge,) = created(Log(), {"charge_model": "package", "filters": filters}, filters=REGION)
    assert [f.values for f in charge.filters] == [
        {"region": ("us", "eu")},
        {"region": ("us",)},
        {"region": ("__ALL_FILTER_VALUES__",)},
    ]


def test_property_numbers_keep_their_spelling() -> None:
    log = Log()
    log.metric()
    value = commands.create_plan(
        ORG,
        plan_body(charges=[{"billable_metric_code": "storage", "charge_model": "package"}]),
    ).encode()
    spelled = value.replace(b'"charge_model"', b'"properties":{"free_units":1.50e3},"charge_model"')
    outcome = log.append_bytes(spelled)
    assert isinstance(outcome, Applied)
    assert bytes(outcome.object.charges[0].properties["free_units"]) == b"1.50e3"


def updated(log: Log, **changes: Any) -> Plan:
    plan = log.accept(commands.update_plan(ORG, "plan_code", changes))
    assert isinstance(plan, Plan)
    return plan


def test_an_update_leaves_absent_keys() -> None:
    log = Log()
    charges = created(log, {"charge_model": "standard"})
    plan = updated(log, name="New", interval="weekly")
    assert (plan.name, plan.interval, plan.charges) == ("New", "weekly", charges)


def test_charges_are_changed_by_id_created_and_deleted() -> None:
    log = Log()
    filters = [{"values": {"region": ["eu"]}}, {"values": {"region": ["us"]}}]
    kept, gone = created(
        log,
        {"charge_model": "standard", "prorated": True, "filters": filters},
        {"charge_model": "package"},
        recurring=True,
        filters=REGION,
    )
    old_eu, old_us = kept.filters
    log.at("2024-02-01T00:00:00Z")
    plan = updated(
        log,
        charges=[
            {"billable_metric_code": "storage", "charge_model": "volume"},
            {
                "id": kept.id,
                "properties": {"amount": "5"},
                "filters": [
                    {"values": {"region": ["eu", "us"]}},
                    {"values": {"region": ["us"]}, "properties": {"amount": "7"}},
                ],
            },
            {"id": "unknown", "billable_metric_code": "storage", "charge_model": "package"},
        ],
    )
    new, changed, other = plan.charges
    assert gone.id not in {charge.id for charge in plan.charges}
    assert (changed.id, changed.code, changed.created_at_ms) == (
        kept.id, kept.code, kept.created_at_ms,
    )  # fmt: skip
    assert (changed.charge_model, changed.prorated) == ("standard", True)
    assert changed.properties == {"amount": "5"}
    assert [f.id == old_us.id for f in changed.filters] == [True, False]
    assert changed.filters[0].properties == {"amount": "7"}
    assert old_eu.id not in {f.id for f in changed.filters}
    assert new.created_at_ms == other.created_at_ms == log.now_ms
    assert (new.code, other.code) == ("storage_2", "storage_3")
    assert other.id != "unknown"


@pytest.mark.parametrize("other", [["x"], {"x": 1}, 5, True, None])
def test_an_id_that_is_no_text_makes_a_new_charge(other: object) -> None:
    log = Log()
    (old,) = created(log, {"charge_model": "standard"})
    body = {"id": other, "billable_metric_code": "storage", "charge_model": "standard"}
    (new,) = updated(log, charges=[{**body, "properties": {"amount": "5"}}]).charges
    assert new.id != old.id
    assert isinstance(new.id, str)
    assert new.properties == {"amount": "5"}


def test_a_charge_that_moves_to_another_metric_is_a_new_one() -> None:
    """Its cells are of the metric: under one id they would be folded as those of the other."""
    log = Log()
    filters = [{"values": {"region": ["eu"]}}]
    (old,) = created(log, {"charge_model": "package", "filters": filters}, filters=REGION)
    log.metric("traffic")
    moved = {"id": old.id, "billable_metric_code": "traffic", "charge_model": "standard"}
    (new,) = updated(log, charges=[moved]).charges
    assert new.id != old.id
    assert (new.code, new.filters) == ("traffic", ())


def test_a_filter_is_known_by_its_values_in_any_order() -> None:
    log = Log()
    filters = [{"values": {"region": ["eu", "us"]}}]
    (charge,) = created(log, {"charge_model": "package", "filters": filters}, filters=REGION)
    turned = [{"values": {"region": ["us", "eu"]}}]
    (changed,) = updated(log, charges=[{"id": charge.id, "filters": turned}]).charges
    assert [f.id for f in changed.filters] == [f.id for f in charge.filters]


def test_a_charge_that_does_not_change_stays_the_same_object() -> None:
    log = Log()
    (kept,) = created(log, {"charge_model": "standard"})
    assert updated(log, charges=[{"id": kept.id}]).charges[0] is kept


def test_an_empty_list_deletes_all_charges() -> None:
    log = Log()
    created(log, {"charge_model": "standard"})
    metric = log.definitions.metric(ORG, "storage")
    assert metric is not None
    assert updated(log, charges=[]).charges == ()
    assert not log.definitions.families_using(metric.id)


def test_a_plan_with_subscriptions_keeps_what_their_periods_hang_on() -> None:
    log = Log()
    old = log.plan()
    log.subscribe()
    plan = updated(
        log, code="x", interval="weekly", pay_in_advance=True, amount_currency="USD",
        amount_cents=5, name="New", trial_period=9,
    )  # fmt: skip
    assert (plan.code, plan.interval, plan.pay_in_advance) == ("plan_code", "monthly", False)
    assert (plan.amount_currency, plan.trial_period) == ("EUR", old.trial_period)
    assert (plan.amount_cents, plan.name) == (5, "New")


def impact_of(log: Log, **changes: Any) -> Impact | None:
    outcome = log.append(commands.update_plan(ORG, "plan_code", changes))
    assert isinstance(outcome, Applied)
    return outcome.impact


def test_what_of_a_plan_touches_usage() -> None:
    log = Log()
    (charge,) = created(log, {"charge_model": "standard"})
    log.metric("calls")
    other = {"billable_metric_code": "calls", "charge_model": "standard"}
    assert impact_of(log, charges=[{"id": charge.id}, other]) is None
    plan_id = log.subscribe().plan_id
    assert impact_of(log, name="New") is None
    priced = {"id": charge.id, "properties": {"amount": "9"}}
    assert impact_of(log, charges=[priced, other]) == Impact(
        ORG, codes=frozenset({"calls"}), plan_id=plan_id
    )
    grouped = {"id": charge.id, "properties": {"amount": "9", "pricing_group_keys": ["a"]}}
    assert impact_of(log, charges=[grouped]) == Impact(
        ORG, codes=frozenset({"storage", "calls"}), plan_id=plan_id
    )


def test_codes_of_a_history_record_are_found_by_steps_of_a_few_plans() -> None:
    log = Log()
    metrics = [log.metric(code) for code in ("storage", "calls")]
    plans = []
    for number in range(3 * STEP_ITEMS):
        charge = {"billable_metric_id": metrics[number % 2].id, "charge_model": "standard"}
        plans.append(log.plan(code=f"plan_{number}", charges=[charge]))
    log.accept(commands.update_plan(ORG, plans[0].code, {"charges": []}))
    record = HistoryRecord(
        organization_id=ORG,
        charge_ids=(plans[0].charges[0].id, "unknown"),
        from_ms=0,
        to_ms=1,
        append_time_ms=log.now_ms,
        offset=9,
    )
    steps = log.definitions.codes_named(record)
    assert [next(steps) for _ in range(3)] == [None] * 3
    assert drained(steps) == {"storage"}


def test_unknown_plans_are_not_found() -> None:
    log = Log()
    for command in (
        commands.update_plan(ORG, "nope", {"name": "x"}),
        commands.delete_plan(ORG, "nope"),
    ):
        assert log.refuse(command) == Rejected(404, "plan_not_found")


def test_a_deleted_plan_ends_its_subscriptions_and_answers_by_id() -> None:
    log = Log()
    plan = log.plan()
    active = log.subscribe()
    pending = log.subscribe(external_id="sub_2", subscription_at="2024-05-01T00:00:00Z")
    log.at("2024-02-10T00:00:00Z")
    outcome = log.append(commands.delete_plan(ORG, "plan_code"))
    assert isinstance(outcome, Applied)
    assert outcome.impact == Impact(ORG, plan_id=plan.id)
    touched = set(log.definitions.names_affected(outcome.impact))
    assert touched == {(ORG, "sub_1"), (ORG, "sub_2")}
    assert log.newest(active).terminated_at_ms == log.now_ms
    assert log.newest(pending).canceled_at_ms == log.now_ms
    assert log.definitions.plan(ORG, "plan_code") is None
    assert log.definitions.plan(ORG, "plan_code", log.now_ms - 1) == plan
    assert log.definitions.plan_by_id(plan.id) == plan
    assert log.definitions.plan_versions[plan.id].at() is None
    assert log.plan().id != plan.id
