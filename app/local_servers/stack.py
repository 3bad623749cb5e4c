"""Both servers together, each only if no existing one is configured."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from app.directory import private_directory
from app.errors import StackError
from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from app.local_servers.server import LocalServer
from app.settings import Settings

MIN_FREE_BYTES = 512 * 1024 * 1024

Tell = Callable[[str], None]


@asynccontextmanager
async def local_stack(settings: Settings, tell: Tell) -> AsyncIterator[Settings]:
    """Start what `settings` names no server for; yields them with the addresses filled in.

    `tell` gets one line for each thing that happens. On leaving, the servers are stopped. If one
    ends by itself, the block is cancelled and the failure raised.

    Raises:
        StackError: state directory in use or full, port taken, or a server did not come up or
            did not stay up.
    """
    with exclusive(settings.state_dir):
        async with AsyncExitStack() as servers:
            redis = await _redis(settings, tell, servers)
            kafka = await _kafka(settings, tell, servers)
            running = settings.model_copy(
                update=({"redis_url": redis.url} if redis else {})
                | ({"kafka_bootstrap_servers": (kafka.bootstrap_servers,)} if kafka else {})
            )
            async with _watched([server for server in (redis, kafka) if server], tell):
                yield running


async def _redis(settings: Settings, tell: Tell, servers: AsyncExitStack) -> LocalRedis | None:
    if settings.redis_url is not None:
        return None
    redis = LocalRedis(
        settings.state_dir / "redis",
        port=settings.redis_port,
        log_file=settings.state_dir / "logs" / "redis.log",
    )
    await servers.enter_async_context(redis)
    tell(f"Redis   {redis.url}")
    return redis


async def _kafka(settings: Settings, tell: Tell, servers: AsyncExitStack) -> LocalKafka | None:
    if settings.kafka_bootstrap_servers:
        return None
    tell("Kafka   starting …")
    kafka = LocalKafka(
        settings.kafka_dir,
        port=settings.kafka_port,
        log_file=settings.state_dir / "logs" / "kafka.log",
        maven_url=settings.maven_url,
    )
    await servers.enter_async_context(kafka)
    tell(f"Kafka   {kafka.bootstrap_servers}")
    return kafka


@asynccontextmanager
async def _watched(servers: Sequence[LocalServer], tell: Tell) -> AsyncIterator[None]:
    """Cancel the block when a server ends by itself, and say which did."""

    async def watch(server: LocalServer) -> None:
        try:
            await server.process.wait_ended()
        except StackError:
            # Said at once: without it the others may take minutes to stop.
            tell(f"{server.name} ended by itself; the others are stopped …")
            raise

    try:
        async with asyncio.TaskGroup() as group:
            watchers = [group.create_task(watch(server)) for server in servers]
            yield
            for watcher in watchers:
                watcher.cancel()
    except BaseExceptionGroup as failures:
        # One came first; what it caused in the others is not the reason.
        raise failures.exceptions[0] from None


@contextmanager
def exclusive(state_dir: Path) -> Iterator[None]:
    """Hold the state directory alone; the system lets go of it when the process ends.

    Raises:
        StackError: another process holds it, it cannot be written, or the disk is nearly full.
    """
    try:
        private_directory(state_dir)
        lock = (state_dir / "lock").open("a")
    except OSError as error:
        raise StackError(
            f"The state directory cannot be written: {error}. Set METER_STATE_DIR to another."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                f"Another meter is running on {state_dir}. Stop it, or set METER_STATE_DIR "
                "(and METER_KAFKA_PORT, METER_REDIS_PORT, METER_HTTP_PORT) for a second one."
            ) from error
        _require_space(state_dir)
        yield


def _require_space(state_dir: Path) -> None:
    free = shutil.disk_usage(state_dir).free
    if free < MIN_FREE_BYTES:
        raise StackError(
            f"The disk of {state_dir} has {free // 1_000_000} MB left, at least "
            f"{MIN_FREE_BYTES // 1_000_000} MB are needed. Free some, or set METER_STATE_DIR."
        )
