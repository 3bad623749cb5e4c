"""A refold that another process feeds: what that one is told, and what it tells of the outcome.

Both run the same `Refold`. Told are the routes, under the definitions as they stand, and what
decides whether an event is refused. What came of it is told by small parts; whoever takes these
over stands as if it had fed the same events at the moment when it told the routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

from app.bounds.turns import STEP_ITEMS, batches
from app.definitions.indexes.index import CodeKey
from app.definitions.indexes.records import SettingsVersions
from app.definitions.model import Metric
from app.definitions.state import Definitions
from app.definitions.versions import Versions
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.aggregation import Groups
from tables.cells.cell import Layer, Span, packed_cells
from tables.cells.group_limit import GroupLimit
from tables.cells.keys import PackedPosition
from tables.changelogged.checkpoint import Checkpoint
from tables.event_index.entries import Entry
from tables.partition.filling import by_span, unpack_into
from tables.partition.partition import Partition
from tables.partition.refold import Refold
from tables.partition.tables import Carried
from tables.partition.timelines import Timelines
from tables.routing.route import Route

ROUTES_AT_ONCE = 16
"""Routes told in one part: a route of many periods and charges is some 10 KB."""


class PartitionFacts(NamedTuple):
    """What is told of the partition."""

    number: int
    checkpoint: Checkpoint
    settings: SettingsVersions
    append_time_ms: int
    offset: int


class ToldRoutes(NamedTuple):
    """Routes, with the periods and metrics that decide whether their events are refused."""

    routes: dict[MeterKey, Route]
    dated_from: dict[MeterKey, int]
    """As `Refold` has it."""
    timelines: dict[SubscriptionKey, Timelines]
    holders: dict[CodeKey, Versions[str]]
    metrics: dict[str, Versions[Metric]]
    checkpoint: Checkpoint
    """The one of the partition, which watched spans ask what is taken."""


class EntriesElsewhere:
    """The event index of another process."""

    def __init__(self, find_many: Callable[[Sequence[bytes]], list[Entry | None]]):
        self.find_many = find_many


def told(job: Refold) -> Iterator[PartitionFacts | ToldRoutes]:
    """Yield what another process needs to feed a refold that stands alone; each a small step."""
    partition = job.partition
    definitions, checkpoint = partition.definitions, partition.checkpoint
    at, offset = definitions.append_time_ms, definitions.offset
    yield PartitionFacts(partition.number, checkpoint, definitions.settings, at, offset)
    index = definitions.metric_index
    for routes in batches(list(job.routes.items()), ROUTES_AT_ONCE):
        names = {meter_key[:2] for meter_key, _ in routes}
        codes = {(org, code) for (org, _, code), _ in routes}
        holders = {code: index.holders[code] for code in codes if code in index.holders}
        ids = {i for held in holders.values() for i in held.all()}
        yield ToldRoutes(
            dict(routes),
            {key: job.dated_from[key] for key, _ in routes if key in job.dated_from},
            {name: partition.timelines.of(name) for name in names},
            holders,
            {i: index.versions[i] for i in ids},
            checkpoint,
        )


def told_again(found: Iterator[PartitionFacts | ToldRoutes], index: EntriesElsewhere) -> Refold:
    """Return the refold that was told, in this process."""
    definitions, routes = Definitions(), dict[MeterKey, Route]()
    dated_from: dict[MeterKey, int] = {}
    partition: Partition | None = None
    for each in found:
        if isinstance(each, PartitionFacts):
            definitions.settings = each.settings
            definitions.append_time_ms, definitions.offset = each.append_time_ms, each.offset
            carried = Carried(checkpoint=each.checkpoint)
            partition = Partition(each.number, definitions, cast(Any, index), carried=carried)
        elif partition is not None:
            routes |= each.routes
            dated_from |= each.dated_from
            definitions.metric_index.holders.update(each.holders)
            definitions.metric_index.versions.update(each.metrics)
            for name, timelines in each.timelines.items():
                partition.timelines.lend(name, timelines)
    if partition is None:
        raise LookupError("no partition was told")
    return Refold.of_routes(partition, routes, dated_from)


Part = tuple[str, Any]
"""What it is, and some of it."""


def outcome(job: Refold) -> Iterator[Part]:
    """Yield what was made of the events that were fed, in the order in which it is taken over."""
    folded, numbers = job.folded, dict[int, int]()
    if len(folded.dirty) != sum(len(layer.cells) for layer in _layers(job)):
        raise LookupError("a refold has cells that it did not change")
    spans = {id(span): number for number, span in enumerate(_spans(job))}
    for number, span in enumerate(_spans(job)):
        for starts in batches(list(span.layers), STEP_ITEMS):
            yield "layers", (number, starts)
        limits: list[Span | Layer] = [span, *span.layers.values()]
        for limited in limits:
            if limited.group_limit is not None:
                start_ms = limited.start_ms if isinstance(limited, Layer) else None
                yield "limit", (number, start_ms, [])
                for firsts in batches(list(limited.group_limit.firsts.items()), STEP_ITEMS):
                    yield "limit", (number, start_ms, firsts)
    for cells in batches(folded.dirty, STEP_ITEMS):
        for cell in cells:
            numbers[id(cell)] = len(numbers)
        of_spans = [spans[id(cell.layer.span)] for cell in cells]
        rows = zip(of_spans, packed_cells(list(cells)), strict=True)
        yield "cells", [(span, key, value) for span, (key, value) in rows]
    for late in batches([*dict.fromkeys(numbers[id(cell)] for cell in folded.late)], STEP_ITEMS):
        yield "late", late
    for members in job.members.told():
        yield "members", members
    for admission in job.group_admission.told():
        yield "admission", admission
    for refused in batches(job.refused, STEP_ITEMS):
        yield "refused", refused
    for billed in batches(folded.billed_at_once, STEP_ITEMS):
        yield "billed", billed
    yield "rest", (job.events, job.waits_past_ms, folded.ignored, folded.displaced)
    yield "work", job.partition.work.counts


class TakingOver:
    """Takes what another process has made of the events of a refold that has just begun here."""

    def __init__(self, job: Refold):
        self._job = job
        self._spans = list(_spans(job))

    def take(self, part: Part) -> None:
        """Take a part over; they come in the order of `outcome`."""
        what, told = part
        job, folded = self._job, self._job.folded
        match what:
            case "cells":
                for number, key, value in told:
                    self._take_cell(self._spans[number], key, value)
            case "layers":
                number, starts = told
                for start_ms in starts:
                    _layer(self._spans[number], start_ms)
            case "limit":
                self._limit(*told)
            case "late":
                folded.late += [folded.dirty[number] for number in told]
            case "members":
                job.members.take_over(told)
            case "admission":
                job.group_admission.take_over(told)
            case "refused":
                job.refused += told
            case "billed":
                folded.billed_at_once += told
            case "rest":
                job.events, job.waits_past_ms, ignored, displaced = told
                folded.ignored += ignored
                folded.displaced |= displaced
            case "work":
                for (operation, kind), count in told.items():
                    job.partition.work.add(operation, kind, count)
            case _:
                raise LookupError(f"a refold has no {what}")

    def _take_cell(self, span: Span, key: bytes, value: bytes) -> None:
        ((span_key, packed),) = by_span([(key, value)]).items()
        if span_key != span.key or unpack_into(span, packed):
            raise LookupError(f"a cell of {span_key} does not fit into {span.key}")
        name = packed[0][0]
        cell = _layer(span, name.layer_ms).cell(name.filter_id, name.groups)
        # No changelog has it.
        cell.hash, cell.dirty = 0, True
        self._job.folded.dirty.append(cell)

    def _limit(
        self, number: int, start_ms: int | None, firsts: Iterable[tuple[Groups, PackedPosition]]
    ) -> None:
        span = self._spans[number]
        limited = span if start_ms is None else _layer(span, start_ms)
        if limited.group_limit is None:
            limited.group_limit = GroupLimit({})
        limited.group_limit.firsts.update(firsts)


def _layer(span: Span, start_ms: int) -> Layer:
    layer = span.layer_starting(start_ms)
    if layer is None:
        raise LookupError(f"{span.key} has no period that starts at {start_ms}")
    return layer


def _spans(job: Refold) -> Iterator[Span]:
    return chain.from_iterable(route.spans for route in job.routes.values())


def _layers(job: Refold) -> Iterator[Layer]:
    return chain.from_iterable(span.layers.values() for span in _spans(job))
