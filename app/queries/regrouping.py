"""Usage of the running period in other groups than its charges have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from app.bounds.turns import Steps
from app.meter.usage import PeriodUsage, Regrouping
from app.queries.replay import Replay
from app.wire.arrivals import Arrival
from tables.reading.regrouping import Regrouped
from tables.reading.tracing import verdict


async def regrouped_usage(
    replay: Replay,
    usage: PeriodUsage,
    wanted: Regrouping,
    at_ms: int,
) -> PeriodUsage:
    """Regroup usage of the running period; events are read only where the cells do not tell."""
    state, subscription = replay.owned.state, usage.subscription
    regrouped = Regrouped(state, usage, wanted, at_ms)

    def note(arrival: Arrival) -> Steps[None]:
        regrouped.note(verdict(state, arrival))
        yield from ()

    def take(arrival: Arrival, code: str) -> Steps[None]:
        counted = verdict(state, arrival).counted
        # With corrections every reading shows the events of all codes.
        if counted is not None and counted.event.code == code:
            regrouped.feed(counted)
        yield from ()

    async def read(code: str, show: Callable[[Arrival], Steps[None]]) -> None:
        meter_key = (subscription.organization_id, subscription.external_id, code)
        await replay.meter_key(meter_key, show, _nothing, regrouped.dated_from_ms(code))

    await replay.turn.run(regrouped.merging())
    for code in regrouped.to_admit:
        await read(code, note)
    await replay.turn.run(regrouped.admitting())
    for code in regrouped.to_read:
        await read(code, partial(take, code=code))
    return await replay.turn.run(regrouped.usage())


def _nothing() -> Steps[None]:
    """Ask nothing at the end."""
    yield from ()
