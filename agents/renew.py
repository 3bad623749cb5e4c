"""Renew: whoever a definition concerns is looked at in turns, while events fold on."""

from __future__ import annotations

from agents.loop import whenever_wanted
from app.runtime.partition.owned import OwnedPartition


async def renew(owned: OwnedPartition) -> None:
    """Look at what is defined until cancelled."""
    if owned.state.standing.behind_since_ms is not None:
        # It was restored so, or came back from a rebalance in the middle of it.
        owned.renewal.wanted.set()
    await whenever_wanted(owned, owned.renewal.wanted, lambda: None, owned.renewal.renew)
