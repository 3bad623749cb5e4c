"""unique_count: what one property adds to every period and cut, against the bare state machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.timezones import local_date
from app.definitions.periods import NEVER_MS, Period
from app.wire.arrivals import Position
from tables.aggregation import Window
from tables.cells.figures import window_of
from tables.changelogged.members import Members, pack_member, unpack_member
from tables.unique_count import (
    ALONE,
    BEFORE,
    Contributions,
    Member,
    MemberOperation,
    UniqueCount,
    was_active,
)
from tests.world import naive
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.profiles import examples

FIRST_MS = START_MS + WEEK_MS + 9 * HOUR_MS
"""The first period starts in the middle of a day, as a subscription may."""
STARTS_MS = [FIRST_MS, START_MS + 2 * WEEK_MS, START_MS + 3 * WEEK_MS]
CUTS_MS = [0, START_MS + 4 * WEEK_MS, START_MS + 5 * WEEK_MS]
TIMEZONE = "America/Los_Angeles"


def period(i: int) -> Period:
    end_ms = [*STARTS_MS[1:], START_MS + 4 * WEEK_MS][i]
    return Period(
        STARTS_MS[i],
        end_ms,
        end_ms - 1000,
        end_ms - 1,
        7,
        TIMEZONE,
        NEVER_MS,
        NEVER_MS,
        NEVER_MS,
        "period_end",
        upgraded=False,
    )


PERIODS = [period(i) for i in range(3)]


@st.composite
def operations(draw: st.DrawFn) -> list[MemberOperation]:
    """Operations of one property before and in three periods, some of them late."""
    made = []
    for offset in range(draw(st.integers(0, 10))):
        hours = draw(st.integers(0, 4 * 7 * 24 - 1))
        few_hours = draw(st.booleans())
        timestamp_ms = START_MS + (hours // 12 * 12 if few_hours else hours) * HOUR_MS
        period_ms = max((s for s in STARTS_MS if s <= timestamp_ms), default=BEFORE)
        cut_ms = draw(st.sampled_from(CUTS_MS))
        position = (cut_ms, 0, offset, 0)
        made.append(MemberOperation(period_ms, cut_ms, timestamp_ms, position, draw(st.booleans())))
    return made


def was_active_before(made: Iterable[MemberOperation], one: MemberOperation) -> bool:
    """Whether the newest operation before one in event time, of those that came before, adds."""
    earlier = [o for o in made if o.position < one.position]
    before = [o for o in earlier if o.timestamp_ms <= one.timestamp_ms]
    newest = max(before, key=lambda o: (o.timestamp_ms, o.position), default=None)
    return newest is not None and newest.adds


def joined(aggregation: UniqueCount, made: list[MemberOperation]) -> Member:
    member: Member = ()
    for operation in made:
        member = unpack_member(pack_member(aggregation.joined(member, operation)))
    return member


def changes(
    aggregation: UniqueCount, member: Member, made: Iterable[MemberOperation]
) -> Contributions:
    """What operations come to together, one after another; () is no operation."""
    total: Contributions = {}
    for operation in made:
        for place, (active, spells) in aggregation.change(member, operation).items():
            known = total.get(place, (0, 0))
            total[place] = (known[0] + active, known[1] + spells)
        member = unpack_member(pack_member(aggregation.joined(member, operation)))
    return total


def nonzero(found: Contributions) -> Contributions:
    """Those that change a sum: a state is there for its events, whatever they add."""
    return {place: sums for place, sums in found.items() if any(sums)}


def figures(
    aggregation: UniqueCount, made: Sequence[MemberOperation], at: Period, cut_ms: int
) -> Any:
    """The result over the sums of this one property, its operations in the order that they came."""
    state, before = aggregation.initialize(), aggregation.initialize()
    for (period_ms, late_ms), (active, spells) in changes(aggregation, (), made).items():
        if period_ms <= at.start_ms and late_ms <= cut_ms:
            into = state if period_ms == at.start_ms else before
            into.active += active
            into.spells += spells
    window: Window = window_of(at)
    return aggregation.result(state, before, window)


def rows(made: Sequence[MemberOperation], at: Period, cut_ms: int) -> list[naive.Row]:
    seen = [o for o in made if o.cut_ms <= cut_ms and o.timestamp_ms < at.end_ms]
    return [
        naive.Row(o.timestamp_ms, o.position, "seats", "", Decimal(0), "a", o.adds, None)
        for o in sorted(seen, key=lambda o: (o.timestamp_ms, o.position))
    ]


@pytest.mark.parametrize("prorated", [False, True], ids=["plain", "prorated"])
@examples(150)
@given(st.data())
def test_every_period_and_cut(prorated: bool, data: st.DataObject) -> None:
    aggregation = UniqueCount(recurring=True, prorated=prorated, timezone=TIMEZONE)
    made = data.draw(st.permutations(data.draw(operations())))
    for at in PERIODS:
        for cut_ms in CUTS_MS:
            seen = rows(made, at, cut_ms)
            found = figures(aggregation, made, at, cut_ms)
            assert found.full_units == naive.active(seen)
            if prorated:
                assert found.value == naive.prorated_unique(seen, at)


@pytest.mark.parametrize("prorated", [False, True], ids=["plain", "prorated"])
@examples(60)
@given(st.data())
def test_settling_published_cuts_changes_no_open_one(prorated: bool, data: st.DataObject) -> None:
    aggregation = UniqueCount(recurring=True, prorated=prorated, timezone=TIMEZONE)
    made = data.draw(operations())
    known = data.draw(st.integers(0, len(made)))
    member = joined(aggregation, made[:known])
    settled = aggregation.settled(member, CUTS_MS[1])
    assert all(o.cut_ms in (0, CUTS_MS[2]) for o in settled)
    found, expected = (changes(aggregation, each, made[known:]) for each in (settled, member))
    for period_ms in (BEFORE, *STARTS_MS):
        for cut_ms in CUTS_MS[1:]:
            assert up_to(found, period_ms, cut_ms) == up_to(expected, period_ms, cut_ms)


def up_to(changed: Contributions, period_ms: int, cut_ms: int) -> tuple[int, int]:
    """(active, spells) of a period that all cuts up to one come to."""
    seen = [v for (p, late_ms), v in changed.items() if p == period_ms and late_ms <= cut_ms]
    return sum(active for active, _ in seen), sum(spells for _, spells in seen)


@pytest.mark.parametrize("prorated", [False, True], ids=["plain", "prorated"])
@examples(100)
@given(st.data())
def test_what_is_kept_is_bounded_and_no_matter_of_order(
    prorated: bool, data: st.DataObject
) -> None:
    """Two operations of a period and cut at most; prorated, of a day of it."""
    aggregation = UniqueCount(recurring=True, prorated=prorated, timezone=TIMEZONE)
    made = data.draw(operations())
    member = joined(aggregation, data.draw(st.permutations(made)))
    every = tuple(sorted(made, key=lambda o: (o.timestamp_ms, o.position)))
    assert member == joined(aggregation, made) == aggregation.reduced(every)
    of_one = Counter(
        (o.period_ms, o.cut_ms, local_date(o.timestamp_ms, TIMEZONE) if prorated else None)
        for o in member
    )
    assert max(of_one.values(), default=0) <= (2 if prorated else 1)


@examples(60)
@given(st.data())
def test_redelivered_operation_is_one(data: st.DataObject) -> None:
    aggregation = UniqueCount(recurring=True, prorated=False, timezone=TIMEZONE)
    made = data.draw(operations())
    member = joined(aggregation, made)
    for operation in made:
        assert aggregation.joined(member, operation) == member


@pytest.mark.parametrize("prorated", [False, True], ids=["plain", "prorated"])
@examples(100)
@given(st.data())
def test_paid_in_advance_every_operation_is_kept_and_figures_stay(
    prorated: bool, data: st.DataObject
) -> None:
    aggregation = UniqueCount(recurring=True, prorated=prorated, timezone=TIMEZONE)
    made = data.draw(operations())
    member: Member = ()
    for operation in data.draw(st.permutations(made)):
        # What an operation changes does not hang on what is kept besides.
        assert aggregation.change(member, operation) == aggregation.change(
            aggregation.reduced(member), operation
        )
        member = unpack_member(pack_member(aggregation.joined(member, operation, whole=True)))
    assert member == tuple(sorted(made, key=lambda o: (o.timestamp_ms, o.position)))
    assert aggregation.joined(member, made[0], whole=True) == member if made else True


@examples(150)
@given(st.data())
def test_a_property_was_active_as_the_operations_before_say(data: st.DataObject) -> None:
    made = data.draw(operations())
    member = tuple(sorted(made, key=lambda o: (o.timestamp_ms, o.position)))
    for one in made:
        known = was_active_before(made, one)
        assert was_active(member, one.timestamp_ms, one.position, one.position) == known


@examples(150)
@given(st.data())
def test_what_is_simple_comes_to_the_same(data: st.DataObject) -> None:
    aggregation = UniqueCount(recurring=True, prorated=False, timezone=TIMEZONE)
    made = data.draw(st.permutations(data.draw(operations())))
    members, name = Members(capacity=None), (b"set", "user")
    for i, operation in enumerate(made):
        found = ("user", operation.adds, operation.timestamp_ms, operation.position)
        change, others = members.take_simple(b"set", operation.period_ms, operation.cut_ms, [found])
        for _, other in others:
            members.put(name, aggregation.joined(members.get(name), other))
        if others:
            continue
        changed = aggregation.change(joined(aggregation, made[:i]), operation)
        place = (operation.period_ms, operation.cut_ms)
        assert changed == ({place: (change, 0)} if change else {})
    assert pack_member(members.get(name)) == pack_member(joined(aggregation, made))


@st.composite
def crowded(draw: st.DrawFn) -> list[MemberOperation]:
    """Operations of one property, many of which share their time; corrections choose the cut."""
    made = []
    for offset in range(draw(st.integers(1, 8))):
        period_ms = draw(st.sampled_from(STARTS_MS[:2]))
        timestamp_ms = period_ms + draw(st.integers(0, 1))
        cut_ms = draw(st.sampled_from(CUTS_MS[:2]))
        position = placed(offset + 1, 0)
        made.append(MemberOperation(period_ms, cut_ms, timestamp_ms, position, draw(st.booleans())))
    return made


def placed(offset: int, index: int) -> Position:
    """A position among others, of which two are appended at the same time."""
    return offset - (offset == 3), 0, offset, index


def taken(aggregation: UniqueCount, made: Iterable[MemberOperation]) -> Members:
    """Members that took operations as the fold does."""
    members, name = Members(capacity=None), (b"set", "user")
    for o in made:
        found = [("user", o.adds, o.timestamp_ms, o.position)]
        _, others = members.take_simple(b"set", o.period_ms, o.cut_ms, found)
        for _, other in others:
            members.put(name, aggregation.joined(members.get(name), other))
    return members


@examples(300)
@given(st.data())
def test_an_operation_moves_as_if_it_had_come_so(data: st.DataObject) -> None:
    """Where a member knows that it does."""
    aggregation = UniqueCount(recurring=True, prorated=False, timezone=TIMEZONE)
    made = data.draw(crowded())
    one = data.draw(st.sampled_from(made))
    earlier = placed(data.draw(st.integers(0, one.position[2] - 1)), 1)
    instead = [o._replace(position=earlier) if o is one else o for o in made]
    name = (b"set", "user")
    member = taken(aggregation, data.draw(st.permutations(made))).get(name)
    if data.draw(st.booleans()):
        member = aggregation.settled(member, CUTS_MS[1])
        one, instead = one._replace(cut_ms=0), [o._replace(cut_ms=0) for o in instead]
    moved = aggregation.moved(member, one.position, earlier)
    if moved is not None:
        known = taken(aggregation, instead).get(name)
        assert pack_member(moved) == pack_member(known)
        assert all(
            o.others_until_ms >= k.others_until_ms for o, k in zip(moved, known, strict=True)
        )
        as_it_was = [one if o.position == earlier else o for o in instead]
        assert nonzero(changes(aggregation, (), instead)) == nonzero(
            changes(aggregation, (), as_it_was)
        )


@examples(300)
@given(st.data())
def test_what_is_alone_in_its_time_is_known_to_be(data: st.DataObject) -> None:
    aggregation = UniqueCount(recurring=True, prorated=False, timezone=TIMEZONE)
    made = data.draw(crowded())
    for kept in taken(aggregation, data.draw(st.permutations(made))).get((b"set", "user")):
        others = [o.position for o in made if o[:3] == kept[:3] and o.position != kept.position]
        assert kept.others_until_ms == max(others, default=(ALONE,))[0]


def test_days_are_counted_in_the_customers_timezone() -> None:
    """An addition at 07:00 UTC is on the day before in Los Angeles."""
    aggregation = UniqueCount(recurring=True, prorated=True, timezone=TIMEZONE)
    at = PERIODS[1]
    moment_ms = at.start_ms + DAY_MS + 7 * HOUR_MS
    added = MemberOperation(at.start_ms, 0, moment_ms, (0, 0, 0, 0), adds=True)
    assert figures(aggregation, [added], at, 0).value == 1
