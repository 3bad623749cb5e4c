"""What an owner does with changes that fail half-way, with waits, and what it tells callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from agents.close import close_due
from agents.refold import refold_queued
from app.api import meter as port
from app.definitions.model import SettingsRecord
from app.definitions.state import Touch
from app.gateway import Gateway
from app.owned import _REMEMBERED_VERDICTS, OwnedPartition, Progress
from app.progress import ProgressTable
from app.records import usage_record
from app.settings import Settings
from app.transport import RawRecord
from app.wire.refusals import Refusal, RefusalCode
from tables.close import enter_history, settle
from tables.fold import Arrival, runs_of
from tables.refold import Refold
from tables.stores.changelog import Fenced
from tests.laws.world import ORG, START_MS, WEEK_MS, Live, definitions_of, event

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


def owned_of(*codes: str, slice_events: int = 1_000, **settings: Any) -> OwnedPartition:
    """A partition without servers: what it commits nobody takes."""
    live = Live(definitions_of(codes, SettingsRecord(grace_s=0, **settings)))
    live.define_all()
    table = live.partition
    shared = SimpleNamespace(
        settings=Settings(profile="test", raw_partitions=1, slice_events=slice_events),
        clock=SimpleNamespace(now_ms=lambda: START_MS + 2 * WEEK_MS),
        last_definition=(0, -1),
        definitions=table.definitions,
        definitions_wanted_ms=-1,
        definitions_changed=asyncio.Condition(),
        url="",
    )
    return OwnedPartition(table, cast(Any, None), cast(Any, shared))


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
    monkeypatch.setattr(owned.table.index, "add_many", _NoMemory(owned.table.index.add_many, 1))
    with pytest.raises(MemoryError):
        await owned.take(runs_of([sent("a")]), raw_next=1, append_time_ms=AT_MS)
    assert owned.table.record.raw_next == 0
    await refuses_to_flush(owned)


@pytest.mark.parametrize(
    ("failing", "real", "nth"),
    [("tables.close.usage_record", usage_record, 2), ("agents.close.settle", settle, 1)],
    ids=["between records", "as it is settled"],
)
async def test_a_cut_that_fails_half_way_is_in_no_flush(
    monkeypatch: pytest.MonkeyPatch, failing: str, real: Callable[..., Any], nth: int
) -> None:
    """What is noted as published before its record is made would never be published."""
    owned = owned_of("count", "sum")
    arrivals = [
        Arrival(event(code, code, AT_MS, v="1"), ORG, AT_MS, 0, offset, 0)
        for offset, code in enumerate(("count", "sum"))
    ]
    await owned.take(runs_of(arrivals), raw_next=2, append_time_ms=START_MS + 2 * WEEK_MS)
    owned.table.definitions.append_time_ms = START_MS + 2 * WEEK_MS
    for name in owned.table.presence.codes:
        owned.schedule.update(name)
    progress = ProgressTable()
    progress.note(owned.progress(2, START_MS + 2 * WEEK_MS).encode())

    async def rekeyed_end(number: int) -> int:
        return 0

    monkeypatch.setattr(failing, _NoMemory(real, nth))
    with pytest.raises(MemoryError):
        await close_due(owned, progress, rekeyed_end)
    await refuses_to_flush(owned)


async def test_a_definition_that_fails_half_way_is_in_no_flush(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owned = owned_of("count")
    monkeypatch.setattr(owned.table, "touched", _NoMemory(owned.table.touched, 1))
    with pytest.raises(MemoryError):
        owned.define(Touch(ORG), 7, AT_MS)
    await refuses_to_flush(owned)


async def test_history_that_fails_half_way_is_in_no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    owned = owned_of("count")
    monkeypatch.setattr("app.owned.enter_history", _NoMemory(enter_history, 1))
    with pytest.raises(MemoryError):
        owned.enter_history()
    await refuses_to_flush(owned)


class _EmptyLog:
    """A scan that finds nothing."""

    async def __aenter__(self) -> _EmptyLog:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def start(self, *_: object) -> None:
        pass

    def behind(self, _: object) -> int:
        return 0

    async def read(self, *_: object) -> AsyncIterator[list[Arrival]]:
        nothing: list[list[Arrival]] = []
        for part in nothing:
            yield part


async def test_a_refold_that_fails_half_way_is_in_no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    owned = owned_of("count")
    await owned.take(runs_of([sent("a")]), raw_next=1, append_time_ms=AT_MS)
    owned.want_refold([(*name, "count") for name in owned.table.presence.codes], AT_MS)
    monkeypatch.setattr(Refold, "swap", _NoMemory(Refold.swap, 1))
    with pytest.raises(MemoryError):
        await refold_queued(owned, lambda _: cast(Any, _EmptyLog()))
    await refuses_to_flush(owned)


async def test_a_flush_that_fails_half_way_is_not_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the first has taken out of the tables the second would not have."""
    owned = owned_of("count")
    await owned.take(runs_of([sent("a")]), raw_next=1, append_time_ms=AT_MS)
    monkeypatch.setattr(owned.table, "take_changes", _NoMemory(owned.table.take_changes, 1))
    with pytest.raises(MemoryError):
        await owned.flush()
    await refuses_to_flush(owned)


async def test_of_a_batch_that_is_cancelled_between_two_slices_nothing_is_flushed() -> None:
    """What the first refused would be a dead letter twice."""
    owned = owned_of("count", slice_events=1)
    arrivals = [sent("a"), sent("b", raw_offset=1)]
    taking = asyncio.create_task(owned.take(runs_of(arrivals), raw_next=2))
    while owned.table.index.length == 0:
        await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait([taking])
    assert owned.table.index.length == 1
    await refuses_to_flush(owned)


async def test_late_events_of_one_slice_wait_for_each_of_their_cuts() -> None:
    """Definitions that pass the first only are not enough."""
    owned = owned_of("count", late_policy="refuse")
    shared = owned.shared
    late_ms = START_MS + 3 * WEEK_MS
    arrivals = [
        sent("a", AT_MS)._replace(append_time_ms=late_ms),
        sent("b", AT_MS + WEEK_MS, raw_offset=1)._replace(append_time_ms=late_ms),
    ]
    taking = asyncio.create_task(owned.take(runs_of(arrivals), raw_next=2))
    waited = []
    for _ in arrivals:
        await asyncio.sleep(0.01)
        assert not taking.done()
        waited.append(shared.definitions_wanted_ms)
        shared.definitions.append_time_ms = shared.definitions_wanted_ms + 1
        async with shared.definitions_changed:
            shared.definitions_changed.notify_all()
    await taking
    assert waited == [START_MS + WEEK_MS, START_MS + 2 * WEEK_MS]
    assert owned.refused_events == 2


async def test_who_posts_an_event_is_not_told_the_verdict_on_one_of_another_partition() -> None:
    """A duplicate, forwarded from offset 7 of partition 1; another is at 7 of partition 0."""
    owned = owned_of("count")
    forwarded = [
        sent("x", partition=1, raw_offset=offset, rekeyed_offset=offset - 6) for offset in (6, 7)
    ]
    await owned.take(runs_of(forwarded), rekeyed_next=2, marks={1: (7, 0)})
    twice = [sent("y", raw_offset=7), sent("y", raw_offset=8)]
    await owned.take(runs_of(twice), raw_next=9, append_time_ms=AT_MS)
    gateway = Gateway(cast(Any, SimpleNamespace(owned={0: owned})))

    def told(offset: int) -> port.Verdict:
        return gateway._verdict(0, offset, 0, port.Position(0, offset, AT_MS))

    assert isinstance(told(7), port.Accepted)
    assert isinstance(told(8), port.Duplicate)


def test_verdicts_on_what_is_refused_are_forgotten_as_others_are() -> None:
    owned = owned_of("count")
    refusal = Refusal(RefusalCode.INVALID_JSON, "the bytes are not JSON", b"{", 0)
    for offset in range(_REMEMBERED_VERDICTS + 1):
        raw = SimpleNamespace(offset=offset, key=None, headers=())
        owned._refuse_raw([(refusal, cast(RawRecord, raw))])
        owned.outbox.clear()
    assert len(owned.verdicts) == _REMEMBERED_VERDICTS
    assert (_REMEMBERED_VERDICTS, 0) in owned.verdicts


def test_progress_of_a_newer_program_is_read() -> None:
    """Older workers run beside it while it is rolled out."""
    progress = Progress(1, 2, 3, 4, "url", 5)
    more: Mapping[str, Any] = {**progress._asdict(), "lag": 6}
    assert Progress.decode(msgspec.json.encode(more)) == progress


async def test_members_of_what_is_committed_are_stored_though_the_partition_is_given_up() -> None:
    """Who stores those of an earlier flush yet goes on to this one, and would declare it whole."""
    owned = owned_of("seats")

    async def commit(*_: object) -> None:
        await owned.abandon()

    owned.producer = cast(Any, SimpleNamespace(commit=commit))
    taken = Arrival(event("seats", "a", AT_MS, u="b"), ORG, AT_MS, 0, 0, 0)
    await owned.take(runs_of([taken]), raw_next=1, append_time_ms=AT_MS)
    await owned.flush()
    _, members = owned._unstored.all()
    assert [text for (_, text), _ in members] == ["b"]
