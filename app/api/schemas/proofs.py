"""Answers that prove a figure: the fate of an event and the events behind a figure."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from app.api.schemas.base import Meta, Model
from app.api.schemas.fields import Count, Instant, Units
from app.api.schemas.usage import AsOfOutput, PendingFigures
from app.meter import evidence


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


class EventInstant(Model):
    instant_id: str
    id: str = Field(description="Of its newest record on usage-records.")
    cell_id: str
    lago_charge_id: str
    revision: Count
    units: Units
    prorated_units: str | None = Field(description="Null: `units` are billed.")
    events_count: Literal[0, 1] = Field(description="0: a correction took the event out.")
    closed_at: Instant


class EventFate(Model):
    transaction_id: str
    external_subscription_id: str
    code: str
    timestamp: Instant
    position: Position
    rekeyed_offset: int | None
    status: evidence.Status
    reason: str | None
    amended: bool
    corrected_by: Position | None = Field(
        description="Of the newest correction that is folded; Meter-Position said it."
    )
    duplicate_of: Position | None
    charges: list[ChargeOutcome]
    instants: list[EventInstant] = Field(description="What charges paid in advance billed for it.")


class TraceOutput(Model):
    transaction_id: str
    arrivals: list[EventFate]


class TraceAnswer(Model):
    trace: TraceOutput


class VerdictInput(Model):
    """An event as its producer knows it; what is not given is not compared."""

    transaction_id: str
    external_subscription_id: str
    code: str | None = None
    timestamp: str | int | float | None = None
    properties: dict[str, Any] | None = None


class VerdictsBody(Model):
    events: list[VerdictInput] = Field(min_length=1)


class Verdict(Model):
    transaction_id: str
    external_subscription_id: str
    verdict: Literal[
        "counted", "not_counted", "refused", "cancelled", "lost", "differs", "missing"
    ] = Field(description="missing: no event of this id was folded, or it is malformed.")
    reason: str | None = Field(
        description="Why it does not count. `later_periods`: it came too late for this period of a "
        "balance, and counts in later ones."
    )
    differs: list[str] = Field(description="Fields that came otherwise than they are given.")
    event: EventFate | None = Field(description="The event that came first; null: missing.")


class VerdictsAnswer(Model):
    verdicts: list[Verdict]


class ExplainedFigures(Model):
    units: Units
    prorated_units: str | None
    total_aggregated_units: str
    precise_total_amount_cents: str | None
    events_count: Count
    digest: str = Field(pattern="^[0-9a-f]{32}$")


class PublishedFigures(ExplainedFigures):
    revision: Count


class EventLists(Model):
    count: Count = Field(description="Entries of the longest list, on all pages.")
    values: list[str] | None
    prorated_values: list[str] | None
    running_total: list[str] | None


class CellDay(Model):
    date: str
    value: str


class DayShare(Model):
    date: str
    action: Literal["add", "add_and_removed", "remove"]
    amount: str
    duration: Count
    total_duration: Count


class ExplainedCell(Model):
    lago_charge_id: str
    charge_code: str
    filters: dict[str, list[str]] | None
    grouped_by: dict[str, str | None] | None
    live: ExplainedFigures
    recomputed: ExplainedFigures = Field(description="From the listed events alone.")
    equal: bool
    published: PublishedFigures | None
    pending: PendingFigures | None = Field(description="Null: no revision is due.")
    per_event: EventLists | None = Field(None, description="Only if asked for.")
    days: list[CellDay] | None = Field(None, description="Only if asked for, of sums.")
    breakdown: list[DayShare] | None = Field(
        None, description="Only if asked for, of prorated charges."
    )


class ExplainedOutcome(ChargeOutcome):
    revision: Count | None = Field(
        description="The first published revision that it is in; null: none yet."
    )
    cut: Instant | None = Field(
        description="Of that revision, or of the one that will have it; null: it does not count, "
        "or nothing is billed."
    )


class ExplainedEvent(EventFate):
    charges: list[ExplainedOutcome]  # type: ignore[assignment]
    change: evidence.Change | None = Field(
        description="Why it makes a difference; only with since_revision."
    )


class SinceOutput(Model):
    revision: Count
    cut: Instant


class ExplanationOutput(Model):
    external_subscription_id: str
    billable_metric_code: str
    from_datetime: Instant
    to_datetime: Instant
    timezone: str
    equal: bool
    since: SinceOutput | None = Field(
        description="With since_revision: only events that made a difference to it are listed."
    )
    cells: list[ExplainedCell]
    counts: dict[str, Count] = Field(description="All events by status, listed or not.")
    events: list[ExplainedEvent] = Field(description="One page of them, in order of position.")
    as_of: AsOfOutput
    stale: bool


class ExplanationAnswer(Model):
    explanation: ExplanationOutput
    meta: Meta
