"""weighted_sum: what has accrued by now, beside what the period comes to if no more is sent."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest

from app.meter.usage import UsageRow
from app.offline.fold import EventLine, OfflineMeter
from tests.world.clock import DAY_MS, START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, logged
from tests.world.events import raw

WEEK_DAYS = 7


def row_at(at_ms: int, *deltas: tuple[int, str]) -> UsageRow:
    """The one row of the current usage at an instant, after (timestamp, delta) events."""
    meter = OfflineMeter()
    definitions = logged(definitions_of(["average"]))
    events = [
        EventLine(
            START_MS + offset,
            0,
            offset,
            msgspec.json.encode(raw("average", str(offset), dated_ms, v=delta)),
        )
        for offset, (dated_ms, delta) in enumerate(deltas)
    ]
    meter.run(definitions, events, at_ms)
    usage = meter.usage((ORG, SUBSCRIPTION), at_ms)
    assert usage is not None
    (row,) = usage.rows
    return row


@pytest.mark.parametrize("days", [1, 2, 3, 6], ids="day {}".format)
def test_it_grows_with_time_to_what_the_period_comes_to(days: int) -> None:
    at_ms = START_MS + days * DAY_MS
    row = row_at(at_ms, (START_MS + DAY_MS, "10"), (START_MS + DAY_MS, "4"))
    accrued = Fraction(14 * (days - 1), WEEK_DAYS)
    assert row.units_so_far is not None
    assert 0 <= Fraction(row.units_so_far) - accrued < Fraction(1, 10**20)
    assert abs(Fraction(row.units) - Fraction(14 * 6, WEEK_DAYS)) < Fraction(1, 10**20)


def test_it_is_not_known_while_an_event_is_dated_later() -> None:
    at_ms = START_MS + 2 * DAY_MS
    row = row_at(at_ms, (START_MS + DAY_MS, "10"), (START_MS + 3 * DAY_MS, "1"))
    assert row.units_so_far is None
    assert row.units > Decimal(8)
