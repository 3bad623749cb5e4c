"""Requests and answers of organizations, of history and of health."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from app.api.schemas.base import Model
from app.api.schemas.fields import Count, Instant, OptionalText

PeriodsFrom = Annotated[
    OptionalText,
    Field(alias="from", description="ISO 8601: of periods that start from here on; absent: all."),
]
PeriodsTo = Annotated[
    OptionalText, Field(description="ISO 8601: of periods that start before it; absent: now.")
]


class HistoryInput(Model):
    billable_metric_codes: list[str] | None = Field(
        None, description="Charges of every metric that has or had one of these codes."
    )
    charge_ids: list[str] | None = None
    from_: PeriodsFrom = None
    to: PeriodsTo = None


class HistoryBody(Model):
    history: HistoryInput


class HistoryOutput(Model):
    billable_metric_ids: list[str]
    charge_ids: list[str]
    from_: Instant = Field(alias="from")
    to: Instant
    definitions_offset: int


class HistoryAnswer(Model):
    history: HistoryOutput


class EntityConfiguration(Model):
    invoice_grace_period: int | None = Field(
        None, description="Days, from 0 on; null: the setting `grace_s` of the meter."
    )
    invoice_footer: OptionalText = None
    document_locale: OptionalText = None


class OrganizationInput(Model):
    timezone: OptionalText = Field(
        None, description="A name of the IANA database; null or empty: UTC."
    )
    default_currency: OptionalText = None
    billing_configuration: EntityConfiguration | None = None
    webhook_url: OptionalText = None
    country: OptionalText = None
    address_line1: OptionalText = None
    address_line2: OptionalText = None
    state: OptionalText = None
    zipcode: OptionalText = None
    email: OptionalText = None
    city: OptionalText = None
    legal_name: OptionalText = None
    legal_number: OptionalText = None
    tax_identification_number: OptionalText = None
    net_payment_term: int | None = None


class OrganizationBody(Model):
    organization: OrganizationInput


class BillingEntityInput(OrganizationInput):
    invoice_grace_period: int | None = Field(
        None, description="As in `billing_configuration`, which holds if both are given."
    )


class BillingEntityBody(Model):
    billing_entity: BillingEntityInput


class OrganizationOutput(Model):
    lago_id: str
    name: str
    created_at: Instant
    timezone: str
    default_currency: str
    billing_configuration: EntityConfiguration
    webhook_url: str | None
    webhook_urls: list[str]
    country: str | None
    address_line1: str | None
    address_line2: str | None
    state: str | None
    zipcode: str | None
    email: str | None
    city: str | None
    legal_name: str | None
    legal_number: str | None
    tax_identification_number: str | None
    net_payment_term: int


class OrganizationAnswer(Model):
    organization: OrganizationOutput


class BillingEntityOutput(OrganizationOutput):
    code: str
    updated_at: Instant
    is_default: bool
    invoice_grace_period: int | None
    invoice_footer: str | None
    document_locale: str


class BillingEntityAnswer(Model):
    billing_entity: BillingEntityOutput


class BillingEntityList(Model):
    billing_entities: list[BillingEntityOutput]


class Status(Model):
    status: str


class DeadLetterListed(Model):
    organization_id: str | None = Field(description="Null: of nobody that is known.")
    partition: Count
    offset: Count = Field(description="Of the letter on its topic.")
    code: str
    message: str
    failed_at: Instant
    source: str = Field(description="topic/partition/offset/index of what was refused.")
    value: str = Field(description="As text, its beginning; of one letter all bytes in base64.")


class DeadLetterMeta(Model):
    before: str | None = Field(description="Asks for the next page; null: there is none.")


class DeadLetterList(Model):
    dead_letters: list[DeadLetterListed]
    meta: DeadLetterMeta


class ReplayBody(Model):
    places: list[str] | None = Field(
        None, description="Up to 1,000, each partition/offset. Or `code`, or `all`."
    )
    code: str | None = Field(None, description="All letters with this error code.")
    all: bool = False
    before: str | None = Field(
        None, description="Goes on where a replay of a code or of all has stopped."
    )


class ReplayLine(Model):
    """What became of a letter; after each page, and at the end, how far the replay has come."""

    place: str | None = Field(None, description="partition/offset of the letter.")
    outcome: str | None = Field(
        None, description="counted, duplicate, not counted, refused again, sent or not sent."
    )
    details: str | None = None
    transaction_id: str | None = None
    replayed: Count | None = Field(None, description="How many letters so far.")
    sum: dict[str, int] | None = Field(None, description="How many of each outcome so far.")
    before: str | None = Field(None, description="Asked with it again, a replay goes on here.")
    done: bool | None = None
    error: str | None = Field(None, description="Why a replay stops; the last line.")


class DeadLetterHeader(Model):
    name: str
    value: str = Field(description="Bytes in base64.")


class DeadLetterWhole(DeadLetterListed):
    key: str | None = Field(description="Bytes in base64.")
    headers: list[DeadLetterHeader]


class DeadLetterAnswer(Model):
    dead_letter: DeadLetterWhole


class PreviewChange(Model):
    """A metric or a plan as the API takes it; one whose code exists is updated, else created."""

    billable_metric: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None


class PreviewBody(Model):
    changes: list[PreviewChange] = Field(min_length=1)
    from_: PeriodsFrom = None
    to: PeriodsTo = None


class PreviewedFigures(Model):
    units: str
    prorated_units: str | None
    total_aggregated_units: str
    precise_total_amount_cents: str | None
    events_count: Count
    digest: str = Field(description="32 hex digits.")


class PreviewedCell(Model):
    external_customer_id: str
    external_subscription_id: str
    period_from: Instant
    period_to: Instant
    published: bool = Field(description="Whether the period is published.")
    charge_id: str
    charge_code: str
    metric_code: str
    filters: dict[str, list[str]] | None = Field(description="Null: everything else.")
    grouped_by: list[tuple[str, str | None]]
    before: PreviewedFigures | None = Field(description="Null: there is no such cell now.")
    after: PreviewedFigures | None = Field(description="Null: there would be no such cell.")


class PreviewLine(Model):
    """First the other workers, to be asked too; then how far it is, and what would differ."""

    peers: list[str] | None = Field(None, description="URLs of workers that own the rest.")
    partitions: list[int] | None = Field(None, description="That this worker looks at.")
    of_partitions: Count | None = Field(None, description="Number of all partitions.")
    records_read: Count | None = None
    records_total: Count | None = None
    pairs: Count | None = Field(None, description="Pairs of subscription and metric folded so far.")
    cells: list[PreviewedCell] | None = Field(None, description="That would change.")
    skipped: list[tuple[str, str]] | None = Field(
        None, description="Subscription and metric that are folded anew just now."
    )
    done: bool | None = None
    error: str | None = Field(None, description="Why it stops; the last line.")


class DefinitionChanged(Model):
    offset: Count
    changed_at: Instant
    organization_id: str | None
    type: str
    object: str | None
    changed_by: str | None


class ChangesMeta(Model):
    next_since: int | None


class DefinitionChanges(Model):
    changes: list[DefinitionChanged]
    meta: ChangesMeta
