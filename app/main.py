"""The worker, read top-down: topics, engine, web server, Faust app; then it runs until told."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from agents.ingest import add_ingest
from app.api.server import ApiServer, build_app
from app.billing_periods.timezones import tzdata_version
from app.clock import Clock, SystemClock
from app.definitions.commands import set_settings
from app.definitions.model import SettingsRecord
from app.engine import Engine
from app.gateway import Gateway
from app.local_state import LocalState
from app.metrics import EngineCollector
from app.settings import SHAPES_BYTES, Settings
from app.stack.errors import StackError
from app.topics import admin_client, ensure_topics
from app.transport import OffsetsLost, make_app
from tables.cells import FOLD_VERSION

log = logging.getLogger(__name__)

SCRAPED_S = 15.0
"""How long the metrics of a worker that gave up stay there."""

STOPPED_WITHIN_S = 60
"""A worker that has not stopped by then is ended as it is; the next start restores its state."""


class SettingsDiffer(StackError):
    """This worker's environment disagrees with the settings in the definitions log."""


class Worker:
    """One running worker: its engine, its API, its Faust app."""

    def __init__(self, settings: Settings, clock: Clock, **faust_overrides: Any):
        self._local = LocalState(settings.state_dir)
        settings = settings.model_copy(update={"state_dir": self._local.directory})
        self.settings = settings
        self.engine = Engine(settings, clock, url="")
        self.gateway = Gateway(self.engine)
        self.app = make_app(settings, self.engine, **faust_overrides)
        self.engine.attach(self.app)
        registry = CollectorRegistry()
        registry.register(EngineCollector(self.engine))
        self.api = ApiServer(
            build_app(
                self.gateway,
                settings.api_keys,
                registry,
                max_batch=settings.max_batch,
                open_page=settings.profile != "production",
            )
        )

    @property
    def url(self) -> str:
        """Where this worker answers."""
        return self.engine.url

    async def start(self) -> None:
        """Bring everything up; partitions arrive a moment later."""
        async with admin_client(self.settings) as admin:
            await ensure_topics(self.settings, admin)
        port = await self.api.start(self.settings.http_host, self.settings.http_port)
        self.engine.set_url(self.settings.advertised_url or _own_url(self.settings, port))
        await self.engine.start()
        await self._agree_on_settings()
        self.gateway.opened = True
        add_ingest(self.app, self.engine.owned.get, self.engine.forwarder)
        self.app.in_worker = True
        self.app.finalize()
        await self.app.start()

    async def stop(self) -> None:
        """Hand the partitions over cleanly, then let go of everything."""
        await self.app.stop()
        await self.engine.stop()
        await self.api.stop()
        self._local.close()

    async def run(self) -> None:
        """Wait until the worker fails, and raise what it failed with."""
        waiting = [
            asyncio.ensure_future(self.engine.failed.wait()),
            # Agents and transport crash the app without asking the engine.
            asyncio.ensure_future(self.app.wait_for_stopped()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiting:
                waiter.cancel()
        reason = self.engine.failure or self.app.crash_reason
        if isinstance(reason, OffsetsLost):
            # A restart changes nothing: let a scrape of the metrics see it before the worker ends.
            self.engine.failure, self.engine.offsets_lost = reason, True
            log.error("Events are lost, the worker ends in %g s: %s", SCRAPED_S, reason)
            await asyncio.sleep(SCRAPED_S)
        raise reason or RuntimeError("the worker stopped")

    async def _agree_on_settings(self) -> None:
        """Fill the first settings record, or refuse to run beside one that differs."""
        definitions = self.engine.definitions
        wanted = settings_record(self.settings)
        if not definitions.settings:
            await self.gateway.define(set_settings(wanted))
            return
        in_force = definitions.settings_at()
        differing = [
            name
            for name in (*SHAPES_BYTES, "fold_version", "tzdata_version")
            if getattr(wanted, name) != getattr(in_force, name)
        ]
        if differing:
            lines = [
                f"  {name}: {getattr(wanted, name)!r} here, {getattr(in_force, name)!r} in the log"
                for name in differing
            ]
            raise SettingsDiffer(
                "These settings shape usage records, so they live in the definitions log, and this "
                "worker has others:\n" + "\n".join(lines) + "\nUnset the METER_* variables that "
                "differ, or change the log with `meter settings apply`."
            )


def settings_record(settings: Settings) -> SettingsRecord:
    """What the environment would put into the first settings record."""
    values = {name: getattr(settings, name) for name in SHAPES_BYTES}
    return msgspec.convert(
        {**values, "fold_version": FOLD_VERSION, "tzdata_version": tzdata_version()},
        SettingsRecord,
    )


@asynccontextmanager
async def running_worker(
    settings: Settings, clock: Clock | None = None, **faust_overrides: Any
) -> AsyncIterator[Worker]:
    """A worker for the length of a block."""
    worker = Worker(settings, clock or SystemClock(), **faust_overrides)
    try:
        await worker.start()
        yield worker
    finally:
        await worker.stop()


async def run_worker(settings: Settings, tell: Callable[[Worker], None]) -> None:
    """Run a worker until it is cancelled or fails."""
    # Cells and cached members live long, slices die at once: collect young ones far less often.
    gc.set_threshold(50_000, 20, 50)
    await run_to_the_end(Worker(settings, SystemClock()), tell)


async def run_to_the_end(worker: Worker, tell: Callable[[Worker], None]) -> None:
    """Start a worker, run it until it is cancelled or fails, and stop it.

    Neither a broker that is gone nor a want of memory keeps the process: one that lives on without
    working is not started again by anybody.
    """
    # The kernel ends the process, which needs nothing of it; before that it says where it is.
    faulthandler.register(signal.SIGALRM, chain=True)
    try:
        await worker.start()
        tell(worker)
        await worker.run()
    finally:
        signal.alarm(STOPPED_WITHIN_S)
        try:
            await worker.stop()
        finally:
            signal.alarm(0)


def _own_url(settings: Settings, port: int) -> str:
    host = settings.http_host
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = socket.gethostname()
    return f"http://{host}:{port}"
