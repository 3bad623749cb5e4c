"""One request being answered: what a handler gets, and how its answer becomes a response."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from aiohttp import ClientSession, web
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from app.api.exposition import Exposition
from app.api.http import json_text
from app.api.http.auth import Identity, KeyRing, PeerTokens
from app.api.http.bodies import Body
from app.api.http.errors import ApiError, coded, invalid, not_found, root_missing
from app.api.http.keys import EVERY_ORGANIZATION
from app.api.http.pagination import Item, PageRequest, listing, numbered
from app.api.http.query import Query
from app.api.http.siblings import Siblings
from app.api.overview.overviews import Overviews
from app.bounds.turns import Steps, Turns, Work
from app.definitions.command import Command
from app.definitions.outcome import Rejected
from app.meter.errors import Unavailable
from app.meter.interface import Meter

ORGANIZATION_HEADER = "Meter-Organization"
"""Names the organization that a key of all organizations speaks for."""

VISITOR = Identity(EVERY_ORGANIZATION, "operator", "page")
"""Identity of anybody who looks at a page that is open to all."""


@dataclass(frozen=True)
class Api:
    """What all requests share."""

    meter: Meter
    keys: KeyRing
    peers: PeerTokens
    registry: CollectorRegistry
    session: ClientSession
    openapi: Callable[[], Mapping[str, Any]]
    """Makes the content of `/openapi.json`; the first time it takes long."""
    max_batch: int
    open_page: bool
    """The live page shows every organization to whoever asks: for the local profile only."""
    turns: Turns
    """Turns of the event loop, for answers of any size."""
    webhook_public_key: str | None = None
    """PEM in base64; None: webhooks are not signed with a key of our own."""
    overviews: Overviews = field(default_factory=Overviews)
    """What pages show, of all workers."""
    own_overviews: Overviews = field(default_factory=Overviews)
    """This worker's part of what pages of other workers show: nothing here waits for those."""
    exposition: Exposition = field(default_factory=Exposition)
    """Metrics of this worker and its siblings."""
    own_exposition: Exposition = field(default_factory=Exposition)
    """Metrics of this worker, for siblings too."""
    siblings: Siblings | None = None
    """Workers of the same parent; None: this one has none."""


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
    """Identity in the token of the worker that forwards this request; None: a client sent it."""

    @property
    def meter(self) -> Meter:
        """The engine. Raises Unavailable until the engine has read the definitions."""
        if not self.api.meter.opened:
            raise Unavailable("the definitions are being read")
        return self.api.meter

    @property
    def now_ms(self) -> int:
        """Time of the clock in ms, never before the last definition that this worker applied."""
        return max(self.meter.now_ms(), self.meter.definitions.append_time_ms)

    @property
    def forwarded(self) -> bool:
        """True: another worker sent this request, as its token has proven."""
        return self.sender is not None

    @cached_property
    def asker(self) -> Identity:
        """Identity of the sender, on an open page without a key VISITOR. Raises 401, 429."""
        known = self.identity or self.sender
        if known is not None:
            return known
        authorization = self.request.headers.get("Authorization")
        if authorization is None and self.api.open_page:
            return VISITOR
        return self.api.keys.identify(authorization, self.request.remote or "")

    @property
    def organization_id(self) -> str:
        """Organization of the request. Raises 422 if an operator's key names no organization."""
        if self.identity is None:
            raise AssertionError("a public endpoint speaks for no organization")
        if not self.identity.operates:
            return self.identity.organization_id
        named = self.request.headers.get(ORGANIZATION_HEADER, "")
        if not named:
            raise invalid({"organization_id": ["value_is_mandatory"]})
        return named

    def within(self, organization_id: str) -> Call:
        """Return the call as one of an organization that its sender may speak for."""
        asker = self.asker
        access = "write" if asker.operates else asker.access
        identity = replace(asker, organization_id=organization_id, access=access)
        return replace(self, identity=identity)

    @cached_property
    def query(self) -> Query:
        return Query(self.request.rel_url.raw_query_string)

    @property
    def page(self) -> PageRequest:
        return PageRequest.of(self.query)

    async def body(self) -> bytes:
        """Return the raw body. Raises 413 when it is over the limit, 408 when it is late."""
        return await self.received.read()

    def count_events(self, count: int) -> None:
        """Take a number of events from the key's rate. Raises 429 when they are too many.

        Events of a forwarded request have been counted by the worker that forwards them.
        """
        if self.identity is not None and self.identity.events is not None:
            self.identity.events.take(count)

    async def json(self) -> Any:
        """Return the body as JSON; an empty body is an empty object."""
        body = await self.body()
        return json_text.decode(body) if body.strip() else {}

    async def root(self, name: str) -> dict[str, Any]:
        """Return the object under the required root key. Raises 400 when it is missing or empty."""
        value = await self.json()
        found = value.get(name) if isinstance(value, dict) else None
        if not isinstance(found, dict) or not found:
            raise root_missing(name)
        return found

    @property
    def key_name(self) -> str | None:
        """Name of the key; None: the request has no key, or a key without name."""
        return None if self.identity is None else self.identity.name or None

    async def listing(
        self,
        root: str,
        items: Iterable[Item | None],
        to_json: Callable[[Item], Any],
    ) -> dict[str, Any]:
        """Return the requested page of a listing, made in turns (see `pagination.listing`)."""
        return await self._listed(root, listing(root, items, self.page, to_json))

    async def numbered(
        self,
        root: str,
        blocks: Iterable[NDArray[np.uint32]],
        to_json: Callable[[int], Any],
        total_count: int | None = None,
    ) -> dict[str, Any]:
        """Return the requested page of objects that have numbers (see `pagination.numbered`)."""
        return await self._listed(root, numbered(root, blocks, self.page, to_json, total_count))

    async def _listed(self, root: str, steps: Steps[dict[str, Any]]) -> dict[str, Any]:
        work = Work("request", f"listing {root}", self.organization_id)
        return await self.api.turns.run(work, steps)

    async def define(self, command: Command) -> Any:
        """Change the definitions in the name of the key; return the object made or changed.

        Raises the answer for a rejection.
        """
        named = msgspec.structs.replace(command, changed_by=self.key_name)
        outcome = await self.meter.definer.define(named)
        if isinstance(outcome, Rejected):
            raise rejected(outcome)
        return outcome.object


def rejected(outcome: Rejected) -> ApiError:
    """Return the error answer for a rejected definition."""
    if outcome.status == 404 and not outcome.code.endswith("_not_found"):
        return not_found(outcome.code)
    return coded(outcome.status, outcome.code, outcome.details or None)
