"""Usage that has changed, told at a cut: which codes of which subscriptions (records-and-cuts §4).

What counts is a function of the logs up to the cut: events and corrections were noted as they came,
and a definition is looked at here, by what it makes of the routes of before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.bounds.turns import Steps, in_order
from app.definitions.timeline import Timeline
from app.wire.arrivals import MeterKey, SubscriptionKey
from app.wire.changed_records import changed_record
from app.wire.usage_records import PublishedRecord
from tables.cells.cell import Span
from tables.partition.partition import Partition

STEPS_AT_ONCE = 64
"""Between two chances to let others go on."""


def changed_at(partition: Partition, cut_ms: int) -> Iterator[PublishedRecord | None]:
    """Yield the messages of a cut, by name; None: a step, and only then a flush may come.

    A cut that is taken again goes on after the last one that was told.
    """
    changed, checkpoint = partition.changed, partition.checkpoint
    codes = yield from _codes_at(partition, cut_ms)
    if partition.definitions.settings_at(cut_ms).usage_changed:
        for count, name in enumerate((yield from in_order(codes)), 1):
            if (cut_ms, name) <= checkpoint.changed_name:
                continue
            yield from _of_name(partition, name, codes[name], cut_ms)
            checkpoint.changed_name = (cut_ms, name)
            if count % STEPS_AT_ONCE == 0:
                yield None
    changed.told(cut_ms)


def _codes_at(partition: Partition, cut_ms: int) -> Steps[dict[SubscriptionKey, dict[str, bool]]]:
    """Return the codes that may have changed, by external subscription.

    With each whether definitions of this moment concern it: those of others are not asked for.
    """
    changed, found = partition.changed, dict[SubscriptionKey, dict[str, bool]]()
    for count, (organization_id, external_id, code) in enumerate(changed.touched_at(cut_ms), 1):
        found.setdefault((organization_id, external_id), {})[code] = False
        if count % STEPS_AT_ONCE == 0:
            yield None
    for impact in changed.impacts_at(cut_ms):
        for count, name in enumerate(partition.redirection.concerned(impact, cut_ms), 1):
            known = partition.event_ranges.codes_of(name)
            codes = [code for code in known if impact.codes is None or code in impact.codes]
            if codes:
                found.setdefault(name, {}).update(dict.fromkeys(codes, True))
            if count % STEPS_AT_ONCE == 0:
                yield None
    return found


def _of_name(
    partition: Partition, name: SubscriptionKey, codes: Mapping[str, bool], cut_ms: int
) -> Iterator[PublishedRecord]:
    later = partition.definitions.has_commands_after(cut_ms)
    for versions, timeline in partition.timelines.of(name, cut_ms if later else None):
        subscription = versions.at(cut_ms)
        if subscription is None or subscription.status_at(cut_ms) != "active":
            continue
        told = [
            code
            for code, is_concerned in codes.items()
            if _is_touched(partition, (*name, code), subscription.id, cut_ms)
            or (
                is_concerned
                and _is_redefined(partition, (*name, code), subscription.id, timeline, cut_ms)
            )
        ]
        if told:
            yield changed_record(subscription, told, cut_ms)


def _is_touched(
    partition: Partition, meter_key: MeterKey, subscription_id: str, cut_ms: int
) -> bool:
    entry = partition.event_ranges.find(meter_key[:2], meter_key[2])
    return entry is not None and subscription_id in entry.touched.get(cut_ms, ())


def _is_redefined(
    partition: Partition,
    meter_key: MeterKey,
    subscription_id: str,
    timeline: Timeline,
    cut_ms: int,
) -> bool:
    """Return whether definitions since the moment before lead events to other cells."""
    since_ms = cut_ms - partition.changed.every_ms(cut_ms)
    entry = partition.event_ranges.find(meter_key[:2], meter_key[2])
    if entry is None or entry.first_ms > cut_ms:
        return False
    if not partition.definitions.has_commands_after(since_ms, cut_ms):
        return False
    period = timeline.holding(cut_ms)
    newest_ms = cut_ms if period is None else period.end_ms - 1
    before, after = (
        partition.routes.compile(meter_key, until_ms, cut_ms) for until_ms in (since_ms, cut_ms)
    )
    of_alerts = not partition.definitions.settings_at(cut_ms).changes_without_alerts

    def concerns(span: Span) -> bool:
        is_usage = of_alerts or not span.fold.over_life
        return is_usage and span.key.subscription_id == subscription_id

    return not before.leads_like_in(concerns, after, newest_ms, cut_ms)
