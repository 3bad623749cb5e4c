"""Series: usage of a metric in each window of a stretch of time."""

from __future__ import annotations

from collections.abc import Sequence

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.meter.evidence import ChargeUsageSeries, UsageSeries, WindowUsage
from app.meter.usage import AsOf
from app.queries.replay import Replay
from app.wire.arrivals import Arrival, MeterKey
from tables.reading.series import ChargeSeries, Series, SeriesWindow
from tables.reading.tracing import verdict
from tables.reading.usage import as_of


async def usage_series(
    replay: Replay,
    meter_key: MeterKey,
    windows: Sequence[tuple[int, int]],
    timezone: str,
) -> UsageSeries:
    """Return the usage of one metric of one subscription in each window."""
    state = replay.owned.state
    series = Series(state, meter_key, [SeriesWindow(*window) for window in windows], timezone)

    def take(arrival: Arrival) -> Steps[None]:
        counted = verdict(state, arrival).counted
        if counted is not None and counted.event.code == meter_key[2]:
            series.feed(counted)
        yield from ()

    def finish() -> Steps[AsOf]:
        yield from ()
        return as_of(state)

    progress = await replay.meter_key(meter_key, take, finish, series.dated_from_ms)
    charges = await replay.turn.run(series.values())
    return UsageSeries(
        external_subscription_id=meter_key[1],
        metric_code=meter_key[2],
        aggregation_type=charges[0].metric.aggregation_type if charges else None,
        charges=await replay.turn.run(_shown(charges)),
        as_of=progress,
    )


def _shown(charges: Sequence[ChargeSeries]) -> Steps[tuple[ChargeUsageSeries, ...]]:
    """Return what is answered, made by steps."""
    shown: list[ChargeUsageSeries] = []
    for one in charges:
        values: list[WindowUsage] = []
        for some in batches(one.values, STEP_ITEMS):
            values += [WindowUsage(*w, units, total, count) for w, units, total, count in some]
            yield
        shown.append(ChargeUsageSeries(one.charge.id, one.charge.code, tuple(values)))
    return tuple(shown)
