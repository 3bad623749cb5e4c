"""Periods of one subscription, made one after the other from what the definitions say of it.

A period is fixed once its due time is reached under the definitions known by then
(records-and-cuts §2). A later change shapes only the periods after it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import count
from operator import attrgetter
from typing import Any, NamedTuple

from app.definitions.alike_terms import Terms
from app.definitions.model import EXACT_ENDS, WHOLE_ENDS, ClosingReason, Subscription

NEVER_MS = 1 << 62
"""Later than any instant: the due time of a period that is never published."""

TIMEZONE_SHIFT_MS = 26 * 3600 * 1000 + 1
"""Two readings of one period start in different timezones differ by less (billing-periods §7).

From 14 hours east to 12 hours west it is 26 hours. Before `WHOLE_ENDS` these were not met.
"""


class Period(NamedTuple):
    """One usage period, half-open [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    to_ms: int
    """As printed: next start - 1 s, or the end instant floored to the second."""
    last_ms: int
    """The last instant as days are counted: end - 1 ms, or the instant of termination."""
    duration_days: int
    timezone: str
    fixed_at_ms: int
    """From here on no definition changes the period, but a history record."""
    due_at_ms: int
    """The time of its first cut: `fixed_at_ms`, or NEVER_MS when it is not published."""
    late_until_ms: int
    """Events appended after it are too late."""
    closing_reason: ClosingReason
    upgraded: bool
    """Cut short by an upgrade: its last day belongs to the new plan."""
    refuses_late: bool = False
    """Events appended after it is due are refused, instead of revising it."""
    revise_every_ms: int = 3_600_000
    """Once due, it is revised at multiples of this only."""
    max_groups: int = 10_000
    fold_version: int = 2
    """Version of the rules by which it closes."""
    end_rules: int = 0
    """Number of `SettingsRecord.end_rules` by which it ends."""

    @property
    def open_until_ms(self) -> int:
        """Events appended after it do not change the period, but by a correction."""
        return self.due_at_ms if self.refuses_late else self.late_until_ms

    @property
    def final_ms(self) -> int:
        """Return the last cut that shows late events; later ones show corrections."""
        return ceil_to(self.late_until_ms, self.revise_every_ms)

    @property
    def carries_until_ms(self) -> int:
        """The same for recurring metrics, whose events later periods show instead."""
        return self.open_until_ms if self.fold_version > 1 else NEVER_MS


class Due(NamedTuple):
    """The next cut at which periods of a subscription are published first."""

    done_ms: int
    """The cut that it comes after; there is none between them."""
    at_ms: int
    """NEVER_MS: there is none."""
    periods: tuple[tuple[Period, Period | None], ...]
    """Each with the one before it."""
    shared_ms: int
    """It is also what is due first of whoever has the same periods from then on, and no others.

    Each follows one that begins then or later, and is due by the cut. -NEVER_MS: it is nobody's.
    """

    @classmethod
    def of(cls, done_ms: int, at_ms: int, periods: tuple[tuple[Period, Period | None], ...]) -> Due:
        """Make it of the periods that are due then."""
        begin_ms = [
            earlier.start_ms
            for _, earlier in periods
            if earlier is not None and earlier.start_ms < earlier.due_at_ms <= done_ms
        ]
        is_shared = bool(periods) and len(begin_ms) == len(periods)
        return cls(done_ms, at_ms, periods, min(begin_ms) if is_shared else -NEVER_MS)


class _UnmadeEnd(NamedTuple):
    """The end of a period that is not made, because nobody asks for it."""

    end_ms: int
    timezone: str


def periods_under(
    terms: Sequence[Terms],
    done_ms: int | None = None,
    *,
    skips_never: bool = True,
    alike_until_ms: Callable[[Period], int] | None = None,
    previous: Period | _UnmadeEnd | None = None,
    first: int = 0,
) -> Iterator[tuple[int, Period]]:
    """Yield periods in order: each fixed by the first terms under which its due time is reached.

    With the number of the terms that made it. `done_ms`: as `Timeline.due_after` has them, or also
    those that are never due and not fixed by then. `alike_until_ms`: as `Timeline.parting` has
    them. `previous`, made under the terms number `first`: those after it.
    """
    created_ms = terms[0].since_ms if terms else NEVER_MS
    if done_ms is not None and len(terms) >= _FEW_TERMS:
        first, previous = _lately(terms, done_ms) or (first, previous)
    for i in range(first, len(terms)):
        entry = terms[i]
        changes_ms = terms[i + 1].since_ms if i + 1 < len(terms) else NEVER_MS
        opening = _opening(terms, i) if previous is None else None
        if done_ms is not None:
            args = previous or opening, entry, created_ms, done_ms, changes_ms
            passed = _passed(*args, skips_never=skips_never)
            previous = None if passed is opening else passed
        while True:
            period = _next_period(previous or opening, entry, created_ms)
            if period is None:
                break
            if period.fixed_at_ms >= changes_ms:
                if not _ended_in_grace(period, entry, created_ms, changes_ms):
                    break
                # A period after it is fixed, and with it where this one ends: only its due time
                # is not.
                period = _due_under(period, terms[i + 1 :], created_ms)
            yield i, period
            previous = period
            if alike_until_ms is None:
                continue
            # The next two periods are as quickly made as passed over.
            near_ms = 3 * period.end_ms - 2 * period.start_ms
            if near_ms < changes_ms:
                until_ms = min(alike_until_ms(period), changes_ms)
                if near_ms < until_ms < NEVER_MS:
                    args = previous, entry, created_ms, until_ms - 1, changes_ms
                    previous = _passed(*args, skips_never=False)


def _opening(terms: Sequence[Terms], number: int) -> _UnmadeEnd | None:
    """Return what a first period follows under some terms, if its timezone moved since its start.

    None if the next post is still to come as it was read at the start: it ends the period as ever.
    """
    entry = terms[number]
    start_ms, grid = entry.subscription.started_at_ms, entry.grid
    held = bisect_right(terms, start_ms, hi=number + 1, key=_SINCE_MS)
    began = terms[max(held - 1, 0)].grid
    if entry.end_rules < EXACT_ENDS or began.timezone == grid.timezone:
        return None
    post_ms = grid.start_ms(grid.index_at(start_ms) + 1)
    passed = began.start_nearest_ms(post_ms) <= start_ms
    return _UnmadeEnd(start_ms, began.timezone) if passed else None


def _lately(terms: Sequence[Terms], done_ms: int) -> tuple[int, _UnmadeEnd] | None:
    """Return the number of terms, and where a period begins before which all are fixed by a cut.

    The first ones after it are, too. None: it cannot be told without all terms before. Whatever
    changed, a grid has its own periods once two have passed, where nothing moves start or end.
    """
    subscription = terms[-1].subscription
    begins_ms = max(terms[0].since_ms, subscription.started_at_ms)
    if subscription.usage_end_ms is not None:
        # Whoever asks for all periods asks for those until the end.
        done_ms = min(done_ms, subscription.usage_end_ms - 1)
    until_ms = done_ms - max(map(_GRACE_MS, terms)) - max(map(_CLOSE_GRID_MS, terms))
    # Over changes of the grid, of which there are a few: back to one that lasted.
    while (newest := bisect_right(terms, until_ms, key=_SINCE_MS) - 1) >= 0:
        grid = terms[newest].grid
        k = grid.index_at(until_ms) - 1
        start_ms, before_ms = grid.start_ms(k), grid.start_ms(k - 2)
        if before_ms < begins_ms:
            return None
        before = bisect_right(terms, before_ms, key=_SINCE_MS) - 1
        others = (i for i in range(newest, before, -1) if terms[i - 1].grid != grid)
        if (changed := next(others, None)) is None:
            break
        until_ms = terms[changed].since_ms - 1
    if newest < 0:
        return None
    holding = bisect_right(terms, start_ms, key=_SINCE_MS) - 1
    changes_ms = terms[newest + 1].since_ms if newest + 1 < len(terms) else NEVER_MS
    fixed_ms = _fixed_at(start_ms, False, terms[newest], terms[0].since_ms)
    # Else terms came and went so fast that none of them had it due.
    return (holding, _UnmadeEnd(start_ms, grid.timezone)) if fixed_ms < changes_ms else None


_FEW_TERMS = 4
"""Fewer terms are gone through."""
_SINCE_MS = attrgetter("since_ms")
_GRACE_MS = attrgetter("grace_ms")
_CLOSE_GRID_MS = attrgetter("close_grid_ms")


def _passed(
    previous: Period | _UnmadeEnd | None,
    terms: Terms,
    created_ms: int,
    done_ms: int,
    changes_ms: int,
    *,
    skips_never: bool,
) -> Period | _UnmadeEnd | None:
    """Return where the periods that need not be made end, without the last of them.

    The last of them is made after all: closing the next one may need it.
    """
    subscription, grid = terms.subscription, terms.grid
    if subscription.canceled_at_ms is not None:
        return previous
    # As `_fixed_at` and `due_at_ms` have it, the other way round.
    fixed_ms = min(done_ms, changes_ms - 1) // terms.close_grid_ms * terms.close_grid_ms
    reachable = max(created_ms + terms.grace_ms, terms.since_ms) <= fixed_ms
    until_ms = fixed_ms - terms.grace_ms if reachable else -NEVER_MS
    never_due = skips_never and not terms.close_elapsed
    if never_due and _fixed_at(created_ms, False, terms, created_ms) < changes_ms:
        until_ms = max(until_ms, created_ms)
    if subscription.usage_end_ms is not None:
        until_ms = min(until_ms, subscription.usage_end_ms - 1)
    start_ms = subscription.started_at_ms if previous is None else previous.end_ms
    if until_ms <= start_ms:
        return previous
    k = grid.index_at(until_ms) - 1
    if k <= _index_after(previous, terms, start_ms):
        return previous
    return _UnmadeEnd(grid.start_ms(k), grid.timezone)


def _ended_in_grace(period: Period, terms: Terms, created_ms: int, until_ms: int) -> bool:
    """Return True if the subscription ended, without grace, while a period was in grace.

    By the rules of version 1: since version 2 every end has the grace of a period.
    """
    end_ms = terms.subscription.end_ms
    if end_ms is None or end_ms >= until_ms:
        return False
    following: Period | None = period
    while following is not None and following.fixed_at_ms >= until_ms:
        following = _next_period(following, terms, created_ms)
    return following is not None


def _due_under(period: Period, later: Sequence[Terms], created_ms: int) -> Period:
    """Return the period with the due time that later terms give it."""
    for i, terms in enumerate(later):
        fixed_at_ms = _fixed_at(period.end_ms, False, terms, created_ms)
        if i + 1 == len(later) or fixed_at_ms < later[i + 1].since_ms:
            break
    skipped = not terms.close_elapsed and period.end_ms <= created_ms
    due_at_ms = NEVER_MS if skipped else fixed_at_ms
    return period._replace(
        fixed_at_ms=fixed_at_ms,
        due_at_ms=due_at_ms,
        late_until_ms=due_at_ms + terms.late_window_ms,
        refuses_late=terms.refuses_late,
        revise_every_ms=terms.revise_every_ms,
        max_groups=terms.max_groups,
        fold_version=terms.fold_version,
        end_rules=terms.end_rules,
    )


def _shift_ms(terms: Terms) -> int:
    """Return what two readings of one start differ by less than, as the terms have it."""
    return TIMEZONE_SHIFT_MS if terms.end_rules >= WHOLE_ENDS else TIMEZONE_SHIFT_MS - 1


def _index_after(previous: Period | _UnmadeEnd | None, terms: Terms, start_ms: int) -> int:
    """Return which period of the grid begins where `previous` ends."""
    grid = terms.grid
    k = grid.index_at(start_ms)
    if (
        previous is not None
        and previous.timezone != grid.timezone
        and grid.start_ms(k + 1) - start_ms < _shift_ms(terms)
    ):
        # The same post read in another timezone: neither a hole nor a period of a few hours.
        k += 1
    return k


def _next_period(
    previous: Period | _UnmadeEnd | None, terms: Terms, created_ms: int
) -> Period | None:
    """Return the period after `previous`; None when the subscription has ended."""
    subscription, grid = terms.subscription, terms.grid
    if subscription.canceled_at_ms is not None:
        return None
    start_ms = subscription.started_at_ms if previous is None else previous.end_ms
    wished_ms = subscription.usage_end_ms
    if wished_ms is None and (previous is None or previous.timezone == grid.timezone):
        period = running_under(start_ms, terms, created_ms)
        if period is not None:
            return period
    k = _index_after(previous, terms, start_ms)
    natural_end_ms = grid.start_ms(k + 1)
    ended_ms = wished_ms if wished_ms is not None and wished_ms <= natural_end_ms else None
    if ended_ms is None and _waits_behind(natural_end_ms, terms):
        ended_ms = wished_ms
    if ended_ms == natural_end_ms and subscription.superseded_at_ms == ended_ms:
        # The period after it is the one that a later subscription has taken over.
        ended_ms = None
    end_ms = natural_end_ms if ended_ms is None else ended_ms
    if end_ms <= start_ms:
        return None
    fixed_at_ms = _fixed_at(end_ms, ended_ms is not None, terms, created_ms)
    reason = _closing_reason(subscription, ended_ms)
    skipped = not terms.close_elapsed and end_ms <= created_ms
    if reason == "termination" and terms.fold_version > 1:
        skipped = skipped or subscription.on_termination_invoice == "skip"
    if ended_ms is not None and subscription.superseded_at_ms == ended_ms:
        # Its end skips the period, whatever was meant to end it when this part was over.
        skipped = True
    due_at_ms = NEVER_MS if skipped else fixed_at_ms
    # What ends with the period itself, as a downgrade does and an upgrade may, has all of its last
    # day and no more.
    whole = ended_ms is None or ended_ms == natural_end_ms
    period = Period(
        start_ms=start_ms,
        end_ms=end_ms,
        to_ms=end_ms - 1000 if whole else end_ms // 1000 * 1000,
        last_ms=end_ms - 1 if whole else min(end_ms, natural_end_ms - 1),
        duration_days=grid.duration_days(k),
        timezone=grid.timezone,
        fixed_at_ms=fixed_at_ms,
        due_at_ms=due_at_ms,
        late_until_ms=due_at_ms + terms.late_window_ms,
        closing_reason=reason,
        upgraded=subscription.upgraded and not whole,
        refuses_late=terms.refuses_late,
        revise_every_ms=terms.revise_every_ms,
        max_groups=terms.max_groups,
        fold_version=terms.fold_version,
        end_rules=terms.end_rules,
    )
    return _shared(period)


def _waits_behind(post_ms: int, terms: Terms) -> bool:
    """Return whether a planned downgrade comes hours after the post that it waited for.

    That post had passed in another timezone when the customer moved there, so it came at once.
    """
    subscription = terms.subscription
    end_ms = subscription.terminated_at_ms
    if terms.end_rules < EXACT_ENDS or end_ms is None or end_ms != subscription.usage_end_ms:
        return False
    planned = subscription.replaced_by is not None and not subscription.upgraded
    if not planned or subscription.superseded_at_ms == end_ms:
        return False
    return post_ms < end_ms < post_ms + _shift_ms(terms)


def running_under(start_ms: int, terms: Terms, created_ms: int) -> Period | None:
    """Return the period from a moment on that nothing cuts short; None: the terms came too late."""
    period = _running(start_ms, terms[2:])
    if created_ms < period.end_ms and terms.since_ms <= period.fixed_at_ms:
        return period
    return None


@lru_cache(16_384)
def _running(start_ms: int, terms: tuple[Any, ...]) -> Period:
    """Return the period from a moment on that nothing cuts short; `terms` from their grid on.

    Most periods are like it, and most subscriptions of a plan share them.
    """
    grid, grace_ms, close_grid_ms, late_window_ms, _, *rules = terms
    k = grid.index_at(start_ms)
    end_ms = grid.start_ms(k + 1)
    due_at_ms = ceil_to(end_ms + grace_ms, close_grid_ms)
    bounds = (start_ms, end_ms, end_ms - 1000, end_ms - 1, grid.duration_days(k), grid.timezone)
    due_ms = (due_at_ms, due_at_ms, due_at_ms + late_window_ms)
    fields: tuple[Any, ...] = (*bounds, *due_ms, "period_end", False, *rules)
    return Period(*fields)


def first_due(done_ms: int, periods: Iterable[Period]) -> Due:
    """Return those of some periods in order that are due first after a cut."""
    earliest_ms = NEVER_MS
    found: list[tuple[Period, Period | None]] = []
    earlier: Period | None = None
    for period in periods:
        # A termination has no grace: it may be due before the period that is in grace before it.
        if done_ms < period.due_at_ms < earliest_ms:
            earliest_ms, found = period.due_at_ms, [(period, earlier)]
        elif period.due_at_ms == earliest_ms < NEVER_MS:
            found.append((period, earlier))
        # The next begins there, and is due later than it begins.
        if period.end_ms >= earliest_ms:
            break
        earlier = period
    return Due.of(done_ms, earliest_ms, tuple(found))


@lru_cache(1_024)
def running_due(done_ms: int, terms: tuple[Any, ...]) -> Due:
    """Return what is due first after a cut where nothing cuts any period short.

    Most subscriptions of a plan share it.
    """
    grid, grace_ms, close_grid_ms, *_ = terms
    # The last one that is due by then is made, too: closing the next one may need it.
    k = grid.index_at(done_ms // close_grid_ms * close_grid_ms - grace_ms) - 1
    return first_due(done_ms, (_running(grid.start_ms(i), terms) for i in count(k)))


def may_end(subscription: Subscription) -> bool:
    """Return whether anything ends a subscription, now or at a time to come."""
    return subscription.usage_end_ms is not None or subscription.canceled_at_ms is not None


@lru_cache(16_384)
def _shared(period: Period) -> Period:
    """Return the one kept copy of a period: subscriptions of a plan share most periods."""
    return period


def _fixed_at(end_ms: int, ended: bool, terms: Terms, created_ms: int) -> int:
    """Return the first multiple of the close grid (ms) where the period is over and its grace past.

    It is not before the moment since which these terms describe the period.
    """
    has_grace = not ended or terms.fold_version > 1
    ready_ms = max(end_ms, created_ms) + (terms.grace_ms if has_grace else 0)
    return ceil_to(max(ready_ms, terms.since_ms), terms.close_grid_ms)


def _closing_reason(subscription: Subscription, ended_ms: int | None) -> ClosingReason:
    if ended_ms is None:
        return "period_end"
    return "plan_change" if subscription.replaced_by is not None else "termination"


def ceil_to(at_ms: int, grid_ms: int) -> int:
    """Return the first multiple of `grid_ms` at or after the instant."""
    return -(-at_ms // grid_ms) * grid_ms
