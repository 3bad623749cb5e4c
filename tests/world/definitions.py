"""Definitions of one weekly plan that has a charge of every kind, and changes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from app.billing_periods.instants import iso_milliseconds
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.files import DefinitionLine
from app.definitions.model import SettingsRecord, Subscription
from tables.registry import AGGREGATIONS
from tests.world import bodies
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS

ORG = "org"
SUBSCRIPTION = "sub"

SETTINGS = SettingsRecord(close_grid_s=60, revise_every_s=3600)
GRACE_SETTINGS = SettingsRecord(close_grid_s=60, revise_every_s=3600, grace_s=90)
"""Periods are due two minutes after their end, between two cuts of revisions."""
SHORT_SETTINGS = SettingsRecord(
    close_grid_s=60, revise_every_s=3600, grace_s=90, late_window_s=4 * 86_400 + 1_800
)
"""Periods close to late events before the next does, between two cuts of revisions."""

METRICS: dict[str, dict[str, Any]] = {
    "count": {"aggregation_type": "count_agg"},
    "sum": {"aggregation_type": "sum_agg", "field_name": "v"},
    "balance": {"aggregation_type": "sum_agg", "field_name": "v", "recurring": True},
    "max": {"aggregation_type": "max_agg", "field_name": "v"},
    "latest": {"aggregation_type": "latest_agg", "field_name": "v"},
    "unique": {"aggregation_type": "unique_count_agg", "field_name": "u"},
    "seats": {"aggregation_type": "unique_count_agg", "field_name": "u", "recurring": True},
    "heads": {"aggregation_type": "unique_count_agg", "field_name": "u", "recurring": True},
    "level": {"aggregation_type": "weighted_sum_agg", "field_name": "v", "recurring": True},
    "filtered": {
        "aggregation_type": "sum_agg",
        "field_name": "v",
        "filters": [{"key": "g", "values": ["x", "y"]}, {"key": "u", "values": ["a", "b"]}],
    },
    "average": {"aggregation_type": "weighted_sum_agg", "field_name": "v"},
    "prepaid": {"aggregation_type": "sum_agg", "field_name": "v", "recurring": True},
    "passes": {"aggregation_type": "unique_count_agg", "field_name": "u"},
}
# A new type is in every law as soon as it is registered.
METRICS |= {
    name.removesuffix("_agg"): {
        "aggregation_type": name,
        "field_name": "u" if each.reads == "operation" else "v",
    }
    for name, each in AGGREGATIONS.items()
    if name not in {metric["aggregation_type"] for metric in METRICS.values()}
}
OTHERS: dict[str, dict[str, Any]] = {
    "visitors": {"aggregation_type": "unique_count_agg", "field_name": "u"},
    "spent": {"aggregation_type": "sum_agg", "field_name": "v"},
    "calls": {"aggregation_type": "count_agg"},
    "fees": {"aggregation_type": "sum_agg", "field_name": "v"},
    "guests": {"aggregation_type": "unique_count_agg", "field_name": "u"},
    "credits": {"aggregation_type": "sum_agg", "field_name": "v", "recurring": True},
    "licences": {"aggregation_type": "unique_count_agg", "field_name": "u", "recurring": True},
    "desks": {"aggregation_type": "unique_count_agg", "field_name": "u", "recurring": True},
}
"""Metrics beside those that simulations choose of: these keep the scripts of their seeds."""
PRORATED = ("balance", "seats", "credits", "desks")
PRESENTED = {
    "sum": ("u", "g"),
    "balance": ("u",),
    "average": ("g",),
    "latest": ("g", "u"),
    "seats": ("g",),
    "heads": ("g",),
    "level": ("u",),
    "filtered": ("operation_type",),
}
"""Keys that the usage of a charge is also shown by."""
_OF_EACH = {"per_transaction_min_amount": "1"}
PRICES: dict[str, tuple[str, dict[str, Any]]] = {
    "count": ("percentage", _OF_EACH),
    "sum": ("percentage", {**_OF_EACH, "free_units_per_events": 3}),
    "max": ("percentage", _OF_EACH),
    "balance": ("graduated", {}),
    "seats": ("graduated", {}),
    "heads": ("percentage", {"free_units_per_total_aggregation": "1"}),
    "level": ("percentage", _OF_EACH),
    "fees": ("percentage", {**_OF_EACH, "free_units_per_events": 3}),
    "guests": ("percentage", {"free_units_per_total_aggregation": "1"}),
}
"""Models and properties of charges that ask for single events."""
GROUPED = ("sum", "unique", "passes", "fees", "desks")
"""Charges grouped by `g`."""
ASKED = ("licences", "desks")
"""Unique counts whose members are asked for at any age, by what would bill at once."""
PREPAID = ("prepaid", "credits", *ASKED)
"""Charges whose events are billed when they come, and that recur."""
IN_ADVANCE = ("passes", "spent", "calls", *PREPAID)
"""Charges whose events are billed when they come."""


class CommandAt(NamedTuple):
    """A command on the definitions log."""

    append_time_ms: int
    offset: int
    command: Command


def metric_body(code: str, **changes: Any) -> dict[str, Any]:
    return {"name": code, "code": code, **(METRICS | OTHERS)[code], **changes}


def plan_body(codes: Iterable[str], *, presents: bool = False, **changes: Any) -> dict[str, Any]:
    charges = []
    for code in codes:
        charge: dict[str, Any] = {
            "billable_metric_code": code,
            "code": code,
            "charge_model": "standard",
            "properties": {"amount": "1"},
            "prorated": code in PRORATED,
            "pay_in_advance": code in IN_ADVANCE,
        }
        if code in GROUPED:
            charge["properties"]["pricing_group_keys"] = ["g"]
        if presents and code in PRESENTED:
            charge["properties"] |= presented_by(*PRESENTED[code])
        if presents and code in PRICES:
            charge["charge_model"], properties = PRICES[code]
            charge["properties"] |= properties
        if code == "filtered":
            charge["filters"] = [
                {"values": {"g": ["x"]}, "properties": {"amount": "1"}},
                {
                    "values": {"u": ["a"]},
                    "properties": {"amount": "1", "pricing_group_keys": ["operation_type"]},
                },
            ]
        charges.append(charge)
    return {**bodies.plan("plan", charges, interval="weekly"), **changes}


def presented_by(*keys: str) -> dict[str, Any]:
    """Return the property of a charge that names presentation keys."""
    return {"presentation_group_keys": [{"value": key} for key in keys]}


def subscription_body(**changes: Any) -> dict[str, Any]:
    return {
        "external_customer_id": "customer",
        "plan_code": "plan",
        "external_id": SUBSCRIPTION,
        "billing_time": "calendar",
        "subscription_at": "2024-01-01T00:00:00Z",
        **changes,
    }


def subscription_object(identity: str, **changes: Any) -> Subscription:
    """A subscription as the definitions keep it, with what every one has."""
    terms = {
        "organization_id": ORG,
        "external_id": SUBSCRIPTION,
        "external_customer_id": "customer",
        "plan_id": "plan",
        "billing_time": "calendar",
        "subscription_at_ms": 0,
        "started_at_ms": 0,
        "created_at_ms": 0,
    }
    return Subscription(id=identity, **{**terms, **changes})


def lines(commands_at: Iterable[tuple[int, Command]]) -> list[CommandAt]:
    return [
        CommandAt(at_ms, offset, command) for offset, (at_ms, command) in enumerate(commands_at)
    ]


def logged(definitions: Iterable[CommandAt]) -> list[DefinitionLine]:
    """Return the definitions as the lines that an offline fold reads."""
    return [DefinitionLine(d.append_time_ms, d.offset, d.command.encode()) for d in definitions]


def definitions_of(
    codes: Sequence[str], settings: SettingsRecord = SETTINGS, *, presents: bool = False
) -> list[CommandAt]:
    """Settings, metrics, a weekly plan and a subscription from START on.

    `presents`: usage is also shown by the keys of `PRESENTED`, and by event as `PRICES` ask.
    """
    made: list[Command] = [commands.set_settings(settings)]
    made += [commands.create_billable_metric(ORG, metric_body(code)) for code in codes]
    made.append(commands.create_plan(ORG, plan_body(codes, presents=presents)))
    made.append(commands.upsert_customer(ORG, {"external_id": "customer"}))
    made.append(commands.create_subscription(ORG, subscription_body()))
    return lines((START_MS - HOUR_MS, command) for command in made)


def shown_by_keys(definitions: Iterable[CommandAt], only: Sequence[str] | None = None) -> None:
    """Have usage of charges shown by keys, and no single events listed; None: of all charges."""
    for line in definitions:
        if line.command.type == "create_plan":
            for charge in line.command.payload["plan"]["charges"]:
                charge["charge_model"] = "standard"
                if only is None or charge["code"] in only:
                    charge["properties"] |= {"amount": "1", **presented_by("u", "operation_type")}


def grouped_by_g(definitions: Iterable[CommandAt]) -> None:
    """Have all charges grouped by `g`."""
    for line in definitions:
        if line.command.type == "create_plan":
            for charge in line.command.payload["plan"]["charges"]:
                charge["properties"]["pricing_group_keys"] = ["g"]


class Made(NamedTuple):
    """What there is to be changed."""

    charges: list[dict[str, Any]]
    metric_ids: list[str]


_Kind = Callable[[st.DrawFn, str, Made], Command]
"""Makes a change of one kind."""


@st.composite
def changing_definitions(
    draw: st.DrawFn, codes: Sequence[str], *, presents: bool = True, of_all: bool = False
) -> list[CommandAt]:
    """The usual definitions, some of them late, and what may be changed of them later.

    `of_all`: nothing of the subscription itself, which others then may be like.
    """
    base = definitions_of(codes, presents=presents)
    late = draw(st.sampled_from([0, 0, 1, 2]))
    kept, delayed = base[: len(base) - late], base[len(base) - late :]
    (plan,) = [line.command for line in base if line.command.type == "create_plan"]
    metrics = [line.command for line in base if line.command.type == "create_billable_metric"]
    metric_ids = [command.payload["id"] for command in metrics]
    changeable = Made(plan.payload["plan"]["charges"], metric_ids)
    kinds = _CHANGES_OF_ALL if of_all else _CHANGES
    changes = draw(st.lists(_change(codes, changeable, kinds), max_size=4))
    made = [(line.append_time_ms, line.command) for line in kept]
    then_ms = draw(st.integers(START_MS, START_MS + 2 * WEEK_MS))
    made += [(then_ms, line.command) for line in delayed]
    return lines([*made, *sorted(changes, key=lambda change: max(change[0], then_ms))])


@st.composite
def _change(
    draw: st.DrawFn, codes: Sequence[str], made: Made, kinds: Sequence[_Kind]
) -> tuple[int, Command]:
    # Of those on whole days several are of the same millisecond.
    days = st.integers(0, WEEKS * 7).map(lambda day: day * DAY_MS)
    at_ms = START_MS + draw(days | st.integers(0, WEEKS * WEEK_MS))
    code = draw(st.sampled_from(codes))
    kind = draw(st.sampled_from(kinds))
    return at_ms, kind(draw, code, made)


def _filters(draw: st.DrawFn, code: str, made: Made) -> Command:
    """Charges whose filters name a value that is gone lose them."""
    values = draw(st.sampled_from([["x"], ["x", "y"], ["y"]]))
    body = metric_body("filtered", filters=[{"key": "g", "values": values}])
    return commands.update_billable_metric(ORG, "filtered", body)


def _delete_metric(draw: st.DrawFn, code: str, made: Made) -> Command:
    return commands.delete_billable_metric(ORG, code)


def _create_metric(draw: st.DrawFn, code: str, made: Made) -> Command:
    return commands.create_billable_metric(ORG, metric_body(code))


def _customer(draw: st.DrawFn, code: str, made: Made) -> Command:
    timezone = draw(st.sampled_from([None, "UTC", "Europe/Paris", "America/Los_Angeles"]))
    grace = {"invoice_grace_period": draw(st.none() | st.integers(0, 9))}
    body = {"external_id": "customer", "timezone": timezone, "billing_configuration": grace}
    return commands.upsert_customer(ORG, body)


def _organization(draw: st.DrawFn, code: str, made: Made) -> Command:
    """What it says holds while no customer was made, or for one that said nothing."""
    timezone = draw(st.sampled_from(["UTC", "Asia/Tokyo", "America/Los_Angeles"]))
    grace = {"invoice_grace_period": draw(st.sampled_from([None, 0, 2, 5]))}
    body = {"timezone": timezone, "billing_configuration": grace}
    return commands.update_organization(ORG, body)


def _settings(draw: st.DrawFn, code: str, made: Made) -> Command:
    """Mostly periods are due at other times, sooner or later; events go elsewhere by others."""
    record = SETTINGS
    if draw(st.integers(0, 3)) == 0:
        record = msgspec.structs.replace(record, max_groups=draw(st.integers(1, 3)))
    return commands.set_settings(
        msgspec.structs.replace(
            record,
            grace_s=draw(st.sampled_from([0, 3600, 3 * 86_400])),
            late_window_s=draw(st.sampled_from([86_400, record.late_window_s])),
            late_policy=draw(st.sampled_from(["revise", "revise", "refuse"])),
            close_elapsed=draw(st.booleans()),
        )
    )


def _plan(draw: st.DrawFn, code: str, made: Made) -> Command:
    """Some charges go, one comes, groups change."""
    kept = [
        {
            **{key: value for key, value in charge.items() if key != "new_id"},
            "id": charge["new_id"],
            "properties": {"amount": "1", **draw(st.sampled_from(_GROUPINGS))},
        }
        for charge in made.charges
        if draw(st.integers(0, 3))
    ]
    (new,) = plan_body([code])["charges"]
    # Under the code of one that stays it would be refused.
    new["code"] = f"{code}-new"
    return commands.update_plan(ORG, "plan", {"charges": [*kept, new]})


_GROUPINGS: list[dict[str, Any]] = [
    {},
    {"pricing_group_keys": ["g"]},
    presented_by("u"),
    {**_OF_EACH, "free_units_per_total_aggregation": "3"},
    {"pricing_group_keys": ["g"], **presented_by("operation_type", "g")},
]


def _one_charge(draw: st.DrawFn, code: str, made: Made) -> Command:
    """One charge comes, goes or is grouped anew, or a filter of it comes."""
    properties = {"amount": "1", **draw(st.sampled_from(_GROUPINGS))}
    match draw(st.integers(0, 3)):
        case 0:
            (new,) = plan_body([code])["charges"]
            new |= {"code": f"{code}-{draw(st.integers(1, 2))}", "properties": properties}
            return commands.create_charge(ORG, "plan", new)
        case 1:
            return commands.update_charge(ORG, "plan", code, {"properties": properties})
        case 2:
            values = draw(st.sampled_from(_MORE_VALUES))
            return commands.create_charge_filter(
                ORG, "plan", _filtered(code, made), {"values": values}
            )
        case _:
            return commands.delete_charge(ORG, "plan", code)


_MORE_VALUES = [{"g": ["y"]}, {"u": ["b"]}, {"g": ["x"], "u": ["a"]}]
"""Of filters that the charge has not yet: it refuses another one of the same values."""


def _filtered(code: str, made: Made) -> str:
    """Return the code of a charge whose metric has filters, if there is one."""
    return "filtered" if any(c["code"] == "filtered" for c in made.charges) else code


def _own_charge(draw: st.DrawFn, code: str, made: Made) -> Command:
    """One charge of the subscription is its own, or the plan's changes with those of children."""
    properties = {"amount": "1", **draw(st.sampled_from(_GROUPINGS))}
    named = commands.SubscriptionCharge(ORG, SUBSCRIPTION, code)
    match draw(st.integers(0, 3)):
        case 0:
            return commands.update_subscription_charge(named, {"properties": properties})
        case 1:
            values = draw(st.sampled_from(_MORE_VALUES))
            named = named._replace(charge_code=_filtered(code, made))
            return commands.create_subscription_charge_filter(named, {"values": values})
        case 2:
            body = {"properties": properties, "cascade_updates": True}
            return commands.update_charge(ORG, "plan", code, body)
        case _:
            return commands.delete_charge(ORG, "plan", code, {"cascade_updates": True})


def _override(draw: st.DrawFn, code: str, made: Made) -> Command:
    """The subscription gets terms of its own, at once or with what it asks for."""
    charges = [
        {
            "id": charge["new_id"],
            "properties": {"amount": "1", **draw(st.sampled_from(_GROUPINGS))},
            **draw(st.sampled_from(_OWN_FILTERS if charge["code"] == "filtered" else [{}])),
        }
        for charge in made.charges
        if draw(st.integers(0, 2)) == 0
    ]
    overrides = {"amount_cents": draw(st.integers(0, 2)), "charges": charges}
    if draw(st.integers(0, 3)):
        body = {"plan_overrides": draw(st.sampled_from([overrides, {}, {"charges": []}]))}
        return commands.update_subscription(ORG, SUBSCRIPTION, body)
    return commands.create_subscription(ORG, subscription_body(plan_overrides=overrides))


_OWN_FILTERS: list[dict[str, Any]] = [{}, {"filters": [{"values": {"g": ["x"]}}]}]


def _subscribe(draw: st.DrawFn, code: str, made: Made) -> Command:
    return commands.create_subscription(ORG, subscription_body())


def _terminate(draw: st.DrawFn, code: str, made: Made) -> Command:
    return commands.terminate_subscription(ORG, SUBSCRIPTION)


def _ending(draw: st.DrawFn, code: str, made: Made) -> Command:
    """An end is wished for, moved, or taken back."""
    day_ms = START_MS + draw(st.integers(1, WEEKS * 7)) * DAY_MS
    ending_at = draw(st.none() | st.sampled_from([day_ms, day_ms + 8 * HOUR_MS]))
    body = {"ending_at": None if ending_at is None else iso_milliseconds(ending_at)}
    return commands.update_subscription(ORG, SUBSCRIPTION, body)


def _plan_itself(draw: st.DrawFn, code: str, made: Made) -> Command:
    """The plan goes, with its children, comes again, or has other periods."""
    interval = draw(st.sampled_from(["weekly", "monthly", "quarterly"]))
    terms = {"interval": interval, "bill_charges_monthly": draw(st.booleans())}
    match draw(st.integers(0, 3)):
        case 0:
            return commands.delete_plan(ORG, "plan")
        case 1:
            return commands.create_plan(ORG, {**plan_body([code]), **terms})
        case _:
            return commands.update_plan(ORG, "plan", terms)


def _in_advance(draw: st.DrawFn, code: str, made: Made) -> Command:
    """One more charge of a metric, each event of which is billed when it comes."""
    (new,) = plan_body([code])["charges"]
    prorated = metric_body(code).get("recurring", False) and draw(st.booleans())
    new |= {"code": f"{code}-now", "pay_in_advance": True, "prorated": prorated}
    return commands.create_charge(ORG, "plan", new)


def _history(draw: st.DrawFn, code: str, made: Made) -> Command:
    """Of some metrics or charges, over some of the first weeks."""
    from_ms = START_MS + draw(st.integers(0, 2)) * WEEK_MS
    charge_ids = [charge["new_id"] for charge in made.charges]
    return commands.apply_history(
        ORG,
        metric_ids=draw(st.lists(st.sampled_from(made.metric_ids), max_size=3)),
        charge_ids=draw(st.lists(st.sampled_from(charge_ids), max_size=2)),
        from_ms=from_ms,
        to_ms=from_ms + draw(st.integers(1, 3)) * WEEK_MS,
    )


_CHANGES_OF_ALL = [_filters, _customer, _organization, _settings, _plan, _plan, _one_charge]

_CHANGES = [
    _filters,
    _delete_metric,
    _create_metric,
    _customer,
    _customer,
    _organization,
    _settings,
    _settings,
    _override,
    _override,
    _own_charge,
    _plan,
    _plan,
    _one_charge,
    _one_charge,
    _subscribe,
    _terminate,
    _ending,
    _plan_itself,
    _plan_itself,
    _in_advance,
    _history,
    _history,
]


WEEKS = 4
