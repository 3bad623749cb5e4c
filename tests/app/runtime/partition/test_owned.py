"""What an owner does with changes that fail half-way, with waits, and what it tells callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from itertools import accumulate, pairwise
from pathlib import Path
from sqlite3 import connect
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agents.close import close_due
from agents.refold import refold_queued
from app.bounds.turns import TURN_S, Turns, drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Impact
from app.kafka.record_batch import RawRecord
from app.kafka.transactions import Fenced
from app.meter.events import Accepted, Duplicate, RawPosition, Verdict
from app.queries.gateway import Gateway
from app.runtime.partition.commit import Producer, Unsent
from app.runtime.partition.owned import OwnedPartition, parts_of, slices_of
from app.runtime.partition.verdicts import REMEMBERED
from app.runtime.refolder import Refolder
from app.wire.arrivals import Arrival, MeterKey, Run, runs_of
from app.wire.encode import IncomingEvent
from app.wire.refusals import Refusal, RefusalCode
from app.wire.usage_records import usage_record
from tables.changelogged.checksum import ChangelogSum
from tables.changelogged.piece_store import PiecesLost, PieceStore
from tables.changelogged.published import Stands
from tables.closing.close import settling
from tables.partition.intake import RefusedArrival
from tables.partition.snapshot import TooLargeForChangelog
from tests.app.runtime.alone import Followed, NoProducer, context_of
from tests.world.clock import START_MS, WEEK_MS, ManualClock
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, plan_body
from tests.world.events import arrived, event
from tests.world.partition import Live
from tests.world.profiles import examples
from tests.world.topics import no_topics
from tests.world.waiting import until

AT_MS = START_MS + 1_000


class _NoMemory:
    """A function that has none left at its nth call."""

    def __init__(self, real: Callable[..., Any], nth: int):
        self._real, self._left = real, nth

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            raise MemoryError
        return self._real(*arguments, **named)


def owned_of(
    *codes: str, slice_events: int = 1_000, producer: Producer | None = None, **settings: Any
) -> OwnedPartition:
    """A partition without servers: what it commits nobody takes."""
    live = Live(definitions_of(codes, SettingsRecord(grace_s=0, **settings)))
    live.define_all()
    state = live.partition
    clock = ManualClock(START_MS + 2 * WEEK_MS)
    context = context_of(state.definitions, clock, slice_events=slice_events)
    return OwnedPartition(state, producer or NoProducer(), context)


def sent(name: str, at_ms: int = AT_MS, partition: int = 0, **place: Any) -> Arrival:
    """An event of the metric `count`."""
    where = {"raw_offset": 0, "array_index": 0, **place}
    code = event("count", name, at_ms, v="1")
    return Arrival(code, ORG, max(at_ms, AT_MS), partition, **where)


async def refuses_to_flush(owned: OwnedPartition) -> None:
    """Nothing of it is committed: there is no producer that would."""
    with pytest.raises(Fenced):
        await owned.flush()


async def test_a_slice_that_fails_half_way_is_in_no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells have the events, and its index does not: replayed, they would count again."""
    owned = owned_of("count")
    monkeypatch.setattr(owned.state.index, "add_rows", _NoMemory(owned.state.index.add_rows, 1))
    with pytest.raises(MemoryError):
        await owned.fold(runs_of([sent("a")]), raw_next=1, append_time_ms=AT_MS)
    assert owned.state.checkpoint.raw_next == 0
    await refuses_to_flush(owned)


@pytest.mark.parametrize(
    ("code", "charges", "at_once"), [("sum", 1, 40), ("sum", 5, 8), ("unique", 1, 10)]
)
async def test_events_that_take_long_are_folded_straight_few_at_once(
    code: str, charges: int, at_once: int
) -> None:
    """Four thousand events of five charges held the loop for 0.15 s."""
    live = Live(definitions_of([code]))
    live.define_all()
    (charge,) = plan_body([code])["charges"]
    for number in range(1, charges):
        more = {**charge, "code": f"more{number}"}
        live.append(START_MS, commands.create_charge(ORG, "plan", more))
    clock = ManualClock(START_MS + 2 * WEEK_MS)
    context = context_of(live.definitions, clock, slice_events=10)
    owned = OwnedPartition(live.partition, NoProducer(), context)

    def some(first: int, count: int) -> list[Run]:
        numbers = range(first, first + count)
        return runs_of([arrived(code, n, AT_MS, v="1", u="one", g="x") for n in numbers])

    await owned.fold(some(0, 1), raw_next=1, append_time_ms=AT_MS)
    with patch.object(owned.state, "fold_straight", wraps=owned.state.fold_straight) as straight:
        await owned.fold(some(1, 100), raw_next=101, append_time_ms=AT_MS)
    counts = [sum(len(run) for _, run in call.args[0]) for call in straight.call_args_list]
    assert max(counts) == at_once
    assert sum(counts) == 100
    assert owned.folded_events == 101


def _no_memory_in_a_step(*_: object) -> Iterator[None]:
    """Work that fails once it is begun."""
    yield
    raise MemoryError


@pytest.mark.parametrize(
    ("failing", "instead"),
    [
        ("tables.closing.revision.usage_record", _NoMemory(usage_record, 2)),
        ("agents.close.settling", _no_memory_in_a_step),
    ],
    ids=["between records", "as it is settled"],
)
async def test_a_cut_that_fails_half_way_is_in_no_flush(
    monkeypatch: pytest.MonkeyPatch, failing: str, instead: Callable[..., Any]
) -> None:
    """What is noted as published before its record is made would never be published."""
    owned = owned_of("count", "sum")
    arrivals = [
        arrived(code, offset, AT_MS, transaction_id=code, v="1")
        for offset, code in enumerate(("count", "sum"))
    ]
    await owned.fold(runs_of(arrivals), raw_next=2, append_time_ms=START_MS + 2 * WEEK_MS)
    owned.state.definitions.append_time_ms = START_MS + 2 * WEEK_MS
    for name in owned.state.event_ranges.codes:
        owned.cuts.schedule.update(name)
    owned.shared.progress.note(owned.cuts.progress(2, START_MS + 2 * WEEK_MS))
    monkeypatch.setattr(failing, instead)
    with pytest.raises(MemoryError):
        await close_due(owned)
    await refuses_to_flush(owned)


async def test_a_definition_that_fails_half_way_is_in_no_flush(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owned = owned_of("count")
    monkeypatch.setattr(owned.cuts.schedule, "update", _NoMemory(owned.cuts.schedule.update, 1))
    owned.renewal.define(Impact(ORG), 7, AT_MS)
    with pytest.raises(MemoryError):
        await owned.renewal.renew()
    await refuses_to_flush(owned)


async def test_history_that_fails_half_way_is_in_no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    owned = owned_of("count")
    monkeypatch.setattr("tables.closing.close.settling", _NoMemory(settling, 1))
    with pytest.raises(MemoryError):
        await owned.renewal.enter_history()
    await refuses_to_flush(owned)


class _EmptyLog:
    """A scan that finds nothing."""

    async def __aenter__(self) -> _EmptyLog:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def start(self, *_: object) -> None:
        pass

    def seek_only(self, *_: object) -> None:
        pass

    def count_for(self, _: object) -> None:
        pass

    def behind(self, _: object) -> int:
        return 0

    async def read(self, *_: object, **__: object) -> AsyncIterator[list[Arrival]]:
        nothing: list[list[Arrival]] = []
        for part in nothing:
            yield part


async def test_a_refold_that_fails_half_way_is_in_no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells of one code are replaced, and those of the other are not."""
    owned = owned_of("count", "sum")
    arrivals = [
        arrived(code, number, AT_MS, transaction_id=code)
        for number, code in enumerate(("count", "sum"))
    ]
    await owned.fold(runs_of(arrivals), raw_next=2, append_time_ms=AT_MS)
    meter_keys = [
        (*name, code) for name, codes in owned.state.event_ranges.codes.items() for code in codes
    ]
    owned.refold_queue.want(meter_keys, AT_MS)
    packing = owned.state.packing
    monkeypatch.setattr(packing, "replacing", _NoMemory(packing.replacing, len(meter_keys)))
    with pytest.raises(MemoryError):
        await refold_queued(owned, lambda _: cast(Any, _EmptyLog()), Refolder(0, lambda: False))
    await refuses_to_flush(owned)


async def test_a_flush_that_fails_half_way_is_not_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the first has taken out of the tables the second would not have."""
    owned = owned_of("count")
    await owned.fold(runs_of([sent("a")]), raw_next=1, append_time_ms=AT_MS)
    event_ranges = owned.state.event_ranges
    monkeypatch.setattr(event_ranges, "take_changes", _NoMemory(event_ranges.take_changes, 1))
    with pytest.raises(MemoryError):
        await owned.flush()
    await refuses_to_flush(owned)


async def test_a_flush_that_is_left_half_packed_is_packed_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is taken out of the tables could not be put back."""
    monkeypatch.setattr("app.bounds.turns.TURN_S", 0.0)
    owned, seats = owned_of("seats"), [f"u{number}" for number in range(300)]
    arrivals = [
        arrived("seats", number, AT_MS, transaction_id=seat, u=seat)
        for number, seat in enumerate(seats)
    ]
    await owned.fold(runs_of(arrivals), raw_next=300, append_time_ms=AT_MS)
    flushing = asyncio.create_task(owned.flush())
    while owned.next_flush.moved:
        await asyncio.sleep(0)
    assert owned.commits.unsent is None
    await owned.flusher.suspend()
    await asyncio.wait([flushing])
    assert not owned.abandoned
    unsent: Unsent | None = owned.commits.unsent
    assert unsent is not None
    assert sorted(text for _, text in unsent.members) == sorted(seats)


async def test_of_a_batch_that_is_cancelled_between_two_slices_nothing_is_flushed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the first refused would be a dead letter twice."""
    monkeypatch.setattr("app.bounds.turns.TURN_S", 0.0)
    owned = owned_of("count", slice_events=1)
    arrivals = [sent("a"), sent("b", raw_offset=1)]
    taking = asyncio.create_task(owned.fold(runs_of(arrivals), raw_next=2))
    while owned.state.index.length == 0:
        await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait([taking])
    assert owned.state.index.length == 1
    await refuses_to_flush(owned)


async def test_slices_that_take_no_time_give_the_loop_up_once_each() -> None:
    """Costly events come by slices of few: several rounds of the loop for each would add up."""
    owned = owned_of("count", slice_events=1)
    owned.shared.turns = Turns(lambda: 0.0)
    arrivals = [sent(f"t{number}", raw_offset=number) for number in range(100)]
    taking, rounds = asyncio.create_task(owned.fold(runs_of(arrivals), raw_next=100)), 0
    while not taking.done():
        await asyncio.sleep(0)
        rounds += 1
    assert owned.state.index.length == 100
    assert rounds < 3 * 100


async def test_late_events_of_one_slice_wait_for_each_of_their_cuts() -> None:
    """Definitions that pass the first only are not enough."""
    owned = owned_of("count", late_policy="refuse")
    definitions, followed = owned.shared.definitions, owned.shared.followed
    assert isinstance(followed, Followed)
    late_ms = START_MS + 3 * WEEK_MS
    arrivals = [
        replace(sent("a", AT_MS), append_time_ms=late_ms),
        replace(sent("b", AT_MS + WEEK_MS, raw_offset=1), append_time_ms=late_ms),
    ]
    taking = asyncio.create_task(owned.fold(runs_of(arrivals), raw_next=2))
    waited: list[int] = []
    for _ in arrivals:
        while followed.wanted_ms <= max(waited, default=-1) and not taking.done():
            await asyncio.sleep(0.01)
        assert not taking.done()
        waited.append(followed.wanted_ms)
        definitions.append_time_ms = followed.wanted_ms + 1
        async with followed.changed:
            followed.changed.notify_all()
    await taking
    assert waited == [START_MS + WEEK_MS, START_MS + 2 * WEEK_MS]
    assert owned.shared.tally.refused.total() == 2


async def test_who_posts_an_event_is_not_told_the_verdict_on_one_of_another_partition() -> None:
    """A duplicate, forwarded from offset 7 of partition 1; another is at 7 of partition 0."""
    owned = owned_of("count")
    forwarded = [
        sent("x", partition=1, raw_offset=offset, rekeyed_offset=offset - 6) for offset in (6, 7)
    ]
    await owned.fold(runs_of(forwarded), rekeyed_next=2, marks={1: (7, 0)})
    twice = [sent("y", raw_offset=7), sent("y", raw_offset=8)]
    await owned.fold(runs_of(twice), raw_next=9, append_time_ms=AT_MS)
    owned.verdicts.refuse_arrivals([RefusedArrival(forwarded[1], RefusalCode.TOO_LATE, "late")])
    unused = dict.fromkeys(("settings", "definitions", "append"))

    async def first_of_both(*_: int) -> Arrival:
        return twice[0]

    log = SimpleNamespace(find=first_of_both)
    engine = SimpleNamespace(owned={0: owned}, shared=owned.shared, raw_lookup=log, **unused)
    gateway = Gateway(cast(Any, engine), no_topics)

    posted = twice[0].event

    async def told(offset: int) -> Verdict:
        incoming = IncomingEvent(
            transaction_id=posted.transaction_id,
            code=posted.code,
            external_subscription_id=posted.external_subscription_id,
            timestamp=None,
            timestamp_ms=None,
            properties=b"{}",
            precise_total_amount_cents=None,
        )
        place = RawPosition(0, offset, AT_MS)
        elements, organization_id = {0: incoming}, twice[0].organization_id
        told = await gateway.ingest._verdicts(owned, organization_id, elements, place)
        return told[0]

    assert isinstance(await told(7), Accepted)
    assert isinstance(await told(8), Duplicate)


async def test_verdicts_on_what_is_refused_are_forgotten_as_others_are() -> None:
    owned = owned_of("count")
    refusal = Refusal(RefusalCode.INVALID_JSON, "the bytes are not JSON", b"{", 0)
    for offset in range(REMEMBERED + 1):
        raw = SimpleNamespace(offset=offset, key=None, headers=(), value=b"{", timestamp=0)
        drained(owned.verdicts.refusing_raw([(refusal, cast(RawRecord, raw))]))
        owned.next_flush.records.clear()
    assert len(owned.verdicts.known) == REMEMBERED
    assert (REMEMBERED, 0) in owned.verdicts.known


async def test_members_of_what_is_committed_are_stored_though_the_partition_is_given_up() -> None:
    """Who stores those of an earlier flush yet goes on to this one, and would declare it whole."""

    class Abandoning(NoProducer):
        async def commit(self, *_: object) -> None:
            await owned.abandon()

    owned = owned_of("seats", producer=Abandoning())
    taken = arrived("seats", 0, AT_MS, transaction_id="a", u="b")
    await owned.fold(runs_of([taken]), raw_next=1, append_time_ms=AT_MS)
    await owned.flush()
    members = owned.members._unstored.all()
    assert [text for (_, text), _ in members] == ["b"]


@pytest.mark.parametrize("code", ["seats", "count"], ids=["member", "cell"])
async def test_what_no_changelog_takes_is_found_out_before_it_is_sent(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    owned = owned_of(code)
    taken = arrived(code, 0, AT_MS, transaction_id="a", u="b" * 900)
    await owned.fold(runs_of([taken]), raw_next=1, append_time_ms=AT_MS)
    monkeypatch.setattr(
        "tables.partition.snapshot.CHANGELOG_RECORD_BYTES", 800 if code == "seats" else 100
    )
    with pytest.raises(TooLargeForChangelog) as found:
        await owned.flush()
    assert found.value.meter_key == (ORG, SUBSCRIPTION, code)
    await refuses_to_flush(owned)


def test_events_with_a_costly_expression_are_folded_by_fewer() -> None:
    light, heavy, heaviest = (("o", "s", code) for code in ("light", "heavy", "heaviest"))
    weights = {light: 1, heavy: 40, heaviest: 2_000}
    runs = [(meter_key, [sent(str(n)) for n in range(30)]) for meter_key in (light, heavy)]
    runs.append((heaviest, [sent("a"), sent("b")]))

    parts = list(slices_of(runs, 1_000, weights.__getitem__, lambda: 0.0))
    assert [[(meter_key, len(run)) for meter_key, run in part] for part in parts] == [
        [(light, 30), (heavy, 24)],
        [(heavy, 6)],
        [(heaviest, 1)],
        [(heaviest, 1)],
    ]


@examples(200)
@given(sizes=st.lists(st.integers(1, 9), max_size=12), size=st.integers(1, 12))
def test_parts_are_full_and_have_every_event_once(sizes: list[int], size: int) -> None:
    ends = list(accumulate(sizes, initial=0))
    runs = [((ORG, f"s{n}", "c"), range(*each)) for n, each in enumerate(pairwise(ends))]
    parts: list[Any] = list(parts_of(cast(Any, runs), size))
    events = [(key, one) for part in parts for key, run in part for one in run]
    assert events == [(key, one) for key, run in runs for one in run]
    counts = [sum(len(run) for _, run in part) for part in parts]
    assert counts == [min(size, ends[-1] - at) for at in range(0, ends[-1], size)]
    assert all(len(run) for part in parts for _, run in part)


def test_no_slice_takes_longer_than_a_turn_to_have_its_routes_compiled() -> None:
    """A thousand first events of subscriptions that began years ago held the loop for 0.3 s."""
    now_s = 0.0

    def weight_of(_: MeterKey) -> int:
        nonlocal now_s
        now_s += TURN_S * 0.3
        return 1

    runs = [(("o", f"s{n}", "code"), [sent(str(n))]) for n in range(10)]
    parts = slices_of(runs, 1_000, weight_of, lambda: now_s)
    assert [len(part) for part in parts] == [4, 4, 2]


def test_a_partition_that_local_disk_has_altered_is_restored_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only at the next cut: until then every question of what was published fails."""
    owned, failed = owned_of("count"), list[tuple[OwnedPartition, BaseException]]()
    owner = SimpleNamespace(fail=lambda *which: failed.append(which))
    monkeypatch.setattr(owned.shared, "owner", owner)
    published = owned.state.published
    published.store = PieceStore(tmp_path / "0.db", "meter/0", Stands)
    published.store.write([(("s", 0), b"piece")])
    published.store.commit(Stands(0, ChangelogSum()))
    with closing(connect(tmp_path / "0.db")) as db, db:
        db.execute("UPDATE periods SET piece = x'00'")
    for _ in range(2):
        with pytest.raises(PiecesLost) as raised:
            published.find(("s", 0))
        assert failed.pop() == (owned, raised.value)
    itself = ref(owned)
    del owned
    assert itself() is None, "nothing leads back to it"


async def test_a_partition_whose_index_finds_no_disk_stands_and_says_what_it_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owned = owned_of("count")
    index, wanted = owned.state.index, [4_000]
    monkeypatch.setattr(type(index), "wanted_disk_bytes", property(lambda _: wanted[0]))
    monkeypatch.setattr("app.runtime.partition.owned.DISK_POLL_S", 0.01)
    taking = asyncio.create_task(owned.fold(runs_of([sent("a")]), raw_next=1))
    await until(lambda: owned.disk.full is not None)
    await asyncio.sleep(0.05)
    assert owned.state.checkpoint.raw_next == 0
    assert owned.disk.full is not None
    assert "METER_STATE_DIR" in owned.disk.full[1]
    assert "8000 bytes" in owned.disk.full[1], "that of events, and that of figures"
    wanted[0] = 0
    await taking
    assert owned.state.checkpoint.raw_next == 1
    assert owned.disk.full is None
