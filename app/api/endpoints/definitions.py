"""Endpoints of metrics, plans, customers and subscriptions."""

from __future__ import annotations

from app.api.answering.router import Endpoint, Parameter
from app.api.definitions import customers, metrics, plans, subscriptions
from app.api.endpoints.parameters import BOOLEAN, PAGE, STATUS, V1
from app.api.endpoints.resource import Resource, unpriced
from app.api.schemas import definitions as schemas

_metric = Resource("billable_metric", f"{V1}/billable_metrics", "code", schemas.MetricAnswer)
_plan = Resource("plan", f"{V1}/plans", "code", schemas.PlanAnswer)
_customer = Resource("customer", f"{V1}/customers", "external_id", schemas.CustomerAnswer)
_subscription = Resource(
    "subscription", f"{V1}/subscriptions", "external_id", schemas.SubscriptionAnswer
)

_TEXTS = {"type": "array", "items": {"type": "string"}}
_ENTITIES = Parameter("billing_entity_codes[]", "Of these billing entities: `default`.", _TEXTS)
_SELECTED_CUSTOMERS = (
    Parameter("external_id", "Only the customer with this id."),
    Parameter("search_term", "Part of a name, of the external_id or of the email, in any case."),
    *(
        Parameter(f"{name}[]", f"With one of these {words}.", _TEXTS)
        for name, words in (
            ("countries", "countries"),
            ("states", "states"),
            ("zipcodes", "zip codes"),
            ("currencies", "currencies"),
            ("account_type", "account types"),
        )
    ),
    Parameter("customer_type", "company or individual."),
    Parameter("has_customer_type", "With a customer_type, or without.", BOOLEAN),
    Parameter("has_tax_identification_number", "With a number, or without.", BOOLEAN),
    Parameter("metadata[key]", "With this value of that key; empty: without the key."),
    _ENTITIES,
)
_SELECTED_SUBSCRIPTIONS = (
    Parameter("search", "Part of the external_id, of the customer's or of the name, in any case."),
    Parameter("external_id", "Of this external_id."),
    Parameter("plan_code", "On this plan."),
    Parameter("overridden", "With a plan of their own, or without.", BOOLEAN),
    Parameter("currency", "On a plan in this currency."),
    _ENTITIES,
)

METRICS = (
    Endpoint(
        f"POST {V1}/billable_metrics/evaluate_expression",
        metrics.evaluate_expression,
        "billable_metric",
        "Evaluate an expression on an example event.",
        request=schemas.ExpressionBody,
        response=schemas.ExpressionAnswer,
        errors=(422,),
    ),
    _metric.create(metrics.create, "Create a billable metric.", schemas.MetricBody, errors=(422,)),
    _metric.list(metrics.index, "List billable metrics, newest first.", schemas.MetricList),
    *_metric.change(
        metrics.update,
        "Change a billable metric; absent keys stay as they are.",
        schemas.MetricBody,
    ),
    _metric.show(metrics.show, "Show a billable metric."),
    _metric.delete(metrics.delete, "Delete a billable metric and its charges."),
)

PLANS = (
    _plan.create(plans.create, "Create a plan.", schemas.PlanBody),
    _plan.list(plans.index, "List plans, newest first.", schemas.PlanList),
    *_plan.change(
        plans.update,
        "Change a plan: charges with an id are updated, without created, absent ones deleted.",
        schemas.PlanBody,
    ),
    _plan.show(plans.show, "Show a plan."),
    _plan.delete(plans.delete, "Delete a plan and terminate its subscriptions."),
)

CUSTOMERS = (
    _customer.create(
        customers.upsert,
        "Create a customer, or change the one with this external_id.",
        schemas.CustomerBody,
        errors=(422,),
    ),
    _customer.list(
        customers.index,
        "List customers, newest first.",
        schemas.CustomerList,
        query=_SELECTED_CUSTOMERS,
        errors=(404, 422),
    ),
    Endpoint(
        f"GET {V1}/customers/{{external_id}}/subscriptions",
        subscriptions.index_of_customer,
        "subscription",
        "List the subscriptions of a customer.",
        response=schemas.SubscriptionList,
        query=(*PAGE, STATUS, *_SELECTED_SUBSCRIPTIONS),
        errors=(404,),
    ),
    _customer.show(customers.show, "Show a customer."),
    _customer.delete(customers.delete, "Delete a customer."),
)

SUBSCRIPTIONS = (
    _subscription.create(
        subscriptions.create,
        "Subscribe a customer to a plan, or move the subscription of this external_id to it.",
        schemas.SubscriptionBody,
    ),
    _subscription.list(
        subscriptions.index,
        "List subscriptions, newest first.",
        schemas.SubscriptionList,
        query=(
            STATUS,
            Parameter("external_customer_id", "Of this customer."),
            *_SELECTED_SUBSCRIPTIONS,
        ),
        errors=(404,),
    ),
    Endpoint(
        f"GET {V1}/subscriptions/{{external_id}}/lifetime_usage",
        subscriptions.lifetime_usage,
        "lifetime_usage",
        "Amounts since the subscription began: zeros, as nothing is priced.",
        response=schemas.LifetimeUsageAnswer,
        errors=(404,),
    ),
    unpriced(
        f"PUT {V1}/subscriptions/{{external_id}}/lifetime_usage", "lifetime_usage", "Not available."
    ),
    *_subscription.change(
        subscriptions.update,
        "Change name, ending_at and on_termination_invoice; subscription_at while pending.",
        schemas.SubscriptionBody,
        query=(Parameter("status", "The pending one, or the active one."),),
    ),
    _subscription.show(
        subscriptions.show,
        "Show a subscription.",
        query=(Parameter("status", "Its status; active by default."),),
    ),
    _subscription.delete(
        subscriptions.terminate,
        "Terminate a subscription, or cancel a pending one.",
        query=(
            Parameter("status", "`pending` cancels the pending one."),
            Parameter(
                "on_termination_invoice",
                "`skip` publishes nothing of the running period; by default as kept, `generate`.",
                {"type": "string", "enum": ["generate", "skip"]},
            ),
        ),
        errors=(404, 422),
    ),
)
