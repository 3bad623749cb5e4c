"""The definitions log that requests of the API write: its own handlers, without a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NoReturn

import msgspec
from aiohttp import ClientSession
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from app.api.answering.call import Api, Call
from app.api.answering.router import Router
from app.api.endpoints.table import ENDPOINTS
from app.api.http.auth import Identity, KeyRing, PeerTokens
from app.api.http.bodies import Body
from app.api.http.errors import ApiError
from app.bounds.turns import Turns
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.files import DefinitionLine
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Applied, Rejected
from app.definitions.state import Definitions
from app.meter.changes import DefinitionChange
from app.meter.health import Reason
from tests.conformance.files import Json
from tests.conformance.scenario import CannotRun


class _GivenBody(Body):
    """A body that is there."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self) -> bytes:
        return self._content


def _unasked(_: object) -> NoReturn:
    raise CannotRun("the request asks for more than definitions")


class RequestLog:
    """`app.meter.interface.Meter` as far as requests that define something go."""

    opened = True
    routing = property(_unasked)
    ingest = property(_unasked)
    events = property(_unasked)
    usage = property(_unasked)
    evidence = property(_unasked)
    published = property(_unasked)
    repairs = property(_unasked)
    overviews = property(_unasked)

    def __init__(self, organization_id: str, settings: SettingsRecord, at_ms: int) -> None:
        self.organization_id = organization_id
        self.definitions = Definitions()
        self.lines: list[DefinitionLine] = []
        self._now_ms = at_ms
        self._append(commands.set_settings(settings))

    def send(self, requests: Sequence[tuple[int, Json]]) -> None:
        """Append what each request defines, at its time in ms.

        Raises `CannotRun` for one that is refused.
        """
        asyncio.run(self._send(requests))

    async def _send(self, requests: Sequence[tuple[int, Json]]) -> None:
        async with ClientSession() as session:
            registry = CollectorRegistry()
            api = Api(
                self, KeyRing(()), PeerTokens(""), registry, session, dict, 100, False, Turns()
            )
            for self._now_ms, request in requests:
                try:
                    await self._answer(api, request)
                except ApiError as error:
                    told = f"{request['method']} {request['path']}: {error.status} {error}"
                    raise CannotRun(told) from error

    async def _answer(self, api: Api, described: Json) -> None:
        method, path = described["method"], described["path"]
        request = make_mocked_request(method, path)
        endpoint, parameters = Router(ENDPOINTS).find(method, request.rel_url.raw_path)
        body = b"" if described.get("body") is None else msgspec.json.encode(described["body"])
        identity = Identity(self.organization_id, "write")
        await endpoint.handler(Call(api, request, parameters, identity, _GivenBody(body)))

    def _append(self, command: Command) -> Applied | Rejected:
        line = DefinitionLine(self._now_ms, len(self.lines), command.encode())
        self.lines.append(line)
        outcome = apply(self.definitions, line.value, line.append_time_ms, line.offset)
        if outcome is None:
            raise AssertionError("a command is no tick")
        return outcome

    @property
    def definer(self) -> RequestLog:
        return self

    async def define(self, command: Command) -> Applied | Rejected:
        return self._append(command)

    async def changes(
        self, organization_id: str | None, since: int
    ) -> tuple[list[DefinitionChange], int]:
        return [], len(self.lines)

    def now_ms(self) -> int:
        return self._now_ms

    def health(self) -> list[Reason]:
        return []

    def not_ready(self) -> tuple[str, ...]:
        return ()
