"""What an agent refuses to fold."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest
from faust.types import TP

from agents import ingest
from agents.ingest import _Lanes, take_raw, take_rekeyed
from app.bounds.limits import ID_BYTES
from app.bounds.turns import Turns
from app.definitions.indexes.grants import Grants
from app.definitions.indexes.set_asides import SetAsides
from app.definitions.judging import Judging
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.definitions.versions import Versions
from app.kafka.placing import DeliveryBroken
from app.kafka.record_batch import RawRecord, RecordBatch
from app.runtime.partition.ahead import Ahead
from app.runtime.partition.forwarder import Forwards
from app.runtime.partition.next_flush import NextFlush
from app.runtime.partition.portion import MAX_STAMP_AHEAD_MS, ClockAhead, Portion
from app.settings import Settings
from tables.changelogged.checkpoint import Checkpoint
from tests.world.waiting import until


def no_care(*_: object) -> bool:
    """Return that records are folded without being tried first."""
    return False


def _owned(shared: SimpleNamespace, checkpoint: Checkpoint, **more: Any) -> Any:
    """Partition 3, as far as a portion asks."""
    state = SimpleNamespace(checkpoint=checkpoint)
    places = {"number": 3, "shared": shared, "state": state, "forwarded": (0, -1)}
    more["forwards"] = Forwards()
    more["note_forwarded"] = lambda *_: None
    more.setdefault("life", SimpleNamespace(is_given_up=lambda: False))
    return SimpleNamespace(**places, abandoned=False, wants_care=no_care, **more)


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "rekeyed"])
async def test_a_batch_that_leaves_a_gap_is_not_folded(raw: bool) -> None:
    checkpoint = Checkpoint(raw_next=41, rekeyed_next=41)
    shared = SimpleNamespace(
        settings=Settings(profile="test"),
        clock=SimpleNamespace(now_ms=lambda: 0),
        homes=SimpleNamespace(of_all=list),
        definitions=Definitions(),
        turns=Turns(),
    )
    owned = _owned(shared, checkpoint, fold=AsyncMock())
    batch = RecordBatch([], TP("events", 3), 42, 50, 0)
    with pytest.raises(DeliveryBroken, match=r"partition=3.*folded up to 41.*begins at 42"):
        await (take_raw(owned, batch, cast(Any, None)) if raw else take_rekeyed(owned, batch))
    assert (checkpoint.raw_next, checkpoint.rekeyed_next) == (41, 41)


@pytest.mark.parametrize("ahead", [False, True], ids=["in turn", "ahead"])
async def test_a_broker_whose_clock_is_hours_ahead_is_not_followed(ahead: bool) -> None:
    """Neither by the fold nor by the progress that others close by."""
    shared = SimpleNamespace(
        settings=Settings(profile="test"),
        clock=SimpleNamespace(now_ms=lambda: 0),
        homes=None,
        definitions=Definitions(),
        turns=Turns(),
    )
    checkpoint = Checkpoint(append_time_ms=-1)
    owned = _owned(shared, checkpoint)
    raw = SimpleNamespace(
        offset=0, timestamp=MAX_STAMP_AHEAD_MS + 1, key=None, value=b"{}", headers=()
    )
    stamped = [cast(RawRecord, raw)]
    nobody = cast(Any, None)
    batch = RecordBatch([stamped], TP("events", 3), 0, 1, 0)
    reading = Ahead(nobody).forward(owned, TP("events", 3), stamped, 1)
    taking = take_raw(owned, batch, nobody)
    read, left = (reading, taking) if ahead else (taking, reading)
    left.close()
    with pytest.raises(ClockAhead, match="Offset 0 of raw partition 3"):
        await read


def _array_batch(records: int, events: int) -> RecordBatch:
    """Records that are arrays of events, one after another."""
    element = (
        b'{"organization_id":"o","external_subscription_id":"s","transaction_id":"%d","code":"c"}'
    )
    entries = [
        SimpleNamespace(
            offset=at,
            timestamp=at,
            key=None,
            value=b"[" + b",".join(element % n for n in range(events)) + b"]",
            headers=(),
        )
        for at in range(records)
    ]
    return RecordBatch([cast(list[RawRecord], entries)], TP("events", 3), 0, records + 2, 0)


def _partition() -> Any:
    """A partition as lanes know it."""
    return SimpleNamespace(next_flush=NextFlush(), wants_care=no_care, stalled=asyncio.Event())


async def test_small_batches_that_wait_at_once_are_folded_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for one that a rebalance has made void; each is acknowledged by itself."""
    taken = []

    async def take(_: object, batch: RecordBatch, *__: object) -> bool:
        taken.append((batch.tp.topic, batch.start, batch.next, [each.offset for each in batch]))
        return False

    monkeypatch.setattr(ingest, "take_raw", take)
    monkeypatch.setattr(ingest, "take_rekeyed", take)
    monkeypatch.setattr(ingest, "JOINED_RECORDS", 5)
    batches = SimpleNamespace(take=lambda batch: batch.era == 1)
    app = cast(Any, SimpleNamespace(raw_topic="raw", batches=batches))
    partition = _partition()
    lanes = _Lanes(app, lambda _: partition, cast(Any, None), Turns())

    def put(topic: str, start: int, next_offset: int, era: int = 1) -> RecordBatch:
        record = cast(RawRecord, SimpleNamespace(offset=start))
        batch = RecordBatch([[record]], TP(topic, 0), start, next_offset, era)
        lanes.put(batch)
        return batch

    put("raw", 3, 5, era=0)
    raw = [put("raw", 5, 6), put("raw", 6, 8)]
    rekeyed = put("rekeyed", 1, 2)
    raw.append(put("raw", 8, 9))
    later = put("raw", 9, 10)
    await until(lambda: len(partition.next_flush.batches) >= 5, every_s=0)
    lanes.close()
    joined = ("raw", 5, 9, [5, 6, 8])
    assert taken == [joined, ("rekeyed", 1, 2, [1]), ("raw", 9, 10, [9])]
    raw.append(rekeyed)
    raw.append(later)
    assert all(found is one for found, one in zip(partition.next_flush.batches, raw, strict=True))
    assert not any(raw)


async def test_a_batch_is_taken_by_portions_of_whole_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.runtime.partition.portion.PORTION_EVENTS", 1_000)
    shared = SimpleNamespace(
        settings=Settings(profile="test", test_clock=True),
        homes=SimpleNamespace(of_all=lambda names: [3] * len(names)),
        definitions=Definitions(),
        turns=Turns(),
    )
    checkpoint = Checkpoint(append_time_ms=-1)
    took: list[tuple[int, int, int]] = []

    async def fold(runs: Any, *, raw_next: int, append_time_ms: int, **_: Any) -> None:
        checkpoint.raw_next, checkpoint.append_time_ms = raw_next, append_time_ms
        took.append((raw_next, append_time_ms, sum(len(run) for _, run in runs)))

    owned = _owned(shared, checkpoint, fold=fold)
    batch = _array_batch(records=5, events=700)
    while await take_raw(owned, batch, cast(Any, None)):
        pass
    # A portion ends with the record that fills it; the last one passes the batch's markers too.
    assert took == [(2, 1, 1_400), (4, 3, 1_400), (7, 4, 700)]


async def test_decoding_a_large_batch_gives_others_their_turns() -> None:
    """One record of 10,000 events is decoded by small steps."""
    batch = _array_batch(records=1, events=10_000)
    shared = SimpleNamespace(
        settings=Settings(profile="test", test_clock=True),
        homes=SimpleNamespace(of_all=lambda names: [3] * len(names)),
        definitions=Definitions(),
    )
    steps = Portion(batch, 0, -1).decode(cast(Any, shared), 3, Judging.by(shared.definitions))
    assert sum(1 for _ in steps) >= 10_000 // 64


@pytest.mark.parametrize("limited", [False, True])
async def test_a_long_name_waits_for_the_definitions_that_say_whether_it_is_too_long(
    limited: bool,
) -> None:
    """What comes before it is folded; it comes with a portion of its own."""
    definitions = SimpleNamespace(
        settings_at=lambda: SimpleNamespace(default_organization_id="o"),
        limited_after_ms=lambda: NEVER_MS,
        append_time_ms=1,
        offset=1,
        set_asides=SetAsides(),
        settings=Versions(),
        grants=Grants(),
    )
    shared = SimpleNamespace(
        settings=Settings(profile="test", test_clock=True),
        homes=SimpleNamespace(of_all=lambda names: [3] * len(names)),
        definitions=definitions,
        turns=Turns(),
    )
    checkpoint = Checkpoint(append_time_ms=-1)
    took: list[tuple[int, int, int, int]] = []

    async def fold(
        runs: Any, *, raw_next: int, append_time_ms: int, refused: list[Any], **_: Any
    ) -> None:
        checkpoint.raw_next, checkpoint.append_time_ms = raw_next, append_time_ms
        took.append((raw_next, append_time_ms, sum(len(run) for _, run in runs), len(refused)))

    async def definitions_past(past_ms: int) -> None:
        definitions.append_time_ms = past_ms + 1
        if limited:
            definitions.limited_after_ms = lambda: past_ms - 1

    life = SimpleNamespace(definitions_past=definitions_past)
    owned = _owned(shared, checkpoint, fold=fold, life=life)
    body = b'{"external_subscription_id":"s","transaction_id":"%s","code":"c"}'
    ids = [b"a", b"b", b"c" * (ID_BYTES + 1), b"d"]
    entries = [
        SimpleNamespace(offset=n, timestamp=n + 10, key=None, value=body % text, headers=())
        for n, text in enumerate(ids)
    ]
    batch = RecordBatch([cast(list[RawRecord], entries)], TP("events", 3), 0, 4, 0)
    while await take_raw(owned, batch, cast(Any, None)):
        pass
    assert took == [(2, 11, 2, 0), (4, 13, 1 if limited else 2, int(limited))]


@pytest.mark.parametrize("half", [False, True], ids=["nothing changed", "half folded"])
async def test_a_fold_without_open_files_waits_and_tries_again(
    monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    """It is not restored, which would need more of them; unless half of it is done."""
    paused: list[int] = []
    failed: list[Exception] = []

    async def pause(tries: int) -> None:
        paused.append(tries)

    async def take(*_: object) -> bool:
        if len(paused) < 3:
            raise OSError(24, "Too many open files")
        return False

    shared, next_flush = SimpleNamespace(brokers=SimpleNamespace(pause=pause)), NextFlush()
    partition = SimpleNamespace(
        number=3,
        shared=shared,
        abandoned=half,
        next_flush=next_flush,
        fail=failed.append,
        wants_care=no_care,
        stalled=asyncio.Event(),
    )
    app = SimpleNamespace(batches=SimpleNamespace(take=lambda _: True), raw_topic="events")
    batch = RecordBatch([], TP("events", 3), 0, 1, 0)
    monkeypatch.setattr("agents.ingest.take_raw", take)
    lanes = _Lanes(cast(Any, app), lambda _: cast(Any, partition), cast(Any, None), Turns())
    await lanes._taken([batch])
    assert paused == ([] if half else [0, 1, 2])
    assert [type(each) for each in failed] == ([OSError] if half else [])
    assert next_flush.batches == ([] if half else [batch])


async def test_others_fold_while_records_of_a_partition_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody handed it over, and to try them takes a copy of the process."""
    tried, folded = asyncio.Event(), list[int]()

    async def examined(owned: Any, batch: RecordBatch) -> None:
        if batch.tp.partition == 0:
            await tried.wait()

    async def take(_: object, batch: RecordBatch, *__: object) -> bool:
        folded.append(batch.tp.partition)
        return False

    monkeypatch.setattr("agents.ingest.needs_examining", lambda *_: True)
    monkeypatch.setattr("agents.ingest.examine", examined)
    monkeypatch.setattr("agents.ingest.take_raw", take)
    app = SimpleNamespace(batches=SimpleNamespace(take=lambda _: True), raw_topic="events")
    partition = _partition()
    lanes = _Lanes(cast(Any, app), lambda _: partition, cast(Any, None), Turns())
    for number in (0, 1):
        lanes.put(RecordBatch([], TP("events", number), 0, 1, 0))
    await until(lambda: folded == [1])
    tried.set()
    await until(lambda: folded == [1, 0])
    lanes.close()
