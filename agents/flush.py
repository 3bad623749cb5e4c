"""Flush: a partition's changes made durable, at most every flush_interval_s."""

from __future__ import annotations

from agents.loop import whenever_wanted
from app.runtime.owned import OwnedPartition


async def flush(owned: OwnedPartition) -> None:
    """Flush the partition until cancelled; what cannot be tried again ends the partition here."""
    interval_s = owned.shared.settings.flush_interval_s
    await whenever_wanted(owned, owned.next_flush.wanted, lambda: interval_s, owned.flush)
