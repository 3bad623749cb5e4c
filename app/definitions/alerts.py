"""Alerts on the usage of a subscription: creation, one or many at once, changes and deletion.

The checks come in Lago's order, and the first that fails answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, get_args

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.command import Command
from app.definitions.decision import Decision, Deletion, payload_body, payload_text
from app.definitions.fields import INVALID, MANDATORY, TAKEN, Fields, decimal, is_blank, scalar_text
from app.definitions.indexes.alerts import AlertIndex, kind_of
from app.definitions.model import Alert, AlertThreshold, AlertType, Subscription
from app.definitions.outcome import Impact, Rejected, Rejection, invalid, not_found
from app.definitions.state import Definitions
from app.definitions.subscriptions import find_subscription
from app.numbers import InvalidValue, bounded

MOST_THRESHOLDS: Final = 20
TYPES: Final[tuple[AlertType, ...]] = get_args(AlertType)
NOT_AVAILABLE: Final = (
    "current_usage_amount",
    "billable_metric_current_usage_amount",
    "lifetime_usage_amount",
)
"""Types of Lago's that are in money."""

Body = Mapping[str, Any]


def create(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Make one alert."""
    subscription = _subscription(definitions, command, now_ms)
    made = _made(definitions, subscription, payload_body(command, "alert"), now_ms, {})
    return Decision(made, _impact(definitions, (made,)), (made,))


def create_many(definitions: Definitions, command: Command, now_ms: int) -> Steps[Decision]:
    """Make many alerts, or none of them."""
    subscription = _subscription(definitions, command, now_ms)
    bodies = command.payload.get("alerts")
    if not isinstance(bodies, list) or not bodies:
        raise Rejection(invalid({"alerts": [MANDATORY]}))
    made: list[Alert] = []
    refused: dict[str, Any] = {}
    coming: dict[str | tuple[str, str], str] = {}
    for index, given in enumerate(bodies):
        if index and index % STEP_ITEMS == 0:
            yield
        body = given if isinstance(given, Mapping) else {}
        try:
            alert = _made(definitions, subscription, body, now_ms, coming)
        except Rejection as rejection:
            told = {key: value for key, value in body.items() if key != "new_id"}
            why = rejection.outcome
            errors = why.code if why.details is None else why.details
            refused[str(index)] = {"params": told, "errors": errors}
        else:
            made.append(alert)
            coming[alert.code] = coming[kind_of(alert)] = alert.id
    if refused:
        raise Rejection(Rejected(422, "validation_errors", refused))
    return Decision(tuple(made), _impact(definitions, made), tuple(made))


def update(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Change code, name, metric or thresholds; absent keys stay."""
    found = changed = _found(definitions, command, now_ms)
    body = payload_body(command, "alert")
    if not is_blank(body.get("thresholds")):
        changed = msgspec.structs.replace(changed, thresholds=_thresholds(body))
    if not is_blank(body.get("billable_metric_code")):
        metric_id = _metric_id(definitions, command.organization_id, body)
        changed = msgspec.structs.replace(changed, metric_id=metric_id)
    fields = Fields(body)
    if "code" in body:
        changed = msgspec.structs.replace(changed, code=fields.mandatory_text("code"))
    if "name" in body:
        changed = msgspec.structs.replace(changed, name=fields.text("name"))
    fields.require_valid()
    _require_no_clash(definitions.alerts, changed, {})
    if changed == found:
        return Decision(found, None, ())
    return Decision(changed, _impact(definitions, (found, changed)), (changed,))


def delete(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """End one alert."""
    found = _found(definitions, command, now_ms)
    return Decision(found, _impact(definitions, (found,)), (Deletion(found),))


def delete_all(definitions: Definitions, command: Command, now_ms: int) -> Steps[Decision]:
    """End all alerts of a subscription."""
    subscription = _subscription(definitions, command, now_ms)
    gone: list[Alert] = []
    for alert in definitions.alerts.of(_name_of(subscription)):
        gone.append(alert)
        if len(gone) % STEP_ITEMS == 0:
            yield
    impact = _impact(definitions, gone) if gone else None
    return Decision(None, impact, tuple(map(Deletion, gone)))


def _subscription(definitions: Definitions, command: Command, now_ms: int) -> Subscription:
    """Return the subscription that the command is about, by the status that it names."""
    external_id, status = payload_text(command, "external_id"), command.payload.get("status")
    wanted = status or "active"
    return find_subscription(definitions, command.organization_id, external_id, wanted, now_ms)


def _found(definitions: Definitions, command: Command, now_ms: int) -> Alert:
    subscription = _subscription(definitions, command, now_ms)
    found = definitions.alerts.holder(_name_of(subscription), payload_text(command, "code"))
    if found is None:
        raise Rejection(not_found("alert"))
    return found


def _made(
    definitions: Definitions,
    subscription: Subscription,
    body: Body,
    now_ms: int,
    coming: Mapping[str | tuple[str, str], str],
) -> Alert:
    """Return a new alert; `coming` as of `_require_no_clash`."""
    alert_type, thresholds = _type(body), _thresholds(body)
    fields, metric_id = Fields(body), ""
    if is_blank(body.get("billable_metric_code")):
        fields.fail("billable_metric", MANDATORY)
    else:
        metric_id = _metric_id(definitions, subscription.organization_id, body)
    code, name = fields.mandatory_text("code"), fields.text("name")
    fields.require_valid()
    made = Alert(
        id=str(body.get("new_id")),
        organization_id=subscription.organization_id,
        external_subscription_id=subscription.external_id,
        alert_type=alert_type,
        code=code,
        name=name,
        metric_id=metric_id,
        thresholds=thresholds,
        created_at_ms=now_ms,
    )
    _require_no_clash(definitions.alerts, made, coming)
    return made


def _require_no_clash(
    alerts: AlertIndex, alert: Alert, coming: Mapping[str | tuple[str, str], str]
) -> None:
    """Raise Rejection if an alert clashes with the others of its subscription.

    `coming`: ids of those that come with it, by what no two share: their code, and their kind.
    """
    name = alert.organization_id, alert.external_subscription_id
    holder = alerts.holder(name, alert.code) or alert
    if {coming.get(alert.code, alert.id), holder.id} != {alert.id}:
        raise Rejection(invalid({"code": [TAKEN]}))
    alike = (each.id for each in alerts.alike(alert))
    if {coming.get(kind_of(alert), alert.id), *alike} != {alert.id}:
        raise Rejection(invalid({"base": ["alert_already_exists"]}))


def _type(body: Body) -> AlertType:
    given = body.get("alert_type")
    if given in NOT_AVAILABLE:
        raise Rejection(invalid({"alert_type": ["feature_not_available"]}))
    if is_blank(given):
        raise Rejection(invalid({"alert_type": [MANDATORY, INVALID]}))
    for alert_type in TYPES:
        if alert_type == given:
            return alert_type
    raise Rejection(invalid({"alert_type": ["invalid_type"]}))


def _thresholds(body: Body) -> tuple[AlertThreshold, ...]:
    given = body.get("thresholds")
    if is_blank(given):
        raise Rejection(invalid({"thresholds": [MANDATORY]}))
    if not isinstance(given, list) or not all(isinstance(each, Mapping) for each in given):
        raise Rejection(invalid({"thresholds": [INVALID]}))
    if len(given) > MOST_THRESHOLDS:
        raise Rejection(invalid({"thresholds": ["too_many_thresholds"]}))
    read = [_threshold(each) for each in given]
    values = [(each.value, each.recurring) for each in read if isinstance(each, AlertThreshold)]
    if len(set(values)) < len(values) or sum(recurring for _, recurring in values) > 1:
        raise Rejection(invalid({"thresholds": ["duplicate_threshold_values"]}))
    for each in read:
        if isinstance(each, Rejected):
            raise Rejection(each)
    return tuple(each for each in read if isinstance(each, AlertThreshold))


def _threshold(body: Body) -> AlertThreshold | Rejected:
    fields = Fields(body)
    recurring, given = fields.flag("recurring") or False, body.get("value")
    if is_blank(given):
        return invalid({"thresholds:value": [MANDATORY]})
    value = _quantity(given)
    if value is None:
        return invalid({"thresholds:value": [INVALID]})
    if recurring and value <= 0:
        return invalid({"thresholds:value": ["recurring_value_is_negative"]})
    return AlertThreshold(scalar_text(body.get("code")), value, recurring)


def _quantity(given: object) -> Decimal | None:
    number = decimal(given)
    if number is None:
        return None
    try:
        return bounded(number)
    except InvalidValue:
        return None


def _metric_id(definitions: Definitions, organization_id: str, body: Body) -> str:
    code = scalar_text(body.get("billable_metric_code"))
    metric = None if code is None else definitions.metric(organization_id, code)
    if metric is None:
        raise Rejection(not_found("billable_metric"))
    return metric.id


def _impact(definitions: Definitions, alerts: Sequence[Alert]) -> Impact:
    """Return what asks for figures at grid cuts from here on, or does no more."""
    metrics = map(definitions.metric_by_id, {alert.metric_id for alert in alerts})
    codes = frozenset(metric.code for metric in metrics if metric is not None)
    first = alerts[0]
    return Impact(first.organization_id, first.external_subscription_id, codes)


def _name_of(subscription: Subscription) -> tuple[str, str]:
    return subscription.organization_id, subscription.external_id
