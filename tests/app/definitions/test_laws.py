"""Laws of the definitions log, over random logs of few codes, so that commands meet each other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.api.definitions.definitions_json import (
    customer_json,
    metric_json,
    plan_json,
    subscription_json,
)
from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply, apply_settings
from app.definitions.model import (
    ALL_FILTER_VALUES,
    Customer,
    Metric,
    Plan,
    SettingsRecord,
    Subscription,
)
from app.definitions.outcome import Applied, Rejected
from app.definitions.state import Definitions
from tests.world.definitions_log import refusal
from tests.world.prologue import CHARGE_IDS, FILTER_IDS, ORGS, START_MS, prologue

Record: TypeAlias = tuple[bytes | None, int, int]

CODES = ("a", "b", "c")
EXTERNAL_IDS = ("x", "y")
DAY_MS = 86_400_000

codes = st.sampled_from(CODES)
external_ids = st.sampled_from(EXTERNAL_IDS)
instants = st.integers(-40, 80).map(lambda days: f"2024-{1 + days % 12:02d}-{1 + days % 28:02d}")
filters = st.lists(
    st.fixed_dictionaries(
        {"key": st.sampled_from(["k", "l"]), "values": st.lists(codes, min_size=1)}
    ),
    max_size=2,
)
values = st.dictionaries(
    st.sampled_from(["k", "l"]),
    st.lists(st.sampled_from([*CODES, ALL_FILTER_VALUES]), min_size=1, max_size=2),
    min_size=1,
)
charge_filters = st.fixed_dictionaries({"values": values})
charge_bodies = st.fixed_dictionaries(
    {
        "billable_metric_code": codes,
        "charge_model": st.sampled_from(["standard", "package", "volume"]),
    },
    optional={
        "prorated": st.booleans(),
        "filters": st.lists(charge_filters, max_size=3),
    },
)
charges = st.lists(charge_bodies, max_size=3)
one_charge = st.builds(lambda body, code: {**body, "code": code}, charge_bodies, codes)
filter_ids = st.integers(0, 1).map(lambda number: FILTER_IDS[number])
metric_bodies = st.fixed_dictionaries(
    {
        "name": st.just("n"),
        "code": codes,
        "aggregation_type": st.sampled_from(["sum_agg", "count_agg", "unique_count_agg"]),
        "field_name": st.just("f"),
    },
    optional={"recurring": st.booleans(), "filters": filters},
)
plan_bodies = st.fixed_dictionaries(
    {
        "name": st.just("n"),
        "code": codes,
        "interval": st.sampled_from(["weekly", "monthly", "yearly"]),
        "amount_cents": st.integers(0, 3),
        "amount_currency": st.just("EUR"),
        "pay_in_advance": st.just(False),
    },
    optional={"charges": charges},
)
customer_bodies = st.fixed_dictionaries(
    {"external_id": external_ids},
    optional={"timezone": st.sampled_from(["UTC", "Pacific/Auckland", "America/New_York"])},
)
organization_bodies = st.fixed_dictionaries(
    {"timezone": st.sampled_from(["", "Asia/Tokyo", "America/New_York"])},
    optional={"billing_configuration": st.just({"invoice_grace_period": 2})},
)
overridden_charges = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from(CHARGE_IDS)},
        optional={"filters": st.lists(charge_filters, max_size=2), "properties": st.just({})},
    ),
    max_size=2,
)
overrides = st.fixed_dictionaries(
    {"amount_cents": st.integers(0, 30)}, optional={"charges": overridden_charges}
)
subscription_bodies = st.fixed_dictionaries(
    {
        "external_customer_id": st.sampled_from(["x", "x", "x", "y"]),
        "plan_code": codes,
        "external_id": external_ids,
    },
    optional={
        "subscription_at": instants,
        "ending_at": instants,
        "billing_time": st.sampled_from(["calendar", "anniversary"]),
        "plan_overrides": st.none() | overrides,
    },
)
endpoint_ids = st.sampled_from(("e0", "e1"))
endpoint_bodies = st.fixed_dictionaries(
    {"webhook_url": st.sampled_from(["http://a", "https://b", "c"])},
    optional={"event_types": st.sampled_from([None, ["*"], ["event.error"], ["?"]])},
)
statuses = st.sampled_from([None, "pending", "active"])
alert_bodies = st.fixed_dictionaries(
    {
        "alert_type": st.just("billable_metric_current_usage_units"),
        "code": st.sampled_from("ab"),
        "billable_metric_code": codes,
        "thresholds": st.just([{"value": "5"}, {"value": 2, "recurring": True}]),
    },
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@st.composite
def spoiled(draw: st.DrawFn, bodies: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A body with some values of any type."""
    body = dict(draw(bodies))
    for key in draw(st.lists(st.sampled_from(sorted(body)), max_size=2)):
        body[key] = draw(JSON)
    return body


def _endpoint(organization_id: str, lago_id: str, body: dict[str, Any]) -> Command:
    """A command that makes an endpoint of this id, so that others find it."""
    made = commands.create_webhook_endpoint(organization_id, body)
    return msgspec.structs.replace(made, payload={**made.payload, "id": lago_id})


def _cascading(
    made: Callable[[str, str, str, object], Command], org: str, code: str, body: dict[str, Any]
) -> Command:
    return made(org, code, "a", {**body, "values": {"k": ["b"]}, "cascade_updates": True})


def commands_of(
    shape: Callable[[st.SearchStrategy[dict[str, Any]]], st.SearchStrategy[dict[str, Any]]],
) -> st.SearchStrategy[Command]:
    """Commands whose bodies are shaped."""
    orgs = st.sampled_from([ORGS[0]] * 9 + [ORGS[1]])
    metric, plan = shape(metric_bodies), shape(plan_bodies)
    charge_lists = shape(st.fixed_dictionaries({"charges": charges}))
    charge, charge_filter = shape(one_charge), shape(charge_filters)
    named = st.builds(commands.SubscriptionCharge, orgs, external_ids, codes)
    customer, subscription = shape(customer_bodies), shape(subscription_bodies)
    return st.one_of(
        st.builds(commands.create_billable_metric, orgs, metric),
        st.builds(commands.update_billable_metric, orgs, codes, metric),
        st.builds(commands.delete_billable_metric, orgs, codes),
        st.builds(commands.create_plan, orgs, plan),
        st.builds(commands.create_plan, orgs, plan),
        st.builds(commands.update_plan, orgs, codes, plan),
        st.builds(commands.update_plan, orgs, codes, charge_lists),
        st.builds(commands.delete_plan, orgs, codes),
        st.builds(commands.create_charge, orgs, codes, charge),
        st.builds(commands.update_charge, orgs, codes, codes, charge),
        st.builds(commands.delete_charge, orgs, codes, codes),
        st.builds(commands.create_charge_filter, orgs, codes, codes, charge_filter),
        st.builds(commands.update_charge_filter, orgs, codes, codes, filter_ids, charge_filter),
        st.builds(commands.delete_charge_filter, orgs, codes, codes, filter_ids),
        st.builds(commands.update_subscription_charge, named, charge),
        st.builds(commands.create_subscription_charge_filter, named, charge_filter),
        st.builds(commands.delete_subscription_charge_filter, named, filter_ids),
        st.builds(_cascading, st.sampled_from(
            [commands.update_charge, commands.create_charge_filter]
        ), orgs, codes, charge),
        st.builds(commands.upsert_customer, orgs, customer),
        st.builds(commands.delete_customer, orgs, external_ids),
        st.builds(commands.update_organization, orgs, shape(organization_bodies)),
        st.builds(commands.create_subscription, orgs, subscription),
        st.builds(commands.create_subscription, orgs, subscription),
        st.builds(commands.create_subscription, orgs, subscription),
        st.builds(commands.update_subscription, orgs, external_ids, subscription, statuses),
        st.builds(
            commands.update_subscription,
            orgs,
            external_ids,
            st.fixed_dictionaries({"plan_overrides": st.just({}) | shape(overrides)}),
        ),
        st.builds(commands.terminate_subscription, orgs, external_ids, statuses),
        st.builds(_endpoint, orgs, endpoint_ids, shape(endpoint_bodies)),
        st.builds(commands.create_alert, orgs, external_ids, shape(alert_bodies), statuses),
        st.builds(
            commands.create_alerts, orgs, external_ids, st.lists(shape(alert_bodies), max_size=2)
        ),
        st.builds(
            commands.update_alert, orgs, external_ids, st.sampled_from("ab"), shape(alert_bodies)
        ),
        st.builds(commands.delete_alert, orgs, external_ids, st.sampled_from("ab")),
        st.builds(commands.delete_alerts, orgs, external_ids),
        st.builds(
            commands.update_webhook_endpoint, orgs, endpoint_ids, shape(endpoint_bodies)
        ),
        st.builds(commands.delete_webhook_endpoint, orgs, endpoint_ids),
        st.builds(
            commands.set_settings, st.builds(SettingsRecord, grace_s=st.integers(0, 3))
        ),
    )  # fmt: skip


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """Records at times that mostly pass, sometimes stand still or go back, with ticks between."""
    found = [
        *prologue(),
        *draw(st.lists(st.none() | commands_of(lambda bodies: bodies), min_size=8, max_size=25)),
    ]
    steps = st.sampled_from([0, 0, 1, -5, 3_600_000, DAY_MS, 9 * DAY_MS])
    now_ms, offset, records = START_MS, 0, []
    for command in found:
        now_ms += draw(steps)
        offset += draw(st.integers(1, 2))
        records.append((command.encode() if command else None, now_ms, offset))
    return records


def applied(records: list[Record]) -> Definitions:
    definitions = Definitions()
    for record in records:
        apply(definitions, *record)
    return definitions


@given(logs(), st.data())
def test_redelivery_changes_nothing(records: list[Record], data: st.DataObject) -> None:
    definitions = Definitions()
    done = 0
    while done < len(records):
        start = data.draw(st.integers(0, done))
        done = data.draw(st.integers(done + 1, len(records)))
        for record in records[start:done]:
            apply(definitions, *record)
    assert vars(definitions) == vars(applied(records))


@given(logs())
def test_later_records_never_change_the_past(records: list[Record]) -> None:
    definitions = Definitions()
    seen: list[tuple[int, Any]] = []
    for record in records:
        known_ms = definitions.append_time_ms
        apply(definitions, *record)
        if definitions.append_time_ms > known_ms >= 0:
            seen.append((known_ms, as_of(definitions, known_ms)))
    for at_ms, snapshot in seen:
        assert as_of(definitions, at_ms) == snapshot


def as_of(definitions: Definitions, at_ms: int) -> Any:
    """Everything that can be asked about a moment."""
    keys = [(org, name) for org in ORGS for name in (*CODES, *EXTERNAL_IDS)]
    return (
        definitions.last_offset_at(at_ms),
        definitions.settings_at(at_ms),
        [definitions.metric(*key, at_ms) for key in keys],
        [definitions.plan(*key, at_ms) for key in keys],
        [definitions.customer(*key, at_ms) for key in keys],
        [definitions.organization_versions(org).at(at_ms) for org in ORGS],
        [
            [found for v in definitions.subscriptions(*key) if (found := v.at(at_ms))]
            for key in keys
        ],
        [m for i in definitions.metric_versions if (m := definitions.metric_by_id(i, at_ms))],
        [p for i in definitions.plan_versions if (p := definitions.plan_by_id(i, at_ms))],
    )


@given(logs())
def test_a_dry_run_says_what_applying_says(records: list[Record]) -> None:
    definitions = Definitions()
    for value, timestamp_ms, offset in records:
        if value is None:
            apply(definitions, value, timestamp_ms, offset)
            continue
        dry = refusal(definitions, Command.decode(value), timestamp_ms)
        outcome = apply(definitions, value, timestamp_ms, offset)
        assert (outcome if isinstance(outcome, Rejected) else None) == dry


@given(logs())
def test_what_was_rejected_leaves_no_trace(records: list[Record]) -> None:
    definitions = Definitions()
    accepted: list[Record] = []
    for value, timestamp_ms, offset in records:
        outcome = apply(definitions, value, timestamp_ms, offset)
        # As a tick it still moves time on.
        kept = None if isinstance(outcome, Rejected) else value
        accepted.append((kept, timestamp_ms, offset))
    without = vars(applied(accepted))
    for name, state in vars(definitions).items():
        if name != "records":
            assert state == without[name], name


@given(logs())
def test_usage_of_one_external_id_never_overlaps(records: list[Record]) -> None:
    definitions = applied(records)
    for org, external_id in definitions.all_subscription_keys():
        found = [v.at() for v in definitions.subscriptions(org, external_id)]
        spans = sorted(
            (one.started_at_ms, one.end_ms if one.end_ms is not None else 1 << 62)
            for one in found
            if one is not None and one.canceled_at_ms is None
        )
        assert all(start <= end for start, end in spans)
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))


@given(logs())
def test_nothing_lives_on_without_its_customer_or_plan(records: list[Record]) -> None:
    definitions = applied(records)
    for versions in definitions.subscription_versions.values():
        one = versions.at()
        if one is None or one.canceled_at_ms is not None:
            continue
        if one.end_ms is None or one.end_ms > definitions.append_time_ms:
            assert definitions.customer(one.organization_id, one.external_customer_id)
            assert definitions.plan_versions[one.plan_id].at()


@given(logs())
def test_replacements_fit_together(records: list[Record]) -> None:
    definitions = applied(records)
    for versions in definitions.subscription_versions.values():
        subscription = versions.at()
        if subscription is None or subscription.replaced_by is None:
            continue
        following = definitions.subscription_by_id(subscription.replaced_by)
        assert following is not None
        assert following.previous_subscription_id == subscription.id
        assert following.started_at_ms == subscription.terminated_at_ms


@given(logs())
def test_plans_hold_only_what_their_metrics_allow(records: list[Record]) -> None:
    definitions = applied(records)
    for org in ORGS:
        metrics = {metric.id: metric for metric in definitions.metrics(org)}
        for plan in definitions.plans(org):
            assert len({charge.code for charge in plan.charges}) == len(plan.charges)
            for charge in plan.charges:
                allowed = {f.key: f.values for f in metrics[charge.metric_id].filters}
                for charge_filter in charge.filters:
                    assert charge_filter.values
                    for key, texts in charge_filter.values.items():
                        assert texts
                        assert set(texts) <= {*allowed[key], ALL_FILTER_VALUES}
            children = list(definitions.children_of(plan.id))
            for metric_id in metrics:
                family = [
                    each
                    for each in (plan, *children)
                    if metric_id in {charge.metric_id for charge in each.charges}
                ]
                using = [each for each in definitions.plans_using(metric_id) if each is not None]
                assert [each for each in using if plan.id in (each.id, each.parent_id)] == family
                assert (plan.id in definitions.families_using(metric_id)) == bool(family)
            for child in children:
                parents = {charge.parent_id for charge in child.charges} - {None}
                assert (child.parent_id, child.code) == (plan.id, plan.code)
                assert len(parents) == sum(c.parent_id is not None for c in child.charges)


@given(logs(), st.integers(-50, 400))
def test_the_tally_counts_what_a_scan_finds(records: list[Record], since: int) -> None:
    definitions = applied(records)
    at_ms = max(START_MS + since * DAY_MS, definitions.append_time_ms)
    for plan_id in definitions.plan_versions:
        active = [
            one
            for one in definitions.subscriptions_of_plan(plan_id)
            if one.status_at(at_ms) == "active"
        ]
        assert definitions.active_subscriptions_count(plan_id, at_ms) == len(active)
        plan = definitions.plan_by_id(plan_id)
        assert plan is not None
        shown = drained(plan_json(definitions, plan, at_ms))
        assert shown["customers_count"] == len({one.external_customer_id for one in active})
    for organization_id in definitions.subscription_index.by_organization:
        of_all = list(definitions.subscriptions_from_newest(organization_id))
        counted = sum(one.status_at(at_ms) == "active" for one in of_all)
        assert definitions.active_count(organization_id, at_ms) == counted
        index = definitions.subscription_index
        for days in (0, 40, 1):
            later_ms = at_ms + days * DAY_MS
            for statuses in (("active",), ("pending", "canceled"), ("terminated", "active")):
                log_ms = definitions.append_time_ms
                numbers = index.by_organization.numbers(organization_id)
                blocks = index.of_status(numbers, statuses, later_ms, log_ms)
                found = [index.numbered(number) for block in blocks for number in block.tolist()]
                assert found == [one for one in of_all if one.status_at(later_ms) in statuses]


@given(logs())
def test_settings_are_the_same_without_any_other_definition(records: list[Record]) -> None:
    whole, settings = applied(records), Definitions()
    for record in records:
        apply_settings(settings, *record)
    assert settings.settings == whole.settings
    assert settings.append_time_ms == whole.append_time_ms
    assert settings.limited_after_ms() == whole.limited_after_ms()
    assert not settings.plan_versions
    assert not settings.customer_versions


@given(st.lists(commands_of(spoiled), max_size=12))
def test_whatever_a_body_holds_is_answered(found: list[Command]) -> None:
    definitions = Definitions()
    for offset, command in enumerate(found):
        outcome = apply(definitions, command.encode(), START_MS + offset, offset)
        assert isinstance(outcome, Applied | Rejected)
        if isinstance(outcome, Applied):
            sound(definitions, outcome.object)
        else:
            assert outcome.status in (403, 404, 422)


def sound(definitions: Definitions, defined: object) -> None:
    """The object has the types it says, and can be shown."""
    assert msgspec.json.decode(msgspec.json.encode(defined), type=type(defined)) is not None
    match defined:
        case Metric():
            shown = metric_json(definitions, defined, START_MS)
        case Plan():
            shown = drained(plan_json(definitions, defined, START_MS))
        case Customer():
            shown = customer_json(definitions, defined)
        case Subscription():
            shown = subscription_json(definitions, defined, START_MS)
        case _:
            shown = {}
    msgspec.json.encode(shown)


@given(
    st.binary(max_size=40)
    | st.builds(
        lambda kind, payload: msgspec.json.encode(
            {"type": kind, "id": "c", "organization_id": "o", "payload": payload}
        ),
        st.sampled_from(
            ["create_plan", "update_plan", "create_charge", "update_charge", "delete_charge",
             "create_charge_filter", "update_charge_filter", "create_subscription",
             "update_subscription_charge", "delete_subscription_charge_filter",
             "upsert_customer", "update_organization", "history", "create_billable_metric",
             "terminate_subscription", "settings", "unheard_of"]
        ),
        JSON
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ("id", "code", "plan", "charge_code", "charge", "filter", "customer",
                 "organization", "subscription"), JSON,
            ),
        ),
    )
)  # fmt: skip
def test_whatever_the_record_holds_is_answered(value: bytes) -> None:
    definitions = Definitions()
    outcome = apply(definitions, value, START_MS, 0)
    assert isinstance(outcome, Applied | Rejected)
    assert definitions.offset == 1
