"""Rules that records keep whoever made them: live and offline fold have code in common, these none.

Of records-and-cuts §2 and §4 and billing-periods §7, what can be told from the records and the
definitions alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from app.definitions.model import Subscription
from app.definitions.periods import Period
from app.definitions.state import Definitions
from app.offline.fold import OfflineMeter
from app.wire.arrivals import Arrival, MeterKey
from app.wire.instant_records import INSTANT_TYPES
from tables.partition.partition import Partition
from tests.world.clock import DAY_MS, HOUR_MS, ms

TIMEZONES_APART_MS = 26 * HOUR_MS
"""Between two readings of one local midnight."""

LONGEST_GRACE_MS = 10 * DAY_MS
"""Of all that scripts draw."""


class _Published(NamedTuple):
    """One period: its completions and usage records in the order of their cuts."""

    subscription_id: str
    from_ms: int
    to_ms: int
    records: list[dict[str, Any]]

    @property
    def external_id(self) -> str:
        """Of the subscription."""
        return str(self.records[0]["external_subscription_id"])

    @property
    def due_ms(self) -> int:
        """Its first cut."""
        return min(ms(record["closed_at"]) for record in self.records)


def broken_rules(
    records: Sequence[dict[str, Any]], offline: OfflineMeter, arrivals: Iterable[Arrival]
) -> Iterator[str]:
    """Every rule that does not hold of records that were published; `arrivals`: of what events."""
    instants = [record for record in records if record["type"] in INSTANT_TYPES]
    periods = _periods([record for record in records if record["type"] not in INSTANT_TYPES])
    yield from _revised_one_by_one(instants)
    yield from _at_other_cuts(periods, offline.definitions)
    yield from _apart(periods)
    yield from _moved_away(offline.definitions)
    newest_ms: dict[MeterKey, int] = {}
    for arrival in arrivals:
        key = (*arrival.name, arrival.event.code)
        newest_ms[key] = max(newest_ms.get(key, 0), arrival.append_time_ms)
    yield from _carried_by_nobody(periods, offline.partition, newest_ms)


def _revised_one_by_one(instants: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The figures of an event in a cell have one id, and revisions without a hole."""
    revisions: dict[str, set[int]] = defaultdict(set)
    for record in instants:
        revisions[record["instant_id"]].add(record["revision"])
    for identity, found in revisions.items():
        if found != set(range(len(found))):
            yield f"instant {identity} has revisions {sorted(found)}"


def _periods(records: Sequence[dict[str, Any]]) -> list[_Published]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        found[record["lago_subscription_id"], record["period"]["from"]].append(record)
    made = [
        _Published(identity, ms(start), ms(of_period[0]["period"]["to"]), of_period)
        for (identity, start), of_period in found.items()
    ]
    return sorted(made, key=lambda period: period[:2])


def _at_other_cuts(periods: list[_Published], definitions: Definitions) -> Iterator[str]:
    """A period is revised at multiples of what revise_every_s was when it was due.

    Or when one before it was, or one that was due before it: a recurring metric shows in every
    later period at the same cuts, and what is carried into all of them is revised as the first due.
    """
    for period in periods:
        grids = {
            definitions.settings_at(other.due_ms).revise_every_s
            for other in periods
            if other.external_id == period.external_id
            and (other.from_ms <= period.from_ms or other.due_ms < period.due_ms)
        }
        for closed_ms in sorted({ms(record["closed_at"]) for record in period.records}):
            if closed_ms != period.due_ms and all(closed_ms % (every * 1000) for every in grids):
                yield f"{period[:3]} is revised at {closed_ms}, and every {sorted(grids)} s only"


def _apart(periods: list[_Published]) -> Iterator[str]:
    """Between two periods of a subscription there is neither an overlap nor, once it is long ago, a
    hole: a termination, which has no grace, is published before the period that is in grace.
    """
    newest_ms = max((period.due_ms for period in periods), default=0)
    for one, other in pairwise(periods):
        if one.subscription_id != other.subscription_id or other.from_ms == one.to_ms + 1000:
            continue
        if other.from_ms <= one.to_ms or other.from_ms < newest_ms - LONGEST_GRACE_MS:
            yield f"{other[:3]} does not follow {one[:3]}"


def _moved_away(definitions: Definitions) -> Iterator[str]:
    """A planned downgrade stays at its post, however often the customer moves."""
    for versions in definitions.subscription_versions.values():
        planned: dict[str, int] = {}
        for version in versions.all():
            following, end_ms = version.replaced_by, version.terminated_at_ms
            if following is None or end_ms is None or version.upgraded:
                continue
            apart_ms = abs(planned.setdefault(following, end_ms) - end_ms)
            if apart_ms > TIMEZONES_APART_MS:
                yield f"the downgrade of {version.external_id} moved by {apart_ms} ms"


def _carried_by_nobody(
    periods: list[_Published], partition: Partition, newest_ms: Mapping[MeterKey, int]
) -> Iterator[str]:
    """What an upgraded subscription does not publish, the next one does.

    What came after the next one's first period was open only later periods show. And what came
    after the last period of the upgraded one was open nobody shows, if the next plan has it not.
    """
    shown: _Shown = {
        (period.subscription_id, period.from_ms): {
            record["billable_metric"]["lago_id"]
            for record in period.records
            if record["type"] != "period.completed"
        }
        for period in periods
    }
    definitions = partition.definitions
    for versions in definitions.subscription_versions.values():
        upgraded = versions.at()
        if upgraded is None or not upgraded.upgraded:
            continue
        carriers = list(_beginning_at(definitions, upgraded))
        for metric_id, last in _left_out(partition, upgraded, shown):
            if not any(_has(definitions, carrier, metric_id) for carrier in carriers) and (
                _had_late(partition, upgraded, last, metric_id, newest_ms)
            ):
                continue
            if not carriers:
                yield f"nobody carries on metric {metric_id} of {upgraded.external_id}"
            for carrier in carriers:
                first = _first_of(partition, carrier)
                named = (carrier.id, carrier.started_at_ms // 1000 * 1000)
                # One that is upgraded itself may leave it to the next, and a plan that changed
                # meanwhile need not have the metric any more.
                changed = carrier.upgraded or len(definitions.plan_of(carrier.id)) > 1
                if changed or _had_late(partition, carrier, first, metric_id, newest_ms):
                    continue
                if metric_id not in shown.get(named, {metric_id}):
                    yield f"metric {metric_id} of {upgraded.external_id} is not in {named}"


def _has(definitions: Definitions, subscription: Subscription, metric_id: str) -> bool:
    """Return True if a plan of the subscription ever had the metric."""
    plans = definitions.plan_of(subscription.id).all()
    return any(charge.metric_id == metric_id for plan in plans for charge in plan.charges)


def _first_of(partition: Partition, subscription: Subscription) -> Period | None:
    name = (subscription.organization_id, subscription.external_id)
    for versions, timeline in partition.timelines.of(name):
        newest = versions.at()
        if newest is not None and newest.id == subscription.id:
            return timeline.holding(subscription.started_at_ms)
    return None


def _had_late(
    partition: Partition,
    subscription: Subscription,
    period: Period | None,
    metric_id: str,
    newest_ms: Mapping[MeterKey, int],
) -> bool:
    """Return True if events came after a period of the subscription was open."""
    if period is None:
        return False
    # It may be deleted meanwhile.
    codes = {metric.code for metric in partition.definitions.metric_versions[metric_id].all()}
    name = (subscription.organization_id, subscription.external_id)
    return any(newest_ms.get((*name, code), 0) > period.carries_until_ms for code in codes)


_Shown = dict[tuple[str, int], set[str]]
"""By subscription and start of the period, metrics with records."""


def _beginning_at(definitions: Definitions, upgraded: Subscription) -> Iterator[Subscription]:
    """Subscriptions of the external id that begin where this one ends, and last."""
    for versions in definitions.subscriptions(upgraded.organization_id, upgraded.external_id):
        one = versions.at()
        if one is None or one.canceled_at_ms is not None or one.id == upgraded.id:
            continue
        if one.started_at_ms == upgraded.end_ms and one.end_ms != one.started_at_ms:
            yield one


def _left_out(
    partition: Partition, upgraded: Subscription, shown: _Shown
) -> Iterator[tuple[str, Period]]:
    """Metrics with units in its last period, which is published without them, and that period."""
    name, cut_ms = (upgraded.organization_id, upgraded.external_id), partition.checkpoint.cut_ms
    periods = [
        period
        for versions, timeline in partition.timelines.of(name)
        if (newest := versions.at()) is not None and newest.id == upgraded.id
        for period in timeline.until(cut_ms)
        if period.upgraded and (upgraded.id, period.start_ms // 1000 * 1000) in shown
    ]
    for period in periods:
        for charge, metric, *_ in partition.routes.charges_of(upgraded, period).in_force:
            listed = metric.id in shown[upgraded.id, period.start_ms // 1000 * 1000]
            # A charge paid in advance has nothing left to bill where its period ends early.
            if listed or charge.prorated or charge.pay_in_advance or not metric.recurring:
                continue
            for span in partition.packing.route_of((*name, metric.code)).spans:
                of_period = span.key.start_ms <= period.start_ms < span.end_ms
                if of_period and span.key[:2] == (upgraded.id, charge.id):
                    # What is zero in the end is nothing to carry on, and groups may come to zero
                    # together.
                    at_end = [
                        span.figures(period, filter_id, groups, cut_ms).total_aggregated_units
                        for filter_id, groups in span.cells_of(period)
                        if not groups
                    ]
                    if any(at_end):
                        yield metric.id, period
