"""Requests and answers of the charges of one plan and of their filters."""

from __future__ import annotations

from pydantic import Field

from app.api.schemas.base import Meta, Model
from app.api.schemas.definitions import ChargeFilterBody, ChargeOutput
from app.api.schemas.fields import OptionalText, Properties, Text
from app.definitions.charges import ChargeModel


class ChargeFields(Model):
    code: OptionalText = None
    charge_model: ChargeModel | None = None
    invoice_display_name: OptionalText = None
    pay_in_advance: bool | None = None
    prorated: bool | None = None
    invoiceable: bool | None = None
    regroup_paid_fees: OptionalText = None
    min_amount_cents: int | None = None
    accepts_target_wallet: bool | None = None
    properties: Properties | None = None
    filters: list[ChargeFilterBody] | None = Field(
        None, description="The whole list: those of the same values are changed."
    )


class NewChargeInput(ChargeFields):
    billable_metric_id: OptionalText = None
    billable_metric_code: OptionalText = Field(None, description="In place of the id.")
    code: Text


class Cascading(Model):
    cascade_updates: bool | None = Field(
        None, description="True: the child plans of subscriptions that have not ended follow."
    )


class CascadingCharge(NewChargeInput, Cascading):
    pass


class CascadingChanges(ChargeFields, Cascading):
    pass


class NewChargeBody(Model):
    charge: CascadingCharge


class ChargeChangesBody(Model):
    charge: CascadingChanges


class OwnCharge(Model):
    invoice_display_name: OptionalText = None
    min_amount_cents: int | None = None
    properties: Properties | None = None
    filters: list[ChargeFilterBody] | None = None


class OwnChargeBody(Model):
    charge: OwnCharge


class ChargeAnswer(Model):
    charge: ChargeOutput


class ChargeList(Model):
    charges: list[ChargeOutput]
    meta: Meta


class CascadingFilter(ChargeFilterBody, Cascading):
    pass


class NewFilterBody(Model):
    filter: CascadingFilter


class OwnFilterBody(Model):
    filter: ChargeFilterBody


class FilterChanges(Model):
    invoice_display_name: OptionalText = None
    properties: Properties | None = None


class CascadingFilterChanges(FilterChanges, Cascading):
    pass


class FilterChangesBody(Model):
    filter: CascadingFilterChanges


class OwnFilterChangesBody(Model):
    filter: FilterChanges


class FilterOutput(Model):
    lago_id: str
    charge_code: str
    invoice_display_name: str | None
    properties: Properties
    values: dict[str, list[str]]


class FilterAnswer(Model):
    filter: FilterOutput


class FilterList(Model):
    filters: list[FilterOutput]
    meta: Meta
