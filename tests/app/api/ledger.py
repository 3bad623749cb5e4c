"""A small real engine behind the API: definitions and events in memory, counts and sums.

It has over 500 lines: one object answers for all protocols of `app/meter/interface.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from decimal import Decimal
from typing import ClassVar

import msgspec

from app.definitions import commands
from app.definitions.charge_terms import refused_terms
from app.definitions.command import Command
from app.definitions.log import apply, decide
from app.definitions.model import Charge, ChargeFilter, Metric, SetAside, Subscription
from app.definitions.outcome import Applied, Rejected
from app.definitions.periods import Period
from app.definitions.state import Definitions
from app.definitions.terms import subscription_timeline
from app.definitions.timeline import Timeline
from app.meter.changes import DefinitionChange
from app.meter.errors import Unavailable
from app.meter.events import (
    Accepted,
    Duplicate,
    EventQuery,
    ListedEvent,
    NotAppended,
    RawPosition,
    Refused,
    StoredEvent,
    Verdict,
)
from app.meter.evidence import (
    ChargeUsageSeries,
    EventFate,
    ExplainQuery,
    Explanation,
    KnownEvent,
    Place,
    PreviewReport,
    SeriesQuery,
    Uncounted,
    UsageSeries,
    VerifyReport,
    WindowUsage,
)
from app.meter.health import Reason
from app.meter.listing import Listed
from app.meter.overview import (
    ClosingView,
    DeadLetter,
    DeadLetterPage,
    DeadLetterQuery,
    DeadLetterView,
    Overview,
    OverviewQuery,
    PartitionView,
    RecordView,
    Replayed,
    UsageView,
    WorkerView,
)
from app.meter.usage import (
    OPEN,
    AnalyticsQuery,
    AnalyticsRow,
    AsOf,
    ChargeInForce,
    EstimatedFee,
    EvaluatedAlert,
    PastPeriod,
    PeriodUsage,
    Publication,
    Regrouping,
    UsageRow,
)
from app.numbers import parse_value, property_text
from app.wire.decode import decode_record
from app.wire.encode import IncomingEvent, as_event
from app.wire.events import Event
from app.wire.identity import same_body
from app.wire.properties import read_properties
from tests.app.api.published import PublishedValues
from tests.world.definitions_log import refusal

ORGANIZATION = "00000000-0000-4000-8000-00000000000a"
OTHER_ORGANIZATION = "00000000-0000-4000-8000-00000000000b"


class Clock:
    """Any number of meters share its time."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms


class LedgerMeter:
    """`app.meter.interface.Meter` without a log: what is appended is applied at once.

    `elsewhere` maps subscriptions to the base URL of another meter, as another worker would be.
    """

    log: ClassVar[list[StoredEvent]] = []
    """What was listed, by offset: any worker can read the log."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.opened = True
        self.partitions = 1
        # One for all concerns.
        self.routing = self.definer = self.ingest = self.events = self
        self.evaluated: EvaluatedAlert | None = None
        """What every alert came to, as this worker knows it; None: it was not looked at yet."""
        self.usage = self.evidence = self.repairs = self.overviews = self
        self.definitions = Definitions()
        self.reasons: list[Reason] = []
        self.commands: list[tuple[int, int, Command]] = []
        self.elsewhere: dict[str, str] = {}
        self.restoring = False
        self.taken: dict[tuple[str, str, str], tuple[IncomingEvent, RawPosition]] = {}
        self.letters: list[DeadLetterView] = []
        self.letter_bytes: dict[int, bytes] = {}
        """Values that are no text, by offset."""
        self.closing: list[ClosingView] = []
        self.records: list[RecordView] = []
        self.published = PublishedValues()
        self.corrections: list[bytes] = []
        self.uncounted: list[Uncounted] = []
        self.uncounted_since_ms = -1
        self.partition = 0
        """The one that its overview tells of."""
        self.days: dict[str, list[AnalyticsRow]] = {}
        self.asked_for_days: list[AnalyticsQuery] = []
        self.replayed: list[tuple[int, int]] = []
        self.lost_races: set[str] = set()
        """Transaction ids that another producer appends between the check and the append."""

    def now_ms(self) -> int:
        return self.clock.now_ms

    def health(self) -> list[Reason]:
        found = list(self.reasons)
        if self.restoring:
            found.insert(0, Reason("restoring", self.now_ms(), "partition 0 is being restored"))
        return found

    async def define(self, command: Command) -> Applied | Rejected:
        decision = decide(self.definitions, command, self.now_ms())
        if isinstance(decision, Rejected):
            return decision
        refused = refused_terms(self.definitions, decision.changes)
        if refused is not None:
            return refused
        offset = self.definitions.offset
        outcome = apply(self.definitions, command.encode(), self.now_ms(), offset)
        if outcome is None:
            raise AssertionError("a command is no tick")
        self.commands.append((offset, self.now_ms(), command))
        return outcome

    async def changes(
        self, organization_id: str | None, since: int
    ) -> tuple[list[DefinitionChange], int]:
        return [
            DefinitionChange(
                offset=offset,
                append_time_ms=at_ms,
                organization_id=command.organization_id,
                type=command.type,
                object=None,
                changed_by=command.changed_by,
            )
            for offset, at_ms, command in self.commands
            if offset >= since and organization_id in (None, command.organization_id)
        ], self.definitions.offset

    def owner(self, organization_id: str, external_subscription_id: str) -> str | None:
        if self.restoring:
            raise Unavailable("partition 0 is being restored")
        return self.elsewhere.get(external_subscription_id)

    def peers(self) -> Sequence[str]:
        return sorted(set(self.elsewhere.values()))

    async def check(
        self, organization_id: str, events: Sequence[IncomingEvent]
    ) -> list[Duplicate | Refused | None]:
        return [self._known(organization_id, event) for event in events]

    def _known(self, organization_id: str, event: IncomingEvent) -> Duplicate | None:
        found = self.taken.get(_identity(organization_id, event))
        if found is None:
            return None
        first, again = (as_event(organization_id, one) for one in (found[0], event))
        return Duplicate("identical" if same_body(first, again) else "conflicting")

    async def append(
        self, organization_id: str, events: Sequence[IncomingEvent], partial: bool
    ) -> list[Verdict]:
        known = await self.check(organization_id, events)
        if not partial and any(known):
            return [verdict or NotAppended() for verdict in known]
        position = RawPosition(0, len(self.taken), self.now_ms())
        for event, verdict in zip(events, known, strict=True):
            if verdict is None:
                self.taken[_identity(organization_id, event)] = (event, position)
        return [
            verdict or self._after_append(event, position)
            for event, verdict in zip(events, known, strict=True)
        ]

    def _after_append(self, event: IncomingEvent, position: RawPosition) -> Verdict:
        if event.transaction_id in self.lost_races:
            return Duplicate("conflicting", position)
        return Accepted(position)

    async def correct(
        self, organization_id: str, external_subscription_id: str, value: bytes, by: str | None
    ) -> RawPosition:
        self.corrections.append(value)
        return RawPosition(0, len(self.taken), self.now_ms())

    async def set_aside(
        self, partition: int, first: int, after: int, reason: str
    ) -> list[SetAside]:
        command = commands.set_aside(
            partition, first, count=after - first, code="set_aside", message=reason
        )
        await self.define(command)
        found = self.definitions.set_asides.find(command.id)
        assert found is not None
        return [found]

    async def lift(self, one: SetAside) -> int:
        await self.define(commands.lift(one.id))
        return one.count

    async def find_event(self, organization_id: str, transaction_id: str) -> StoredEvent | None:
        if self.restoring:
            raise Unavailable("partition 0 is being restored")
        for (organization, _, transaction), (event, position) in self.taken.items():
            if (organization, transaction) == (organization_id, transaction_id):
                return _stored(event, position)
        return None

    async def not_counted(
        self, organization_id: str, reason: str | None, code: str | None
    ) -> list[Uncounted]:
        return [
            msgspec.structs.replace(one, samples=list(one.samples))
            for one in self.uncounted
            if reason in (None, one.reason) and code in (None, one.code)
        ]

    def not_counted_since_ms(self) -> int:
        return self.uncounted_since_ms

    async def list_events(
        self, organization_id: str, query: EventQuery, offset: int, limit: int
    ) -> Listed[ListedEvent]:
        found = [
            _stored(event, position)
            for (organization, _, _), (event, position) in self.taken.items()
            if organization == organization_id
        ]
        found = [event for event in found if _matches(query, event)]
        found.sort(key=lambda event: (-event.timestamp_ms, event.transaction_id))
        listed = [
            ListedEvent(-event.timestamp_ms, event.transaction_id, 0, place, -1, 0)
            for place, event in enumerate(found, len(self.log))
        ]
        self.log.extend(found)
        return Listed(listed[offset : offset + limit], len(found))

    async def read_events(
        self, events: Sequence[ListedEvent]
    ) -> AsyncGenerator[Sequence[StoredEvent], None]:
        for event in events:
            yield [self.log[event.offset]]

    async def wait_for(
        self,
        organization_id: str,
        external_subscription_id: str,
        partition: int,
        offset: int,
        timeout_s: float,
    ) -> bool:
        return partition == 0 and offset < len(self.taken)

    async def current_usage(
        self,
        organization_id: str,
        external_subscription_id: str,
        at_ms: int,
        presented_by: frozenset[str] | None = None,
    ) -> PeriodUsage | None:
        subscription = self._active(organization_id, external_subscription_id, at_ms)
        if subscription is None:
            return None
        timeline = self._timeline(subscription)
        period = timeline.holding(at_ms)
        return None if period is None else self._usage(subscription, period, OPEN)

    async def analytics(self, organization_id: str, query: AnalyticsQuery) -> list[AnalyticsRow]:
        self.asked_for_days.append(query)
        return self.days.get(organization_id, [])

    def evaluated_alerts(
        self, organization_id: str, external_subscription_id: str
    ) -> dict[str, EvaluatedAlert]:
        name = (organization_id, external_subscription_id)
        known = self.evaluated
        return {a.id: known for a in self.definitions.alerts.of(name) if known is not None}

    async def estimated_fees(
        self, organization_id: str, event: IncomingEvent, at_ms: int
    ) -> list[EstimatedFee]:
        """Every charge of the code that is paid in advance bills 1."""
        name = (organization_id, event.external_subscription_id)
        plans = {s.at().plan_id for s in self.definitions.subscriptions(*name)}  # type: ignore[union-attr]
        running = self._active(*name, at_ms)
        assert running is not None
        period = self._timeline(running).holding(at_ms)
        assert period is not None
        return [
            EstimatedFee(charge, metric, None, (), Decimal(1), period)
            for plan_id in sorted(plans)
            for charge in self.definitions.plan_versions[plan_id].at().charges  # type: ignore[union-attr]
            if (metric := self.definitions.metric_by_id(charge.metric_id)) is not None
            and metric.code == event.code
            and charge.is_billed_at_once(metric)
        ]

    async def regrouped_usage(
        self, usage: PeriodUsage, wanted: Regrouping, at_ms: int
    ) -> PeriodUsage:
        period = self._timeline(usage.subscription).holding(at_ms)
        assert period is not None
        if wanted.full:
            period = period._replace(start_ms=usage.subscription.started_at_ms)
        charges = tuple(ChargeInForce(wanted.charge(c.charge), c.metric) for c in usage.charges)
        rows = [r for c in charges for r in self._rows(usage.subscription, c, period, wanted)]
        return msgspec.structs.replace(
            usage, charges=charges, rows=tuple(rows), from_ms=period.start_ms
        )

    async def past_periods(
        self, organization_id: str, external_subscription_id: str, external_customer_id: str
    ) -> list[PastPeriod]:
        now_ms = self.now_ms()
        return [
            PastPeriod(subscription, period)
            for versions in self.definitions.subscriptions(
                organization_id, external_subscription_id
            )
            if (subscription := versions.at()) is not None
            and subscription.external_customer_id == external_customer_id
            for period in reversed(self._timeline(subscription).until(now_ms))
            if period.end_ms <= now_ms
        ]

    async def period_usage(
        self, organization_id: str, external_subscription_id: str, period: PastPeriod
    ) -> PeriodUsage:
        return self._usage(period.subscription, period.period, Publication(state="final"))

    def _timeline(self, subscription: Subscription) -> Timeline:
        versions = self.definitions.subscription_versions[subscription.id]
        return subscription_timeline(self.definitions, versions)

    def _active(
        self, organization_id: str, external_subscription_id: str, at_ms: int
    ) -> Subscription | None:
        for versions in self.definitions.subscriptions(organization_id, external_subscription_id):
            subscription = versions.at()
            if subscription is not None and subscription.status_at(at_ms) == "active":
                return subscription
        return None

    def _usage(self, subscription: Subscription, period: Period, state: Publication) -> PeriodUsage:
        plan = self.definitions.plan_by_id(subscription.plan_id)
        if plan is None:
            raise AssertionError("a subscription has a plan")
        charges = [
            ChargeInForce(charge, metric)
            for charge in plan.charges
            if (metric := self.definitions.metric_by_id(charge.metric_id)) is not None
        ]
        return PeriodUsage(
            subscription=subscription,
            plan=plan,
            charges=tuple(charges),
            rows=tuple(row for found in charges for row in self._rows(subscription, found, period)),
            from_ms=period.start_ms,
            end_ms=period.end_ms,
            to_ms=period.to_ms,
            timezone=period.timezone,
            duration_days=period.duration_days,
            publication=state,
            as_of=AsOf(self.now_ms(), 0, len(self.taken), 0),
        )

    def _rows(
        self,
        subscription: Subscription,
        found: ChargeInForce,
        period: Period,
        wanted: Regrouping | None = None,
    ) -> list[UsageRow]:
        cells: dict[tuple[str | None, tuple[tuple[str, str | None], ...]], list[Decimal]] = {}
        for (organization_id, external_id, _), (event, position) in self.taken.items():
            stored = _stored(event, position)
            inside = period.start_ms <= stored.timestamp_ms < period.end_ms
            ours = (organization_id, external_id) == (
                subscription.organization_id,
                subscription.external_id,
            )
            asked = wanted is None or wanted.takes(_texts(event))
            value = _value(found.metric, event) if ours and inside and asked else None
            if value is not None:
                cells.setdefault(_cell(found.charge, event), []).append(value)
        return [
            UsageRow(
                charge_id=found.charge.id,
                filter_id=filter_id,
                grouped_by=group,
                units=sum(values, Decimal(0)),
                total_aggregated_units=sum(values, Decimal(0)),
                events_count=len(values),
            )
            for (filter_id, group), values in cells.items()
        ]

    async def explain(self, organization_id: str, query: ExplainQuery) -> Explanation | None:
        external_id = query.external_subscription_id
        usage = await self.current_usage(organization_id, external_id, query.at_ms)
        if usage is None:
            return None
        fates = [
            fate
            for fate in self._fates(organization_id)
            if (fate.external_subscription_id, fate.code) == (external_id, query.metric_code)
        ]
        asked = [fate for fate in fates if query.status in (None, fate.status)]
        return Explanation(
            external_subscription_id=external_id,
            metric_code=query.metric_code,
            from_ms=usage.from_ms,
            to_ms=usage.to_ms,
            timezone=usage.timezone,
            cells=(),
            events=tuple(asked[query.offset : query.offset + query.limit]),
            counts={"counted": len(fates)} if fates else {},
            listed_count=len(asked),
            as_of=usage.as_of,
            stale=False,
        )

    async def trace(
        self, organization_id: str, transaction_id: str, external_subscription_id: str | None
    ) -> list[EventFate]:
        return [
            fate
            for fate in self._fates(organization_id)
            if fate.transaction_id == transaction_id
            and external_subscription_id in (None, fate.external_subscription_id)
        ]

    async def verdicts(
        self, organization_id: str, identities: Sequence[tuple[str, str]]
    ) -> list[KnownEvent | None]:
        fates = {
            (fate.external_subscription_id, fate.transaction_id): fate
            for fate in self._fates(organization_id)
        }
        taken = {identity[1:]: event for identity, (event, _) in self.taken.items()}
        return [
            None if one not in fates else KnownEvent(fates[one], taken[one].properties)
            for one in identities
        ]

    def _fates(self, organization_id: str) -> list[EventFate]:
        """Everything that was appended counts, but what was cancelled."""
        corrections = [msgspec.json.decode(value) for value in self.corrections]
        cancelled = {c["transaction_id"] for c in corrections if c["operation"] == "cancel"}
        return [
            EventFate(
                transaction_id=event.transaction_id,
                external_subscription_id=event.external_subscription_id,
                code=event.code,
                timestamp_ms=_stored(event, position).timestamp_ms,
                place=Place(position.append_time_ms, position.partition, position.offset, 0),
                rekeyed_offset=None,
                status="cancelled" if event.transaction_id in cancelled else "counted",
                reason=None,
            )
            for (organization, _, _), (event, position) in self.taken.items()
            if organization == organization_id
        ]

    async def series(self, organization_id: str, query: SeriesQuery) -> UsageSeries:
        usage = await self.current_usage(
            organization_id, query.external_subscription_id, self.now_ms()
        )
        wanted = [
            found.charge
            for found in (usage.charges if usage is not None else ())
            if found.metric.code == query.metric_code
        ]
        nothing = [WindowUsage(*window, Decimal(0), Decimal(0), 0) for window in query.windows]
        return UsageSeries(
            external_subscription_id=query.external_subscription_id,
            metric_code=query.metric_code,
            aggregation_type=None,
            charges=tuple(ChargeUsageSeries(c.id, c.code, tuple(nothing)) for c in wanted),
            as_of=AsOf(self.now_ms(), 0, len(self.taken), 0),
        )

    async def preview(
        self, organization_id: str, changes: Sequence[Command], from_ms: int, to_ms: int
    ) -> AsyncGenerator[PreviewReport, None] | Rejected:
        for command in changes:
            rejected = refusal(self.definitions, command, self.now_ms())
            if rejected is not None:
                return rejected
        return self._previewed()

    async def _previewed(self) -> AsyncGenerator[PreviewReport, None]:
        yield PreviewReport(
            partitions=(0,), of_partitions=1, records_read=0, records_total=0, pairs=0, done=True
        )

    async def verify(
        self,
        organization_id: str,
        external_subscription_id: str | None,
        repair: bool,
        figures_only: bool,
    ) -> AsyncGenerator[VerifyReport, None]:
        yield VerifyReport(
            partitions=(0,),
            of_partitions=1,
            records_read=len(self.taken),
            records_total=len(self.taken),
            pairs_verified=0,
            pairs_total=0,
            cells_verified=0,
            done=True,
        )

    async def overview(self, query: OverviewQuery) -> Overview:
        lines = [
            UsageView(
                organization_id=organization_id,
                external_customer_id="",
                external_subscription_id=external_id,
                billable_metric_code=event.code,
                charge_code=event.code,
                units=Decimal(1),
                events_count=1,
                from_ms=0,
                to_ms=self.now_ms(),
            )
            for (organization_id, external_id, _), (event, _) in self.taken.items()
            if query.organization_id in (None, organization_id)
            and query.search in f"{external_id} {event.code}"
        ]
        partition = PartitionView(
            partition=self.partition,
            state="running",
            offset=len(self.taken),
            lag=7,
            events_per_s=12.5,
            append_time_ms=self.now_ms(),
        )
        return Overview(
            now_ms=self.now_ms(),
            worker="ledger",
            partitions=(partition,),
            closing=tuple(self.closing),
            usage=tuple(lines[: query.limit]),
            usage_total=len(lines),
            health=tuple(self.health()),
            records=tuple(
                one for one in self.records if query.organization_id in (None, one.organization_id)
            ),
            about=WorkerView(
                version="0.0.0",
                since_ms=self.now_ms(),
                memory_bytes=100 << 20,
                verified=0,
                differing=0,
            ),
            dead_letters=tuple(self.dead_letters(query.organization_id)),
            not_counted_lately=frozenset() if query.organization_id else None,
            not_counted_since_ms=self.uncounted_since_ms,
        )

    async def replay(
        self, organization_id: str | None, partition: int, offset: int, by: str | None
    ) -> Replayed | None:
        """Append the event, if it is one; what is none is refused again."""
        letter = await self.dead_letter(organization_id, partition, offset)
        if letter is None:
            return None
        self.replayed.append((partition, offset))
        position = RawPosition(0, 1000 + offset, self.now_ms())
        for _, decoded in decode_record(letter.value, ()):
            if isinstance(decoded, Event):
                event = IncomingEvent(
                    transaction_id=decoded.transaction_id,
                    code=decoded.code,
                    external_subscription_id=decoded.external_subscription_id,
                    timestamp=None,
                    timestamp_ms=decoded.timestamp_ms,
                    properties=decoded.properties,
                    precise_total_amount_cents=decoded.precise_total_amount_cents,
                )
                owner = letter.view.organization_id or ""
                self.taken.setdefault(_identity(owner, event), (event, position))
                return Replayed(letter, position)
        place = max(96 + offset, self._end())
        again = msgspec.structs.replace(
            letter.view, offset=place, source=f"events-raw/0/{position.offset}/0"
        )
        self.letters.append(again)
        return Replayed(letter, position)

    def _end(self) -> int:
        return 1 + max((letter.offset for letter in self.letters), default=-1)

    async def letters_since(
        self, organization_id: str | None, since: Mapping[int, int] | None
    ) -> tuple[list[DeadLetterView], Mapping[int, int]]:
        first = self._end() if since is None else since[0]
        found = [one for one in self.dead_letters(organization_id) if one.offset >= first]
        return found, {0: self._end()}

    async def dead_letter(
        self, organization_id: str | None, partition: int, offset: int
    ) -> DeadLetter | None:
        for letter in self.dead_letters(organization_id):
            if (letter.partition, letter.offset) == (partition, offset):
                headers = (("meter-error-code", letter.code.encode()),)
                value = self.letter_bytes.get(offset, letter.value.encode())
                return DeadLetter(view=letter, key=None, headers=headers, value=value)
        return None

    def dead_letters(self, organization_id: str | None) -> list[DeadLetterView]:
        return [
            letter
            for letter in reversed(self.letters)
            if organization_id in (None, letter.organization_id)
        ]

    async def letters_before(self, query: DeadLetterQuery) -> DeadLetterPage:
        found = [
            letter
            for letter in self.dead_letters(query.organization_id)
            if query.code in (None, letter.code)
            and letter.offset < query.before.get(letter.partition, letter.offset + 1)
        ]
        page = found[: query.most]
        more = len(found) > query.most
        return DeadLetterPage(page, {page[-1].partition: page[-1].offset} if more else None)


def _identity(organization_id: str, event: IncomingEvent) -> tuple[str, str, str]:
    return organization_id, event.external_subscription_id, event.transaction_id


def _stored(event: IncomingEvent, position: RawPosition) -> StoredEvent:
    timestamp_ms = event.timestamp_ms
    return StoredEvent(
        transaction_id=event.transaction_id,
        code=event.code,
        external_subscription_id=event.external_subscription_id,
        timestamp_ms=position.append_time_ms if timestamp_ms is None else timestamp_ms,
        properties=event.properties,
        precise_total_amount_cents=event.precise_total_amount_cents,
        created_at_ms=position.append_time_ms,
    )


def _matches(query: EventQuery, event: StoredEvent) -> bool:
    return (
        query.code in (None, event.code)
        and query.external_subscription_id in (None, event.external_subscription_id)
        and (query.timestamp_from_ms is None or event.timestamp_ms >= query.timestamp_from_ms)
        and (query.timestamp_to_ms is None or event.timestamp_ms <= query.timestamp_to_ms)
    )


def _value(metric: Metric, event: IncomingEvent) -> Decimal | None:
    if metric.code != event.code:
        return None
    if metric.aggregation_type == "count_agg":
        return Decimal(1)
    raw = read_properties(event.properties).get(metric.field_name or "")
    return None if raw is None else parse_value(raw)


def _texts(event: IncomingEvent) -> dict[str, str | None]:
    return {name: property_text(raw) for name, raw in read_properties(event.properties).items()}


def _cell(
    charge: Charge, event: IncomingEvent
) -> tuple[str | None, tuple[tuple[str, str | None], ...]]:
    texts = _texts(event)
    bucket: ChargeFilter | None = next(
        (
            found
            for found in charge.filters
            if all(texts.get(key) in values for key, values in found.values.items())
        ),
        None,
    )
    keys = charge.group_keys(bucket)
    return bucket.id if bucket else None, tuple((key, texts.get(key)) for key in keys)
