"""`python -m tests.upgrade VERSION`: keep what this version leaves behind, for those to come.

Run it in the tree of a release, once, and commit the files. Each plays the script of a seed without
its faults. In the middle the workers end, and what they left is kept. Then they go on to the end.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import get_args

from app.kafka.topics import METER_DEFINITIONS
from app.wire.usage_records import Topic
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import script_of
from tests.simulation.steps import Ask, Fault, Step
from tests.upgrade.kept import Kept, KeptEntry, files_of, logs_of

SEEDS = (3_000_001, 4_000_001, 5_000_001)
LOGS = ("events-raw", METER_DEFINITIONS)


async def keep(player: Player, version: str) -> Kept:
    """Play a script, and keep what there was in the middle of it."""
    await player.begin()
    middle = len(player.steps) // 2
    for step in player.steps[:middle]:
        await player.step(step)
    await player._recover()
    await player._heal()
    await player._rest(player.clock.now_ms())
    for worker in player.workers:
        await worker.stop()
    at_ms = player.clock.now_ms()
    logs, disks = list(logs_of(player.broker)), files_of(player.directory)
    for step in player.steps[middle:]:
        await player.step(step)
    outcome = await player.end()
    assert outcome.check() == []
    ends = {(each.topic, each.partition): each.end for each in logs}
    later = [
        KeptEntry.of(entry)
        for place, log in player.broker.logs.items()
        if place[0] in LOGS
        for entry in log.entries
        if entry.offset >= ends.get(place, 0)
    ]
    later.sort(key=lambda each: (each.timestamp, each.topic != METER_DEFINITIONS))
    published = {
        topic: [each.value or b"" for each in outcome.messages(topic)] for topic in get_args(Topic)
    }
    published["usage-records"] = outcome.records
    partitions = player.script.partitions
    return Kept(
        version, player.seed, partitions, at_ms, outcome.end_ms, logs, disks, later, published
    )


def main(version: str) -> None:
    """Write a file for each seed."""
    logging.disable(logging.CRITICAL)
    for seed in SEEDS:
        script = script_of(seed)
        steps: list[Step] = [each for each in script.steps if not isinstance(each, Fault | Ask)]
        with tempfile.TemporaryDirectory() as directory:
            calm = script._replace(steps=steps)
            at = Path(directory)
            run(in_simulation(calm, seed, at, lambda player: keep(player, version))).write()


if __name__ == "__main__":
    main(sys.argv[1])
