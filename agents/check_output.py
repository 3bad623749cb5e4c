"""Check that usage-records still reaches as far as it was published.

Whoever reads a topic that was deleted, cut or created anew would miss records until the next one is
published, which may be a month. The worker ends instead, and publishes again what the topic lacks
when it is started again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from agents.loop import every
from app.kafka.topics import output_tp
from app.runtime.engine import Engine
from app.runtime.partition.commit import OutputLost
from tables.changelogged.checkpoint import OutputMark

log = logging.getLogger(__name__)

EVERY_S = 30.0


async def check_output(worker: Engine) -> None:
    """Look every now and then until cancelled; trouble with the broker only delays it.

    Raises:
        OutputLost: a topic ends before the newest record that it was given.
    """
    lost: dict[int, OutputMark] = {}

    async def look() -> None:
        nonlocal lost
        lost = await lost_outputs(worker, lost)

    await every(EVERY_S, look, lambda error: log.warning(_NOT_ASKED, error))


_NOT_ASKED = "Whether usage-records is whole could not be asked: %s"


async def lost_outputs(worker: Engine, lost: Mapping[int, OutputMark]) -> dict[int, OutputMark]:
    """Return newest records of owned partitions that their topic does not reach.

    `lost`: what the look before returned. One look proves nothing: who leads a partition no more,
    but does not know it yet, answers with an end of before.

    Raises:
        OutputLost: as in `check_output`.
    """
    newest = {
        number: each.state.checkpoint.output
        for number, each in worker.owned.items()
        if each.state.checkpoint.output is not None
    }
    ends = await worker.offsets.output_ends(newest) if newest else {}
    missing = {number: newest[number] for number, end in ends.items() if end <= newest[number][0]}
    for number, mark in sorted(missing.items()):
        if lost.get(number) == mark:
            tp = output_tp(worker.settings, number)
            raise OutputLost(tp, mark[0], f"the topic ends at {ends[number]}")
    return missing
