"""A period of many cells tells the same packed as it does unpacked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.bounds.turns import drained
from tables.changelogged.published import PublishedTable
from tables.changelogged.published_period import (
    FEW_CELLS,
    PackedPeriod,
    PublishedCell,
    PublishedCellKey,
    PublishedPeriod,
    counts_in,
    period_of,
)
from tests.world.profiles import examples

PERIOD = ("s", 0)
CELL = PublishedCell(0, "1.0", None, "1.0", None, 1, bytes(16), 7)


def named(number: int) -> PublishedCellKey:
    own = (f"charge {number % 3}", None if number % 2 else "filter", (f"group {number}",))
    return (*own, ("h",)) if number % 5 == 0 else own


def cell(number: int, cut_ms: int) -> PublishedCell:
    digest = (number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)).to_bytes(16, "big")
    return replace(CELL, digest=digest, cut_ms=cut_ms, units=f"{number}.0")


def assert_same(packed: PublishedPeriod, plain: PublishedPeriod, cut_ms: int) -> None:
    assert packed.digest == plain.digest
    assert set(packed.charge_ids()) == set(plain.charge_ids())
    assert packed.cells == plain.cells
    assert (packed.revision, packed.cut_ms) == (plain.revision, plain.cut_ms)
    for each_ms in (cut_ms, cut_ms + 1):
        assert packed.is_half_taken(each_ms) == plain.is_half_taken(each_ms)
        assert packed.as_before(each_ms).cut_ms == plain.as_before(each_ms).cut_ms


def test_a_copy_goes_its_own_way() -> None:
    plain = PublishedPeriod(0, 7, {named(i): cell(i, 7) for i in range(FEW_CELLS + 10)})
    for period in (plain, period_of(plain.piece())):
        names, digest = list(period.names()), period.digest
        copied = period.as_before(7)
        assert (copied.revision, copied.cut_ms, copied.cells) == (0, -1, period.cells)
        copied.put(("other", None, ()), cell(99, 8))
        copied.put(named(1), cell(98, 8))
        assert (list(period.names()), period.digest) == (names, digest)
        assert set(copied.charge_ids()) - set(period.charge_ids()) == {"other"}
        assert period.cells[named(1)] == cell(1, 7)


@examples(60)
@given(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 99)), max_size=12), st.booleans())
def test_it_tells_the_same_after_any_revisions(
    puts: list[tuple[int, int]], is_loaded: bool
) -> None:
    plain = PublishedPeriod(0, 7, {named(i): cell(i, 7) for i in range(FEW_CELLS + 10)})
    packed = period_of(plain.piece())
    assert isinstance(packed.cells, PackedPeriod)
    for turn, (number, value) in enumerate(puts):
        cut_ms = 8 + turn // 3
        now = cell(value, cut_ms)
        assert packed.put(named(number), now) == plain.put(named(number), now)
        assert_same(packed, plain, cut_ms)
        if turn % 3 == 2:
            for each in (packed, plain):
                each.revision, each.cut_ms = each.revision + 1, cut_ms
            packed = period_of(packed.piece())
            assert counts_in(packed.piece()) == (len(plain.cells), 1)
            assert_same(packed, plain, cut_ms)
    if is_loaded:
        # The changelog of later revisions comes upon the piece of before.
        table, later = PublishedTable(), PublishedTable()
        for name, known in plain.cells.items():
            table.put_cell(PERIOD, name, known)
        for each_table in (table, later):
            each_table.put_completion(PERIOD, plain.revision, plain.cut_ms)
        changes = [*table.take_changes().items()]
        later.put_cell(PERIOD, named(1), cell(1_000, 99))
        changes += later.take_changes().items()
        for key, packed_row in changes:
            table.load_all([(key, packed_row)])
        assert drained(table.loading())
        table.periods.clear()
        plain.put(named(1), cell(1_000, 99))
        found = table.find(PERIOD)
        assert found is not None
        assert_same(found, plain, 99)


def test_a_few_cells_are_read_at_once() -> None:
    few = PublishedPeriod(0, 7, {named(i): cell(i, 7) for i in range(FEW_CELLS)})
    found = period_of(few.piece())
    assert isinstance(found.cells, dict)
    assert found == few
