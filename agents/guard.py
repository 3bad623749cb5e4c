"""Guard: usage-records still reaches as far as it was published.

Whoever reads a topic that was deleted, cut or created anew would miss records until the next one is
published, which may be a month. The worker ends instead, and publishes again what the topic lacks
when it is started again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from app.owned import OutputLost
from app.republished import output_tp
from tables.partition import OutputMark

if TYPE_CHECKING:
    from app.engine import Engine

log = logging.getLogger(__name__)

EVERY_S = 30.0


async def guard(engine: Engine) -> None:
    """Look every now and then until cancelled; trouble with the broker only delays it.

    Raises:
        OutputLost: a topic ends before the newest record that it was given.
    """
    seen: dict[int, OutputMark] = {}
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            seen = await look(engine, seen)
        except KafkaError as error:
            log.warning("Whether usage-records is whole could not be asked: %s", error)


async def look(engine: Engine, seen: dict[int, OutputMark]) -> dict[int, OutputMark]:
    """What the owned partitions published last; `seen`: the same a look before.

    Raises:
        OutputLost: as in `guard`.
    """
    now = {
        number: owned.table.record.output
        for number, owned in engine.owned.items()
        if owned.table.record.output is not None
    }
    # A newer one may be in a transaction yet, and its offset not be counted among those of readers.
    settled = {number: mark for number, mark in now.items() if seen.get(number) == mark}
    if settled:
        ends = await engine.output_ends(settled)
        for number, (offset, _) in sorted(settled.items()):
            if ends[number] <= offset:
                tp = output_tp(engine.settings, number)
                raise OutputLost(tp, offset, f"the topic ends at {ends[number]}")
    return now
