"""What the web needs of the engine: one port, and the plain values that cross it.

The engine implements `Meter`. Nothing here knows Kafka, Redis or HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

import msgspec

from app.definitions.commands import Applied, Command, Rejected
from app.definitions.model import SetAside
from app.definitions.state import Definitions
from app.proof import (
    EventFate,
    ExplainQuery,
    Explanation,
    PreviewReport,
    SeriesQuery,
    Uncounted,
    UsageSeries,
    VerifyReport,
)
from app.runtime.health import Reason
from app.usage import PeriodUsage, Regrouping
from tables.reading import PastPeriod

DuplicateKind = Literal["identical", "conflicting"]


class BeyondRetention(Exception):
    """Events that are needed again are deleted from the raw topic."""


class NotAllowed(Exception):
    """Nothing in the raw topic is this organization's (`producer_trust`)."""


class NotSetAside(Exception):
    """Nothing was set aside; says why, and what to do instead."""


class Unavailable(Exception):
    """Not answerable now (owner unknown, restoring or unreachable); nothing was written."""

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class TooOften(Exception):
    """The organization has used up what it may do in this minute or day; nothing was written."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class TimeBudgetExceeded(Exception):
    """A scan took more time than one may take."""


class TooManyScans(Exception):
    """So many scans wait already that one more must come again later."""


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


class ListedEvent(NamedTuple):
    """One event of a listing, in its order: (timestamp descending, transaction_id, position)."""

    before_ms: int
    """The timestamp, negative: newer ones come first."""
    transaction_id: str
    partition: int
    """The raw partition, with offset and place in the array: where the log has it."""
    offset: int
    array_index: int
    append_time_ms: int


class EventPage(msgspec.Struct, frozen=True):
    """Some of the events, in order, and how many there are."""

    events: list[ListedEvent]
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
    units: Decimal | None
    """None: more groups than are summed for a page."""
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
    set_aside: int = 0
    """Raw records and elements that no fold looks at."""
    parked: int = 0
    """Subscriptions whose figures stand as they are."""
    health: tuple[Reason, ...] = ()
    """What of this worker is not as it should be."""


class OverviewQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to show: of one organization or of all, and lines that contain `search`."""

    organization_id: str | None
    search: str = ""
    limit: int = 200


class DefinitionChange(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the definitions log, accepted or not, and whose key it came with."""

    offset: int
    append_time_ms: int
    organization_id: str
    type: str
    object: str | None
    """Code or external id; None where the record names none."""
    changed_by: str | None


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

    def health(self) -> list[Reason]:
        """Everything that is not as it should be, the earliest first."""
        ...

    def not_ready(self) -> tuple[str, ...]:
        """Why this worker should get no traffic yet, a sentence each; empty when it should."""
        ...

    async def define(self, command: Command) -> Applied | Rejected:
        """Append a command and wait until this worker applied it. Raises Unavailable."""
        ...

    async def definition_changes(
        self, organization_id: str | None, since: int
    ) -> tuple[list[DefinitionChange], int]:
        """What the log of definitions holds from an offset on, and where to go on; None: of all."""
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
        self, organization_id: str, external_subscription_id: str, value: bytes, by: str | None
    ) -> Position:
        """Append a correction to the raw topic, in the name of a key.

        Raises Unavailable, nothing appended.
        """
        ...

    async def set_aside(
        self, partition: int, first: int, after: int, reason: str
    ) -> list[SetAside]:
        """Let no fold look at raw records that are not folded yet.

        The owner of the partition takes it over anew. Raises NotSetAside, Unavailable.
        """
        ...

    async def lift(self, one: SetAside) -> int:
        """Append what is set aside anew and unlist it; how many records were there yet."""
        ...

    async def find_event(self, organization_id: str, transaction_id: str) -> StoredEvent | None:
        """The first event with that id among those at home here."""
        ...

    async def not_counted(
        self, organization_id: str, reason: str | None, code: str | None
    ) -> list[Uncounted]:
        """What no charge counted, of the partitions here."""
        ...

    async def list_events(
        self, organization_id: str, query: EventQuery, offset: int, limit: int
    ) -> EventPage:
        """Which events at home here are listed."""
        ...

    def read_events(
        self, events: Sequence[ListedEvent]
    ) -> AsyncGenerator[Sequence[StoredEvent], None]:
        """Listed events, wherever they are at home, some at a time.

        Raises BeyondRetention when the log has one no longer.
        """
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

    async def current_usage(
        self, organization_id: str, external_subscription_id: str, at_ms: int
    ) -> PeriodUsage | None:
        """The period that holds `at_ms`, of the active subscription or the implicit one."""
        ...

    async def regrouped_usage(
        self, usage: PeriodUsage, wanted: Regrouping, at_ms: int
    ) -> PeriodUsage:
        """Usage that `current_usage` gave, in other groups or of some events only."""
        ...

    def past_periods(
        self, organization_id: str, external_subscription_id: str, external_customer_id: str
    ) -> list[PastPeriod]:
        """Every period of a customer's subscription that ended before now, newest first."""
        ...

    async def period_usage(
        self, organization_id: str, external_subscription_id: str, period: PastPeriod
    ) -> PeriodUsage:
        """Usage of one of them."""
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

    async def overview(self, query: OverviewQuery) -> Overview:
        """The live page's figures."""
        ...

    async def replay(
        self, organization_id: str | None, partition: int, offset: int, by: str | None
    ) -> bool:
        """Append a dead letter's value anew (as `meter-admit`); False: no such dead letter.

        With an organization, only one of its own. `by`: the key's name.
        """
        ...
