"""One request being answered: what a handler gets, and how its answer becomes a response."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from app.api import json_text
from app.api.auth import Identity, KeyRing, PeerTokens
from app.api.bodies import Body
from app.api.errors import ApiError, coded, invalid, not_found, root_missing
from app.api.keys import EVERY_ORGANIZATION
from app.api.overviews import Overviews
from app.api.pagination import Item, PageRequest, listing
from app.api.query import Query
from app.bounds.turns import Turns, Work
from app.definitions.commands import Applied, Command, Rejected
from app.meter.errors import Unavailable
from app.meter.interface import Meter

ORGANIZATION_HEADER = "Meter-Organization"
"""Names the organization that a key of all organizations speaks for."""

VISITOR = Identity(EVERY_ORGANIZATION, "operator", "page")
"""Whoever looks at a page that is open to all."""


@dataclass(frozen=True)
class Api:
    """What all requests share."""

    meter: Meter
    keys: KeyRing
    peers: PeerTokens
    registry: CollectorRegistry
    session: ClientSession
    openapi: Mapping[str, Any]
    """What `/openapi.json` says."""
    max_batch: int
    open_page: bool
    """The live page shows every organization to whoever asks: for the local profile only."""
    turns: Turns
    """Of the event loop, for answers of somebody else's size."""
    overviews: Overviews = field(default_factory=Overviews)


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
    received: Body
    sender: Identity | None = None
    """Who asks, by the token of the worker that sends this on; None: a client of ours asks."""

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
    def forwarded(self) -> bool:
        """Whether another worker sent this request, as its token has proven."""
        return self.sender is not None

    @cached_property
    def asker(self) -> Identity:
        """Who asks, also where no key is needed: of an open page anybody, for all. Raises 401."""
        known = self.identity or self.sender
        if known is not None:
            return known
        authorization = self.request.headers.get("Authorization")
        if authorization is None and self.api.open_page:
            return VISITOR
        return self.api.keys.identify(authorization, self.request.remote or "")

    @property
    def organization_id(self) -> str:
        """Whose objects the request is about; 422 where a key of all organizations names none."""
        if self.identity is None:
            raise AssertionError("a public endpoint speaks for no organization")
        if not self.identity.operates:
            return self.identity.organization_id
        named = self.request.headers.get(ORGANIZATION_HEADER, "")
        if not named:
            raise invalid({"organization_id": ["value_is_mandatory"]})
        return named

    @cached_property
    def query(self) -> Query:
        return Query(self.request.rel_url.raw_query_string)

    @property
    def page(self) -> PageRequest:
        return PageRequest.of(self.query)

    async def body(self) -> bytes:
        """The raw body; 413 when it is over the limit, 408 when it does not come in time."""
        return await self.received.read()

    def count_events(self, count: int) -> None:
        """Take so many from what the key may send in a second; 429 when they are too many.

        Another worker has counted what it sends on.
        """
        if self.identity is not None and self.identity.events is not None:
            self.identity.events.take(count)

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

    @property
    def key_name(self) -> str | None:
        """In whose name it is."""
        return None if self.identity is None else self.identity.name or None

    async def listing(
        self, root: str, items: Iterable[Item | None], to_json: Callable[[Item], Any]
    ) -> dict[str, Any]:
        """The page that is asked for, made in turns."""
        work = Work("request", f"listing {root}", self.organization_id)
        return await self.api.turns.run(work, listing(root, items, self.page, to_json))

    async def define(self, command: Command) -> Applied:
        """Change the definitions, in the name of the key; a rejection becomes the answer."""
        named = msgspec.structs.replace(command, changed_by=self.key_name)
        outcome = await self.meter.definer.define(named)
        if isinstance(outcome, Rejected):
            raise rejected(outcome)
        return outcome


def rejected(outcome: Rejected) -> ApiError:
    """The answer for a definition that was not accepted."""
    if outcome.status == 404 and not outcome.code.endswith("_not_found"):
        return not_found(outcome.code)
    return coded(outcome.status, outcome.code, outcome.details or None)
