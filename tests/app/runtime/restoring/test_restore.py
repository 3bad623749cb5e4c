"""What a restored partition is told of: what concerned it since its last flush."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.bounds.turns import drained
from app.definitions.outcome import Impact
from app.definitions.state import Definitions
from app.runtime.partition.refold_queue import RefoldQueue
from app.runtime.restoring.restore import _catching_up, _queueing
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.partition.redefinition import Redefinition
from tests.app.runtime.alone import context_of


def test_it_catches_up_with_those_at_home_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a minute may be very many, and every partition of a worker has them to pass."""
    definitions, told = Definitions(), []
    shared, tell = context_of(definitions, raw_partitions=4), Redefinition.tell

    def noted(self: Redefinition, impact: Impact, at_ms: int, until_ms: int) -> None:
        told.append(impact)
        tell(self, impact, at_ms, until_ms)

    monkeypatch.setattr(Redefinition, "tell", noted)
    of_one = [Impact("org", f"s{number}") for number in range(20)]
    of_many = [Impact("org", codes=frozenset({"m"})), Impact(None)]
    impacts = [(at, 100 + at, impact) for at, impact in enumerate((*of_one, *of_many))]
    seen = list[Impact]()
    for number in range(4):
        told.clear()
        drained(_catching_up(Partition(number, definitions, EventIndex()), impacts, shared))
        assert told[-2:] == of_many
        seen += told[:-2]
    assert len(seen) == len(of_one)
    assert set(seen) == set(of_one)


@pytest.mark.parametrize("is_unclear", [False, True])
def test_cuts_wait_for_routes_that_may_show_what_was_defined_after_them(is_unclear: bool) -> None:
    """Of what definitions send elsewhere it is known that cells show nothing of these."""
    state = Partition(0, Definitions(), EventIndex())
    state.checkpoint.cut_ms, state.checkpoint.definitions_ms = 5, 9
    queue, meter_keys = RefoldQueue(state), [("org", "sub", "m")]
    owned = cast(Any, SimpleNamespace(refold_queue=queue, state=state))
    refolds, unclear = ([], meter_keys) if is_unclear else (meter_keys, [])
    drained(_queueing(owned, refolds, unclear, (3, 11)))
    assert queue.since_ms == (5 if is_unclear else 9)
