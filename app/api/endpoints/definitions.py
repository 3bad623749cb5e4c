"""Endpoints of metrics, plans, customers and subscriptions."""

from __future__ import annotations

from app.api import customers, metrics, plans, subscriptions, usage
from app.api.endpoints.parameters import PAGE, STATUS, V1
from app.api.router import Endpoint, Parameter
from app.api.schemas import definitions as schemas

METRICS = (
    Endpoint(
        "POST",
        f"{V1}/billable_metrics/evaluate_expression",
        metrics.evaluate_expression,
        "billable_metric",
        "Evaluate an expression on an example event.",
        request=schemas.ExpressionBody,
        response=schemas.ExpressionAnswer,
        errors=(422,),
    ),
    Endpoint(
        "POST",
        f"{V1}/billable_metrics",
        metrics.create,
        "billable_metric",
        "Create a billable metric.",
        request=schemas.MetricBody,
        response=schemas.MetricAnswer,
        errors=(422,),
    ),
    Endpoint(
        "GET",
        f"{V1}/billable_metrics",
        metrics.index,
        "billable_metric",
        "List billable metrics, newest first.",
        response=schemas.MetricList,
        query=PAGE,
    ),
    *(
        Endpoint(
            method,
            f"{V1}/billable_metrics/{{code}}",
            metrics.update,
            "billable_metric",
            "Change a billable metric; absent keys stay as they are.",
            request=schemas.MetricBody,
            response=schemas.MetricAnswer,
            errors=(404, 422),
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "GET",
        f"{V1}/billable_metrics/{{code}}",
        metrics.show,
        "billable_metric",
        "Show a billable metric.",
        response=schemas.MetricAnswer,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{V1}/billable_metrics/{{code}}",
        metrics.delete,
        "billable_metric",
        "Delete a billable metric and its charges.",
        response=schemas.MetricAnswer,
        errors=(404,),
    ),
)

PLANS = (
    Endpoint(
        "POST",
        f"{V1}/plans",
        plans.create,
        "plan",
        "Create a plan.",
        request=schemas.PlanBody,
        response=schemas.PlanAnswer,
        errors=(404, 422),
    ),
    Endpoint(
        "GET",
        f"{V1}/plans",
        plans.index,
        "plan",
        "List plans, newest first.",
        response=schemas.PlanList,
        query=PAGE,
    ),
    *(
        Endpoint(
            method,
            f"{V1}/plans/{{code}}",
            plans.update,
            "plan",
            "Change a plan: charges with an id are updated, without created, absent ones deleted.",
            request=schemas.PlanBody,
            response=schemas.PlanAnswer,
            errors=(404, 422),
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "GET",
        f"{V1}/plans/{{code}}",
        plans.show,
        "plan",
        "Show a plan.",
        response=schemas.PlanAnswer,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{V1}/plans/{{code}}",
        plans.delete,
        "plan",
        "Delete a plan and terminate its subscriptions.",
        response=schemas.PlanAnswer,
        errors=(404,),
    ),
)

CUSTOMERS = (
    Endpoint(
        "POST",
        f"{V1}/customers",
        customers.upsert,
        "customer",
        "Create a customer, or change the one with this external_id.",
        request=schemas.CustomerBody,
        response=schemas.CustomerAnswer,
        errors=(422,),
    ),
    Endpoint(
        "GET",
        f"{V1}/customers",
        customers.index,
        "customer",
        "List customers, newest first.",
        response=schemas.CustomerList,
        query=(*PAGE, Parameter("external_id", "Only the customer with this id.")),
    ),
    Endpoint(
        "GET",
        f"{V1}/customers/{{external_id}}/subscriptions",
        subscriptions.index_of_customer,
        "subscription",
        "List the subscriptions of a customer.",
        response=schemas.SubscriptionList,
        query=(*PAGE, STATUS, Parameter("plan_code", "On this plan.")),
        errors=(404,),
    ),
    Endpoint(
        "GET",
        f"{V1}/customers/{{external_id}}",
        customers.show,
        "customer",
        "Show a customer.",
        response=schemas.CustomerAnswer,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{V1}/customers/{{external_id}}",
        customers.delete,
        "customer",
        "Delete a customer.",
        response=schemas.CustomerAnswer,
        errors=(404,),
    ),
)

SUBSCRIPTIONS = (
    Endpoint(
        "POST",
        f"{V1}/subscriptions",
        subscriptions.create,
        "subscription",
        "Subscribe a customer to a plan, or move the subscription of this external_id to it.",
        request=schemas.SubscriptionBody,
        response=schemas.SubscriptionAnswer,
        errors=(404, 422),
    ),
    Endpoint(
        "GET",
        f"{V1}/subscriptions",
        subscriptions.index,
        "subscription",
        "List subscriptions, newest first.",
        response=schemas.SubscriptionList,
        query=(
            *PAGE,
            STATUS,
            Parameter("external_customer_id", "Of this customer."),
            Parameter("plan_code", "On this plan."),
        ),
    ),
    Endpoint(
        "GET",
        f"{V1}/subscriptions/{{external_id}}/lifetime_usage",
        subscriptions.lifetime_usage,
        "lifetime_usage",
        "Amounts since the subscription began: zeros, as nothing is priced.",
        response=schemas.LifetimeUsageAnswer,
        errors=(404,),
    ),
    Endpoint(
        "PUT",
        f"{V1}/subscriptions/{{external_id}}/lifetime_usage",
        usage.unpriced,
        "lifetime_usage",
        "Not available.",
        errors=(403,),
    ),
    *(
        Endpoint(
            method,
            f"{V1}/subscriptions/{{external_id}}",
            subscriptions.update,
            "subscription",
            "Change name, ending_at and on_termination_invoice; subscription_at while pending.",
            request=schemas.SubscriptionBody,
            response=schemas.SubscriptionAnswer,
            query=(Parameter("status", "The pending one, or the active one."),),
            errors=(404, 422),
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "GET",
        f"{V1}/subscriptions/{{external_id}}",
        subscriptions.show,
        "subscription",
        "Show a subscription.",
        response=schemas.SubscriptionAnswer,
        query=(Parameter("status", "Its status; active by default."),),
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{V1}/subscriptions/{{external_id}}",
        subscriptions.terminate,
        "subscription",
        "Terminate a subscription, or cancel a pending one.",
        response=schemas.SubscriptionAnswer,
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
