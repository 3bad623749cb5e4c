"""Packed rows: what is read off packed keys without decoding them, and what is kept."""

from __future__ import annotations

import msgspec
import pytest

from app.definitions.model import FOLD_VERSION
from tables.cells.keys import CellKey
from tables.changelogged.packed_rows import (
    Packed,
    PackedCells,
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


@pytest.mark.parametrize("charges", [1, 2, 300])
def test_cells_of_any_number_of_charges_keep_their_keys(charges: int) -> None:
    packed = PackedCells()
    cells = [(key("s", "g", f"charge-{number}"), b"value") for number in range(charges)]
    for cell in cells:
        packed.add_cell(*cell)
    packed.pack()
    piece = packed.piece(first_part_of("s"))
    assert piece is not None
    by_charge = packed.by_charge(first_part_of("s"), piece)
    parts = [charge_part_of(f"charge-{number}") for number in range(charges)]
    assert by_charge == {part: [cell] for part, cell in zip(parts, cells, strict=True)}
    assert read(packed, "s") == packed.drain(first_part_of("s")) == cells


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
