"""What the owned partitions of a worker share."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol

from app.bounds.discards import Discards
from app.bounds.turns import Turns
from app.clock import Clock
from app.definitions.state import Definitions
from app.kafka.brokers import Brokers
from app.ledger.ledger import LedgerRoom
from app.redis.members import MemberStore
from app.runtime.apart import FirstFailure
from app.runtime.delivery import Delivery
from app.runtime.flush_pace import FlushPace
from app.runtime.followed import FollowedDefinitions
from app.runtime.homes import HomePartitions
from app.runtime.offsets import Offsets
from app.runtime.progress import ProgressTable
from app.runtime.raw_lookup import RawLookup
from app.runtime.reports import Reports
from app.runtime.status import Tally
from app.settings import Settings
from tables.changelogged.checkpoint import FORGETTING_VERSION
from tables.changelogged.members import MEMBERS_AT_HAND

Rebuilt = Literal["partition", "index", "figures", "members", "published"]


class Numbered(Protocol):
    """An owned partition, for whoever only tells it from others."""

    @property
    def number(self) -> int: ...


class Owner(Protocol):
    """The engine, which gives partitions up and restores them."""

    def fail(self, owned: Numbered, error: BaseException) -> None:
        """Give a partition up that failed; it is restored, or goes elsewhere."""
        ...


CAREFUL_BATCHES = 4
"""Batches of which records are at hand at once to be tried, of as many partitions."""


@dataclass
class WorkerContext:
    """What all partitions of a worker share."""

    settings: Settings
    clock: Clock
    definitions: Definitions
    homes: HomePartitions
    members: MemberStore
    url: str
    owner: Owner
    reports: Reports
    delivery: Delivery
    brokers: Brokers
    raw_lookup: RawLookup
    offsets: Offsets
    followed: FollowedDefinitions
    first_failure: FirstFailure
    """Tries events that may end the process; returns the first failure."""
    trying: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CAREFUL_BATCHES))
    """Batches whose records are tried at once."""
    packing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the partition whose flush is packed."""
    tally: Tally = field(default_factory=Tally)
    turns: Turns = field(default_factory=Turns)
    """The turns of the worker's event loop."""
    rebuilds: Counter[Rebuilt] = field(default_factory=Counter)
    """Rebuilds since the start, by the torn or lost part: partition, index, members, published."""
    discards: Discards = field(default_factory=Discards)
    """Local state that was discarded since the start."""
    unsent_bytes: int = 0
    """Size of all flushes that are packed and not committed."""
    flush_pace: FlushPace = field(default_factory=FlushPace)
    progress: ProgressTable = field(default_factory=ProgressTable)
    """What the owners of all partitions have reported."""
    ledger_room: LedgerRoom = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.ledger_room = LedgerRoom(
            settings.directory_of("ledger"), settings.ledger_bytes, self.discards
        )

    partitions_at_hand: int = 0
    """Among how many partitions memory is divided; 0: not known yet."""

    def divide_memory(self, partitions: int) -> None:
        """Divide what partitions have together among so many."""
        self.partitions_at_hand = partitions

    @property
    def index_bytes(self) -> int:
        """Memory for the event index of one partition."""
        return max(1 << 20, self.settings.dedupe_memory_bytes // self._sharing)

    @property
    def figures_bytes(self) -> int:
        """Memory for the index of what the events of one partition billed at once."""
        return max(1 << 19, self.index_bytes // 8)

    @property
    def members_at_hand(self) -> int:
        """Members of unique counts that one partition keeps at hand."""
        return MEMBERS_AT_HAND // self._sharing

    def is_state_read_by_all(self) -> bool:
        """Return whether the owners of all partitions read what this program leaves out."""
        return self.progress.all_read(FORGETTING_VERSION, self.settings.raw_partitions)

    @property
    def _sharing(self) -> int:
        return self.partitions_at_hand or self.settings.raw_partitions

    def set_url(self, url: str) -> None:
        """Note where the other workers reach this one."""
        self.url = url

    def note_unsent(self, size: int) -> None:
        """Count a flush that is packed; a negative size takes it back."""
        self.unsent_bytes += size
