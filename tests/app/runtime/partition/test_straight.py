"""What an owner does with events that go straight."""

from __future__ import annotations

from unittest.mock import patch

from app.definitions import commands
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import runs_of
from tests.app.runtime.alone import NoProducer, context_of
from tests.world.clock import DAY_MS, START_MS, WEEK_MS, ManualClock
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, plan_body
from tests.world.events import arrived
from tests.world.partition import Live

AT_MS = START_MS + 1_000


async def test_the_cut_of_what_goes_straight_and_is_billed_at_once_is_looked_for() -> None:
    """Whoever takes cuts may sleep until a later one."""
    live = Live(definitions_of(["sum"]))
    live.define_all()
    (charge,) = plan_body(["sum"])["charges"]
    at_once = {**charge, "code": "at-once", "pay_in_advance": True}
    live.append(START_MS, commands.create_charge(ORG, "plan", at_once))
    context = context_of(live.definitions, ManualClock(START_MS + 2 * WEEK_MS))
    owned = OwnedPartition(live.partition, NoProducer(), context)
    for number in range(2):
        # Each has a grid cut of its own.
        sent_ms = AT_MS + number * DAY_MS
        arrival = arrived("sum", number, sent_ms, v="1")
        with patch.object(owned.cuts, "reschedule", wraps=owned.cuts.reschedule) as looked:
            await owned.fold(runs_of([arrival]), raw_next=number + 1, append_time_ms=sent_ms)
        names = {name for call in looked.call_args_list for name in call.args[0]}
        assert names == {(ORG, SUBSCRIPTION)}
