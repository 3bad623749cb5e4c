"""Named rows: external subscriptions by number, in the order in which they came."""

from __future__ import annotations

import msgspec
import pytest

from app.wire.arrivals import SubscriptionKey
from tables.changelogged.named_rows import NamedRows

NAMES = [(f"org{number % 3}", f"sub-{'ä' * (number % 70)}{number}") for number in range(300)]


def named(names: list[SubscriptionKey]) -> NamedRows:
    """Return rows of external subscriptions, each with its place in the list."""
    rows = NamedRows()
    for number, name in enumerate(names):
        assert rows.add(name, number) == number
    return rows


def test_names_come_in_order_and_are_found() -> None:
    rows = named(NAMES)
    assert list(rows) == NAMES
    assert [rows.find(name) for name in NAMES] == list(range(300))
    assert list(rows.named([7, 3])) == [NAMES[7], NAMES[3]]
    assert list(rows.since(130)) == NAMES[130:]
    assert len(rows) == 300


@pytest.mark.parametrize("name", [("org0", "sub-"), ("org3", "sub-0"), ("sub-0", "org0")])
def test_who_did_not_come_is_not_found(name: SubscriptionKey) -> None:
    assert named(NAMES).find(name) == -1


def test_what_is_kept_is_replaced() -> None:
    rows = named(NAMES)
    rows.replace(5, NAMES[5], {1: b"more"})
    assert msgspec.msgpack.decode(rows.rows[5]) == [2, NAMES[5][1], {1: b"more"}]
    assert list(rows) == NAMES


def test_who_comes_meanwhile_is_not_among_them() -> None:
    rows = named(NAMES[:100])
    each = iter(rows)
    assert next(each) == NAMES[0]
    for name in NAMES[100:]:
        rows.add(name, None)
    assert list(each) == NAMES[1:100]


@pytest.mark.parametrize("most", [1, 64, 1_000])
def test_rows_of_an_organization_have_the_external_id_at_one_place(most: int) -> None:
    rows = named(NAMES)
    start, parts = rows.rows_of("org1", most)
    found = [row for part in parts for row in part if row.startswith(start)]
    assert [rows.name_in(row) for row in found] == [name for name in NAMES if name[0] == "org1"]
    for row in found:
        external_id = rows.name_in(row)[1]
        assert row[len(start) :].startswith(msgspec.msgpack.encode(external_id))


def test_an_organization_without_any_has_no_rows() -> None:
    assert list(named(NAMES).rows_of("org9", 10)[1]) == []
