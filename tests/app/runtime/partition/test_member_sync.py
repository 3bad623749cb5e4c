"""Members on their way to the members store: what is written, and what may be forgotten then."""

from __future__ import annotations

from app.runtime.partition.member_sync import Unstored

SET = b"set"


def test_a_newer_change_takes_the_place_of_an_older_one() -> None:
    unstored = Unstored()
    unstored.add({(SET, "a"): b"1", (SET, "b"): b"1"})
    unstored.add({(SET, "a"): b"2", (SET, "b"): None})
    assert unstored.all() == [((SET, "a"), b"2"), ((SET, "b"), None)]


def test_what_changed_again_while_it_was_stored_stays() -> None:
    unstored = Unstored()
    unstored.add({(SET, "a"): b"1", (SET, "b"): b"1", (SET, "c"): None})
    taken = unstored.all()
    unstored.add({(SET, "a"): b"2"})
    assert unstored.remove(taken) == [(SET, "b"), (SET, "c")]
    assert unstored.all() == [((SET, "a"), b"2")]
