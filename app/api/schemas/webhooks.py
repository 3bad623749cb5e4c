"""Requests and answers of webhook endpoints."""

from __future__ import annotations

from pydantic import Field

from app.api.schemas.base import Meta, Model
from app.api.schemas.fields import Instant, OptionalText
from app.definitions.model import WEBHOOK_TYPES, SignatureAlgorithm


class WebhookEndpointInput(Model):
    webhook_url: OptionalText = Field(None, description="http or https.")
    signature_algo: SignatureAlgorithm | None = Field(None, description="jwt by default.")
    name: OptionalText = None
    event_types: list[str] | None = Field(
        None,
        description='What is sent there; null or ["*"]: all.',
        json_schema_extra={"examples": [list(WEBHOOK_TYPES)]},
    )


class WebhookEndpointBody(Model):
    webhook_endpoint: WebhookEndpointInput


class WebhookEndpointOutput(Model):
    lago_id: str
    lago_organization_id: str
    webhook_url: str
    signature_algo: SignatureAlgorithm
    name: OptionalText
    event_types: list[str] | None
    created_at: Instant


class WebhookEndpointAnswer(Model):
    webhook_endpoint: WebhookEndpointOutput


class WebhookEndpointList(Model):
    webhook_endpoints: list[WebhookEndpointOutput]
    meta: Meta


class PublicKeyOutput(Model):
    public_key: str = Field(description="The PEM, in base64.")


class PublicKeyAnswer(Model):
    webhook: PublicKeyOutput
