"""What every output is compared with: a recount of the same events in plain Python.

Nothing of the product takes part: `json`, dictionaries and whole numbers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from app.wire.keys import home_partition, message_key
from bench.contest.loads import DECEMBER_MS, PERIOD_END_MS, PERIOD_MS
from bench.contest.task import Tally, pair_of

DIGITS = 20
"""Decimal places of an average over time."""

Pair = tuple[str, str]


class Usage(NamedTuple):
    """What a month of a subscription and code came to."""

    units: Decimal
    events: int


class Recount(NamedTuple):
    """What the records of a load say."""

    tallies: dict[Pair, Tally]
    """Each record counted as it came, copies too: the job of whoever only counts and adds."""
    usage: dict[Pair, Usage]
    """Of the running month, each event once: the job of a meter."""
    late: dict[Pair, Usage]
    """Of the month before."""
    events_at_home: list[int]
    """Of each partition, how many different events belong there."""


def recount(values: Iterable[bytes], partitions: int) -> Recount:
    """Return what the values of a topic come to."""
    tallies: dict[Pair, Tally] = {}
    seen: set[tuple[str, str]] = set()
    months: dict[int, dict[Pair, _Month]] = {
        start_ms: defaultdict(_Month) for start_ms in (DECEMBER_MS, PERIOD_MS)
    }
    at_home = [0] * partitions
    for value in values:
        body = json.loads(value)
        name, code, gb = pair_of(body)
        count, total = tallies.get((name, code), (0, 0.0))
        # Quarters: a float has their sum exactly.
        tallies[name, code] = count + 1, total + gb
        cloud = "specversion" in body
        event_id = (name, body["id" if cloud else "transaction_id"])
        if event_id in seen:
            continue
        seen.add(event_id)
        organization = body["organizationid" if cloud else "organization_id"]
        at_home[home_partition(message_key(organization, name), partitions, "crc32")] += 1
        at_ms = _at_ms(body, cloud)
        month_ms = PERIOD_MS if at_ms >= PERIOD_MS else DECEMBER_MS
        months[month_ms][name, code].add(at_ms, body["data" if cloud else "properties"])
    return Recount(
        tallies,
        _usage(months[PERIOD_MS], PERIOD_MS, PERIOD_END_MS),
        _usage(months[DECEMBER_MS], DECEMBER_MS, PERIOD_MS),
        at_home,
    )


def _at_ms(body: dict[str, Any], cloud: bool) -> int:
    if cloud:
        return round(datetime.fromisoformat(body["time"]).astimezone(UTC).timestamp() * 1000)
    return int(Decimal(body["timestamp"]) * 1000)


class _Month:
    """The events of one subscription and code in one month."""

    def __init__(self) -> None:
        self.events = 0
        self.cores = 0
        self.users: set[str] = set()
        self.quarters = 0
        self.quarter_ms = 0
        """Sum of quarters times the instant that they came at."""

    def add(self, at_ms: int, properties: dict[str, Any]) -> None:
        quarters = int(properties["gb"] * 4)
        self.events += 1
        self.quarters += quarters
        self.quarter_ms += quarters * at_ms
        self.cores = max(self.cores, properties["cores"])
        self.users.add(properties["user"])

    def usage(self, code: str, from_ms: int, until_ms: int) -> Usage:
        match code:
            case "calls":
                return Usage(Decimal(self.events), self.events)
            case "gb":
                return Usage(Decimal(self.quarters) / 4, self.events)
            case "cpu":
                return Usage(Decimal(self.cores), self.events)
            case "users":
                return Usage(Decimal(len(self.users)), len(self.users))
        # A level holds from its event to the end of the month.
        held = Fraction(self.quarters * until_ms - self.quarter_ms, 4 * (until_ms - from_ms))
        return Usage(Decimal(ceil(held * 10**DIGITS)).scaleb(-DIGITS), self.events)


def _usage(months: dict[Pair, _Month], from_ms: int, until_ms: int) -> dict[Pair, Usage]:
    return {pair: month.usage(pair[1], from_ms, until_ms) for pair, month in months.items()}


def difference(found: dict[Pair, Any], expected: dict[Pair, Any]) -> str | None:
    """Say in what an output differs from the recount, or None."""
    if found == expected:
        return None
    differing = sorted(
        pair for pair in found.keys() | expected.keys() if found.get(pair) != expected.get(pair)
    )
    pair = differing[0]
    return (
        f"{len(differing):,} of {len(expected):,} keys differ; {'/'.join(pair)} is "
        f"{_shown(found.get(pair))}, not {_shown(expected.get(pair))}"
    )


def _shown(figure: Any) -> str:
    return "absent" if figure is None else " ".join(map(str, figure))
