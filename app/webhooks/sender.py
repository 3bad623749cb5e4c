"""Sending: a signed request for each attempt, and what becomes of what fails."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from app.billing_periods.instants import iso_milliseconds
from app.clock import Clock
from app.definitions.model import WebhookEndpoint
from app.definitions.state import Definitions
from app.log import facts
from app.webhooks.failures import Failure, Failures, host_of
from app.webhooks.metrics import Metrics
from app.webhooks.names import Resolver
from app.webhooks.outbox import AT_ONCE, Attempt, Delivery
from app.webhooks.reasons import Reason, reason_of
from app.webhooks.signatures import Signer, Unsigned

log = logging.getLogger(__name__)

ATTEMPTS: Final = 3
TIMEOUT_S: Final = 30.0
_TAKEN: Final = (200, 201, 202, 204)
_ANSWER_BYTES: Final = 16 * 1024
"""Read of an answer, so that the connection serves again; nothing of it is used."""
_LONG_SIGNATURE: Final = 8_000
"""Bytes above which a header is more than many servers and proxies take."""
_AT_LEAST_S: Final = 2.0
_SPREAD: Final = 0.15


def wait_s(attempts: int, chance: float) -> float:
    """Return how long to wait after so many attempts; `chance` lies between 0 and 1."""
    grown = float(attempts**4)
    return grown + _AT_LEAST_S + chance * _SPREAD * grown


class Sender:
    """Sends deliveries over one session of HTTP."""

    def __init__(self, signer: Signer, failures: Failures, metrics: Metrics, clock: Clock):
        self._signer = signer
        self._failures = failures
        self._metrics = metrics
        self._clock = clock
        self._session: ClientSession | None = None
        self._free = asyncio.Semaphore(AT_ONCE)

    def start(self) -> None:
        """Open the session; nothing of a proxy, a cookie or a netrc of this machine goes along."""
        self._session = ClientSession(
            connector=TCPConnector(limit=AT_ONCE, resolver=Resolver(AT_ONCE)),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=TIMEOUT_S),
            auto_decompress=False,
        )

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def attempt(self, definitions: Definitions, delivery: Delivery) -> Attempt:
        """Send once, as the endpoint is defined now; say when to try again."""
        message = delivery.message
        endpoint = definitions.webhook_endpoints.of(message.organization_id).get(
            delivery.endpoint_id
        )
        if endpoint is None:
            # It was deleted meanwhile: nobody wants to be told there.
            return Attempt(True, 0.0)
        try:
            signature = self._signer.sign(
                endpoint.signature_algo, message.organization_id, message.body
            )
        except Unsigned as error:
            self.give_up(endpoint, delivery, str(error))
            return Attempt(False, 0.0)
        async with self._free:
            began_s = self._clock.monotonic_s()
            reason = await self._post(endpoint, delivery, signature)
            took_s = self._clock.monotonic_s() - began_s
        delivery.attempts += 1
        self._metrics.attempts.labels("taken" if reason is None else "failed").inc()
        if reason is None:
            self._metrics.delivered.labels(message.webhook_type).inc()
            return Attempt(True, took_s)
        if delivery.attempts >= ATTEMPTS:
            self.give_up(endpoint, delivery, reason + _size_told(signature))
            return Attempt(False, took_s)
        return Attempt(False, took_s, wait_s(delivery.attempts, random.random()))  # noqa: S311

    def give_up(self, endpoint: WebhookEndpoint, delivery: Delivery, reason: str) -> None:
        """Tell that a delivery will not be made."""
        message = delivery.message
        self._metrics.given_up.labels(message.webhook_type).inc()
        unique_key = message.unique_key(endpoint.id)
        failure = Failure(
            given_up_at=iso_milliseconds(self._clock.now_ms()),
            organization_id=message.organization_id,
            lago_endpoint_id=endpoint.id,
            host=host_of(endpoint.webhook_url),
            webhook_type=message.webhook_type,
            unique_key=unique_key,
            attempts=delivery.attempts,
            reason=reason,
        )
        log.warning(
            "Webhook %s is given up after %s attempts: %s",
            message.webhook_type,
            delivery.attempts,
            reason,
            extra=facts("note", endpoint=endpoint.id, key=unique_key),
        )
        try:
            self._failures.note(failure)
        except OSError as error:
            log.warning("The list of failed webhooks cannot be written: %s", error)

    async def _post(
        self, endpoint: WebhookEndpoint, delivery: Delivery, signature: str
    ) -> str | None:
        """Send; return why it was not taken, None if it was."""
        if self._session is None:
            raise RuntimeError("the sender is not started")
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Meterstream",
            "X-Lago-Signature-Algorithm": endpoint.signature_algo,
            "X-Lago-Signature": signature,
            "X-Lago-Unique-Key": delivery.message.unique_key(endpoint.id),
        }
        try:
            async with self._session.post(
                endpoint.webhook_url,
                data=delivery.message.body,
                headers=headers,
                # Another place than the one that was named is told nothing.
                allow_redirects=False,
            ) as answer:
                await answer.content.read(_ANSWER_BYTES)
                if not answer.content.at_eof():
                    answer.close()
                return None if answer.status in _TAKEN else f"{Reason.STATUS} {answer.status}"
        except (ClientError, OSError, ValueError) as error:
            # What the other side says stands in some of them: only the kind is told.
            return reason_of(error)


def _size_told(signature: str) -> str:
    """Return what stands behind a reason that may come from a signature too long for a header."""
    size = len(signature)
    return f", the signature has {size:,} bytes" if size > _LONG_SIGNATURE else ""
