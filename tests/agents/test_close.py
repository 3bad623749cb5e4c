"""What a cut waits for, and which comes first."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from agents.close import _Cut, _held_back_by, close_due
from app.bounds.turns import drained
from app.definitions.timeline import NEVER_MS
from app.kafka.transactions import Record
from app.runtime.progress import Progress, ProgressTable
from app.settings import Settings
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

CUT_MS = 1_000


def partition_of(own_ms: int, **also: Any) -> Any:
    """Partition 0 of two."""
    return SimpleNamespace(
        number=0,
        state=SimpleNamespace(
            checkpoint=SimpleNamespace(append_time_ms=own_ms, rekeyed_next=0),
            standing=SimpleNamespace(
                holds_back=lambda cut_ms: also.get("behind_since_ms", NEVER_MS) <= cut_ms,
                next_history_ms=lambda: NEVER_MS,
            ),
        ),
        shared=SimpleNamespace(
            settings=SimpleNamespace(raw_partitions=2),
            definitions=SimpleNamespace(append_time_ms=also.get("defined_ms", 1_001)),
        ),
        refold_queue=SimpleNamespace(since_ms=also.get("refold_since_ms")),
    )


def progress_of(own_ms: int, other_ms: int) -> ProgressTable:
    """What the owners of both partitions told."""
    progress = ProgressTable()
    for partition, at_ms in enumerate((own_ms, other_ms)):
        progress.note(Progress(partition, at_ms, CUT_MS, 1, "", 0))
    return progress


async def reason(own_ms: int = 1_001, other_ms: int = 1_001, rekeyed: int = 0, **also: Any) -> Any:
    """Why partition 0 waits, `other_ms` being what the owner of the other one told."""
    owned = partition_of(own_ms, **also)

    async def rekeyed_end(number: int) -> int:
        return rekeyed

    return await _held_back_by(owned, CUT_MS, progress_of(own_ms, other_ms), rekeyed_end)


async def test_nothing_holds_it_back_once_everything_is_past_it() -> None:
    assert await reason() is None
    assert await reason(refold_since_ms=CUT_MS + 1) is None
    assert await reason(behind_since_ms=CUT_MS + 1) is None


@pytest.mark.parametrize(
    ("what", "code", "told"),
    [
        ({"own_ms": CUT_MS}, "raw_behind", "raw partition 0 is not folded past the cut"),
        (
            {"other_ms": CUT_MS},
            "peer_silent",
            "raw partition 1 has not reported progress past the cut",
        ),
        (
            {"rekeyed": 1},
            "forwarded_behind",
            "forwarded events of partition 0 are not folded to the end",
        ),
        (
            {"defined_ms": CUT_MS},
            "definitions_behind",
            "the definitions log has not passed the cut",
        ),
        (
            {"behind_since_ms": CUT_MS},
            "definitions_behind",
            "definitions behind: partition 0 has yet to look at whom they concern",
        ),
        (
            {"refold_since_ms": CUT_MS},
            "refolding",
            "partition 0 is refolding for a definition or a correction",
        ),
    ],
)
async def test_each_of_these_holds_it_back(what: dict[str, int], code: str, told: str) -> None:
    assert await reason(**what) == (code, told)


@pytest.mark.parametrize("history", [False, True], ids=["cut", "history record"])
async def test_a_cut_that_is_announced_while_a_later_one_waits_comes_first(
    monkeypatch: pytest.MonkeyPatch, history: bool
) -> None:
    """A refold swapped in while the cut asks for the end of a log may announce it."""
    cuts, taken = {CUT_MS}, list[int]()
    owned = partition_of(CUT_MS + 1)
    schedule = SimpleNamespace(next_ms=lambda: min(cuts, default=NEVER_MS))
    owned.work = SimpleNamespace(shaping=asyncio.Lock())
    owned.cuts = SimpleNamespace(unscheduled={}, schedule=schedule, let_go=lambda: None)
    owned.shared.clock = SimpleNamespace(now_ms=lambda: CUT_MS + 1)
    owned.state.standing.next_history_ms = lambda: (
        CUT_MS if history and CUT_MS in cuts else NEVER_MS
    )

    async def enter() -> None:
        taken.append(min(cuts))
        cuts.discard(CUT_MS)

    owned.renewal = SimpleNamespace(enter_history=enter)
    announced = [CUT_MS - 1]

    async def rekeyed_end(number: int) -> int:
        cuts.update(announced)
        announced.clear()
        return 0

    async def take(owned: Any, cut_ms: int) -> None:
        taken.append(cut_ms)
        cuts.remove(cut_ms)

    monkeypatch.setattr("agents.close._take_cut", take)
    await close_due(owned, progress_of(CUT_MS + 1, CUT_MS + 1), rekeyed_end)
    assert taken == [CUT_MS - 1, CUT_MS]


def test_no_flush_comes_between_what_an_event_bills_and_its_records() -> None:
    """Two charges of the metric are paid in advance: an event bills something in each."""
    told = Story(close_grid_s=60).metric("m", "sum_agg")
    told.plan({"pay_in_advance": True}, {"pay_in_advance": True}).subscribe()
    for value in range(200):
        told.send("2024-01-10T10:00:30", v=value + 1)
    state = told.meter("2024-01-10T10:00:40").partition
    records = list[Record]()
    owned: Any = SimpleNamespace(
        number=0,
        state=state,
        cuts=SimpleNamespace(schedule=SimpleNamespace(due=lambda cut_ms: ()), unscheduled={}),
        next_flush=SimpleNamespace(records=records),
        shared=SimpleNamespace(
            settings=Settings(flush_max_changes=1),
            tally=SimpleNamespace(note_published=lambda told: None),
        ),
    )
    waiting = list(state.instants.undecided[ORG, SUBSCRIPTION].values())
    cut, flushes, ended = _Cut(owned, ms("2024-01-10T10:01:00")), 0, False
    while not ended:
        ended, flushes = drained(cut.until_full()), flushes + 1
        decided = [figure for each in waiting for figure in state.instants.figures(each.identity)]
        billed = [json.loads(record.value or b"")["event_transaction_id"] for record in records]
        assert sorted(billed) == sorted(figure.transaction_id for figure in decided)
    assert (len(records), flushes > 1) == (400, True)
