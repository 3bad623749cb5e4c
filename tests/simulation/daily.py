"""Daily records in a script: the setting comes and goes, and some events are dated ahead."""

from __future__ import annotations

import random

import msgspec

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from tests.simulation.steps import Define, Event, Script, Step
from tests.world.clock import DAY_MS


def with_daily(script: Script, seed: int) -> Script:
    """The same with daily records, mostly from the beginning on; now and then they pause."""
    choose = random.Random(f"daily {seed}")
    steps: list[Step] = []
    keeps = choose.random() < 0.7
    newest = SettingsRecord()
    for step in script.steps:
        if isinstance(step, Define) and step.kind == "settings":
            newest = msgspec.convert(Command.decode(step.value).payload, SettingsRecord)
            steps.append(_set(newest, keeps))
            continue
        if steps and choose.random() < 0.02:
            keeps = not keeps or choose.random() < 0.3
            steps.append(_set(newest, keeps))
        if isinstance(step, Event) and choose.random() < 0.15:
            step = step._replace(lag_ms=-choose.randrange(4 * DAY_MS))
        steps.append(step)
    return script._replace(steps=steps)


def _set(record: SettingsRecord, keeps: bool) -> Define:
    command = commands.set_settings(msgspec.structs.replace(record, daily_records=keeps))
    return Define(command.type, command.encode())
