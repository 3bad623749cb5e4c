"""Renew: whoever a definition concerns is looked at in turns, while events fold on."""

from __future__ import annotations

from app.owned import OwnedPartition


async def renew(owned: OwnedPartition) -> None:
    """Look at what is defined until cancelled."""
    while True:
        if owned.table.behind_since_ms is None:
            await owned.renew_wanted.wait()
        owned.renew_wanted.clear()
        try:
            await owned.renew()
        except Exception as error:
            owned.shared.fail(owned, error)
            return
