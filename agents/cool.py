"""Cool: what no event touches any more is packed again, in turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents.loop import whenever_wanted
from app.bounds.turns import Work
from app.runtime.partition.owned import OwnedPartition
from tables.partition.cooling import PORTIONS, Cooling

ROUND_S = 60.0
"""Each external subscription at hand is looked at once in that time."""

COOLING = Work("other", "cool")


async def cool(owned: OwnedPartition, partitions: Callable[[], int]) -> None:
    """Pack the cells of who is idle until cancelled; `partitions`: how many this worker owns."""
    cooling = Cooling(owned.state)

    async def cool_some() -> None:
        if cooling.has_work and not owned.work.shaping.locked():
            async with owned.work.shaping:
                most = owned.shared.settings.warm_bytes // max(1, partitions())
                await owned.work.run(COOLING, cooling.cooling(most))

    await whenever_wanted(owned, asyncio.Event(), lambda: ROUND_S / PORTIONS, cool_some)
