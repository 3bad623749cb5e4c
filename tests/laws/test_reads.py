"""A read changes nothing: with any reads between two folds the same state is kept and written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Rejected
from app.definitions.what_if import branch_with
from app.meter.usage import Regrouping
from tables.partition.partition import Partition
from tables.reading.preview import Preview, PreviewScope
from tables.reading.series import Series, SeriesWindow
from tables.reading.tracing import Tracer, verdict
from tables.reading.usage import active_subscription, current_usage, past_periods, past_usage_steps
from tables.reading.verification import Verification
from tests.laws.test_partition import ALL, few
from tests.world.begun import begun
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    WEEKS,
    changing_definitions,
    definitions_of,
    metric_body,
)
from tests.world.events import arrivals
from tests.world.partition import Live
from tests.world.regrouped import answered, merged

NAMES = [(ORG, SUBSCRIPTION), (ORG, "other")]
END_MS = START_MS + (WEEKS + 3) * WEEK_MS


def state_of(partition: Partition) -> dict[str, Any]:
    """Everything that a later fold, cut or flush goes by."""
    return {
        "packed": {name: partition.packing.pieces(name) for name in NAMES},
        "routes": {
            meter_key: [
                (span.key, partition.routes.spans.get(span.key) is span) for span in route.spans
            ]
            for meter_key, route in partition.routes.by_key.items()
        },
        "cells": {
            key: (span.generation, {cell.key: cell.packed() for cell in _cells(span)})
            for key, span in partition.routes.spans.items()
        },
        "record": msgspec.msgpack.encode(partition.checkpoint),
        "changes": partition.snapshot.pending_changes(),
        "under": [partition.standing.of(name) for name in NAMES],
        "cuts": {name: [*partition.cuts.late.of(name)] for name in partition.cuts.late.by_name},
        "orphaned_keys": set(partition.stale.orphaned_keys),
        "events": {
            name: {
                code: {**msgspec.structs.asdict(entry), "touched": dict(entry.touched)}
                for code, entry in codes.items()
            }
            for name, codes in partition.event_ranges.codes.items()
        },
    }


def _cells(span: Any) -> list[Any]:
    return [cell for layer in span.layers.values() for cell in layer.cells.values()]


def _current(live: Live, name: tuple[str, str], at_ms: int) -> object:
    active_subscription(live.partition, name, at_ms)
    return current_usage(live.partition, name, at_ms)


def _past(live: Live, name: tuple[str, str], at_ms: int) -> object:
    past = past_periods(live.partition, name, at_ms)
    return [drained(past_usage_steps(live.partition, name, each)) for each in past]


def _series(live: Live, name: tuple[str, str], at_ms: int) -> object:
    windows = [SeriesWindow(at_ms - DAY_MS, at_ms), SeriesWindow(at_ms, at_ms + WEEK_MS)]
    series = [Series(live.partition, (*name, code), windows, "UTC") for code in ALL]
    for arrival in live.arrived():
        counted = verdict(live.partition, arrival).counted
        for each, code in zip(series, ALL, strict=True):
            if counted is not None and counted.meter_key == (*name, code):
                each.feed(counted)
    return [drained(each.values()) for each in series]


def _regrouped(live: Live, name: tuple[str, str], at_ms: int) -> object:
    usage = current_usage(live.partition, name, at_ms)
    if usage is None:
        return None
    traced = [verdict(live.partition, a) for a in live.arrived() if a.name == name]
    group = {"g": frozenset({"x"})}
    ways = (Regrouping(group), Regrouping(full=True), Regrouping(group, full=True))
    return [answered(merged(live.partition, usage, way, at_ms), traced) for way in ways]


def _explained(live: Live, name: tuple[str, str], at_ms: int) -> object:
    """Fates of all events, and the figures of every cell beside those recomputed from them."""
    figures = []
    for code in ALL:
        meter_key = (*name, code)
        tracer = Tracer(live.partition, meter_key)
        for arrival in live.arrived():
            found = verdict(live.partition, arrival)
            if found.counted is not None and found.counted.meter_key == meter_key:
                tracer.trace(found.counted, found.corrected_ms)
                tracer.unrouted(found.counted)
        ours = {span.key: span for span in live.partition.views.route_of(meter_key).spans}
        for span in tracer.route.spans:
            for period in span.timeline.until(at_ms):
                both = (ours.get(span.key, span), span)
                figures += [s.figures(period, *cell) for s in both for cell in s.cells_of(period)]
    return figures


def _verified(live: Live, name: tuple[str, str], _: int) -> object:
    verification = begun(Verification(live.partition, [name]))
    verification.feed(live.arrived(), strangers=True)
    compared = list(filter(None, verification.compare()))
    verification.member_sets(verification.meter_keys)
    return compared, list(verification.compare_published())


def _previewed(live: Live, name: tuple[str, str], at_ms: int) -> object:
    body = metric_body("filtered", filters=[{"key": "g", "values": ["x"]}])
    command = commands.update_billable_metric(ORG, "filtered", body)
    branch = drained(branch_with(live.definitions, ORG, [command], START_MS, at_ms, at_ms))
    if isinstance(branch, Rejected):
        return None
    scope = PreviewScope(START_MS, at_ms, at_ms)
    preview = begun(Preview(live.partition, branch, [name], scope))
    preview.refold.feed(live.arrived())
    return list(preview.differences())


READS: list[Callable[[Live, tuple[str, str], int], object]] = [
    _current,
    _past,
    _series,
    _regrouped,
    _explained,
    _verified,
    _previewed,
]


@few
@given(st.data())
def test_a_read_changes_nothing(data: st.DataObject) -> None:
    settings = data.draw(st.sampled_from([*_SETTINGS, None]))
    definitions = data.draw(changing_definitions(ALL))
    if settings is not None:
        definitions = definitions_of(ALL, settings, presents=True)
    events = data.draw(arrivals(ALL, external_ids=[name[1] for name in NAMES]))
    read, quiet = Live(definitions), Live(definitions)
    for arrival in events:
        count, acts = data.draw(st.integers(0, 3)), data.draw(st.sampled_from(_ACTS))
        for live in (read, quiet):
            live.define(count)
            live.deliver([arrival])
            for act in acts:
                act(live)
        before = state_of(read.partition)
        for reading in data.draw(st.lists(st.sampled_from(READS), max_size=3)):
            name = data.draw(st.sampled_from(NAMES))
            reading(read, name, data.draw(st.integers(START_MS, arrival.append_time_ms)))
            assert state_of(read.partition) == before
    for live in (read, quiet):
        live.define_all()
        live.close_until(END_MS)
        live.flush()
    assert read.records == quiet.records
    assert vars(read.changelog) == vars(quiet.changelog)
    assert state_of(read.partition) == state_of(quiet.partition)


def _cool(live: Live) -> None:
    for name in NAMES:
        live.partition.packing.pack(name)


_ACTS: list[list[Callable[[Live], None]]] = [
    [],
    [Live.flush],
    [Live.flush, _cool],
    [Live.restart],
    [Live.restart, Live.refold_all],
]
_SETTINGS = [
    SettingsRecord(close_grid_s=60, revise_every_s=3600, implicit_plan=True),
    SettingsRecord(close_grid_s=60, revise_every_s=3600, max_groups=1),
]
