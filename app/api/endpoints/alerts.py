"""Endpoints of the alerts of a subscription."""

from __future__ import annotations

from app.api import alerts
from app.api.endpoints.parameters import PAGE, SUBSCRIPTION_STATUS, V1
from app.api.router import Endpoint
from app.api.schemas import alerts as schemas

_ALL = f"{V1}/subscriptions/{{external_id}}/alerts"
_ONE = f"{_ALL}/{{code}}"

ALERTS = (
    Endpoint(
        "POST",
        _ALL,
        alerts.create,
        "alert",
        "Add an alert on the units of a metric, or several at once.",
        request=schemas.NewAlertBody,
        response=schemas.NewAlertAnswer,
        query=(SUBSCRIPTION_STATUS,),
        errors=(404, 422),
        nested=True,
    ),
    Endpoint(
        "GET",
        _ALL,
        alerts.index,
        "alert",
        "List the alerts of a subscription, newest first.",
        response=schemas.AlertList,
        query=(*PAGE, SUBSCRIPTION_STATUS),
        errors=(404,),
        nested=True,
    ),
    *(
        Endpoint(
            method,
            _ONE,
            alerts.update,
            "alert",
            "Change an alert; absent keys stay, thresholds are replaced when any are given.",
            request=schemas.AlertChangesBody,
            response=schemas.AlertAnswer,
            query=(SUBSCRIPTION_STATUS,),
            errors=(404, 422),
            nested=True,
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "GET",
        _ONE,
        alerts.show,
        "alert",
        "Show an alert.",
        response=schemas.AlertAnswer,
        query=(SUBSCRIPTION_STATUS,),
        errors=(404,),
        nested=True,
    ),
    Endpoint(
        "DELETE",
        _ONE,
        alerts.delete,
        "alert",
        "Delete an alert.",
        response=schemas.AlertAnswer,
        query=(SUBSCRIPTION_STATUS,),
        errors=(404,),
        nested=True,
    ),
)

ALL_ALERTS = (
    Endpoint(
        "DELETE",
        _ALL,
        alerts.delete_all,
        "alert",
        "Delete all alerts of a subscription.",
        query=(SUBSCRIPTION_STATUS,),
        errors=(404,),
        nested=True,
    ),
)
"""Its answer has no body, and `/openapi.json` describes those that have one."""
