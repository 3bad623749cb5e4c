"""A row log: as a dict would have it, through flushes, crashes and a disk that fails."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.turns import drained
from tables.event_index.index import LogDiffers
from tables.event_index.row_log import FILE_NAME, FlushedRows, RowLog, RowsLost
from tests.world.profiles import examples

IDS = [b"%012d" % number for number in range(40)]
ROWS = st.binary(max_size=40)


def flushed(log: RowLog, flush: int = 0) -> list[FlushedRows]:
    """Commit what is new."""
    records = drained(log.taking())
    log.seal_flush(flush)
    return records


def opened(directory: Path, records: list[FlushedRows], from_place: int = 0) -> RowLog:
    """Open what is there, and load the records of the log from one of them on."""
    log = RowLog(directory, memory_bytes=1 << 16, identity="one")
    if from_place:
        log.index.read_from(records[from_place].place)
    log.load(record.value for record in records[from_place:])
    return log


@examples(150)
@given(data=st.data())
def test_rows_are_as_a_dict_would_have_them(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("rows")
    log = RowLog(directory, memory_bytes=1 << 16, identity="one")
    committed, put, records = dict[bytes, bytes](), dict[bytes, bytes](), list[FlushedRows]()
    for flush in range(data.draw(st.integers(1, 12))):
        for row_id in data.draw(st.lists(st.sampled_from(IDS), max_size=20)):
            put[row_id] = data.draw(ROWS)
            log.put(row_id, put[row_id])
        asked = data.draw(st.lists(st.sampled_from(IDS), max_size=5, unique=True))
        log.look_up(asked)
        assert [log.get(row_id) for row_id in IDS] == [(committed | put).get(i) for i in IDS]
        taken = drained(log.taking())
        assert [log.get(row_id) for row_id in IDS] == [(committed | put).get(i) for i in IDS]
        crashes = data.draw(st.sampled_from(["no", "before the commit", "after it", "closed"]))
        if crashes != "before the commit":
            committed |= put
            records += taken
        put.clear()
        if crashes in ("no", "closed"):
            log.seal_flush(flush)
        if crashes != "no":
            if crashes == "closed":
                log.close()
            lost = data.draw(st.booleans())
            if lost:
                (directory / FILE_NAME).unlink(missing_ok=True)
            log = restored(directory, records)
        assert [log.get(row_id) for row_id in IDS] == [committed.get(row_id) for row_id in IDS]
        assert log.end == restored(directory / "again", records).end


def restored(directory: Path, records: list[FlushedRows]) -> RowLog:
    """Open what is there, and read the log from there on, as a start does."""
    log = RowLog(directory, memory_bytes=1 << 16, identity="one")
    before = [n for n, record in enumerate(records) if 0 < record.place.length <= log.index.length]
    first = before[-1] if before else 0
    try:
        if first:
            log.index.read_from(records[first].place)
        log.load(record.value for record in records[first:])
        if not log.index.is_of_log:
            raise LogDiffers
    except LogDiffers:
        log.begin_anew()
        log.load(record.value for record in records)
    return log


def test_rows_take_no_memory(tmp_path: Path) -> None:
    log, row = RowLog(tmp_path, memory_bytes=1 << 16), bytes(100)
    taken = []
    tracemalloc.start()
    for flush in range(40):
        for number in range(1_000):
            log.put(b"%012d" % (1_000 * flush + number), row)
        flushed(log, flush)
        taken.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert taken[-1] - taken[19] < 20_000 * 10
    assert (tmp_path / FILE_NAME).stat().st_size == 40_000 * 116
    assert log.get(b"%012d" % 5) == row
    log.close()


def test_a_start_reads_from_where_local_disk_ends(tmp_path: Path) -> None:
    log = RowLog(tmp_path, memory_bytes=1 << 16, identity="one")
    records = list[FlushedRows]()
    for flush in range(30):
        for number in range(50):
            log.put(b"%06d%06d" % (flush, number), b"%d" % number)
        records += flushed(log, flush)
    log.close()
    again = opened(tmp_path, records, len(records) - 1)
    assert again.index.is_of_log
    assert again.end == log.end
    assert all(again.get(b"%06d%06d" % (f, 7)) == b"7" for f in range(30))


def test_a_file_that_ends_before_the_log_goes_on_is_made_anew(tmp_path: Path) -> None:
    log = RowLog(tmp_path, memory_bytes=1 << 16, identity="one")
    records = list[FlushedRows]()
    for flush in range(3):
        log.put(IDS[flush], b"row")
        records += flushed(log, flush)
    log.close()
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.truncate(20)
    with pytest.raises(LogDiffers):
        opened(tmp_path, records, 2)


def test_a_row_that_the_disk_has_altered_is_noticed(tmp_path: Path) -> None:
    log, told = RowLog(tmp_path, memory_bytes=1 << 16), list[RowsLost]()
    log.when_lost(told.append)
    log.put(IDS[0], b"figures")
    log.put(IDS[1], b"others")
    flushed(log)
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    content[content.index(b"figures")] ^= 1
    path.write_bytes(content)
    assert log.get(IDS[1]) == b"others"
    with pytest.raises(RowsLost):
        log.get(IDS[0])
    assert len(told) == 1
    assert not tmp_path.exists(), "whoever opens it again finds what is altered"


def test_rows_stay_in_memory_while_the_disk_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RowLog(tmp_path, memory_bytes=1 << 16)
    full = True

    def write(_: object, at: int, rows: bytes) -> bool:
        if full:
            raise OSError(28, "No space left on device")
        with (tmp_path / FILE_NAME).open("r+b") as file:
            file.seek(at)
            file.write(rows)
        return True

    monkeypatch.setattr("tables.event_index.row_log._File.write", write)
    for flush in range(4):
        for number in range(200):
            log.put(b"%06d%06d" % (flush, number), bytes(200))
        flushed(log, flush)
        assert log.get(b"%06d%06d" % (flush, 3)) == bytes(200)
    assert "No space" in (log.disk_error or "")
    assert log.wanted_disk_bytes >= 4 * 200 * 216
    log.put(IDS[0], b"of the flush under way")
    drained(log.taking())
    full = False
    log.try_disk_again()
    assert log.wanted_disk_bytes == 0
    assert (tmp_path / FILE_NAME).stat().st_size == 4 * 200 * 216, "what is not committed waits"
    assert log.get(IDS[0]) == b"of the flush under way"
    log.seal_flush(4)
    assert log.get(IDS[0]) == b"of the flush under way"
    assert log.get(b"%06d%06d" % (2, 3)) == bytes(200)
