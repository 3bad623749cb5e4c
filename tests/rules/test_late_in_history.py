"""A late event of a recurring metric counts at the first cut after it, known before or not."""

from __future__ import annotations

import msgspec

from app.definitions import commands
from app.offline.fold import DefinitionLine, EventLine, OfflineMeter
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, logged
from tests.world.events import raw

MINUTE_MS = 60_000


def test_a_termination_after_it_brings_the_cut_forward() -> None:
    """Late by a week, appended ten minutes before the termination, both within an hour."""
    late_ms = START_MS + WEEK_MS + DAY_MS + 5 * MINUTE_MS
    ended_ms = late_ms + 10 * MINUTE_MS
    definitions = logged(definitions_of(["balance"]))
    terminate = commands.terminate_subscription(ORG, SUBSCRIPTION)
    definitions.append(DefinitionLine(ended_ms, len(definitions), terminate.encode()))
    body = raw("balance", "t", START_MS + DAY_MS, v="3")
    meter = OfflineMeter()
    event = EventLine(late_ms, 0, 0, msgspec.json.encode(body))
    meter.run(definitions, [event], ended_ms + 3 * HOUR_MS)
    told = [
        (record["period"]["from"][:10], record["closed_at"][:16], record["units"])
        for record in map(msgspec.json.decode, (record.value for record in meter.records))
        if record["type"] != "period.completed"
    ]
    assert told == [
        ("2024-01-08", "2024-01-09T00:15", "3.0"),
        ("2024-01-01", "2024-01-09T01:00", "3.0"),
    ]
