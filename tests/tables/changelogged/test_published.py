"""What is published of a period is found whatever stands beside it, and takes no memory."""

from __future__ import annotations

import gc
import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.discards import Discarded, DiscardReason, tell_nobody
from app.bounds.turns import STEP_ITEMS, drained
from tables.changelogged.checksum import ChangelogSum
from tables.changelogged.piece_store import PeriodKey, PiecesLost, PieceStore
from tables.changelogged.published import PublishedTable, Stands
from tables.changelogged.published_key import cut_in
from tables.changelogged.published_period import PublishedCell, PublishedCellKey, PublishedPeriod
from tests.world.profiles import examples

WEEK_MS = 7 * 86_400_000
CHARGE = "9f1b9c3e-6c0e-4f0e-8a51-0d4a5f9f4d6e"
CELL: PublishedCellKey = (CHARGE, None, ())


def cell(revision: int, cut_ms: int) -> PublishedCell:
    return PublishedCell(revision, "1.0", None, "1.0", None, 1, bytes(range(16)), cut_ms)


def store_in(
    directory: Path,
    identity: str = "meter/0",
    tell: Callable[[Discarded], None] = tell_nobody,
) -> PieceStore[Stands]:
    return PieceStore(directory / "published" / "0.db", identity, Stands, tell)


def flush(table: PublishedTable, changelog: list[tuple[bytes, bytes | None]]) -> None:
    """Commit what changed, and let local disk have it."""
    changelog += table.take_changes().items()
    drained(table.storing())


def opened(
    store: PieceStore[Stands] | None, changelog: list[tuple[bytes, bytes | None]]
) -> PublishedTable:
    """Return a table as a start makes it: of local disk, and of what came since."""
    table = PublishedTable(store)
    since_ms = -1 if table.began is None else table.began.cut_ms
    for key, value in changelog:
        if value is None or cut_in(key, value) >= since_ms:
            table.load_all([(key, value)])
    assert drained(table.loading())
    drained(table.storing())
    return table


def sum_of(changelog: list[tuple[bytes, bytes | None]]) -> ChangelogSum:
    newest = dict(changelog).items()
    return ChangelogSum().after((key, None, value) for key, value in newest)


@pytest.mark.parametrize("on_disk", [True, False])
def test_each_period_is_found_as_it_was_put(tmp_path: Path, on_disk: bool) -> None:
    store = store_in(tmp_path) if on_disk else None
    table, changelog = PublishedTable(store), list[tuple[bytes, bytes | None]]()
    large: dict[PublishedCellKey, PublishedCell] = {
        (CHARGE, None, (f"group {i}", None)): cell(0, 7) for i in range(80)
    }
    for week in range(300):
        name = ("s", week * WEEK_MS)
        for key, entry in large.items() if week == 5 else [(CELL, cell(0, week))]:
            table.put_cell(name, key, entry)
        table.put_completion(name, 0, week)
    flush(table, changelog)
    assert not table.periods
    table.put_cell(("s", 3 * WEEK_MS), CELL, cell(1, 309))
    table.put_completion(("s", 3 * WEEK_MS), 1, 309)
    for key, entry in large.items():
        table.put_cell(("s", 6 * WEEK_MS), key, entry)
    flush(table, changelog)
    tables = [table, opened(store, changelog), opened(None, changelog)]
    for each in tables:
        for week in range(300):
            found = each.find(("s", week * WEEK_MS))
            assert found is not None
            assert found.revision == (1 if week == 3 else 0)
            expected: dict[PublishedCellKey, PublishedCell] = {
                CELL: cell(1, 309) if week == 3 else cell(0, week)
            }
            if week in (5, 6):
                expected = {**(expected if week == 6 else {}), **large}
            assert found.cells == expected
        assert each.find(("s", 300 * WEEK_MS)) is None
        assert each.find(("t", 0)) is None
        assert each.sum == sum_of(changelog)


def test_what_is_counted_is_not_kept_at_hand(tmp_path: Path) -> None:
    table, changelog = PublishedTable(store_in(tmp_path)), list[tuple[bytes, bytes | None]]()
    large: dict[PublishedCellKey, PublishedCell] = {
        (CHARGE, None, (f"{group}",)): cell(0, 1) for group in range(20)
    }
    for key, one in large.items():
        table.put_cell(("s", 0), key, one)
    table.put_completion(("s", 0), 0, 1)
    table.put_completion(("s", 1), 0, 1)
    for _ in range(2):
        assert [table.counts(("s", start)) for start in range(3)] == [(20, 1), (0, 1), (0, 0)]
        flush(table, changelog)
        assert not table.periods


@pytest.mark.parametrize("on_disk", [True, False])
def test_looks_leave_few_periods_at_hand(tmp_path: Path, on_disk: bool) -> None:
    """However long no flush comes; what has changed meanwhile stays until then."""
    store = store_in(tmp_path) if on_disk else None
    table, changelog = PublishedTable(store), list[tuple[bytes, bytes | None]]()
    names: list[PeriodKey] = [("s", number) for number in range(5_000)]
    for name in names:
        table.put_cell(name, CELL, cell(0, 7))
        table.put_completion(name, 0, 7)
    flush(table, changelog)
    changed = names[::10]
    for number, name in enumerate(names):
        found = table.find(name)
        assert found is not None
        assert found is table.find(name)
        assert found.cells == {CELL: cell(0, 7)}
        if name == changed[number // 10]:
            table.put_cell(name, CELL, cell(1, 8))
            table.put_completion(name, 1, 8)
        assert len(table.periods) <= number // 10 + 1 + 200
    assert {table.periods[name].revision for name in changed} == {1}
    flush(table, changelog)
    for each in (table, opened(store, changelog)):
        revisions = [found.revision for name in names if (found := each.find(name)) is not None]
        assert revisions == [int(number % 10 == 0) for number in range(len(names))]
        assert each.sum == sum_of(changelog)


def test_who_closes_a_period_asks_local_disk_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, find = list[PeriodKey](), PieceStore.find

    def asking(store: PieceStore[Stands], name: PeriodKey) -> bytes | None:
        asked.append(name)
        return find(store, name)

    monkeypatch.setattr(PieceStore, "find", asking)
    table = PublishedTable(store_in(tmp_path))
    assert table.find(("s", 0)) is None
    table.put_cell(("s", 0), CELL, cell(0, 7))
    table.put_completion(("s", 0), 0, 7)
    assert asked == [("s", 0)]
    found = table.find(("s", 0))
    assert found is not None
    assert found.cells == {CELL: cell(0, 7)}


def test_a_cut_that_is_taken_again_looks_for_what_it_published(tmp_path: Path) -> None:
    changelog = list[tuple[bytes, bytes | None]]()
    store = store_in(tmp_path)
    table = PublishedTable(store)
    for cut_ms in (7, 8):
        table.begin_cut(cut_ms)
        assert table.first_ms == cut_ms
        table.put_completion(("s", cut_ms), 0, cut_ms)
        flush(table, changelog)
    for again in (table, opened(store, changelog), opened(None, changelog)):
        for cut_ms in (7, 8):
            again.begin_cut(cut_ms)
            assert again.first_ms == -1
        again.begin_cut(9)
        assert again.first_ms == 9


@pytest.mark.parametrize("looks", [True, False])
def test_a_period_without_cells_is_kept_whether_it_is_looked_at(
    tmp_path: Path, looks: bool
) -> None:
    table = PublishedTable(store_in(tmp_path))
    table.put_completion(("s", 0), 0, 7)
    found = table.find(("s", 0)) if looks else None
    assert looks == (found is not None)
    table.put_completion(("s", 1), 0, 8)
    flush(table, [])
    table.periods.clear()
    found = table.find(("s", 0))
    assert found is not None
    assert (found.revision, found.cut_ms, found.cells) == (0, 7, {})


Step = tuple[str, int, int]
NAMES: list[PeriodKey] = [("s", 0), ("s", WEEK_MS), ("t", 0)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "complete", "look", "flush", "lose", "stay", "start"]),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=30,
)


@examples(200)
@given(steps=STEPS)
def test_a_start_finds_what_was_committed_last(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """Whether local disk followed each flush, or the process ended before it did."""
    directory = tmp_path_factory.mktemp("state")
    changelog: list[tuple[bytes, bytes | None]] = []
    store = store_in(directory)
    table, cut_ms = PublishedTable(store), 0
    periods: dict[PeriodKey, PublishedPeriod] = {}
    durable: dict[PeriodKey, tuple[int, dict[PublishedCellKey, PublishedCell]]] = {}

    def keep() -> None:
        durable.clear()
        durable.update({n: (p.revision, dict(p.cells)) for n, p in periods.items()})

    for kind, number, step in steps:
        name = NAMES[number]
        cut_ms += step
        if kind in ("put", "complete"):
            mine = periods.setdefault(name, PublishedPeriod())
            if kind == "put":
                mine.cells[CELL] = cell(step, cut_ms)
                table.put_cell(name, CELL, mine.cells[CELL])
            else:
                mine.revision += 1
                table.put_completion(name, mine.revision, cut_ms)
        elif kind == "look":
            known = periods.get(name)
            counts = (0, 0) if known is None else (len(known.cells), int(known.revision >= 0))
            assert table.counts(name) == counts
            found = table.find(name)
            assert (found is None) == (known is None)
            if found is not None and known is not None:
                assert found.cells == known.cells
        elif kind == "flush":
            flush(table, changelog)
            keep()
        elif kind == "stay":
            # Committed, and the process ends before local disk follows.
            changelog += table.take_changes().items()
            keep()
        if kind in ("lose", "stay", "start"):
            if kind == "start":
                flush(table, changelog)
                keep()
            store.close()
            store = store_in(directory)
            table = opened(store, changelog)
            assert table.sum == sum_of(changelog)
            periods = {
                n: PublishedPeriod(revision, 0, dict(cells))
                for n, (revision, cells) in durable.items()
            }
            for each in NAMES:
                again = table.find(each)
                assert (again is None) == (each not in periods)
                if again is not None:
                    assert (again.revision, again.cells) == durable[each]
    store.close()


def taken(weeks: int, directory: Path) -> float:
    """Return bytes of memory a subscription, of some with so many periods of one cell."""
    table, names = PublishedTable(store_in(directory)), 100
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(names):
        for week in range(weeks):
            name = (f"{number:08d}-93ff-4f1c-9b7e-2c1d4e5f6a7b", week * WEEK_MS)
            table.put_cell(name, CELL, cell(0, week))
            table.put_completion(name, 0, week)
        flush(table, [])
    table.periods.clear()
    gc.collect()
    left = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    table.close()
    return left / names


def test_published_periods_take_no_memory(tmp_path: Path) -> None:
    few, many = taken(20, tmp_path / "few"), taken(200, tmp_path / "many")
    assert max(few, many) < 200
    assert many - few < 10


def test_local_disk_gets_a_flush_by_steps_that_may_end_early(tmp_path: Path) -> None:
    store, changelog = store_in(tmp_path), list[tuple[bytes, bytes | None]]()
    table, names = PublishedTable(store), [(str(number), WEEK_MS) for number in range(1_000)]
    for name in names:
        table.put_cell(name, CELL, cell(0, 1))
    changelog += table.take_changes().items()
    table.periods.clear()
    steps = table.storing()
    for _ in range(3):
        next(steps)
        assert all(table.find(name) for name in (names[0], names[-1]))
        table.periods.clear()
    steps.close()
    table.put_completion(names[0], 0, 2)
    changelog += table.take_changes().items()
    assert sum(1 for _ in table.storing()) == -(-len(names) // STEP_ITEMS)
    table.close()
    again = opened(store_in(tmp_path), changelog)
    assert again.sum == sum_of(changelog)
    assert all(again.find(name) for name in names)
    again.close()


def test_a_start_makes_local_disk_anew_by_steps(tmp_path: Path) -> None:
    table, names = PublishedTable(), [(str(number), WEEK_MS) for number in range(1_000)]
    for name in names:
        table.put_cell(name, CELL, cell(0, 1))
    again = PublishedTable(store_in(tmp_path))
    for key, value in table.take_changes().items():
        again.load_all([(key, value)])
    assert sum(1 for _ in again.loading()) == -(-len(names) // STEP_ITEMS)
    drained(again.storing())
    assert all(again.find(name) for name in names)
    again.close()


def test_a_period_on_disk_takes_few_bytes(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    table, count = PublishedTable(store), 5_000
    for number in range(count):
        name = (f"{number:08d}-93ff-4f1c-9b7e-2c1d4e5f6a7b", WEEK_MS)
        table.put_cell(name, CELL, cell(0, 1))
        table.put_completion(name, 0, 1)
    flush(table, [])
    table.close()
    size = sum(each.stat().st_size for each in (tmp_path / "published").iterdir())
    assert size / count < 300


def one_on_disk(directory: Path) -> PieceStore[Stands]:
    """Return local disk with one period."""
    store = store_in(directory)
    table = PublishedTable(store)
    table.put_cell(("s", 0), CELL, cell(0, 5))
    table.put_completion(("s", 0), 0, 5)
    flush(table, [])
    assert store.find(("s", 0)) is not None
    return store


def alter(directory: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(directory / "published" / "0.db")) as db, db:
        assert db.execute(statement, values).rowcount == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE periods SET piece = piece || x'00'",
        "UPDATE periods SET piece = x'00'",
        "UPDATE periods SET start_ms = 1",
    ],
)
def test_what_the_disk_has_altered_is_noticed(tmp_path: Path, statement: str) -> None:
    """Nothing is found after that until a start makes it again: it would be published anew."""
    one_on_disk(tmp_path).close()
    told: list[Discarded] = []
    store = store_in(tmp_path, tell=told.append)
    alter(tmp_path, statement)
    name = ("s", 1 if "start_ms" in statement else 0)
    for _ in range(2):
        with pytest.raises(PiecesLost):
            store.find(name)
    # What a text is in place of bytes, SQLite does not give.
    reason = "unreadable" if "||" in statement else "damaged"
    assert [why.reason for why in told] == [reason]
    assert not store.write([(("s", 9), b"piece")])
    again = store_in(tmp_path)
    assert again.stands is None
    assert again.find(name) is None


def test_what_is_closed_finds_nothing_instead_of_none(tmp_path: Path) -> None:
    store = one_on_disk(tmp_path)
    store.close()
    with pytest.raises(PiecesLost):
        store.find(("s", 0))


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("identity", "another"),
        ("garbage", "damaged"),
        ("machine", "machine"),
        ("format", "version"),
        ("half", "unfinished"),
    ],
)
def test_a_file_of_another_is_discarded(
    tmp_path: Path, what: str, reason: DiscardReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And somebody is told why."""
    one_on_disk(tmp_path).close()
    told: list[Discarded] = []
    kept = store_in(tmp_path, tell=told.append)
    assert not told
    assert kept.stands == Stands(5, kept.stands.sum if kept.stands else ChangelogSum())
    kept.close()
    if what == "garbage":
        (tmp_path / "published" / "0.db").write_bytes(bytes(range(256)) * 40)
    elif what == "machine":
        monkeypatch.setattr("tables.changelogged.piece_store._machine_start", lambda: "later")
    elif what == "format":
        monkeypatch.setattr("tables.changelogged.piece_store._FORMAT", 1)
    elif what == "half":
        alter(tmp_path, "DELETE FROM stands")
    other = store_in(tmp_path, "meter/1" if what == "identity" else "meter/0", told.append)
    assert [why.reason for why in told] == [reason]
    assert other.stands is None
    assert other.find(("s", 0)) is None
    assert other.write([(("s", 0), b"piece")])
    assert other.commit(Stands(1, ChangelogSum()))
    assert other.find(("s", 0)) == b"piece"
    other.close()


def test_what_local_disk_does_not_take_stays_in_memory(tmp_path: Path) -> None:
    (tmp_path / "published").write_text("there is no directory")
    store = store_in(tmp_path)
    table, changelog = PublishedTable(store), list[tuple[bytes, bytes | None]]()
    for week in range(300):
        table.put_cell(("s", week), CELL, cell(0, week))
    flush(table, changelog)
    assert store.disk_error
    assert not table.periods
    assert all(table.find(("s", week)) is not None for week in range(300))
    loading = PublishedTable(store)
    loading.load_all(changelog[:1])
    assert not drained(loading.loading())
    (tmp_path / "published").unlink()
    table.put_cell(("s", 300), CELL, cell(0, 300))
    flush(table, changelog)
    assert not store.disk_error
    table.close()
    again = opened(store_in(tmp_path), [])
    assert again.sum == sum_of(changelog)
    assert all(again.find(("s", week)) is not None for week in range(301))
    again.close()


def test_what_local_disk_does_not_make_last_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(tmp_path)
    table = PublishedTable(store)
    table.put_completion(("s", 0), 0, 1)
    monkeypatch.setattr(PieceStore, "commit", lambda *_: False)
    flush(table, [])
    store.discard()
    assert table.find(("s", 0)) is not None


def test_what_was_deleted_of_the_changelog_is_gone(tmp_path: Path) -> None:
    store = one_on_disk(tmp_path)
    changelog: list[tuple[bytes, bytes | None]] = []
    first = PublishedTable()
    first.put_cell(("s", 0), CELL, cell(0, 5))
    first.put_completion(("s", 0), 0, 5)
    changelog += first.take_changes().items()
    changelog += [(key, None) for key, _ in changelog]
    table = opened(store, changelog)
    assert table.sum == ChangelogSum()
    found = table.find(("s", 0))
    assert found is not None
    assert (found.revision, found.cells) == (-1, {})
    table.close()


@pytest.mark.parametrize("groups", [(), (None,), ("a", None)])
def test_the_cut_of_a_record_is_known_by_its_key(groups: tuple[str | None, ...]) -> None:
    table = PublishedTable()
    table.put_cell(("s", 0), (CHARGE, None, groups), cell(3, 5))
    table.put_completion(("s", 0), 3, 7)
    cuts = [cut_in(key, value or b"") for key, value in table.take_changes().items()]
    assert cuts == [5, 7]
