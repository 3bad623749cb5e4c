"""The usage record: the bytes that consumers are invoiced by (records-and-cuts §5).

Field order, spelling and ids are the contract; the same cut computed again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import msgspec

from app.billing_periods.instants import iso_milliseconds, iso_seconds
from app.definitions.by_identity import ByIdentity
from app.definitions.model import Charge, ChargeFilter, Metric, Plan, Subscription
from app.definitions.periods import NEVER_MS, Period
from app.uuids import Uuids
from app.wire.keys import message_key
from app.wire.published_headers import Header, headers_of

RECORD_IDS = Uuids(uuid5(NAMESPACE_URL, "meterstream:usage-records"))

_json = msgspec.json.Encoder().encode

Topic = Literal["usage-records", "usage-alerts", "usage-changed", "usage-daily"]
RecordType = Literal["usage.recorded", "usage.revised", "period.completed"]
RevisionReason = Literal["correction", "definition", "late_events"]


class RecordLabels(NamedTuple):
    """Labels under which a record is counted."""

    type: str
    revision_reason: str = ""
    """Reason of a revision above 0; empty at revision 0."""
    closing_reason: str = ""
    """Why the period ended, at its first publication; otherwise empty."""


# There are few, and very many records have each.
_told = lru_cache(64)(RecordLabels)


class PublishedRecord(msgspec.Struct, frozen=True, gc=False):
    """A record ready for the topic that it names."""

    key: bytes
    value: bytes
    identity: str
    told: RecordLabels
    """Labels for the metrics of its publisher, its type first."""
    about: tuple[Header, ...]
    """CloudEvents attributes that follow the type; many records share them."""
    topic: Topic
    """Name as everybody has it; settings may call the topic of usage records otherwise."""

    @property
    def headers(self) -> list[Header]:
        """All headers, in their order."""
        return headers_of(self.identity, self.told.type, self.about)


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """Values that all records of one period and cut share; each of their texts is made once."""

    subscription: Subscription
    plan: Plan
    period: Period
    closed_at_ms: int
    definitions_offset: int
    schema_version: int
    """2 tells how a cell is billed; 1, of settings of then, does not."""
    names: str
    """JSON members after `revision`."""
    period_text: str
    """JSON object `period`."""
    closing: str
    """JSON members before `digest`; empty of a period that is never due."""
    key: bytes
    """Key of the Kafka record."""
    about: tuple[Header, ...]
    """CloudEvents attributes that follow the type."""

    def echo_of(self, charge: Charge, metric: Metric, charge_filter: ChargeFilter | None) -> str:
        """Return the JSON members from `lago_charge_id` to `filters`."""
        currency, version = self.plan.amount_currency, self.schema_version
        return _echoes.of(charge, metric, charge_filter, currency, version)


def envelope_of(
    subscription: Subscription,
    plan: Plan,
    period: Period,
    closed_at_ms: int,
    definitions_offset: int,
    schema_version: int,
) -> Envelope:
    """Return what the records of a period and cut share."""
    names = {
        "organization_id": subscription.organization_id,
        "external_customer_id": subscription.external_customer_id,
        "external_subscription_id": subscription.external_id,
        "lago_subscription_id": subscription.id,
        "plan_code": plan.code,
    }
    period_text, closing = _texts_of(period, closed_at_ms, definitions_offset)
    return Envelope(
        subscription,
        plan,
        period,
        closed_at_ms,
        definitions_offset,
        schema_version,
        members_of(names),
        period_text,
        closing,
        message_key(subscription.organization_id, subscription.external_id),
        attributes_of(subscription, closed_at_ms),
    )


# Most subscriptions of a plan close with the same texts.
@lru_cache(1_024)
def _texts_of(period: Period, closed_at_ms: int, definitions_offset: int) -> tuple[str, str]:
    """Return `Envelope.period_text` and `Envelope.closing`."""
    told = {
        "from": iso_seconds(period.start_ms),
        "to": iso_seconds(period.to_ms),
        "timezone": period.timezone,
        "charges_duration_in_days": period.duration_days,
    }
    if period.due_at_ms >= NEVER_MS:
        return text_of(told), ""
    closing = {
        "closed_at": iso_milliseconds(closed_at_ms),
        "final_after": iso_milliseconds(period.late_until_ms),
        "definitions_offset": definitions_offset,
    }
    return text_of(told), members_of(closing)


class RecordedCell(msgspec.Struct, frozen=True, gc=False):
    """A cell as its records at one cut name it, with the definitions and group they repeat."""

    envelope: Envelope
    id: str
    echo: str
    """JSON members from `lago_charge_id` to `filters`, as `Envelope.echo_of` has them."""
    groups: str
    """Its group as `groups_text` has it."""

    @property
    def echoed(self) -> str:
        """Return the JSON members from `lago_charge_id` to `period`."""
        return f'{self.echo},"grouped_by":{self.groups},"period":{self.envelope.period_text}'


class CellText(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The figures of one cell as printed in one of its records."""

    revision: int
    units: str
    prorated_units: str | None
    total_aggregated_units: str
    precise_total_amount_cents: str | None
    events_count: int
    digest: bytes


class BillingText(NamedTuple):
    """What a record of version 2 says beside its figures, each as JSON."""

    billing: str = '"arrears"'
    """What of the cell is left to bill at its period's end."""
    billed_in_advance: str = "null"
    presentation_breakdowns: str = "null"
    per_event: str = "null"

    @property
    def digest(self) -> bytes:
        """Tell texts apart that a cut may change; empty while there are none."""
        if self is ARREARS:
            return b""
        texts = self[1:]
        if texts == _NO_TEXTS:
            return b""
        return blake2b("\0".join(texts).encode(), digest_size=16).digest()


_NO_TEXTS = ("null",) * 3
ARREARS = BillingText()
"""All of the cell is billed at its period's end, by its units alone."""


def cell_id(
    subscription: Subscription,
    charge_id: str | None,
    filter_id: str | None,
    grouped_by: tuple[tuple[str, str | None], ...] | None,
    start_ms: int,
) -> str:
    """Return the id of a cell; with None three times, the id of a period's completion."""
    named = cell_named(charge_id, filter_id, grouped_by, start_ms)
    return RECORD_IDS.of(owner_named(subscription) + named)


def owner_named(subscription: Subscription) -> bytes:
    """Return what the names of a subscription's cells begin with, of which their ids are made."""
    return _json((subscription.organization_id, subscription.id))[:-1] + b","


def cell_named(
    charge_id: str | None,
    filter_id: str | None,
    grouped_by: tuple[tuple[str, str | None], ...] | None,
    start_ms: int,
) -> bytes:
    """Return what follows in the name of a cell: the same for all subscriptions that have it."""
    return _json((charge_id, filter_id, grouped_by, iso_milliseconds(start_ms)))[1:]


def record_id(cell: str, revision: int | str) -> str:
    """Return the id of one revision of a cell, or of its record of a day."""
    return RECORD_IDS.of(f"{cell}:{revision}".encode())


def usage_record(
    cell: RecordedCell,
    figures: CellText,
    billing: BillingText,
    previous_units: str | None,
    delta_units: str | None,
    reason: RevisionReason | None,
) -> PublishedRecord:
    """Return a `usage.recorded` record (revision 0) or a `usage.revised` record."""
    envelope, revision, before = cell.envelope, figures.revision, _NOTHING_BEFORE
    kind: RecordType = "usage.recorded" if revision == 0 else "usage.revised"
    if previous_units is not None:
        before = f'"previous_units":"{previous_units}","delta_units":{quoted(delta_units)}'
    identity = record_id(cell.id, revision)
    billed = "" if envelope.schema_version == 1 else _billed(billing)
    # Figures are digits, signs and points: nothing in them is escaped in JSON.
    value = (
        f"{head_of(envelope, identity, cell.id, revision, kind)},{cell.echo},"
        f'"grouped_by":{cell.groups},"period":{envelope.period_text},"units":"{figures.units}",'
        f'"prorated_units":{quoted(figures.prorated_units)},'
        f'"total_aggregated_units":"{figures.total_aggregated_units}",'
        f'"precise_total_amount_cents":{quoted(figures.precise_total_amount_cents)},'
        f'"events_count":{figures.events_count},{before},{billed}'
        f'"closing_reason":"{envelope.period.closing_reason}",'
        f'"revision_reason":{quoted(reason)},{envelope.closing},"digest":"{figures.digest.hex()}"}}'
    )
    return published_as(envelope, identity, _told(kind, reason or ""), value)


def completion_record(
    envelope: Envelope, owner: bytes, revision: int, records_count: int, digest: int
) -> PublishedRecord:
    """Make `period.completed`: a consumer with that many cells of that digest sum has all.

    `owner`: what `owner_named` tells of its subscription.
    """
    cell = RECORD_IDS.of(owner + _completion_named(envelope.period.start_ms))
    kind: RecordType = "period.completed"
    identity = record_id(cell, revision)
    value = (
        f'{head_of(envelope, identity, cell, revision, kind)},"period":{envelope.period_text},'
        f'"records_count":{records_count},"closing_reason":"{envelope.period.closing_reason}",'
        f'{envelope.closing},"digest":"{digest:032x}"}}'
    )
    closing_reason = envelope.period.closing_reason if revision == 0 else ""
    return published_as(envelope, identity, _told(kind, "", closing_reason), value)


# Most subscriptions of a plan have the same one.
@lru_cache(1_024)
def _completion_named(start_ms: int) -> bytes:
    return cell_named(None, None, None, start_ms)


_NOTHING_BEFORE = '"previous_units":null,"delta_units":null'


# Most cells have the same one.
@lru_cache(1_024)
def _billed(billing: BillingText) -> str:
    return (
        f'"billing":{billing.billing},"billed_in_advance":{billing.billed_in_advance},'
        f'"presentation_breakdowns":{billing.presentation_breakdowns},'
        f'"per_event":{billing.per_event},'
    )


def head_of(
    envelope: Envelope, identity: str, cell: str, revision: int, kind: str, named: str = ""
) -> str:
    """Return the JSON text from its brace to `plan_code`; `named`: members before the cell."""
    return (
        f'{{"schema_version":{envelope.schema_version},"id":"{identity}",{named}"cell_id":"{cell}",'
        f'"type":"{kind}","revision":{revision},{envelope.names}'
    )


def _echo(
    charge: Charge,
    metric: Metric,
    charge_filter: ChargeFilter | None,
    currency: str,
    schema_version: int,
) -> str:
    """Return the JSON members from `lago_charge_id` to `filters`."""
    echoed = {
        "lago_charge_id": charge.id,
        "lago_charge_filter_id": None if charge_filter is None else charge_filter.id,
        "charge": _charge(charge, charge_filter, schema_version),
        "amount_currency": currency,
        "billable_metric": {
            "lago_id": metric.id,
            "code": metric.code,
            "name": metric.name,
            "aggregation_type": metric.aggregation_type,
            "recurring": metric.recurring,
        },
        "filters": None
        if charge_filter is None
        else {key: list(values) for key, values in sorted(charge_filter.values.items())},
    }
    return members_of(echoed)


_echoes = ByIdentity(_echo)


def _charge(
    charge: Charge, charge_filter: ChargeFilter | None, schema_version: int
) -> dict[str, Any]:
    echoed = {
        "lago_id": charge.id,
        "lago_parent_id": charge.parent_id,
        "code": charge.code,
        "charge_model": charge.charge_model,
        "pay_in_advance": charge.pay_in_advance,
        "invoiceable": charge.invoiceable,
        "prorated": charge.prorated,
        "min_amount_cents": charge.min_amount_cents,
        "properties": _sorted(charge.properties),
        "filter_properties": None if charge_filter is None else _sorted(charge_filter.properties),
    }
    if schema_version == 1:
        for name in ("lago_parent_id", "invoiceable", "min_amount_cents"):
            del echoed[name]
    return echoed


def _sorted(value: Any) -> Any:
    """Return a value with the keys of its objects sorted at any depth."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, (list, tuple)) else value


def text_of(value: Any) -> str:
    """Return a value as JSON."""
    return _json(value).decode()


def groups_text(grouped_by: tuple[tuple[str, str | None], ...]) -> str:
    """Return the group of a cell as JSON; null: it has none."""
    return text_of(dict(sorted(grouped_by))) if grouped_by else "null"


def members_of(value: dict[str, Any]) -> str:
    """Return the JSON text of an object without its braces."""
    return _json(value)[1:-1].decode()


def quoted(plain_text: str | None) -> str:
    """Return a text that has nothing to escape as JSON, None as null."""
    return "null" if plain_text is None else f'"{plain_text}"'


def attributes_of(subscription: Subscription, at_ms: int) -> tuple[Header, ...]:
    """Return the CloudEvents attributes that say whom a record is about, and of when it is."""
    return (
        _source(subscription.organization_id),
        ("ce_subject", subscription.external_id.encode()),
        _time(at_ms),
    )


@lru_cache(1_024)
def _source(organization_id: str) -> Header:
    return "ce_source", f"/organizations/{organization_id}".encode()


@lru_cache(1_024)
def _time(at_ms: int) -> Header:
    return "ce_time", iso_milliseconds(at_ms).encode()


def message_of(
    subscription: Subscription,
    value: dict[str, Any],
    identity: str,
    kind: str,
    at_ms: int,
    topic: Topic,
) -> PublishedRecord:
    """Return a message about a subscription that is no record of a period."""
    key = message_key(subscription.organization_id, subscription.external_id)
    about = attributes_of(subscription, at_ms)
    return PublishedRecord(key, _json(value), identity, RecordLabels(kind), about, topic)


def published_as(
    envelope: Envelope,
    identity: str,
    told: RecordLabels,
    value: str,
    topic: Topic = "usage-records",
) -> PublishedRecord:
    """Return the record with its key and headers."""
    return PublishedRecord(envelope.key, value.encode(), identity, told, envelope.about, topic)
