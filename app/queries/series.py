"""Series: usage of a metric in each window of a stretch of time."""

from __future__ import annotations

from collections.abc import Sequence

from app.bounds.turns import Steps
from app.meter.evidence import ChargeUsageSeries, UsageSeries, WindowUsage
from app.meter.usage import AsOf
from app.queries.replay import Replay
from app.wire.arrivals import Arrival, MeterKey
from tables.reading.series import Series, SeriesWindow
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
    charges = series.values()
    return UsageSeries(
        external_subscription_id=meter_key[1],
        metric_code=meter_key[2],
        aggregation_type=charges[0].metric.aggregation_type if charges else None,
        charges=tuple(
            ChargeUsageSeries(
                one.charge.id,
                one.charge.code,
                tuple(
                    WindowUsage(
                        value.window.start_ms,
                        value.window.end_ms,
                        value.units,
                        value.total_aggregated_units,
                        value.events_count,
                    )
                    for value in one.values
                ),
            )
            for one in charges
        ),
        as_of=progress,
    )
