"""Endpoints of the charges of one plan, or of a subscription's plan, and of their filters."""

from __future__ import annotations

from app.api import plan_charges, subscriptions
from app.api.endpoints.parameters import PAGE, SUBSCRIPTION_STATUS, V1
from app.api.router import Endpoint
from app.api.schemas import charges as schemas

_CHARGES = f"{V1}/plans/{{code}}/charges"
_CHARGE = f"{_CHARGES}/{{charge_code}}"
_FILTERS = f"{_CHARGE}/filters"
_FILTER = f"{_FILTERS}/{{id}}"
_OF_SUBSCRIPTION = f"{V1}/subscriptions/{{external_id}}/charges"

PLAN_CHARGES = (
    Endpoint(
        "POST",
        _CHARGES,
        plan_charges.create,
        "charge",
        "Add a charge to a plan.",
        request=schemas.NewChargeBody,
        response=schemas.ChargeAnswer,
        errors=(404, 422),
        nested=True,
    ),
    Endpoint(
        "GET",
        _CHARGES,
        plan_charges.index,
        "charge",
        "List the charges of a plan, newest first.",
        response=schemas.ChargeList,
        query=PAGE,
        errors=(404,),
        nested=True,
    ),
    *(
        Endpoint(
            method,
            _CHARGE,
            plan_charges.update,
            "charge",
            "Change a charge; absent keys stay, with subscriptions code, model and flags as well.",
            request=schemas.ChargeChangesBody,
            response=schemas.ChargeAnswer,
            errors=(404, 422),
            nested=True,
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "GET",
        _CHARGE,
        plan_charges.show,
        "charge",
        "Show a charge of a plan.",
        response=schemas.ChargeAnswer,
        errors=(404,),
        nested=True,
    ),
    Endpoint(
        "DELETE",
        _CHARGE,
        plan_charges.delete,
        "charge",
        "Delete a charge and its filters.",
        response=schemas.ChargeAnswer,
        errors=(404,),
        nested=True,
    ),
    Endpoint(
        "POST",
        _FILTERS,
        plan_charges.create_filter,
        "filter",
        "Add a filter to a charge; of filters with the same values the oldest counts.",
        request=schemas.NewFilterBody,
        response=schemas.FilterAnswer,
        errors=(404, 422),
        nested=True,
    ),
    Endpoint(
        "GET",
        _FILTERS,
        plan_charges.index_filters,
        "filter",
        "List the filters of a charge, oldest first.",
        response=schemas.FilterList,
        query=PAGE,
        errors=(404,),
        nested=True,
    ),
    *(
        Endpoint(
            method,
            _FILTER,
            plan_charges.update_filter,
            "filter",
            "Change name and properties of a filter; its values stay.",
            request=schemas.FilterChangesBody,
            response=schemas.FilterAnswer,
            errors=(404, 422),
            nested=True,
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "GET",
        _FILTER,
        plan_charges.show_filter,
        "filter",
        "Show a filter of a charge.",
        response=schemas.FilterAnswer,
        errors=(404,),
        nested=True,
    ),
    Endpoint(
        "DELETE",
        _FILTER,
        plan_charges.delete_filter,
        "filter",
        "Delete a filter; its events go to the next that matches.",
        response=schemas.FilterAnswer,
        errors=(404,),
        nested=True,
    ),
)

SUBSCRIPTION_CHARGES = (
    Endpoint(
        "GET",
        _OF_SUBSCRIPTION,
        subscriptions.charges,
        "charge",
        "List the charges of a subscription's plan, newest first.",
        response=schemas.ChargeList,
        query=(*PAGE, SUBSCRIPTION_STATUS),
        errors=(404,),
        nested=True,
    ),
    Endpoint(
        "GET",
        f"{_OF_SUBSCRIPTION}/{{charge_code}}",
        subscriptions.charge,
        "charge",
        "Show a charge of a subscription's plan.",
        response=schemas.ChargeAnswer,
        query=(SUBSCRIPTION_STATUS,),
        errors=(404,),
        nested=True,
    ),
    *(
        Endpoint(
            method,
            f"{_OF_SUBSCRIPTION}/{{charge_code}}",
            subscriptions.update_charge,
            "charge",
            "Change a charge for one subscription, which gets a child plan if it has none.",
            request=schemas.OwnChargeBody,
            response=schemas.ChargeAnswer,
            query=(SUBSCRIPTION_STATUS,),
            errors=(404, 422),
            nested=True,
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "POST",
        f"{_OF_SUBSCRIPTION}/{{charge_code}}/filters",
        subscriptions.create_charge_filter,
        "filter",
        "Add a filter to a charge for one subscription; no other may have its values.",
        request=schemas.OwnFilterBody,
        response=schemas.FilterAnswer,
        query=(SUBSCRIPTION_STATUS,),
        errors=(404, 422),
        nested=True,
    ),
    *(
        Endpoint(
            method,
            f"{_OF_SUBSCRIPTION}/{{charge_code}}/filters/{{id}}",
            subscriptions.update_charge_filter,
            "filter",
            "Change name and properties of a filter for one subscription.",
            request=schemas.OwnFilterChangesBody,
            response=schemas.FilterAnswer,
            query=(SUBSCRIPTION_STATUS,),
            errors=(404, 422),
            nested=True,
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "DELETE",
        f"{_OF_SUBSCRIPTION}/{{charge_code}}/filters/{{id}}",
        subscriptions.delete_charge_filter,
        "filter",
        "Delete a filter for one subscription; its events go to the next that matches.",
        response=schemas.FilterAnswer,
        query=(SUBSCRIPTION_STATUS,),
        errors=(404,),
        nested=True,
    ),
    Endpoint(
        "GET",
        f"{_OF_SUBSCRIPTION}/{{charge_code}}/filters",
        subscriptions.charge_filters,
        "filter",
        "List the filters of a charge of a subscription's plan, oldest first.",
        response=schemas.FilterList,
        query=(*PAGE, SUBSCRIPTION_STATUS),
        errors=(404,),
        nested=True,
    ),
    Endpoint(
        "GET",
        f"{_OF_SUBSCRIPTION}/{{charge_code}}/filters/{{id}}",
        subscriptions.charge_filter,
        "filter",
        "Show a filter of a charge of a subscription's plan.",
        response=schemas.FilterAnswer,
        query=(SUBSCRIPTION_STATUS,),
        errors=(404,),
        nested=True,
    ),
)
