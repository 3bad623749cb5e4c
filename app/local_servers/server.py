"""What a Kafka and a Redis of ours have in common: a directory, a port, a process."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from app.directory import private_directory
from app.errors import StackError
from app.local_servers.ports import free_ports, require_free
from app.local_servers.process import ServerProcess
from app.settings import HOST


class LocalServer(ABC):
    """A server whose files live under `directory`; they survive, so a second start goes on.

    Used by `async with`. Without a `port` a free one is taken and kept over restarts.
    """

    name: ClassVar[str]
    port_setting: ClassVar[str]
    address_setting: ClassVar[str]
    directory_setting: ClassVar[str]
    ready_timeout_s: ClassVar[float] = 60.0
    stop_timeout_s: ClassVar[float] = 30.0

    def __init__(
        self, directory: Path, *, port: int | None = None, log_file: Path | None = None
    ) -> None:
        self.directory = directory.resolve()
        self.port = port if port is not None else free_ports(1)[0]
        self._port_is_chosen = port is not None
        label = self.name.lower()
        log_file = log_file or self.directory / f"{label}.log"
        self.process = ServerProcess(self.name, self.directory / f"{label}.pid", log_file.resolve())

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{HOST}:{self.port}"

    async def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            StackError: port taken, no disk, or it did not come up.
        """
        try:
            private_directory(self.directory)
            self.process.stop_leftover(self.stop_timeout_s)
            if self._port_is_chosen:
                require_free(
                    self.port,
                    self.port_setting,
                    f"set {self.address_setting} to use a {self.name} that already runs",
                )
            self.process.start(await asyncio.to_thread(self._prepare))
        except OSError as error:
            raise StackError(
                f"{self.name}'s files could not be written: {error}. Set {self.directory_setting} "
                "to a directory that can."
            ) from error
        await self.process.wait_ready(self._answers, self.ready_timeout_s)

    async def stop(self) -> None:
        """Shut it down in order."""
        await self.process.stop(self.stop_timeout_s)

    def kill(self) -> None:
        """Send SIGKILL; `start` brings it back on the same port with the same files."""
        self.process.kill()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            with suppress(OSError):
                # Where nothing can be written nothing can be removed.
                self.kill()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Write what it needs into its directory; the command that runs it."""

    @abstractmethod
    async def _answers(self) -> bool:
        """Return whether it serves a client now."""
