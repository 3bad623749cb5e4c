"""unique_count_agg: how many distinct property texts are active (metering-semantics §4.6, §4.11).

Per property the operations of event time run a two-state machine that starts inactive, so its state
at a moment is that of the last operation before it. What one property adds to every period and cut
follows from its own operations alone (`contributions`). So the counts are plain sums in the states
of the cells, and an event needs only the earlier operations of its own property: its *member*,
which lives in a members store (memory, or one exact hash per set in Redis).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import NamedTuple

from app.billing_periods.timezones import local_date
from app.numbers import prorate
from tables.aggregation import Aggregation, Figures, Position, State, Window, local_ordinal

BEFORE = -1
"""Layer of everything dated before the first period of a span."""


class UniqueCountState(State, gc=False):
    """What the properties add to one period (and cut), as sums."""

    active: int = 0
    """Change of the number of active properties at the end of the period."""
    spells: int = 0
    """Prorated: Σ over spells of (end ordinal + 1 - start ordinal), the end left out while open."""


class MemberOperation(NamedTuple):
    """One operation on one property: its layer (period start ms and cut) and its order."""

    period_ms: int
    cut_ms: int
    timestamp_ms: int
    position: Position
    adds: bool


Member = tuple[MemberOperation, ...]
"""The operations of one property that still matter, in event-time order."""


class UniqueCount(Aggregation[UniqueCountState]):
    """Number of active properties. The members do the work; the state holds their sums."""

    state_type = UniqueCountState

    def __init__(self, *, recurring: bool = False, prorated: bool = False, timezone: str = "UTC"):
        self.recurring = recurring
        self.prorated = prorated
        self.timezone = timezone

    def merge(self, state: UniqueCountState, other: UniqueCountState) -> None:
        """Add the sums."""
        super().merge(state, other)
        state.active += other.active
        state.spells += other.spells

    def result(
        self, state: UniqueCountState, before: UniqueCountState | None, window: Window
    ) -> Figures:
        """events_count is the number of active properties, not of events."""
        active = state.active + (before.active if before is not None else 0)
        full = Decimal(active)
        value = full
        if self.prorated:
            value = self._prorate(state, before, window)
        return Figures(value, full, None, active)

    def _prorate(
        self, state: UniqueCountState, before: UniqueCountState | None, window: Window
    ) -> Decimal:
        """Days of every spell in the window; open spells last until its last day."""
        carried = before.active if before is not None else 0
        active = carried + state.active
        last_day = local_ordinal(local_date(window.last_ms, window.timezone))
        first_day = local_ordinal(local_date(window.from_ms, window.timezone))
        days = active * (last_day + 1) - carried * first_day + state.spells
        return prorate(Fraction(days), window.duration_days)

    def settled(self, member: Member, settled_ms: int) -> Member:
        """The member with all cuts up to `settled_ms`, which are published, as one layer."""
        if not any(0 < o.cut_ms <= settled_ms for o in member):
            return member
        return self._reduced(o._replace(cut_ms=0) if o.cut_ms <= settled_ms else o for o in member)

    def joined(self, member: Member, operation: MemberOperation) -> Member:
        """The member with one more operation."""
        if not member:
            return (operation,)
        return self._reduced((*member, operation))

    def contributions(self, member: Member) -> dict[tuple[int, int], tuple[int, int]]:
        """(active, spells) that this property adds to the states of each (period_ms, cut_ms).

        Their sums over the layers up to a period and cut are the machine's state at that moment.
        """
        if not member:
            return {}
        if len(member) == 1 and not self.prorated:
            only = member[0]
            return {(only.period_ms, only.cut_ms): (1, 0)} if only.adds else {}
        if not self.prorated:
            return _active_changes(member)
        periods = sorted({o.period_ms for o in member})
        added: dict[tuple[int, int], tuple[int, int]] = {}
        before = [(0, 0)] * len(periods)
        for cut_ms in sorted({o.cut_ms for o in member}):
            visible = [o for o in member if o.cut_ms <= cut_ms]
            carried_change = 0
            for i, period_ms in enumerate(periods):
                reached = [o for o in visible if o.period_ms <= period_ms]
                active, spells = _active(reached), self._spells(reached, period_ms)
                active_change = active - before[i][0]
                change = (active_change - carried_change, spells - before[i][1])
                if change != (0, 0):
                    added[period_ms, cut_ms] = change
                carried_change, before[i] = active_change, (active, spells)
        return added

    def _reduced(self, operations: Iterable[MemberOperation]) -> Member:
        """In event-time order; proration needs every operation, else the last of a layer does."""
        ordered = sorted(operations, key=_event_time)
        if self.prorated:
            return tuple(ordered)
        last = {(o.period_ms, o.cut_ms): o for o in ordered}
        return tuple(sorted(last.values(), key=_event_time))

    def _spells(self, operations: list[MemberOperation], period_ms: int) -> int:
        """Days of the property's spells in the period, an open one without its end.

        Measured against what `result` takes for granted of a carried property: open from the first
        day on.
        """
        if not self.prorated or period_ms == BEFORE:
            return 0
        first_day = local_ordinal(local_date(period_ms, self.timezone))
        days = first_day * _active([o for o in operations if o.period_ms < period_ms])
        start_day, opened = first_day, False
        for operation in _effective(self._without_same_day_flaps(operations)):
            inside, opened = operation.period_ms == period_ms, operation.adds
            if opened:
                start_day = self._day(operation) if inside else first_day
            elif inside:
                days += self._day(operation) + 1 - start_day
        return days - start_day if opened else days

    def _without_same_day_flaps(self, operations: list[MemberOperation]) -> list[MemberOperation]:
        """Drop every remove that an add follows later on the same local day."""
        kept: list[MemberOperation] = []
        for _, group in groupby(operations, key=self._day):
            day = list(group)
            last_add = max((i for i, o in enumerate(day) if o.adds), default=-1)
            kept.extend(o for i, o in enumerate(day) if o.adds or i > last_add)
        return kept

    def _day(self, operation: MemberOperation) -> int:
        return local_ordinal(local_date(operation.timestamp_ms, self.timezone))


def _active_changes(member: Member) -> dict[tuple[int, int], tuple[int, int]]:
    """As `contributions` without spells, in one pass: late operations may wait for many cuts."""
    periods = sorted({o.period_ms for o in member})
    number_of = {period_ms: i for i, period_ms in enumerate(periods)}
    by_cut: dict[int, list[MemberOperation]] = {}
    for operation in member:
        by_cut.setdefault(operation.cut_ms, []).append(operation)
    latest: list[MemberOperation | None] = [None] * len(periods)
    before = [0] * len(periods)
    added: dict[tuple[int, int], tuple[int, int]] = {}
    for cut_ms in sorted(by_cut):
        for operation in by_cut[cut_ms]:
            for i in range(number_of[operation.period_ms], len(periods)):
                other = latest[i]
                if other is None or _event_time(other) < _event_time(operation):
                    latest[i] = operation
        carried_change = 0
        for i, period_ms in enumerate(periods):
            last = latest[i]
            active = 1 if last is not None and last.adds else 0
            active_change = active - before[i]
            if active_change != carried_change:
                added[period_ms, cut_ms] = (active_change - carried_change, 0)
            carried_change, before[i] = active_change, active
    return added


def _active(operations: list[MemberOperation]) -> int:
    return 1 if operations and operations[-1].adds else 0


def _effective(operations: Iterable[MemberOperation]) -> Iterator[MemberOperation]:
    """Only the operations that change the state of the machine."""
    active = False
    for operation in operations:
        if operation.adds != active:
            active = operation.adds
            yield operation


def _event_time(operation: MemberOperation) -> tuple[int, Position]:
    return operation.timestamp_ms, operation.position
