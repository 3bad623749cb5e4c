"""What seeds from `SECOND_FROM` on have beside: a second organization.

It has nearly all that the first one defines, under the same external ids and codes, and some of its
events and corrections, under the same ids. Nothing of the one may show with the other.
"""

from __future__ import annotations

import random

from msgspec.structs import replace

from app.definitions.command import Command
from tests.simulation.own_ids import with_own_ids
from tests.simulation.steps import AtOnce, Correction, Define, Event, OfOther, Script, Step
from tests.world.definitions import ORG

SECOND_FROM = 20_000_000
"""Seeds from here on have two organizations; what is evaluated for alerts is torn as well."""

OTHER = "other"


def with_second(script: Script, seed: int) -> Script:
    """The same, with what the other organization does after what the first one did."""
    choose, steps = random.Random(f"second {seed}"), list[Step]()
    # Alone, so that they have ids of their own.
    defined = [_define(step) for step in script.steps]
    twins = [each for each in defined if each is not None]
    ids = random.Random(f"second ids {seed}")
    made = iter(with_own_ids(script._replace(steps=[*twins]), ids).steps)
    for step, twin in zip(script.steps, defined, strict=True):
        steps.append(step)
        if twin is not None:
            other = next(made)
            if choose.random() < 0.95:
                steps.append(other)
        for each in step.elements if isinstance(step, AtOnce) else (step,):
            if isinstance(each, Event | Correction) and choose.random() < 0.4:
                steps.append(OfOther(each, OTHER))
    return script._replace(steps=steps)


def _define(step: Step) -> Define | None:
    """Return the same definition of the other organization, if it is of one."""
    if not isinstance(step, Define):
        return None
    command = Command.decode(step.value)
    if command.organization_id != ORG:
        return None
    return step._replace(value=replace(command, organization_id=OTHER).encode())
