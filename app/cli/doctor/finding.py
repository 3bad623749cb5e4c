"""What a check came to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

Outcome = Literal["ok", "warn", "fail", "unknown"]
"""unknown: it could not be asked."""


class Finding(NamedTuple):
    """One check: what was found, and what mends it."""

    area: str
    check: str
    outcome: Outcome
    found: str
    mend: str = ""


DONE, FAILED, NOT_FOUND_OUT = 0, 1, 3


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 if anything fails, 3 if something could not be asked, else 0."""
    outcomes = {finding.outcome for finding in findings}
    if "fail" in outcomes:
        return FAILED
    return NOT_FOUND_OUT if "unknown" in outcomes else DONE
