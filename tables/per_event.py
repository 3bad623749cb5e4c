"""Figures of single events: the lists of a cell, in order of (timestamp, position).

Days are local dates. A share of days is that of a period's nominal length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, chain, islice
from typing import NamedTuple

from app.billing_periods.day_count import inclusive_days
from app.billing_periods.timezones import local_date
from app.definitions.per_event import AskedLists
from app.meter.evidence import CellDay, DayShare
from app.numbers import EXACT, ZERO, ceil_at, plain, prorate
from tables.aggregation import Lists, Window, local_ordinal
from tables.entries import MOST_ENTRIES, ListedEntry

SHARE_DIGITS = 20


class PerEvent(NamedTuple):
    """The lists of a cell; None: not asked for, or longer than a record has them."""

    length: int
    """Length of the longest list."""
    values: list[str] | None = None
    prorated_values: list[str] | None = None
    running_total: list[str] | None = None


class ListSource(NamedTuple):
    """What the lists of a cell follow from."""

    lists: Lists
    prorated: bool
    window: Window
    events: int
    """Counted events of the period."""
    units: Decimal
    """Full units, neither rounded nor clamped."""
    carried: Decimal
    """The balance at the period's start."""
    entries: Sequence[ListedEntry] = ()
    """Entries of the period, as many as a state keeps."""
    history: Sequence[ListedEntry] = ()
    """Before it, of a recurring metric."""
    history_events: int = 0
    whole: bool = True
    """Whether all entries are there."""


def per_event(asked: AskedLists, source: ListSource, most: int | None = None) -> PerEvent:
    """Return the lists that are asked for; None in place of those with more than `most` entries.

    `most` None: as many as a record may have.
    """
    most = MOST_ENTRIES if most is None else most
    found = [
        _values(source, most) if asked.values or asked.prorated_values else _NONE,
        _running_total(asked, source, most) if asked.running_total else _NONE,
    ]
    (values, prorated, length), (running, _, running_length) = found
    longest = max(length, running_length)
    if longest > most:
        return PerEvent(longest)
    return PerEvent(
        longest,
        values if asked.values else None,
        prorated if asked.prorated_values else None,
        running,
    )


_Found = tuple[list[str] | None, list[str] | None, int]
"""A list, its prorated one, and how long they are or would be."""
_NONE: _Found = (None, None, 0)


def _values(source: ListSource, most: int) -> _Found:
    if source.prorated and source.lists != "none":
        return _prorated(source, most)
    if source.lists == "none":
        return [], None, 0
    if source.events > most:
        return None, None, source.events
    match source.lists:
        case "number":
            return [plain(entry.value) for entry in source.entries], None, source.events
        case "greatest":
            values = ["0.0"] * source.events
            greatest = max((entry.value for entry in source.entries), default=ZERO)
            for number, entry in enumerate(source.entries):
                if entry.value == greatest:
                    values[number] = plain(greatest)
                    break
            return values, None, source.events
        case _:
            return ["1.0"] * source.events, None, source.events


def _prorated(source: ListSource, most: int) -> _Found:
    """Return the values with the share of each beside it."""
    if source.lists == "each":
        if not source.whole:
            return None, None, max(source.events + source.history_events, most + 1)
        shares = unit_shares(source)
        values = ["1.0" if share.adds else "-1.0" for share in shares]
        days = source.window.duration_days
        prorated = [plain(prorate(Fraction(share.days), days)) for share in shares]
        return values, prorated, len(shares)
    count = source.events + (source.carried != 0)
    if count > most:
        return None, None, count
    numbers, parts = [], []
    if source.carried:
        numbers.append(source.carried)
        parts.append(_share(source.carried, _days_of(source.window), source.window))
    for entry in source.entries:
        numbers.append(entry.value)
        parts.append(_share(entry.value, _days_left(entry, source.window), source.window))
    return [plain(number) for number in numbers], [plain(part) for part in parts], count


def _share(value: Decimal, days: int, window: Window) -> Decimal:
    return ceil_at(Fraction(value) * days / window.duration_days, SHARE_DIGITS)


def _days_of(window: Window) -> int:
    return inclusive_days(window.from_ms, window.last_ms, window.timezone, upgraded=window.upgraded)


def _days_left(entry: ListedEntry, window: Window) -> int:
    """Return the days from an entry's date to the last one, both counted."""
    return _last_day(window) + 1 - _day(entry.timestamp_ms, window)


def _day(at_ms: int, window: Window) -> int:
    return local_ordinal(local_date(at_ms, window.timezone))


def _last_day(window: Window) -> int:
    return _day(window.last_ms, window)


def _running_total(asked: AskedLists, source: ListSource, most: int) -> _Found:
    """Return cumulative sums, history included."""
    if source.lists == "each":
        units = max(int(source.units), 0)
        if units > most:
            return None, None, units
        return [f"{number}.0" for number in range(1, units + 1)], None, units
    if source.lists != "number":
        return [], None, 0
    events = source.events + source.history_events
    if asked.free_events:
        events = min(events, asked.free_events)
        if events > most:
            return None, None, events
        return [plain(total) for total in islice(_totals(source), events)], None, events
    found: list[str] = []
    for total in _totals(source):
        if len(found) == most:
            return None, None, events
        found.append(plain(total))
        if total > asked.free_total:
            break
    return found, None, len(found)


def _totals(source: ListSource) -> Iterable[Decimal]:
    return accumulate((e.value for e in chain(source.history, source.entries)), EXACT.add)


# Prorated unique counts: operations that change whether a text is active


class Operation(NamedTuple):
    """An operation on a text that changes whether it is active."""

    timestamp_ms: int
    entry: ListedEntry
    text: str
    adds: bool
    until_ms: int | None
    """When a removal ends an addition; None: nothing does."""


class UnitShare(NamedTuple):
    """An operation as a list has it."""

    adds: bool
    days: int
    """Days of the period that an addition counts for; 0 of a removal."""
    operation: Operation


def effective(source: ListSource) -> list[Operation]:
    """Return the operations up to the end of the period that change anything, in order.

    A removal that an addition of the same text follows on the same date is none.
    """
    window = source.window
    by_text: dict[str, list[ListedEntry]] = {}
    for entry in chain(source.history, source.entries):
        by_text.setdefault(entry.value.partition(":")[2], []).append(entry)
    found = [
        operation
        for text, entries in by_text.items()
        for operation in _effective_of(text, sorted(entries), window)
    ]
    return sorted(found, key=lambda operation: operation.entry[:2])


def _effective_of(text: str, entries: Sequence[ListedEntry], window: Window) -> Iterable[Operation]:
    kept: list[ListedEntry] = []
    last_added_day: int | None = None
    for entry in reversed(entries):
        day = _day(entry.timestamp_ms, window)
        if _adds(entry):
            last_added_day = day
        elif day == last_added_day:
            continue
        kept.append(entry)
    added: ListedEntry | None = None
    for entry in reversed(kept):
        if _adds(entry) and added is None:
            added = entry
        elif not _adds(entry) and added is not None:
            yield Operation(added.timestamp_ms, added, text, True, entry.timestamp_ms)
            yield Operation(entry.timestamp_ms, entry, text, False, None)
            added = None
    if added is not None:
        yield Operation(added.timestamp_ms, added, text, True, None)


def _adds(entry: ListedEntry) -> bool:
    return bool(entry.value.startswith("add:"))


def unit_shares(source: ListSource) -> list[UnitShare]:
    """Return the additions in force at the period's start, then the operations of the period."""
    window = source.window
    carried, own = [], []
    for operation in effective(source):
        if operation.timestamp_ms >= window.from_ms:
            days = _days_active(operation, window) if operation.adds else 0
            own.append(UnitShare(operation.adds, days, operation))
        elif operation.adds and _lasts_until(operation, window.from_ms):
            carried.append(UnitShare(True, _days_active(operation, window), operation))
    return [*carried, *own]


def _lasts_until(operation: Operation, at_ms: int) -> bool:
    return operation.until_ms is None or operation.until_ms >= at_ms


def _days_active(operation: Operation, window: Window) -> int:
    """Return the days of the period on which an addition is in force, both ends counted."""
    first = max(_day(operation.timestamp_ms, window), _day(window.from_ms, window))
    until_ms = operation.until_ms
    last = _last_day(window) if until_ms is None else _day(until_ms, window)
    return last + 1 - first


def daily_sums(source: ListSource) -> tuple[CellDay, ...]:
    """Return the sum of each local date with events."""
    return tuple(CellDay(date, plain(value)) for date, value in _sums(source))


def _sums(source: ListSource) -> list[tuple[str, Decimal]]:
    sums: dict[str, Decimal] = {}
    for entry in source.entries:
        date = local_date(entry.timestamp_ms, source.window.timezone).isoformat()
        sums[date] = EXACT.add(sums.get(date, ZERO), entry.value)
    return sorted(sums.items())


def day_breakdown(source: ListSource) -> tuple[DayShare, ...]:
    """Return the parts of a prorated figure, by date."""
    if source.lists == "each":
        return _unique_breakdown(source)
    window = source.window
    first = local_date(window.from_ms, window.timezone)
    rows = [(first.isoformat(), source.carried)] if source.carried else []
    rows += _sums(source)
    last = local_date(window.last_ms, window.timezone).toordinal()
    return tuple(
        DayShare(
            date,
            "remove" if amount < 0 else "add",
            plain(amount),
            last + 1 - first.fromisoformat(date).toordinal(),
            window.duration_days,
        )
        for date, amount in rows
    )


def _unique_breakdown(source: ListSource) -> tuple[DayShare, ...]:
    window = source.window
    by_text: dict[str, list[UnitShare]] = {}
    for share in unit_shares(source):
        by_text.setdefault(share.operation.text, []).append(share)
    rows = []
    for text, shares in by_text.items():
        first, last = shares[0].operation, shares[-1].operation
        carried = first.timestamp_ms < window.from_ms
        action = "add" if last.adds else "remove" if carried else "add_and_removed"
        at_ms = max(first.timestamp_ms, window.from_ms)
        if action == "remove":
            at_ms = last.timestamp_ms
        date = local_date(at_ms, window.timezone).isoformat()
        days = sum(share.days for share in shares)
        row = DayShare(date, action, plain(Decimal(1)), days, window.duration_days)
        rows.append(((date, first.timestamp_ms, text), row))
    return tuple(row for _, row in sorted(rows))
