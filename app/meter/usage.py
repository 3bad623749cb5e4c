"""Usage of one period of one subscription, as the tables answer it: exact and unpriced."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Final, Literal, NamedTuple

import msgspec

from app.definitions.model import Charge, ChargeFilter, Metric, Plan, Subscription
from app.definitions.periods import Period


class ChargeInForce(msgspec.Struct, frozen=True, dict=True):
    """A charge with its metric, both as in force for the period."""

    charge: Charge
    metric: Metric

    @cached_property
    def filters(self) -> Mapping[str, ChargeFilter]:
        """The filters of the charge by id: each row asks for its own, of thousands."""
        return {charge_filter.id: charge_filter for charge_filter in self.charge.filters}


class Regrouping(msgspec.Struct, frozen=True):
    """Usage of some events only, in other groups than its charges have, or since the start."""

    group: Mapping[str, frozenset[str]] = {}
    """Property to the texts it may have, "" for none: what is wanted does not group any more."""
    skip_grouping: bool = False
    """Nothing groups."""
    full: bool = False
    """All periods since the subscription began, as the running one counts."""
    presented_by: frozenset[str] | None = None
    """The presentation keys that rows are shown by; None: all."""

    def asks(self) -> bool:
        """Return True if anything is to be other than the charges say."""
        return bool(self.group or self.skip_grouping or self.full)

    def keys(self, charge: Charge, bucket: ChargeFilter | None) -> tuple[str, ...]:
        """Return what is left of the keys of a bucket (None: the default one)."""
        if self.skip_grouping:
            return ()
        return tuple(key for key in charge.group_keys(bucket) if key not in self.group)

    def charge(self, charge: Charge) -> Charge:
        """Return the charge with the groups that are left."""
        presenting = charge.properties.get("presentation_group_keys")
        return msgspec.structs.replace(
            charge,
            accepts_target_wallet=False,
            properties={
                "pricing_group_keys": list(self.keys(charge, None)),
                "presentation_group_keys": presenting,
            },
            filters=tuple(
                msgspec.structs.replace(
                    bucket, properties={"pricing_group_keys": list(self.keys(charge, bucket))}
                )
                for bucket in charge.filters
            ),
        )

    def takes(self, texts: Mapping[str, str | None]) -> bool:
        """Return True if events with these properties are wanted."""
        return all((texts.get(key) or "") in wanted for key, wanted in self.group.items())


class PresentedRow(msgspec.Struct, frozen=True):
    """A part of a cell's usage, by the keys that it is presented by."""

    presentation_by: tuple[tuple[str, str | None], ...]
    """(key, text or None) in the order configured."""
    units: Decimal
    """Neither rounded nor clamped."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of one cell: one charge, one filter bucket, one group."""

    charge_id: str
    filter_id: str | None
    """None: the default bucket of a charge with filters, or a charge without filters."""
    grouped_by: tuple[tuple[str, str | None], ...] = ()
    """(group key, text or None) in the order configured; empty when the bucket is not grouped."""
    units: Decimal
    """max(0, rounded full units)."""
    prorated_units: Decimal | None = None
    total_aggregated_units: Decimal
    units_so_far: Decimal | None = None
    """weighted_sum: the part of the average that has accrued by now; None when it is not known."""
    in_advance_units: Decimal | None = None
    """Paid in advance: what was billed by now and what is carried; None of another charge."""
    projected_units: Decimal | None = None
    """What they come to by the end of the period; None where nobody asks."""
    events_count: int
    precise_total_amount_cents: Decimal | None = None
    presented: tuple[PresentedRow, ...] | None = ()
    """Sorted by the texts, null first; None: there are too many."""
    projected_presented: tuple[PresentedRow, ...] | None = ()
    """What they come to by the end of the period, where somebody asks."""
    revision: int | None = None
    """Revision of the record that shows these figures; None: they are not published."""
    pending: PendingRow | None = None
    """What the next revision shows instead; None: the same."""


FIRST_RECORD: Final = "first_record"
"""Why something is pending of a cell that has no record yet."""


class PendingRow(msgspec.Struct, frozen=True):
    """What the next revision shows of a cell that is published otherwise, or not yet."""

    units: Decimal
    events_count: int
    reason: str | None
    """Why it is revised, as the record will say; None: its first record."""

    @property
    def cause(self) -> str:
        """Why it comes, in a word for either."""
        return self.reason or FIRST_RECORD


PeriodState = Literal["open", "due", "published", "final", "not_billed"]
"""It runs; ended and awaits its first cut; may be revised by events; no event changes it; implicit.
"""


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """How far a period has come on its way to the invoice."""

    state: PeriodState
    due_at_ms: int | None = None
    """Its first cut; None: it has none."""
    final_after_ms: int | None = None
    closed_at_ms: int | None = None
    """Its newest cut that published something; None before the first."""
    pending_cut_ms: int | None = None
    """The cut that publishes what is pending; None: nothing is."""


OPEN = Publication(state="open")
NOT_BILLED = Publication(state="not_billed")


class EvaluatedAlert(NamedTuple):
    """What the metric of an alert came to when it was looked at last."""

    units: str
    at_ms: int


class EstimatedFee(NamedTuple):
    """What an event that is not sent would bill in one cell of a charge paid in advance."""

    charge: Charge
    metric: Metric
    charge_filter: ChargeFilter | None
    grouped_by: tuple[tuple[str, str | None], ...]
    units: Decimal
    """What the fee shows."""
    period: Period
    """The one that the event would count in."""


class AsOf(msgspec.Struct, frozen=True):
    """How far the answering partition has folded: next offsets, and the append time reached."""

    append_time_ms: int
    partition: int
    raw_offset: int
    rekeyed_offset: int


class PeriodUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one period of a subscription used."""

    subscription: Subscription
    plan: Plan
    charges: tuple[ChargeInForce, ...]
    """Every charge in force, used or not, in plan order."""
    rows: tuple[UsageRow, ...]
    """Only cells that exist; a charge, filter or group without one used nothing."""
    from_ms: int
    end_ms: int
    """Exclusive."""
    to_ms: int
    """As printed: next start - 1 s, or the termination instant floored to the second."""
    timezone: str
    duration_days: int
    publication: Publication
    as_of: AsOf
    stale: bool = False
    """True while a definition change is being folded into these figures."""
    implicit: bool = False


class PastPeriod(NamedTuple):
    """A period that ended, before its usage is looked at."""

    subscription: Subscription
    period: Period
    implicit: bool = False


Granularity = Literal["daily", "weekly", "monthly"]


class AnalyticsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which days are added up, and of what; None: of everything."""

    granularity: Granularity
    from_date: date
    to_date: date
    """The last day itself."""
    recurring: bool | None = None
    currency: str | None = None
    external_customer_id: str | None = None
    external_subscription_id: str | None = None
    plan_code: str | None = None
    billable_metric_code: str | None = None

    def takes(self, code: str, plan_code: str, currency: str, recurring: bool) -> bool:
        """Return whether it asks for what a day added to a metric."""
        return (
            self.billable_metric_code in (None, code)
            and self.plan_code in (None, plan_code)
            and self.currency in (None, currency)
            and self.recurring in (None, recurring)
        )


class AnalyticsRow(NamedTuple):
    """What one window added to a metric."""

    start: date
    code: str
    currency: str
    units: Decimal
