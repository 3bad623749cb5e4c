"""Records of a batch that the kernel splits, and the events that it leaves in their bytes.

They are what aiokafka reads and what `plain_arrival` makes of each.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import msgspec
import pytest
import xxhash
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import calc_crc32c
from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.kafka.parts import Fetched
from app.kernel import twin
from app.ledger.blocks import collected, pack
from app.ledger.rows import Chunks, KeyRanges, rows_of
from app.wire.arrivals import PLAINLY
from app.wire.identity import event_body_hash
from tests.app.kernel.batches import RECORDS_AT, binary, events, expected_of, noted, split
from tests.app.kernel.runs import ALWAYS, learn, plain_body
from tests.app.kernel.test_arriving import bodies
from tests.app.kernel.test_kernel import READINGS, Taken
from tests.world.batches import packed_batch, record_bytes
from tests.world.profiles import examples

VALUES = st.none() | st.binary(max_size=300)
HEADERS = st.lists(st.tuples(st.binary(max_size=4), st.none() | st.binary(max_size=4)), max_size=2)


def told(records: Sequence[Any]) -> list[tuple[object, ...]]:
    return [
        (each.offset, each.timestamp, each.timestamp_type, each.key, each.value, list(each.headers))
        for each in records
    ]


@examples(300)
@given(
    values=st.lists(
        st.tuples(st.none() | st.binary(max_size=300), HEADERS), min_size=1, max_size=5
    ),
    base=st.integers(0, 1 << 40),
    skipped=st.integers(0, 5),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=2),
)
def test_records_are_those_that_aiokafka_reads(
    kernel: Any,
    values: list[tuple[bytes | None, list[tuple[bytes, bytes | None]]]],
    base: int,
    skipped: int,
    damage: list[tuple[int, int]],
) -> None:
    payload = b"".join(record_bytes(n, *each) for n, each in enumerate(values))
    data = bytearray(packed_batch(payload, len(values), "none", base))
    for at, byte in damage:
        data[RECORDS_AT + at % len(payload)] = byte
    found = split(kernel, bytes(data), len(values), base, base + skipped)
    if found is None:
        # It is damaged, or a header has a name that is no UTF-8.
        names = [name for _, headers in values for name, _ in headers]
        assert damage or any(not _is_utf8(name) for name in names)
        return
    try:
        expected = told(list(DefaultRecordBatch(bytes(data))))
    except (CorruptRecordException, UnicodeDecodeError):
        pytest.fail("aiokafka does not read it")
    assert told(found) == [each for each in expected if cast(int, each[0]) >= base + skipped]


@pytest.mark.parametrize("more", [-1, 1])
def test_a_record_of_another_length_is_left_to_aiokafka(kernel: Any, more: int) -> None:
    """The second says that it is shorter, or longer, than its parts are."""
    first, second = record_bytes(0, b"one"), bytearray(record_bytes(1, b"two"))
    second[0] += 2 * more
    data = packed_batch(first + bytes(second) + bytes(max(0, more)), 2, "none")
    assert split(kernel, data, 2) is None


def test_a_batch_that_ends_too_early_is_left_to_aiokafka(kernel: Any) -> None:
    """Wherever it ends; its last record says that it has more."""
    headers = [(b"one", b"1"), (b"two", None), (b"three", b"333")]
    payload = b"".join(record_bytes(n, plain_body(n), headers) for n in range(2))
    data = packed_batch(payload, 2, "none")
    assert len(split(kernel, data, 2)) == 2
    for end in range(RECORDS_AT, len(data)):
        assert split(kernel, data[:end], 2) is None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_records_are_a_sequence(kernel: Any) -> None:
    payload = b"".join(record_bytes(n, b"%d" % n) for n in range(5))
    data = packed_batch(payload, 5, "none")
    found = split(kernel, data, 5)
    whole = told(found)
    assert [told([found[n]])[0] for n in range(5)] == whole
    assert told([found[-1]]) == whole[-1:]
    for some in (slice(1, 3), slice(None, None, 2), slice(4, None), slice(7, 9), slice(-2, None)):
        assert told(found[some]) == whole[some]
    with pytest.raises(IndexError):
        found[5]
    assert twin.split(data, RECORDS_AT, len(data), 5, 0, 5, 0, 0, -1, Fetched) is None


@examples(500)
@given(values=st.lists(bodies() | st.integers(0, 9).map(plain_body), min_size=1, max_size=6))
def test_what_is_noted_is_what_arrives(kernel: Any, values: list[bytes]) -> None:
    runs, expected = noted(kernel, values), expected_of(values)
    offsets = {each.raw_offset for run in runs.values() for each in run}
    assert {key: list(run) for key, run in runs.items()} == {
        key: taken
        for key, run in expected.items()
        if (taken := [each for each in run if each.raw_offset in offsets])
    }
    usual = {n for n, value in enumerate(values) if value in map(plain_body, range(10))}
    assert usual <= offsets


@pytest.mark.parametrize("first", [0, 1, 2])
def test_it_ends_before_what_is_not_plain_or_beyond_its_room(kernel: Any, first: int) -> None:
    values = [plain_body(0), plain_body(1), b"[]", plain_body(3)]
    payload = b"".join(record_bytes(n, value) for n, value in enumerate(values))
    records = split(kernel, packed_batch(payload, 4, "none"), 4)
    runs: dict[Any, Any] = {}
    room, left = 10_000, (0, 5, 5, 3, 0, None, runs, PLAINLY)
    place, count, rest, after, at_ms, _ = kernel.arrive_many(records, first, room, 10, *left)
    assert (place, count, at_ms) == (2, 2 - first, 5)
    assert rest == room - sum(10 + len(value) for value in values[first:2])
    assert after == (2 if count else 0)
    place, count, *_ = kernel.arrive_many(records, 0, 1, 10, *left)
    assert (place, count) == (1, 1)
    assert kernel.arrive_many([], 0, 1, 10, *left)[:2] == (0, 0)
    assert twin.arrive_many(records, 0, 1, 10, *left) == (0, 0, 1, 0, 5, True)


def test_it_ends_before_a_time_that_is_not_known(kernel: Any) -> None:
    payload = record_bytes(0, plain_body(0))
    data = packed_batch(payload, 1, "none")
    whole = data, RECORDS_AT, len(data), 1, 0, 1, 0, 0
    records = kernel.split(*whole, 9, Fetched)
    runs: dict[Any, Any] = {}
    for append_ms, until_ms, taken in ((5, 8, 0), (5, 9, 1), (9, 8, 1)):
        ends = append_ms, until_ms, 3, 0, None, runs, PLAINLY
        _, count, _, _, at_ms, _ = kernel.arrive_many(records, 0, 1_000, 0, 0, *ends)
        assert (count, at_ms) == (taken, 9 if taken else append_ms)


def test_events_are_a_sequence_of_arrivals(kernel: Any) -> None:
    run, expected = events(kernel, 5)
    assert len(run) == 5
    assert run[2] is run[2]
    assert list(run[1:4]) == expected[1:4]
    assert list(run[::-2]) == expected[::-2]
    assert [*run] == expected
    assert run[-1] == expected[-1]
    with pytest.raises(IndexError):
        run[5]
    run.append(expected[0])
    assert list(run) == [*expected, expected[0]]
    assert kernel.reach_of(run) == twin.reach_of(expected)


@pytest.mark.parametrize("asked", [(), (1,), (0, 1, 2, 3)])
@pytest.mark.parametrize("way", READINGS)
@pytest.mark.parametrize("made", [events, binary])
def test_events_are_hashed_read_and_written_like_arrivals(
    kernel: Any, made: Any, way: str, asked: tuple[int, ...]
) -> None:
    """Whether somebody has asked for some of them before, or for none."""
    run, expected = made(kernel, 4)
    for place in asked:
        assert run[place] == expected[place]
    rows = []
    for each in (run, expected):
        packed = bytearray()
        hashes = xxhash.xxh3_64_intdigest, event_body_hash, packed
        assert kernel.index_rows("o", "s", each, *ALWAYS, *hashes)
        rows.append(packed)
    assert rows[0] == rows[1]
    assert kernel.reach_of(run) == kernel.reach_of(expected) == twin.reach_of(expected)
    field, numeric, ordered = READINGS[way]
    outcomes = []
    for kind, each in ((kernel, run), (kernel, expected), (twin, expected)):
        taken = Taken()
        reading = taken.reading(field, {} if numeric else None, ordered)
        answer = kind.take_run(taken.cell, "s", "c", each, *ALWAYS, reading, taken.dirty)
        outcomes.append(taken.told(answer))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    told = bytearray(b"before"), lambda _: 5 << 24 | 9, len, bytearray(), bytearray()
    left = kernel.write_plain([(("o", "s", "code"), run)], 0, *told)
    assert left == (asked == ())
    assert kernel.write_plain([(("o", "s", "code"), expected)], 0, bytearray(), *told[1:]) == 0
    if asked == ():
        assert list(rows_of(bytes(told[0][6:]), 3)) == expected
        assert struct.unpack("QQ", told[3] + told[4]) == (5 << 24 | 4, len(told[0]))


@examples(50)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=8),
    name=st.text(min_size=1, max_size=70_000),
)
@example(sizes=[(1, True)], name="n" * 31)
@example(sizes=[(1, True)], name="n" * 32)
@example(sizes=[(1, True)], name="n" * 256)
@example(sizes=[(1, True)], name="n" * 65_536)
def test_the_ledger_has_the_same_rows(
    kernel: Any, sizes: list[tuple[int, bool]], name: str
) -> None:
    """Of runs that the kernel has noted, and of others between them."""
    packed, listed = Chunks(), Chunks()
    pairs = [(*events(kernel, size), is_packed) for size, is_packed in sizes]
    keys = [(name, *arrivals[0].meter_key[1:]) for _, arrivals, _ in pairs]
    runs = [run if is_packed else arrivals for run, arrivals, is_packed in pairs]
    with patch("app.ledger.rows.write_plain", kernel.write_plain):
        packed.add(list(zip(keys, runs, strict=True)), plain=True)
    with patch("app.ledger.rows.write_plain", twin.write_plain):
        listed.add([(key, pair[1]) for key, pair in zip(keys, pairs, strict=True)], plain=True)
    assert packed.keys == listed.keys
    for number, (_, arrivals, _) in enumerate(pairs):
        ours, theirs = (chunk_of(chunks, number) for chunks in (packed, listed))
        assert list(rows_of(ours, 3)) == arrivals
        assert msgspec.msgpack.decode(ours[1:]) == msgspec.msgpack.decode(theirs[1:])
        assert ours[0] == theirs[0]


def test_rows_behind_packed_ones_have_their_places(kernel: Any) -> None:
    run, arrivals = events(kernel, 4)
    (organization_id, external_id, code), chunks = arrivals[0].meter_key, Chunks()
    wanted = KeyRanges.of([(organization_id, external_id)], [code])
    with (
        patch("app.ledger.rows.write_plain", kernel.write_plain),
        patch("app.ledger.blocks._SLAB_BYTES", 1),
    ):
        for times in range(1, 4):
            chunks.add([(arrivals[0].meter_key, run)] * 2, plain=True)
            assert [list(rows_of(each, 3)) for each in collected(chunks, wanted)] == (
                [arrivals] * (2 * times)
            )
            # All but the last one.
            pack(chunks, 2 * times - 1 - len(chunks.slabs))
            assert len(chunks.slabs) == 2 * times - 1


def chunk_of(chunks: Chunks, number: int) -> bytes:
    begin = chunks.ends[number - 1] if number else 0
    return bytes(chunks.buffer[begin : chunks.ends[number]])


@pytest.mark.parametrize("places", [[], [0], [1, 3], [0, 1, 2, 3]])
def test_a_run_is_taken_apart(kernel: Any, places: list[int]) -> None:
    run, arrivals = events(kernel, 4)
    assert run[3] == arrivals[3], "somebody has asked for it"
    expected = twin.apart(arrivals, places)
    for each in (run, arrivals):
        assert tuple(map(list, kernel.apart(each, places))) == expected
    for odd in (-1, 4):
        for kind in (kernel, twin):
            with pytest.raises(IndexError):
                kind.apart(run, [odd])


def test_events_are_parted_without_an_object_each(kernel: Any) -> None:
    run, arrivals = events(kernel, 7)
    expected = twin.by_literals(arrivals, ("v", "none"))
    assert len(expected) == 3
    found = kernel.by_literals(run, ("v", "none"))
    assert [type(part) for part in found.values()] == [type(run)] * 3
    assert {literals: list(part) for literals, part in found.items()} == expected
    assert list(found) == list(expected)


def test_an_event_out_of_bounds_leaves_the_others_of_its_run_led(kernel: Any) -> None:
    run, arrivals = events(kernel, 4)
    key, packed, listed = arrivals[0].meter_key, bytearray(), bytearray()
    bounds = twin.BOUNDS.pack(0, arrivals[2].timestamp_ms, 0, 1 << 62, *[1 << 62] * 2, 0, 0)
    ranges = SimpleNamespace(newest_ms=-1, appended_ms=-1)
    routes = {key: SimpleNamespace(bounds=bounds, set_key=None, event_ranges=ranges)}
    hashes = xxhash.xxh3_64_intdigest, event_body_hash
    found = kernel.lead([(key, run)], routes, set(), *hashes, packed)
    expected = twin.lead([(key, arrivals)], routes, set(), *hashes, listed)
    for each in (found, expected):
        assert [list(events) for _, events in each[1]] == [arrivals[:2]]
        assert [list(events) for _, events in each[4]] == [arrivals[2:]]
    assert packed == listed


def test_events_join_arrivals_that_came_before_them(kernel: Any) -> None:
    values = [plain_body(0), plain_body(1)]
    expected = expected_of(values)
    ((key, both),) = expected.items()
    payload = record_bytes(1, values[1])
    data = packed_batch(payload, 2, "none")
    records = kernel.split(data, RECORDS_AT, len(data), 1, 0, 2, 0, 0, -1, Fetched)
    runs: dict[Any, Any] = {key: both[:1]}
    kernel.arrive_many(records, 0, 1_000, 0, 0, 7, 7, 3, 0, "d", runs, PLAINLY)
    assert runs == expected


@examples(100)
@given(data=st.binary(max_size=100), at=st.integers(0, 20))
def test_checksums_are_those_that_kafka_wants(kernel: Any, data: bytes, at: int) -> None:
    at = min(at, len(data))
    found = kernel.checksum(data, at, len(data))
    assert found is None or found == calc_crc32c(data[at:])
    assert kernel.checksum(data, at, len(data) + 1) is None
    assert twin.checksum(data, 0, len(data)) is None


@examples(200)
@given(data=st.binary(max_size=200), count=st.integers(-1, 5), at=st.integers(-1, 201))
def test_any_bytes_are_split_or_not(kernel: Any, data: bytes, count: int, at: int) -> None:
    assume(count < 1 << 20)
    found = kernel.split(data, at, len(data), count, 0, max(count, 0), 0, 0, -1, Fetched)
    assert found is None or len(found) == count
    assert kernel.split(data, 0, len(data) + 1, count, 0, 9, 0, 0, -1, Fetched) is None


def test_whoever_has_learnt_reads_the_same(kernel: Any) -> None:
    learn(kernel)
    test_events_are_hashed_read_and_written_like_arrivals(kernel, events, "sum", (1,))
