"""What the web needs of the engine: one port, and the plain values that cross it.

The engine implements `Meter`. Nothing here knows Kafka, Redis or HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from app.definitions.commands import Applied, Command, Rejected
from app.definitions.state import Definitions
from app.proof import (
    EventFate,
    ExplainQuery,
    Explanation,
    PreviewReport,
    SeriesQuery,
    UsageSeries,
    VerifyReport,
)
from app.usage import PeriodUsage, Regrouping

DuplicateKind = Literal["identical", "conflicting"]


class BeyondRetention(Exception):
    """Events that are needed again are deleted from the raw topic."""


class Unavailable(Exception):
    """Not answerable now (owner unknown, restoring or unreachable); nothing was written."""

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class IncomingEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that passed the API's checks and is not in the log yet."""

    transaction_id: str
    code: str
    external_subscription_id: str
    timestamp: bytes | None
    """The sender's own JSON literal, seconds since the epoch; None means reception time."""
    timestamp_ms: int | None
    """`timestamp`, floored to milliseconds."""
    properties: bytes
    """A JSON object, every number spelled as the sender did."""
    precise_total_amount_cents: Decimal | None


class Position(msgspec.Struct, frozen=True):
    """Where the log holds a record, and the append time (ms) it has there."""

    partition: int
    offset: int
    append_time_ms: int


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The fold took the event as the first of its identity."""

    position: Position | None = None


class Duplicate(msgspec.Struct, frozen=True, tag="duplicate"):
    """The identity is in the log already; by another producer's race if `position` is set."""

    kind: DuplicateKind
    position: Position | None = None


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The fold refused the event; `code` is one of the dead letter codes."""

    code: str
    message: str
    position: Position | None = None


class Pending(msgspec.Struct, frozen=True, tag="pending"):
    """Appended; the fold's verdict did not come in time, or comes on another worker."""

    position: Position | None = None


class NotAppended(msgspec.Struct, frozen=True, tag="not_appended"):
    """Nothing wrong with this event, but another one of its all-or-nothing batch was refused."""

    position: None = None


Verdict = Accepted | Duplicate | Refused | Pending | NotAppended


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the log holds it."""

    transaction_id: str
    code: str
    external_subscription_id: str
    timestamp_ms: int
    properties: bytes
    """A JSON object, every number spelled as the sender did."""
    precise_total_amount_cents: Decimal | None
    created_at_ms: int
    """Append time."""


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to list; both ends of the time range are inclusive."""

    code: str | None = None
    external_subscription_id: str | None = None
    timestamp_from_ms: int | None = None
    timestamp_to_ms: int | None = None


class EventPage(msgspec.Struct, frozen=True):
    """Some of the events, by (timestamp descending, transaction_id), and how many there are."""

    events: tuple[StoredEvent, ...]
    total_count: int


ELSEWHERE = "elsewhere"
"""State of a partition that another worker owns."""


class PartitionView(msgspec.Struct, frozen=True, kw_only=True):
    """One raw partition, as this worker sees it."""

    partition: int
    state: str
    """running, restoring, refolding, stopped or elsewhere."""
    owner: str | None = None
    """Base URL of the worker that owns it; None: this one."""
    offset: int
    """Next raw offset to fold."""
    lag: int | None
    """Raw records not folded yet; None: only its owner knows."""
    rekeyed_lag: int = 0
    events_per_s: float = 0.0
    append_time_ms: int | None = None


class ClosingView(msgspec.Struct, frozen=True, kw_only=True):
    """What holds back a cut."""

    partition: int
    cut_ms: int
    """The cut that waits."""
    blocked_by: str
    """One sentence: which condition, and whose."""
    since_ms: int


class UsageView(msgspec.Struct, frozen=True, kw_only=True):
    """One line of live usage: a charge of a subscription in the period that holds now."""

    organization_id: str
    external_customer_id: str
    external_subscription_id: str
    billable_metric_code: str
    charge_code: str
    units: Decimal
    events_count: int
    from_ms: int
    to_ms: int
    implicit: bool = False


class RecordView(msgspec.Struct, frozen=True, kw_only=True):
    """One published usage record: the fields an operator looks for."""

    organization_id: str
    external_subscription_id: str
    type: str
    billable_metric_code: str | None
    revision: int
    units: str | None
    from_datetime: str
    closed_at: str
    id: str


class DeadLetterView(msgspec.Struct, frozen=True, kw_only=True):
    """One refused event; `partition` and `offset` are those of the dead letter itself."""

    organization_id: str | None
    partition: int
    offset: int
    code: str
    message: str
    failed_at_ms: int
    source: str
    """topic/partition/offset, with /index for an array element."""
    value: str
    """The original bytes as text, cut to a readable length."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What the live page shows."""

    now_ms: int
    worker: str
    partitions: tuple[PartitionView, ...]
    closing: tuple[ClosingView, ...]
    usage: tuple[UsageView, ...]
    usage_total: int
    """Lines that match the search, shown or not."""
    records: tuple[RecordView, ...]
    """Newest first."""
    dead_letters: tuple[DeadLetterView, ...]
    """Newest first."""


class OverviewQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to show: of one organization or of all, and lines that contain `search`."""

    organization_id: str | None
    search: str = ""
    limit: int = 200


class Meter(Protocol):
    """The engine, as the web sees it."""

    opened: bool
    """Whether what all workers follow is read: before that nothing but its health is known."""

    @property
    def definitions(self) -> Definitions:
        """The definitions log as applied by this worker."""
        ...

    def now_ms(self) -> int:
        """The clock, in ms since the epoch."""
        ...

    def not_ready(self) -> tuple[str, ...]:
        """Why this worker should get no traffic yet, a sentence each; empty when it should."""
        ...

    async def define(self, command: Command) -> Applied | Rejected:
        """Append a command and wait until this worker applied it. Raises Unavailable."""
        ...

    def owner(self, organization_id: str, external_subscription_id: str) -> str | None:
        """Base URL of the worker with a subscription's home; None: this one. Raises Unavailable."""
        ...

    def peers(self) -> Sequence[str]:
        """Base URLs of all the other workers. Raises Unavailable while they are not known."""
        ...

    async def check(
        self, organization_id: str, events: Sequence[IncomingEvent]
    ) -> list[Duplicate | Refused | None]:
        """What ingest would refuse of events at home here; None: nothing known against it."""
        ...

    async def ingest(
        self, organization_id: str, events: Sequence[IncomingEvent], partial: bool
    ) -> list[Verdict]:
        """Check the events at home here, then append as one record; one verdict an event, in order.

        If any is refused nothing is appended, unless `partial`: then the others are. Events at
        home elsewhere were checked there; theirs is Pending. Raises Unavailable, nothing appended.
        """
        ...

    async def correct(
        self, organization_id: str, external_subscription_id: str, value: bytes
    ) -> Position:
        """Append a correction to the raw topic. Raises Unavailable, nothing appended."""
        ...

    async def find_event(self, organization_id: str, transaction_id: str) -> StoredEvent | None:
        """The first event with that id among those at home here."""
        ...

    async def list_events(
        self, organization_id: str, query: EventQuery, offset: int, limit: int
    ) -> EventPage:
        """Events at home here."""
        ...

    async def wait_for(
        self,
        organization_id: str,
        external_subscription_id: str,
        partition: int,
        offset: int,
        timeout_s: float,
    ) -> bool:
        """Wait until what a raw record holds of a subscription at home here is folded."""
        ...

    def current_usage(
        self, organization_id: str, external_subscription_id: str, at_ms: int
    ) -> PeriodUsage | None:
        """The period that holds `at_ms`, of the active subscription or the implicit one."""
        ...

    async def regrouped_usage(
        self, usage: PeriodUsage, wanted: Regrouping, at_ms: int
    ) -> PeriodUsage:
        """Usage that `current_usage` gave, in other groups or of some events only."""
        ...

    def past_usage(self, organization_id: str, external_subscription_id: str) -> list[PeriodUsage]:
        """Every period ended before now, newest first."""
        ...

    async def explain(self, organization_id: str, query: ExplainQuery) -> Explanation | None:
        """How the figures of a metric come about; None when no period holds the instant."""
        ...

    async def trace(
        self, organization_id: str, transaction_id: str, external_subscription_id: str | None
    ) -> list[EventFate]:
        """What became of every arrival of an event id among those at home here."""
        ...

    async def series(self, organization_id: str, query: SeriesQuery) -> UsageSeries:
        """Usage of a metric over time."""
        ...

    def verify(
        self, organization_id: str, external_subscription_id: str | None, repair: bool
    ) -> AsyncGenerator[VerifyReport, None]:
        """Compare live figures to the raw topic: of one subscription, or all at home here.

        The last report is `done`. `repair` queues a refold of what differs.
        """
        ...

    def preview(
        self, organization_id: str, changes: Sequence[Command], from_ms: int, to_ms: int
    ) -> AsyncGenerator[PreviewReport, None] | Rejected:
        """What changes of metrics and plans would make of the usage at home here.

        Of periods not published yet, and of published ones that start in [from_ms, to_ms). The last
        report is `done`.
        """
        ...

    def overview(self, query: OverviewQuery) -> Overview:
        """The live page's figures."""
        ...

    async def replay(self, organization_id: str | None, partition: int, offset: int) -> bool:
        """Append a dead letter's value anew (as `meter-admit`); False: no such dead letter.

        With an organization, only one of its own.
        """
        ...
