"""The fold: events into the cells that their routes lead to. Pure, and the same for every use.

Live folding, refolds, previews and the offline fold all call `fold_event`; they differ only in the
routes they pass and in what they do with the cells it changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.wire.events import Event
from app.wire.identity import digest_of
from app.wire.properties import read_properties
from tables.aggregation import Position, count_event
from tables.cells import Cell, Layer
from tables.members import MemberName, Members, set_key
from tables.routes import Ignored, Properties, Route
from tables.unique_count import MemberOperation, UniqueCount, UniqueCountState


class Arrival(NamedTuple):
    """An event with where it came from: the position of its raw record."""

    event: Event
    organization_id: str
    append_time_ms: int
    raw_partition: int
    raw_offset: int
    array_index: int
    rekeyed_offset: int = -1
    """Offset on events-rekeyed; -1 when the raw record lies on the home partition."""
    admitted: bool = False
    """Replayed with `meter-admit`: neither too late nor refused because the period closed."""

    @property
    def position(self) -> Position:
        """What orders arrivals."""
        return (self.append_time_ms, self.raw_partition, self.raw_offset, self.array_index)

    @property
    def timestamp_ms(self) -> int:
        """Event time; the append time when the event has none."""
        timestamp_ms = self.event.timestamp_ms
        return self.append_time_ms if timestamp_ms is None else timestamp_ms


class UniqueOperation(NamedTuple):
    """An operation on a member that waits until the member is at hand."""

    cell: Cell
    name: MemberName
    operation: MemberOperation


class Folded:
    """What a slice changed, collected while it is folded."""

    __slots__ = ("dirty", "ignored", "late", "unique")

    def __init__(self) -> None:
        self.dirty: list[Cell] = []
        self.late: list[Cell] = []
        """Cells with states of cuts to come, whether they were dirty before or not."""
        self.unique: list[UniqueOperation] = []
        self.ignored: Counter[str] = Counter()


def fold_event(
    route: Route,
    event: Event,
    timestamp_ms: int,
    position: Position,
    settled_ms: int,
    members: Members,
    folded: Folded,
    max_groups: int,
) -> None:
    """Fold one event into every cell of its route. `settled_ms`: cuts up to it are published."""
    append_time_ms = position[0]
    properties = read_properties(event.properties) if route.reads_properties else {}
    digest_text: str | None = None
    digest = 0
    for span in route.spans:
        layer = span.current
        if layer is None or not layer.start_ms <= timestamp_ms < layer.end_ms:
            layer = span.layer_at(timestamp_ms)
            if layer is None:
                continue
        fold = span.fold
        if append_time_ms <= fold.counts_after_ms:
            folded.ignored["before_metric"] += 1
            continue
        value = fold.read_value(event.code, timestamp_ms, properties)
        if isinstance(value, Ignored):
            folded.ignored[value.reason] += 1
            continue
        number, property_text, adds, text = value
        if fold.plain:
            name: tuple[str | None, tuple[str | None, ...]] = _ONLY
        else:
            bucket = fold.bucket_of(properties)
            name = (bucket.filter_id, fold.groups_of(bucket, properties))
        cell = layer.cells.get(name)
        if cell is None:
            if name[1] and not layer.admits(name[1], max_groups):
                folded.ignored["too_many_groups"] += 1
                continue
            cell = layer.cell(*name)
        if text != digest_text:
            digest_text = text
            digest = digest_of(
                event.external_subscription_id, event.transaction_id, timestamp_ms, event.code, text
            )
        cut_ms = 0
        if append_time_ms > layer.due_at_ms:
            cut_ms = span.cut_of(layer, append_time_ms)
            if cut_ms <= settled_ms:
                cut_ms = 0
        if cut_ms == 0:
            state = cell.state
        else:
            state = cell.state_at(cut_ms, fold.aggregation)
            folded.late.append(cell)
        precise = event.precise_total_amount_cents
        if fold.unique:
            set_name = set_of(layer, *name, members)
            count_event(state, digest, precise)
            operation = MemberOperation(layer.start_ms, cut_ms, timestamp_ms, position, adds)
            folded.unique.append(UniqueOperation(cell, (set_name, property_text), operation))
        else:
            fold.aggregation.apply(state, number, timestamp_ms, position, digest, precise)
        if not cell.dirty:
            cell.dirty = True
            folded.dirty.append(cell)


_ONLY: tuple[None, tuple[str | None, ...]] = (None, ())


def members_wanted(route: Route, arrival: Arrival, members: Members) -> Iterator[MemberName]:
    """Members that `fold_event` will change, so that unknown ones can be learnt beforehand."""
    event, timestamp_ms = arrival.event, arrival.timestamp_ms
    properties: Properties | None = None
    for span in route.spans:
        layer = span.layer_at(timestamp_ms) if span.fold.unique else None
        if layer is None:
            continue
        if span.fold.plain and members.whole(set_of(layer, *_ONLY, members)):
            continue
        if properties is None:
            properties = read_properties(event.properties)
        value = span.fold.read_value(event.code, timestamp_ms, properties)
        if not isinstance(value, Ignored):
            bucket = span.fold.bucket_of(properties)
            groups = span.fold.groups_of(bucket, properties)
            yield set_of(layer, bucket.filter_id, groups, members), value.text


def set_of(
    layer: Layer, filter_id: str | None, groups: tuple[str | None, ...], members: Members
) -> bytes:
    """The set that a cell's members are in; one that no cell has used begins here."""
    span = layer.span
    cell_name = (filter_id, groups)
    if span.fold.metric.recurring:
        layers, period_ms = list(span.layers.values()), None
    else:
        layers, period_ms = [layer], layer.start_ms
    name = (filter_id, groups, period_ms)
    key = span.sets.get(name)
    if key is None:
        key = span.sets[name] = set_key(*span.key, span.generation, period_ms, filter_id, groups)
        cells = (other.cells.get(cell_name) for other in layers)
        if all(cell is None or cell.empty for cell in cells):
            members.begin(key)
    return key


def apply_members(
    operations: Iterable[UniqueOperation], members: Members, settled_ms: int, folded: Folded
) -> None:
    """Run the operations on their members; every member must be at hand."""
    for cell, name, operation in operations:
        aggregation: UniqueCount = cell.layer.span.fold.aggregation  # type: ignore[assignment]
        member = aggregation.settled(members.get(name), settled_ms)
        joined = aggregation.joined(member, operation)
        if joined == member:
            continue
        before = aggregation.contributions(member)
        after = aggregation.contributions(joined)
        members.put(name, joined)
        if before != after:
            _move(cell, aggregation, before, after, settled_ms, folded)


Contributions = dict[tuple[int, int], tuple[int, int]]


def _move(
    cell: Cell,
    aggregation: UniqueCount,
    before: Contributions,
    after: Contributions,
    settled_ms: int,
    folded: Folded,
) -> None:
    """Bring the sums of all layers that a member counts in from `before` to `after`."""
    span = cell.layer.span
    for period_ms, cut_ms in before.keys() | after.keys():
        layer = cell.layer if period_ms == cell.layer.start_ms else span.layers[period_ms]
        target = layer.cell(cell.filter_id, cell.groups)
        open_cut_ms = 0 if cut_ms <= settled_ms else cut_ms
        state: UniqueCountState = target.state_at(  # type: ignore[assignment]
            open_cut_ms, aggregation
        )
        if open_cut_ms:
            folded.late.append(target)
        old_active, old_spells = before.get((period_ms, cut_ms), (0, 0))
        active, spells = after.get((period_ms, cut_ms), (0, 0))
        state.active += active - old_active
        state.spells += spells - old_spells
        if not target.dirty:
            target.dirty = True
            folded.dirty.append(target)
