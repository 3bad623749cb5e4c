"""The event index against a plain dict, through flushes, merges, restarts and damage."""

import errno
import gc
import shutil
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from tables import event_index
from tables.event_index.directory import SegmentDirectory
from tables.event_index.entries import Entry, pack_entries, unpack_entry
from tables.event_index.index import EventIndex, LogDiffers
from tables.event_index.log import LOG_START, RECORD_BYTES, LogPlace, log_records
from tables.event_index.merge import FileSegmentWriter
from tables.event_index.rows import ROW_BYTES

INDEX_FILES = [str(path) for path in Path(event_index.__file__).parent.glob("*.py")]

LARGEST_48 = (1 << 48) - 1

entries = st.builds(
    Entry,
    append_time_ms=st.integers(0, LARGEST_48),
    raw_partition=st.integers(0, 65_535),
    raw_offset=st.integers(0, LARGEST_48),
    array_index=st.integers(0, 65_534),
    rekeyed_offset=st.integers(-1, LARGEST_48 - 1),
    body_hash=st.integers(0, LARGEST_48),
)
# Few enough to meet again; crowded and with the bytes that text comparisons get wrong.
ids = st.one_of(
    st.integers(0, 200).map(lambda n: n.to_bytes(12, "little")),
    st.integers(0, 200).map(lambda n: n.to_bytes(12, "big")),
    st.integers(0, 200).map(lambda n: b"\xff" * 8 + (n * 7919).to_bytes(4, "big")),
)


def random_ids(count: int, seed: int) -> list[bytes]:
    packed = np.random.default_rng(seed).bytes(count * 12)
    return [packed[at : at + 12] for at in range(0, len(packed), 12)]


def entry(number: int) -> Entry:
    return Entry(1_700_000_000_000 + number, number % 24, number, 0, -1, number)


def fill(index: EventIndex, rows: int, *, seed: int = 0, flush_rows: int = 500) -> list[bytes]:
    """Add and flush new ids slice by slice; flush numbers go on from the index's own."""
    event_ids = random_ids(rows, seed)
    for first in range(0, rows, flush_rows):
        slice_ids = event_ids[first : first + flush_rows]
        index.add_many(slice_ids, [entry(first + i) for i in range(len(slice_ids))])
        index.pending()
        index.seal_flush(index._flushed.flush_number + 1)
    return event_ids


def stopped_here(index: EventIndex, directory: Path, *, head_rows: int) -> EventIndex:
    """What a new worker opens when this index stops now, without closing."""
    copy = directory.with_name(directory.name + "-copy")
    shutil.copytree(directory, copy)
    index.close()
    return EventIndex(copy, head_rows=head_rows)


def packed(rows: Sequence[tuple[bytes, Entry]]) -> bytes:
    """Rows as the log has them."""
    return pack_entries([event_id for event_id, _ in rows], [entry for _, entry in rows])


def load(index: EventIndex, log: Iterable[bytes]) -> None:
    for rows in log:
        index.load(rows)


@pytest.mark.parametrize(
    "value",
    [
        Entry(0, 0, 0, 0, -1, 0),
        Entry(0, 0, 0, 0, 0, 0),
        Entry(LARGEST_48, 65_535, LARGEST_48, 65_535, LARGEST_48 - 1, LARGEST_48),
        Entry(1_700_000_000_000, 11, 12_345_678_901, 9_999, 5, 0xABCDEF012345),
    ],
    ids=["all zero but from raw", "rekeyed at 0", "all largest", "ordinary"],
)
def test_an_entry_survives_packing(value: Entry) -> None:
    row = pack_entries([b"x" * 12], [value])
    assert len(row) == ROW_BYTES
    assert unpack_entry(row) == value


def test_a_packed_row_is_laid_out_as_described() -> None:
    row = pack_entries([b"abcdefghijkl"], [Entry(1, 2, 3, 4, -1, 5)])
    assert row == b"abcdefghijkl" + bytes.fromhex("000000000001 0002 000000000003 0004") + bytes(
        [255] * 6
    ) + bytes.fromhex("000000000005")


def test_positions_order_by_append_time_then_partition_then_offset_then_index() -> None:
    earlier, middle, later = (
        Entry(1, 9, 9, 9, 5, 9),
        Entry(2, 0, 9, 9, 4, 8),
        Entry(2, 1, 0, 9, 3, 7),
    )
    assert earlier.position < middle.position < later.position


@pytest.mark.parametrize(
    "field",
    [
        {"append_time_ms": LARGEST_48 + 1},
        {"append_time_ms": -1},
        {"raw_partition": 65_536},
        {"raw_offset": -1},
        {"array_index": 65_536},
        {"rekeyed_offset": LARGEST_48},
        {"rekeyed_offset": -2},
        {"body_hash": LARGEST_48 + 1},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(field: dict[str, int]) -> None:
    index = EventIndex()
    with pytest.raises(ValueError, match=r"a field|a rekeyed"):
        index.add_many([b"x" * 12], [entry(1)._replace(**field)])
    assert (index.length, index.find(b"x" * 12)) == (0, None)


@pytest.mark.parametrize(
    ("ids_", "entries_"),
    [
        ([b"short"], [entry(1)]),
        ([b"x" * 12], []),
        ([], [entry(1)]),
    ],
    ids=["id of another length", "entry missing", "id missing"],
)
def test_ids_and_entries_must_match(ids_: list[bytes], entries_: list[Entry]) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        EventIndex().add_many(ids_, entries_)


def test_nothing_is_asked_and_nothing_added() -> None:
    index = EventIndex()
    index.add_many([], [])
    assert index.find_many([]) == []
    assert index.length == 0


def test_rows_added_while_a_flush_commits_stay_pending() -> None:
    index = EventIndex()
    index.add_many([b"a" * 12], [entry(1)])
    index.pending()
    index.add_many([b"b" * 12], [entry(2)])
    index.seal_flush(1)
    assert (index._flushed.flush_number, index._flushed.length, index.length) == (1, 1, 2)
    assert index.pending() == pack_entries([b"b" * 12], [entry(2)])


def test_the_log_is_not_loaded_over_new_events() -> None:
    index = EventIndex()
    index.add_many([b"a" * 12], [entry(1)])
    with pytest.raises(ValueError, match="before new events"):
        index.load(b"")
    with pytest.raises(ValueError, match="whole rows"):
        EventIndex().load(b"x" * 41)


def test_an_unclean_stop_leaves_whole_flushes(tmp_path: Path) -> None:
    index = EventIndex(tmp_path, head_rows=300)
    event_ids = fill(index, 10_000)
    index.add_many(random_ids(700, seed=9), [entry(i) for i in range(700)])
    again = stopped_here(index, tmp_path, head_rows=300)
    assert 5_000 < again.length <= 10_000
    assert again.length == (again._flushed.flush_number + 1) * 500
    known = again.find_many(event_ids)
    assert known == [entry(i) if i < again.length else None for i in range(10_000)]
    again.close()


def test_a_clean_stop_leaves_everything_that_was_flushed(tmp_path: Path) -> None:
    index = EventIndex(tmp_path, head_rows=300)
    event_ids = fill(index, 10_100)
    index.add_many([b"uncommitted!"], [entry(5)])
    index.close()
    again = EventIndex(tmp_path, head_rows=300)
    assert (again.length, again._flushed.flush_number) == (10_100, 20)
    assert again.find_many(event_ids) == [entry(i) for i in range(10_100)]
    assert again.find(b"uncommitted!") is None
    again.close()


@pytest.mark.parametrize("records", [1, 3], ids=["one record", "three records"])
def test_rows_on_disk_that_the_log_lost_are_noticed(tmp_path: Path, records: int) -> None:
    """The last flush was lost by the brokers, and another worker went on in another order."""
    rows = [(event_id, entry(i)) for i, event_id in enumerate(random_ids(500, seed=3))]
    ours, theirs = rows[:400], [*rows[:300], *rows[400:], *rows[300:400]]
    index = EventIndex(tmp_path, head_rows=64)
    for end in (300, 400):
        index.add_many(*zip(*ours[index.length : end], strict=True))
        index.seal_flush(end)
    index.close()
    size = len(theirs) // records + 1
    log = [packed(theirs[at : at + size]) for at in range(0, len(theirs), size)]
    again = EventIndex(tmp_path, head_rows=64)
    assert again.length == 400
    with pytest.raises(LogDiffers):
        load(again, log)
    assert again.truncate(0) == 0
    load(again, log)
    again.seal_flush(9)
    assert again.is_of_log
    assert again.find_many([event_id for event_id, _ in rows]) == [kept for _, kept in rows]
    again.close()
    once_more = EventIndex(tmp_path, head_rows=64)
    load(once_more, log)
    assert (once_more.length, once_more.is_of_log) == (500, True)
    once_more.close()


def test_a_damaged_directory_is_discarded_and_filled_from_the_log(tmp_path: Path) -> None:
    index = EventIndex(tmp_path, head_rows=300)
    event_ids = fill(index, 3_000)
    index.close()
    damaged = next(tmp_path.glob("*.rows"))
    content = bytearray(damaged.read_bytes())
    content[1_234] ^= 0x10
    damaged.write_bytes(content)
    again = EventIndex(tmp_path, head_rows=300)
    assert (again.length, again._flushed.flush_number) == (0, -1)
    again.load(pack_entries(event_ids, [entry(i) for i in range(3_000)]))
    again.seal_flush(5)
    assert again.find_many(event_ids) == [entry(i) for i in range(3_000)]
    again.close()


def test_cutting_back_on_disk_survives_a_restart(tmp_path: Path) -> None:
    index = EventIndex(tmp_path, head_rows=300)
    event_ids = fill(index, 10_000)
    kept = index.truncate(7_777)
    assert 0 < kept <= 7_777
    expected = [entry(i) if i < kept else None for i in range(10_000)]
    assert index.find_many(event_ids) == expected
    again = stopped_here(index, tmp_path, head_rows=300)
    assert again.length == kept
    assert again.find_many(event_ids) == expected
    again.close()


def test_a_replaced_entry_wins_in_every_later_segment(tmp_path: Path) -> None:
    index = EventIndex(tmp_path, head_rows=100)
    event_ids = fill(index, 2_000)
    for event_id in event_ids[::7]:
        index.add_many([event_id], [entry(999_999)])
    fill(index, 5_000, seed=1)
    expected = [entry(i if i % 7 else 999_999) for i in range(2_000)]
    assert index.find_many(event_ids) == expected
    assert index.length == 2_000 + len(event_ids[::7]) + 5_000
    index.close()


def test_what_segments_know_is_told_with_its_newest_entry(tmp_path: Path) -> None:
    index = EventIndex(tmp_path, head_rows=100)
    event_ids = fill(index, 300)
    index.add_many(event_ids[:9], [entry(999)] * 9)
    index.refuse(event_ids[9], entry(9))
    fill(index, 1_000, seed=1)
    again = random_ids(1, 2)
    asked = packed([(event_id, entry(5)) for event_id in [*again, *event_ids[:20], *again]])
    expected = {place: entry(place - 1) for place in range(11, 21)}
    expected |= dict.fromkeys(range(1, 10), entry(999))
    known = index.known(asked)
    # A refused one counts as new, and the last came among them: both are asked for later.
    assert {place for place, row in known.items() if row is None} == {10, 21}
    assert {place: unpack_entry(row) for place, row in known.items() if row is not None} == expected
    index.close()


@pytest.mark.parametrize("place", [slice(0, 8), slice(4, 12), slice(0, 4)], ids=str)
def test_crowded_ids_are_found_all_the_same(tmp_path: Path, place: slice) -> None:
    def crowded(event_id: bytes) -> bytes:
        changed = bytearray(event_id)
        changed[place] = bytes(place.stop - place.start)
        return bytes(changed)

    event_ids = list(dict.fromkeys(crowded(event_id) for event_id in random_ids(6_000, 3)))
    index = EventIndex(tmp_path, head_rows=200)
    for first in range(0, len(event_ids) - 1_000, 500):
        index.add_many(event_ids[first : first + 500], [entry(first + i) for i in range(500)])
        index.pending()
        index.seal_flush(first)
    known = index.length
    assert index.find_many(event_ids[:known]) == [entry(i) for i in range(known)]
    assert not any(index.find_many(event_ids[known:]))
    index.close()


def test_segments_stay_few(tmp_path: Path) -> None:
    index = EventIndex(tmp_path, head_rows=64)
    fill(index, 60_000, flush_rows=50)
    assert len(index._segments) <= 4 * 6
    index.close()


@pytest.mark.slow
def test_memory_stays_within_its_bound_as_filters_go_cold(tmp_path: Path) -> None:
    bound = 1_000_000
    index = EventIndex(tmp_path, memory_bytes=bound)
    fill(index, 1)
    gc.collect()
    tracemalloc.start()
    try:
        event_ids = fill(index, 400_000, seed=1, flush_rows=1_000)
        expected_ids, event_ids = event_ids[::1_000], []
        gc.collect()
        snapshot = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    # Threads of other tests may allocate meanwhile; the ids and the sample are the test's own.
    own = [tracemalloc.Filter(True, path) for path in INDEX_FILES]
    in_use = sum(trace.size for trace in snapshot.filter_traces(own).traces)
    assert 100_000 < in_use < bound
    assert index.resident_bytes < bound
    assert any(segment.cold for segment in index._segments)
    assert index.find_many(expected_ids) == [entry(i) for i in range(0, 400_000, 1_000)]
    index.limit_memory(100_000_000)
    assert not any(segment.cold for segment in index._segments)
    index.limit_memory(bound)
    assert index.resident_bytes < bound
    assert index.find_many(expected_ids) == [entry(i) for i in range(0, 400_000, 1_000)]
    index.close()


def test_memory_stays_within_its_bound_while_a_log_is_loaded(tmp_path: Path) -> None:
    bound = 1_000_000
    log = packed([(event_id, entry(i)) for i, event_id in enumerate(random_ids(100_000, 3))])
    index = EventIndex(tmp_path, memory_bytes=bound)
    for at in range(0, len(log), 400_000):
        index.load(log[at : at + 400_000])
        assert index.resident_bytes < bound
    assert index.length == 100_000
    index.close()
    assert EventIndex(tmp_path).length == 100_000


def test_a_log_that_differs_is_noticed_where_local_disk_ends(tmp_path: Path) -> None:
    rows = [(event_id, entry(i)) for i, event_id in enumerate(random_ids(400, 5))]
    index = EventIndex(tmp_path, head_rows=64)
    index.load(packed(rows))
    index.close()
    swapped = [rows[1], rows[0], *rows[2:]]
    again = EventIndex(tmp_path, head_rows=64)
    with pytest.raises(LogDiffers):
        again.read_from(LOG_START.after(packed(swapped)))
    again.read_from(LOG_START.after(packed(swapped[:100])))
    with pytest.raises(LogDiffers):
        again.load(packed(rows[100:]))
    again.read_from(LOG_START.after(packed(rows)))
    assert again.is_of_log
    again.close()


def test_a_place_of_the_log_does_not_hang_on_how_its_rows_were_cut(tmp_path: Path) -> None:
    log = packed([(event_id, entry(i)) for i, event_id in enumerate(random_ids(20_000, 6))])
    place = LOG_START
    for at in range(0, len(log), 1_240):
        place = place.after(log[at : at + 1_240])
    assert place == LOG_START.after(log)
    assert LogPlace.unpacked(place.packed()) == place
    records = list(log_records(place, log))
    assert b"".join(part for _, part in records) == log
    assert [first for first, _ in records] == [place, place.after(log[:RECORD_BYTES])]


def test_of_an_id_added_twice_before_sorting_the_newest_entry_wins() -> None:
    index = EventIndex(head_rows=10)
    event_id = b"twice at all"
    index.add_many([event_id, *random_ids(4, 0)], [entry(i) for i in range(5)])
    index.add_many([event_id], [entry(99)])
    index.add_many(random_ids(20, 1), [entry(i) for i in range(20)])
    assert len(index._segments) > 0
    assert index.find(event_id) == entry(99)


def test_filters_make_room_for_rows_that_wait_for_their_flush(tmp_path: Path) -> None:
    index = EventIndex(tmp_path, memory_bytes=1_000_000)
    fill(index, 100_000, flush_rows=1_000)
    index.limit_memory(1_000_000)
    assert any(s.on_disk and not s.cold for s in index._segments)
    for seed in range(14):
        index.add_many(random_ids(1_000, seed + 10), [entry(i) for i in range(1_000)])
    assert all(s.cold for s in index._segments if s.on_disk)
    index.close()


@pytest.mark.parametrize("fails_at", ["append", "finish", "commit"])
def test_a_full_disk_takes_nothing_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails_at: str
) -> None:
    """What it does not take stays in memory, and goes there when there is room again."""
    where = SegmentDirectory if fails_at == "commit" else FileSegmentWriter
    real = getattr(where, fails_at)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    index = EventIndex(tmp_path / "index", memory_bytes=1 << 18, head_rows=200)
    known = fill(index, 1_000)
    monkeypatch.setattr(where, fails_at, full)
    known += fill(index, 15_000, seed=1)
    assert getattr(index.disk_error, "errno", 0) == errno.ENOSPC
    assert index.wanted_disk_bytes > 0
    assert all(index.find_many(known))
    monkeypatch.setattr(where, fails_at, real)
    index.try_disk_again()
    known += fill(index, 5_000, seed=2)
    assert index.disk_error is None
    assert index.wanted_disk_bytes == 0
    assert all(index.find_many(known))
    index.close()
    reopened = EventIndex(tmp_path / "index", memory_bytes=1 << 18, head_rows=200)
    assert reopened.length == len(known)
    assert all(reopened.find_many(known))
    reopened.close()


def test_a_full_disk_ends_no_close(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    index = EventIndex(tmp_path / "index", head_rows=200)
    fill(index, 500)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileSegmentWriter, "append", full)
    index.close()
    reopened = EventIndex(tmp_path / "index", head_rows=200)
    assert reopened.length == 0
    reopened.close()
