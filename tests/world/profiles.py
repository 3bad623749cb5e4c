"""How much a run of the tests plays: `make test` half of each law, `make check` a little of it.

`make check` asks for its profile by `--hypothesis-profile=check`, `make laws-long` for `long`. This
one plays LAWS_TIMES as many examples as a law says; more than once as many are others each time.
Where bugs are planted a law plays all its examples, and the first that fails is enough.
"""

from __future__ import annotations

import os
from typing import TypeVar

from hypothesis import HealthCheck, Phase, settings

T = TypeVar("T")

SUITE = "suite"
CHECK = "check"
LONG = "long"
PLANTED = "planted"
CHECKED_EXAMPLES = 20
UNLESS_TOLD = 100
"""How many examples a law has that says no number."""
TIMES = int(os.environ.get("LAWS_TIMES", "1"))
"""How many times its examples a law plays in the long run."""


def register_profiles() -> None:
    """Make all profiles known, and play the suite's unless an option says otherwise."""
    for name in (CHECK, LONG, PLANTED, SUITE):
        # How fast examples are made is the machine's matter.
        settings.register_profile(
            name,
            deadline=None,
            derandomize=TIMES == 1,
            suppress_health_check=[HealthCheck.too_slow],
            max_examples=_count(name, UNLESS_TOLD),
            phases=(Phase.explicit, Phase.generate) if name == PLANTED else tuple(Phase),
        )
    settings.load_profile(SUITE)


def sized(suite: T, check: T) -> T:
    """Return what the profile of this run plays."""
    return check if settings.get_current_profile_name() == CHECK else suite


def count(most: int) -> int:
    """Return how many of so many examples the profile of this run plays."""
    return _count(settings.get_current_profile_name(), most)


def dear(most: int) -> int:
    """Return how many of so many examples are played where one takes a good part of a second.

    A third in `make test`, a tenth in `make check`, all where a run is long.
    """
    profile = settings.get_current_profile_name()
    if profile in (LONG, PLANTED):
        return _count(profile, most)
    return max(1, most // (10 if profile == CHECK else 3))


def _count(profile: str, most: int) -> int:
    if profile in (LONG, PLANTED):
        return most * TIMES
    few = min(most, CHECKED_EXAMPLES)
    return few if profile == CHECK else max(few, most // 2)


def examples(most: int) -> settings:
    """Return the settings of a law of so many examples; only a long run plays new ones."""
    return settings(max_examples=count(most), deadline=None, derandomize=TIMES == 1)
