"""The records of the topics as models: what `/asyncapi.json` is generated from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas.base import Meta, Model
from app.api.schemas.fields import Count, Instant, Numeric, Properties, Text, Units
from app.definitions.aggregation_types import AggregationType
from app.definitions.charges import ChargeModel
from app.definitions.model import AlertType, ClosingReason
from app.wire.events import CorrectionOperation
from app.wire.instant_records import InstantReason, InstantType
from app.wire.usage_records import RevisionReason

Digest = str


class RawEvent(Model):
    """A product event, in Lago's raw format; a record may also hold an array of them."""

    organization_id: str | None = Field(None, description="Absent: the default organization.")
    external_subscription_id: Text
    transaction_id: Text
    code: Text
    timestamp: Numeric | None = Field(
        None,
        description="Unix seconds as a number or plain decimal text, or RFC 3339 with a zone; "
        "absent: the append time.",
    )
    properties: Properties | None = None
    precise_total_amount_cents: Numeric | None = None


class CloudEvent(Model):
    """The same event as a CloudEvent, in structured or binary mode."""

    specversion: Literal["1.0"]
    id: Text = Field(description="The transaction_id.")
    type: Text = Field(description="The code.")
    subject: Text = Field(description="The external_subscription_id.")
    source: str
    time: str | None = None
    organizationid: str | None = None
    data: Properties | None = None
    data_base64: str | None = Field(None, description="The same JSON in base64, instead of data.")


class Correction(Model):
    """Cancels or amends an event that was sent before, or is yet to come."""

    organization_id: str | None = None
    external_subscription_id: Text
    transaction_id: Text
    operation: CorrectionOperation
    event: RawEvent | None = Field(None, description="The whole event, for an amend.")
    correction_id: Text


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class RecordPeriod(Record):
    model_config = ConfigDict(populate_by_name=True)

    from_: Instant = Field(alias="from")
    to: Instant
    timezone: str
    charges_duration_in_days: Count


SINCE_2 = ("billing", "billed_in_advance", "presentation_breakdowns", "per_event")
CHARGE_SINCE_2 = ("lago_parent_id", "invoiceable", "min_amount_cents")
"""Fields that records of schema version 1 lack."""


def _charge_of_either(schema: dict[str, Any]) -> None:
    schema["required"] = [name for name in schema["required"] if name not in CHARGE_SINCE_2]


def _of_either(schema: dict[str, Any]) -> None:
    """Ask of records of version 2 alone for what records of version 1 lack."""
    schema["required"] = [name for name in schema["required"] if name not in SINCE_2]
    schema["if"] = {"properties": {"schema_version": {"const": 1}}}
    charge = {"required": list(CHARGE_SINCE_2)}
    schema["else"] = {"required": list(SINCE_2), "properties": {"charge": charge}}


class RecordCharge(Record):
    model_config = ConfigDict(json_schema_extra=_charge_of_either)

    lago_id: str
    lago_parent_id: str | None
    code: str
    charge_model: ChargeModel
    pay_in_advance: bool
    invoiceable: bool
    prorated: bool
    min_amount_cents: int
    properties: Properties
    filter_properties: Properties | None


class RecordMetric(Record):
    lago_id: str
    code: str
    name: str
    aggregation_type: AggregationType
    recurring: bool


class Envelope(Record):
    schema_version: int | str
    id: str = Field(description="UUIDv5 of cell_id and revision: the same whoever computes it.")
    cell_id: str
    revision: Count
    organization_id: str
    external_customer_id: str
    external_subscription_id: str
    lago_subscription_id: str
    plan_code: str


class PresentationRow(Record):
    """The part of a cell that belongs to some values of the charge's presentation keys."""

    presentation_by: dict[str, str | None]
    units: str


class PerEventFigures(Record):
    """Figures of single events, for prices that need them; a list that no price needs is null."""

    count: Count
    values: list[str] | None
    prorated_values: list[str] | None
    running_total: list[str] | None


class UsageRecord(Envelope):
    """One cell of a closed period: one charge, filter and group."""

    model_config = ConfigDict(json_schema_extra=_of_either)

    type: Literal["usage.recorded", "usage.revised"]
    lago_charge_id: str
    lago_charge_filter_id: str | None
    charge: RecordCharge
    amount_currency: str
    billable_metric: RecordMetric
    filters: dict[str, list[str]] | None
    grouped_by: dict[str, str | None] | None
    period: RecordPeriod
    units: Units
    prorated_units: Units | None
    total_aggregated_units: str
    precise_total_amount_cents: str | None
    events_count: Count
    previous_units: Units | None
    delta_units: str | None
    billing: Literal["arrears", "none", "renewal"]
    billed_in_advance: str | None
    presentation_breakdowns: list[PresentationRow] | None
    per_event: PerEventFigures | None
    closing_reason: ClosingReason
    revision_reason: RevisionReason | None
    closed_at: Instant
    final_after: Instant
    definitions_offset: int
    digest: Digest


class InstantPosition(Record):
    """The position of an event: what orders all events."""

    append_time: Instant
    partition: Count
    offset: Count
    index: Count


class InstantRecord(Envelope):
    """What one event of a charge paid in advance bills, in one cell."""

    instant_id: str = Field(description="UUIDv5 of cell_id and transaction_id.")
    type: InstantType
    lago_charge_id: str
    lago_charge_filter_id: str | None
    charge: RecordCharge
    amount_currency: str
    billable_metric: RecordMetric
    filters: dict[str, list[str]] | None
    grouped_by: dict[str, str | None] | None
    period: RecordPeriod
    event_transaction_id: str
    event_timestamp: Instant
    position: InstantPosition
    units: Units
    prorated_units: Units | None
    applied_units: Units
    units_before: str
    units_after: str
    current_units: str
    peak_units: str
    presentation_by: dict[str, str | None] | None
    precise_total_amount_cents: str | None
    events_count: Count
    previous_units: Units | None
    delta_units: str | None
    revision_reason: InstantReason | None
    closed_at: Instant
    definitions_offset: int


class DailyRecord(Record):
    """What a cell has at the end of a local day, and what that day added."""

    schema_version: int | str
    id: str = Field(description="UUIDv5 of cell_id and day: the same whoever computes it.")
    cell_id: str
    type: Literal["usage.daily"]
    day: Text = Field(description="Local date of the customer, as YYYY-MM-DD.")
    organization_id: str
    external_customer_id: str
    external_subscription_id: str
    lago_subscription_id: str
    plan_code: str
    lago_charge_id: str
    lago_charge_filter_id: str | None
    charge: RecordCharge
    amount_currency: str
    billable_metric: RecordMetric
    filters: dict[str, list[str]] | None
    grouped_by: dict[str, str | None] | None
    period: RecordPeriod
    units: Units
    prorated_units: Units | None
    total_aggregated_units: str
    events_count: Count
    delta_units: str
    delta_events_count: int
    presentation_breakdowns: list[PresentationRow] | None
    closed_at: Instant
    definitions_offset: int


class PeriodCompleted(Envelope):
    """Ends what a cut published of a period: how many cells there are, and their digest."""

    type: Literal["period.completed"]
    period: RecordPeriod
    records_count: Count
    closing_reason: ClosingReason
    closed_at: Instant
    final_after: Instant
    definitions_offset: int
    digest: Digest


class UsageRecordsAnswer(Model):
    usage_records: list[UsageRecord | PeriodCompleted | InstantRecord]
    meta: Meta


class CrossedThreshold(Model):
    code: str | None
    value: str
    recurring: bool


class TriggeredAlert(Model):
    """An alert, and what its metric crossed on the way from the previous value."""

    lago_id: str
    lago_organization_id: str
    lago_alert_id: str
    lago_subscription_id: str
    external_subscription_id: str
    lago_wallet_id: None
    external_customer_id: str
    billable_metric_code: str
    alert_name: str | None
    alert_code: str
    alert_type: AlertType
    current_value: str
    previous_value: str
    crossed_thresholds: list[CrossedThreshold]
    triggered_at: Instant
    subscription_external_id: str
    customer_external_id: str


class AlertTriggered(Model):
    """The body of Lago's webhook."""

    webhook_type: Literal["alert.triggered"]
    object_type: Literal["triggered_alert"]
    organization_id: str
    triggered_alert: TriggeredAlert


class UsageChanged(Model):
    """Some usage of a subscription has changed since the message before; it tells no figure."""

    schema_version: Literal[2]
    id: str
    type: Literal["usage.changed"]
    organization_id: str
    external_customer_id: str
    external_subscription_id: str
    lago_subscription_id: str
    codes: list[str] = Field(description="Codes of the metrics, sorted.")
    as_of: Instant


class DeadLetterHeaders(BaseModel):
    """Why, and where from."""

    model_config = ConfigDict(populate_by_name=True, defer_build=True)

    error_code: str = Field(alias="meter-error-code")
    error_message: str = Field(alias="meter-error-message")
    source_topic: str = Field(alias="meter-source-topic")
    source_partition: str = Field(alias="meter-source-partition")
    source_offset: str = Field(alias="meter-source-offset")
    source_index: str = Field(alias="meter-source-index")
    failed_at: str = Field(alias="meter-failed-at")
    left_out: str | None = Field(
        None,
        alias="meter-left-out",
        description="Which of key, headers and value only the raw record has whole, for size.",
    )
    replayed: str | None = Field(
        None,
        alias="meter-replayed",
        description="Of one that was replayed: place of the letter it was made of, and its code.",
    )


class Definition(Model):
    """A command of the definitions log."""

    type: str
    id: str
    organization_id: str
    payload: dict[str, Any]
