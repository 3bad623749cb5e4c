"""Requests and answers of alerts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.api.schemas.base import Meta, Model
from app.api.schemas.definitions import MetricOutput
from app.api.schemas.fields import Instant, OptionalText, Text
from app.definitions.model import AlertType


class ThresholdInput(Model):
    code: OptionalText = None
    value: str | int | float = Field(description="Units; above 0 if recurring.")
    recurring: bool | None = Field(None, description="A step that is reached again and again.")


class AlertChanges(Model):
    code: OptionalText = None
    name: OptionalText = None
    billable_metric_code: OptionalText = None
    thresholds: list[ThresholdInput] | None = Field(None, description="At most 20.")


class NewAlert(AlertChanges):
    alert_type: AlertType
    code: Text
    billable_metric_code: Text
    thresholds: list[ThresholdInput] = Field(description="At most 20, one of them recurring.")


class NewAlertBody(Model):
    alert: NewAlert | None = None
    alerts: list[NewAlert] | None = Field(None, description="In its place: all or none of them.")


class AlertChangesBody(Model):
    alert: AlertChanges


class ThresholdOutput(Model):
    code: OptionalText
    value: str
    recurring: bool


class AlertOutput(Model):
    lago_id: str
    lago_organization_id: str
    subscription_external_id: str
    external_subscription_id: str
    lago_wallet_id: None
    wallet_code: None
    alert_type: AlertType
    code: str
    name: OptionalText
    direction: Literal["increasing"]
    previous_value: str = Field(description="Units when it was looked at last.")
    last_processed_at: Instant | None
    thresholds: list[ThresholdOutput]
    created_at: Instant
    billable_metric: MetricOutput | None


class AlertAnswer(Model):
    alert: AlertOutput


class NewAlertAnswer(Model):
    alert: AlertOutput | None = None
    alerts: list[AlertOutput] | None = None


class AlertList(Model):
    alerts: list[AlertOutput]
    meta: Meta
