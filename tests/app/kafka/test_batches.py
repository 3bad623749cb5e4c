"""Reading what producers compressed: every codec, whatever its size, by bounded pieces."""

from __future__ import annotations

import gc
import struct
import weakref
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition

from app.bounds.limits import (
    DELIVERED_BYTES,
    DELIVERED_RECORDS,
    HEADER_BYTES,
    INFLATED_BEFORE_BYTES,
    INFLATED_BYTES,
    INFLATED_IN_WORKER_BYTES,
    RECORD_HEADERS,
)
from app.kafka import lenient_fetch, open_batch
from app.kafka.lenient_fetch import FetchedRecords
from app.kafka.open_batch import UnreadBatch
from tests.world.batches import batch_bytes, packed_batch, record_bytes

MEBIBYTE = 1024 * 1024
COMPRESSED = ("gzip", "snappy", "lz4", "zstd")


def fetched_records(data: bytes, offset: int = 0) -> FetchedRecords:
    """What a fetch from `offset` on has brought."""
    kept = lenient_fetch._KeptRecords(data)
    return FetchedRecords(TopicPartition("raw", 0), kept, [], offset, None, None, True, 1)


def all_of(records: FetchedRecords, most: int | None = None) -> list[Any]:
    """Everything, inflated where that is needed."""
    found: list[Any] = []
    while not records.ended:
        if records.waits:
            records.inflate()
        found += records.take(most)
    return found


def filled(size: int, values: int, first: int = 0) -> bytes:
    """Records that have so many bytes in all."""
    each = size // values - 20
    return b"".join(record_bytes(first + n, b"%d" % n + bytes(each)) for n in range(values))


@pytest.mark.parametrize("codec", ["none", *COMPRESSED])
@pytest.mark.parametrize("most", [1, 7, None])
def test_every_codec_is_read_whole_from_any_offset(codec: str, most: int | None) -> None:
    batches = [
        batch_bytes(
            b"".join(record_bytes(n, b"%d" % n) for n in range(10)), 10, codec, base_offset=base
        )
        for base in (0, 10, 30)
    ]
    for start in (0, 5, 10, 15, 20, 39):
        found = all_of(fetched_records(b"".join(batches), start), most)
        expected = [*range(20), *range(30, 40)]
        assert [each.offset for each in found] == [each for each in expected if each >= start]
        assert [each.value for each in found] == [b"%d" % (each.offset % 10) for each in found]


@pytest.mark.parametrize("taken", [0, 7, 30])
def test_what_was_fetched_goes_with_its_last_reference(taken: int) -> None:
    # The collector passes over what lived when it came by: a cycle of then stays for ever.
    records = b"".join(record_bytes(n, b"%d" % n) for n in range(20))
    fetched = fetched_records(batch_bytes(records, 20))
    gone = weakref.ref(fetched)
    gc.collect()
    gc.disable()
    try:
        fetched.take(taken)
        batch = weakref.ref(fetched._batch) if fetched._batch else lambda: None
        del fetched
        assert gone() is None
        assert batch() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_batch_over_the_ceiling_is_one_record_with_its_bytes(codec: str) -> None:
    large = batch_bytes(filled(INFLATED_BYTES + MEBIBYTE, 4), 4, codec, base_offset=2, at_ms=77)
    small = record_bytes(0, b"one"), record_bytes(1, b"two")
    before = batch_bytes(b"".join(small), 2, codec)
    after = batch_bytes(b"".join(small), 2, codec, base_offset=6)
    found = all_of(fetched_records(before + large + after))
    assert [each.offset for each in found] == [0, 1, 2, 6, 7]
    unread = found[2]
    assert isinstance(unread, UnreadBatch)
    assert unread.reason.too_large
    assert (unread.records, unread.timestamp, unread.data) == (4, 77, large)
    assert (unread.key, unread.value, unread.headers) == (None, None, ())


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_batch_at_the_ceiling_is_read(codec: str) -> None:
    records = filled(INFLATED_BYTES - MEBIBYTE, 40)
    found = all_of(fetched_records(batch_bytes(records, 40, codec)))
    assert len(found) == 40
    assert all(isinstance(each.value, bytes) for each in found)


def test_a_declared_size_over_the_ceiling_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = bytes(INFLATED_BYTES + 1)
    zstd = bytes(cramjam.zstd.compress(records, output_len=len(records)))
    declared = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", len(records)) + zstd[6:]
    lz4 = b"\x04\x22\x4d\x18\x68\x40" + struct.pack("<Q", len(records)) + bytes(20)
    xerial = batch_bytes(records, 4, "snappy")
    monkeypatch.setattr("app.kafka.inflate.INFLATING_BUFFERS", ())
    packed = packed_batch(declared, 4, "zstd"), packed_batch(lz4, 4, "lz4"), xerial
    for batch in packed:
        (found,) = all_of(fetched_records(batch))
        assert found.reason.too_large


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_damaged_batch_is_one_record_too(codec: str) -> None:
    whole = batch_bytes(filled(5_000, 5), 5, codec)[61:]
    for payload in (whole[:-7], b"nothing of the kind", b""):
        (found,) = all_of(fetched_records(packed_batch(payload, 5, codec)))
        assert isinstance(found, UnreadBatch)
        assert not found.reason.too_large


def damaged(codec: str) -> dict[str, bytes]:
    """Batches that brokers take: by what is wrong with their third record of five."""
    good = [record_bytes(n, b"%d" % n) for n in range(5)]
    short, far, again = good.copy(), good.copy(), good.copy()
    short[2] = b"\x04" + good[2][1:]
    far[2], again[2] = record_bytes(7, b"far"), record_bytes(1, b"again")
    return {
        name: batch_bytes(b"".join(records), 5, codec, base_offset=10)
        for name, records in (("short", short), ("far", far), ("again", again))
    }


@pytest.mark.parametrize("codec", ["none", *COMPRESSED])
@pytest.mark.parametrize("fault", ["short", "far", "again"])
@pytest.mark.parametrize("most", [1, 3, None])
def test_what_follows_a_damaged_record_is_one_record(codec: str, fault: str, most: int) -> None:
    """Otherwise the partition would stand for ever, or pass what others wrote."""
    batch = damaged(codec)[fault]
    after = batch_bytes(record_bytes(0, b"after"), 1, codec, base_offset=15)
    for start in (0, 11, 12):
        *before, unread, last = all_of(fetched_records(batch + after, start), most)
        assert [each.offset for each in before] == list(range(max(start, 10), 12))
        assert isinstance(unread, UnreadBatch)
        assert (unread.offset, unread.records, unread.data) == (12, 3, batch)
        assert "damaged" in str(unread.reason)
        assert (last.offset, last.value) == (15, b"after")
    # Who begins behind it told of it before.
    assert [each.offset for each in all_of(fetched_records(batch + after, 13), most)] == [15]


def test_no_event_loop_inflates_more_than_a_mebibyte() -> None:
    records = fetched_records(batch_bytes(filled(3 * MEBIBYTE, 30), 30, "lz4"))
    assert records.take(None) == []
    assert (records.waits, records.ended, records.next_fetch_offset) == (True, False, 0)
    records.inflate()
    assert len(records.take(None)) == 30
    assert not records.waits


def test_what_is_delivered_at_once_is_bounded_by_bytes_and_by_records() -> None:
    records = fetched_records(batch_bytes(filled(40 * MEBIBYTE, 40), 40))
    records.take(None)
    records.inflate()
    assert len(records.take(None)) == DELIVERED_BYTES // MEBIBYTE + 1
    small = b"".join(record_bytes(n, b"1") for n in range(DELIVERED_RECORDS + 1))
    many = fetched_records(batch_bytes(small, DELIVERED_RECORDS + 1))
    assert [len(many.take(None)) for _ in range(2)] == [DELIVERED_RECORDS, 1]


def test_a_worker_keeps_a_bounded_sum_inflated_and_loses_nothing() -> None:
    data = batch_bytes(filled(INFLATED_BYTES - MEBIBYTE, 4), 4)
    partitions = [fetched_records(data) for _ in range(6)]
    found: dict[int, list[int]] = {number: [] for number in range(6)}
    while not all(each.ended for each in partitions):
        for number, records in enumerate(partitions):
            if not records.ended:
                records.inflate()
                found[number] += [each.offset for each in records.take(1)]
            assert sum(open_batch.HELD._batches.values()) <= INFLATED_IN_WORKER_BYTES
    assert found == {number: list(range(4)) for number in range(6)}


def test_many_small_batches_that_inflate_to_much_are_delivered_piece_by_piece() -> None:
    """One fetch may hold thousands of them, of a mebibyte each."""
    one = [
        batch_bytes(record_bytes(0, bytes(MEBIBYTE - 100)), 1, "zstd", base_offset=n)
        for n in range(50)
    ]
    records = fetched_records(b"".join(one))
    taken: list[Any] = []
    while not records.ended:
        part = records.take(None)
        assert sum(len(each.value) for each in part) <= DELIVERED_BYTES + MEBIBYTE
        taken += part
    assert [each.offset for each in taken] == list(range(50))


@pytest.mark.parametrize("codec", ["none", *COMPRESSED])
def test_a_record_of_many_headers_is_not_read(codec: str) -> None:
    few, many = [(b"a", b"b")] * RECORD_HEADERS, [(b"", None)] * (RECORD_HEADERS + 1)
    data = record_bytes(0, b"one", few) + record_bytes(1, b"two", many) + record_bytes(2, b"three")
    found = all_of(fetched_records(batch_bytes(data, 3, codec)))
    assert [each.offset for each in found] == [0, 1, 2]
    assert [each.value for each in found] == [b"one", None, b"three"]
    assert len(found[0].headers) == RECORD_HEADERS
    unread = found[1]
    assert isinstance(unread, UnreadBatch)
    assert (unread.records, unread.data, unread.headers) == (1, b"two", ())
    assert unread.reason.too_large


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_large_batch_with_a_record_of_millions_of_headers_is_not_read(codec: str) -> None:
    million = record_bytes(1, b"two", [(b"", None)] * 1_000_000)
    data = record_bytes(0, b"one" * 10_000) + million
    batch = batch_bytes(data, 2, codec)
    (unread,) = all_of(fetched_records(batch))
    assert isinstance(unread, UnreadBatch)
    assert (unread.records, unread.data) == (2, batch)
    assert unread.reason.too_large


def test_what_was_appended_before_there_were_limits_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was counted; until a settings record says so, and nothing else decides."""
    monkeypatch.setattr(lenient_fetch, "_limited_after_ms", {})
    many = [(b"", None)] * (RECORD_HEADERS + 1)
    data = {
        "large": filled(INFLATED_BYTES + MEBIBYTE, 4),
        "headers": record_bytes(0, b"one", many),
        "both": record_bytes(0, bytes(2 * MEBIBYTE), many),
    }

    def read(name: str, at_ms: int) -> bool:
        count = 4 if name == "large" else 1
        found = all_of(fetched_records(batch_bytes(data[name], count, "zstd", at_ms=at_ms)))
        return not any(isinstance(each, UnreadBatch) for each in found)

    for name in data:
        assert not read(name, 77)
    lenient_fetch.limit_after("raw", 77)
    for name in data:
        assert [read(name, at_ms) for at_ms in (76, 77, 78)] == [True, True, False]


def test_what_no_memory_takes_was_never_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lenient_fetch, "_limited_after_ms", {"raw": 77})
    large = filled(INFLATED_BEFORE_BYTES + MEBIBYTE, 4)
    (unread,) = all_of(fetched_records(batch_bytes(large, 4, "zstd", at_ms=77)))
    assert unread.reason.too_large


def test_headers_count_among_what_is_delivered_at_once() -> None:
    headers = [(b"", None)] * RECORD_HEADERS
    data = b"".join(record_bytes(n, b"", headers) for n in range(1_000))
    records = fetched_records(batch_bytes(data, 1_000))
    records.take(None)
    records.inflate()
    part = records.take(None)
    assert 0 < len(part) <= DELIVERED_BYTES // HEADER_BYTES // RECORD_HEADERS + 1
    assert len(part) + len(all_of(records)) == 1_000
