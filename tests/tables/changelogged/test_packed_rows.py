"""Packed rows: what is read off packed keys without decoding them, and what is kept."""

from __future__ import annotations

import msgspec
import pytest

from app.bounds.turns import batches
from app.definitions.model import FOLD_VERSION
from tables.cells.keys import CellKey
from tables.changelogged.packed_rows import (
    Packed,
    PackedCells,
    PutTogether,
    charge_part_of,
    first_part_of,
    has_late_cuts,
    integer_end,
    is_newer,
    subscription_of,
    text_end,
)

encode = msgspec.msgpack.encode


@pytest.mark.parametrize("length", [0, 1, 31, 32, 36, 255])
def test_where_a_text_ends(length: int) -> None:
    packed = encode(("x" * length, 7))
    assert packed[text_end(packed, 1) :] == encode(7)


@pytest.mark.parametrize(
    "number",
    [
        0,
        127,
        128,
        255,
        256,
        65_535,
        65_536,
        2**32,
        2**63 - 1,
        -1,
        -32,
        -33,
        -129,
        -40_000,
        -(2**40),
    ],
)
def test_where_an_integer_ends(number: int) -> None:
    packed = encode((number, "rest"))
    assert packed[integer_end(packed, 1) :] == encode("rest")


def key(subscription_id: str, group: str, charge_id: str = "charge") -> bytes:
    return encode(CellKey(subscription_id, charge_id, 1, 2, None, (group,)))


def read(packed: PackedCells, subscription_id: str) -> list[Packed]:
    first_part = first_part_of(subscription_id)
    piece = packed.piece(first_part)
    return [] if piece is None else list(packed.in_piece(first_part, piece))


def test_cells_come_back_by_subscription() -> None:
    packed = PackedCells()
    cells = {name: [(key(name, group), group.encode()) for group in "abc"] for name in ("s", "t")}
    for rows in cells.values():
        for cell in rows:
            packed.add_cell(*cell)
        packed.pack()
    assert first_part_of("s") in packed
    assert packed.drain(first_part_of("s")) == cells["s"]
    assert first_part_of("s") not in packed
    assert packed.drain(first_part_of("s")) == []
    piece = packed.piece(first_part_of("t"))
    assert packed.drain(first_part_of("t")) == cells["t"]
    assert not packed
    assert piece is not None
    packed.put(first_part_of("t"), piece)
    assert packed.drain(first_part_of("t")) == cells["t"]


def test_a_cell_more_joins_those_that_are_packed() -> None:
    packed = PackedCells()
    for group in "ab":
        packed.add_cell(key("s", group), b"value")
        packed.pack()
    assert packed.drain(first_part_of("s")) == [
        (key("s", "a"), b"value"),
        (key("s", "b"), b"value"),
    ]


CHARGES = [1, 2, 15, 16, 300, 0x10000]


def cells_of(charges: int) -> list[Packed]:
    return [(key("s", "g", f"charge-{number}"), b"value") for number in range(charges)]


@pytest.mark.parametrize("charges", CHARGES)
def test_cells_of_a_charge_are_taken_out_and_the_others_stay(charges: int) -> None:
    packed, first_part, cells = PackedCells(), first_part_of("s"), cells_of(charges)
    for cell in cells:
        packed.add_cell(*cell)
    packed.pack()
    assert read(packed, "s") == cells
    assert packed.of_charges(first_part, [charge_part_of("none")]) == ([], True)
    taken = [charge_part_of(f"charge-{number}") for number in (0, charges - 1)]
    for number, charge in zip((0, -1), dict.fromkeys(taken), strict=False):
        has_others = len(read(packed, "s")) > 1
        assert packed.of_charges(first_part, [charge]) == ([cells[number]], has_others)
        packed.take_out(first_part, [charge])
        assert bool(packed) == (first_part in packed) == has_others
    assert packed.of_charges(first_part, taken) == ([], charges > 2)
    assert packed.count(first_part) == max(charges - 2, 0)
    assert read(packed, "s") == cells[1:-1]


def test_a_piece_takes_the_place_of_what_was_left_of_it() -> None:
    packed, first_part, cells = PackedCells(), first_part_of("s"), cells_of(3)
    for cell in cells:
        packed.add_cell(*cell)
    packed.pack()
    piece = packed.piece(first_part)
    assert piece is not None
    assert packed.of_charges(first_part, [charge_part_of("charge-1")]) == ([cells[1]], True)
    packed.take_out(first_part, [charge_part_of("charge-1")])
    packed.put(first_part, piece)
    assert packed.piece(first_part) is piece
    assert packed.drain(first_part) == cells
    assert not packed


@pytest.mark.parametrize("charges", CHARGES)
def test_cells_are_put_together_some_at_a_time_as_if_at_once(charges: int) -> None:
    packed, together = PackedCells(), PackedCells()
    put_together: PutTogether = {}
    cells = cells_of(charges)
    cells += [(key("s", "another", f"charge-{number}"), b"more") for number in range(charges)]
    for some in batches(cells, 50):
        together.put_together(some, put_together)
    together.add_all(put_together)
    for cell in cells:
        packed.add_cell(*cell)
    packed.pack()
    assert together.piece(first_part_of("s")) == packed.piece(first_part_of("s"))
    assert together.most == packed.most == 2 * charges


@pytest.mark.parametrize("groups", [1, 7, 8, 300, 32_768])
def test_how_many_cells_a_charge_has_is_known_without_reading_them(groups: int) -> None:
    packed = PackedCells()
    assert packed.most_of_a_charge(first_part_of("s")) == 0
    for number in range(groups):
        packed.add_cell(key("s", str(number)), b"\xff" * 300)
    for cell in cells_of(20):
        packed.add_cell(*cell)
    packed.pack()
    assert packed.most_of_a_charge(first_part_of("s")) == groups


@pytest.mark.parametrize("count", [0, 1, 7, 8, 300, 32_767, 32_768])
def test_cells_are_counted_without_being_read(count: int) -> None:
    packed = PackedCells()
    for number in range(count):
        packed.add_cell(key("s", str(number)), b"value")
    assert packed.count(first_part_of("s")) == count
    packed.pack()
    assert packed.count(first_part_of("s")) == count == len(read(packed, "s"))


def test_a_key_names_its_subscription() -> None:
    assert subscription_of(key("0190-abc", "g")) == "0190-abc"


@pytest.mark.parametrize("version", [FOLD_VERSION + 1, 127, 128, 255, 70_000])
def test_a_newer_version_is_seen(version: int) -> None:
    assert is_newer(encode((version, [(0, [])], 0)))
    assert not is_newer(encode((FOLD_VERSION, [(0, [])], 0)))


def test_late_cuts_are_seen() -> None:
    assert not has_late_cuts(encode((1, [(0, [1])], 0)))
    for cuts in (2, 15, 16, 70_000):
        assert has_late_cuts(encode((1, [(cut, [1]) for cut in range(cuts)], 0)))
