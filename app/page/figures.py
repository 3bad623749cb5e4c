"""Figures, times and addresses as people read them, always in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlencode

from app.billing_periods.instants import iso_milliseconds
from app.billing_periods.timezones import local_datetime
from app.numbers import parse_text, plain
from app.page.html import Html, Node, el, markup

NOTHING: Final = "—"
"""What stands where there is nothing to say."""

_SHOWN_DIGITS: Final = 12
_SHOWN: Final = Context(prec=_SHOWN_DIGITS, rounding=ROUND_HALF_EVEN)


def figure(text: str | Decimal | None, *, signed: bool = False) -> Html:
    """Return a figure with 12 significant digits; the whole of it is in the title.

    `signed`: it is a difference, and one above 0 says so.
    """
    if text is None:
        return el("span", "not known", class_="quiet")
    whole = plain(text) if isinstance(text, Decimal) else text
    if parse_text(whole) is None:
        return el("span", whole)
    return el("data", shown(whole, signed=signed), value=whole, title=whole)


def shown(whole: str, *, signed: bool = False) -> str:
    """Return the text that stands for a figure; the name of a link around it has to hold it."""
    number = parse_text(whole)
    if number is None:
        return whole
    about = "" if _SHOWN.plus(number) == number else "≈ "
    sign = "+" if signed and number > 0 else ""
    return about + sign + grouped(_SHOWN.plus(number))


def grouped(number: Decimal) -> str:
    """Return a number with its thousands grouped and no zeros at its end."""
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def whole(number: int) -> str:
    """Return a count with its thousands grouped."""
    return f"{number:,}"


def count(number: int, one: str, many: str = "") -> str:
    """Return a count with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def in_words(code: str) -> str:
    """Return a code as words."""
    return code.replace("_", " ")


def pending(change: Decimal, reason: str, cut_ms: int | None, timezone: str) -> Html:
    """Return what the next revision adds, why and when."""
    waits = f", {in_words(reason)} at "
    return markup(figure(change, signed=True), waits, time(cut_ms, timezone))


def bounded(text: str, most: int = 500) -> str:
    """Return a text that somebody sent, or its beginning and how long it is."""
    return text if len(text) <= most else f"{text[:most]}… ({whole(len(text))} characters)"


def time(at_ms: int | None, timezone: str = "UTC") -> Html:
    """Return an instant on the clock of a zone, to the second; the exact one is in the title."""
    if at_ms is None:
        return el("span", NOTHING)
    exact = iso_milliseconds(at_ms)
    local = local_datetime(at_ms, timezone)
    return el("time", f"{local:%Y-%m-%d %H:%M:%S}", datetime=exact, title=exact)


def instant(text: str | None) -> Html:
    """Return an instant of a JSON answer, which is UTC, to the second."""
    if text is None:
        return el("span", NOTHING)
    shown = text.replace("T", " ").removesuffix("Z").partition(".")[0]
    return el("time", shown, datetime=text, title=text)


@lru_cache(maxsize=256)
def days(from_ms: int, to_ms: int, timezone: str) -> Html:
    """Return a period as the dates that a zone's calendar has for it, the last one included."""
    first, last = local_datetime(from_ms, timezone), local_datetime(to_ms, timezone)
    exact = f"{iso_milliseconds(from_ms)} to {iso_milliseconds(to_ms)}"
    return el("span", f"{first:%Y-%m-%d} to {last:%Y-%m-%d}", title=exact)


def duration(seconds: int) -> str:
    """Return a time in the largest unit that says it."""
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{timedelta(seconds=seconds).days} days"


def address(*segments: str, **query: str | None) -> str:
    """Return an address: each segment is encoded, `/` too; what is None or empty is left out.

    A member such as `group[key]` is not: empty, it asks for the null group.
    """
    path = "".join(map(_segment, segments)) or "/"
    given = {name: value or "" for name, value in query.items() if value or name.endswith("]")}
    asked = urlencode(given) if given else ""
    return f"{path}?{asked}" if asked else path


def link_to(words: Node, *segments: str, **query: str | None) -> Html:
    """Return a link to an address."""
    return el("a", words, href=address(*segments, **query))


@lru_cache(maxsize=1_024)
def _segment(text: str) -> str:
    return f"/{quote(text, safe='')}"


def bucket(values: Mapping[str, object] | None) -> str:
    """Return the values of a filter as text; the default bucket is everything else."""
    if values is None:
        return "everything else"
    return ", ".join(
        f"{key}={'|'.join(map(str, each)) if isinstance(each, list | tuple) else each}"
        for key, each in values.items()
    )


def group(grouped_by: Mapping[str, str | None] | tuple[tuple[str, str | None], ...] | None) -> str:
    """Return the values of a group as text."""
    pairs = dict(grouped_by or ()).items()
    return ", ".join(f"{key}={'none' if value is None else value}" for key, value in pairs)
