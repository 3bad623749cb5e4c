"""Which records are tried before they are folded."""

from __future__ import annotations

from faust.types import TP

from app.bounds.limits import CAREFUL_RECORDS
from app.runtime.partition.care import Care

RAW, REKEYED = TP("raw", 0), TP("rekeyed", 0)


def test_what_was_appended_after_the_take_over_is_not_tried() -> None:
    """It cannot have ended the owner before, who was gone."""
    ends: dict[TP, tuple[int, int]] = {}
    care = Care(1, ends.get)
    assert care.wants(RAW, 1_000), "nobody knows where the log ends"
    # What is committed ends before what there is, and may be read once it is.
    ends |= {RAW: (90, 100), REKEYED: (7, 7)}
    assert [care.wants(RAW, first) for first in (50, 99, 100, 101)] == [True, True, False, False]
    assert [care.wants(REKEYED, first) for first in (6, 7)] == [True, False]
    ends[RAW] = (200, 200)
    assert not care.wants(RAW, 150)
    assert care.wants(RAW, 99)


def test_no_more_is_tried_than_an_owner_has_in_hand() -> None:
    care = Care(2, lambda _: (10 * CAREFUL_RECORDS, 10 * CAREFUL_RECORDS))
    care.note_tried(CAREFUL_RECORDS - 1)
    assert care.wants(RAW, 0)
    care.note_tried(1)
    assert not care.wants(RAW, 0)


def test_nothing_is_tried_of_what_was_handed_over_or_is_new() -> None:
    assert not Care(0, lambda _: None).wants(RAW, 0)
    new = Care(1, lambda _: None)
    new.end()
    assert not new.wants(RAW, 0)
