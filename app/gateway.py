"""The engine as the API sees it: implements `app.meter.interface.Meter`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

import msgspec
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from app.believed import append_believed
from app.clients import NOT_TAKEN
from app.definitions import commands
from app.definitions.branch import Branch, branch_with
from app.definitions.commands import MAX_COMMAND_BYTES, Command, UnreadableCommand
from app.definitions.decision import Decision
from app.definitions.judging import Judging
from app.definitions.model import SetAside
from app.definitions.outcome import Applied, Rejected, Touch, cannot_be_applied, too_large
from app.definitions.quotas import Counted, counted_as, elapsed_charges, over_quota
from app.definitions.sizes import outgrown, oversized
from app.definitions.state import Definitions
from app.explain import (
    First,
    explain,
    regrouped_usage,
    trace,
    usage_series,
)
from app.limits import LISTED_CHANGES
from app.log import facts
from app.meter.changes import DefinitionChange
from app.meter.errors import BeyondRetention, TooOften, Unavailable
from app.meter.events import (
    Accepted,
    Duplicate,
    EventPage,
    EventQuery,
    IncomingEvent,
    ListedEvent,
    NotAppended,
    Pending,
    Position,
    Refused,
    StoredEvent,
    Verdict,
)
from app.meter.evidence import (
    EventFate,
    ExplainQuery,
    Explanation,
    PreviewReport,
    SeriesQuery,
    Uncounted,
    UsageSeries,
    VerifyReport,
)
from app.meter.health import UNREADY, Reason
from app.meter.overview import (
    ClosingView,
    DeadLetterView,
    Overview,
    OverviewQuery,
    PartitionView,
    RecordView,
)
from app.meter.usage import PeriodUsage, Regrouping
from app.overview import UsageLines
from app.owned import OwnedPartition
from app.preview import Overtaken, preview_organization
from app.runtime.dead_letters import organization_of
from app.runtime.engine import Engine
from app.runtime.scans import Turn
from app.set_aside import append_again, set_aside
from app.topics import METER_DEFINITIONS
from app.turns import STEP_ITEMS, Steps, Work
from app.verify import verify_names, verify_organization
from app.wire.arrivals import ADMIT_HEADER, arrivals_of
from app.wire.encode import as_event, record_value
from app.wire.events import Event
from app.wire.identity import event_id, same_body
from app.wire.raw import message_key
from app.wire.records import decode_record
from app.wire.refusals import RefusalCode
from tables.corrections import CorrectionArrival
from tables.dedupe import Entry
from tables.fold import Arrival
from tables.presence import Presence, SubscriptionName, first_offsets
from tables.preview import Scope
from tables.reading import (
    PastPeriod,
    current_usage_steps,
    past_periods,
    past_usage_steps,
)
from tables.retained import needs_deleted
from tables.stores.changelog import Fenced, LogRecord

log = logging.getLogger(__name__)

APPLY_TIMEOUT_S = 10.0
VERDICT_TIMEOUT_S = 0.5
REPORT_POLL_S = 0.05
_BRANCHED_AGAIN = 3


class Gateway:
    """Answers for the partitions that this worker owns; everything else is `Unavailable`."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._lines = UsageLines(engine.shared.turns)
        self._append_believed = partial(
            append_believed, engine.settings, engine.definitions, engine.append
        )
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
        return tuple(reason.message for reason in self.health() if reason.code in UNREADY)

    def health(self) -> list[Reason]:
        """Everything that is not as it should be."""
        return self._engine.reasons()

    # Definitions

    async def define(self, command: Command) -> Applied | Rejected:
        """Append a command and wait until it is applied here.

        What is refused, or changes nothing, is answered without being appended: once it is certain,
        for the log may hold what this worker has not applied yet.

        Raises:
            TooOften: a quota by the minute or by the day is used up.
            BeyondRetention: events that it sends elsewhere are deleted, as far as is known here.
        """
        work = Work("request", "define", command.organization_id)
        encoded = await self._engine.shared.turns.run(work, _encoding(command))
        if isinstance(encoded, Rejected):
            return encoded
        command, value = encoded
        decision = await self._decided(command)
        if isinstance(decision, Rejected) or not decision.changes:
            await self._definitions_read()
            decision = await self._decided(command)
        if isinstance(decision, Rejected):
            return decision
        if not decision.changes:
            return Applied(command.type, decision.object, None)
        refused = await self._over_quota(command, decision)
        if refused is not None:
            return refused
        if decision.touch is not None:
            await self._require_retained(command, decision.touch)
        outcome = await self._appended(command, value)
        if isinstance(outcome, Applied):
            named, key = _object_of(command) or command.organization_id, command.changed_by or ""
            log.info(
                "Definition: %s %s",
                command.type,
                named,
                extra=facts("definition", key=key, what=command.type, object=named),
            )
        return outcome

    async def _require_retained(self, command: Command, touch: Touch) -> None:
        """Raises BeyondRetention when partitions that are here lack events that it needs."""
        engine = self._engine
        work = Work("request", "define", command.organization_id)

        def after() -> Steps[Definitions]:
            for _ in range(_BRANCHED_AGAIN):
                known = self.definitions.records_applied
                branch = self.definitions.branch()
                applying = branch.applying(command.encode(), self.now_ms(), branch.offset)
                for _ in applying:
                    yield
                    if self.definitions.records_applied != known:
                        # It looks at what it branched from, which is another by now.
                        break
                else:
                    return branch
            raise Unavailable("the definitions change all the time")

        if engine.brokers.away_since_s is not None:
            raise Unavailable("Kafka does not answer")
        owned = dict(engine.owned)
        try:
            starts = await engine.offsets.log_starts_of(owned) if owned else {}
        except NOT_TAKEN as error:
            raise Unavailable("the raw topic does not answer") from error
        for number, begin in starts.items():
            if any(begin):
                needed = needs_deleted(owned[number].table, touch, after, begin)
                if await engine.shared.turns.run(work, needed):
                    raise BeyondRetention("events that the definition needs are deleted")

    async def _decided(self, command: Command) -> Decision | Rejected:
        """What it would come to; it is only tried, in a turn of its own."""
        work = Work("request", "define", command.organization_id)
        return await self._engine.shared.turns.run(work, self._deciding(command))

    def _deciding(self, command: Command) -> Steps[Decision | Rejected]:
        yield
        return (yield from self.definitions.deciding(command, self.now_ms()))

    async def _over_quota(self, command: Command, decision: Decision) -> Rejected | None:
        organization_id = command.organization_id
        work = Work("request", "define", organization_id)
        counting = self._counting(command, decision)
        refused, elapsed = await self._engine.shared.turns.run(work, counting)
        if refused is not None:
            return refused
        self._take(organization_id, counted_as(command.type))
        self._take(organization_id, "elapsed", elapsed)
        return None

    def _counting(self, command: Command, decision: Decision) -> Steps[tuple[Rejected | None, int]]:
        """Why it is refused, and the elapsed periods that it takes."""
        definitions, quotas = self.definitions, self._engine.settings.quotas
        elapsed = yield from elapsed_charges(definitions, decision, self.now_ms())
        refused = outgrown(command, decision)
        if refused is None:
            refused = yield from over_quota(definitions, decision, elapsed, quotas)
        return refused, elapsed

    def _take(self, organization_id: str, counted: Counted | None, amount: int = 1) -> None:
        if counted is None:
            return
        engine = self._engine
        most = engine.settings.quotas.most(counted)
        wait_s = engine.taken.take(organization_id, counted, most, self.now_ms(), amount)
        if wait_s:
            raise TooOften(wait_s)

    async def _definitions_read(self) -> None:
        """Apply the definitions log to the end that it has now."""
        shared = self._engine.shared
        try:
            async with asyncio.timeout(APPLY_TIMEOUT_S):
                await shared.followed.caught_up()
        except (TimeoutError, KafkaError) as error:
            raise Unavailable("the definitions log does not answer") from error

    async def _appended(self, command: Command, value: bytes) -> Applied | Rejected:
        engine = self._engine
        topic = engine.settings.topic(METER_DEFINITIONS)
        outcome: asyncio.Future[Applied | Rejected] = asyncio.get_running_loop().create_future()
        engine.followed.awaited[value] = outcome
        try:
            await asyncio.wait_for(engine.append(topic, None, value, 0), APPLY_TIMEOUT_S)
            return await asyncio.wait_for(outcome, APPLY_TIMEOUT_S)
        except TimeoutError as error:
            raise Unavailable("the definitions log does not answer") from error
        finally:
            engine.followed.awaited.pop(value, None)

    async def definition_changes(
        self, organization_id: str | None, since: int
    ) -> tuple[list[DefinitionChange], int]:
        """Read from the log when it is asked for: nothing of it is kept for this."""
        engine = self._engine
        offsets = self.definitions.record_offsets(since, LISTED_CHANGES)
        topic = engine.settings.topic(METER_DEFINITIONS)
        records = await engine.raw_records.read_many(topic, 0, offsets)
        found = [_change(offset, record) for offset, record in sorted(records.items())]
        listed = [
            each
            for each in found
            if each is not None and organization_id in (None, each.organization_id)
        ]
        return listed, offsets[-1] + 1 if offsets else since

    # What no fold looks at

    async def set_aside(
        self, partition: int, first: int, after: int, reason: str
    ) -> list[SetAside]:
        """Append set_aside records under the fence of the partition, and wait for them here."""
        engine = self._engine
        settings = engine.settings
        try:
            made = await set_aside(
                settings,
                self.definitions,
                partition,
                first,
                after,
                code=RefusalCode.SET_ASIDE,
                message=reason,
                timestamp_ms=self.now_ms() if settings.test_clock else None,
            )
        except (KafkaError, Fenced) as error:
            raise Unavailable(f"partition {partition} is not to be had: {error}") from error
        asides = self.definitions.set_asides
        try:
            async with engine.followed.changed:
                await asyncio.wait_for(
                    engine.followed.changed.wait_for(
                        lambda: all(asides.find(command.id) is not None for command in made)
                    ),
                    APPLY_TIMEOUT_S,
                )
        except TimeoutError as error:
            raise Unavailable("the definitions log does not answer") from error
        return [one for one in asides.listed() if one.id in {command.id for command in made}]

    async def lift(self, one: SetAside) -> int:
        """Append what is set aside anew, then take it off the list."""
        engine = self._engine
        appended = await append_again(engine.settings, self.definitions, one, engine.append)
        await self.define(commands.lift(one.id))
        return appended

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
            raise Unavailable(f"partition {number} is changing hands")
        return progress.url

    def _owned(self, organization_id: str, external_subscription_id: str) -> OwnedPartition:
        engine = self._engine
        number = engine.homes.of(organization_id, external_subscription_id)
        owned = engine.owned.get(number)
        if owned is None or number in engine.restoring:
            raise Unavailable(f"partition {number} is changing hands")
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
            raise Unavailable("partitions changed hands meanwhile")

    # Events

    async def check(
        self, organization_id: str, events: Sequence[IncomingEvent]
    ) -> list[Duplicate | Refused | None]:
        """What ingest would refuse of events at home here."""
        return [await self._check_one(organization_id, event) for event in events]

    async def _check_one(
        self, organization_id: str, incoming: IncomingEvent
    ) -> Duplicate | Refused | None:
        external_id = incoming.external_subscription_id
        owned = self._owned(organization_id, external_id)
        identity = event_id(organization_id, external_id, incoming.transaction_id)
        entry = owned.table.index.find(identity)
        if entry is None:
            return None
        known = await self._engine.raw_lookup.find(*entry[1:4])
        event = as_event(organization_id, incoming)
        identical = isinstance(known, Arrival) and same_body(known.event, event)
        return Duplicate("identical" if identical else "conflicting")

    async def ingest(
        self, organization_id: str, events: Sequence[IncomingEvent], partial: bool
    ) -> list[Verdict]:
        """Check, append as one record, wait for the fold's verdicts."""
        engine = self._engine
        homes = [engine.homes.of(organization_id, e.external_subscription_id) for e in events]
        objections: list[Duplicate | Refused | None] = [
            await self._check_one(organization_id, event) if home in engine.owned else None
            for event, home in zip(events, homes, strict=True)
        ]
        if any(objections) and not partial:
            return [objection or NotAppended() for objection in objections]
        kept = [i for i, objection in enumerate(objections) if objection is None]
        if not kept:
            return [objection or NotAppended() for objection in objections]
        first = kept[0]
        key = message_key(organization_id, events[first].external_subscription_id)
        value = record_value(organization_id, [events[i] for i in kept], self.now_ms())
        sent = await self._append_believed(organization_id, key, value, homes[first])
        position = Position(homes[first], sent.offset, sent.timestamp)
        folded = await self._raw_folded(homes[first], sent.offset, VERDICT_TIMEOUT_S)
        verdicts: list[Verdict] = [o or Pending(position) for o in objections]
        for index, i in enumerate(kept):
            if folded and homes[i] == homes[first]:
                verdicts[i] = self._verdict(homes[first], sent.offset, index, position)
        return verdicts

    async def correct(
        self, organization_id: str, external_subscription_id: str, value: bytes, by: str | None
    ) -> Position:
        """Append a correction at the home of its event.

        Raises:
            TooOften: the organization has sent its corrections of this minute.
        """
        engine = self._engine
        self._take(organization_id, "corrections")
        home = engine.homes.of(organization_id, external_subscription_id)
        owned = engine.owned.get(home)
        if owned is not None:
            await self._require_events(owned, organization_id, value)
        key = message_key(organization_id, external_subscription_id)
        sent = await self._append_believed(organization_id, key, value, home, granted_by=by)
        await self._raw_folded(home, sent.offset, VERDICT_TIMEOUT_S)
        return Position(home, sent.offset, sent.timestamp)

    async def _require_events(
        self, owned: OwnedPartition, organization_id: str, value: bytes
    ) -> None:
        """Raises BeyondRetention when a correction needs events that are deleted."""
        judging = Judging(organization_id)
        for each in arrivals_of(value, (), self.now_ms(), owned.number, 0, judging):
            if isinstance(each, CorrectionArrival) and await owned.reads_beyond_retention(each):
                raise BeyondRetention("events that the correction needs are deleted")

    def _verdict(self, number: int, offset: int, index: int, position: Position) -> Verdict:
        owned = self._engine.owned.get(number)
        if owned is None:
            return Pending(position)
        verdict = owned.verdicts.get((offset, index))
        if verdict is None:
            return Accepted(position)
        if verdict.identical:
            return Duplicate("identical", position)
        if verdict.refusal is None or verdict.refusal == "conflicting_duplicate":
            return Duplicate("conflicting", position)
        return Refused(verdict.refusal, verdict.message, position)

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
                end = await self._engine.offsets.rekeyed_end(owned.number)
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

    async def find_event(self, organization_id: str, transaction_id: str) -> StoredEvent | None:
        """The first event with that id among those at home here."""
        async with self._engine.scans.place("event", organization_id) as turn:
            found = [
                entry
                for owned in list(self._engine.owned.values())
                for entry, _ in await turn.run(_entries(owned, organization_id, transaction_id))
            ]
            if not found:
                self._all_owned()
                return None
            arrival = await self._engine.raw_lookup.find(*min(found)[1:4])
            return _stored(arrival) if isinstance(arrival, Arrival) else None

    async def not_counted(
        self, organization_id: str, reason: str | None, code: str | None
    ) -> list[Uncounted]:
        """Of the partitions here, since this worker has them."""
        self._all_owned()
        work = Work("request", "not counted", organization_id)
        steps = _uncounted(list(self._engine.owned.values()), organization_id)
        return [
            one
            for one in await self._engine.shared.turns.run(work, steps)
            if reason in (None, one.reason) and code in (None, one.code)
        ]

    async def list_events(
        self, organization_id: str, query: EventQuery, offset: int, limit: int
    ) -> EventPage:
        """Which events at home here are listed, as the log has them."""
        external_id = query.external_subscription_id
        if external_id is not None:
            parts = [self._owned(organization_id, external_id)]
        else:
            parts = self._all_owned()
        newest = First[ListedEvent](offset + limit)
        async with self._engine.scans.place("events", organization_id, external_id or "") as turn:
            for owned in parts:
                await self._list_events(owned, organization_id, query, newest, turn)
            if external_id is None:
                self._check_same(parts)
            return EventPage(await turn.run(newest.listed(offset)), newest.count)

    async def _list_events(
        self,
        owned: OwnedPartition,
        organization_id: str,
        query: EventQuery,
        newest: First[ListedEvent],
        turn: Turn,
    ) -> None:
        raw_first, rekeyed_first = await turn.run(_first_listed(owned, organization_id, query))
        if raw_first is None and rekeyed_first is None:
            return

        def show(arrivals: Sequence[Arrival]) -> Steps[None]:
            for start in range(0, len(arrivals), STEP_ITEMS):
                part = arrivals[start : start + STEP_ITEMS]
                wanted = [a for a in part if _matches(query, organization_id, a)]
                counting = owned.table.index.find_many([a.identity for a in wanted])
                for arrival, entry in zip(wanted, counting, strict=True):
                    if entry is not None and entry[1:5] == arrival.place:
                        yield from newest.add(_listed(arrival))
                yield

        # As far as the live fold was then: there may be no end of what comes meanwhile.
        record = msgspec.structs.replace(owned.table.record)
        async with self._engine.scan(owned) as scan:
            if query.external_subscription_id is not None:
                scan.seek_only([(organization_id, query.external_subscription_id)])
            scan.start(record, raw_first, rekeyed_first)
            async for arrivals in scan.read(record, turn):
                await turn.run(show(arrivals))

    async def read_events(
        self, events: Sequence[ListedEvent]
    ) -> AsyncGenerator[Sequence[StoredEvent], None]:
        """Listed events, some at a time: of a page all may be of the greatest size."""
        for start in range(0, len(events), STEP_ITEMS):
            part = events[start : start + STEP_ITEMS]
            found = await self._engine.raw_lookup.find_many([event[2:5] for event in part])
            stored = []
            for event in part:
                arrival = found.get(event[2:5])
                if not isinstance(arrival, Arrival):
                    raise BeyondRetention(f"no offset {event.offset} in {event.partition}")
                stored.append(_stored(replace(arrival, append_time_ms=event.append_time_ms)))
            yield stored

    # Usage

    async def current_usage(
        self, organization_id: str, external_subscription_id: str, at_ms: int
    ) -> PeriodUsage | None:
        """The period that holds `at_ms`."""
        owned = self._owned(organization_id, external_subscription_id)
        name = (organization_id, external_subscription_id)
        work = Work("request", "current_usage", *name)
        steps = current_usage_steps(owned.table, name, at_ms)
        return await self._engine.shared.turns.run(work, steps)

    async def regrouped_usage(
        self, usage: PeriodUsage, wanted: Regrouping, at_ms: int
    ) -> PeriodUsage:
        """Current usage in other groups, or of some events only."""
        subscription = usage.subscription
        name = (subscription.organization_id, subscription.external_id)
        owned = self._owned(*name)
        async with self._engine.scans.place("regrouped usage", *name) as turn:
            return await regrouped_usage(owned, self._engine.scan, turn, usage, wanted, at_ms)

    def past_periods(
        self, organization_id: str, external_subscription_id: str, external_customer_id: str
    ) -> list[PastPeriod]:
        """Every period of a customer's subscription that ended before now, newest first."""
        owned = self._owned(organization_id, external_subscription_id)
        name = (organization_id, external_subscription_id)
        return [
            period
            for period in past_periods(owned.table, name, self.now_ms())
            if period.subscription.external_customer_id == external_customer_id
        ]

    async def period_usage(
        self, organization_id: str, external_subscription_id: str, period: PastPeriod
    ) -> PeriodUsage:
        """Usage of one of them."""
        owned = self._owned(organization_id, external_subscription_id)
        name = (organization_id, external_subscription_id)
        work = Work("request", "past_usage", *name)
        steps = past_usage_steps(owned.table, name, period)
        return await self._engine.shared.turns.run(work, steps)

    # Proof

    async def explain(self, organization_id: str, query: ExplainQuery) -> Explanation | None:
        """How the figures of a metric in a period come about."""
        engine = self._engine
        external_id = query.external_subscription_id
        owned = self._owned(organization_id, external_id)
        async with engine.scans.place("explain", organization_id, external_id) as turn:
            return await explain(
                owned, engine.scan, engine.raw_lookup.find, turn, organization_id, query
            )

    async def trace(
        self, organization_id: str, transaction_id: str, external_subscription_id: str | None
    ) -> list[EventFate]:
        """What became of every arrival of an event id among those at home here."""
        engine = self._engine
        wanted: list[tuple[OwnedPartition, SubscriptionName]] = []
        fates: list[EventFate] = []
        async with engine.scans.place(
            "trace", organization_id, external_subscription_id or ""
        ) as turn:
            if external_subscription_id is not None:
                parts = [self._owned(organization_id, external_subscription_id)]
                wanted += [(owned, (organization_id, external_subscription_id)) for owned in parts]
            else:
                parts = self._all_owned()
                for owned in parts:
                    known = await turn.run(_entries(owned, organization_id, transaction_id))
                    wanted += [(owned, name) for _, name in known]
            for owned, name in wanted:
                starts = await engine.offsets.log_starts(owned.number)
                fates += await trace(
                    owned, engine.scan, engine.raw_lookup.find, turn, name, transaction_id, starts
                )
        if external_subscription_id is None:
            self._check_same(parts)
        return fates

    async def series(self, organization_id: str, query: SeriesQuery) -> UsageSeries:
        """Usage of a metric over time."""
        owned = self._owned(organization_id, query.external_subscription_id)
        pair = (organization_id, query.external_subscription_id, query.metric_code)
        async with self._engine.scans.place("series", *pair[:2]) as turn:
            return await usage_series(
                owned, self._engine.scan, turn, pair, query.windows, query.timezone
            )

    def verify(
        self, organization_id: str, external_subscription_id: str | None, repair: bool
    ) -> AsyncGenerator[VerifyReport, None]:
        """Compare live cells to the raw topic: of one subscription, or all that are owned here."""
        self._engine.scans.check(organization_id)
        return self._verified(organization_id, external_subscription_id, repair)

    async def _verified(
        self, organization_id: str, external_subscription_id: str | None, repair: bool
    ) -> AsyncGenerator[VerifyReport, None]:
        engine = self._engine
        external_id = external_subscription_id
        async with engine.scans.place(
            "verify", organization_id, external_id or "", endless=True
        ) as turn:
            if external_id is None:
                reports = verify_organization(
                    engine.owned,
                    engine.settings.raw_partitions,
                    organization_id,
                    engine.status.verified,
                    turn,
                    repair=repair,
                )
            else:
                owned = self._owned(organization_id, external_id)
                names = [(organization_id, external_id)]
                reports = verify_names(
                    owned, names, engine.scan, engine.status.verified, turn, repair=repair
                )
            async with aclosing(reports):
                async for report in reports:
                    yield report

    def preview(
        self, organization_id: str, changes: Sequence[Command], from_ms: int, to_ms: int
    ) -> AsyncGenerator[PreviewReport, None] | Rejected:
        """What changes would make of the usage on the partitions owned here."""
        for refused in map(oversized, changes):
            if refused is not None:
                return refused
        now_ms = self.now_ms()
        branch = branch_with(self.definitions, organization_id, changes, from_ms, to_ms, now_ms)
        if isinstance(branch, Rejected):
            return branch
        self._engine.scans.check(organization_id)
        return self._previewed(organization_id, branch, Scope(from_ms, to_ms, now_ms))

    async def _previewed(
        self, organization_id: str, branch: Branch, scope: Scope
    ) -> AsyncGenerator[PreviewReport, None]:
        engine = self._engine
        async with engine.scans.place("preview", organization_id, endless=True) as turn:
            reports = preview_organization(
                engine.owned,
                engine.settings.raw_partitions,
                organization_id,
                branch,
                scope,
                engine.scan,
                turn,
            )
            try:
                async with aclosing(reports):
                    async for report in reports:
                        yield report
            except Overtaken as error:
                raise Unavailable(str(error)) from error

    # Operators

    async def overview(self, query: OverviewQuery) -> Overview:
        """The live page's figures."""
        engine = self._engine
        views = [self._partition_view(n) for n in range(engine.settings.raw_partitions)]
        work = Work("page", "overview", query.organization_id or "")
        steps = self._lines.shown(dict(engine.owned), query, self.now_ms())
        usage, total = await engine.shared.turns.run(work, steps)
        return Overview(
            now_ms=self.now_ms(),
            worker=engine.url,
            partitions=tuple(views),
            closing=tuple(
                ClosingView(
                    partition=owned.number, cut_ms=cut_ms, blocked_by=reason, since_ms=since_ms
                )
                for owned in engine.owned.values()
                if owned.blocked is not None
                for cut_ms, reason, since_ms, _ in [owned.blocked]
            ),
            usage=tuple(usage),
            usage_total=total,
            health=tuple(self.health()),
            records=tuple(r for r in reversed(engine.status.latest_records) if _sees(query, r)),
            set_aside=self.definitions.set_asides.counts.total(),
            parked=engine.parked_subscriptions,
            dead_letters=tuple(d for d in reversed(engine.status.dead_letters) if _sees(query, d)),
        )

    def _partition_view(self, number: int) -> PartitionView:
        engine = self._engine
        owned = engine.owned.get(number)
        if owned is None:
            progress = engine.progress.of(number)
            return PartitionView(
                partition=number,
                state="restoring" if number in engine.restoring else "elsewhere",
                owner=None if progress is None else progress.url,
                offset=0 if progress is None else progress.raw_next,
                lag=None,
            )
        observed = engine.status.observed.get(number)
        record = owned.table.record
        return PartitionView(
            partition=number,
            state="refolding" if owned.refold_since_ms is not None else "running",
            offset=record.raw_next,
            lag=0 if observed is None else observed.lag,
            rekeyed_lag=0 if observed is None else observed.rekeyed_lag,
            events_per_s=0.0 if observed is None else observed.events_per_s,
            append_time_ms=record.append_time_ms if record.append_time_ms >= 0 else None,
        )

    async def replay(
        self, organization_id: str | None, partition: int, offset: int, by: str | None
    ) -> bool:
        """Append a dead letter's value anew, admitted."""
        engine = self._engine
        if not 0 <= partition < engine.settings.raw_partitions or offset < 0:
            return False
        topic = engine.settings.topic(engine.settings.dead_letter_topic)
        record = await engine.raw_records.read(topic, partition, offset)
        if record is None:
            return False
        whose = organization_of(record)
        if organization_id not in (None, whose):
            return False
        kept = [header for header in record.headers if not header[0].startswith("meter-")]
        headers = [*kept, (ADMIT_HEADER, b"true")]
        home = partition
        for _, decoded in decode_record(record.value, kept):
            if isinstance(decoded, Event):
                default = self.definitions.settings_at().default_organization_id
                owner = decoded.organization_id or default or ""
                home = engine.homes.of(owner, decoded.external_subscription_id)
        await self._append_believed(whose, record.key, record.value, home, headers, granted_by=by)
        return True


def _sees(query: OverviewQuery, view: RecordView | DeadLetterView) -> bool:
    return query.organization_id is None or view.organization_id == query.organization_id


def _change(offset: int, record: LogRecord) -> DefinitionChange | None:
    try:
        command = Command.decode(record.value or b"")
    except UnreadableCommand:
        return None
    return DefinitionChange(
        offset=offset,
        append_time_ms=record.timestamp_ms,
        organization_id=command.organization_id,
        type=command.type,
        object=_object_of(command),
        changed_by=command.changed_by,
    )


def _object_of(command: Command) -> str | None:
    """The code or external id of what a command is about."""
    bodies = (command.payload, *command.payload.values())
    names = (
        body[key]
        for body in bodies
        if isinstance(body, dict)
        for key in ("code", "external_id")
        if isinstance(body.get(key), str)
    )
    return next(names, None)


def _stored(arrival: Arrival) -> StoredEvent:
    event = arrival.event
    return StoredEvent(
        transaction_id=event.transaction_id,
        code=event.code,
        external_subscription_id=event.external_subscription_id,
        timestamp_ms=arrival.timestamp_ms,
        properties=event.properties,
        precise_total_amount_cents=event.precise_total_amount_cents,
        created_at_ms=arrival.append_time_ms,
    )


def _asks_for(query: EventQuery, organization_id: str, name: SubscriptionName, code: str) -> bool:
    return (
        name[0] == organization_id
        and query.external_subscription_id in (None, name[1])
        and query.code in (None, code)
    )


def _matches(query: EventQuery, organization_id: str, arrival: Arrival) -> bool:
    name = arrival.name
    since_ms, until_ms = query.timestamp_from_ms, query.timestamp_to_ms
    return (
        _asks_for(query, organization_id, name, arrival.event.code)
        and (since_ms is None or arrival.timestamp_ms >= since_ms)
        and (until_ms is None or arrival.timestamp_ms <= until_ms)
    )


def _listed(arrival: Arrival) -> ListedEvent:
    return ListedEvent(
        -arrival.timestamp_ms,
        arrival.event.transaction_id,
        arrival.raw_partition,
        arrival.raw_offset,
        arrival.array_index,
        arrival.append_time_ms,
    )


def _first_listed(
    owned: OwnedPartition, organization_id: str, query: EventQuery
) -> Steps[tuple[int | None, int | None]]:
    """Where the first events of a listing may lie, on raw and on rekeyed."""
    found = Presence()
    codes = owned.table.presence.codes
    if query.external_subscription_id is not None:
        name = (organization_id, query.external_subscription_id)
        names = [name] if name in codes else []
    else:
        names = list(codes)
    for start in range(0, len(names), STEP_ITEMS):
        for name in names[start : start + STEP_ITEMS]:
            for code, entry in codes.get(name, {}).items():
                if _asks_for(query, organization_id, name, code):
                    found.cover(entry)
        yield
    if owned.table.presence.rest is not None:
        found.cover(owned.table.presence.rest)
    return first_offsets([found])


def _uncounted(
    partitions: Sequence[OwnedPartition], organization_id: str
) -> Steps[list[Uncounted]]:
    found: list[Uncounted] = []
    for owned in partitions:
        for number, one in enumerate(owned.table.not_counted.of(organization_id), 1):
            if one is not None:
                found.append(one)
            if number % STEP_ITEMS == 0:
                yield
    return found


def _entries(
    owned: OwnedPartition, organization_id: str, transaction_id: str
) -> Steps[list[tuple[Entry, SubscriptionName]]]:
    """What the index has of an event id, of whatever subscription of an organization."""
    table, found = owned.table, list[tuple[Entry, SubscriptionName]]()
    names = list(table.presence.codes)
    for start in range(0, len(names), STEP_ITEMS):
        some = [name for name in names[start : start + STEP_ITEMS] if name[0] == organization_id]
        entries = table.index.find_many([event_id(*name, transaction_id) for name in some])
        found += [(e, n) for e, n in zip(entries, some, strict=True) if e is not None]
        yield
    return found


def _encoding(command: Command) -> Steps[tuple[Command, bytes] | Rejected]:
    """A command as every worker will read it, and as it is appended; or why it is not."""
    yield
    value = command.encode()
    if len(value) > MAX_COMMAND_BYTES:
        return too_large(MAX_COMMAND_BYTES)
    yield
    try:
        command = Command.decode(value)
    except UnreadableCommand:
        return cannot_be_applied()
    yield
    return oversized(command) or (command, value)
