"""A worker in this process under a clock of the vectors' own, and a client of its API."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiohttp import ClientSession
from pydantic import SecretStr

from app.clock import SystemClock
from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import Worker, running_worker
from app.settings import Access, ApiKey, Settings
from tests.world.clock import ManualClock
from tests.world.waiting import until

PARTITIONS = 2
_READY_S = 60.0
_LATE_WINDOW_S = 10 * 365 * 86_400
"""In vectors no event is too late."""


class VectorClock(ManualClock):
    """The time is that of the vectors; intervals pass as they do."""

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms)
        self._intervals = SystemClock()

    def monotonic_s(self) -> float:
        return self._intervals.monotonic_s()


class Servers(NamedTuple):
    """Kafka and Redis of our own; `kafka_dir` proves that they are."""

    bootstrap_servers: str
    kafka_dir: Path
    redis_url: str


class Client(NamedTuple):
    """A worker's API with the key of one organization."""

    session: ClientSession
    base_url: str
    api_key: str

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. Raises `RequestRefused` for any status but 200."""
        return (await self._answer(method, path, body))[0]

    async def produce(self, body: Any) -> str:
        """Where the event is in the log, `partition:offset`."""
        return (await self._answer("POST", "/events", body))[1]["Meter-Position"]

    async def _answer(self, method: str, path: str, body: Any) -> tuple[Any, Mapping[str, str]]:
        async with self.session.request(
            method,
            f"{self.base_url}/api/v1{path}",
            data=None if body is None else msgspec.json.encode(body),
            headers={
                "Authorization": f"Bearer {self.api_key}",
                "Content-Type": "application/json",
            },
        ) as response:
            content = await response.read()
            if response.status != 200:
                raise RequestRefused(
                    f"{method} {path} answered {response.status}: {content.decode()}"
                )
            return msgspec.json.decode(content), response.headers


class RequestRefused(Exception):
    """The API answered with an error; the message has all of it."""


@asynccontextmanager
async def own_servers(directory: Path) -> AsyncIterator[Servers]:
    """Kafka and Redis for the length of a block, their files in `directory`."""
    kafka_dir = directory / "kafka"
    async with LocalKafka(kafka_dir) as kafka, LocalRedis(directory / "redis") as redis:
        yield Servers(kafka.bootstrap_servers, kafka.directory, redis.url)


@asynccontextmanager
async def vector_worker(
    servers: Servers, directory: Path, api_keys: Iterable[ApiKey], clock: VectorClock
) -> AsyncIterator[Worker]:
    """A worker that owns all of its partitions; its topics take the producers' time."""
    (port,) = free_ports(1)
    prefix = f"vectors-{uuid.uuid4().hex[:8]}-"
    settings = Settings(
        profile="test",
        test_clock=True,
        topic_prefix=prefix,
        state_dir=directory / prefix,
        kafka_bootstrap_servers=(servers.bootstrap_servers,),
        kafka_dir=servers.kafka_dir,
        redis_url=servers.redis_url,
        http_port=port,
        raw_partitions=PARTITIONS,
        api_keys=tuple(api_keys),
        flush_interval_s=0.2,
        late_window_s=_LATE_WINDOW_S,
        implicit_plan=False,
    )
    async with running_worker(settings, clock) as worker:
        await until(lambda: _owns_everything(worker), _READY_S)
        yield worker


def _owns_everything(worker: Worker) -> bool:
    return not worker.gateway.not_ready() and len(worker.engine.owned) == PARTITIONS


def api_key(organization_id: str, key: str, access: Access = "write") -> ApiKey:
    """A key of an organization."""
    return ApiKey(organization_id=organization_id, key=SecretStr(key), access=access)
