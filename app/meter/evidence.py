"""What proofs say: plain values that explain, trace, series and verify hand to the web."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal, NamedTuple

import msgspec

from app.definitions.periods import NEVER_MS
from app.meter.usage import AsOf

WindowName = Literal["minute", "hour", "day", "month"]
Status = Literal["counted", "ignored", "refused", "duplicate", "cancelled", "lost"]
NOT_SEARCHABLE: Final = frozenset(("conflicting", "identical", "later_periods"))
"""Reasons that are known only of the events on a page, when all others have been read."""
Change = Literal["late", "corrected", "definition"]
"""Why an event makes a figure differ from what was published."""


class Place(msgspec.Struct, frozen=True):
    """Where the raw topic holds an event."""

    append_time_ms: int
    partition: int
    offset: int
    index: int
    """Index within the record's array; 0 if the record holds a single event."""


class ChargeOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one charge made of an event."""

    charge_id: str
    charge_code: str
    metric_code: str
    from_ms: int | None
    """Start of the period it counts in; None: history before the charge, carried on."""
    to_ms: int | None
    """End of that period, exclusive."""
    reason: str | None
    """Why it is ignored, in words if the expression failed; None: it counts."""
    filter_values: Mapping[str, tuple[str, ...]] | None = None
    """Values of the filter it falls in; None: the default bucket."""
    grouped_by: tuple[tuple[str, str | None], ...] = ()
    value: str | None = None
    """Folded value: a decimal, `add:` or `remove:` and a text, or "" for a count."""
    cut_ms: int | None = None
    """Time in ms of the first revision it counts at; None: it was in time."""
    revision: int | None = None
    """The first published revision it is in, where that was looked up; None: it is in none yet."""
    shown_ms: int | None = None
    """The cut that published it or will; None: it was not looked up, or nothing is published."""


class EventInstant(msgspec.Struct, frozen=True, kw_only=True):
    """What an event billed at once in a cell of a charge paid in advance: its newest record."""

    instant_id: str
    record_id: str
    cell_id: str
    charge_id: str
    revision: int
    units: str
    prorated_units: str | None
    """None: the charge is not prorated, and `units` are billed."""
    counts: bool
    """False: a correction took the event out of the cell."""
    cut_ms: int


class EventFate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one arrival."""

    transaction_id: str
    external_subscription_id: str
    code: str
    timestamp_ms: int
    place: Place
    rekeyed_offset: int | None
    """Offset on events-rekeyed; None when the raw record lies on the home partition."""
    status: Status
    reason: str | None
    amended: bool = False
    corrected_by: Place | None = None
    """Where the correction lies that it counts under, or is cancelled by; None: none is folded."""
    duplicate_of: Place | None = None
    charges: tuple[ChargeOutcome, ...] = ()
    instants: tuple[EventInstant, ...] = ()
    """One for each cell that was ever billed for it in advance; none before its grid cut."""
    change: Change | None = None
    """Why it makes a difference to a revision; None: nobody asked."""


class KnownEvent(msgspec.Struct, frozen=True):
    """What became of an event that was folded, and what it carried when it came."""

    fate: EventFate
    properties: bytes
    """JSON object, as it came."""


class FigureTexts(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one cell as texts."""

    units: str
    prorated_units: str | None
    total_aggregated_units: str
    precise_total_amount_cents: str | None
    events_count: int
    digest: str
    """32 hex digits."""


class EventLists(msgspec.Struct, frozen=True):
    """A page of the lists of single events of a cell."""

    count: int
    """Entries of the longest list, on all pages."""
    values: list[str] | None
    prorated_values: list[str] | None
    running_total: list[str] | None


class CellDay(msgspec.Struct, frozen=True):
    """What the events of a local date add up to."""

    date: str
    value: str


class DayShare(msgspec.Struct, frozen=True):
    """A part of a prorated figure."""

    date: str
    action: str
    """add, add_and_removed or remove."""
    amount: str
    duration: int
    """Days that it counts for."""
    total_duration: int
    """Days of the whole period."""


class PendingFigures(NamedTuple):
    """What the next revision of a cell adds, and at which cut it comes."""

    cut_ms: int
    delta_units: Decimal
    events: int
    reason: str


class ExplainedCell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell: as the tables have it, recomputed from the listed events, and as published."""

    charge_id: str
    charge_code: str
    filter_values: Mapping[str, tuple[str, ...]] | None
    grouped_by: tuple[tuple[str, str | None], ...]
    live: FigureTexts
    recomputed: FigureTexts
    published: FigureTexts | None
    revision: int | None
    """Revision of the published figures; None: nothing is published."""
    pending: PendingFigures | None = None
    """None: the next cut shows what is published."""
    per_event: EventLists | None = None
    """A page of the lists of single events; None: its price asks for none."""
    days: tuple[CellDay, ...] | None = None
    """Sums by local date; None: nothing is summed, or it was not asked for."""
    breakdown: tuple[DayShare, ...] | None = None
    """Parts of a prorated figure by date; None: it is not prorated, or that was not asked for."""

    @property
    def equal(self) -> bool:
        """Return True if the live figures are proved."""
        return self.live == self.recomputed


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """How the figures of one metric in one period come about."""

    external_subscription_id: str
    metric_code: str
    from_ms: int
    to_ms: int
    timezone: str
    cells: tuple[ExplainedCell, ...]
    events: tuple[EventFate, ...]
    """Some of the events, in order of position."""
    counts: Mapping[str, int]
    """Numbers of all events by status, also of those that the query leaves out."""
    listed_count: int
    """Number of the events that the query asks for, on all pages."""
    as_of: AsOf
    stale: bool
    since_ms: int | None = None
    """The cut of the revision that the events make a difference to; None: all are listed."""

    @property
    def equal(self) -> bool:
        """Return True if every live figure is proved."""
        return all(cell.equal for cell in self.cells)


class ExplainQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to explain: one metric of one subscription, in the period that holds an instant."""

    external_subscription_id: str
    metric_code: str
    at_ms: int
    charge_id: str | None = None
    charge_code: str | None = None
    group: Mapping[str, str] = {}
    """Only cells of groups with these values, and their events; "" is the null group."""
    offset: int = 0
    limit: int = 100
    per_event: bool = False
    """With lists of single events."""
    days: bool = False
    """With sums and shares by local date."""
    since_revision: int | None = None
    """Only events by which the figures differ from that revision; None: all events."""
    status: Status | None = None
    """Only events of this status."""
    reason: str | None = None
    """Only events that have this reason, or that a charge ignores for it."""


class SeriesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to show over time."""

    external_subscription_id: str
    metric_code: str
    windows: tuple[tuple[int, int], ...]
    """(start ms, end ms) one after the other."""
    timezone: str


class WindowUsage(msgspec.Struct, frozen=True):
    """Usage of one charge in one window."""

    from_ms: int
    to_ms: int
    """End of the window in ms, exclusive."""
    units: Decimal
    total_aggregated_units: Decimal
    events_count: int


class ChargeUsageSeries(msgspec.Struct, frozen=True):
    """A value for every window."""

    charge_id: str
    charge_code: str
    values: tuple[WindowUsage, ...]


class UsageSeries(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of one metric over time."""

    external_subscription_id: str
    metric_code: str
    aggregation_type: str | None
    """None when no charge has the metric."""
    charges: tuple[ChargeUsageSeries, ...]
    as_of: AsOf


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the raw topic does not account for."""

    kind: Literal["cell", "members", "event", "correction", "published", "record"]
    """cell: live and refolded state differ. members: the properties of a unique count that are kept
    differ, which shows with their next event. event, correction: the raw topic has one that was
    never taken. published: taking the newest cut again would publish something. record: a
    message of a topic is missing, is there for no reason, or is not as the logs make it."""
    partition: int
    external_subscription_id: str
    metric_code: str
    topic: str | None = None
    record_id: str | None = None
    period_from: str | None = None
    charge_id: str | None = None
    filter_id: str | None = None
    groups: tuple[str | None, ...] = ()
    live: Mapping[str, str] = {}
    refolded: Mapping[str, str] = {}


class PreviewedCell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that changed definitions would change."""

    external_customer_id: str
    external_subscription_id: str
    period_from: str
    period_to: str
    """End of the period; it and `period_from` are spelled as in records."""
    published: bool
    """Whether the period is published; otherwise it is in grace or running."""
    charge_id: str
    charge_code: str
    metric_code: str
    filters: Mapping[str, tuple[str, ...]] | None
    """Values of the filter it falls in; None: the default bucket."""
    grouped_by: tuple[tuple[str, str | None], ...]
    before: FigureTexts | None
    """Figures now; None: there is no such cell.

    Of a balance whose period is open no more they are those of its newest record.
    """
    after: FigureTexts | None
    """Figures after the change; None: there would be no such cell."""


class PreviewReport(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a running preview: how far it is, and what differs besides earlier lines."""

    partitions: tuple[int, ...]
    """Raw partitions whose subscriptions are previewed."""
    of_partitions: int
    """Number of all raw partitions."""
    records_read: int
    records_total: int
    pairs: int
    """Number of meter keys (subscription, metric) folded so far."""
    cells: tuple[PreviewedCell, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    """(external_subscription_id, code) that are being refolded, so that nothing can be said yet."""
    done: bool


class TopicsReport(msgspec.Struct, frozen=True, kw_only=True):
    """Published topics, compared message by message to what the logs make."""

    compared: Mapping[str, int] = {}
    """Number of messages that are there as they must be there, by topic; 0: there are none."""
    differences: tuple[Difference, ...] = ()
    unproved: str = ""
    """Why nothing can be compared; empty: it was."""


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a running verification: how far it is, and what differed since the last line."""

    partitions: tuple[int, ...]
    """Raw partitions whose subscriptions are verified."""
    of_partitions: int
    """Number of all raw partitions."""
    records_read: int
    records_total: int
    pairs_verified: int
    pairs_total: int
    cells_verified: int
    members_verified: int = 0
    """Number of properties of unique counts that were verified."""
    differences: tuple[Difference, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    """(external_subscription_id, code) that are being refolded, so that nothing can be said yet."""
    repairing: int = 0
    """Number of meter keys queued for a refold."""
    proved_from: Mapping[int, int] = {}
    """Raw partition to the first offset that is still there, where that is not 0."""
    topics: TopicsReport = TopicsReport()
    """How published messages compared, in the last report; what differs stands above."""
    done: bool = False


class UncountedSample(msgspec.Struct, frozen=True):
    """An event that was not counted."""

    transaction_id: str
    external_subscription_id: str
    timestamp_ms: int


class Uncounted(msgspec.Struct):
    """Events of a code that were not counted, for one reason."""

    reason: str
    code: str
    events_count: int = 0
    """Number of uncounted events, each once for every charge that left it out."""
    first_ms: int = NEVER_MS
    """Append time of the first event in ms; NEVER_MS: none came."""
    last_ms: int = -1
    samples: list[UncountedSample] = []
