"""The checkpoint: what a flush says of the whole partition, last in its transaction."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from app.definitions.model import FOLD_VERSION
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.changelogged.checksum import ChangelogSum
from tables.event_index.log import LOG_START, LogPlace


class OutputMark(NamedTuple):
    """A record of a topic that a partition publishes to: the newest that is known of."""

    offset: int
    digest: bytes
    """Hash of its value."""


_FORGETTING_BEFORE = 5
_FORGETTING = 1_911
FORGETTING_VERSION = _FORGETTING + FOLD_VERSION
"""What a checkpoint says since cells were forgotten: an earlier program refuses to take it.

Programs that never forgot cells of charges paid in advance divide it by 1,000, and those that
never forgot cells that tell days by 500. Those that let no figures rest divide it by 250, and those
that carry on what recurs when nothing is to come by 125. Those that keep cells of charges with
presentation keys divide it by 25, and those that keep what recurs and is paid in advance by 5. They
take the rest for the version, as all do of what they wrote.
"""


class StateTooNew(RuntimeError):
    """The changelog was written by a newer program; this one must not touch it."""


class Checkpoint(msgspec.Struct, array_like=True, kw_only=True):
    """What a flush says of the whole partition: how far it has come, and sums to check it by."""

    fold_version: int = FOLD_VERSION
    epoch: int = 0
    flush: int = 0
    raw_next: int = 0
    rekeyed_next: int = 0
    append_time_ms: int = -1
    marks: dict[int, tuple[int, int]] = {}
    """Highest (raw offset, array index) taken of each raw partition through events-rekeyed."""
    definitions_offset: int = 0
    definitions_ms: int = -1
    index_length: int = 0
    cells: int = 0
    cells_hash: int = 0
    members: int = 0
    cut_ms: int = -1
    """Every cut up to it is published."""
    index_epoch: int = 0
    """When the event index was begun: an index of another time is not this one."""
    refolding: tuple[MeterKey, ...] = ()
    """Meter keys whose refold was not swapped in yet: the index may already name another winner."""
    presence_sum: ChangelogSum | None = None
    """None: the record was written by a program that kept no sums of the other changelogs."""
    published_sum: ChangelogSum | None = None
    corrections_sum: ChangelogSum | None = None
    members_sum: ChangelogSum | None = None
    history_ms: int = -1
    """History records appended until then shape all cells."""
    output: OutputMark | None = None
    """The newest usage record; None: none yet, or the program that wrote this kept no note."""
    generation: int = -1
    """Sets of members of earlier ones may be void, so no span begins with those; -1: not noted."""
    attempt: int = 0
    """Take-overs since the last flush that moved an offset (bounded-work §1.4)."""
    behind: bool = False
    """Definitions were being looked at: for some cells those after `definitions_offset`, too."""
    searched_ms: int = -1
    """Among undefined names that are not kept one by one is none that was defined before."""
    evaluations_sum: ChangelogSum | None = None
    grid_ms: int = -1
    """Grid cuts until then were taken, whatever other cuts are to be taken again."""
    evaluations_lost_ms: int = -1
    """What alerts came to until then is lost, and found from the cells when it is needed."""
    instants_sum: ChangelogSum | None = None
    daily_sum: ChangelogSum | None = None
    changed_ms: int = -1
    """What usage-changed tells up to it is told, whatever other cuts are to be taken again."""
    changed_name: tuple[int, SubscriptionKey] = (-1, ("", ""))
    """Moment that is being told, and the last external subscription that was."""
    leaving: tuple[bytes, ...] = ()
    """Sets of members that are being emptied, because nothing is folded into them any more."""
    figures_whole: bool = False
    """Whether no grid cut decides again what its events billed, also where `cut_ms` has it taken
    again: usage-records had all of it when the state was lost."""
    at_rest: LogPlace = LOG_START
    """Where the log of figures at rest ends."""

    @property
    def is_too_new(self) -> bool:
        """Whether a program of a later fold version wrote it."""
        told = self.fold_version
        version = told % _FORGETTING_BEFORE if told < _FORGETTING else told - _FORGETTING
        return version > FOLD_VERSION

    @property
    def was_folded_anew(self) -> bool:
        """Whether an earlier state was lost: that of a new partition has the first epoch."""
        return self.index_epoch > 1

    @property
    def billed_ms(self) -> int:
        """What events bill at grid cuts up to it is decided."""
        return self.grid_done_ms if self.figures_whole else self.cut_ms

    @property
    def grid_done_ms(self) -> int:
        """Every grid cut up to it is taken."""
        return max(self.cut_ms, self.grid_ms)
