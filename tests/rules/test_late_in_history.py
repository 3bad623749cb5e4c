"""A late event of a recurring metric counts at the first cut after it, known before or not."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.files import DefinitionLine
from app.offline.fold import EventLine, OfflineMeter
from tables.closing.close import entering_history
from tables.partition.redirection import refolds_of
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of, logged
from tests.world.events import arrived, raw
from tests.world.partition import Live

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


@pytest.mark.parametrize("at_hand", [True, False])
def test_an_event_after_a_record_of_history_counts_at_its_cut_also_in_what_is_final(
    *, at_hand: bool
) -> None:
    """Though nothing came before the record, and a worker that starts has nobody at hand."""
    definitions = definitions_of(["balance"], replace(SETTINGS, late_window_s=3_600))
    metric = next(line.command for line in definitions if "metric" in line.command.type)
    monday_ms, at_ms = START_MS + WEEK_MS, START_MS + WEEK_MS + 4 * HOUR_MS + 1
    live = Live(definitions)
    live.close_until(at_ms - 1)
    ids = [metric.payload["id"]]
    record = commands.apply_history(ORG, metric_ids=ids, from_ms=START_MS, to_ms=monday_ms)
    live.append(at_ms, record)
    if not at_hand:
        live.restart()
    assert not refolds_of(entering_history(live.partition))
    late_ms = at_ms + 10 * MINUTE_MS
    live.deliver([arrived("balance", 0, START_MS - DAY_MS, late_ms, transaction_id="t", v="3")])
    live.close_until(at_ms + DAY_MS)
    told = [
        (record["period"]["from"][:10], record["closed_at"][:16], record["units"])
        for record in map(msgspec.json.decode, (record.value for record in live.records))
        if record["type"] != "period.completed"
    ]
    assert told == [("2024-01-01", "2024-01-08T05:00", "3.0")]
