"""Add days: what daily records say is put on local disk as they come, for analytics."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from agents.loop import every
from app.definitions.state import Definitions
from app.runtime.partition.owned import OwnedPartition
from app.runtime.topics.daily_additions import DailyAdditions

log = logging.getLogger(__name__)

EVERY_S = 60.0
"""Whoever asks has what came since read by itself."""


class Added(Protocol):
    """The parts of a worker that are asked."""

    definitions: Definitions
    daily_additions: DailyAdditions

    @property
    def owned(self) -> Mapping[int, OwnedPartition]: ...


async def add_days(worker: Added) -> None:
    """Read on in the daily records of the partitions that are here, until cancelled."""

    async def read_on() -> None:
        if worker.owned and worker.definitions.settings_at().daily_records:
            async with worker.daily_additions.opened(list(worker.owned)):
                pass

    # Nothing is invoiced by it: whatever keeps it from going on ends no worker.
    await every(EVERY_S, read_on, lambda error: log.warning(_INTERRUPTED, error), (Exception,))


_INTERRUPTED = "Daily records cannot be read now: %r"
