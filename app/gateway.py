"""The engine as the API sees it: implements `app.api.meter.Meter`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from heapq import nlargest

from agents.show import organization_of
from app.api import meter as port
from app.api.event_input import as_event, record_value
from app.definitions.branch import Branch, branch_with
from app.definitions.commands import MAX_COMMAND_BYTES, Command
from app.definitions.outcome import Applied, Rejected, too_large
from app.definitions.state import Definitions
from app.engine import Engine
from app.explain import First, explain, regrouped_usage, trace, usage_series
from app.numbers import exact_sum
from app.owned import OwnedPartition
from app.preview import Overtaken, preview_organization
from app.proof import (
    EventFate,
    ExplainQuery,
    Explanation,
    PreviewReport,
    SeriesQuery,
    UsageSeries,
    VerifyReport,
)
from app.topics import METER_DEFINITIONS
from app.usage import PeriodUsage, Regrouping, UsageRow
from app.verify import verify_names, verify_organization
from app.wire.arrivals import ADMIT_HEADER
from app.wire.events import Event
from app.wire.identity import event_id, same_body
from app.wire.raw import message_key
from app.wire.records import decode_record
from tables.fold import Arrival
from tables.presence import Presence, SubscriptionName
from tables.preview import Scope
from tables.reading import active_subscription, current_usage, past_usage

APPLY_TIMEOUT_S = 10.0
VERDICT_TIMEOUT_S = 0.5
REPORT_POLL_S = 0.05


class Gateway:
    """Answers for the partitions that this worker owns; everything else is `Unavailable`."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self.opened = False

    @property
    def definitions(self) -> Definitions:
        """The definitions log as applied here."""
        return self._engine.definitions

    def now_ms(self) -> int:
        """The clock, in ms since the epoch."""
        return self._engine.clock.now_ms()

    def not_ready(self) -> tuple[str, ...]:
        """Why this worker should get no traffic yet."""
        engine = self._engine
        if engine.failure is not None:
            return (f"the worker stops: {engine.failure}",)
        if engine.restoring:
            numbers = ", ".join(map(str, sorted(engine.restoring)))
            return (f"restoring partitions {numbers}",)
        return () if engine.assigned else ("no partitions assigned yet",)

    # Definitions

    async def define(self, command: Command) -> Applied | Rejected:
        """Append a command and wait until it is applied here."""
        engine = self._engine
        topic, value = engine.settings.topic(METER_DEFINITIONS), command.encode()
        if len(value) > MAX_COMMAND_BYTES:
            return too_large(MAX_COMMAND_BYTES)
        try:
            sent = await asyncio.wait_for(engine.append(topic, None, value, 0), APPLY_TIMEOUT_S)
            async with engine.shared.definitions_changed:
                await asyncio.wait_for(
                    engine.shared.definitions_changed.wait_for(
                        lambda: self.definitions.offset > sent.offset
                    ),
                    APPLY_TIMEOUT_S,
                )
        except TimeoutError as error:
            raise port.Unavailable("the definitions log does not answer") from error
        return engine.outcomes[sent.offset]

    # Who owns what

    def owner(self, organization_id: str, external_subscription_id: str) -> str | None:
        """Base URL of the owner; None: this worker."""
        return self._owner_of(self._engine.homes.of(organization_id, external_subscription_id))

    def peers(self) -> Sequence[str]:
        """Base URLs of the other workers that own partitions."""
        owners = map(self._owner_of, range(self._engine.settings.raw_partitions))
        return sorted({url for url in owners if url is not None})

    def _owner_of(self, number: int) -> str | None:
        """Base URL of a partition's owner; None: this worker."""
        engine = self._engine
        if number in engine.owned and number not in engine.restoring:
            return None
        progress = engine.progress.of(number)
        if number in engine.restoring or progress is None or progress.url == engine.url:
            raise port.Unavailable(f"partition {number} is changing hands")
        return progress.url

    def _owned(self, organization_id: str, external_subscription_id: str) -> OwnedPartition:
        engine = self._engine
        number = engine.homes.of(organization_id, external_subscription_id)
        owned = engine.owned.get(number)
        if owned is None or number in engine.restoring:
            raise port.Unavailable(f"partition {number} is changing hands")
        return owned

    def _all_owned(self) -> list[OwnedPartition]:
        """Every partition that is to be asked here.

        Raises Unavailable while one has no owner yet: others may believe that it is this worker.
        """
        self.peers()
        return list(self._engine.owned.values())

    def _check_same(self, parts: list[OwnedPartition]) -> None:
        """Raises Unavailable if others are to be asked here than at first.

        The other workers, which are asked now, would answer for some of them too, or for none.
        """
        if self._all_owned() != parts:
            raise port.Unavailable("partitions changed hands meanwhile")

    # Events

    async def check(
        self, organization_id: str, events: Sequence[port.IncomingEvent]
    ) -> list[port.Duplicate | port.Refused | None]:
        """What ingest would refuse of events at home here."""
        return [await self._check_one(organization_id, event) for event in events]

    async def _check_one(
        self, organization_id: str, incoming: port.IncomingEvent
    ) -> port.Duplicate | port.Refused | None:
        external_id = incoming.external_subscription_id
        owned = self._owned(organization_id, external_id)
        identity = event_id(organization_id, external_id, incoming.transaction_id)
        entry = owned.table.index.find(identity)
        if entry is None:
            return None
        known = await self._engine.find_raw(*entry[1:4])
        event = as_event(organization_id, incoming)
        identical = isinstance(known, Arrival) and same_body(known.event, event)
        return port.Duplicate("identical" if identical else "conflicting")

    async def ingest(
        self, organization_id: str, events: Sequence[port.IncomingEvent], partial: bool
    ) -> list[port.Verdict]:
        """Check, append as one record, wait for the fold's verdicts."""
        engine = self._engine
        homes = [engine.homes.of(organization_id, e.external_subscription_id) for e in events]
        objections: list[port.Duplicate | port.Refused | None] = [
            await self._check_one(organization_id, event) if home in engine.owned else None
            for event, home in zip(events, homes, strict=True)
        ]
        if any(objections) and not partial:
            return [objection or port.NotAppended() for objection in objections]
        kept = [i for i, objection in enumerate(objections) if objection is None]
        if not kept:
            return [objection or port.NotAppended() for objection in objections]
        first = kept[0]
        key = message_key(organization_id, events[first].external_subscription_id)
        value = record_value(organization_id, [events[i] for i in kept], self.now_ms())
        topic = engine.settings.topic(engine.settings.raw_topic)
        sent = await engine.append(topic, key, value, homes[first])
        position = port.Position(homes[first], sent.offset, sent.timestamp)
        folded = await self._raw_folded(homes[first], sent.offset, VERDICT_TIMEOUT_S)
        verdicts: list[port.Verdict] = [o or port.Pending(position) for o in objections]
        for index, i in enumerate(kept):
            if folded and homes[i] == homes[first]:
                verdicts[i] = self._verdict(homes[first], sent.offset, index, position)
        return verdicts

    async def correct(
        self, organization_id: str, external_subscription_id: str, value: bytes
    ) -> port.Position:
        """Append a correction at the home of its event."""
        engine = self._engine
        home = engine.homes.of(organization_id, external_subscription_id)
        key = message_key(organization_id, external_subscription_id)
        topic = engine.settings.topic(engine.settings.raw_topic)
        sent = await engine.append(topic, key, value, home)
        await self._raw_folded(home, sent.offset, VERDICT_TIMEOUT_S)
        return port.Position(home, sent.offset, sent.timestamp)

    def _verdict(
        self, number: int, offset: int, index: int, position: port.Position
    ) -> port.Verdict:
        owned = self._engine.owned.get(number)
        if owned is None:
            return port.Pending(position)
        verdict = owned.verdicts.get((offset, index))
        if verdict is None:
            return port.Accepted(position)
        if verdict.identical:
            return port.Duplicate("identical", position)
        if verdict.refusal is None or verdict.refusal == "conflicting_duplicate":
            return port.Duplicate("conflicting", position)
        return port.Refused(verdict.refusal, verdict.message, position)

    async def wait_for(
        self,
        organization_id: str,
        external_subscription_id: str,
        partition: int,
        offset: int,
        timeout_s: float,
    ) -> bool:
        """Wait until what a raw record holds of a subscription at home here is folded.

        A record on another partition is waited for until its owner reports it, as everything that
        it forwarded is acknowledged by then, and for the forwarded events that are there then.
        """
        owned = self._owned(organization_id, external_subscription_id)
        if owned.number == partition:
            return await self._raw_folded(partition, offset, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                while not self._is_reported(partition, offset):
                    await asyncio.sleep(REPORT_POLL_S)
                end = await self._engine.rekeyed_end(owned.number)
                async with owned.advanced:
                    await owned.advanced.wait_for(lambda: owned.table.record.rekeyed_next >= end)
        except TimeoutError:
            return False
        return True

    def _is_reported(self, partition: int, offset: int) -> bool:
        progress = self._engine.progress.of(partition)
        return progress is not None and progress.raw_next > offset

    async def _raw_folded(self, partition: int, offset: int, timeout_s: float) -> bool:
        """Wait until a raw partition owned here is folded through an offset, inclusive."""
        owned = self._engine.owned.get(partition)
        if owned is None:
            return False
        try:
            async with asyncio.timeout(timeout_s), owned.advanced:
                await owned.advanced.wait_for(lambda: owned.table.record.raw_next > offset)
        except TimeoutError:
            return False
        return True

    async def find_event(
        self, organization_id: str, transaction_id: str
    ) -> port.StoredEvent | None:
        """The first event with that id among those at home here."""
        found = []
        for owned in self._engine.owned.values():
            names = [n for n in owned.table.presence.codes if n[0] == organization_id]
            ids = [event_id(*name, transaction_id) for name in names]
            found += [e for e in owned.table.index.find_many(ids) if e is not None]
        if not found:
            self._all_owned()
            return None
        arrival = await self._engine.find_raw(*min(found)[1:4])
        return _stored(arrival) if isinstance(arrival, Arrival) else None

    async def list_events(
        self, organization_id: str, query: port.EventQuery, offset: int, limit: int
    ) -> port.EventPage:
        """Events at home here, read again from the log."""
        external_id = query.external_subscription_id
        if external_id is not None:
            parts = [self._owned(organization_id, external_id)]
        else:
            parts = self._all_owned()
        newest = First[port.StoredEvent](
            offset + limit, lambda event: (-event.timestamp_ms, event.transaction_id)
        )
        for owned in parts:
            await self._read_events(owned, organization_id, query, newest.add)
        if external_id is None:
            self._check_same(parts)
        return port.EventPage(tuple(newest.listed(offset)), newest.count)

    async def _read_events(
        self,
        owned: OwnedPartition,
        organization_id: str,
        query: port.EventQuery,
        take: Callable[[port.StoredEvent], None],
    ) -> None:
        entries = [
            entry
            for name, codes in owned.table.presence.codes.items()
            for code, entry in codes.items()
            if _asks_for(query, organization_id, name, code)
        ]
        if not entries:
            return
        async with self._engine.scan(owned) as scan:
            scan.start(owned.table.record, *_first_offsets(entries))
            async for arrivals in scan.read(owned.table.record, None):
                wanted = [a for a in arrivals if _matches(query, organization_id, a)]
                counting = owned.table.index.find_many([a.identity for a in wanted])
                for arrival, entry in zip(wanted, counting, strict=True):
                    if entry is not None and entry[1:5] == arrival[3:7]:
                        take(_stored(arrival))

    # Usage

    def current_usage(
        self, organization_id: str, external_subscription_id: str, at_ms: int
    ) -> PeriodUsage | None:
        """The period that holds `at_ms`."""
        owned = self._owned(organization_id, external_subscription_id)
        return current_usage(owned.table, (organization_id, external_subscription_id), at_ms)

    async def regrouped_usage(
        self, usage: PeriodUsage, wanted: Regrouping, at_ms: int
    ) -> PeriodUsage:
        """Current usage in other groups, or of some events only."""
        subscription = usage.subscription
        owned = self._owned(subscription.organization_id, subscription.external_id)
        return await regrouped_usage(owned, self._engine.scan, usage, wanted, at_ms)

    def past_usage(self, organization_id: str, external_subscription_id: str) -> list[PeriodUsage]:
        """Every period ended before now, newest first."""
        owned = self._owned(organization_id, external_subscription_id)
        name = (organization_id, external_subscription_id)
        return past_usage(owned.table, name, self.now_ms())

    # Proof

    async def explain(self, organization_id: str, query: ExplainQuery) -> Explanation | None:
        """How the figures of a metric in a period come about."""
        engine = self._engine
        owned = self._owned(organization_id, query.external_subscription_id)
        return await explain(owned, engine.scan, engine.find_raw, organization_id, query)

    async def trace(
        self, organization_id: str, transaction_id: str, external_subscription_id: str | None
    ) -> list[EventFate]:
        """What became of every arrival of an event id among those at home here."""
        engine = self._engine
        wanted: list[tuple[OwnedPartition, SubscriptionName]] = []
        if external_subscription_id is not None:
            parts = [self._owned(organization_id, external_subscription_id)]
            wanted += [(owned, (organization_id, external_subscription_id)) for owned in parts]
        else:
            parts = self._all_owned()
            for owned in parts:
                names = [n for n in owned.table.presence.codes if n[0] == organization_id]
                ids = [event_id(*name, transaction_id) for name in names]
                entries = owned.table.index.find_many(ids)
                wanted += [(owned, n) for n, e in zip(names, entries, strict=True) if e is not None]
        fates: list[EventFate] = []
        for owned, name in wanted:
            starts = await engine.log_starts(owned.number)
            fates += await trace(owned, engine.scan, engine.find_raw, name, transaction_id, starts)
        if external_subscription_id is None:
            self._check_same(parts)
        return fates

    async def series(self, organization_id: str, query: SeriesQuery) -> UsageSeries:
        """Usage of a metric over time."""
        owned = self._owned(organization_id, query.external_subscription_id)
        pair = (organization_id, query.external_subscription_id, query.metric_code)
        return await usage_series(owned, self._engine.scan, pair, query.windows, query.timezone)

    def verify(
        self, organization_id: str, external_subscription_id: str | None, repair: bool
    ) -> AsyncGenerator[VerifyReport, None]:
        """Compare live cells to the raw topic: of one subscription, or all that are owned here."""
        engine = self._engine
        if external_subscription_id is None:
            return verify_organization(
                engine.owned,
                engine.settings.raw_partitions,
                organization_id,
                engine.verified,
                repair=repair,
            )
        owned = self._owned(organization_id, external_subscription_id)
        names = [(organization_id, external_subscription_id)]
        return verify_names(owned, names, engine.scan, engine.verified, repair=repair)

    def preview(
        self, organization_id: str, changes: Sequence[Command], from_ms: int, to_ms: int
    ) -> AsyncGenerator[PreviewReport, None] | Rejected:
        """What changes would make of the usage on the partitions owned here."""
        now_ms = self.now_ms()
        branch = branch_with(self.definitions, organization_id, changes, from_ms, to_ms, now_ms)
        if isinstance(branch, Rejected):
            return branch
        return self._previewed(organization_id, branch, Scope(from_ms, to_ms, now_ms))

    async def _previewed(
        self, organization_id: str, branch: Branch, scope: Scope
    ) -> AsyncGenerator[PreviewReport, None]:
        engine = self._engine
        reports = preview_organization(
            engine.owned,
            engine.settings.raw_partitions,
            organization_id,
            branch,
            scope,
            engine.scan,
            engine.verified.one_at_a_time,
        )
        try:
            async with aclosing(reports):
                async for report in reports:
                    yield report
        except Overtaken as error:
            raise port.Unavailable(str(error)) from error

    # Operators

    def overview(self, query: port.OverviewQuery) -> port.Overview:
        """The live page's figures."""
        engine = self._engine
        views = [self._partition_view(n) for n in range(engine.settings.raw_partitions)]
        usage = self._usage_views(query)
        shown = nlargest(query.limit, usage, key=lambda view: (view.events_count, view.units))
        return port.Overview(
            now_ms=self.now_ms(),
            worker=engine.url,
            partitions=tuple(views),
            closing=tuple(
                port.ClosingView(
                    partition=owned.number, cut_ms=cut_ms, blocked_by=reason, since_ms=since_ms
                )
                for owned in engine.owned.values()
                if owned.blocked is not None
                for cut_ms, reason, since_ms in [owned.blocked]
            ),
            usage=tuple(shown),
            usage_total=len(usage),
            records=tuple(r for r in reversed(engine.latest_records) if _sees(query, r)),
            dead_letters=tuple(d for d in reversed(engine.dead_letters) if _sees(query, d)),
        )

    def _partition_view(self, number: int) -> port.PartitionView:
        engine = self._engine
        owned = engine.owned.get(number)
        if owned is None:
            progress = engine.progress.of(number)
            return port.PartitionView(
                partition=number,
                state="restoring" if number in engine.restoring else "elsewhere",
                owner=None if progress is None else progress.url,
                offset=0 if progress is None else progress.raw_next,
                lag=None,
            )
        observed = engine.observed.get(number)
        record = owned.table.record
        return port.PartitionView(
            partition=number,
            state="refolding" if owned.refold_since_ms is not None else "running",
            offset=record.raw_next,
            lag=0 if observed is None else observed.lag,
            rekeyed_lag=0 if observed is None else observed.rekeyed_lag,
            events_per_s=0.0 if observed is None else observed.events_per_s,
            append_time_ms=record.append_time_ms if record.append_time_ms >= 0 else None,
        )

    def _usage_views(self, query: port.OverviewQuery) -> list[port.UsageView]:
        """Lines of every subscription with events, until the search has looked at enough."""
        now_ms = self.now_ms()
        views: list[port.UsageView] = []
        for owned in self._engine.owned.values():
            for name in owned.table.presence.codes:
                if query.organization_id not in (None, name[0]):
                    continue
                if len(views) >= MAX_USAGE_LINES:
                    return views
                views += self._lines(owned, name, now_ms, query.search.casefold())
        return views

    def _lines(
        self, owned: OwnedPartition, name: SubscriptionName, now_ms: int, search: str
    ) -> list[port.UsageView]:
        running = active_subscription(owned.table, name, now_ms)
        if running is None:
            return []
        haystack = " ".join((*name, running.external_customer_id)).casefold()
        codes = [
            code
            for code in owned.table.presence.codes[name]
            if search in haystack or search in code.casefold()
        ]
        if not codes:
            return []
        usage = current_usage(owned.table, name, now_ms)
        if usage is None:
            return []
        lines: dict[str, list[UsageRow]] = {}
        charges = {c.charge.id: c for c in usage.charges}
        for row in usage.rows:
            lines.setdefault(row.charge_id, []).append(row)
        return [
            port.UsageView(
                organization_id=name[0],
                external_customer_id=usage.subscription.external_customer_id,
                external_subscription_id=name[1],
                billable_metric_code=charges[charge_id].metric.code,
                charge_code=charges[charge_id].charge.code,
                units=exact_sum(row.units for row in rows),
                events_count=sum(row.events_count for row in rows),
                from_ms=usage.from_ms,
                to_ms=usage.to_ms,
                implicit=usage.implicit,
            )
            for charge_id, rows in lines.items()
            if search in haystack or search in charges[charge_id].metric.code.casefold()
        ]

    async def replay(self, organization_id: str | None, partition: int, offset: int) -> bool:
        """Append a dead letter's value anew, admitted."""
        engine = self._engine
        if not 0 <= partition < engine.settings.raw_partitions or offset < 0:
            return False
        topic = engine.settings.topic(engine.settings.dead_letter_topic)
        record = await engine.raw_records.read(topic, partition, offset)
        if record is None:
            return False
        if organization_id is not None and organization_of(record.value) != organization_id:
            return False
        kept = [header for header in record.headers if not header[0].startswith("meter-")]
        headers = [*kept, (ADMIT_HEADER, b"true")]
        raw = engine.settings.topic(engine.settings.raw_topic)
        home = partition
        for _, decoded in decode_record(record.value, kept):
            if isinstance(decoded, Event):
                default = self.definitions.settings_at().default_organization_id
                owner = decoded.organization_id or default or ""
                home = engine.homes.of(owner, decoded.external_subscription_id)
        await engine.append(raw, record.key, record.value, home, headers)
        return True


MAX_USAGE_LINES = 5_000


def _sees(query: port.OverviewQuery, view: port.RecordView | port.DeadLetterView) -> bool:
    return query.organization_id is None or view.organization_id == query.organization_id


def _stored(arrival: Arrival) -> port.StoredEvent:
    event = arrival.event
    return port.StoredEvent(
        transaction_id=event.transaction_id,
        code=event.code,
        external_subscription_id=event.external_subscription_id,
        timestamp_ms=arrival.timestamp_ms,
        properties=event.properties,
        precise_total_amount_cents=event.precise_total_amount_cents,
        created_at_ms=arrival.append_time_ms,
    )


def _asks_for(
    query: port.EventQuery, organization_id: str, name: SubscriptionName, code: str
) -> bool:
    return (
        name[0] == organization_id
        and query.external_subscription_id in (None, name[1])
        and query.code in (None, code)
    )


def _matches(query: port.EventQuery, organization_id: str, arrival: Arrival) -> bool:
    name = arrival.name
    since_ms, until_ms = query.timestamp_from_ms, query.timestamp_to_ms
    return (
        _asks_for(query, organization_id, name, arrival.event.code)
        and (since_ms is None or arrival.timestamp_ms >= since_ms)
        and (until_ms is None or arrival.timestamp_ms <= until_ms)
    )


def _first_offsets(entries: list[Presence]) -> tuple[int | None, int | None]:
    raw = [entry.raw_first for entry in entries if entry.raw_first >= 0]
    rekeyed = [entry.rekeyed_first for entry in entries if entry.rekeyed_first >= 0]
    return min(raw, default=None), min(rekeyed, default=None)
