"""Usage in several groupings, as whoever asks sees it: of a worker, and of the offline fold."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from app.api.usage.usage_json import current_usage_json
from app.definitions.aggregation_types import AGGREGATION_TYPES
from app.meter.errors import BeyondRetention, Unavailable
from app.meter.usage import PeriodUsage, Regrouping
from app.offline.fold import OfflineMeter
from app.queries.gateway import Gateway
from app.runtime.engine import Engine
from app.wire.arrivals import Arrival, SubscriptionKey
from tables.partition.partition import Partition
from tables.reading.tracing import TracedArrival, verdict
from tests.world.past import past_usage, past_usage_json
from tests.world.regrouped import answered, merged
from tests.world.topics import no_topics

REGROUPINGS = (
    Regrouping(skip_grouping=True),
    Regrouping({"g": frozenset({"x", ""})}),
    Regrouping({"u": frozenset({"a", "1"})}),
    Regrouping(full=True),
    Regrouping({"g": frozenset({"x"})}, full=True),
)

REGROUPED = frozenset(map(str, REGROUPINGS))

Answers = dict[tuple[SubscriptionKey, str], PeriodUsage]
"""By subscription, and which period or grouping it is."""


async def usage_at(engine: Engine, at_ms: int) -> Answers:
    """All that a worker can tell of what is at home with it, printed as for who asks."""
    gateway, answers = Gateway(engine, no_topics), Answers()
    for number in sorted(engine.owned.keys() - engine.restoring):
        if number not in engine.owned:
            # It has failed meanwhile, and is being restored.
            continue
        state = engine.owned[number].state
        for name in _names(state):
            for usage in past_usage(state, name, at_ms) if engine.homes.of(*name) == number else ():
                past_usage_json(usage)
                answers[name, _period(usage)] = usage
            for wanted in REGROUPINGS:
                if number not in engine.owned or engine.homes.of(*name) != number:
                    break
                try:
                    known = await gateway.usage.current_usage(*name, at_ms)
                    if known is None:
                        break
                    current_usage_json(known)
                    chosen = _chosen(known, wanted)
                    usage = await gateway.usage.regrouped_usage(chosen, wanted, at_ms)
                except Unavailable:
                    if number in engine.owned and number not in engine.restoring:
                        raise
                    break
                except BeyondRetention:
                    continue
                current_usage_json(usage)
                answers[name, str(wanted)] = usage
    return answers


def offline_usage_at(meter: OfflineMeter, arrivals: Iterable[Arrival], at_ms: int) -> Answers:
    """The same of the offline fold; `arrivals`: everything on the raw topic."""
    by_name: dict[SubscriptionKey, list[TracedArrival]] = {}
    for arrival in arrivals:
        by_name.setdefault(arrival.name, []).append(verdict(meter.partition, arrival))
    answers = Answers()
    for name in _names(meter.partition):
        for usage in past_usage(meter.partition, name, at_ms):
            answers[name, _period(usage)] = usage
        known = meter.usage(name, at_ms)
        if known is None:
            continue
        for wanted in REGROUPINGS:
            regrouped = merged(meter.partition, _chosen(known, wanted), wanted, at_ms)
            answers[name, str(wanted)] = answered(regrouped, by_name.get(name, ()))
    return answers


def _chosen(usage: PeriodUsage, wanted: Regrouping) -> PeriodUsage:
    """Leave out what nobody may ask for: full usage of what depends on a period's length."""
    chosen = tuple(
        in_force
        for in_force in usage.charges
        if not wanted.full
        or not (
            in_force.charge.prorated
            or AGGREGATION_TYPES[in_force.metric.aggregation_type].over_time
        )
    )
    return msgspec.structs.replace(usage, charges=chosen)


def _names(state: Partition) -> list[SubscriptionKey]:
    """Every subscription, and those that there are only events of."""
    return sorted({*state.definitions.all_subscription_keys(), *state.event_ranges.codes})


def _period(usage: PeriodUsage) -> str:
    return f"{usage.subscription.id} from {usage.from_ms}"
