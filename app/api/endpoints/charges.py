"""Endpoints of the charges of one plan, or of a subscription's plan, and of their filters."""

from __future__ import annotations

from app.api.definitions import plan_charges, subscriptions
from app.api.endpoints.parameters import SUBSCRIPTION_STATUS, V1
from app.api.endpoints.resource import Resource
from app.api.schemas import charges as schemas

_OF_PLAN = f"{V1}/plans/{{code}}/charges"
_OF_SUBSCRIPTION = f"{V1}/subscriptions/{{external_id}}/charges"
_FILTERS = "{charge_code}/filters"

_charge = Resource("charge", _OF_PLAN, "charge_code", schemas.ChargeAnswer, nested=True)
_filter = Resource("filter", f"{_OF_PLAN}/{_FILTERS}", "id", schemas.FilterAnswer, nested=True)
_own_charge = _charge._replace(all=_OF_SUBSCRIPTION, query=(SUBSCRIPTION_STATUS,))
_own_filter = _filter._replace(all=f"{_OF_SUBSCRIPTION}/{_FILTERS}", query=(SUBSCRIPTION_STATUS,))

PLAN_CHARGES = (
    _charge.create(plan_charges.create, "Add a charge to a plan.", schemas.NewChargeBody),
    _charge.list(
        plan_charges.index, "List the charges of a plan, newest first.", schemas.ChargeList
    ),
    *_charge.change(
        plan_charges.update,
        "Change a charge; absent keys stay, with subscriptions code, model and flags as well.",
        schemas.ChargeChangesBody,
    ),
    _charge.show(plan_charges.show, "Show a charge of a plan."),
    _charge.delete(plan_charges.delete, "Delete a charge and its filters."),
    _filter.create(
        plan_charges.create_filter,
        "Add a filter to a charge; of filters with the same values the oldest counts.",
        schemas.NewFilterBody,
    ),
    _filter.list(
        plan_charges.index_filters,
        "List the filters of a charge, oldest first.",
        schemas.FilterList,
    ),
    *_filter.change(
        plan_charges.update_filter,
        "Change name and properties of a filter; its values stay.",
        schemas.FilterChangesBody,
    ),
    _filter.show(plan_charges.show_filter, "Show a filter of a charge."),
    _filter.delete(
        plan_charges.delete_filter, "Delete a filter; its events go to the next that matches."
    ),
)

SUBSCRIPTION_CHARGES = (
    _own_charge.list(
        plan_charges.index,
        "List the charges of a subscription's plan, newest first.",
        schemas.ChargeList,
    ),
    _own_charge.show(plan_charges.show, "Show a charge of a subscription's plan."),
    *_own_charge.change(
        subscriptions.update_charge,
        "Change a charge for one subscription, which gets a child plan if it has none.",
        schemas.OwnChargeBody,
    ),
    _own_filter.create(
        subscriptions.create_charge_filter,
        "Add a filter to a charge for one subscription; no other may have its values.",
        schemas.OwnFilterBody,
    ),
    *_own_filter.change(
        subscriptions.update_charge_filter,
        "Change name and properties of a filter for one subscription.",
        schemas.OwnFilterChangesBody,
    ),
    _own_filter.delete(
        subscriptions.delete_charge_filter,
        "Delete a filter for one subscription; its events go to the next that matches.",
    ),
    _own_filter.list(
        plan_charges.index_filters,
        "List the filters of a charge of a subscription's plan, oldest first.",
        schemas.FilterList,
    ),
    _own_filter.show(
        plan_charges.show_filter, "Show a filter of a charge of a subscription's plan."
    ),
)
