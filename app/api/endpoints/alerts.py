"""Endpoints of the alerts of a subscription."""

from __future__ import annotations

from app.api.answering.router import Endpoint
from app.api.definitions import alerts
from app.api.endpoints.parameters import SUBSCRIPTION_STATUS, V1
from app.api.endpoints.resource import Resource
from app.api.schemas import alerts as schemas

_ALL = f"{V1}/subscriptions/{{external_id}}/alerts"

_alert = Resource(
    "alert", _ALL, "code", schemas.AlertAnswer, nested=True, query=(SUBSCRIPTION_STATUS,)
)

ALERTS = (
    _alert.create(
        alerts.create,
        "Add an alert on the units of a metric, or several at once.",
        schemas.NewAlertBody,
        answer=schemas.NewAlertAnswer,
    ),
    _alert.list(
        alerts.index, "List the alerts of a subscription, newest first.", schemas.AlertList
    ),
    *_alert.change(
        alerts.update,
        "Change an alert; absent keys stay, thresholds are replaced when any are given.",
        schemas.AlertChangesBody,
    ),
    _alert.show(alerts.show, "Show an alert."),
    _alert.delete(alerts.delete, "Delete an alert."),
    Endpoint(
        f"DELETE {_ALL}",
        alerts.delete_all,
        "alert",
        "Delete all alerts of a subscription.",
        query=(SUBSCRIPTION_STATUS,),
        errors=(404,),
        nested=True,
        without_body=True,
    ),
)
