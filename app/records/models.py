"""The records of usage-records as frozen values: exact decimals, instants with a zone.

A field that a model does not know is ignored, and so is a type: newer workers may write more. What
records of schema version 1 lack has the value that they mean. `app/api/record_schemas.py` is the
stricter twin, which knows each field there is.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, TypeAdapter, ValidationError


class UnreadableRecord(ValueError):
    """A value that is no record of a type that is known; the message names the field."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class RecordedPeriod(_Value):
    """A billing period: from its first second to its last, both included."""

    from_: datetime = Field(alias="from")
    to: datetime
    timezone: str
    charges_duration_in_days: int


class RecordedCharge(_Value):
    """The charge that a figure is of, as its plan had it; `properties` hold its prices."""

    lago_id: str
    lago_parent_id: str | None = None
    code: str
    charge_model: str
    pay_in_advance: bool
    invoiceable: bool = True
    prorated: bool
    min_amount_cents: int = 0
    properties: dict[str, Any]
    filter_properties: dict[str, Any] | None = None


class RecordedMetric(_Value):
    """The billable metric that a figure is of."""

    lago_id: str
    code: str
    name: str
    aggregation_type: str
    recurring: bool


class PresentedUnits(_Value):
    """The part of a figure that belongs to some values of the charge's presentation keys."""

    presentation_by: dict[str, str | None]
    units: Decimal


class PerEvent(_Value):
    """Figures of single events, for prices that need them; a list that no price needs is None."""

    count: int
    values: tuple[Decimal, ...] | None = None
    prorated_values: tuple[Decimal, ...] | None = None
    running_total: tuple[Decimal, ...] | None = None


class Position(_Value):
    """Where an event lies: what orders all events."""

    append_time: datetime
    partition: int
    offset: int
    index: int


class _Envelope(_Value):
    schema_version: int | str
    id: str
    """The same for the same record, however often it is read."""
    cell_id: str
    revision: int
    organization_id: str
    external_customer_id: str
    external_subscription_id: str
    lago_subscription_id: str
    plan_code: str
    period: RecordedPeriod
    closed_at: datetime
    definitions_offset: int


class _Figure(_Envelope):
    lago_charge_id: str
    lago_charge_filter_id: str | None
    charge: RecordedCharge
    amount_currency: str
    billable_metric: RecordedMetric
    filters: dict[str, tuple[str, ...]] | None
    grouped_by: dict[str, str | None] | None
    units: Decimal
    prorated_units: Decimal | None
    precise_total_amount_cents: Decimal | None
    events_count: int
    previous_units: Decimal | None
    delta_units: Decimal | None


class UsageRecord(_Figure):
    """One cell of a closed period: one charge, filter and group."""

    type: Literal["usage.recorded", "usage.revised"]
    total_aggregated_units: Decimal
    billing: Literal["arrears", "none", "renewal"] = "arrears"
    """What is left to bill: all of it, nothing more, or `units` in full."""
    billed_in_advance: Decimal | None = None
    presentation_breakdowns: tuple[PresentedUnits, ...] | None = None
    per_event: PerEvent | None = None
    closing_reason: str
    revision_reason: str | None
    final_after: datetime
    digest: str
    """Hexadecimal; the digests of a period's cells add up, modulo 2**128."""


class UsageInstant(_Figure):
    """What one event of a charge paid in advance bills."""

    type: Literal["usage.instant", "usage.instant_revised"]
    instant_id: str
    event_transaction_id: str
    event_timestamp: datetime
    position: Position
    applied_units: Decimal
    units_before: Decimal
    units_after: Decimal
    current_units: Decimal
    peak_units: Decimal
    presentation_by: dict[str, str | None] | None
    revision_reason: str | None


class PeriodCompleted(_Envelope):
    """Ends what a cut published of a period: how many cells there are, and their digest."""

    type: Literal["period.completed"]
    records_count: int
    closing_reason: str
    final_after: datetime
    digest: str


Record = UsageRecord | UsageInstant | PeriodCompleted

_KNOWN: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Discriminator("type")])


def read(value: bytes | str) -> Record | None:
    """Return a record of the topic; None: it is of a type that is not known here.

    Raises:
        UnreadableRecord: it is of a known type and breaks its promises, or it is no record.
    """
    try:
        return _KNOWN.validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "union_tag_invalid":
            return None
        place = ".".join(map(str, first["loc"][1:])) or "the value"
        raise UnreadableRecord(f"{place}: {first['msg']}") from error
