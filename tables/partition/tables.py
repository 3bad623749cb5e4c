"""What the parts of a partition share: the definitions, and the tables that changelogs carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from app.bounds.work_done import WorkDone
from app.definitions.state import Definitions
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.checkpoint import Checkpoint
from tables.changelogged.checksum import Changelogged
from tables.changelogged.corrections import CorrectionTable
from tables.changelogged.daily import DailyTable
from tables.changelogged.evaluations import EvaluationTable
from tables.changelogged.instants import InstantTable
from tables.changelogged.members import Members
from tables.changelogged.presence_table import EventRangesTable
from tables.changelogged.published import PublishedTable
from tables.event_index.index import EventIndex


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables of one partition; none is ever another one."""

    definitions: Definitions
    index: EventIndex
    members: Members
    checkpoint: Checkpoint
    event_ranges: EventRangesTable
    published: PublishedTable
    corrections: CorrectionTable
    evaluations: EvaluationTable
    instants: InstantTable
    daily: DailyTable
    work: WorkDone

    @property
    def by_changelog(self) -> dict[str, Changelogged | EventRangesTable]:
        """The tables that each have a changelog, in the order in which a flush writes them."""
        return {
            "presence": self.event_ranges,
            "published": self.published,
            "corrections": self.corrections,
            "evaluations": self.evaluations,
            "instants": self.instants,
            "daily": self.daily,
        }


@dataclass(frozen=True, slots=True)
class Carried:
    """What a partition begins with; what is not told is empty."""

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    event_ranges: EventRangesTable | None = None
    published: PublishedTable = field(default_factory=PublishedTable)
    corrections: CorrectionTable = field(default_factory=CorrectionTable)
    evaluations: EvaluationTable = field(default_factory=EvaluationTable)
    instants: InstantTable = field(default_factory=InstantTable)
    daily: DailyTable = field(default_factory=DailyTable)
    is_home: Callable[[SubscriptionKey], bool] = lambda name: True
    """Tells whose events and cells are here."""
    names_at_home: Callable[[], Iterator[SubscriptionKey]] | None = None
    """Yields all subscriptions whose events and cells are here; None: those of everybody are."""
