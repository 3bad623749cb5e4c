"""What a cut waits for, and which comes first."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from agents.close import (
    AT_FIRST,
    OF_A_STEP,
    OF_ORGANIZATION,
    _Cut,
    _held_back_by,
    close_due,
    forget_final,
)
from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.periods import NEVER_MS
from app.kafka.transactions import Record
from app.runtime.partition.cuts import Cuts
from app.runtime.progress import Progress, ProgressTable
from app.settings import Settings
from app.wire.arrivals import Arrival, SubscriptionKey
from tables.changelogged.members import Members, pack_member
from tables.changelogged.presence import LogsKept
from tables.closing.close import close_subscription, next_cut, settle
from tables.closing.instants import STEPS_AT_ONCE, Deciding, instants_at
from tables.closing.period_at_cut import CELLS_A_STEP, PeriodAtCut
from tables.closing.revision import Closing
from tables.closing.schedule import Schedule
from tables.partition.partition import Partition
from tables.unique_count import MemberOperation
from tests.world import bodies
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import raw
from tests.world.story import Story

CUT_MS = 1_000


def partition_of(own_ms: int, other_ms: int, rekeyed_end: Any, **also: Any) -> Any:
    """Partition 0 of two, `other_ms` being what the owner of the other one told."""
    owned: Any = SimpleNamespace(
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
            progress=progress_of(own_ms, other_ms),
            offsets=SimpleNamespace(rekeyed_end=rekeyed_end),
        ),
        refold_queue=SimpleNamespace(since_ms=also.get("refold_since_ms")),
    )
    owned.cuts = Cuts(cast(Any, SimpleNamespace(number=0)), owned.shared, cast(Any, None))
    return owned


def progress_of(own_ms: int, other_ms: int) -> ProgressTable:
    """What the owners of both partitions told."""
    progress = ProgressTable()
    for partition, at_ms in enumerate((own_ms, other_ms)):
        progress.note(Progress(partition, at_ms, CUT_MS, 1, "", 0))
    return progress


class Forwarded:
    """Events forwarded to partition 0, of which more come all the time."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.asked = 0

    async def __call__(self, number: int) -> int:
        """Return their end, which moves on."""
        self.asked += 1
        self.end += 1
        return self.end - 1


async def reason(own_ms: int = 1_001, other_ms: int = 1_001, rekeyed: int = 0, **also: Any) -> Any:
    """Why partition 0 waits, `other_ms` being what the owner of the other one told."""
    return await _held_back_by(partition_of(own_ms, other_ms, Forwarded(rekeyed), **also), CUT_MS)


async def test_nothing_holds_it_back_once_everything_is_past_it() -> None:
    assert await reason() is None
    assert await reason(refold_since_ms=CUT_MS + 1) is None
    assert await reason(behind_since_ms=CUT_MS + 1) is None


async def test_what_is_forwarded_after_the_cut_holds_it_back_no_longer() -> None:
    """More may come all the time, and the cut would wait for all of it."""
    forwarded = Forwarded(7)
    owned = partition_of(1_001, 1_001, forwarded)

    async def held(cut_ms: int = CUT_MS) -> str | None:
        told = await _held_back_by(owned, cut_ms)
        return None if told is None else told[0]

    assert [await held(), await held()] == ["forwarded_behind"] * 2
    owned.state.checkpoint.rekeyed_next = 7
    # Also an earlier cut that came up since.
    assert [await held(), await held(CUT_MS - 1)] == [None, None]
    assert forwarded.asked == 1
    for partition in (0, 1):
        owned.shared.progress.note(Progress(partition, 2_001, CUT_MS, 1, "", 0))
    owned.state.checkpoint.append_time_ms = owned.shared.definitions.append_time_ms = 2_001
    # By a later cut more was forwarded.
    assert await held(2_000) == "forwarded_behind"


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
            "forwarded events of partition 0 are not folded past the cut",
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
    """A refold swapped in while the cut asks for the end of a log may announce it.

    Whoever found the later one was ended before it was scheduled.
    """
    cuts, taken, late = set[int](), list[int](), {SUBSCRIPTION}
    announced = [CUT_MS - 1]

    async def rekeyed_end(number: int) -> int:
        cuts.update(announced)
        announced.clear()
        return 0

    owned = partition_of(CUT_MS + 1, CUT_MS + 1, rekeyed_end)
    schedule = SimpleNamespace(next_ms=lambda: min(cuts, default=NEVER_MS), has_taken=False)
    owned.work = SimpleNamespace(shaping=asyncio.Lock())
    owned.cuts = SimpleNamespace(
        schedule=schedule,
        let_go=lambda: None,
        forwarded_end=lambda _: rekeyed_end(0),
        reschedule=lambda names: cuts.update(CUT_MS for _ in names),
    )
    owned.state.cuts = SimpleNamespace(take_late_names=lambda: [late.pop()] if late else [])
    owned.shared.clock = SimpleNamespace(now_ms=lambda: CUT_MS + 1)
    owned.state.standing.next_history_ms = lambda: (
        CUT_MS if history and CUT_MS in cuts else NEVER_MS
    )

    async def enter() -> None:
        taken.append(min(cuts))
        cuts.discard(CUT_MS)

    owned.renewal = SimpleNamespace(enter_history=enter)

    async def take(owned: Any, cut_ms: int) -> None:
        taken.append(cut_ms)
        cuts.remove(cut_ms)

    monkeypatch.setattr("agents.close._take_cut", take)
    await close_due(owned)
    assert taken == [CUT_MS - 1, CUT_MS]


@pytest.mark.parametrize(("read_on", "flushes"), [(0, 0), (7, 1)], ids=["small", "large"])
async def test_members_that_go_have_a_flush_only_if_more_of_them_are_left(
    read_on: int, flushes: int
) -> None:
    """Any flush takes along what is removed of the sets that a refold has replaced."""
    members, told = Members(), Counter[str]()
    members.leave([b"replaced"])
    kept = pack_member((MemberOperation(0, 0, 5, (5, 0, 1, 0), adds=True),))

    async def stored_in_part(cursors: dict[bytes, int]) -> Any:
        return {key: (read_on, {"user": kept}) for key in cursors}

    async def run(work: Any, steps: Any) -> None:
        drained(steps)

    async def flush() -> None:
        told["flushed"] += 1

    owned: Any = SimpleNamespace(
        state=SimpleNamespace(members=members),
        members=SimpleNamespace(stored_in_part=stored_in_part),
        cuts=SimpleNamespace(forgetting=SimpleNamespace(has_work=False), woken=asyncio.Event()),
        work=SimpleNamespace(shaping=asyncio.Lock(), run=run),
        next_flush=SimpleNamespace(note_moved=lambda: told.update(moved=1)),
        flush=flush,
    )
    await forget_final(owned)
    assert (told["flushed"], told["moved"], members.pending) == (flushes, 1, 1)
    assert members.leaving == ({b"replaced": read_on} if read_on else {})
    assert owned.cuts.woken.is_set()


async def test_who_is_final_is_forgotten_with_cuts_in_between() -> None:
    """Of very many a part each time: then the closer looks for cuts, and goes on."""
    told = True, True, False
    goes_on = iter(told)

    async def kept(number: int) -> LogsKept:
        return LogsKept()

    async def run(work: Any, steps: bool) -> bool:
        return steps

    forgetting = SimpleNamespace(has_work=True, forgetting=lambda kept: next(goes_on))
    owned: Any = SimpleNamespace(
        number=0,
        state=SimpleNamespace(members=Members()),
        cuts=SimpleNamespace(forgetting=forgetting, woken=asyncio.Event()),
        work=SimpleNamespace(shaping=asyncio.Lock(), run=run),
        next_flush=SimpleNamespace(note_moved=lambda: None),
        shared=SimpleNamespace(
            is_state_read_by_all=lambda: True,
            offsets=SimpleNamespace(kept=kept),
        ),
    )
    for woken in told:
        owned.cuts.woken.clear()
        await forget_final(owned)
        assert owned.cuts.woken.is_set() == woken


def taking(
    state: Partition,
    records: list[Record],
    settings: Settings,
    names: Iterable[SubscriptionKey] = (),
) -> Any:
    """Return what a cut is taken of: a partition whose records only grow in number."""
    return SimpleNamespace(
        number=0,
        state=state,
        cuts=SimpleNamespace(schedule=Schedule(state, names)),
        next_flush=SimpleNamespace(records=records),
        shared=SimpleNamespace(
            settings=settings, tally=SimpleNamespace(note_published=lambda told: None)
        ),
    )


def test_no_flush_comes_between_what_an_event_bills_and_its_records() -> None:
    """Two charges of the metric are paid in advance: an event bills something in each."""
    told = Story(close_grid_s=60).metric("m", "sum_agg")
    told.plan({"pay_in_advance": True}, {"pay_in_advance": True}).subscribe()
    for value in range(200):
        told.send("2024-01-10T10:00:30", v=value + 1)
    state = told.meter("2024-01-10T10:00:40").partition
    records = list[Record]()
    owned = taking(state, records, Settings(flush_max_changes=1))
    waiting = list(state.instants.undecided[ORG, SUBSCRIPTION].values())
    cut, flushes, ended = _Cut(owned, ms("2024-01-10T10:01:00")), 0, False
    while not ended:
        ended, flushes = drained(cut.until_full()), flushes + 1
        decided = [figure for each in waiting for figure in state.instants.figures(each.identity)]
        billed = [json.loads(record.value or b"")["event_transaction_id"] for record in records]
        assert sorted(billed) == sorted(figure.transaction_id for figure in decided)
    assert (len(records), flushes > 1) == (400, True)


def test_however_many_events_bill_at_once_each_step_looks_at_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of very many subscriptions has one; others wait for the cut after it."""
    told = Story(close_grid_s=60).metric("m", "sum_agg").plan({"pay_in_advance": True})
    for number in range(300):
        told.subscribe(external_id=f"s{number}")
        at = "2024-01-10T10:00:30"
        told.append(at, raw("m", f"t{number}", ms(at), f"s{number}", v=1))
    state = told.meter("2024-01-10T10:00:40").partition
    for name in list(state.instants.undecided):
        (arrival,) = state.instants.undecided[name].values()
        state.instants.add([replace(arrival, append_time_ms=ms("2024-01-10T10:01:30"))])
    looked_at = Counter[int]()
    steps, first_cut_of = 0, Deciding._first_cut_of

    def counted(deciding: Deciding, arrival: Arrival) -> int:
        looked_at[steps] += 1
        return first_cut_of(deciding, arrival)

    monkeypatch.setattr(Deciding, "_first_cut_of", counted)
    records = 0
    for record in instants_at(state, ms("2024-01-10T10:01:00")):
        steps += record is None
        records += record is not None
    assert records == 300
    assert sum(looked_at.values()) >= 600
    assert max(looked_at.values()) <= STEPS_AT_ONCE


CROWD, OTHER, THIRD = "a crowd", "b other", "c third"
"""Organizations, in the order of their names."""


def closing_at_once(subscriptions: dict[str, dict[str, int]]) -> Story:
    """Tell of organizations whose subscriptions have so many groups each, all due in February."""
    told = Story()
    for organization_id, groups_of in subscriptions.items():
        metric = bodies.metric("m", "sum_agg", field_name="v")
        told.define("2023-12-31", commands.create_billable_metric(organization_id, metric))
        charge = bodies.charge(properties={"pricing_group_keys": ["g"]})
        plan = bodies.plan("plan", [charge])
        told.define("2023-12-31", commands.create_plan(organization_id, plan))
        for external_id, groups in groups_of.items():
            body = {
                "external_customer_id": "customer",
                "plan_code": "plan",
                "external_id": external_id,
                "subscription_at": "2024-01-01T00:00:00Z",
            }
            told.define("2023-12-31", commands.create_subscription(organization_id, body))
            for number in range(groups):
                at, named = "2024-01-10", f"{external_id} {number}"
                one = raw("m", named, ms(at), external_id, v=1, g=str(number))
                told.append(at, {**one, "organization_id": organization_id})
    return told


@pytest.mark.parametrize(
    "crowd",
    [
        pytest.param({f"s{number:03d}": 2 for number in range(300)}, id="many that are small"),
        pytest.param({f"s{number}": 300 for number in range(3)}, id="few that are large"),
    ],
)
def test_organizations_take_turns_within_a_cut(crowd: dict[str, int]) -> None:
    """The records of one do not wait for those of another, however many it has."""
    told = closing_at_once({CROWD: crowd, OTHER: {"s": 1}, THIRD: {"s": 150, "t": 3}})
    cut_ms = ms("2024-02-01")
    state = told.meter("2024-01-31T12:00").partition
    # Whoever is scheduled last is closed first: the crowd, before the two that are not to wait.
    names = sorted(state.event_ranges.codes, reverse=True)
    records = list[Record]()
    cut = _Cut(taking(state, records, Settings(), names), cut_ms)
    assert drained(cut.until_full())
    owners = [json.loads(record.value or b"")["organization_id"] for record in records]
    last = {owner: at for at, owner in enumerate(owners)}
    published = Counter(owners)
    assert published[CROWD] > 800
    # A turn has its steps, and at most what one subscription takes in one go besides.
    turn = OF_ORGANIZATION + AT_FIRST
    assert last[OTHER] < 2 * turn
    assert last[THIRD] < published[OTHER] + published[THIRD] + (150 // OF_ORGANIZATION + 2) * turn
    # Every subscription has the records that it would have alone, in their order.
    alone = told.meter("2024-01-31T12:00").partition
    for name in names:
        values = [record.value for record in close_subscription(alone, name, cut_ms)]
        taken = [record.value for record in records if _is_of(record, name)]
        assert taken == values
    assert not state.stale.half_closed


@pytest.mark.parametrize("count", [10, 30])
def test_those_with_much_to_publish_do_not_wait_at_hand_all_at_once(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    groups, names = 2 * AT_FIRST, [(CROWD, f"s{number:02d}") for number in range(count)]
    told = closing_at_once({CROWD: {name: groups for _, name in names}})
    state, records = told.meter("2024-01-31T12:00").partition, list[Record]()
    state.take_changes()
    for name in names:
        state.packing.pack(name)
    assert all(map(state.packing.is_packed, names))
    (_, piece), *_ = [each for each in state.packing.pieces(names[0]) if each[1] is not None]
    monkeypatch.setattr("agents.close.HALF_CLOSED_BYTES", 3 * len(piece or b""))
    owned, most = taking(state, records, Settings(), names), 0
    for _ in _Cut(owned, ms("2024-02-01")).until_full():
        most = max(most, sum(not state.packing.is_packed(name) for name in names))
    assert most == 4
    assert all(map(state.packing.is_packed, names))
    assert len(records) == count * (groups + 1)
    assert not state.stale.half_closed


def test_however_many_cells_a_period_has_each_step_looks_at_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cut looks at all of them before it publishes the first."""
    told, name = closing_at_once({CROWD: {"s": 1_500}}), (CROWD, "s")
    state, records = told.meter("2024-01-31T12:00").partition, list[Record]()
    looked_at, steps, change_of = Counter[int](), 0, PeriodAtCut._change_of

    def counted(at_cut: PeriodAtCut, found: Closing) -> Any:
        looked_at[steps] += 1
        return change_of(at_cut, found)

    monkeypatch.setattr(PeriodAtCut, "_change_of", counted)
    for _ in _Cut(taking(state, records, Settings(), [name]), ms("2024-02-01")).until_full():
        steps += 1
    assert (len(records), sum(looked_at.values())) == (1_501, 1_500)
    # What a subscription has in one go, and then as much again of what is left of it.
    assert max(looked_at.values()) <= 2 * CELLS_A_STEP * AT_FIRST // OF_A_STEP


@pytest.mark.parametrize("is_changed", [False, True])
@pytest.mark.parametrize("is_looked_at", [False, True])
def test_whose_period_ends_without_events_stays_at_hand_if_it_was(
    is_looked_at: bool, is_changed: bool
) -> None:
    """Closing one that never changed makes no timelines; what changed has its own made."""
    told = closing_at_once({CROWD: {"s": 0}})
    if is_changed:
        body = {"ending_at": "2024-06-01T00:00:00Z"}
        told.define("2024-01-05", commands.update_subscription(CROWD, "s", body))
    state, name = told.meter("2024-01-31T12:00").partition, (CROWD, "s")
    owned = taking(state, [], Settings(), [name])
    state.timelines.forget(name)
    if is_looked_at:
        state.timelines.of(name)
    assert state.timelines.has(name) == is_looked_at
    cut_ms = ms("2024-02-01")
    assert drained(_Cut(owned, cut_ms).until_full())
    assert len(owned.next_flush.records) == 1
    assert state.timelines.has(name) == is_looked_at
    taken, known = owned.cuts.schedule.free()
    assert taken == name
    settle(state, cut_ms)
    following_ms = next_cut(state, name, known)
    assert state.timelines.has(name) == is_looked_at
    assert following_ms == next_cut(state, name) == ms("2024-03-01")


def _is_of(record: Record, name: SubscriptionKey) -> bool:
    told = json.loads(record.value or b"")
    return (told["organization_id"], told["external_subscription_id"]) == name
