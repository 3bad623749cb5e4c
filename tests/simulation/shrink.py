"""Shrink: leave out of a script what a violation does not need."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.script import Script


def shrink(script: Script, violated: Callable[[Script], bool]) -> Script:
    """The script without every run of steps that is not needed, long runs first."""
    size = len(script.steps) // 2
    while size:
        start = 0
        while start < len(script.steps):
            steps = script.steps[:start] + script.steps[start + size :]
            shorter = script._replace(steps=steps)
            if violated(shorter):
                script = shorter
            else:
                start += size
        size //= 2
    return script
