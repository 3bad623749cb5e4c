"""Requests and answers of events, their corrections and what no charge counted."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from app.api.schemas.base import Meta, Model
from app.api.schemas.fields import Count, Instant, Numeric, OptionalText, Properties, Text
from app.wire.events import CorrectionOperation


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
    operation: CorrectionOperation
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
    operation: CorrectionOperation


class CorrectionAnswer(Model):
    correction: CorrectionOutput


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
    since: Instant | None = Field(
        description="A worker knows of events it folded itself: what was appended up to here may "
        "be missing in the list. null: nothing is."
    )


class FeeItem(Model):
    type: Literal["charge"]
    code: str
    name: str
    description: str | None
    invoice_display_name: str
    filters: dict[str, list[str]] | None
    filter_invoice_display_name: str | None
    lago_item_id: str
    item_type: Literal["BillableMetric"]
    grouped_by: dict[str, str | None]


class Fee(Model):
    """What an event would bill in one cell; amounts are 0."""

    lago_id: None
    lago_charge_id: str
    lago_charge_filter_id: str | None
    lago_fixed_charge_id: None
    lago_invoice_id: None
    lago_true_up_fee_id: None
    lago_true_up_parent_fee_id: None
    lago_original_fee_id: None
    lago_subscription_id: str
    external_subscription_id: str
    external_customer_id: str
    item: FeeItem
    pay_in_advance: bool
    invoiceable: bool
    amount_cents: int
    amount_currency: str
    precise_amount: str
    precise_total_amount: str
    precise_unit_amount: str
    precise_coupons_amount_cents: str
    sub_total_excluding_taxes_amount_cents: int
    sub_total_excluding_taxes_precise_amount_cents: str
    taxes_amount_cents: int
    taxes_precise_amount: str
    taxes_rate: float
    total_amount_cents: int
    total_amount_currency: str
    units: str
    total_aggregated_units: None
    events_count: Count
    payment_status: Literal["pending"]
    description: None
    created_at: None
    succeeded_at: None
    failed_at: None
    refunded_at: None
    amount_details: dict[str, Any]
    self_billed: bool
    pricing_unit_details: None
    presentation_breakdowns: list[Any]
    applied_taxes: list[Any]
    from_date: Instant
    to_date: Instant
    event_transaction_id: str
    lago_customer_id: str | None


class FeesAnswer(Model):
    fees: list[Fee]
