"""History records in force, and the cuts that are to show them."""

from __future__ import annotations

from app.definitions import commands
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)


def test_a_record_revises_until_its_cut_is_taken() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    live.deliver([arrived("count", 0, START_MS)])
    (metric,) = live.definitions.metrics(ORG)
    revises = live.partition.history.revises
    ids, to_ms = [metric.id], START_MS + WEEK_MS
    for week in (1, 2, 3):
        # As long after a full hour as may be, and as short before one.
        at_ms = START_MS + week * WEEK_MS + (HOUR_MS if week == 2 else HOUR_MS + 1)
        live.close_until(at_ms - 1)
        record = commands.apply_history(ORG, metric_ids=ids, from_ms=START_MS, to_ms=to_ms)
        live.append(at_ms, record)
        assert not revises(NAME)
        live.close_until(at_ms)
        # A cut that is taken at the time of the record shows it already.
        assert revises(NAME) == (week != 2)
        live.close_until(at_ms + HOUR_MS)
        assert not revises(NAME)
