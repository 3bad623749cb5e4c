"""Settings in a script that change while it runs: waits, grids, limits of groups and the rest."""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from tests.simulation.steps import Define, Script, Step
from tests.world.clock import DAY_MS

_DAY_S: Final = DAY_MS // 1000
_MOVED: Final[dict[str, tuple[object, ...]]] = {
    "grace_s": (0, 5_400, _DAY_S),
    "close_elapsed": (False, True),
    "implicit_plan": (False, True),
    "max_groups": (1, 2, 3, 10_000),
    "late_window_s": (0, 3_600, _DAY_S, 40 * _DAY_S),
    "late_policy": ("revise", "revise", "refuse"),
    "close_grid_s": (60, 300, 3_600),
    "revise_every_s": (3_600, 7_200, 6 * 3_600),
}


def with_moving_settings(script: Script, seed: int) -> Script:
    """The same with some settings changed now and then, a few at a time."""
    choose = random.Random(f"settings {seed}")
    steps: list[Step] = []
    newest = SettingsRecord()
    share = choose.choice((0.02, 0.04, 0.1))
    for step in script.steps:
        if isinstance(step, Define) and step.kind == "settings":
            newest = msgspec.convert(Command.decode(step.value).payload, SettingsRecord)
        elif steps and choose.random() < share:
            newest = _moved(newest, choose)
            command = commands.set_settings(newest)
            steps.append(Define(command.type, command.encode()))
        steps.append(step)
    return script._replace(steps=steps)


def _moved(record: SettingsRecord, choose: random.Random) -> SettingsRecord:
    names = choose.sample(sorted(_MOVED), choose.randint(1, 3))
    changed: dict[str, Any] = {name: choose.choice(_MOVED[name]) for name in names}
    return msgspec.structs.replace(record, **changed)
