"""Local dates and midnights, from the pinned `tzdata` wheel and never the system's database.

Every function takes the timezone by its IANA name, and times as UTC milliseconds. A name the wheel
does not know is a `ValueError`.
"""

from datetime import UTC, date, datetime, time
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from zoneinfo import ZoneInfo

from app.billing_periods.instants import epoch_ms, utc_datetime

_QUARTER_MS = 15 * 60_000


def tzdata_version() -> str:
    """Return the version of the wheel that all local dates come from."""
    return version("tzdata")


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset((files("tzdata") / "zones").read_text(encoding="utf-8").split())


def is_timezone(name: str) -> bool:
    """Return whether the wheel has a zone or alias of exactly this name."""
    return name in _zone_names()


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Return the wheel's rules for this zone; raise `ValueError` when there is none."""
    if not is_timezone(name):
        raise ValueError(f"unknown timezone: {name!r}")
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)


def local_datetime(at_ms: int, timezone: str) -> datetime:
    """Return the wall clock at this instant; `fold` tells a repeated hour's second pass."""
    return utc_datetime(at_ms).astimezone(zone(timezone))


def local_date(at_ms: int, timezone: str) -> date:
    """Return the calendar date on the wall at this instant."""
    day = _only_date(at_ms // _QUARTER_MS, timezone)
    return local_datetime(at_ms, timezone).date() if day is None else day


@lru_cache(maxsize=16384)
def _only_date(quarter: int, timezone: str) -> date | None:
    """Return the date of a quarter of an hour; None: it may have two."""
    # Events ask for the same ones again and again, and a midnight mostly begins one.
    first, last = (
        local_datetime(at_ms, timezone)
        for at_ms in (quarter * _QUARTER_MS, (quarter + 1) * _QUARTER_MS - 1)
    )
    # Where a clock is set, its date may go back and forth.
    is_sure = first.date() == last.date() and first.utcoffset() == last.utcoffset()
    return first.date() if is_sure else None


def utc_offset_ms(at_ms: int, timezone: str) -> int:
    """Return how far the wall clock is ahead of UTC at this instant, in ms."""
    return epoch_ms(local_datetime(at_ms, timezone).replace(tzinfo=UTC)) - at_ms


@lru_cache(maxsize=65536)
def local_midnight_ms(day: date, timezone: str) -> int:
    """Return the first instant of local 00:00 of `day`.

    If midnight occurs twice, it is the first one. If the clock skips midnight, it is the jump
    itself: a gap of an hour (Beirut in spring) or of a whole day (Apia, 30 December 2011).
    """
    by_old_offset_ms = _midnight_by_offset_ms(day, timezone, fold=0)
    by_new_offset_ms = _midnight_by_offset_ms(day, timezone, fold=1)
    if by_old_offset_ms <= by_new_offset_ms:
        return by_old_offset_ms
    return _jump_between_ms(by_new_offset_ms, by_old_offset_ms, timezone)


@lru_cache(maxsize=1024)
def opens_a_local_day(at_ms: int, timezone: str) -> bool:
    """Return whether this instant is exactly a local midnight, either one where there are two."""
    local = local_datetime(at_ms, timezone)
    return local.time() == time() or local_midnight_ms(local.date(), timezone) == at_ms


def _midnight_by_offset_ms(day: date, timezone: str, *, fold: int) -> int:
    return epoch_ms(datetime.combine(day, time(), zone(timezone)).replace(fold=fold))


def _jump_between_ms(before_ms: int, after_ms: int, timezone: str) -> int:
    """Return the first whole second in (before, after] that has the offset of `after`, in ms."""
    new_offset_ms = utc_offset_ms(after_ms, timezone)
    before_s, after_s = before_ms // 1000, after_ms // 1000
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if utc_offset_ms(middle_s * 1000, timezone) == new_offset_ms:
            after_s = middle_s
        else:
            before_s = middle_s
    return after_s * 1000
