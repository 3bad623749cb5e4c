"""A law of refolds for corrections: of the codes concerned they come to what one of all does."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import pytest

from app.definitions.model import SettingsRecord
from app.wire.arrivals import CorrectionArrival
from app.wire.events import Correction, Event
from tables.closing.close import next_cut
from tables.maximum import MaximumState
from tables.partition.refold import Refold
from tests.laws.test_repairs import SEEDS, play
from tests.world.clock import DAY_MS, HOUR_MS, START_MS
from tests.world.definitions import ORG, SETTINGS, SHORT_SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.events import arrived, event
from tests.world.repaired import NAME, Repaired

MAX = (*NAME, "max")
NOW_MS = START_MS + 3 * DAY_MS


@pytest.mark.parametrize("settings", [SETTINGS, SHORT_SETTINGS], ids=["plain", "short"])
@pytest.mark.parametrize(
    "codes",
    [("max", "latest", "unique"), ("max", "count", "fees"), ("seats", "latest", "sum", "guests")],
    ids=" ".join,
)
def test_of_the_codes_concerned_it_comes_to_what_a_refold_of_all_does(
    codes: tuple[str, ...], settings: SettingsRecord
) -> None:
    """Amendments give events any of the codes; members, greatest and newest values are theirs."""
    outcomes = Counter[str]()
    for seed in range(SEEDS):
        outcomes += play(seed, codes, settings)
    assert outcomes["narrow"] >= SEEDS


class Corrected(Repaired):
    """A greatest value and a sum, each corrected at a time of its own."""

    def __init__(self) -> None:
        super().__init__(definitions_of(["max", "sum"], SHORT_SETTINGS), repairs=True)
        self._offset = 0
        for number, (code, value) in enumerate([("max", "9"), ("max", "3"), ("sum", "5")]):
            self.take(code, f"t{number}", value, START_MS + number)

    def take(self, code: str, transaction_id: str, value: str, at_ms: int) -> None:
        """Take an event."""
        self._offset += 1
        self.deliver([arrived(code, self._offset, at_ms, transaction_id=transaction_id, v=value)])

    def amended(self, transaction_id: str, now: Event | None, at_ms: int) -> CorrectionArrival:
        """Return a correction that makes another of an event; None: that cancels it."""
        self._offset += 1
        named = (ORG, SUBSCRIPTION, transaction_id)
        verb: Literal["cancel", "amend"] = "cancel" if now is None else "amend"
        told = Correction(*named, verb, now, f"c{self._offset}", b"")
        return CorrectionArrival(told, ORG, at_ms, 0, self._offset, 0)

    def greatest(self) -> list[str]:
        """Return the greatest value of each cell of the maximum."""
        (span,) = self.partition.packing.route_of(MAX).spans
        cells = [cell for layer in span.layers.values() for cell in layer.cells.values()]
        states = [cell.state for cell in cells]
        return [str(state.greatest) for state in states if isinstance(state, MaximumState)]


@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
def test_an_event_that_was_amended_into_the_code_is_read_again(restarts: bool) -> None:
    """It came with another code. After a restart nobody knows with which."""
    live = Corrected()
    amended = event("max", "t2", START_MS + 2, v="7")
    live.correct(live.amended("t2", amended, START_MS + HOUR_MS))
    live.close_until(START_MS + DAY_MS)
    if restarts:
        live.restart()
    cancel = live.amended("t0", None, START_MS + DAY_MS + 1)
    assert Refold(live.partition, [MAX]).sought()[1] == (None if restarts else {"max", "sum"})
    live.correct(cancel)
    assert live.outcomes["narrow"] == 1
    assert live.greatest() == ["7"]
    cells = live.cells()
    live.refold_all()
    assert live.cells() == cells
    assert Refold(live.partition, [MAX]).sought()[1] == {"max", "sum"}


def test_of_other_codes_nothing_is_read_though_events_are_corrected() -> None:
    live = Corrected()
    amended = event("sum", "t2", START_MS + 2, v="7")
    live.correct(live.amended("t2", amended, START_MS + HOUR_MS))
    live.correct(live.amended("t0", event("max", "t0", START_MS, v="1"), START_MS + HOUR_MS))
    assert live.outcomes["repaired"] == live.outcomes["narrow"] == 1
    assert live.greatest() == ["3"]
    assert Refold(live.partition, [MAX]).sought()[1] == {"max"}


def test_an_event_that_was_amended_before_it_came_may_come_during_a_refold() -> None:
    live = Corrected()
    live.partition.corrected.correct(live.amended("t0", None, NOW_MS))
    refold = Refold(live.partition, [MAX], {NAME: next_cut(live.partition, NAME)})
    sought = live.read_for(refold)
    amended = event("max", "t9", NOW_MS, v="8")
    live.partition.corrected.correct(live.amended("t9", amended, NOW_MS + 1))
    live.take("sum", "t9", "1", NOW_MS + 2)
    refold.feed(sought)
    assert not refold.swap()
    refold.feed(live.read_for(refold))
    assert refold.swap()
    assert live.greatest() == ["8"]


def test_what_came_in_force_for_other_codes_waits_for_a_refold_of_these() -> None:
    """An amendment moves an event from a code that is refolded to one that is not."""
    live = Corrected()
    live.partition.corrected.correct(
        live.amended("t0", event("sum", "t0", START_MS, v="9"), NOW_MS)
    )
    refold = Refold(live.partition, [MAX], {NAME: next_cut(live.partition, NAME)})
    refold.feed(live.read_for(refold))
    assert refold.swap()
    assert live.greatest() == ["9"]
    live.mend()
    assert live.greatest() == ["3"]
    cells = live.cells()
    live.refold_all()
    assert live.cells() == cells
