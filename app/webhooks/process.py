"""The process: a member of the group, a session for each assignment, and a port for metrics."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from app.bounds.collecting import Collecting
from app.clock import Clock
from app.errors import SettingRefused
from app.kafka.clients import NOT_TAKEN
from app.kafka.group_reader import GroupReader
from app.kafka.lenient_fetch import FetchingEnded
from app.kafka.names import TopicPartition
from app.kafka.topics import METER_DEFINITIONS, USAGE_ALERTS
from app.settings import Settings
from app.webhooks.failures import Failures
from app.webhooks.metrics import Metrics
from app.webhooks.records import alert, event_error, fee
from app.webhooks.sender import Sender
from app.webhooks.session import READING, Reading, Session
from app.webhooks.signatures import Signer, read_private_key

log = logging.getLogger(__name__)

GROUP_SUFFIX: Final = "-webhooks"
_AGAIN_S: Final = 1.0


class Webhooks:
    """All of `meter webhooks`."""

    def __init__(self, settings: Settings, clock: Clock, *, events_errors: bool = False):
        """Make a process; `events_errors`: each hour tell of events that no metric can count."""
        self._settings = settings
        self._events_errors = events_errors
        self._clock = clock
        registry = CollectorRegistry()
        self._metrics = Metrics(registry, clock)
        self._readings: dict[str, Reading] = {
            settings.topic(USAGE_ALERTS): alert,
            settings.topic(settings.usage_records_topic): fee,
            settings.topic(settings.dead_letter_topic): event_error,
        }
        self._sender = Sender(_signer(settings), Failures(settings.state_dir), self._metrics, clock)
        self._log = TopicPartition(settings.topic(METER_DEFINITIONS), 0)
        self._reader = GroupReader(
            settings,
            settings.consumer_group + GROUP_SUFFIX,
            [self._log.topic, *self._readings],
            self._assigned,
            self._revoked,
        )
        self._session: Session | None = None
        self._running: asyncio.Task[None] | None = None
        self._failed: asyncio.Future[None] | None = None
        self._collecting = Collecting()
        self._web = web.AppRunner(_application(registry), access_log=None)

    async def run(self) -> None:
        """Run until it is cancelled or fails."""
        self._failed = asyncio.get_running_loop().create_future()
        # Definitions live as long as the process.
        self._collecting.start()
        self._sender.start()
        self._metrics.unread.lose(READING)
        try:
            await self._web.setup()
            settings = self._settings
            await web.TCPSite(self._web, settings.http_host, settings.webhooks_port).start()
            await self._reader.start()
            await self._failed
        finally:
            await self._revoked()
            await self._reader.stop()
            await self._sender.stop()
            await self._web.cleanup()
            self._collecting.stop()

    async def _assigned(self, partitions: frozenset[TopicPartition]) -> None:
        if self._log in partitions:
            # It is read from its start, and not by the group.
            self._reader.leave_out(self._log)
        self._metrics.assigned.set(0)
        if not partitions:
            # Others read them.
            self._metrics.unread.end(READING)
        self._running = asyncio.create_task(self._sessions(partitions))

    async def _sessions(self, partitions: frozenset[TopicPartition]) -> None:
        """Run a session; begin it anew when the brokers were away."""
        while partitions:
            self._session = Session(
                self._settings,
                self._clock,
                self._reader,
                self._readings,
                self._sender,
                self._metrics,
                partitions,
                events_errors=self._events_errors,
            )
            try:
                await self._session.run()
            except Exception as error:
                defect = _defect(error)
                if defect is not None:
                    self._fail(defect)
                    return
                log.warning("Kafka does not answer, it is tried again: %s", error)
                self._metrics.unread.lose(READING)
            await asyncio.sleep(_AGAIN_S)

    def _fail(self, error: BaseException) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _revoked(self) -> None:
        """End the session; what is done of it is committed while the partitions are still ours."""
        running, self._running = self._running, None
        session, self._session = self._session, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
            self._metrics.unread.begin(READING)
        if session is not None:
            try:
                await session.commit()
            except NOT_TAKEN as error:
                log.info("The last of what is done is not committed: %s", type(error).__name__)


def _defect(error: Exception) -> BaseException | None:
    """Return what does not pass by itself; None: brokers are away, or have given others a turn."""
    if not isinstance(error, ExceptionGroup):
        is_away = isinstance(error, NOT_TAKEN) and not isinstance(error, FetchingEnded)
        return None if is_away else error
    defects = (_defect(each) for each in error.exceptions)
    return next((each for each in defects if each is not None), None)


def _signer(settings: Settings) -> Signer:
    """Return what signs. Raises SettingRefused without a private key."""
    path = settings.webhook_private_key_file
    if path is None:
        raise SettingRefused(
            "METER_WEBHOOK_PRIVATE_KEY_FILE is not set: webhooks are signed with it unless their "
            "endpoint asks for hmac. Make one: openssl genrsa -out key.pem 2048"
        )
    keys = {key.organization_id: key.key.get_secret_value() for key in settings.webhook_hmac_keys}
    return Signer(read_private_key(path), settings.advertised_url or "", keys)


def _application(registry: CollectorRegistry) -> web.Application:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "live"})

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/health/live", live)
    return application
