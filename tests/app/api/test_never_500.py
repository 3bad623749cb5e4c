"""Whatever arrives, the answer is JSON and no defect; what is described is what is answered."""

from __future__ import annotations

import asyncio
import json
import string
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
import schemathesis
from aiohttp import ClientSession
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.descriptions import openapi_document
from app.api.endpoints.table import DESCRIBED
from tests.app.api.conftest import Running, start
from tests.world.profiles import TIMES, count
from tests.world.waiting import PATIENCE_S

# Round trip, so that the schema is plain JSON as a client would get it.
DOCUMENT = json.loads(json.dumps(openapi_document(DESCRIBED)))
SCHEMA = schemathesis.pytest.from_fixture("described")
AUTHORIZED = {"Authorization": "Bearer full"}
FUZZED = settings(
    deadline=None,
    # Beside the 60 requests at the limits of each operation, which every run makes.
    max_examples=1 if TIMES == 1 else 4 * TIMES,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)


class Thread:
    """An API on an event loop of its own, for clients that block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.running = self._do(self._start())
        self.url = self.running.base_url

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    async def _start(self) -> Running:
        return await start(ClientSession())

    async def _stop(self) -> None:
        assert self.running.server is not None
        await self.running.server.stop()
        await self.running.session.close()

    def stop(self) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def api_thread() -> Iterator[Thread]:
    thread = Thread()
    yield thread
    thread.stop()


@pytest.fixture(scope="module")
def described() -> Any:
    """All that is described. To make its requests takes seconds, so who only collects does not."""
    return schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        # For each of thousands of requests it would look for a proxy in all of the environment.
        session.trust_env = False
        yield session


@pytest.mark.slow
@pytest.mark.timeout(900)
@SCHEMA.parametrize()
@FUZZED
def test_described_operations(case: Any, api_thread: Thread, client: requests.Session) -> None:
    response = case.call(
        base_url=api_thread.url, headers=AUTHORIZED, session=client, timeout=PATIENCE_S
    )
    case.validate_response(
        response,
        checks=[
            not_a_server_error,
            content_type_conformance,
            response_schema_conformance,
            status_code_conformance,
        ],
    )


METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
ROOTS = ["billable_metrics", "events", "events/batch", "plans", "customers", "subscriptions"]
SEGMENT = st.text(st.sampled_from(string.printable + "é漢\0"), max_size=8).map(
    lambda text: quote(text, safe="")
)
PATHS = st.builds(
    lambda root, rest: "/".join(["/api/v1", root, *rest]),
    st.sampled_from(ROOTS),
    st.lists(SEGMENT, max_size=3),
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=8)
NAMES = st.sampled_from(
    [
        *("billable_metric", "event", "events", "plan", "customer", "subscription", "expression"),
        *("name", "code", "aggregation_type", "field_name", "filters", "key", "values", "group"),
        *("transaction_id", "external_subscription_id", "timestamp", "properties", "charges"),
        *("billable_metric_id", "charge_model", "external_id", "timezone", "billing_time"),
        *("interval", "amount_cents", "metadata", "billing_configuration", "subscription_at"),
    ]
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
BODIES = TREES.map(lambda tree: json.dumps(tree).encode()) | st.binary(max_size=30)


@given(method=METHODS, path=PATHS, query=st.text(max_size=12), body=BODIES)
@settings(FUZZED, max_examples=count(150))
@example("POST", "/api/v1/events", "", b'{"event":' + b"[" * 10_000)
@example("POST", "/api/v1/events", "", b'{"event":{"timestamp":1e999999999999999999999}}')
@example("POST", "/api/v1/events", "", b'{"event":{"timestamp":1e999999999}}')
@example("POST", "/api/v1/events", "", b'{"event":{"code":' + b"9" * 5_000 + b"}}")
@example("POST", "/api/v1/events", "", b'{"event":{"code":"\\ud800"}}')
@example("POST", "/api/v1/plans", "", b'{"plan":{"amount_cents":1e99999}}')
@example("GET", "/api/v1/billable_metrics/%FF%00", "page=%FF&page=99999999999999999999", b"")
@example("GET", "/api/v1/events", "timestamp_from=9999-99-99&per_page=-1", b"")
def test_anything_gets_json(
    api_thread: Thread, method: str, path: str, query: str, body: bytes
) -> None:
    response = requests.request(
        method,
        f"{api_thread.url}{path}?{quote(query, safe='=&[]%')}",
        data=body,
        headers=AUTHORIZED,
        timeout=PATIENCE_S,
    )
    assert response.status_code < 500, response.text
    assert response.headers["Content-Type"].startswith("application/json")
    if method != "HEAD":
        assert isinstance(response.json(), dict)
