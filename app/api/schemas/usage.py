"""Answers of usage: of the running period, of past ones and by windows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.api.schemas.base import Meta, Model
from app.api.schemas.fields import Count, Instant, Units
from app.definitions.aggregation_types import AggregationType
from app.definitions.charges import ChargeModel
from app.meter.evidence import WindowName


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


class PublishedFigures(Model):
    revision: Count
    units: Units
    events_count: Count


class PendingFigures(Model):
    cut: Instant = Field(description="When the revision is published.")
    events: int = Field(description="How many events it adds; below 0: takes away.")
    delta_units: Units
    reasons: list[Literal["correction", "definition", "first_record", "late_events"]]


class LiveFigures(Model):
    units: Units
    events_count: Count
    as_of: Instant


class ThreeFigures(Model):
    """What is invoiced, what its next revision adds, and what it will then be."""

    published: PublishedFigures | None = Field(description="Null: not published yet.")
    pending: PendingFigures | None = Field(description="Null: no revision is due.")
    live: LiveFigures


class PastFilterUsage(FilterUsage, ThreeFigures):
    pass


class PastGroupUsage(GroupUsage, ThreeFigures):
    filters: list[PastFilterUsage]  # type: ignore[assignment]


class PastChargeUsage(ChargeUsage, ThreeFigures):
    filters: list[PastFilterUsage]  # type: ignore[assignment]
    grouped_usage: list[PastGroupUsage]  # type: ignore[assignment]


class PastUsageOutput(UsageOutput):
    charges_usage: list[PastChargeUsage]  # type: ignore[assignment]
    state: Literal["due", "published", "final", "not_billed"] = Field(
        description="due: ended, its first cut is to come; final: no event changes it any more; "
        "not_billed: of a subscription that nobody defined."
    )
    final: bool = Field(description="Whether the state is final.")
    due_at: Instant | None = Field(description="Its first cut; null: it has none.")
    closed_at: Instant | None = Field(description="Its newest cut that published something.")
    final_after: Instant | None


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
    window: WindowName
    timezone: str
    charges: list[ChargeSeries]
    as_of: AsOfOutput


class UsageSeriesAnswer(Model):
    usage_series: UsageSeriesOutput


class AnalyticsUsage(Model):
    """What one window added to the usage of a metric."""

    organization_id: str
    start_of_period_dt: str = Field(description="First day of the window, as YYYY-MM-DD.")
    end_of_period_dt: str = Field(description="Its last day.")
    amount_currency: str
    amount_cents: int
    billable_metric_code: str
    units: str
    is_billable_metric_deleted: bool


class AnalyticsAnswer(Model):
    usages: list[AnalyticsUsage]
