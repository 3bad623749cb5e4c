"""What is refused at the door, and is valid all the same where it lies in the log already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app.bounds import limits
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import decide
from app.definitions.outcome import Applied, Rejected
from app.definitions.sizes import outgrown, oversized
from tests.world.definitions_log import ORG, Log, metric_body, plan_body, subscription_body

Body = dict[str, Any]
TOO_LONG = ["value_is_too_long"]
REGION = [{"key": "region", "values": ["eu", "us"]}]


def metric(body: Body) -> Command:
    return commands.create_billable_metric(ORG, metric_body(**body))


def plan(body: Body) -> Command:
    return commands.create_plan(ORG, plan_body(**body))


def charge(body: Body) -> Command:
    return plan({"charges": [charge_body(**body)]})


def bucket(body: Body) -> Command:
    return charge({"filters": [{"values": {"region": ["eu"]}, **body}]})


def customer(body: Body) -> Command:
    return commands.upsert_customer(ORG, {"external_id": "c", **body})


def subscription(body: Body) -> Command:
    return commands.create_subscription(ORG, subscription_body(**body))


def charge_body(**changes: Any) -> Body:
    return {"billable_metric_code": "storage", "charge_model": "package", **changes}


def encoded(count: int) -> Body:
    """An object of so many bytes."""
    value = {"note": "x" * (count - len('{"note":""}'))}
    assert len(msgspec.json.encode(value)) == count
    return value


def filters(count: int) -> Callable[[int], list[Body]]:
    return lambda n: [{"key": f"k{i}", "values": ["v"] * count} for i in range(n)]


TEXTS = [
    pytest.param(metric, "name", 255, id="metric-name"),
    pytest.param(metric, "description", 4_096, id="metric-description"),
    pytest.param(metric, "code", 1_024, id="metric-code"),
    pytest.param(metric, "field_name", 1_024, id="field"),
    pytest.param(plan, "name", 255, id="plan-name"),
    pytest.param(plan, "description", 4_096, id="plan-description"),
    pytest.param(plan, "invoice_display_name", 255, id="plan-shown"),
    pytest.param(plan, "code", 1_024, id="plan-code"),
    pytest.param(charge, "code", 1_024, id="charge-code"),
    pytest.param(charge, "invoice_display_name", 255, id="charge-shown"),
    pytest.param(bucket, "invoice_display_name", 255, id="filter-shown"),
    pytest.param(customer, "external_id", 1_024, id="customer-id"),
    pytest.param(customer, "name", 255, id="customer-name"),
    pytest.param(customer, "legal_name", 255, id="legal-name"),
    pytest.param(customer, "address_line1", 1_024, id="address"),
    pytest.param(customer, "url", 1_024, id="url"),
    pytest.param(subscription, "external_id", 1_024, id="subscription-id"),
    pytest.param(subscription, "external_customer_id", 1_024, id="subscriber"),
    pytest.param(subscription, "name", 255, id="subscription-name"),
]


@pytest.mark.parametrize(("made", "field", "most"), TEXTS)
def test_a_text_may_have_so_many_characters(
    made: Callable[[Body], Command], field: str, most: int
) -> None:
    assert oversized(made({field: "x" * most})) is None
    refused = oversized(made({field: "x" * (most + 1)}))
    assert refused == Rejected(422, "validation_errors", {field: TOO_LONG})


def test_names_have_characters_and_codes_have_bytes() -> None:
    assert oversized(metric({"name": "é" * 255, "code": "é" * 512})) is None
    assert oversized(metric({"code": "é" * 513})) is not None


@pytest.mark.parametrize(
    ("made", "field", "refused", "value", "most", "code"),
    [
        pytest.param(metric, "filters", "filters", filters(1), 100, "limit_is_100", id="keys"),
        pytest.param(
            metric, "filters", "values", lambda n: filters(n)(1), 1_000, "limit_is_1000",
            id="values",
        ),
        pytest.param(
            metric, "filters", "values", lambda n: [{"key": "k", "values": ["x" * n]}], 255,
            "value_is_too_long", id="value",
        ),
        pytest.param(
            metric, "filters", "key", lambda n: [{"key": "x" * n, "values": ["v"]}], 255,
            "value_is_too_long", id="key",
        ),
        pytest.param(
            plan, "charges", "charges", lambda n: [charge_body()] * n, 500, "limit_is_500",
            id="charges",
        ),
        pytest.param(
            plan, "charges", "filters",
            lambda n: [charge_body(filters=[{}] * 1_000), charge_body(filters=[{}] * (n - 1_000))],
            2_000, "limit_is_2000", id="charge-filters",
        ),
        pytest.param(
            charge, "properties", "pricing_group_keys",
            lambda n: {"pricing_group_keys": ["k"] * n}, 10, "limit_is_10", id="group-keys",
        ),
        pytest.param(
            bucket, "properties", "grouped_by", lambda n: {"grouped_by": ["k"] * n}, 10,
            "limit_is_10", id="groups-of-a-filter",
        ),
        pytest.param(
            charge, "properties", "properties", encoded, 16_384, "value_is_too_long",
            id="properties",
        ),
        pytest.param(
            bucket, "properties", "properties", encoded, 16_384, "value_is_too_long",
            id="properties-of-a-filter",
        ),
        pytest.param(
            bucket, "values", "values", encoded, 65_536, "value_is_too_long", id="filter-values"
        ),
        pytest.param(
            customer, "shipping_address", "shipping_address", encoded, 16_384,
            "value_is_too_long", id="shipping-address",
        ),
        pytest.param(
            customer, "metadata", "metadata", lambda n: [{"key": "k", "value": "x" * n}], 1_024,
            "value_is_too_long", id="metadata",
        ),
    ],
)  # fmt: skip
def test_a_part_may_be_so_large(
    made: Callable[[Body], Command],
    field: str,
    refused: str,
    value: Callable[[int], object],
    most: int,
    code: str,
) -> None:
    assert oversized(made({field: value(most)})) is None
    found = oversized(made({field: value(most + 1)}))
    assert found == Rejected(422, "validation_errors", {refused: [code]})


def test_what_lies_in_the_log_already_stays_valid() -> None:
    log = Log()
    assert isinstance(log.append(metric({"name": "x" * 10_000})), Applied)


@pytest.mark.parametrize("character", ["\n", "\x1b", "\x7f", "\x9b"])
def test_a_code_is_made_without_control_characters(character: str) -> None:
    code = f"a{character}b"
    invalid = Rejected(422, "validation_errors", {"code": ["value_is_invalid"]})
    assert oversized(metric({"code": code})) == invalid
    assert oversized(plan({"code": code})) == invalid
    assert oversized(commands.update_plan(ORG, "a", {"code": code})) == invalid
    # One that has it already can still be changed.
    assert oversized(commands.update_plan(ORG, code, {"code": code, "name": "b"})) is None


def test_charges_that_keep_their_filters_count_too() -> None:
    log = Log()
    log.metric(filters=[{"key": "region", "values": [str(i) for i in range(1_500)]}])
    many = [{"values": {"region": [str(i)]}} for i in range(1_500)]
    made = log.plan(charges=[charge_body(filters=many)])
    kept = {"id": made.charges[0].id, "charge_model": "package"}
    more = commands.update_plan(
        ORG, "plan_code", {"charges": [kept, charge_body(filters=many[:501])]}
    )
    assert oversized(more) is None
    decision = decide(log.definitions, more, log.now_ms)
    assert not isinstance(decision, Rejected)
    limit = {"filters": [f"limit_is_{limits.PLAN_CHARGE_FILTERS}"]}
    assert outgrown(more, decision) == Rejected(422, "validation_errors", limit)


def test_one_charge_is_not_kept_twice() -> None:
    """Each copy would have all filters of the one that is kept."""
    body = {"charges": [{"id": "c", "code": "a"}, {"id": "c", "code": "b"}]}
    refused = oversized(commands.update_plan(ORG, "plan_code", body))
    assert refused == Rejected(422, "validation_errors", {"id": ["value_already_exist"]})


@pytest.mark.parametrize("body", [None, [], "x", {"charges": "x"}, {"charges": [1, {"filters": 2}]},
                                  {"charges": [{"filters": [3], "properties": 4}]}])  # fmt: skip
def test_what_is_of_a_wrong_type_is_not_measured(body: object) -> None:
    assert oversized(commands.create_plan(ORG, body)) is None
    assert oversized(commands.create_billable_metric(ORG, body)) is None
    assert oversized(commands.upsert_customer(ORG, body)) is None
