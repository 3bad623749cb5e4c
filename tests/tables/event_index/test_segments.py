"""Segments of the event index: sorting, filters, merging, and noticing damaged files."""

import gc
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.event_index.directory import MANIFEST_NAME, SegmentDirectory
from tables.event_index.filters import AskedKeys
from tables.event_index.merge import MemorySegmentWriter, Merge
from tables.event_index.rows import ROW, ROW_BYTES, DamagedSegmentError, Rows, sort_rows
from tables.event_index.segments import BLOCK_ROWS, FlushMark, Segment

Row = tuple[bytes, bytes]

awkward_ids = st.one_of(
    st.binary(min_size=12, max_size=12),
    st.sampled_from([bytes(12), b"\xff" * 12, b"a" + bytes(11), bytes(11) + b"a"]),
    st.binary(min_size=4, max_size=4).map(lambda tail: bytes(8) + tail),
    st.binary(min_size=4, max_size=4).map(lambda head: head + b"\x01" * 8),
)
rows_of_any_ids = st.lists(
    st.tuples(awkward_ids, st.binary(min_size=28, max_size=28)), max_size=400
)


def packed(rows: list[Row]) -> Rows:
    return np.frombuffer(b"".join(event_id + value for event_id, value in rows), ROW)


def random_rows(count: int, seed: int = 0) -> list[Row]:
    bytes_ = np.random.default_rng(seed).bytes(count * ROW_BYTES)
    starts = range(0, len(bytes_), ROW_BYTES)
    return [(bytes_[at : at + 12], bytes_[at + 12 : at + 40]) for at in starts]


def memory_segment(rows: list[Row], first_row: int = 0) -> Segment:
    ordered = sort_rows(packed(rows[::-1]))
    writer = MemorySegmentWriter(len(rows))
    writer.append(ordered)
    return writer.finish(first_row, first_row + len(rows), 0, None)


def disk_segment(
    directory: SegmentDirectory, rows: list[Row], *, resident: bool = True, first_row: int = 0
) -> Segment:
    writer = directory.writer(len(rows), resident=resident)
    writer.append(sort_rows(packed(rows[::-1])))
    end_row = first_row + len(rows)
    return writer.finish(first_row, end_row, 1, FlushMark(7, end_row, 70))


def found(segment: Segment, ids: list[bytes]) -> dict[bytes, bytes]:
    asked = AskedKeys(b"".join(ids))
    return {ids[index]: row[12:] for index, row in segment.find(asked)}


@given(rows_of_any_ids)
def test_sorting_keeps_the_first_of_equal_ids(rows: list[Row]) -> None:
    expected = sorted(dict(rows[::-1]).items())
    ordered = sort_rows(packed(rows)).tobytes()
    assert ordered == b"".join(event_id + value for event_id, value in expected)


@given(rows_of_any_ids.filter(bool), st.lists(awkward_ids, max_size=50))
def test_a_segment_finds_what_it_holds_and_nothing_else(
    rows: list[Row], others: list[bytes]
) -> None:
    held = dict(rows)
    asked = [*held, *others]
    expected = {event_id: held[event_id] for event_id in asked if event_id in held}
    assert found(memory_segment(rows), asked) == expected


@given(st.lists(rows_of_any_ids.filter(bool), min_size=1, max_size=5), st.integers(1, 300))
def test_a_merge_holds_the_newest_row_of_every_id(parts: list[list[Row]], step_rows: int) -> None:
    held = dict(row for part in parts for row in part)
    first_row = 0
    segments = []
    for part in parts:
        segments.append(memory_segment(part, first_row))
        first_row += len(part)
    merge = Merge(segments, MemorySegmentWriter(first_row), 1)
    while not merge.advance(1, step_rows):
        pass
    merged = merge.finish()
    assert (merged.first_row, merged.end_row) == (0, first_row)
    assert merged.row_count == len(held)
    assert found(merged, list(held)) == held


@pytest.mark.parametrize("resident", [True, False], ids=["filter in memory", "filter in file"])
def test_a_disk_segment_finds_what_it_holds(tmp_path: Path, resident: bool) -> None:
    rows = random_rows(3 * BLOCK_ROWS + 5)
    segment = disk_segment(SegmentDirectory(tmp_path, "p"), rows, resident=resident)
    assert segment.cold is not resident
    assert found(segment, [event_id for event_id, _ in rows]) == dict(rows)
    assert found(segment, [event_id for event_id, _ in random_rows(500, seed=1)]) == {}
    segment.close()


def test_the_filter_lets_few_unknown_ids_through() -> None:
    segment = memory_segment(random_rows(40_000))
    unknown = [event_id for event_id, _ in random_rows(20_000, seed=1)]
    passed = segment._filter.candidates(AskedKeys(b"".join(unknown)))
    assert len(passed) / len(unknown) < 0.01


def test_memory_of_a_disk_segment_is_its_filter_and_fences(tmp_path: Path) -> None:
    segment = disk_segment(SegmentDirectory(tmp_path, "p"), random_rows(12_800))
    assert segment.resident_bytes == 12_800 * 2 + 100 * 12
    segment.cool()
    assert segment.resident_bytes == 100 * 12
    segment.warm()
    assert segment.resident_bytes == 12_800 * 2 + 100 * 12
    segment.close()


def test_a_disk_segment_takes_forty_bytes_a_row_and_two_for_the_filter(tmp_path: Path) -> None:
    disk_segment(SegmentDirectory(tmp_path, "p"), random_rows(1_000)).close()
    sizes = {path.suffix: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == {".rows": 40_000, ".filter": 2_000}


def test_only_whole_flushes_go_to_disk(tmp_path: Path) -> None:
    writer = SegmentDirectory(tmp_path, "p").writer(1, resident=True)
    writer.append(packed(random_rows(1)))
    with pytest.raises(ValueError, match="whole flushes"):
        writer.finish(0, 1, 1, FlushMark(1, 2, 0))
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def committed_directory(path: Path) -> dict[bytes, bytes]:
    """Two segments on disk; returns what they hold."""
    directory = SegmentDirectory(path, "p")
    first, second = random_rows(700), random_rows(300, seed=1)
    segments = [
        disk_segment(directory, first),
        disk_segment(directory, second, first_row=700),
    ]
    directory.commit(segments)
    for segment in segments:
        segment.close()
    return dict(first + second)


def test_what_was_committed_is_there_again(tmp_path: Path) -> None:
    held = committed_directory(tmp_path)
    segments, discarded = SegmentDirectory(tmp_path, "p").open()
    assert discarded is None
    assert [segment.mark for segment in segments] == [FlushMark(7, 700, 70), FlushMark(7, 1000, 70)]
    again = {k: v for segment in segments for k, v in found(segment, list(held)).items()}
    assert again == held
    for segment in segments:
        segment.close()


def test_files_nobody_committed_are_removed(tmp_path: Path) -> None:
    committed_directory(tmp_path)
    disk_segment(SegmentDirectory(tmp_path / "other", "p"), random_rows(5)).close()
    (tmp_path / "other" / "00000000.rows").rename(tmp_path / "00000009.rows")
    (tmp_path / "notes.txt").write_text("not ours")
    segments, _ = SegmentDirectory(tmp_path, "p").open()
    assert not (tmp_path / "00000009.rows").exists()
    assert (tmp_path / "notes.txt").exists()
    for segment in segments:
        segment.close()


def flip(name: str, at: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray((path / name).read_bytes())
        content[at] ^= 1
        (path / name).write_bytes(content)

    return damage


def cut(name: str, by: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = (path / name).read_bytes()
        (path / name).write_bytes(content[: len(content) - by])

    return damage


def missing(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(flip("00000000.rows", 0), "damaged", id="first bit of the rows"),
        pytest.param(flip("00000001.rows", -1), "damaged", id="last byte of the rows"),
        pytest.param(flip("00000000.filter", 100), "damaged", id="bit of a filter"),
        pytest.param(flip(MANIFEST_NAME, 80), "", id="bit of the manifest"),
        pytest.param(cut("00000000.rows", 1), "within a row", id="torn row"),
        pytest.param(cut("00000000.rows", 40), "damaged", id="whole row missing"),
        pytest.param(cut("00000000.rows", 28_000), "damaged", id="empty rows"),
        pytest.param(cut("00000001.filter", 8), "damaged", id="torn filter"),
        pytest.param(cut(MANIFEST_NAME, 10), "", id="torn manifest"),
        pytest.param(missing("00000000.rows"), "No such file", id="rows missing"),
        pytest.param(missing("00000001.filter"), "No such file", id="filter missing"),
    ],
)
def test_damage_is_noticed_and_the_directory_discarded(
    tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    committed_directory(tmp_path)
    damage(tmp_path)
    segments, discarded = SegmentDirectory(tmp_path, "p").open()
    assert segments == []
    assert discarded is not None
    assert reason in discarded.text
    assert discarded.reason == ("unreadable" if "No such file" in discarded.text else "damaged")
    assert list(tmp_path.iterdir()) == []
    assert SegmentDirectory(tmp_path, "p").open() == ([], None)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_of_the_manifest_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("index")
    committed_directory(path)
    content = bytearray((path / MANIFEST_NAME).read_bytes())
    content[at % len(content)] ^= 1 << bit
    (path / MANIFEST_NAME).write_bytes(content)
    assert SegmentDirectory(path, "p").open()[0] == []


def test_the_directory_of_another_index_is_discarded(tmp_path: Path) -> None:
    committed_directory(tmp_path)
    segments, discarded = SegmentDirectory(tmp_path, "q").open()
    assert segments == []
    assert discarded == ("another", "the event index belongs to 'p', not 'q'")


def test_a_merge_does_not_launder_damage(tmp_path: Path) -> None:
    directory = SegmentDirectory(tmp_path, "p")
    segments = [
        disk_segment(directory, random_rows(700)),
        disk_segment(directory, random_rows(300, seed=1), first_row=700),
    ]
    flip("00000000.rows", 20_030)(tmp_path)
    merge = Merge(segments, directory.writer(1_000, resident=True), 2)
    merge.advance(1_000, 100)
    with pytest.raises(DamagedSegmentError):
        merge.finish()
    merge.writer.abandon()
    for segment in segments:
        segment.close()


@pytest.mark.parametrize("name", ["00000000.rows", "00000000.filter"])
def test_a_file_cut_while_in_use_is_noticed(tmp_path: Path, name: str) -> None:
    rows = random_rows(BLOCK_ROWS)
    segment = disk_segment(SegmentDirectory(tmp_path, "p"), rows, resident=False)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DamagedSegmentError, match="shorter"):
        found(segment, [event_id for event_id, _ in rows])
    segment.close()


@pytest.mark.parametrize("resident", [True, False], ids=["filter-in-memory", "filter-cold"])
def test_a_segment_that_nobody_closed_leaves_no_file_open(tmp_path: Path, resident: bool) -> None:
    directory = SegmentDirectory(tmp_path, "partition 0")
    segment = disk_segment(directory, random_rows(100), resident=resident)
    assert len(open_files(tmp_path)) == (1 if resident else 2)
    del segment
    gc.collect()
    assert open_files(tmp_path) == []


def open_files(directory: Path) -> list[str]:
    """The files of a directory that this process has open; other tests may leave descriptors."""
    names = {(found.st_dev, found.st_ino): path.name for path, found in stats(directory)}
    inodes = []
    for descriptor in os.listdir("/dev/fd"):
        # The listing itself was open, too.
        with suppress(OSError):
            found = os.fstat(int(descriptor))
            inodes.append((found.st_dev, found.st_ino))
    return [names[inode] for inode in inodes if inode in names]


def stats(directory: Path) -> list[tuple[Path, os.stat_result]]:
    return [(path, path.stat()) for path in directory.iterdir()]
