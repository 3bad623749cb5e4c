"""Add days: what daily records say is put on local disk as they come, for analytics."""

from __future__ import annotations

import logging

from agents.loop import every
from app.runtime.engine import Engine

log = logging.getLogger(__name__)

EVERY_S = 60.0
"""Whoever asks has what came since read by itself."""


async def add_days(worker: Engine) -> None:
    """Read on in the daily records of the partitions that are here, until cancelled."""

    async def read_on() -> None:
        if worker.owned and worker.definitions.settings_at().daily_records:
            async with worker.daily_additions.opened(list(worker.owned)):
                pass

    # Nothing is invoiced by it: whatever keeps it from going on ends no worker.
    await every(EVERY_S, read_on, lambda error: log.warning(_INTERRUPTED, error), (Exception,))


_INTERRUPTED = "Daily records cannot be read now: %r"
