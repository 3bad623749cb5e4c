"""List published records: the newest of each cell by the published table, all by the topic.

A cell's newest record lies among those of its cut, and a partition publishes cut after cut: so it
is found by halving. What is answered are the bytes of the topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

import msgspec

from app.billing_periods.instants import iso_milliseconds, parse_iso8601_ms
from app.bounds.limits import LISTED_DEPTH
from app.bounds.turns import STEP_ITEMS, Steps, in_order
from app.definitions.model import Subscription
from app.definitions.periods import NEVER_MS, Period
from app.kafka.log_readers import LogRecord
from app.kafka.log_search import LogSearch, searching
from app.kafka.names import OffsetOutOfRangeError
from app.kafka.topics import output_tp
from app.meter.errors import BeyondRetention, Unavailable
from app.meter.listing import Listed
from app.meter.records import RecordPlace, RecordQuery
from app.queries.listing import First
from app.queries.routing import Routing
from app.runtime.engine import Engine
from app.runtime.partition.owned import OwnedPartition
from app.runtime.scanning.scans import ScanTurn
from app.wire.arrivals import SubscriptionKey
from app.wire.instant_records import INSTANT_TYPES
from app.wire.usage_records import cell_id, record_id
from tables.changelogged.published_period import PublishedCellKey
from tables.partition.partition import Partition

_TRIES = 6
_TRY_AGAIN_S = 0.5
"""What the table has published goes out with the next flush."""
_COMPLETED: Final = "period.completed"

_Cell: TypeAlias = tuple[str, int, int, int]
"""(cell id, revision, number of the partition, cut in ms): the order within a period."""


class _Metric(msgspec.Struct):
    code: str


class _Period(msgspec.Struct):
    timezone: str
    from_: str = msgspec.field(name="from")
    to: str


class _Head(msgspec.Struct):
    """The fields of any record of usage-records by which it is found and chosen."""

    id: str
    cell_id: str
    type: str
    revision: int
    organization_id: str
    external_customer_id: str
    external_subscription_id: str
    period: _Period
    closed_at: str
    billable_metric: _Metric | None = None

    @property
    def order(self) -> tuple[str, str, str]:
        """Cut and subscription: the order within a partition, most of the time.

        Instants stand before the cells of their cut; names with much to publish stand behind it.
        """
        if self.type in INSTANT_TYPES:
            return self.closed_at, "", ""
        return self.closed_at, self.organization_id, self.external_subscription_id


_decode = msgspec.json.Decoder(_Head).decode


def _head(record: LogRecord) -> _Head | None:
    try:
        return _decode(record.value or b"")
    except (msgspec.MsgspecError, ValueError):
        return None  # somebody else's


def _is_before(order: tuple[str, ...], record: LogRecord) -> bool:
    head = _head(record)
    return head is not None and head.order[: len(order)] < order


class Records:
    """Looks records up in the published table and in the topic."""

    def __init__(self, engine: Engine, routing: Routing):
        self._engine, self._routing = engine, routing

    async def list_records(
        self, organization_id: str, query: RecordQuery, offset: int, limit: int
    ) -> Listed[RecordPlace]:
        """Find which records of subscriptions at home here are listed."""
        external_id = query.external_subscription_id
        parts = self._routing.asked(organization_id, external_id)
        listed, total_count = First[RecordPlace](offset + limit), 0
        periods = First[_Published](offset + limit)
        async with self._engine.scans.place("records", organization_id, external_id or "") as turn:
            for owned in parts:
                if query.revisions:
                    await self._read_all(owned, organization_id, query, listed, turn)
                    total_count = listed.count
                else:
                    names = self._names(owned, organization_id, query)
                    total_count += await turn.run(_published(owned.state, names, query, periods))
            page = _page(periods, query, offset, limit)
            places = await turn.run(listed.listed(offset) if query.revisions else page)
            if external_id is None:
                self._routing.check_same(parts)
            return Listed(places, total_count)

    def _names(
        self, owned: OwnedPartition, organization_id: str, query: RecordQuery
    ) -> Iterator[SubscriptionKey | None]:
        """Yield the subscriptions of a partition that are asked for; None: a step."""
        if query.external_subscription_id is not None:
            yield organization_id, query.external_subscription_id
            return
        definitions, homes = self._engine.definitions, self._engine.homes
        if query.external_customer_id is None:
            yield from homes.names_of(organization_id, owned.number)
            return
        # Records of a customer that is deleted, or made again, still lie in the topic.
        name, seen = (organization_id, query.external_customer_id), set[str]()
        for subscription in definitions.subscription_index.of_customer_name(name):
            external_id = subscription.external_id
            if external_id in seen or homes.of(organization_id, external_id) != owned.number:
                yield None
                continue
            seen.add(external_id)
            yield organization_id, external_id

    async def _read_all(
        self,
        owned: OwnedPartition,
        organization_id: str,
        query: RecordQuery,
        listed: First[RecordPlace],
        turn: ScanTurn,
    ) -> None:
        """List everything that a partition's part of the topic has."""
        name = query.external_subscription_id
        first_ms, last_ms = 0, None
        if name is not None:
            steps = _cuts(owned.state, (organization_id, name), query)
            first_ms, last_ms = await turn.run(steps)
        if first_ms >= NEVER_MS:
            return

        def take(records: Sequence[LogRecord]) -> Steps[bool]:
            for number, record in enumerate(records, 1):
                head = _head(record)
                if head is not None:
                    if last_ms is not None and head.closed_at > iso_milliseconds(last_ms):
                        return True
                    if _is_asked_for(head, organization_id, query):
                        yield from listed.add(_place(head, owned.number, record.offset))
                if number % STEP_ITEMS == 0:
                    yield
            return False

        async with self._searching(owned.number) as log:
            order = (iso_milliseconds(first_ms),)
            offset = await log.first_not_before(lambda record: _is_before(order, record))
            async for records in log.records(offset):
                if await turn.run(take(records)):
                    return

    async def revisions(
        self, owned: OwnedPartition, organization_id: str, query: RecordQuery, turn: ScanTurn
    ) -> list[RecordPlace]:
        """Find everything that was published of a subscription, for a scan that has its place."""
        listed = First[RecordPlace](LISTED_DEPTH)
        await self._read_all(owned, organization_id, query, listed, turn)
        return await turn.run(listed.listed(0))

    async def read_records(
        self, organization_id: str, places: Sequence[RecordPlace]
    ) -> AsyncGenerator[Sequence[bytes], None]:
        """Read listed records as the topic has them, some at a time."""
        offsets = await self._located(organization_id, places)
        async with AsyncExitStack() as stack:
            logs = {
                number: await stack.enter_async_context(self._searching(number))
                for number in {place.partition for place in places}
            }
            for start in range(0, len(places), STEP_ITEMS):
                some = places[start : start + STEP_ITEMS]
                found = {
                    number: await log.at(offsets[one.id] for one in some if one.partition == number)
                    for number, log in logs.items()
                }
                yield [_value(one, found[one.partition].get(offsets[one.id])) for one in some]

    async def _located(self, organization_id: str, places: Sequence[RecordPlace]) -> dict[str, int]:
        """Return the offsets of records by their ids; wait for those that a flush is to write."""
        offsets = {one.id: one.offset for one in places if one.offset >= 0}
        for attempt in range(_TRIES):
            left = [one for one in places if one.id not in offsets]
            for number in sorted({one.partition for one in left}):
                some = [one for one in left if one.partition == number]
                async with self._searching(number) as log:
                    last = attempt == _TRIES - 1
                    offsets |= await _found(log, organization_id, some, everywhere=last)
            if len(offsets) == len(places):
                return offsets
            await asyncio.sleep(_TRY_AGAIN_S)
        raise Unavailable("records are being published")

    @asynccontextmanager
    async def _searching(self, number: int) -> AsyncIterator[LogSearch]:
        engine = self._engine
        tp = output_tp(engine.settings, number)
        try:
            async with searching(engine.settings, tp, engine.tally.work) as log:
                yield log
        except OffsetOutOfRangeError as error:
            raise BeyondRetention(f"{tp.topic} partition {number} has lost records") from error


async def _found(
    log: LogSearch, organization_id: str, places: Sequence[RecordPlace], *, everywhere: bool
) -> dict[str, int]:
    """Return where records lie that the published table tells of, without those not found."""
    left: dict[tuple[str, ...], set[str]] = {}
    order: tuple[str, ...]
    for one in places:
        order = (iso_milliseconds(one.cut_ms), organization_id, one.external_subscription_id)
        left.setdefault(order, set()).add(one.id)
    offsets: dict[str, int] = {}
    low = 0
    for order in sorted(left):
        low = await _look(log, order, left[order], offsets, low)
    # Most have nothing left. What a cut published late does not stand in order among its names.
    by_cut: dict[tuple[str, ...], set[str]] = {}
    for order, ids in left.items():
        by_cut.setdefault(order[:1], set()).update(ids)
    for order in sorted(by_cut):
        await _look(log, order, by_cut[order], offsets, 0)
    if everywhere and (rest := set[str]().union(*by_cut.values())):
        await _look(log, (), rest, offsets, 0)
    return offsets


async def _look(
    log: LogSearch, order: tuple[str, ...], ids: set[str], offsets: dict[str, int], low: int
) -> int:
    """Note where records of an order lie, and take them out of `ids`; return where the next lie."""
    if not ids:
        return low
    offset = low = await log.first_not_before(lambda record: _is_before(order, record), low)
    async for records in log.records(offset):
        for record in records:
            head = _head(record)
            if head is None:
                continue
            if head.order[: len(order)] > order:
                return low
            if head.id in ids:
                offsets[head.id] = low = record.offset
                ids.remove(head.id)
                if not ids:
                    return low
    return low


def _value(place: RecordPlace, record: LogRecord | None) -> bytes:
    if record is None or record.value is None:
        raise BeyondRetention(f"record {place.id} is deleted from the topic")
    return record.value


class _Published(NamedTuple):
    """A period with records that are asked for, in the order of the listing."""

    external_subscription_id: str
    before_ms: int
    """Its start, negative."""
    subscription_id: str
    records: int
    """How many these are."""
    state: Partition
    subscription: Subscription
    period: Period


_period_of = itemgetter(0, 1)


def _published(
    state: Partition,
    names: Iterator[SubscriptionKey | None],
    query: RecordQuery,
    listed: First[_Published],
) -> Steps[int]:
    """List periods with records that are asked for; return how many records they have.

    The newest record of each cell, or of each period its newest completion.
    """
    total_count = 0
    for name in names:
        yield
        if name is None:
            continue
        for subscription, period in _periods(state, name, query):
            yield
            count = yield from _count(state, subscription, period, query)
            if count:
                order = name[1], -period.start_ms, subscription.id
                yield from listed.add(_Published(*order, count, state, subscription, period))
                total_count += count
    return total_count


def _page(
    listed: First[_Published], query: RecordQuery, offset: int, limit: int
) -> Steps[list[RecordPlace]]:
    """Return the places of a page. Those of periods before it are not made."""
    places, passed = list[RecordPlace](), 0
    periods = yield from listed.listed(0)
    for (external_id, before_ms), found in groupby(periods, _period_of):
        # Whatever begins at the same time stands in the order of its cells.
        some = list(found)
        before, passed = passed, passed + sum(each.records for each in some)
        yield
        if passed <= offset:
            continue
        cells = list[_Cell]()
        for each in some:
            cells += yield from _cells(each, query)
        for number, (cell, revision, at, cut_ms) in enumerate((yield from in_order(cells)), before):
            if len(places) == limit:
                return places
            if number >= offset:
                identity = record_id(cell, revision)
                places.append(
                    RecordPlace(external_id, before_ms, cell, revision, at, identity, cut_ms)
                )
            if number % STEP_ITEMS == 0:
                yield
    return places


def _periods(
    state: Partition, name: SubscriptionKey, query: RecordQuery
) -> Iterator[tuple[Subscription, Period]]:
    """Yield the periods of a subscription that are asked for and may be published."""
    for versions, timeline in state.timelines.of(name):
        for period in timeline.until(state.checkpoint.cut_ms):
            subscription = versions.at(period.fixed_at_ms)
            if (
                subscription is not None
                and query.external_customer_id in (None, subscription.external_customer_id)
                and query.wants_period(period.start_ms, period.to_ms, period.timezone)
            ):
                yield subscription, period


def _count(
    state: Partition, subscription: Subscription, period: Period, query: RecordQuery
) -> Steps[int]:
    """Return how many records of a period are asked for."""
    cells, completions = state.published.counts((subscription.id, period.start_ms))
    if query.type == _COMPLETED:
        return completions if query.metric_code is None else 0
    if not cells or query.type is None is query.metric_code:
        return cells
    count = 0
    for number, key in enumerate(_keys(state, subscription, period, query), 1):
        count += key is not None
        if number % STEP_ITEMS == 0:
            yield
    return count


def _keys(
    state: Partition, subscription: Subscription, period: Period, query: RecordQuery
) -> Iterator[PublishedCellKey | None]:
    """Yield the published cells of a period; None: one that is not asked for."""
    published = state.published.find((subscription.id, period.start_ms))
    cells = {} if published is None else published.cells
    charges = state.routes.charges_of(subscription, period)
    # More may be published meanwhile.
    for key in list(cells) if isinstance(cells, dict) else cells:
        is_asked = True
        if query.metric_code is not None:
            last = charges.last(key[0])
            is_asked = last is not None and last.metric.code == query.metric_code
        if is_asked and query.type is not None:
            is_new = cells[key].revision == 0
            is_asked = query.type == ("usage.recorded" if is_new else "usage.revised")
        yield key if is_asked else None


def _cells(one: _Published, query: RecordQuery) -> Steps[list[_Cell]]:
    """Return the cells of a period that are asked for, or its completion."""
    state, subscription, period, start_ms = one.state, one.subscription, one.period, -one.before_ms
    published = state.published.find((subscription.id, start_ms))
    if published is None:
        return []
    if query.type == _COMPLETED:
        cell = cell_id(subscription, None, None, None, start_ms)
        return [(cell, published.revision, state.number, published.cut_ms)]
    charges, cells = state.routes.charges_of(subscription, period), list[_Cell]()
    for number, key in enumerate(_keys(state, subscription, period, query), 1):
        if key is not None:
            newest = published.cells[key]
            grouped_by = tuple(zip(charges.keys_of(key), key[2], strict=False))
            cell = cell_id(subscription, key[0], key[1], grouped_by, start_ms)
            cells.append((cell, newest.revision, state.number, newest.cut_ms))
        # A charge may have fifty thousand groups.
        if number % STEP_ITEMS == 0:
            yield
    return cells


def _cuts(
    state: Partition, name: SubscriptionKey, query: RecordQuery
) -> Steps[tuple[int, int | None]]:
    """Return between which cuts everything of a subscription's periods was published.

    None: to the end, for what is paid in advance is told before its period ends.
    """
    first_ms, last_ms = NEVER_MS, -1
    for subscription, period in _periods(state, name, query):
        yield
        published = state.published.find((subscription.id, period.start_ms))
        if published is not None:
            first_ms = min(first_ms, period.start_ms)
            cuts_ms = (cell.cut_ms for cell in published.cells.values())
            last_ms = max(last_ms, published.cut_ms, *cuts_ms)
    if state.definitions.pays_in_advance(*name):
        return 0, None
    return first_ms, last_ms


def _is_asked_for(head: _Head, organization_id: str, query: RecordQuery) -> bool:
    code = None if head.billable_metric is None else head.billable_metric.code
    from_ms, to_ms = parse_iso8601_ms(head.period.from_), parse_iso8601_ms(head.period.to)
    return (
        head.organization_id == organization_id
        and query.external_subscription_id in (None, head.external_subscription_id)
        and query.external_customer_id in (None, head.external_customer_id)
        and query.metric_code in (None, code)
        and query.type in (None, head.type)
        and from_ms is not None
        and to_ms is not None
        and query.wants_period(from_ms, to_ms, head.period.timezone)
    )


def _place(head: _Head, partition: int, offset: int) -> RecordPlace:
    from_ms, cut_ms = parse_iso8601_ms(head.period.from_), parse_iso8601_ms(head.closed_at)
    order = (head.external_subscription_id, -(from_ms or 0), head.cell_id, head.revision)
    return RecordPlace(*order, partition, head.id, cut_ms or 0, offset)
