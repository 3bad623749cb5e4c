"""A large refold on real servers: a child of the worker feeds it, and may be killed meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from app.main import Worker
from app.settings import Settings
from tables.event_index.index import EventIndex
from tests.live.proofs import (
    CUSTOMER,
    METRICS,
    NAMES,
    define,
    is_folded,
    send,
    some_events,
    verified,
)
from tests.world.live.api import Api
from tests.world.waiting import until

pytestmark = pytest.mark.servers

EVENTS = 1_200


@pytest.mark.parametrize("killed", [False, True], ids=["fed by the child", "killed"])
async def test_a_refold_in_a_child_shows_what_was_there(
    live_settings: Settings,
    worker: Worker,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    killed: bool,
) -> None:
    monkeypatch.setattr("app.runtime.refolder.REFOLD_ON_LOOP_BYTES", 0)
    await define(api)
    await send(live_settings, some_events(EVENTS))
    await is_folded(worker, EVENTS)
    owned, refolder = list(worker.engine.owned.values()), worker.engine.refolder
    for part in owned:
        await part.flush()
        await part.ledger.rest()
    before = [await _units(api, name) for name in NAMES]
    find_many = EventIndex.find_many

    def found(index: EventIndex, ids: Sequence[bytes]) -> Any:
        if refolder.pid is not None:
            # It waits for these entries, in the middle of its work.
            os.kill(refolder.pid, signal.SIGKILL)
        return find_many(index, ids)

    if killed:
        monkeypatch.setattr(EventIndex, "find_many", found)
    fed_before, refolds = refolder.fed.copy(), 0
    for part in owned:
        names = part.state.event_ranges.codes
        keys = [(*name, code) for name, codes in names.items() for code in codes]
        part.refold_queue.want(keys, part.state.checkpoint.cut_ms)
        refolds += bool(keys)
    await until(lambda: (refolder.fed - fed_before).total() >= refolds)
    await is_folded(worker, EVENTS)
    assert refolder.fed - fed_before == {"loop" if killed else "child": refolds}
    assert refolder.pid is None
    assert [await _units(api, name) for name in NAMES] == before
    status, proof = await verified(worker)
    assert (status, proof["differences"]) == (0, [])
    assert proof["pairs_verified"] == len(NAMES) * len(METRICS)


async def _units(api: Api, name: str) -> dict[str, Decimal]:
    """Units by metric, but for the one that grows by itself."""
    units = await api.units(CUSTOMER, name)
    return {code: of_code for code, of_code in units.items() if code != "stored"}
