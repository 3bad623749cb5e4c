"""Event ranges at rest: bytes between uses, the same entries for all who may change them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.changelogged.presence import REST, EventRanges, resting, written
from tables.changelogged.presence_table import EventRangesTable
from tests.world.clock import DAY_MS, HOUR_MS, START_MS
from tests.world.profiles import examples

NAME = ("org", "sub")
OTHER = ("org", "other")

SEVERAL = 1_000
OFFSETS = st.one_of(st.just(-1), st.integers(0, SEVERAL), st.integers((1 << 35) - 2, 1 << 36))
HOURS = st.one_of(
    st.integers(0, SEVERAL).map(lambda hour: START_MS // HOUR_MS + hour),
    st.integers(-2, 2),
    st.integers((1 << 20) - 2, 1 << 21),
)
TIMES = st.one_of(st.just(-1), HOURS.map(lambda hour: hour * HOUR_MS))


def table() -> EventRangesTable:
    """Return a table to which every name is defined."""
    return EventRangesTable(lambda name, code: True, EventRanges)


def noted(ranges: EventRangesTable, name: SubscriptionKey, code: str, raw: int) -> EventRanges:
    """Note an event by its offset, as a route does that holds the entry."""
    entry = ranges.entry_of(name, code)
    assert entry is not None
    entry.raw_first, entry.newest_ms, entry.appended_ms = raw, START_MS, START_MS + HOUR_MS
    ranges.mark((*name, code), entry)
    return entry


def firsts(ranges: EventRangesTable) -> dict[MeterKey, int]:
    """Return the first offset of each meter key."""
    return {
        (*name, code): entry.raw_first
        for name, codes in ranges.codes.items()
        for code, entry in codes.items()
    }


def test_all_who_ask_get_the_same_entry_until_it_rests() -> None:
    ranges = table()
    entry = noted(ranges, NAME, "calls", 7)
    assert ranges.find(NAME, "calls") is ranges.entry_of(NAME, "calls") is entry
    assert ranges.of(NAME, "calls") is entry
    ranges.take_changes()
    assert ranges.codes[NAME]["calls"] is entry
    ranges.rest_again(NAME)
    again = ranges.find(NAME, "calls")
    assert again == entry
    assert again is not entry
    assert ranges.entry_of(NAME, "calls") is ranges.codes_of(NAME)["calls"]


def test_what_is_not_written_rests_after_the_flush() -> None:
    ranges = table()
    entry = noted(ranges, NAME, "calls", 7)
    noted(ranges, NAME, "seats", 9)
    ranges.rest_again(NAME)
    assert ranges.codes.count_awake == 1
    assert ranges.find(NAME, "calls") is entry
    assert len(ranges.take_changes()) == 2
    assert ranges.codes.count_awake == 0
    assert firsts(ranges) == {(*NAME, "calls"): 7, (*NAME, "seats"): 9}
    assert ranges.take_changes() == {}


def test_an_organization_has_its_own_awake_and_at_rest() -> None:
    ranges = table()
    names = [("org", "a"), ("another", "a"), ("org", "b"), ("another", "c"), ("org", "c")]
    for number, name in enumerate(names):
        noted(ranges, name, "calls", number)
    ranges.take_changes()
    ranges.rest_again(names[0])
    noted(ranges, names[0], "seats", 9)
    for name in names[2:]:
        ranges.rest_again(name)
    items = ranges.items_of("org")
    found = [next(items)]
    noted(ranges, ("org", "later"), "calls", 7)
    found += items
    assert len(found) == 4
    assert {
        one[0]: {code: entry.raw_first for code, entry in one[1].items()} for one in found if one
    } == {names[0]: {"calls": 0, "seats": 9}, names[2]: {"calls": 2}, names[4]: {"calls": 4}}
    assert not list(ranges.items_of("nobody"))


def test_an_entry_that_a_route_took_again_stays_through_the_flush() -> None:
    ranges = table()
    noted(ranges, NAME, "calls", 7)
    ranges.rest_again(NAME)
    entry = ranges.entry_of(NAME, "calls")
    ranges.take_changes()
    assert ranges.find(NAME, "calls") is entry
    entry.raw_first = 3
    ranges.mark((*NAME, "calls"), entry)
    assert len(ranges.take_changes()) == 1
    assert firsts(ranges) == {(*NAME, "calls"): 3}


def test_who_is_changed_at_rest_rests_again_after_the_flush() -> None:
    ranges = table()
    noted(ranges, NAME, "calls", 7)
    ranges.take_changes()
    ranges.rest_again(NAME)
    ranges.note_forgotten((*NAME, "calls"), START_MS)
    assert ranges.codes.count_awake == 1
    assert ranges.forgotten_ms(NAME, "calls") == START_MS
    assert len(ranges.take_changes()) == 1
    assert ranges.codes.count_awake == 0
    assert ranges.forgotten_ms(NAME, "calls") == START_MS
    ranges.note_forgotten((*NAME, "calls"), START_MS)
    assert ranges.take_changes() == {}


def test_a_code_more_joins_those_that_rest() -> None:
    ranges = table()
    noted(ranges, NAME, "calls", 7)
    noted(ranges, OTHER, "calls", 8)
    ranges.take_changes()
    for name in (NAME, OTHER):
        ranges.rest_again(name)
    noted(ranges, NAME, "seats", 9)
    assert firsts(ranges) == {
        (*NAME, "calls"): 7,
        (*NAME, "seats"): 9,
        (*OTHER, "calls"): 8,
    }
    assert list(ranges.names_with("org", "calls")) == [NAME, OTHER]
    assert list(ranges.names_with("org", "seats")) == [NAME]


def test_looking_wakes_nobody() -> None:
    ranges = table()
    names = [("org", f"sub-{number}") for number in range(100)]
    for number, name in enumerate(names):
        noted(ranges, name, "calls", number)
    ranges.take_changes()
    for name in names:
        ranges.rest_again(name)
    assert [entry.raw_first for name in names for entry in ranges.entries_of(name)] == list(
        range(100)
    )
    assert ranges.meter_keys_of(names[3]) == {(*names[3], "calls")}
    assert ("org", "nobody") not in ranges.codes
    assert len(firsts(ranges)) == 100
    assert ranges.codes.count_awake == 0


@pytest.mark.parametrize("most", [1, 3, 10_000])
def test_what_is_loaded_in_any_order_is_what_was_written(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tables.changelogged.presence_table._MOST_LOADED", most)
    ranges, loaded = table(), table()
    ranges.most_undefined = 0
    for number in range(40):
        noted(ranges, ("org", f"sub-{number % 10}"), f"code{number // 10}", number)
    rows = ranges.take_changes()
    for key, value in rows.items():
        loaded.load(key, value or b"")
    loaded.loaded()
    assert loaded.codes.count_awake == 0
    assert firsts(loaded) == firsts(ranges)
    assert loaded.sum == ranges.sum
    noted(loaded, ("org", "sub-3"), "code0", 99)
    noted(ranges, ("org", "sub-3"), "code0", 99)
    changed = ranges.take_changes()
    assert loaded.take_changes() == changed
    assert loaded.sum == ranges.sum
    newest = table()
    for key, value in {**rows, **changed}.items():
        newest.load(key, value or b"")
    assert newest.sum == ranges.sum


def test_the_entry_of_all_others_is_written_like_any() -> None:
    rest = EventRanges(raw_first=5)
    ranges = EventRangesTable(lambda name, code: False, lambda: rest)
    ranges.most_undefined = 0
    assert ranges.of(NAME, "calls") is rest
    first = ranges.take_changes()
    rest.raw_first = 4
    assert ranges.of(OTHER, "seats") is rest
    second = ranges.take_changes()
    loaded = table()
    for key, value in second.items():
        loaded.load(key, value or b"")
    assert loaded.find(REST[:2], REST[2]) == loaded.rest
    assert (len(first), len(second), loaded.sum) == (1, 1, ranges.sum)


@examples(500)
@given(st.tuples(OFFSETS, OFFSETS, TIMES, TIMES), st.sampled_from([0, 0, 0, 7]))
def test_what_rests_of_an_entry_is_the_record_again(
    entry: tuple[int, int, int, int], first_ms: int
) -> None:
    raw_first, rekeyed_first, newest_ms, appended_ms = entry
    entry_of = EventRanges(raw_first, rekeyed_first, newest_ms, appended_ms, first_ms)
    value, kept = entry_of.packed_to_rest()
    assert kept == resting(value)
    assert written(kept) == value
    assert EventRanges.unpacked(kept) == EventRanges.unpacked(value)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(kept)) == kept


@examples(200)
@given(st.lists(st.integers(-1, 3), min_size=5, max_size=5), st.booleans(), HOURS, HOURS)
@example([7, 3, 9, -1, -1], True, START_MS // HOUR_MS, START_MS // HOUR_MS)
def test_what_older_programs_wrote_rests_as_it_is(
    numbers: list[int], flag: bool, newest: int, appended: int
) -> None:
    value = msgspec.msgpack.encode((flag, *numbers, newest * HOUR_MS, appended * HOUR_MS))
    assert written(resting(value)) == value


@pytest.mark.parametrize("ahead_ms", [-200 * HOUR_MS, 0, DAY_MS])
@pytest.mark.parametrize("raw_first", [0, 5, 1 << 33])
def test_of_nearly_all_entries_a_number_rests(raw_first: int, ahead_ms: int) -> None:
    entry = EventRanges(raw_first, newest_ms=START_MS + ahead_ms, appended_ms=START_MS)
    assert isinstance(resting(entry.packed_to_rest()[0]), int)
