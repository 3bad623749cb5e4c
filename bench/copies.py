"""What an event costs that was sent before, by where its copy lies.

The core alone, as `bench.pairs` has it: 1,000 subscriptions of five metrics. Records are decoded as
a worker does; fetching and forwarding them is not in it.

    python -m bench.copies [--rounds N] [KIND ...]
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from app.kernel import arrive
from app.runtime.partition.duplicates import Duplicates
from app.runtime.partition.next_flush import NextFlush
from app.runtime.partition.verdicts import Verdicts
from app.runtime.status import Tally
from app.wire.arrivals import PLAINLY, Arrival, MeterKey, runs_of
from bench.pairs import PORTION_EVENTS, PORTION_MS, Load, tell_kinds
from bench.world import event_value, number_of
from tables.partition.copies import Copies, Duplicate

PAIRS = 5_000
ONCE, BEHIND, EARLIER = "sent once", "half right behind", "half forwarded, and earlier"
KINDS = ONCE, BEHIND, EARLIER


class CopiesLoad(Load):
    """A partition that takes events of which half may be copies of the others."""

    def __init__(self, kind: str):
        super().__init__(PAIRS, value_of=self._value_of_original)
        self._kind = kind
        context: Any = SimpleNamespace(tally=Tally())
        self._duplicates = Duplicates(0, context, Verdicts(0, context, NextFlush()))

    def _value_of_original(self, number: int, subscription: int, now_s: float) -> bytes:
        if self._kind == BEHIND:
            number //= 2
        elif self._kind == EARLIER:
            portion, place = divmod(number, PORTION_EVENTS)
            number = portion // 2 * PORTION_EVENTS + place
        subscription, now_ms = number_of(number, self.subscriptions), self._now_ms(number)
        return event_value(number, subscription, now_ms / 1000)

    def note_copies(self, copies: Copies) -> None:
        """Note them as an owned partition does."""
        self._duplicates.note_copies(copies)

    def note(self, duplicates: list[Duplicate]) -> None:
        """Note them as an owned partition does."""
        self._duplicates.note(duplicates)

    def _decoded(self, values: list[bytes]) -> dict[MeterKey, Any]:
        first = self.taken
        if self._kind != EARLIER or first // PORTION_EVENTS % 2 == 0:
            return super()._decoded(values)
        self._batches.pop(first)
        self.taken += len(values)
        arrivals: list[Arrival] = []
        for offset, value in enumerate(values, first):
            noted: dict[MeterKey, list[Arrival]] = {}
            arrive(value, self._now_ms(first) - 2 * PORTION_MS, 1, offset, None, noted, PLAINLY)
            ((arrival,),) = noted.values()
            arrivals.append(arrival.forwarded(0, offset))
        return dict(runs_of(arrivals))


def main() -> None:
    """Measure each kind, or those that are named."""
    tell_kinds(__doc__, {name: partial(CopiesLoad, name) for name in KINDS})


if __name__ == "__main__":
    main()
