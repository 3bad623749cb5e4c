"""Since when events keep to which rules of `app.bounds.limits`: a number of `input_limits` each."""

from __future__ import annotations

from typing import NamedTuple

from app.definitions.periods import NEVER_MS


class InputLimits(NamedTuple):
    """Append times in ms after which events keep to the rules of a number; NEVER_MS: none does."""

    limited_after_ms: int = NEVER_MS
    """1: what is longer, or costs more, than a limit says does not count."""
    rounded_after_ms: int = NEVER_MS
    """2: the result of an expression is rounded to as many digits as a value may have."""
    blank_after_ms: int = NEVER_MS
    """3: an empty text that a unique count paid in advance counts bills nothing at once."""

    as_lago_after_ms: int = NEVER_MS
    """5: an expression writes numbers as Lago does."""

    def parts(self, earlier_ms: int, later_ms: int) -> bool:
        """Return whether events appended at two times may keep to different rules."""
        return any(earlier_ms <= each < later_ms for each in self)


NO_LIMITS = InputLimits()

NUMBERS = (1, 2, 3, 5)
"""The number of each; 4 is of periods, whose terms tell it."""
