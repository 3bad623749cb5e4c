"""What the live page shows of a worker."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from app.meter.events import RawPosition
from app.meter.health import Reason

ELSEWHERE = "elsewhere"
"""State of a partition that another worker owns."""

LATELY_MS = 3_600_000
"""How long ago the page calls lately, in ms."""


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

    @property
    def is_ours(self) -> bool:
        """Whether the worker that tells of it owns it."""
        return self.owner is None and self.state != ELSEWHERE


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
    """Empty: the subscription was searched for, and has no figure in a period that runs."""
    charge_code: str
    units: Decimal | None
    """None: more groups than are summed for a page, or no figure."""
    events_count: int | None
    """None as well then."""
    from_ms: int
    to_ms: int
    timezone: str = "UTC"
    """The zone whose days the period consists of."""
    implicit: bool = False


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """One worker."""

    version: str
    since_ms: int
    """When it started."""
    memory_bytes: int | None
    """Resident memory; None: the system does not tell."""
    verified: int
    """Metrics of subscriptions that were compared to the raw topic."""
    differing: int


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


class DeadLetterQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters are asked for."""

    organization_id: str | None
    """None: of every organization, and of none."""
    code: str | None = None
    before: Mapping[int, int] = {}
    """By partition, only below this offset; of others the newest."""
    most: int = 50
    to_replay: bool = False
    """Without those that were refused again, for the same reason, as one that is there yet."""


class DeadLetterPage(msgspec.Struct, frozen=True):
    """Some dead letters, newest first."""

    letters: list[DeadLetterView]
    before: Mapping[int, int] | None
    """Where the next page begins; None: there are no older ones."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One refused event with all that its record has."""

    view: DeadLetterView
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    value: bytes


class Replayed(msgspec.Struct, frozen=True):
    """A dead letter that was appended anew, and where."""

    letter: DeadLetter
    position: RawPosition


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What the live page shows."""

    now_ms: int
    worker: str
    partitions: tuple[PartitionView, ...]
    closing: tuple[ClosingView, ...]
    usage: tuple[UsageView, ...]
    usage_total: int
    """Subscriptions that match the search, shown or not; many are not counted to the end."""
    records: tuple[RecordView, ...]
    """Newest first."""
    dead_letters: tuple[DeadLetterView, ...]
    """Newest first."""
    dead_letters_more: bool = False
    """Whether there may be others of the last hour: only so many of all are kept here."""
    set_aside: int = 0
    """Raw records and elements that no fold looks at."""
    parked: int = 0
    """Subscriptions whose figures stand as they are."""
    health: tuple[Reason, ...] = ()
    """What of this worker is not as it should be."""
    about: WorkerView
    not_counted_lately: frozenset[tuple[str, str]] | None = None
    """Reasons and codes with an event of the last hour that no charge counted, as many as are
    looked at; None: nobody looked, as all organizations were asked for."""
    not_counted_since_ms: int = -1
    """Append time up to which nobody here knows what was not counted; -1: all is known."""


class OverviewQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to show: of one organization or of all, and lines that contain `search`."""

    organization_id: str | None
    search: str = ""
    limit: int = 200
