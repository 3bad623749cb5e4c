"""What days added is found by subscription and day, however it came, and takes few bytes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.turns import STEP_ITEMS, drained
from app.wire.daily_records import Addition, addition_of
from tables.changelogged.added_days import AddedDays, AddedMetric, AddedUnits
from tables.changelogged.checkpoint import OutputMark
from tables.changelogged.checksum import ChangelogSum
from tables.changelogged.daily import DailyCell, DailyTable
from tables.changelogged.piece_store import PiecesLost, PieceStore
from tests.world.profiles import examples

CALLS = AddedMetric("calls", "plan", "EUR", recurring=False)
SUBSCRIPTION = "1a901a90-1a90-1a90-1a90-1a901a90%04d"
FIRST = date(2023, 11, 29)
EVER = date(2000, 1, 1), date(2100, 1, 1)


def addition(number: int, day: date, units: str, metric: AddedMetric = CALLS) -> Addition:
    value = {
        "type": "usage.daily",
        "lago_subscription_id": SUBSCRIPTION % number,
        "day": day.isoformat(),
        "plan_code": metric.plan_code,
        "amount_currency": metric.currency,
        "billable_metric": {"code": metric.code, "recurring": metric.recurring},
        "delta_units": units,
    }
    return addition_of(msgspec.json.encode(value))


def opened(directory: Path) -> AddedDays:
    return AddedDays(PieceStore(directory / "0.db", "meter/0", OutputMark))


Said = tuple[int, int, int, bool]
"""(subscription, days after the first, units, whether of another metric)."""
SAID: st.SearchStrategy[list[list[Said]]] = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 70), st.integers(-3, 3), st.booleans())),
    max_size=5,
)


@given(SAID, st.integers(0, 70), st.integers(0, 70))
@examples(100)
def test_days_are_those_of_a_recount(found: list[list[Said]], first: int, length: int) -> None:
    other = CALLS._replace(code="other", recurring=True)
    sums: dict[tuple[int, date, AddedMetric], Decimal] = {}
    from_date = FIRST + timedelta(days=first)
    to_date = from_date + timedelta(days=length)
    with TemporaryDirectory() as directory:
        for offset, batch in enumerate(found):
            days = opened(Path(directory))
            additions = []
            for number, after, units, is_other in batch:
                day, metric = FIRST + timedelta(days=after), other if is_other else CALLS
                additions.append(addition(number, day, str(units), metric))
                name = number, day, metric
                sums[name] = sums.get(name, Decimal()) + units
            drained(days.taking(additions, OutputMark(offset, b"")))
            days.close()
        days = opened(Path(directory))
        assert days.newest == (OutputMark(len(found) - 1, b"") if found else None)
        for number in range(3):
            told = list(days.of(SUBSCRIPTION % number, from_date, to_date))
            assert sorted(told) == sorted(
                AddedUnits(day, metric, units)
                for (of, day, metric), units in sums.items()
                if of == number and from_date <= day <= to_date
            )
        days.close()


def test_a_batch_that_ends_early_is_not_there(tmp_path: Path) -> None:
    days = opened(tmp_path)
    drained(days.taking([addition(0, FIRST, "1")], OutputMark(0, b"a")))
    steps = days.taking([addition(0, FIRST, "1")] * 100, OutputMark(100, b"b"))
    next(steps)
    steps.close()
    days.close()
    again = opened(tmp_path)
    assert again.newest == OutputMark(0, b"a")
    assert list(again.of(SUBSCRIPTION % 0, *EVER)) == [AddedUnits(FIRST, CALLS, Decimal(1))]
    again.close()


def test_a_day_takes_few_bytes_of_local_disk_and_looks_at_its_subscription(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year of two metrics."""
    days, names, other = opened(tmp_path), 50, CALLS._replace(code="other")
    for after in range(365):
        day = FIRST + timedelta(days=after)
        said = [addition(n, day, f"{n}.0", of) for n in range(names) for of in (CALLS, other)]
        drained(days.taking(said, OutputMark(after, b"")))
    asked, find = list[Any](), PieceStore.find

    def asking(store: PieceStore[Any], name: tuple[str, int]) -> bytes | None:
        asked.append(name)
        return find(store, name)

    monkeypatch.setattr(PieceStore, "find", asking)
    assert len(list(days.of(SUBSCRIPTION % 7, *EVER))) == 2 * 365
    # A month of November, the twelve of 2024 but for its last days.
    assert len(asked) == 13
    days.close()
    with closing(sqlite3.connect(tmp_path / "0.db")) as file:
        file.execute("VACUUM")
    assert (tmp_path / "0.db").stat().st_size / (names * 2 * 365) <= 14


def test_what_the_disk_has_altered_is_noticed(tmp_path: Path) -> None:
    days = opened(tmp_path)
    drained(days.taking([addition(0, FIRST, "12.5")], OutputMark(0, b"a")))
    days.close()
    with closing(sqlite3.connect(tmp_path / "0.db")) as file:
        (piece,) = file.execute("SELECT piece FROM periods").fetchone()
        file.execute("UPDATE periods SET piece = ?", (piece.replace(b"12.5", b"92.5"),))
        file.commit()
    days = opened(tmp_path)
    with pytest.raises(PiecesLost):
        list(days.of(SUBSCRIPTION % 0, *EVER))
    days.close()
    assert opened(tmp_path).newest is None


def test_a_disk_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    days = opened(tmp_path / "file")
    with pytest.raises(OSError, match="local disk takes no daily records"):
        drained(days.taking([addition(0, FIRST, "1")], OutputMark(0, b"a")))


def test_a_day_writes_as_much_however_long_its_period_has_run() -> None:
    """Of a year, in which every day changes the cell."""
    table, written = DailyTable(), list[int]()
    for after in range(365):
        day = (FIRST + timedelta(days=after)).isoformat()
        cell = DailyCell(day, after, "1.0", "1.0", 1, "charge", None, ())
        table.put(("subscription", 5), "cell", cell)
        rows = table.take_changes()
        written.append(sum(len(key) + len(value or b"") for key, value in rows.items()))
    assert max(written) <= min(written) + 4
    assert table.sum.records == 1


@pytest.mark.parametrize("periods", [64, 640])
def test_a_changelog_is_taken_over_by_steps(periods: int) -> None:
    table = DailyTable()
    for number in range(periods):
        cell = DailyCell("2024-03-04", 7, "1.0", "1.0", 1, "charge", None, ())
        table.put((SUBSCRIPTION % number, 5), "cell", cell)
    changelog = {key: value for key, value in table.take_changes().items() if value is not None}
    again = DailyTable()
    # To load, and to pack.
    assert sum(1 for _ in again.load_all(changelog)) == 2 * periods // STEP_ITEMS
    assert again.sum == table.sum


def test_rows_of_an_older_program_leave_the_changelog() -> None:
    """It kept days there."""
    cell = DailyCell("2024-03-04", 7, "1.0", "1.0", 1, "charge", None, ())
    table = DailyTable()
    table.put(("subscription", 5), "cell", cell)
    rows = {key: value for key, value in table.take_changes().items() if value is not None}
    packed = b"d" + msgspec.msgpack.encode(("subscription", 5))
    older = ChangelogSum(*table.sum).replaced(packed, None, b"days")
    loaded = DailyTable()
    drained(loaded.load_all({**rows, packed: b"days"}))
    assert loaded.sum == older
    assert (loaded.give_up_rows(), loaded.give_up_rows()) == ([packed], [])
    assert loaded.sum == table.sum
    assert loaded.cells(("subscription", 5)) == {"cell": cell}
