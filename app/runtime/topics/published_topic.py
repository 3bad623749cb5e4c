"""Usage records read again: what the published table holds follows from the records themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

import msgspec

from app.billing_periods.instants import iso_seconds, parse_iso8601_ms
from app.definitions.model import Subscription, listed_group_keys, listed_presentation_keys
from app.definitions.periods import NEVER_MS, Period
from app.definitions.state import Definitions
from app.definitions.terms import subscription_timeline
from app.kafka.log_readers import bounds, read_to_end, scan
from app.kafka.names import TopicPartition
from app.kafka.topics import output_tp
from app.settings import Settings
from app.wire.instant_records import INSTANT_TYPES
from app.wire.usage_records import BillingText, cell_id
from tables.changelogged.checkpoint import OutputMark
from tables.changelogged.published import PublishedTable
from tables.changelogged.published_period import PublishedCell, PublishedCellKey
from tables.routing.period_charges import PeriodCharges

log = logging.getLogger(__name__)


_NULL = msgspec.Raw(b"null")


class RecordCharge(msgspec.Struct):
    """The charge of a record: what its groups are named by."""

    properties: dict[str, object]
    filter_properties: dict[str, object] | None


class RecordPeriod(msgspec.Struct):
    """The period of a record."""

    from_: str = msgspec.field(name="from")


class OutputRecord(msgspec.Struct, kw_only=True):
    """The fields of any record of usage-records that say what it is about."""

    revision: int
    cell_id: str
    organization_id: str
    external_subscription_id: str
    lago_subscription_id: str
    period: RecordPeriod
    closed_at: str
    type: str = ""
    charge: RecordCharge | None = None
    lago_charge_id: str = ""
    lago_charge_filter_id: str | None = None
    grouped_by: dict[str, str | None] | None = None

    @property
    def groups(self) -> tuple[tuple[str, str | None], ...]:
        """Groups as the charge names their keys, a wallet's last."""
        groups, charge = dict(self.grouped_by or {}), self.charge
        if not groups or charge is None:
            return ()
        by_filter = charge.filter_properties
        named = listed_group_keys(charge.properties if by_filter is None else by_filter)
        in_order = [(key, groups.pop(key)) for key in named if key in groups]
        return (*in_order, *groups.items())

    def period_in(
        self, definitions: Definitions, until_ms: int | None = None
    ) -> tuple[Subscription, Period] | None:
        """Find the period; records print whole seconds, the timeline has milliseconds.

        Under all definitions, or under those appended until a time.
        """
        printed_ms = parse_iso8601_ms(self.period.from_)
        if printed_ms is None:
            return None
        name = (self.organization_id, self.external_subscription_id)
        for subscription in definitions.subscriptions(*name):
            known = subscription.at(None)
            if known is None or known.id != self.lago_subscription_id:
                continue
            timeline = subscription_timeline(definitions, subscription, until_ms)
            for period in reversed([*timeline.within(printed_ms, printed_ms + 999)]):
                if iso_seconds(period.start_ms) == self.period.from_:
                    return known, period
        return None


class _UsageRecord(OutputRecord, kw_only=True):
    """The fields of closing records and completions that say what was published."""

    digest: str = ""
    units: str = ""
    prorated_units: str | None = None
    total_aggregated_units: str = ""
    precise_total_amount_cents: str | None = None
    events_count: int = 0
    billed_in_advance: msgspec.Raw = _NULL
    presentation_breakdowns: msgspec.Raw = _NULL
    per_event: msgspec.Raw = _NULL

    @property
    def billing_digest(self) -> bytes:
        """Return the digest of what it says beside its figures."""
        texts = (self.billed_in_advance, self.presentation_breakdowns, self.per_event)
        return BillingText("", *(bytes(text).decode() for text in texts)).digest


_decode = msgspec.json.Decoder(_UsageRecord).decode


def output_mark(offset: int, value: bytes) -> OutputMark:
    """Return the mark of a newest usage record, by which a partition recognizes the topic."""
    return OutputMark(offset, blake2b(value, digest_size=8).digest())


async def output_stands(settings: Settings, number: int, mark: OutputMark) -> bool:
    """Return True if usage-records still has the marked record, or retention has taken it.

    Return False if the topic was cut before the record, or created anew.
    """
    tp, offset = output_tp(settings, number), mark[0]
    start, end = await bounds(settings, tp)
    if not start <= offset < end:
        return start > offset
    async with scan(settings, tp, offset, offset + 1) as batches:
        async for records in batches:
            return output_mark(offset, records[0].value or b"") == mark
    return False


async def read_published(
    settings: Settings, definitions: Definitions, number: int
) -> tuple[PublishedTable, OutputMark | None]:
    """Return the published state of a partition as usage-records has it, and its newest record."""
    table = PublishedTable()
    tp = output_tp(settings, number)
    mark = await put_all_again(settings, tp, partial(put_again, table, definitions))
    return table, mark


async def put_all_again(
    settings: Settings, tp: TopicPartition, put: Callable[[bytes], None]
) -> OutputMark | None:
    """Call `put` with each record that a partition has published; return the newest of them."""
    mark = None
    async with read_to_end(settings, [tp]) as batches:
        async for _, records in batches:
            for offset, _, value in records:
                try:
                    put(value or b"")
                except (msgspec.MsgspecError, ValueError):
                    log.warning("%s %s/%s is no usage record", tp.topic, tp.partition, offset)
                else:
                    mark = output_mark(offset, value or b"")
    return mark


def put_again(table: PublishedTable, definitions: Definitions, value: bytes) -> None:
    """Put into the table what a record of usage-records says; records in the order of the topic."""
    record = _decode(value)
    if record.type in INSTANT_TYPES:
        return
    found = record.period_in(definitions)
    cut_ms = parse_iso8601_ms(record.closed_at)
    if found is None or cut_ms is None:
        return
    subscription, whole_period = found
    period = (subscription.id, whole_period.start_ms)
    if record.charge is None:
        table.put_completion(period, record.revision, cut_ms)
        return
    published = PublishedCell(
        record.revision,
        record.units,
        record.prorated_units,
        record.total_aggregated_units,
        record.precise_total_amount_cents,
        record.events_count,
        bytes.fromhex(record.digest),
        cut_ms,
        record.billing_digest,
    )
    texts = tuple(text for _, text in record.groups)
    cell: PublishedCellKey = (record.lago_charge_id, record.lago_charge_filter_id, texts)
    history = definitions.history_of(record.organization_id, NEVER_MS)
    if history and cell[2]:
        plans = definitions.plan_of(subscription.id)
        charges = PeriodCharges(definitions, plans, whole_period, history)
        cell = _renamed(record, subscription, whole_period, charges) or cell
    if whole_period.fold_version > 1 and listed_presentation_keys(record.charge.properties):
        # Where the period is final no cell tells them.
        published = published.presented_by(bytes(record.presentation_breakdowns))
    table.put_cell(period, cell, published)


def _renamed(
    record: _UsageRecord, subscription: Subscription, period: Period, charges: PeriodCharges
) -> PublishedCellKey | None:
    """Return the cell key that gives the record's cell id, after history records changed keys."""
    charge_id, filter_id = record.lago_charge_id, record.lago_charge_filter_id
    texts = record.grouped_by or {}
    for keys in charges.keys_through_time(charge_id, filter_id):
        if texts.keys() != set(keys):
            continue
        groups = tuple(texts[key] for key in keys)
        grouped_by = tuple(zip(keys, groups, strict=True))
        identity = cell_id(subscription, charge_id, filter_id, grouped_by, period.start_ms)
        if identity == record.cell_id:
            return charges.name_under(charge_id, filter_id, groups, keys)
    return None
