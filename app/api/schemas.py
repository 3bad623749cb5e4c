"""The API's requests and answers as models: what `/openapi.json` is generated from.

They describe; what is accepted is decided by Lago's rules where each request is handled.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.billing_periods.grid import BillingTime, Interval
from app.definitions.aggregation_types import AggregationType

Text = Annotated[str, Field(min_length=1)]
OptionalText = str | None
Instant = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$")]
Units = Annotated[str, Field(pattern=r"^\d+\.\d+$")]
Count = Annotated[int, Field(ge=0)]
Numeric = int | float | str
Properties = dict[str, Any]
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


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")


class Error(Model):
    status: int
    error: str
    code: str | None = None
    error_details: Any = None


class Meta(Model):
    current_page: Count
    next_page: int | None
    prev_page: int | None
    total_pages: Count
    total_count: Count


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
    rounding_function: Literal["round", "ceil", "floor"] | None = None
    rounding_precision: int | None = None
    weighted_interval: Literal["seconds"] | None = None
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
    rounding_function: Literal["round", "ceil", "floor"] | None
    rounding_precision: int | None
    weighted_interval: Literal["seconds"] | None
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


# Events.


class EventInput(Model):
    transaction_id: str | int | float
    code: str | int | float
    external_subscription_id: str | int | float
    timestamp: Numeric | None = Field(None, description="Unix seconds; absent: reception time.")
    properties: Properties | None = None
    precise_total_amount_cents: Numeric | None = None


class EventBody(Model):
    event: EventInput


class BatchEventBody(Model):
    events: list[EventInput] = Field(min_length=1)


class EventOutput(Model):
    lago_id: str
    transaction_id: str
    lago_customer_id: str | None
    code: str
    timestamp: Instant
    precise_total_amount_cents: str | None
    properties: Properties
    lago_subscription_id: str | None
    external_subscription_id: str
    created_at: Instant


class EventAnswer(Model):
    event: EventOutput


class BatchAnswer(Model):
    events: list[EventOutput]
    error_details: dict[str, Any] | None = Field(
        None, description="By index, the events not taken: only with `partial` or after a race."
    )


class CorrectionInput(Model):
    external_subscription_id: Text
    transaction_id: Text
    operation: Literal["cancel", "amend"]
    correction_id: OptionalText = Field(
        None, description="Sent again, the same one changes nothing; made up when absent."
    )
    event: EventInput | None = Field(None, description="The whole new event, for amend.")


class CorrectionBody(Model):
    correction: CorrectionInput


class CorrectionOutput(Model):
    correction_id: str
    external_subscription_id: str
    transaction_id: str
    operation: Literal["cancel", "amend"]


class CorrectionAnswer(Model):
    correction: CorrectionOutput


class HistoryInput(Model):
    billable_metric_codes: list[str] | None = Field(
        None, description="Charges of every metric that has or had one of these codes."
    )
    charge_ids: list[str] | None = None
    from_: OptionalText = Field(
        None, alias="from", description="ISO 8601: of periods that start from here on; absent: all."
    )
    to: OptionalText = Field(
        None, description="ISO 8601: of periods that start before it; absent: now."
    )


class HistoryBody(Model):
    history: HistoryInput


class HistoryOutput(Model):
    billable_metric_ids: list[str]
    charge_ids: list[str]
    from_: Instant = Field(alias="from")
    to: Instant
    definitions_offset: int


class HistoryAnswer(Model):
    history: HistoryOutput


class EventList(Model):
    events: list[EventOutput]
    meta: Meta


class NotCountedSample(Model):
    transaction_id: str
    external_subscription_id: str
    timestamp: Instant


class NotCountedKind(Model):
    reason: str = Field(description="`other`: of reasons and codes beyond 1,000 a partition.")
    code: str
    events_count: Count = Field(
        description="Once for each charge that asks, since its worker has the partition."
    )
    first_at: Instant = Field(description="When the first was appended.")
    last_at: Instant
    samples: list[NotCountedSample] = Field(description="Up to ten.")


class NotCountedList(Model):
    not_counted: list[NotCountedKind]


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


class SubscriptionInput(Model):
    external_customer_id: str | int | float | None = None
    plan_code: OptionalText = None
    external_id: str | int | float | None = None
    name: str | int | float | None = None
    billing_time: BillingTime | None = None
    subscription_at: OptionalText = Field(None, description="ISO 8601; default now.")
    ending_at: OptionalText = Field(None, description="ISO 8601.")


class SubscriptionBody(Model):
    subscription: SubscriptionInput


class SubscriptionOutput(Model):
    lago_id: str
    external_id: str
    external_customer_id: str
    plan_code: str
    status: Literal["pending", "active", "terminated", "canceled"]
    billing_time: BillingTime
    name: str | None
    subscription_at: Instant
    started_at: Instant | None
    ending_at: Instant | None
    terminated_at: Instant | None
    canceled_at: Instant | None
    created_at: Instant


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


# Usage.


class AsOfOutput(Model):
    append_time: Instant
    partition: Count
    raw_offset: Count
    rekeyed_offset: Count


class Figures(Model):
    units: Units
    total_aggregated_units: str
    events_count: Count
    amount_cents: int
    pricing_unit_details: None


class FilterUsage(Figures):
    invoice_display_name: str | None
    values: dict[str, list[str]] | None = Field(description="Null: the default bucket.")


class GroupUsage(Figures):
    grouped_by: dict[str, str | None]
    filters: list[FilterUsage]


class ChargeOfUsage(Model):
    lago_id: str
    code: str
    charge_model: ChargeModel
    invoice_display_name: str | None


class MetricOfUsage(Model):
    lago_id: str
    name: str
    code: str
    aggregation_type: AggregationType


class ChargeUsage(Figures):
    amount_currency: str
    charge: ChargeOfUsage
    billable_metric: MetricOfUsage
    filters: list[FilterUsage]
    grouped_usage: list[GroupUsage]
    units_so_far: Units | None = Field(
        None, description="weighted_sum only: what accrued by now; units holds to the end."
    )


class UsageOutput(Model):
    from_datetime: Instant
    to_datetime: Instant
    issuing_date: str
    currency: str
    lago_invoice_id: None
    amount_cents: int
    taxes_amount_cents: int
    total_amount_cents: int
    charges_usage: list[ChargeUsage]
    as_of: AsOfOutput = Field(description="How far these figures are folded: next offsets.")
    stale: bool = Field(description="A changed definition is being folded in.")


class UsageAnswer(Model):
    customer_usage: UsageOutput


class PastUsageOutput(UsageOutput):
    final: bool = Field(description="No event changes it any more.")


class PastUsageList(Model):
    usage_periods: list[PastUsageOutput]
    meta: Meta


# Proofs.


class Position(Model):
    append_time: Instant
    partition: Count
    offset: Count
    index: Count = Field(description="Within a record that holds an array.")


class CountingPeriod(Model):
    from_: Instant = Field(alias="from")
    until: Instant = Field(description="Exclusive.")


class ChargeOutcome(Model):
    lago_charge_id: str
    charge_code: str
    billable_metric_code: str
    counted: bool
    reason: str | None = Field(description="Why it is ignored.")
    period: CountingPeriod | None = Field(description="Null: history before the charge.")
    filters: dict[str, list[str]] | None
    grouped_by: dict[str, str | None] | None
    value: str | None = Field(description="As folded; empty for a count.")
    counts_from_cut: Instant | None = Field(description="Null: it was in time.")


class EventFate(Model):
    transaction_id: str
    external_subscription_id: str
    code: str
    timestamp: Instant
    position: Position
    rekeyed_offset: int | None
    status: Literal["counted", "ignored", "refused", "duplicate", "cancelled", "lost"]
    reason: str | None
    amended: bool
    duplicate_of: Position | None
    charges: list[ChargeOutcome]


class TraceOutput(Model):
    transaction_id: str
    arrivals: list[EventFate]


class TraceAnswer(Model):
    trace: TraceOutput


class ExplainedFigures(Model):
    units: Units
    prorated_units: str | None
    total_aggregated_units: str
    precise_total_amount_cents: str | None
    events_count: Count
    digest: str = Field(pattern="^[0-9a-f]{32}$")


class PublishedFigures(ExplainedFigures):
    revision: Count


class ExplainedCell(Model):
    lago_charge_id: str
    charge_code: str
    filters: dict[str, list[str]] | None
    grouped_by: dict[str, str | None] | None
    live: ExplainedFigures
    recomputed: ExplainedFigures = Field(description="From the listed events alone.")
    equal: bool
    published: PublishedFigures | None


class ExplanationOutput(Model):
    external_subscription_id: str
    billable_metric_code: str
    from_datetime: Instant
    to_datetime: Instant
    timezone: str
    equal: bool
    cells: list[ExplainedCell]
    counts: dict[str, Count] = Field(description="All events by status, listed or not.")
    events: list[EventFate] = Field(description="One page of them, in order of position.")
    as_of: AsOfOutput
    stale: bool


class ExplanationAnswer(Model):
    explanation: ExplanationOutput
    meta: Meta


class WindowUsage(Model):
    from_: Instant = Field(alias="from")
    until: Instant = Field(description="Exclusive.")
    units: Units
    total_aggregated_units: str
    events_count: Count


class ChargeSeries(Model):
    lago_charge_id: str
    charge_code: str
    values: list[WindowUsage]


class UsageSeriesOutput(Model):
    external_subscription_id: str
    billable_metric_code: str
    aggregation_type: AggregationType | None
    window: Literal["minute", "hour", "day", "month"]
    timezone: str
    charges: list[ChargeSeries]
    as_of: AsOfOutput


class UsageSeriesAnswer(Model):
    usage_series: UsageSeriesOutput


# The rest.


class OrganizationOutput(Model):
    lago_id: str
    name: str
    created_at: Instant | None


class OrganizationAnswer(Model):
    organization: OrganizationOutput


class Status(Model):
    status: str
