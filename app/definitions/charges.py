"""Charges of a plan: their rules, and what an update of the list keeps.

Rules: metering-semantics §7.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from app.definitions.aggregation_types import AGGREGATION_TYPES
from app.definitions.decision import new_object_id
from app.definitions.fields import INVALID, MANDATORY, TAKEN, Fields, is_blank, scalar_text
from app.definitions.kept_parts import with_kept_parts
from app.definitions.model import ALL_FILTER_VALUES, Charge, ChargeFilter, Metric
from app.definitions.outcome import Rejection, invalid, not_found
from app.definitions.state import Definitions

ChargeModel = Literal[
    "standard",
    "graduated",
    "package",
    "percentage",
    "volume",
    "graduated_percentage",
    "custom",
    "dynamic",
]
CHARGE_MODELS: tuple[ChargeModel, ...] = get_args(ChargeModel)
MAX_AMOUNT_CENTS = 2**63 - 1

_KEPT_IN_USE = (
    "code",
    "charge_model",
    "pay_in_advance",
    "prorated",
    "invoiceable",
    "regroup_paid_fees",
    "min_amount_cents",
)
_PRORATED_MODELS = ("standard", "volume", "graduated")
_AMOUNT = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)

Body = Mapping[str, Any]


def find_metrics(
    definitions: Definitions, organization_id: str, bodies: Sequence[Body], old: Sequence[Charge]
) -> list[Metric]:
    """Return the metric of each charge body, by id or code, or the kept charge's own.

    An unknown one refuses the whole request before anything else is looked at.
    """
    kept = {charge.id: charge for charge in old}
    metrics = [find_metric(definitions, organization_id, body, kept) for body in bodies]
    found = [metric for metric in metrics if metric is not None]
    if len(found) < len(metrics):
        raise Rejection(not_found("billable_metrics"))
    return found


def find_metric(
    definitions: Definitions, organization_id: str, body: Body, kept: Mapping[str, Charge]
) -> Metric | None:
    """Return the metric that a body names, or that of the charge whose id it has."""
    metric_id, code = body.get("billable_metric_id"), body.get("billable_metric_code")
    if is_blank(metric_id) and not is_blank(code):
        return definitions.metric(organization_id, scalar_text(code) or "")
    if is_blank(metric_id):
        charge = _kept_charge(body, kept)
        metric_id = None if charge is None else charge.metric_id
    metric = definitions.metric_by_id(metric_id) if isinstance(metric_id, str) else None
    return metric if metric is not None and metric.organization_id == organization_id else None


def _kept_charge(body: Body, kept: Mapping[str, Charge]) -> Charge | None:
    charge_id = body.get("id")
    return kept.get(charge_id) if isinstance(charge_id, str) else None


def described_charges(
    bodies: Sequence[Body],
    metrics: Sequence[Metric],
    old: Sequence[Charge],
    now_ms: int,
    *,
    in_use: bool = False,
) -> tuple[Charge, ...]:
    """Return the plan's whole new list of charges.

    Bodies with the id of an old charge change it, others are new. A charge is of one metric as long
    as it lives: its id with another metric makes a new charge. `in_use`: what billing hangs on
    stays as old charges have it.
    """
    kept = {charge.id: charge for charge in old}
    olds = [
        charge if charge is not None and charge.metric_id == metric.id else None
        for charge, metric in zip((_kept_charge(b, kept) for b in bodies), metrics, strict=True)
    ]
    if in_use:
        pairs = zip(bodies, olds, strict=True)
        bodies = [body if charge is None else changing_in_use(body) for body, charge in pairs]
    codes = _codes(bodies, metrics, olds)
    charges: list[Charge] = []
    last = last_number(old)
    for body, metric, charge, code in zip(bodies, metrics, olds, codes, strict=True):
        base = charge or new_charge(body, metric, last + 1, now_ms)
        described = described_charge(body, metric, base, code)
        last = max(last, described.number)
        charges.append(described)
    return tuple(charges)


def changing_in_use(body: Body) -> Body:
    """Return what a body changes of a charge whose plan has subscriptions."""
    return {key: value for key, value in body.items() if key not in _KEPT_IN_USE}


def last_number(charges: Sequence[Charge]) -> int:
    """Return the number of the charge that was made last; 0: there is none."""
    return max((charge.number for charge in charges), default=0)


def new_charge(body: Body, metric: Metric, number: int, now_ms: int) -> Charge:
    """Return a charge before anything of its body is in it."""
    return Charge(
        id=new_object_id(body),
        metric_id=metric.id,
        code="",
        charge_model="",
        created_at_ms=now_ms,
        number=number,
    )


def _codes(
    bodies: Sequence[Body], metrics: Sequence[Metric], olds: Sequence[Charge | None]
) -> list[str]:
    """Return a code for each charge: those given, else the metric's, `_2`, `_3` … when taken."""
    codes = [_given_code(body, old) for body, old in zip(bodies, olds, strict=True)]
    taken: set[str] = set()
    for code in codes:
        if code is not None and code in taken:
            raise Rejection(invalid({"code": [TAKEN]}))
        if code is not None:
            taken.add(code)
    free: list[str] = []
    for code, metric in zip(codes, metrics, strict=True):
        free.append(free_code(metric.code, taken) if code is None else code)
        taken.add(free[-1])
    return free


def _given_code(body: Body, old: Charge | None) -> str | None:
    code = body.get("code")
    if is_blank(code):
        return None if old is None else old.code
    return scalar_text(code)


def free_code(code: str, taken: set[str]) -> str:
    """Return a code, with `_2`, `_3` … while it is taken."""
    free, n = code, 1
    while free in taken:
        n += 1
        free = f"{code}_{n}"
    return free


def described_charge(body: Body, metric: Metric, old: Charge, code: str) -> Charge:
    """Return `old` with a code and every field taken from the body, else as it was.

    What does not change stays the same object: readers compile charges by identity.
    """
    given = {key: value for key, value in body.items() if key != "properties"}
    fields = Fields(msgspec.structs.asdict(old) | given)
    fields_of_body = Fields(body)
    charge_model = fields.mandatory_choice("charge_model", CHARGE_MODELS)
    properties = described_properties(fields_of_body, charge_model, old.properties)
    charge = msgspec.structs.replace(
        old,
        code=code,
        charge_model=charge_model,
        invoice_display_name=fields.text("invoice_display_name"),
        pay_in_advance=fields.flag("pay_in_advance") or False,
        prorated=fields.flag("prorated") or False,
        invoiceable=fields.flag("invoiceable") is not False,
        regroup_paid_fees=fields.choice("regroup_paid_fees", ("invoice",)),
        min_amount_cents=fields.integer("min_amount_cents", 0, MAX_AMOUNT_CENTS) or 0,
        accepts_target_wallet=fields.flag("accepts_target_wallet") or False,
        properties=properties,
        filters=_filters(fields_of_body, metric, charge_model, old.filters),
    )
    _check_combination(fields, charge, metric)
    fields.take_errors(fields_of_body)
    fields.require_valid()
    return old if charge == old else with_kept_parts(charge, old)


def _check_combination(fields: Fields, charge: Charge, metric: Metric) -> None:
    model, in_advance = charge.charge_model, charge.pay_in_advance
    allowed = AGGREGATION_TYPES[metric.aggregation_type]
    if charge.prorated and not (
        metric.recurring
        and allowed.prorated
        and model in _PRORATED_MODELS
        and (model == "standard" or not in_advance)
    ):
        fields.fail("prorated", "invalid_billable_metric_or_charge_model")
    if in_advance and (not allowed.in_advance or model == "volume"):
        fields.fail("pay_in_advance", "invalid_aggregation_type_or_charge_model")
    if model == "dynamic" and not allowed.dynamic:
        fields.fail("charge_model", "invalid_aggregation_type_or_charge_model")


def described_properties(fields: Fields, charge_model: str, old: Body) -> Body:
    """Return properties as given; of a standard charge without any, an amount of 0."""
    given = fields.mapping("properties")
    properties = given or old
    if "properties" in fields.errors:
        return properties
    if charge_model == "standard" and not properties:
        properties = {"amount": "0"}
    if charge_model == "standard" and not _is_amount(properties.get("amount")):
        fields.fail("properties", "invalid_amount")
    for key in ("pricing_group_keys", "grouped_by"):
        if not _is_key_list(properties.get(key)):
            fields.fail("properties", "invalid_type")
    return properties


def _is_amount(amount: object) -> bool:
    return isinstance(amount, str) and _AMOUNT.fullmatch(amount) is not None


def _is_key_list(keys: object) -> bool:
    if keys is None:
        return True
    return isinstance(keys, list) and all(isinstance(key, str) and key for key in keys)


def _filters(
    fields: Fields, metric: Metric, charge_model: str, old: Sequence[ChargeFilter]
) -> tuple[ChargeFilter, ...]:
    """Replace all: filters of the same values stay, in order of age; new ones follow.

    Of several old ones with the same values as many stay as are listed, the oldest first.
    """
    bodies = fields.objects("filters")
    if bodies is None:
        return tuple(old)
    allowed = metric.allowed_values
    wanted = [described_filter(fields, body, allowed, charge_model) for body in bodies]
    selections = [selection_of(each) for each in wanted]
    olds = [selection_of(each) for each in old]
    listed: dict[Selection, list[ChargeFilter]] = {}
    for selection, each in zip(reversed(selections), reversed(wanted), strict=True):
        listed.setdefault(selection, []).append(each)
    kept = [
        with_kept_parts(msgspec.structs.replace(listed[selection].pop(), id=each.id), each)
        for selection, each in zip(olds, old, strict=True)
        if listed.get(selection)
    ]
    known = set(olds)
    new = (
        each for selection, each in zip(selections, wanted, strict=True) if selection not in known
    )
    return (*kept, *new)


Selection: TypeAlias = frozenset[tuple[str, frozenset[str]]]


def selection_of(charge_filter: ChargeFilter) -> Selection:
    """Return the values that a bucket selects, in whatever order they are listed."""
    return frozenset((key, frozenset(texts)) for key, texts in charge_filter.values.items())


def described_filter(
    fields: Fields, body: Body, allowed: Mapping[str, frozenset[str]], charge_model: str
) -> ChargeFilter:
    """Return the new filter that a body describes; what is wrong with it goes to `fields`."""
    own = Fields(body)
    values = own.mapping("values")
    if not values:
        own.fail("values", MANDATORY)
    charge_filter = ChargeFilter(
        id=new_object_id(body),
        values={key: _filter_values(own, key, texts, allowed) for key, texts in values.items()},
        invoice_display_name=own.text("invoice_display_name"),
        properties=described_properties(own, charge_model, {}),
    )
    fields.take_errors(own)
    return charge_filter


def _filter_values(
    fields: Fields, key: str, values: object, allowed: Mapping[str, frozenset[str]]
) -> tuple[str, ...]:
    if key not in allowed:
        fields.fail("billable_metric_filter", "relation_must_exist")
        return ()
    if is_blank(values):
        fields.fail("values", MANDATORY)
        return ()
    texts = [scalar_text(value) for value in (values if isinstance(values, list) else [values])]
    if any(text not in allowed[key] and text != ALL_FILTER_VALUES for text in texts):
        fields.fail("values", INVALID)
    if ALL_FILTER_VALUES in texts:
        return (ALL_FILTER_VALUES,)
    return tuple(dict.fromkeys(text for text in texts if text is not None))
