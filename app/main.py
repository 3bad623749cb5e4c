"""The worker, read top-down: topics, engine, web server, Faust app; then it runs until told."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    ProcessCollector,
    disable_created_metrics,
)
from yarl import URL

from agents import PARTITION_AGENTS, WORKER_AGENTS
from agents.ingest import add_ingest
from app.api.http.auth import KeyRing, PeerTokens
from app.api.http.certificate import Certificate
from app.api.http.hosts import require_guarded, require_peer_secret
from app.api.http.keys import KeysFile, keys_of
from app.api.http.open_files import most_connections, raise_limit
from app.api.http.siblings import Siblings
from app.api.request_metrics import KeysCollector
from app.api.server import ApiServer, build_app
from app.bounds.cancellation import end_if_asked, retrieve
from app.bounds.collecting import Collecting
from app.clock import Clock, SystemClock
from app.definitions.commands import set_settings
from app.errors import StackError
from app.kafka.cluster import cluster_of
from app.kafka.faust_app import make_app
from app.kafka.names import KafkaError
from app.kafka.record_batch import OffsetsLost
from app.kafka.subscriptions import require_same_topics
from app.kafka.topics import admin_client, ensure_topics, topic_specs
from app.kafka.transactions import require_long_transactions
from app.log import facts, told
from app.offline.proof import prove_topics
from app.queries.gateway import Gateway
from app.runtime.agreement import differing_settings, settings_record
from app.runtime.engine import Engine
from app.runtime.local_state import LocalState
from app.runtime.metrics import EngineCollector
from app.runtime.stall import Stall
from app.settings import Settings, unknown_variables
from app.webhooks.signatures import public_key_text, read_private_key

log = logging.getLogger(__name__)

SCRAPED_S = 15.0
"""How long the metrics of a worker that gave up stay there."""

_WHOLE_POLL_S = 0.05
_STARTED_WITHIN_S = 20.0
"""Seconds that a worker which is to end waits for Faust to have started; without Kafka it never
has."""
STOPPED_WITHIN_S = 60
"""A worker that has not stopped by then is ended as it is; the next start restores its state."""


class SettingsDiffer(StackError):
    """This worker's environment disagrees with the settings in the definitions log."""


class Worker:
    """One running worker: its engine, its API, its Faust app."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        siblings: Siblings | None = None,
        **faust_overrides: Any,
    ):
        """Take `siblings`: workers that share the HTTP port with this one; None: there are none."""
        require_guarded(settings)
        require_peer_secret(settings)
        self.keys = KeyRing(keys_of(settings))
        self.keys_file = KeysFile(settings, self.keys.prepared)
        # Before the engine has clients that nobody would close.
        certificate, webhook_public_key = _certificate(settings), _webhook_public_key(settings)
        peer_tls = settings.peer_tls()
        self._following: asyncio.Task[None] | None = None
        self._siblings = siblings
        self._local = LocalState(settings.state_dir)
        settings = settings.model_copy(update={"state_dir": self._local.directory})
        self.settings = settings
        self.engine = Engine(
            settings,
            clock,
            url="",
            worker_agents=WORKER_AGENTS,
            partition_agents=PARTITION_AGENTS,
        )
        self.gateway = Gateway(self.engine, partial(prove_topics, settings))
        self.app = make_app(settings, self.engine.ownership, **faust_overrides)
        self.engine.delivery.attach(self.app)
        # No second family beside each histogram.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        registry.register(EngineCollector(self.engine))
        for process in (ProcessCollector, GCCollector):
            process(registry=registry)
        registry.register(KeysCollector(self.keys, self.keys_file))
        self.stall = Stall(self.engine.shared.turns, registry)
        self._collecting = Collecting()
        self.api = ApiServer(
            build_app(
                self.gateway,
                self.keys,
                registry,
                max_batch=settings.max_batch,
                open_page=settings.open_page,
                turns=self.engine.shared.turns,
                own_names=_own_names(settings),
                proxies=settings.trusted_proxies,
                peers=PeerTokens(settings.peer_secret.get_secret_value()),
                peer_tls=peer_tls,
                webhook_public_key=webhook_public_key,
                siblings=siblings,
            ),
            certificate=certificate,
            most_connections=most_connections(raise_limit()),
        )

    @property
    def url(self) -> str:
        """Where this worker answers."""
        return self.engine.url

    async def start(self) -> None:
        """Bring everything up, and wait for the partitions that the group gives."""
        self._collecting.start()
        self._tell_start()
        self.stall.start()
        self._following = asyncio.create_task(self.keys_file.follow())
        async with admin_client(self.settings) as admin:
            await require_same_topics(self.settings, admin)
            await ensure_topics(self.settings, admin)
            self.engine.shared.members.cluster = (await cluster_of(admin)).cluster_id
        await require_long_transactions(self.settings)
        await self._listen()
        await self.engine.start()
        await self._agree_on_settings()
        await self.engine.claims.hold()
        end_if_asked()
        self.gateway.opened = True
        engine = self.engine
        add_ingest(self.app, engine.owned.get, engine.forwarder, engine.shared.turns)
        self.app.in_worker = True
        self.app.finalize()
        await self._start_faust()
        # Whoever replaces workers one after the other takes the next when this one is of use.
        while not (engine.ownership.is_whole or engine.failed.is_set() or self.app.should_stop):
            end_if_asked()
            await asyncio.sleep(_WHOLE_POLL_S)
        end_if_asked()

    async def _start_faust(self) -> None:
        """Start Faust; a cancellation waits until it has started.

        One that has started by half waits in its stop for what never began.
        """
        starting = asyncio.ensure_future(self.app.start())
        starting.add_done_callback(retrieve)
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting], timeout=_STARTED_WITHIN_S)
            starting.cancel()
            raise

    async def _listen(self) -> None:
        settings, siblings = self.settings, self._siblings
        port = await self.api.start(
            settings.http_host,
            settings.http_port,
            settings.admin_port,
            shared=siblings is not None,
        )
        url = settings.advertised_url or _own_url(settings, port)
        if siblings is not None:
            # The others ask this very worker.
            url = str(URL(url).with_port(port))
            siblings.tell(url)
        self.engine.shared.set_url(url)

    def _tell_start(self) -> None:
        settings, number = self.settings, version("meterstream")
        log.info(
            "Meterstream %s starts",
            number,
            extra=facts(
                "start",
                version=number,
                settings=settings.changed(),
                unknown=unknown_variables(os.environ),
                topics=[spec.name for spec in topic_specs(settings)],
                partitions=settings.raw_partitions,
            ),
        )

    async def stop(self) -> None:
        """Hand the partitions over cleanly, then let go of everything."""
        if self._following is not None:
            self._following.cancel()
        await self.app.stop()
        await self.engine.stop()
        await self.api.stop()
        await self.stall.stop()
        self._collecting.stop()
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
            self.engine.note_failure(reason, offsets_lost=True)
            log.error("Events are lost, the worker ends in %g s: %s", SCRAPED_S, reason)
            await asyncio.sleep(SCRAPED_S)
        raise reason or RuntimeError("the worker stopped")

    async def _agree_on_settings(self) -> None:
        """Fill the first settings record, or refuse to run beside one that differs."""
        definitions = self.engine.definitions
        wanted = settings_record(self.settings)
        if not definitions.settings:
            await self.gateway.definer.define(set_settings(wanted))
            return
        in_force = definitions.settings_at()
        differing = differing_settings(self.settings, in_force)
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


@asynccontextmanager
async def running_worker(
    settings: Settings, clock: Clock | None = None, **faust_overrides: Any
) -> AsyncIterator[Worker]:
    """Run a worker for the length of a block."""
    worker = Worker(settings, clock or SystemClock(), **faust_overrides)
    try:
        await worker.start()
        yield worker
    finally:
        await worker.stop()


async def run_worker(
    settings: Settings, tell: Callable[[Worker], None], siblings: Siblings | None = None
) -> None:
    """Run a worker until it is cancelled or fails."""
    worker = Worker(settings, SystemClock(), siblings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, worker.keys_file.look)
    await run_to_the_end(worker, tell)


async def run_to_the_end(worker: Worker, tell: Callable[[Worker], None]) -> None:
    """Start a worker, run it until it is cancelled or fails, and stop it.

    Neither a broker that is gone nor a want of memory keeps the process: one that lives on without
    working is not started again by anybody.
    """
    # The kernel ends the process, which needs nothing of it; before that it says where it is.
    faulthandler.register(signal.SIGALRM, chain=True)
    why = "it was asked to"
    try:
        await worker.start()
        tell(worker)
        await worker.run()
    except Exception as error:
        # Where a client could not connect to, whoever started it is told.
        why = type(error).__name__ if isinstance(error, KafkaError) else told(error)
        raise
    finally:
        log.info("The worker stops: %s", why, extra=facts("stop", why=why))
        signal.alarm(STOPPED_WITHIN_S)
        try:
            await worker.stop()
        finally:
            signal.alarm(0)


def _own_names(settings: Settings) -> frozenset[str] | None:
    """Return names under which the local profile answers, beside this machine's own."""
    if settings.profile != "local":
        return None
    named = URL(settings.advertised_url).host if settings.advertised_url else None
    return frozenset((named,)) if named else frozenset()


def _certificate(settings: Settings) -> Certificate | None:
    cert_file, key_file = settings.http_tls_cert_file, settings.http_tls_key_file
    if cert_file is None or key_file is None:
        return None
    return Certificate(cert_file, key_file)


def _webhook_public_key(settings: Settings) -> str | None:
    path = settings.webhook_private_key_file
    return None if path is None else public_key_text(read_private_key(path))


def _own_url(settings: Settings, port: int) -> str:
    scheme = "http" if settings.http_tls_cert_file is None else "https"
    host = settings.http_host
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = socket.gethostname()
    return f"{scheme}://{host}:{port}"
