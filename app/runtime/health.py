"""What a worker knows of its own state, told alike by /health/ready, the page, metrics and log.

A reason has a code of a closed list, since when it holds, and one sentence. Most are shared by all
workers (brokers away, Redis full): these leave the worker ready, or a balancer would empty itself.
Source: bounded-work §3.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from app.log import Fact, facts
from app.meter.health import Code, Reason

log = logging.getLogger(__name__)

_TOLD_ELSEWHERE: Final[frozenset[Code]] = frozenset(("kafka_unreachable",))
"""Whoever finds it out writes its two lines."""


class Health:
    """The reasons that hold now; each is told in the log once at its beginning and at its end."""

    def __init__(self, now_ms: Callable[[], int]):
        self._now_ms = now_ms
        self._reasons: dict[Code, Reason] = {}

    def reasons(self) -> list[Reason]:
        """Return the reasons that hold, the earliest first."""
        return sorted(self._reasons.values(), key=lambda reason: reason.since_ms)

    def holds(self, code: Code) -> bool:
        """Return whether a reason holds."""
        return code in self._reasons

    def note(
        self, code: Code, message: str | None, since_ms: int | None = None, **fields: Fact
    ) -> None:
        """Take over what a look found out; None: all is well. The fields are for the log."""
        known = self._reasons.get(code)
        if message is None:
            if known is not None:
                del self._reasons[code]
                self._tell_end(code, (self._now_ms() - known.since_ms) / 1000)
            return
        began_ms = since_ms or (self._now_ms() if known is None else known.since_ms)
        self._reasons[code] = Reason(code, began_ms, message)
        if known is None and code not in _TOLD_ELSEWHERE:
            log.warning("%s: %s", code, message, extra=facts("loss", reason=code, **fields))

    def _tell_end(self, code: Code, seconds: float) -> None:
        if code not in _TOLD_ELSEWHERE:
            extra = facts("return", reason=code, seconds=round(seconds, 1))
            log.info("%s: over after %.0f s", code, seconds, extra=extra)
