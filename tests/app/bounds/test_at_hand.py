"""What is kept at hand stays few."""

from __future__ import annotations

from app.bounds.at_hand import keep


def test_where_as_many_are_at_hand_all_of_them_go() -> None:
    at_hand = dict[str, int]()
    assert [keep(at_hand, name, number, 2) for number, name in enumerate("abc")] == [0, 1, 2]
    assert at_hand == {"c": 2}
