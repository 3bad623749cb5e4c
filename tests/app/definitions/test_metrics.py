from typing import Any

import pytest

from app.definitions import commands
from app.definitions.model import MetricFilter
from app.definitions.outcome import Applied, Impact, Rejected
from tests.world.definitions_log import ORG, Log, metric_body, plan_body, refusal

MANDATORY, INVALID = ["value_is_mandatory"], ["value_is_invalid"]


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        pytest.param({"name": " "}, {"name": MANDATORY}, id="name-blank"),
        pytest.param({"name": {"a": 1}}, {"name": INVALID}, id="name-object"),
        pytest.param({"code": None}, {"code": MANDATORY}, id="code-null"),
        pytest.param({"aggregation_type": "avg"}, {"aggregation_type": INVALID}, id="type-unknown"),
        pytest.param({"aggregation_type": ["x"]}, {"aggregation_type": INVALID}, id="type-list"),
        pytest.param(
            {"aggregation_type": None, "field_name": None},
            {"aggregation_type": INVALID, "field_name": MANDATORY},
            id="type-null-needs-field",
        ),
        pytest.param({"field_name": ""}, {"field_name": MANDATORY}, id="field-blank"),
        pytest.param(
            {"weighted_interval": "days"}, {"weighted_interval": INVALID}, id="interval-unknown"
        ),
        pytest.param(
            {"rounding_function": "up"}, {"rounding_function": INVALID}, id="rounding-unknown"
        ),
        pytest.param(
            {"rounding_precision": "x"}, {"rounding_precision": INVALID}, id="precision-text"
        ),
        pytest.param(
            {"rounding_precision": 39},
            {"rounding_precision": ["value_is_out_of_range"]},
            id="precision-too-large",
        ),
        pytest.param({"recurring": "perhaps"}, {"recurring": INVALID}, id="recurring-text"),
        pytest.param(
            {"aggregation_type": "max_agg", "recurring": True},
            {"recurring": ["not_compatible_with_aggregation_type"]},
            id="recurring-max",
        ),
        pytest.param({"expression": "1+"}, {"expression": ["invalid_expression"]}, id="expression"),
        pytest.param({"filters": "x"}, {"filters": INVALID}, id="filters-text"),
        pytest.param({"filters": ["x"]}, {"filters": INVALID}, id="filters-of-texts"),
        pytest.param({"filters": [{"key": "a"}]}, {"values": MANDATORY}, id="filter-no-values"),
        pytest.param(
            {"filters": [{"key": "", "values": ["x"]}]}, {"key": MANDATORY}, id="filter-no-key"
        ),
        pytest.param(
            {"filters": [{"key": "a", "values": [["x"]]}]}, {"values": INVALID}, id="filter-nested"
        ),
        pytest.param(
            {"name": "", "filters": [{"key": "a"}]},
            {"name": MANDATORY},
            id="filters-looked-at-last",
        ),
        pytest.param({"group": {"value": ["x"]}}, {"key": MANDATORY}, id="group-no-key"),
        pytest.param({"group": {"key": "x"}}, {"values": MANDATORY}, id="group-no-values"),
    ],
)
def test_what_a_metric_may_not_be(changes: dict[str, Any], details: dict[str, list[str]]) -> None:
    log = Log()
    refused = log.refuse(commands.create_billable_metric(ORG, metric_body(**changes)))
    assert refused == Rejected(422, "validation_errors", details)
    assert log.definitions.metrics(ORG) == []


@pytest.mark.parametrize("body", [None, [], "text", 5, {}])
def test_any_body_is_answered(body: object) -> None:
    assert Log().refuse(commands.create_billable_metric(ORG, body)).status == 422


def test_custom_aggregations_are_not_for_sale() -> None:
    body = metric_body(aggregation_type="custom_agg", name="")
    refused = Log().refuse(commands.create_billable_metric(ORG, body))
    assert refused == Rejected(403, "feature_unavailable")


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        pytest.param({"aggregation_type": "count_agg"}, "field_name", None, id="count-no-field"),
        pytest.param(
            {"aggregation_type": "weighted_sum_agg"}, "weighted_interval", "seconds", id="seconds"
        ),
        pytest.param({"weighted_interval": "seconds"}, "weighted_interval", "seconds", id="echoed"),
        pytest.param({"recurring": None}, "recurring", False, id="recurring-null"),
        pytest.param({"recurring": "true"}, "recurring", True, id="recurring-text"),
        pytest.param({"rounding_precision": "-2"}, "rounding_precision", -2, id="precision-text"),
        pytest.param({"rounding_precision": 2.0}, "rounding_precision", 2, id="precision-float"),
        pytest.param({"name": 12.50}, "name", "12.5", id="number-as-text"),
        pytest.param({"expression": " "}, "expression", None, id="expression-blank"),
        pytest.param(
            {"filters": [{"key": "b", "values": ["y", "x", "y", 1]}, {"key": "a", "values": "z"}]},
            "filters",
            (MetricFilter("a", ("z",)), MetricFilter("b", ("1", "x", "y"))),
            id="filters-sorted-unique",
        ),
        pytest.param({"filters": None}, "filters", (), id="filters-null"),
        pytest.param(
            {"group": {"key": "provider", "value": ["aws", "google"]}},
            "filters",
            (MetricFilter("provider", ("aws", "google")),),
            id="group-of-seed",
        ),
        pytest.param(
            {
                "group": {
                    "key": "cloud",
                    "values": [
                        {"name": "aws", "key": "region", "values": ["eu", "us"]},
                        {"name": "gcp", "key": "region", "values": ["us", "asia"]},
                    ],
                }
            },
            "filters",
            (MetricFilter("cloud", ("aws", "gcp")), MetricFilter("region", ("asia", "eu", "us"))),
            id="group-of-two-levels",
        ),
        pytest.param(
            {"filters": [], "group": {"key": "a", "values": ["x"]}},
            "filters",
            (),
            id="filters-before-group",
        ),
        pytest.param({"group": None}, "filters", (), id="group-null"),
    ],
)
def test_what_a_metric_becomes(changes: dict[str, Any], field: str, value: object) -> None:
    assert getattr(Log().metric(**changes), field) == value


def test_of_two_racing_creations_of_a_code_the_second_loses() -> None:
    log = Log()
    first, second = (commands.create_billable_metric(ORG, metric_body()) for _ in range(2))
    assert refusal(log.definitions, first, log.now_ms) is None
    assert refusal(log.definitions, second, log.now_ms) is None
    winner = log.accept(first)
    assert log.refuse(second).details == {"code": ["value_already_exist"]}
    assert log.definitions.metric(ORG, "storage") == winner


def test_a_code_is_taken_in_one_organization_only() -> None:
    log = Log()
    log.metric()
    log.accept(commands.create_billable_metric("another", metric_body()))
    assert len(log.definitions.metrics(ORG)) == 1


def test_a_command_appended_twice_counts_once() -> None:
    log = Log()
    command = commands.create_billable_metric(ORG, metric_body())
    log.accept(command)
    log.accept(commands.delete_billable_metric(ORG, "storage"))
    assert log.refuse(command).details == {"lago_id": ["value_already_exist"]}


def test_an_update_leaves_absent_keys() -> None:
    log = Log()
    old = log.metric(description="d", filters=[{"key": "a", "values": ["x"]}])
    new = log.accept(commands.update_billable_metric(ORG, "storage", {"name": "Renamed"}))
    assert (new.name, new.description, new.filters) == ("Renamed", "d", old.filters)


def test_a_code_can_be_changed_and_is_free_again() -> None:
    log = Log()
    old = log.metric()
    log.at("2024-02-01T00:00:00Z").accept(
        commands.update_billable_metric(ORG, "storage", {"code": "disk"})
    )
    assert log.definitions.metric(ORG, "storage") is None
    renamed = log.definitions.metric(ORG, "disk")
    assert renamed is not None
    assert renamed.id == old.id
    assert log.definitions.metric(ORG, "storage", log.now_ms - 1) == old
    assert log.definitions.metric(ORG, "disk", log.now_ms - 1) is None
    second = log.metric()
    ids = [next(v.all()).id for v in log.definitions.metric_history(ORG, "storage")]
    assert ids == [old.id, second.id]


@pytest.mark.parametrize("code", ["storage", "nope"])
def test_unknown_metrics_are_not_found(code: str) -> None:
    log = Log()
    for command in (
        commands.update_billable_metric(ORG, code, {"name": "x"}),
        commands.delete_billable_metric(ORG, code),
    ):
        assert log.refuse(command) == Rejected(404, "billable_metric_not_found")


def test_of_a_metric_in_use_what_shapes_usage_is_frozen() -> None:
    log = Log()
    old = log.metric()
    log.plan(charges=[{"billable_metric_id": old.id, "charge_model": "standard"}])
    changes = metric_body(
        "other",
        name="New",
        description="new",
        aggregation_type="count_agg",
        recurring=True,
        rounding_function="nonsense",
        rounding_precision=3,
        expression="1+",
        weighted_interval="seconds",
        filters=[{"key": "a", "values": ["x"]}],
    )
    outcome = log.append(commands.update_billable_metric(ORG, "storage", changes))
    assert isinstance(outcome, Applied)
    new = outcome.object
    assert (new.name, new.description) == ("New", "new")
    assert new.filters == (MetricFilter("a", ("x",)),)
    frozen = ("code", "aggregation_type", "field_name", "recurring", "rounding_function")
    assert [getattr(new, f) for f in frozen] == [getattr(old, f) for f in frozen]


def test_a_new_name_touches_no_usage_and_a_new_field_does() -> None:
    log = Log()
    log.metric()
    renamed = log.append(commands.update_billable_metric(ORG, "storage", {"name": "x"}))
    assert isinstance(renamed, Applied)
    assert renamed.impact is None
    changed = log.append(
        commands.update_billable_metric(ORG, "storage", {"field_name": "mb", "code": "disk"})
    )
    assert isinstance(changed, Applied)
    assert changed.impact == Impact(ORG, codes=frozenset({"storage", "disk"}))


def test_removed_filter_values_leave_the_charges() -> None:
    log = Log()
    metric = log.metric(
        filters=[
            {"key": "cloud", "values": ["aws", "gcp"]},
            {"key": "region", "values": ["eu", "us"]},
        ]
    )
    values = [
        {"cloud": ["aws", "gcp"]},
        {"cloud": ["aws"]},
        {"cloud": ["aws"], "region": ["us"]},
        {"cloud": ["__ALL_FILTER_VALUES__"]},
        {"region": ["eu"]},
    ]
    charge = {
        "billable_metric_id": metric.id,
        "charge_model": "standard",
        "filters": [{"values": value} for value in values],
    }
    old = log.plan(charges=[charge])
    log.at("2024-02-01T00:00:00Z").accept(
        commands.update_billable_metric(
            ORG, "storage", {"filters": [{"key": "cloud", "values": ["gcp", "azure"]}]}
        )
    )
    plan = log.definitions.plan(ORG, "plan_code")
    assert plan is not None
    kept = [(f.id, f.values) for f in plan.charges[0].filters]
    ids = [f.id for f in old.charges[0].filters]
    assert kept == [
        (ids[0], {"cloud": ("gcp",)}),
        (ids[3], {"cloud": ("__ALL_FILTER_VALUES__",)}),
    ]
    assert log.definitions.plan(ORG, "plan_code", log.now_ms - 1) == old


def test_a_deleted_metric_takes_its_charges_along() -> None:
    log = Log()
    gone, kept = log.metric(), log.metric("calls")
    charges = [
        {"billable_metric_id": metric.id, "charge_model": "standard"} for metric in (gone, kept)
    ]
    old = log.plan(charges=charges)
    log.at("2024-02-01T00:00:00Z")
    outcome = log.append(commands.delete_billable_metric(ORG, "storage"))
    assert isinstance(outcome, Applied)
    assert outcome.object == gone
    assert outcome.impact == Impact(ORG, codes=frozenset({"storage"}))
    plan = log.definitions.plan(ORG, "plan_code")
    assert plan is not None
    assert [charge.metric_id for charge in plan.charges] == [kept.id]
    assert log.definitions.metric_by_id(gone.id) is None
    before_ms = log.now_ms - 1
    assert log.definitions.metric_by_id(gone.id, before_ms) == gone
    assert log.definitions.plan(ORG, "plan_code", before_ms) == old
    assert not log.definitions.families_using(gone.id)


def test_events_before_a_deletion_never_count_for_the_next_metric_of_the_code() -> None:
    log = Log()
    assert log.metric().counts_after_ms == -1
    log.at("2024-02-01T00:00:00Z").accept(commands.delete_billable_metric(ORG, "storage"))
    deleted_ms = log.now_ms
    log.at("2024-03-01T00:00:00Z")
    assert log.metric().counts_after_ms == deleted_ms
    other = log.metric("other")
    assert other.counts_after_ms == -1
    log.accept(commands.delete_billable_metric(ORG, "storage"))
    taken = log.accept(commands.update_billable_metric(ORG, "other", {"code": "storage"}))
    assert taken.counts_after_ms == log.now_ms


def test_listing_is_newest_first() -> None:
    log = Log()
    older = [log.metric("a"), log.metric("b")]
    log.at("2024-02-01T00:00:00Z")
    newer = log.metric("c")
    log.accept(commands.update_billable_metric(ORG, "a", {"name": "renamed"}))
    listed = [metric.id for metric in log.definitions.metrics(ORG)]
    assert listed == [newer.id, *(metric.id for metric in reversed(older))]


def test_a_metric_that_a_racing_plan_uses_is_frozen_when_applied() -> None:
    log = Log()
    metric = log.metric()
    change = commands.update_billable_metric(ORG, "storage", {"field_name": "mb"})
    charge = {"billable_metric_code": "storage", "charge_model": "standard"}
    log.accept(commands.create_plan(ORG, plan_body(charges=[charge])))
    assert log.accept(change).field_name == metric.field_name
