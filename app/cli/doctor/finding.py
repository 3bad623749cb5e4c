"""What a check came to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from app.cli.exits import DIFFERS, NO_VERDICT

Outcome = Literal["ok", "warn", "fail", "unknown"]
"""unknown: it could not be asked."""


CLOCKS_APART_S: Final = 5.0


class Finding(NamedTuple):
    """One check: what was found, and what mends it."""

    area: str
    check: str
    outcome: Outcome
    found: str
    mend: str = ""


def judged(
    area: str, check: str, is_ill: bool, found: str, mend: str, *, outcome: Outcome = "warn"
) -> Finding:
    """Return what was found: ok, or ill with what mends it."""
    return (
        Finding(area, check, outcome, found, mend) if is_ill else Finding(area, check, "ok", found)
    )


Check = tuple[str, str]
"""Area, and name in it."""


def complete(findings: Iterable[Finding], checks: Iterable[Check]) -> list[Finding]:
    """Return findings with one for each check that came to nothing: nobody saw whether all is well.

    They stand with those of their area.
    """
    found = list(findings)
    made = {(finding.area, finding.check) for finding in found}
    mend = "Mend first what fails or is unknown beside it."
    found += [
        Finding(*check, "unknown", "It could not be looked at.", mend)
        for check in checks
        if check not in made
    ]
    areas = list(dict.fromkeys(area for area, _ in checks))
    return sorted(found, key=lambda finding: areas.index(finding.area))


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 if anything fails, 3 if something could not be asked, else 0."""
    outcomes = {finding.outcome for finding in findings}
    if "fail" in outcomes:
        return DIFFERS
    return NO_VERDICT if "unknown" in outcomes else 0
