"""What tests plant before the fold of a partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from app.kernel import fold_led
from app.wire.arrivals import Arrival, Run
from tables.fold import fold_run
from tables.partition import partition as folding


def look_before_folding(look: Callable[[Arrival], None]) -> ExitStack:
    """Show each event to `look` before it is folded, straight or closely, until it is closed."""

    def closely(route: Any, arrivals: Sequence[Arrival], *more: Any) -> bool:
        for arrival in arrivals:
            look(arrival)
        return fold_run(route, arrivals, *more)

    def straight(routes: Any, runs: Sequence[Run], *more: Any) -> Any:
        for _, arrivals in runs:
            for arrival in arrivals:
                look(arrival)
        return fold_led(routes, runs, *more)

    planted = ExitStack()
    planted.enter_context(patch.object(folding, "fold_run", closely))
    planted.enter_context(patch.object(folding, "fold_led", straight))
    return planted
