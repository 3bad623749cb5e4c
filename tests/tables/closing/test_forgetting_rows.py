"""Rows by presentation keys: once their period is final, what is published keeps them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.meter.usage import PresentedRow, Regrouping
from app.runtime.topics.published_topic import put_again
from tables.breakdown_fold import BreakdownFold
from tables.changelogged.checkpoint import FORGETTING_VERSION
from tables.changelogged.published import PublishedTable
from tables.changelogged.published_key import cut_in
from tables.changelogged.published_period import PublishedCell
from tables.charge import ChargeFold
from tables.reading.tracing import verdict
from tables.reading.usage import current_usage
from tests.tables.closing.test_forgetting import NAME, SETTINGS, pass_until
from tests.tables.closing.test_forgetting_days import BY_DAY
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, CommandAt, definitions_of, shown_by_keys
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.past import past_usage
from tests.world.regrouped import answered, merged
from tests.world.verified import differences

PLAIN = ("count", "sum", "max", "latest", "average", "filtered", "unique", "calls", "passes")
RECURRING = ("balance", "seats", "heads", "level", "prepaid", "licences")
CARRIED = 2
"""Of what recurs there is what lies before, by the charge and by its rows."""

Rows = list[tuple[PresentedRow, ...] | None]


def shown(
    weeks: int,
    *codes: str,
    settings: SettingsRecord = SETTINGS,
    found: list[CommandAt] | None = None,
    presents: tuple[str, ...] | None = None,
) -> Live:
    """Two events of each metric in each week, of two users; the last week is final."""
    found = found or definitions_of(codes, settings)
    shown_by_keys(found, presents)
    made = Live(found)
    made.define_all()
    offset = 0
    for week in range(weeks):
        at_ms = START_MS + week * WEEK_MS + HOUR_MS
        made.close_until(at_ms - 1)
        for code in codes:
            for user in "ab":
                made.deliver([arrived(code, offset, at_ms, v="1", g="x", u=user)])
                offset += 1
        made.flush()
    pass_until(made, START_MS + weeks * WEEK_MS + DAY_MS)
    made.flush()
    return made


def rows_of(one: Live) -> Rows:
    """Return the rows of all cells of periods that are published, the newest first."""
    at_ms = one.partition.checkpoint.cut_ms
    return [row.presented for usage in past_usage(one.partition, NAME, at_ms) for row in usage.rows]


def left_of(one: Live) -> tuple[int, int]:
    one.flush()
    return len(one.changelog.cells), one.partition.checkpoint.cells


@pytest.mark.parametrize("rests", [False, True])
@pytest.mark.parametrize("code", PLAIN)
def test_cells_go_and_the_rows_are_told_as_before(code: str, rests: bool) -> None:
    one = shown(2, code)
    before = rows_of(one)
    assert all(before), "each cell has rows"
    if rests:
        one.partition.packing.pack(NAME)
    assert one.forget(NAME)
    assert left_of(one) == (0, 0)
    assert one.partition.checkpoint.fold_version == FORGETTING_VERSION
    assert rows_of(one) == before
    one.restart()
    assert rows_of(one) == before
    assert differences(one) == []


@pytest.mark.parametrize("code", RECURRING)
def test_rows_of_what_recurs_are_carried_on(code: str) -> None:
    """There are as many however many weeks there were, and the running week shows them."""
    told, kept = list[Rows](), set[tuple[int, int]]()
    for weeks in (2, 5, 12):
        one = shown(weeks, code)
        told.append(rows_of(one))
        at_ms = START_MS + weeks * WEEK_MS + DAY_MS
        running = current_usage(one.partition, NAME, at_ms)
        assert one.forget(NAME)
        kept.add(left_of(one))
        one.restart()
        assert rows_of(one) == told[-1]
        assert current_usage(one.partition, NAME, at_ms) == running
        assert differences(one) == []
    assert all(told[0])
    assert len(kept) == 1


@pytest.mark.parametrize("codes", [("sum", "latest"), ("calls", "passes"), ("balance", "seats")])
def test_cells_that_tell_days_of_rows_go_however_many_weeks_there_were(
    codes: tuple[str, ...],
) -> None:
    kept = []
    for weeks in (2, 12, 30):
        one = shown(weeks, *codes, settings=BY_DAY)
        before = rows_of(one)
        pass_until(one, START_MS + weeks * WEEK_MS + 3 * DAY_MS)
        assert one.forget(NAME)
        kept.append(left_of(one))
        assert rows_of(one) == before != []
    assert kept[0] == kept[1] == kept[2]


def test_rows_that_an_earlier_program_left_to_their_cells_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the same metric another charge is in arrears: its cells went by themselves then."""
    found = definitions_of(["prepaid"], SETTINGS)
    (charges,) = [
        line.command.payload["plan"]["charges"]
        for line in found
        if line.command.type == "create_plan"
    ]
    arrears = {"code": "arrears", "new_id": str(UUID(int=7)), "pay_in_advance": False}
    charges.append({**charges[0], **arrears, "properties": {"amount": "1"}})
    one = shown(3, "prepaid", found=found, presents=("prepaid",))
    before, cells = rows_of(one), left_of(one)[0]
    assert sum(bool(rows) for rows in before) == 3
    with monkeypatch.context() as earlier:
        earlier.setattr(BreakdownFold, "forgets", property(lambda fold: False))
        in_arrears = property(lambda fold: fold.prices and not fold.in_advance)
        earlier.setattr(ChargeFold, "forgets", in_arrears)
        earlier.setattr("tables.closing.forgetting.keeping_all_rows", lambda *_: iter(()))
        assert one.forget(NAME)
        assert left_of(one)[0] == cells - 3 + 1
    one.restart()
    assert one.forget(NAME)
    assert rows_of(one) == before
    assert left_of(one)[0] == 1 + 1 + 2, "of each charge a cell, and of one two rows"
    assert differences(one) == []


@pytest.mark.parametrize("code", ["sum", "balance"])
def test_cells_of_rows_that_are_too_long_to_be_kept_stay(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tables.changelogged.published_period.KEPT_ROWS_BYTES", 20)
    one = shown(2, code)
    before, cells = rows_of(one), left_of(one)
    assert not one.forget(NAME)
    assert left_of(one) == cells
    assert rows_of(one) == before
    assert all(before)


def test_a_week_without_events_whose_rows_are_too_long_stays_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It shows all that lies before, which would be one then."""
    one = shown(1, "heads")
    pass_until(one, START_MS + 2 * WEEK_MS + DAY_MS)
    before, keep = rows_of(one), PublishedCell.presented_by

    def keep_some(cell: PublishedCell, rows: bytes) -> PublishedCell:
        return cell if cell.cut_ms > START_MS + WEEK_MS else keep(cell, rows)

    monkeypatch.setattr(PublishedCell, "presented_by", keep_some)
    assert not one.forget(NAME)
    assert rows_of(one) == before
    assert [len(rows or ()) for rows in before] == [2, 2]


def test_a_late_event_brings_the_rows_back() -> None:
    found, told = definitions_of(["sum"], SETTINGS), []
    for forgets in (False, True):
        one = shown(1, "sum", found=found)
        assert one.forget(NAME) if forgets else True
        at_ms = START_MS + WEEK_MS + DAY_MS
        late = arrived("sum", 9, at_ms + 1, v="5", g="x", u="c")
        event = replace(late.event, timestamp_ms=START_MS + 2 * HOUR_MS)
        one.deliver([replace(late, event=event, admitted=True)])
        pass_until(one, at_ms + HOUR_MS)
        told.append((one.values(), rows_of(one)))
        pass_until(one, at_ms + DAY_MS)
        assert one.forget(NAME)
        assert left_of(one) == (0, 0)
        assert rows_of(one) == told[-1][1]
    assert told[0] == told[1]
    (rows,) = told[0][1]
    assert [dict(row.presentation_by)["u"] for row in rows or ()] == ["a", "b", "c"]


def test_full_usage_has_rows_without_units_of_weeks_that_are_carried_on() -> None:
    told: list[Any] = []
    for forgets in (False, True):
        one = shown(1, "prepaid")
        at_ms = START_MS + WEEK_MS + DAY_MS
        gone = arrived("prepaid", 8, START_MS + DAY_MS, at_ms, v="-1", g="x", u="a")
        one.deliver([gone])
        pass_until(one, START_MS + 2 * WEEK_MS + DAY_MS)
        if forgets:
            assert one.forget(NAME)
        at_ms = START_MS + 2 * WEEK_MS + 2 * DAY_MS
        usage = current_usage(one.partition, NAME, at_ms)
        assert usage is not None
        regrouped = merged(one.partition, usage, Regrouping(full=True), at_ms)
        assert bool(regrouped.to_read) == forgets
        traced = [verdict(one.partition, each) for each in one.arrived()]
        told.append([(row.units, row.presented) for row in answered(regrouped, traced).rows])
    assert told[0] == told[1]
    ((_, rows),) = told[0]
    assert [str(row.units) for row in rows] == ["0", "1"]


def test_what_is_published_is_read_of_the_records_again_with_its_rows() -> None:
    """The sum tells that it is all of it, though only final periods kept their rows."""
    one = shown(3, "sum", "balance")
    one.deliver([arrived("sum", 20, START_MS + 3 * WEEK_MS + 2 * DAY_MS, v="1", g="x", u="a")])
    pass_until(one, START_MS + 4 * WEEK_MS + HOUR_MS)
    before = rows_of(one)
    assert one.forget(NAME)
    found = PublishedTable()
    for record in one.records:
        put_again(found, one.definitions, record.value)
    assert found.sum == one.partition.published.sum
    loaded = PublishedTable()
    for key, value in found.take_changes().items():
        loaded.load_all([(key, value or b"")])
    drained(loaded.loading())
    assert loaded.sum == found.sum
    vars(one.partition)["published"] = loaded
    assert rows_of(one) == before


def test_a_start_reads_rows_though_their_cut_was_long_before() -> None:
    """It looks from the end of the changelog for a record of a cut that local disk has all of."""
    one = shown(3, "sum")
    assert one.forget(NAME)
    changed = one.partition.published.take_changes()
    assert len(changed) == 3
    done_ms = one.partition.checkpoint.cut_ms
    assert all(cut_in(key, value or b"") > done_ms for key, value in changed.items())


def test_rows_of_before_another_key_are_told_by_that() -> None:
    one = shown(1, "sum")
    other = {"properties": {"amount": "1", "presentation_group_keys": [{"value": "g"}]}}
    one.append(START_MS + WEEK_MS + 1, commands.update_charge(ORG, "plan", "sum", other))
    one.deliver([arrived("sum", 7, START_MS + WEEK_MS + HOUR_MS, v="1", g="x", u="a")])
    pass_until(one, START_MS + 2 * WEEK_MS + DAY_MS)
    before = rows_of(one)
    assert one.forget(NAME)
    assert rows_of(one) == before
    keys = [[key for key, _ in row.presentation_by] for rows in before for row in rows or ()]
    assert keys == [["g"], ["u", "operation_type"], ["u", "operation_type"]]
