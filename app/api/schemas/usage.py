"""Answers of usage: of the running period, of past ones and by windows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.api.schemas.common import ChargeModel, Count, Instant, Meta, Model, Units
from app.definitions.aggregation_types import AggregationType


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


class PresentationRow(Model):
    presentation_by: dict[str, str | None]
    units: str = Field(description="Neither rounded nor clamped.")


class Presented(Figures):
    in_advance_units: Units | None = Field(
        None, description="Of charges paid in advance: what was billed by now, and what is carried."
    )
    presentation_breakdowns: list[PresentationRow] | None = Field(
        description="Parts by the charge's presentation keys; null where there are too many."
    )


class FilterUsage(Presented):
    invoice_display_name: str | None
    values: dict[str, list[str]] | None = Field(description="Null: the default bucket.")


class GroupUsage(Presented):
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


class ChargeUsage(Presented):
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


class Projection(Model):
    """What is added to each charge, filter and group."""

    projected_units: Units = Field(description="By the end of the period; a balance stays.")
    projected_amount_cents: int
    projected_presentation_breakdowns: list[PresentationRow] | None


class ProjectedFilterUsage(FilterUsage, Projection):
    pass


class ProjectedGroupUsage(GroupUsage, Projection):
    filters: list[ProjectedFilterUsage]  # type: ignore[assignment]


class ProjectedChargeUsage(ChargeUsage, Projection):
    filters: list[ProjectedFilterUsage]  # type: ignore[assignment]
    grouped_usage: list[ProjectedGroupUsage]  # type: ignore[assignment]


class ProjectedUsageOutput(UsageOutput):
    projected_amount_cents: int
    charges_usage: list[ProjectedChargeUsage]  # type: ignore[assignment]


class ProjectedUsageAnswer(Model):
    customer_projected_usage: ProjectedUsageOutput


class PastUsageOutput(UsageOutput):
    final: bool = Field(description="No event changes it any more.")


class PastUsageList(Model):
    usage_periods: list[PastUsageOutput]
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
