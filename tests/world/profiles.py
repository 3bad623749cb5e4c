"""How much a run of the tests plays: `make test` all of it, `make check` a little of each kind.

`make check` asks for its profile by `--hypothesis-profile=check`.
"""

from __future__ import annotations

from typing import TypeVar

from hypothesis import HealthCheck, settings

T = TypeVar("T")

SUITE = "suite"
CHECK = "check"
CHECKED_EXAMPLES = 20


def register_profiles() -> None:
    """Make both profiles known, and play everything unless an option says otherwise."""
    # How fast examples are made is the machine's matter.
    settings.register_profile(SUITE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile(CHECK, settings.get_profile(SUITE), max_examples=CHECKED_EXAMPLES)
    settings.load_profile(SUITE)


def sized(suite: T, check: T) -> T:
    """Return what the profile of this run plays."""
    return check if settings.get_current_profile_name() == CHECK else suite


def examples(most: int) -> settings:
    """Return the settings of a law that plays so many examples, the same ones each time."""
    few = min(most, CHECKED_EXAMPLES)
    return settings(max_examples=sized(most, few), deadline=None, derandomize=True)
