"""Guard: usage-records still reaches as far as it was published.

Whoever reads a topic that was deleted, cut or created anew would miss records until the next one is
published, which may be a month. The worker ends instead, and publishes again what the topic lacks
when it is started again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from app.clients import NOT_TAKEN
from app.owned import OutputLost
from app.republished import output_tp
from tables.partition import OutputMark

if TYPE_CHECKING:
    from app.runtime.engine import Engine

log = logging.getLogger(__name__)

EVERY_S = 30.0


async def guard(engine: Engine) -> None:
    """Look every now and then until cancelled; trouble with the broker only delays it.

    Raises:
        OutputLost: a topic ends before the newest record that it was given.
    """
    lost: dict[int, OutputMark] = {}
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            lost = await look(engine, lost)
        except NOT_TAKEN as error:
            log.warning("Whether usage-records is whole could not be asked: %s", error)


async def look(engine: Engine, lost: dict[int, OutputMark]) -> dict[int, OutputMark]:
    """Newest records of owned partitions that their topic does not reach; `lost`: a look before.

    One look proves nothing: who leads a partition no more, but does not know it yet, answers with
    an end of before.

    Raises:
        OutputLost: as in `guard`.
    """
    newest = {
        number: owned.table.record.output
        for number, owned in engine.owned.items()
        if owned.table.record.output is not None
    }
    ends = await engine.output_ends(newest) if newest else {}
    missing = {number: mark for number, mark in newest.items() if ends[number] <= mark[0]}
    for number, mark in sorted(missing.items()):
        if lost.get(number) == mark:
            tp = output_tp(engine.settings, number)
            raise OutputLost(tp, mark[0], f"the topic ends at {ends[number]}")
    return missing
