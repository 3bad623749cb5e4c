"""Alerts of a subscription: how they are defined, and what its owner last saw of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.api.answering.call import Call, Reply
from app.api.answering.peers import forward, owner_elsewhere
from app.api.definitions.definitions_json import metric_json
from app.api.definitions.subscriptions import subscription_asked_for
from app.api.http.errors import not_found
from app.billing_periods.instants import iso_seconds
from app.definitions import commands
from app.definitions.model import Alert
from app.meter.usage import EvaluatedAlert
from app.numbers import plain

_ROOT = "alert"
_MANY = "alerts"

Json = dict[str, Any]


async def create(call: Call) -> Any:
    """Add one alert, or all of a list."""
    if (owner := _elsewhere(call)) is not None:
        return await forward(call, owner)
    body = await call.json()
    many = body.get(_MANY) if isinstance(body, dict) else None
    names = (call.organization_id, call.parameters["external_id"])
    if isinstance(many, list) and many:
        command = commands.create_alerts(*names, many, _status(call))
        made = await call.define(command)
        return {_MANY: [_json(call, alert, {}) for alert in made]}
    command = commands.create_alert(*names, await call.root(_ROOT), _status(call))
    made = await call.define(command)
    return {_ROOT: _json(call, made, {})}


async def update(call: Call) -> Any:
    """Change an alert."""
    if (owner := _elsewhere(call)) is not None:
        return await forward(call, owner)
    command = commands.update_alert(*_names(call), await call.root(_ROOT), _status(call))
    evaluated = _evaluated(call)
    return {_ROOT: _json(call, await call.define(command), evaluated)}


async def delete(call: Call) -> Any:
    """Delete an alert."""
    if (owner := _elsewhere(call)) is not None:
        return await forward(call, owner)
    command = commands.delete_alert(*_names(call), _status(call))
    # Of one that is deleted nobody knows any more.
    evaluated = _evaluated(call)
    return {_ROOT: _json(call, await call.define(command), evaluated)}


async def delete_all(call: Call) -> Any:
    """Delete all alerts of a subscription."""
    if (owner := _elsewhere(call)) is not None:
        return await forward(call, owner)
    external_id = call.parameters["external_id"]
    await call.define(commands.delete_alerts(call.organization_id, external_id, _status(call)))
    return Reply(b"")


async def show(call: Call) -> Any:
    """Answer one alert."""
    subscription_asked_for(call)
    if (owner := _elsewhere(call)) is not None:
        return await forward(call, owner)
    for alert in _alerts(call):
        if alert.code == call.parameters["code"]:
            return {_ROOT: _json(call, alert, _evaluated(call))}
    raise not_found(_ROOT)


async def index(call: Call) -> Any:
    """List the alerts, newest first."""
    subscription_asked_for(call)
    if (owner := _elsewhere(call)) is not None:
        return await forward(call, owner)
    evaluated = _evaluated(call)
    return await call.listing(_MANY, _alerts(call)[::-1], lambda a: _json(call, a, evaluated))


def _elsewhere(call: Call) -> str | None:
    return owner_elsewhere(call, call.parameters["external_id"])


def _names(call: Call) -> tuple[str, str, str]:
    return call.organization_id, call.parameters["external_id"], call.parameters["code"]


def _status(call: Call) -> str | None:
    return call.query.text("subscription_status") or call.query.text("status")


def _alerts(call: Call) -> list[Alert]:
    name = (call.organization_id, call.parameters["external_id"])
    return list(call.meter.definitions.alerts.of(name))


def _evaluated(call: Call) -> Mapping[str, EvaluatedAlert]:
    return call.meter.usage.evaluated_alerts(call.organization_id, call.parameters["external_id"])


def _json(call: Call, alert: Alert, evaluated: Mapping[str, EvaluatedAlert]) -> Json:
    definitions, known = call.meter.definitions, evaluated.get(alert.id)
    metric = definitions.metric_versions[alert.metric_id].last_before_deletion()
    return {
        "lago_id": alert.id,
        "lago_organization_id": alert.organization_id,
        "subscription_external_id": alert.external_subscription_id,
        "external_subscription_id": alert.external_subscription_id,
        "lago_wallet_id": None,
        "wallet_code": None,
        "alert_type": alert.alert_type,
        "code": alert.code,
        "name": alert.name,
        "direction": "increasing",
        "previous_value": "0.0" if known is None else known.units,
        "last_processed_at": None if known is None else iso_seconds(known.at_ms),
        "thresholds": [
            {"code": each.code, "value": plain(each.value), "recurring": each.recurring}
            for each in alert.thresholds
        ],
        "created_at": iso_seconds(alert.created_at_ms),
        "billable_metric": None
        if metric is None
        else metric_json(definitions, metric, call.now_ms),
    }
