"""A small REST client: what a customer of the API would write."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.world.defining import Defining
from tests.world.waiting import PATIENCE_S

Json = dict[str, Any]
KEY = "local-key"
_PATIENT = aiohttp.ClientTimeout(total=PATIENCE_S)


class Api(Defining):
    """One worker's API; `url` may be changed when another worker is to be asked."""

    def __init__(self, url: str, key: str = KEY, timeout: aiohttp.ClientTimeout = _PATIENT):
        self.url = url
        self._key = key
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}"}, timeout=self._timeout
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        """Status and answer."""
        assert self._session is not None
        async with self._session.request(method, f"{self.url}/api/v1{path}", json=body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else {}

    async def call_when_available(
        self, method: str, path: str, body: Json | None = None, within_s: float = PATIENCE_S
    ) -> tuple[int, Json]:
        """Status and answer of a call that is made again while the API says "not now" (503).

        A worker says so for some seconds after a broker was away, and clients ask again. What it
        did without saying so is then there already: a second DELETE finds nothing.
        """
        until_s = time.monotonic() + within_s
        status, answer = await self.call(method, path, body)
        was_unsure = False
        while status == 503 and time.monotonic() < until_s:
            was_unsure = True
            await asyncio.sleep(1)
            status, answer = await self.call(method, path, body)
        if was_unsure and method == "DELETE" and status == 404:
            return 200, {}
        return status, answer

    async def post(self, path: str, body: Json) -> Json:
        """The answer, once it is available; anything but 200 fails the test."""
        status, answer = await self.call_when_available("POST", path, body)
        assert status == 200, (path, status, answer)
        return answer

    async def reports(self, path: str, body: Json) -> list[Json]:
        """The lines of an answer that tells how far it is."""
        assert self._session is not None
        async with self._session.post(f"{self.url}/api/v1{path}", json=body) as answer:
            assert answer.status == 200, (path, answer.status, await answer.text())
            return [json.loads(line) async for line in answer.content]

    async def text(self, address: str) -> str:
        """Answer of any address of the worker."""
        assert self._session is not None
        async with self._session.get(f"{self.url}{address}") as answer:
            return await answer.text()

    async def form(self, address: str, **fields: str) -> str:
        """Answer to a form of the page that is sent."""
        assert self._session is not None
        async with self._session.post(
            f"{self.url}{address}", data=fields, headers={"Meter-Page": "1"}
        ) as answer:
            assert answer.status == 200, (address, answer.status)
            return await answer.text()

    async def overview(self) -> Json:
        """What the page shows."""
        assert self._session is not None
        async with self._session.get(f"{self.url}/api/page/overview") as answer:
            overview: Json = json.loads(await answer.text())
            return overview

    async def held_back(self) -> str:
        """What cuts wait for, as the page says it."""
        overview = await self.overview()
        return json.dumps([overview.get("closing"), overview.get("partitions")])

    async def current_usage(self, customer: str, subscription: str) -> Json:
        """The `customer_usage` object, once its partition has changed hands if it does."""
        path = f"/customers/{customer}/current_usage?external_subscription_id={subscription}"
        status, answer = await self.call_when_available("GET", path)
        assert status == 200, (path, status, answer)
        usage: Json = answer["customer_usage"]
        return usage

    async def usage_if_owned(self, customer: str, subscription: str) -> Json | None:
        """The `customer_usage` object; None while its partition changes hands."""
        path = f"/customers/{customer}/current_usage?external_subscription_id={subscription}"
        status, answer = await self.call("GET", path)
        if status == 503:
            return None
        assert status == 200, (path, status, answer)
        usage: Json = answer["customer_usage"]
        return usage

    async def units(self, customer: str, subscription: str) -> dict[str, Decimal]:
        """Units by metric code; {} while there is no usage to ask for."""
        path = f"/customers/{customer}/current_usage?external_subscription_id={subscription}"
        status, answer = await self.call("GET", path)
        if status != 200:
            return {}
        charges = answer["customer_usage"]["charges_usage"]
        return {c["billable_metric"]["code"]: Decimal(c["units"]) for c in charges}


async def text_of(url: str) -> str:
    """What a page says, whatever its status."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


@asynccontextmanager
async def api_of(url: str) -> AsyncIterator[Api]:
    async with Api(url) as api:
        yield api
