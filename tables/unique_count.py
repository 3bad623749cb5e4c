"""unique_count_agg: how many distinct property texts are active (metering-semantics §4.6, §4.11).

The operations on a property, in event time, run a two-state machine that starts inactive. Its state
at a moment is that of the last operation before it. A property's own operations alone decide what
it adds to every period and cut (`change`), so the counts are plain sums in the states of the cells.
An event needs only the earlier operations on its own property: its *member*. Members live in a
members store (memory, or one exact hash per set in Redis).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import NamedTuple

from app.billing_periods.timezones import local_date
from app.numbers import prorate
from app.wire.arrivals import Position
from tables.aggregation import AggregateResult, Aggregation, State, Window, local_ordinal

BEFORE = -1
"""Layer of everything dated before the first period of a span."""


class UniqueCountState(State, gc=False):
    """What the properties add to one period (and cut), as sums."""

    active: int = 0
    """Change of the number of active properties at the end of the period."""
    spells: int = 0
    """Prorated: Σ over spells of (end ordinal + 1 - start ordinal), the end left out while open."""


ALONE = -1
"""Before every append time: there are no others."""
UNKNOWN = 1 << 62
"""After every append time: nobody knows which others there are."""


class MemberOperation(NamedTuple):
    """One operation on one property: its layer (period start ms and cut) and its order."""

    period_ms: int
    cut_ms: int
    timestamp_ms: int
    position: Position
    adds: bool
    others_until_ms: int = UNKNOWN
    """No other of its member, time, period and cut is appended later. Only memory knows it."""


Member = tuple[MemberOperation, ...]
"""The operations of one property that still matter, in event-time order."""

WHOLE_OPERATIONS = 16
"""Operations that a member paid in advance keeps all; of more each has a row of its own."""

_Day = tuple[int, date | None]
"""Start of a period, and a day of it; None: all of them."""

Contributions = dict[tuple[int, int], tuple[int, int]]
"""(active, spells) by (period_ms, cut_ms)."""


class UniqueCount(Aggregation[UniqueCountState]):
    """Number of active properties. The members do the work; the state holds their sums."""

    type_name = "unique_count_agg"
    reads = "operation"
    lists = "each"
    state_type = UniqueCountState

    def merge(self, state: UniqueCountState, other: UniqueCountState) -> None:
        """Add the sums."""
        super().merge(state, other)
        state.active += other.active
        state.spells += other.spells

    def carry(self, state: UniqueCountState, other: UniqueCountState) -> None:
        """Add the sums, but for days: before the first period nobody counts any."""
        super().merge(state, other)
        state.active += other.active

    def result(
        self, state: UniqueCountState, before: UniqueCountState | None, window: Window
    ) -> AggregateResult:
        """Return the figures; their events_count is the number of active properties."""
        active = state.active + (before.active if before is not None else 0)
        full = Decimal(active)
        value = full
        if self.prorated:
            value = self._prorate(state, before, window)
        return AggregateResult(value, full, None, active)

    def _prorate(
        self, state: UniqueCountState, before: UniqueCountState | None, window: Window
    ) -> Decimal:
        """Return the days of every spell in the window; open spells last until its last day."""
        carried = before.active if before is not None else 0
        active = carried + state.active
        last_day = local_ordinal(local_date(window.last_ms, window.timezone))
        first_day = local_ordinal(local_date(window.from_ms, window.timezone))
        days = active * (last_day + 1) - carried * first_day + state.spells
        return prorate(Fraction(days), window.duration_days)

    def part(self, number: Decimal, *, adds: bool, active: bool) -> Decimal:
        """Return by how much the number of active properties changes."""
        return Decimal(adds - active)

    def settled(self, member: Member, settled_ms: int, *, whole: bool = False) -> Member:
        """Return the member with the published cuts up to `settled_ms` merged into cut 0."""
        for operation in member:
            if 0 < operation.cut_ms <= settled_ms:
                break
        else:
            return member
        # Two cuts may have had an operation of one time each.
        merged = (o._replace(cut_ms=0) if o.cut_ms <= settled_ms else o for o in member)
        unsure = tuple(o._replace(others_until_ms=UNKNOWN) for o in merged)
        return self.reduced(unsure, whole=whole)

    def reduced(self, member: Member, *, whole: bool = False) -> Member:
        """Return the operations that still matter; older programs kept others, too.

        `whole`: all of them do, for the next one may be dated after any of them.
        """
        if whole:
            return tuple(dict.fromkeys(member))
        kept: list[MemberOperation] = []
        for _, group in groupby(member, key=self._place):
            kept += self._kept(group)
        return tuple(kept)

    def joined(self, member: Member, operation: MemberOperation, *, whole: bool = False) -> Member:
        """Return the member with one more operation, unless that operation does not matter."""
        if whole:
            return _with(member, operation)
        first, after = self._group(member, operation)
        group = member[first:after]
        kept = self._kept(_with(group, operation) if self.prorated else _met(group, operation))
        if kept == group:
            return member
        return (*member[:first], *kept, *member[after:])

    def moved(self, member: Member, known: Position, earlier: Position) -> Member | None:
        """Return the member with an operation at an earlier position; None: a refold can tell.

        It counts as before, from the same cut on, unless another one of its time lies between.
        """
        if self.prorated:
            return None
        at = next((i for i, o in enumerate(member) if o.position == known), None)
        if at is None:
            return member
        operation = member[at]
        if sum(o.timestamp_ms == operation.timestamp_ms for o in member) > 1:
            return None
        if operation.others_until_ms >= earlier[0]:
            return None
        return (*member[:at], operation._replace(position=earlier), *member[at + 1 :])

    def change(self, member: Member, operation: MemberOperation) -> Contributions:
        """Return what one more operation changes in the states of each (period_ms, cut_ms).

        Their sums over the layers up to a period and cut are the machine's state at that moment.
        An operation decides the state until the next one, whatever was before; so it changes
        nothing but its own group and the next.
        """
        shown, changed = _Shown(member, operation.cut_ms), Contributions()
        place, known = self._group(member, operation), dict[int, tuple[int, int]]()
        days: dict[_Day, tuple[int, int]] = {}
        for cut_ms in shown.cuts():
            now = self._change_now(shown, operation, place, days)
            for period_ms in now.keys() | known.keys():
                active, spells = now.get(period_ms, (0, 0))
                known_active, known_spells = known.get(period_ms, (0, 0))
                difference = (active - known_active, spells - known_spells)
                if difference != (0, 0):
                    changed[period_ms, cut_ms] = difference
            known = now
        return changed

    def _change_now(
        self,
        shown: _Shown,
        operation: MemberOperation,
        place: tuple[int, int],
        days: dict[_Day, tuple[int, int]],
    ) -> dict[int, tuple[int, int]]:
        """Return by period what it changes of all that is shown. Its group is at `place`.

        Only the last operation of a group decides, and of a day whether any adds. `days`: where
        groups are that were asked for.
        """
        period_ms, (first, after) = operation.period_ms, place
        before, last = shown.last(0, first), shown.last(first, after)
        was = before is not None and before.adds
        left, newest = was if last is None else last.adds, operation
        if last is not None and _event_time(last) > _event_time(operation):
            newest = last
        active, spells, spells_after = newest.adds - left, 0, 0
        if self.prorated:
            adds = shown.has_adds(first, after)
            spells = self._spells(was, newest, adds or operation.adds)
            spells -= self._spells(was, last, adds)
        following = shown.first(after) if active else None
        if following is None:
            return {period_ms: (active, spells)}
        if self.prorated:
            day = self._place(following)
            if day not in days:
                days[day] = self._group(shown.member, following)
            last, adds = shown.last(*days[day]), shown.has_adds(*days[day])
            spells_after = self._spells(newest.adds, last, adds) - self._spells(left, last, adds)
            if following.period_ms == period_ms:
                return {period_ms: (0, spells + spells_after)}
        return {period_ms: (active, spells), following.period_ms: (-active, spells_after)}

    def _group(self, member: Member, operation: MemberOperation) -> tuple[int, int]:
        """Return where the operations of the same period lie; prorated, those of its day."""
        period_ms = operation.period_ms
        first, end = 0, len(member)
        if end and (member[0].period_ms, member[-1].period_ms) != (period_ms, period_ms):
            first = bisect_left(member, period_ms, key=_period_ms)
            end = bisect_right(member, period_ms, lo=first, key=_period_ms)
        if not self.prorated:
            return first, end
        day = self._day(operation)
        start = after = bisect_left(member, _event_time(operation), first, end, key=_event_time)
        while start > first and self._day(member[start - 1]) == day:
            start -= 1
        while after < end and self._day(member[after]) == day:
            after += 1
        return start, after

    def _place(self, operation: MemberOperation) -> _Day:
        return operation.period_ms, self._day(operation) if self.prorated else None

    def _kept(self, group: Iterable[MemberOperation]) -> Member:
        """Return the last operation of a group for each cut; prorated, also its last addition.

        A prorated group is one day: only an addition and the end of the day matter.
        """
        last: dict[tuple[int, bool], MemberOperation] = {}
        for operation in group:
            if self.prorated and operation.adds:
                last.pop((operation.cut_ms, False), None)
            last[operation.cut_ms, self.prorated and operation.adds] = operation
        kept = last.values()
        return tuple(sorted(kept, key=_event_time) if len(last) > 1 else kept)

    def _spells(self, was: bool, last: MemberOperation | None, adds: bool) -> int:
        """Return what a day adds to the spells of its period: ends of spells less their starts.

        Measured against what `result` takes for granted of a carried property: open from the first
        day on. A removal that an addition follows on the same day is none. `last`: the last
        operation of the day, None: it has none; `adds`: whether any of them adds.
        """
        if last is None or last.period_ms == BEFORE:
            return 0
        day = local_ordinal(self._day(last))
        opens, closes = adds and not was, (adds or was) and not last.adds
        return (day + 1) * closes - day * opens

    def _day(self, operation: MemberOperation) -> date:
        return local_date(operation.timestamp_ms, self.timezone)


def since_last(member: Member, is_forgotten: Callable[[int], bool]) -> Member:
    """Return a member without what lies before its last operation that cells forgot.

    That one decides what comes after it. What comes in later and is dated before it changes two
    periods by opposite numbers; both are forgotten, so they are one sum. `is_forgotten` is asked
    about starts of periods.
    """
    for at in range(len(member) - 1, 0, -1):
        operation = member[at]
        # Each cut shows it.
        if operation.cut_ms == 0 and is_forgotten(operation.period_ms):
            return member[at:]
    return member


def was_active(member: Member, timestamp_ms: int, position: Position, known: Position) -> bool:
    """Return whether a property was active before an operation, as known at a position.

    The newest operation before it in event time decides, of those of smaller positions.
    """
    after = bisect_left(member, (timestamp_ms, position), key=_event_time)
    places = range(after - 1, -1, -1)
    return next((member[i].adds for i in places if member[i].position < known), False)


def is_full(member: Member, operation: MemberOperation) -> bool:
    """Return True if a member that keeps all operations has no room for one more."""
    return len(member) >= WHOLE_OPERATIONS and _with(member, operation) is not member


def _with(member: Member, operation: MemberOperation) -> Member:
    """Return a member that keeps all operations with one more, unless it has that one."""
    place = bisect_right(member, _event_time(operation), key=_event_time)
    same = place - 1
    while same >= 0 and _event_time(member[same]) == _event_time(operation):
        if member[same] == operation:
            return member
        same -= 1
    return (*member[:place], operation, *member[place:])


def _met(group: Member, operation: MemberOperation) -> Member:
    """Return the operations of a period and one more, and what is known of who shares its time."""
    rivals = (o for o in group if o.cut_ms == operation.cut_ms)
    last = max(rivals, key=_event_time, default=None)
    # Whatever is kept no more is dated before the last one, or at its time.
    if last is None or last.timestamp_ms < operation.timestamp_ms:
        return (*group, operation._replace(others_until_ms=ALONE))
    if last.timestamp_ms > operation.timestamp_ms or last.position == operation.position:
        return group
    if last.position < operation.position:
        return (*group, operation._replace(others_until_ms=last.position[0]))
    until_ms = max(last.others_until_ms, operation.position[0])
    return tuple(o._replace(others_until_ms=until_ms) if o is last else o for o in group)


class _Shown:
    """The operations of a member that count at a cut, while cuts go on."""

    __slots__ = ("_adding", "_later", "_places", "_since_ms", "member")

    def __init__(self, member: Member, cut_ms: int):
        """Take the first cut."""
        self.member = member
        self._since_ms = cut_ms
        self._places = [at for at, o in enumerate(member) if o.cut_ms <= cut_ms]
        self._adding = [at for at in self._places if member[at].adds]
        self._later: list[tuple[int, int]] = []
        if len(self._places) < len(member):
            self._later = sorted((o.cut_ms, at) for at, o in enumerate(member) if o.cut_ms > cut_ms)

    def cuts(self) -> Iterator[int]:
        """Yield the cuts at which another operation counts, with all that count until then."""
        yield self._since_ms
        for cut_ms, some in groupby(self._later, key=itemgetter(0)):
            for _, at in some:
                insort(self._places, at)
                if self.member[at].adds:
                    insort(self._adding, at)
            yield cut_ms

    def last(self, first: int, end: int) -> MemberOperation | None:
        """Return the last one of a group; None: it has none."""
        place = bisect_left(self._places, end) - 1
        if place < 0 or self._places[place] < first:
            return None
        return self.member[self._places[place]]

    def first(self, since: int) -> MemberOperation | None:
        """Return the first one after a group."""
        place = bisect_left(self._places, since)
        return self.member[self._places[place]] if place < len(self._places) else None

    def has_adds(self, first: int, end: int) -> bool:
        """Return whether one of a group adds."""
        return bisect_left(self._adding, first) < bisect_left(self._adding, end)


def holds(member: Member, position: Position) -> bool:
    """Return whether the operation of that position still matters to a member."""
    return any(operation.position == position for operation in member)


def _event_time(operation: MemberOperation) -> tuple[int, Position]:
    return operation.timestamp_ms, operation.position


_period_ms = attrgetter("period_ms")
