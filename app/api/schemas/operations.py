"""Requests and answers of organizations, of history and of health."""

from __future__ import annotations

from pydantic import Field

from app.api.schemas.common import Instant, Model, OptionalText


class HistoryInput(Model):
    billable_metric_codes: list[str] | None = Field(
        None, description="Charges of every metric that has or had one of these codes."
    )
    charge_ids: list[str] | None = None
    from_: OptionalText = Field(
        None, alias="from", description="ISO 8601: of periods that start from here on; absent: all."
    )
    to: OptionalText = Field(
        None, description="ISO 8601: of periods that start before it; absent: now."
    )


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


class OrganizationOutput(Model):
    lago_id: str
    name: str
    created_at: Instant | None


class OrganizationAnswer(Model):
    organization: OrganizationOutput


class Status(Model):
    status: str
