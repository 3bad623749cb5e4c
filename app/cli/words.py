"""Words of a command line: names that say something, times, and numbers within bounds."""

from __future__ import annotations

from math import isnan
from typing import Final

import click

from app.billing_periods.instants import parse_iso8601_ms


class _Text(click.ParamType):
    """A name or another text; an empty one would stand for all, or for a list."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the text as it is."""
        text = str(value)
        if not text:
            self.fail("It is empty: name what is meant, or leave it out.", param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{text!r} is no UTF-8.", param, ctx)
        return text


class PlaceType(click.ParamType):
    """A partition and an offset, as they are listed, with a sign between them."""

    def __init__(self, between: str):
        self._between = between
        self.name = f"partition{between}offset"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return both numbers, partition and offset."""
        partition, _, offset = str(value).partition(self._between)
        if not (partition.isdecimal() and offset.isdecimal()):
            example = f"{self.name.upper()}, for example 0{self._between}17"
            self.fail(f"{value!r} is not {example}", param, ctx)
        return int(partition), int(offset)


class _Time(_Text):
    """An instant or a date, of which a worker knows the zone."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the text as it is."""
        text = super().convert(value, param, ctx)
        if parse_iso8601_ms(text) is None:
            example = "2026-10-01 or 2026-10-01T00:00:00Z"
            self.fail(f"{text!r} is no time of ISO 8601, for example {example}.", param, ctx)
        return text


class _Seconds(click.FloatRange):
    """A time to wait."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; what is none lies in every range."""
        seconds: float = super().convert(value, param, ctx)
        if isnan(seconds):
            self.fail(f"{value!r} is no number.", param, ctx)
        return seconds


_MOST: Final = 1_000_000_000
_DAY_S: Final = 86_400.0
TEXT: Final = _Text()
"""Every text that a command takes, but for files."""
TIME: Final = _Time()
"""Every time that is handed on to a worker."""
COUNT: Final = click.IntRange(1, _MOST)
"""How many at most, or which page."""
REVISION: Final = click.IntRange(0, _MOST)
WAIT_S: Final = _Seconds(0, _DAY_S)
PACE_S: Final = _Seconds(0.1, _DAY_S)
"""Time between two looks."""
