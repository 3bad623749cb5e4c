"""One request being answered: what a handler gets, and how its answer becomes a response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from app.api import json_text
from app.api.auth import Identity, KeyRing
from app.api.errors import ApiError, coded, not_found, root_missing, too_large
from app.api.meter import Meter, Unavailable
from app.api.pagination import PageRequest
from app.api.query import Query
from app.definitions.commands import Applied, Command, Rejected

MAX_BODY_BYTES = 900_000
"""A batch becomes one record, of at most 1 MB once each event has organization and reception time;
one of hundreds of small events reaches that before (`event_input.record_value`)."""


@dataclass(frozen=True)
class Api:
    """What all requests share."""

    meter: Meter
    keys: KeyRing
    registry: CollectorRegistry
    session: ClientSession
    openapi: Mapping[str, Any]
    """What `/openapi.json` says."""
    max_batch: int
    open_page: bool
    """The live page shows every organization to whoever asks: for the local profile only."""


@dataclass(frozen=True)
class Reply:
    """An answer that needs more than a JSON value."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    @classmethod
    def json(cls, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
        return cls(json_text.encode(value), headers=headers or {})

    def response(self) -> web.Response:
        content_type, _, charset = self.content_type.partition("; charset=")
        return web.Response(
            body=self.body,
            status=self.status,
            headers=self.headers,
            content_type=content_type,
            charset=charset or "utf-8",
        )


@dataclass(frozen=True)
class Call:
    """A request that found its endpoint and, unless that is public, its identity."""

    api: Api
    request: web.Request
    parameters: Mapping[str, str]
    identity: Identity | None

    @property
    def meter(self) -> Meter:
        """The engine. Raises Unavailable until it knows enough to answer."""
        if not self.api.meter.opened:
            raise Unavailable("the definitions are being read")
        return self.api.meter

    @property
    def now_ms(self) -> int:
        """The clock; never behind a definition that this worker has applied."""
        return max(self.meter.now_ms(), self.meter.definitions.append_time_ms)

    @property
    def organization_id(self) -> str:
        if self.identity is None:
            raise AssertionError("a public endpoint speaks for no organization")
        return self.identity.organization_id

    @cached_property
    def query(self) -> Query:
        return Query(self.request.rel_url.raw_query_string)

    @property
    def page(self) -> PageRequest:
        return PageRequest.of(self.query)

    async def body(self) -> bytes:
        """The raw body; 413 when it is over the limit."""
        try:
            return await self.request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise too_large(MAX_BODY_BYTES) from error

    async def json(self) -> Any:
        """The body as JSON; an empty one is an empty object."""
        body = await self.body()
        return json_text.decode(body) if body.strip() else {}

    async def root(self, name: str) -> dict[str, Any]:
        """The object under the required root key; 400 when it is missing, empty or none."""
        value = await self.json()
        found = value.get(name) if isinstance(value, dict) else None
        if not isinstance(found, dict) or not found:
            raise root_missing(name)
        return found

    async def define(self, command: Command) -> Applied:
        """Change the definitions; a rejection becomes the answer."""
        outcome = await self.meter.define(command)
        if isinstance(outcome, Rejected):
            raise rejected(outcome)
        return outcome


def rejected(outcome: Rejected) -> ApiError:
    """The answer for a definition that was not accepted."""
    if outcome.status == 404 and not outcome.code.endswith("_not_found"):
        return not_found(outcome.code)
    return coded(outcome.status, outcome.code, outcome.details or None)
