"""Requests and answers of metrics, plans, customers and subscriptions."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from app.api.schemas.base import Meta, Model
from app.api.schemas.fields import (
    Count,
    Instant,
    Numeric,
    OptionalText,
    Properties,
    Text,
)
from app.billing_periods.grid import BillingTime, Interval
from app.definitions.aggregation_types import AggregationType
from app.definitions.charges import ChargeModel
from app.definitions.model import (
    OnTermination,
    RoundingFunction,
    SubscriptionStatus,
    WeightedInterval,
)

# Billable metrics.


class MetricFilterBody(Model):
    key: Text
    values: list[str]


class LegacyGroup(Model):
    key: Text
    value: list[Any] | None = None
    values: list[Any] | None = None


class MetricInput(Model):
    name: OptionalText = None
    code: OptionalText = None
    description: OptionalText = None
    aggregation_type: AggregationType | None = None
    field_name: OptionalText = None
    expression: OptionalText = None
    recurring: bool | None = None
    rounding_function: RoundingFunction | None = None
    rounding_precision: int | None = None
    weighted_interval: WeightedInterval | None = None
    filters: list[MetricFilterBody] | None = None
    group: LegacyGroup | None = Field(None, description="Older spelling of `filters`.")


class MetricBody(Model):
    billable_metric: MetricInput


class MetricOutput(Model):
    lago_id: str
    name: str
    code: str
    description: str | None
    aggregation_type: AggregationType
    field_name: str | None
    expression: str | None
    recurring: bool
    rounding_function: RoundingFunction | None
    rounding_precision: int | None
    weighted_interval: WeightedInterval | None
    created_at: Instant
    filters: list[MetricFilterBody]
    active_subscriptions_count: Count
    draft_invoices_count: Count
    plans_count: Count


class MetricAnswer(Model):
    billable_metric: MetricOutput


class MetricList(Model):
    billable_metrics: list[MetricOutput]
    meta: Meta


class ExampleEvent(Model):
    code: str | None = None
    timestamp: Numeric | None = None
    properties: Properties | None = None


class ExpressionBody(Model):
    expression: str
    event: ExampleEvent | None = None


class ExpressionResult(Model):
    value: str


class ExpressionAnswer(Model):
    expression_result: ExpressionResult


# Plans.


class ChargeFilterBody(Model):
    values: dict[str, list[str]]
    invoice_display_name: OptionalText = None
    properties: Properties | None = None


class ChargeInput(Model):
    id: OptionalText = None
    billable_metric_id: OptionalText = None
    code: OptionalText = None
    charge_model: ChargeModel
    invoice_display_name: OptionalText = None
    pay_in_advance: bool | None = None
    prorated: bool | None = None
    invoiceable: bool | None = None
    min_amount_cents: int | None = None
    properties: Properties | None = None
    filters: list[ChargeFilterBody] | None = None


class PlanInput(Model):
    name: OptionalText = None
    code: OptionalText = None
    interval: Interval | None = None
    amount_cents: int | None = None
    amount_currency: OptionalText = None
    pay_in_advance: bool | None = None
    description: OptionalText = None
    invoice_display_name: OptionalText = None
    trial_period: float | None = None
    bill_charges_monthly: bool | None = None
    charges: list[ChargeInput] | None = None
    cascade_updates: bool | None = Field(
        None, description="PUT only: the child plans of subscriptions that have not ended follow."
    )


class PlanBody(Model):
    plan: PlanInput


class ChargeOutput(Model):
    lago_id: str
    lago_billable_metric_id: str
    billable_metric_code: str
    code: str
    charge_model: ChargeModel
    created_at: Instant
    pay_in_advance: bool
    prorated: bool
    properties: Properties
    filters: list[ChargeFilterBody]


class PlanOutput(Model):
    lago_id: str
    name: str
    code: str
    interval: Interval
    amount_cents: int
    amount_currency: str
    created_at: Instant
    charges: list[ChargeOutput]
    parent_id: str | None


class PlanAnswer(Model):
    plan: PlanOutput


class PlanList(Model):
    plans: list[PlanOutput]
    meta: Meta


# Customers.


class BillingConfiguration(Model):
    invoice_grace_period: int | None = Field(None, description="Days.")


class CustomerInput(Model):
    external_id: str | int | float | None = None
    name: OptionalText = None
    currency: OptionalText = None
    timezone: OptionalText = Field(None, description="IANA name.")
    billing_configuration: BillingConfiguration | None = None


class CustomerBody(Model):
    customer: CustomerInput


class CustomerOutput(Model):
    lago_id: str
    external_id: str
    name: str | None
    currency: str | None
    timezone: str | None
    applicable_timezone: str
    created_at: Instant
    updated_at: Instant


class CustomerAnswer(Model):
    customer: CustomerOutput


class CustomerList(Model):
    customers: list[CustomerOutput]
    meta: Meta


# Subscriptions.


class ChargeOverride(Model):
    id: OptionalText = Field(
        None, description="Of the plan's charge; of the child's, once there is one."
    )
    properties: Properties | None = None
    filters: list[ChargeFilterBody] | None = None
    min_amount_cents: int | None = None
    invoice_display_name: OptionalText = None


class PlanOverrides(Model):
    amount_cents: int | None = None
    amount_currency: OptionalText = None
    name: OptionalText = None
    description: OptionalText = None
    invoice_display_name: OptionalText = None
    trial_period: float | None = None
    charges: list[ChargeOverride] | None = None


class SubscriptionInput(Model):
    external_customer_id: str | int | float | None = None
    plan_code: OptionalText = None
    external_id: str | int | float | None = None
    name: str | int | float | None = None
    billing_time: BillingTime | None = None
    subscription_at: OptionalText = Field(None, description="ISO 8601; default now.")
    ending_at: OptionalText = Field(None, description="ISO 8601.")
    on_termination_invoice: OnTermination | None = Field(
        None,
        description="PUT only: `skip` publishes nothing of the period that a termination ends.",
    )
    plan_overrides: PlanOverrides | None = Field(
        None, description="Terms of its own: they make a child of the plan."
    )


class SubscriptionBody(Model):
    subscription: SubscriptionInput


class SubscriptionOutput(Model):
    lago_id: str
    external_id: str
    external_customer_id: str
    plan_code: str
    status: SubscriptionStatus
    billing_time: BillingTime
    name: str | None
    subscription_at: Instant
    started_at: Instant | None
    ending_at: Instant | None
    terminated_at: Instant | None
    canceled_at: Instant | None
    created_at: Instant
    on_termination_invoice: OnTermination


class SubscriptionAnswer(Model):
    subscription: SubscriptionOutput


class SubscriptionList(Model):
    subscriptions: list[SubscriptionOutput]
    meta: Meta


class LifetimeUsageOutput(Model):
    lago_id: str
    lago_subscription_id: str
    external_subscription_id: str
    external_historical_usage_amount_cents: int
    invoiced_usage_amount_cents: int
    current_usage_amount_cents: int
    from_datetime: Instant
    to_datetime: Instant


class LifetimeUsageAnswer(Model):
    lifetime_usage: LifetimeUsageOutput
