"""Cool: what no event touches any more is packed again, in turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from app.bounds.turns import Work
from app.runtime.partition.owned import OwnedPartition
from tables.partition.cooling import Cooling

LOOK_S = 5.0
"""Between two looks at what has become idle."""
REST_S = 60.0
"""Between two of a partition where no event came: looks of others may have left something."""

COOLING = Work("other", "cool")


async def cool(owned: OwnedPartition, partitions: Callable[[], int]) -> None:
    """Pack the cells of who is idle until cancelled; `partitions`: how many this worker owns."""
    cooling = Cooling(owned.state)
    while True:
        if not cooling.has_work:
            with suppress(TimeoutError):
                async with asyncio.timeout(REST_S):
                    await owned.next_flush.begun.wait()
        await asyncio.sleep(LOOK_S)
        if cooling.has_work and not owned.work.shaping.locked():
            async with owned.work.shaping:
                most = owned.shared.settings.warm_bytes // max(1, partitions())
                await owned.work.run(COOLING, cooling.cooling(most))
