"""What may be asked of a meter: a protocol for each concern, and `Meter`, which has one of each.

The values that cross it are in the other modules of this package; `errors` says why there is no
answer. Whatever asks for a subscription raises Unavailable while its partition is not here.
Whatever asks for all of them raises it while any partition changes hands. Times are in ms since
the epoch.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from app.definitions.command import Command
from app.definitions.model import SetAside
from app.definitions.outcome import Applied, Rejected
from app.definitions.state import Definitions
from app.meter.changes import DefinitionChange
from app.meter.events import (
    Duplicate,
    EventQuery,
    ListedEvent,
    RawPosition,
    Refused,
    StoredEvent,
    Verdict,
)
from app.meter.evidence import (
    EventFate,
    ExplainQuery,
    Explanation,
    KnownEvent,
    PreviewReport,
    SeriesQuery,
    Uncounted,
    UsageSeries,
    VerifyReport,
)
from app.meter.health import Reason
from app.meter.listing import Listed
from app.meter.overview import (
    DeadLetter,
    DeadLetterPage,
    DeadLetterQuery,
    DeadLetterView,
    Overview,
    OverviewQuery,
    Replayed,
)
from app.meter.records import RecordPlace, RecordQuery
from app.meter.usage import (
    AnalyticsQuery,
    AnalyticsRow,
    EstimatedFee,
    EvaluatedAlert,
    PastPeriod,
    PeriodUsage,
    Regrouping,
)
from app.wire.encode import IncomingEvent


class Routing(Protocol):
    """Which worker answers for a subscription."""

    def owner(self, organization_id: str, external_subscription_id: str) -> str | None:
        """Return the base URL of a subscription's worker; None: this one. Raises Unavailable."""
        ...

    def peers(self) -> Sequence[str]:
        """Return the base URLs of all other workers. Raises Unavailable while one is unknown."""
        ...


class Definer(Protocol):
    """Changes of the definitions log."""

    async def define(self, command: Command) -> Applied | Rejected:
        """Append a command and wait until this worker applied it.

        Raises:
            Unavailable: a log that it needs does not answer, or changes all the time.
            TooOften: the organization has defined enough in this minute or day.
            BeyondRetention: events that the definition needs are deleted.
        """
        ...

    async def changes(
        self, organization_id: str | None, since: int
    ) -> tuple[list[DefinitionChange], int]:
        """Return what the log holds from an offset on, and where to go on; None: of everybody."""
        ...


class Ingest(Protocol):
    """Events and corrections on their way into the log."""

    @property
    def partitions(self) -> int:
        """Return how many partitions the raw topic has."""
        ...

    async def check(
        self, organization_id: str, events: Sequence[IncomingEvent]
    ) -> list[Duplicate | Refused | None]:
        """Say what `append` would refuse of events at home here; None: nothing known against it."""
        ...

    async def append(
        self, organization_id: str, events: Sequence[IncomingEvent], partial: bool
    ) -> list[Verdict]:
        """Check the events at home here, then append as one record; one verdict an event, in order.

        If any is refused nothing is appended, unless `partial`: then the others are. Events at
        home elsewhere were checked there; theirs is Pending. Raises Unavailable, nothing appended.
        """
        ...

    async def correct(
        self, organization_id: str, external_subscription_id: str, value: bytes, by: str | None
    ) -> RawPosition:
        """Append a correction to the raw topic, in the name of a key.

        Raises:
            Unavailable: nothing was appended.
            NotAllowed: nothing in the raw topic is this organization's.
            TooOften: the organization has sent its corrections of this minute.
            BeyondRetention: events that the correction needs are deleted.
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


class Events(Protocol):
    """Events that the log holds."""

    async def find_event(self, organization_id: str, transaction_id: str) -> StoredEvent | None:
        """Return the first event with that id among those at home here."""
        ...

    async def not_counted(
        self, organization_id: str, reason: str | None, code: str | None
    ) -> list[Uncounted]:
        """Return what no charge counted on the partitions here."""
        ...

    def not_counted_since_ms(self) -> int:
        """Return up to which append time `not_counted` knows nothing; -1: it knows of all."""
        ...

    async def list_events(
        self, organization_id: str, query: EventQuery, offset: int, limit: int
    ) -> Listed[ListedEvent]:
        """Find which events at home here are listed."""
        ...

    def read_events(
        self, events: Sequence[ListedEvent]
    ) -> AsyncGenerator[Sequence[StoredEvent], None]:
        """Read listed events, wherever they are at home, some at a time.

        Raises BeyondRetention when the log has one no longer.
        """
        ...


class Usage(Protocol):
    """Usage of the subscriptions at home here."""

    async def current_usage(
        self,
        organization_id: str,
        external_subscription_id: str,
        at_ms: int,
        presented_by: frozenset[str] | None = None,
    ) -> PeriodUsage | None:
        """Return the period that holds `at_ms` of the active subscription or the implicit one.

        `presented_by`: by these presentation keys only; None: by all.
        """
        ...

    async def analytics(self, organization_id: str, query: AnalyticsQuery) -> list[AnalyticsRow]:
        """Return what days, weeks or months added to the subscriptions at home here, in order."""
        ...

    def evaluated_alerts(
        self, organization_id: str, external_subscription_id: str
    ) -> Mapping[str, EvaluatedAlert]:
        """Return what alerts came to when they were looked at last, by id of the alert."""
        ...

    async def estimated_fees(
        self, organization_id: str, event: IncomingEvent, at_ms: int
    ) -> list[EstimatedFee]:
        """Return what an event would bill at once, if it came now; nothing is kept of it.

        Raises Unavailable while a refold has yet to bring it where definitions say.
        """
        ...

    async def regrouped_usage(
        self, usage: PeriodUsage, wanted: Regrouping, at_ms: int
    ) -> PeriodUsage:
        """Return what `current_usage` gave in other groups, of some events, or since the start.

        Raises:
            TooManyGroups: it would have more than may be shown.
            TooManyScans, TimeBudgetExceeded, BeyondRetention: as in `Evidence`.
        """
        ...

    async def past_periods(
        self, organization_id: str, external_subscription_id: str, external_customer_id: str
    ) -> list[PastPeriod]:
        """List a customer's periods of a subscription that ended before now, newest first."""
        ...

    async def period_usage(
        self, organization_id: str, external_subscription_id: str, period: PastPeriod
    ) -> PeriodUsage:
        """Return the usage of one of them."""
        ...


class Evidence(Protocol):
    """What the events say of the figures: they are read again for every answer.

    That raises TooManyScans while enough others read, TimeBudgetExceeded when it takes too long,
    and BeyondRetention when the log has the events no longer.
    """

    async def explain(self, organization_id: str, query: ExplainQuery) -> Explanation | None:
        """Show how a metric's figures come about; None when no period holds the instant.

        Raises NoSuchRevision if it asks for what came after one that was never published.
        """
        ...

    async def trace(
        self, organization_id: str, transaction_id: str, external_subscription_id: str | None
    ) -> list[EventFate]:
        """Show what became of every arrival of an event id among those at home here."""
        ...

    async def verdicts(
        self, organization_id: str, identities: Sequence[tuple[str, str]]
    ) -> list[KnownEvent | None]:
        """Say what became of events at home here, by (external_subscription_id, transaction_id).

        None: none was folded. Only the records of those events are read.
        """
        ...

    async def series(self, organization_id: str, query: SeriesQuery) -> UsageSeries:
        """Return the usage of a metric over time."""
        ...

    def verify(
        self,
        organization_id: str,
        external_subscription_id: str | None,
        repair: bool,
        figures_only: bool,
    ) -> AsyncGenerator[VerifyReport, None]:
        """Compare live figures to the raw topic: of one subscription, or all at home here.

        The last report is `done`. `repair` queues a refold of what differs. `figures_only`: leave
        out published messages, which are compared with a fold of all of events-raw.
        """
        ...

    async def preview(
        self, organization_id: str, changes: Sequence[Command], from_ms: int, to_ms: int
    ) -> AsyncGenerator[PreviewReport, None] | Rejected:
        """Compute what changes of metrics and plans would make of the usage at home here.

        It covers periods not published yet, and published ones that start in [from_ms, to_ms).
        The last report is `done`.
        """
        ...


class Published(Protocol):
    """Records that were published."""

    async def list_records(
        self, organization_id: str, query: RecordQuery, offset: int, limit: int
    ) -> Listed[RecordPlace]:
        """Find which records of subscriptions at home here are listed."""
        ...

    def read_records(
        self, organization_id: str, places: Sequence[RecordPlace]
    ) -> AsyncGenerator[Sequence[bytes], None]:
        """Read listed records as they were published, wherever they are at home, some at a time.

        Raises BeyondRetention when the topic has one no longer, Unavailable when not yet.
        """
        ...


class Repairs(Protocol):
    """What an operator does about records that do not count as they are."""

    async def set_aside(
        self, partition: int, first: int, after: int, reason: str
    ) -> list[SetAside]:
        """Let no fold look at raw records that are not folded yet.

        The owner of the partition takes it over anew. Raises NotSetAside, Unavailable.
        """
        ...

    async def lift(self, one: SetAside) -> int:
        """Append what is set aside anew and unlist it; return how many records were there yet."""
        ...

    async def replay(
        self, organization_id: str | None, partition: int, offset: int, by: str | None
    ) -> Replayed | None:
        """Append a dead letter's value anew (as `meter-admit`); None: no such dead letter.

        With an organization, only one of its own. `by`: the key's name.
        """
        ...

    async def dead_letter(
        self, organization_id: str | None, partition: int, offset: int
    ) -> DeadLetter | None:
        """Return a dead letter; with an organization, only one of its own."""
        ...

    def dead_letters(self, organization_id: str | None) -> list[DeadLetterView]:
        """Return the newest dead letters of an organization, or of all, newest first."""
        ...

    async def letters_before(self, query: DeadLetterQuery) -> DeadLetterPage:
        """Return a page of all dead letters that the topic has, newest first."""
        ...

    async def letters_since(
        self, organization_id: str | None, since: Mapping[int, int] | None
    ) -> tuple[list[DeadLetterView], Mapping[int, int]]:
        """Return dead letters from these offsets on, some at a time, and where to go on.

        None stands for the end of the topic: there are none, yet.
        """
        ...


class Overviews(Protocol):
    """The live page's figures."""

    async def overview(self, query: OverviewQuery) -> Overview:
        """Return what the live page shows now."""
        ...


class Meter(Protocol):
    """One worker, as the web sees it."""

    opened: bool
    """Whether what all workers follow is read: before that nothing but its health is known."""

    @property
    def definitions(self) -> Definitions:
        """Return the definitions log as applied by this worker."""
        ...

    def now_ms(self) -> int:
        """Return the clock, in ms since the epoch."""
        ...

    def health(self) -> list[Reason]:
        """Return everything that is not as it should be, the earliest first."""
        ...

    @property
    def routing(self) -> Routing: ...
    @property
    def definer(self) -> Definer: ...
    @property
    def ingest(self) -> Ingest: ...
    @property
    def events(self) -> Events: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def evidence(self) -> Evidence: ...
    @property
    def published(self) -> Published: ...
    @property
    def repairs(self) -> Repairs: ...
    @property
    def overviews(self) -> Overviews: ...
