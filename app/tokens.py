"""How this process proves to Kafka who it is by tokens, and why brokers let it not in.

Loaded by what speaks to Kafka only: commands that ask a worker need no aiokafka and no aiohttp.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
import time
from pathlib import Path

import aiohttp
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from app.clock import SystemClock
from app.credentials import found_callable, ssl_context

TOKEN_TIMEOUT_S = 10.0
RENEWED_BEFORE_S = 60.0
"""A token is not used any more this long before it ends: connections are made with it later."""

UNTOLD_LIFE_S = 300.0
"""How long a token is used whose end nobody told."""


class NotLetIn(KafkaError):  # type: ignore[misc]
    """Kafka answers, but not to us; the text says what to change."""


class NoToken(NotLetIn):
    """Nobody gave us a token for Kafka."""


def refusal_of(error: BaseException, place: str) -> NotLetIn | None:
    """Return why a broker let us not in; None: it just did not answer."""
    if isinstance(error, NotLetIn):
        return error
    if isinstance(error, _PASSWORD_REFUSED):
        return NotLetIn(
            f"Kafka at {place} refuses who we say we are ({error}): check METER_KAFKA_USERNAME and "
            "METER_KAFKA_PASSWORD, or where the token comes from"
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return NotLetIn(
            f"Kafka at {place} does not offer METER_KAFKA_SCRAM_ALGORITHM there ({error})"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotLetIn(
            f"The certificate of Kafka at {place} is not one that we trust "
            f"({error.verify_message}): name its authority in METER_KAFKA_CA_FILE"
        )
    if isinstance(error, ssl.SSLError):
        if "CERTIFICATE" in str(error).upper():
            return NotLetIn(
                f"Kafka at {place} wants a certificate that it trusts ({error.reason}): set "
                "METER_KAFKA_CERT_FILE and METER_KAFKA_KEY_FILE"
            )
        return NotLetIn(f"Kafka at {place} speaks no TLS that we do ({error.reason})")
    return None if error.__cause__ is None else refusal_of(error.__cause__, place)


_PASSWORD_REFUSED = (SaslAuthenticationFailed, AuthenticationFailedError)


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Tokens for OAUTHBEARER, one for as long as it holds."""

    def __init__(self) -> None:
        self._token = ""
        self._until_s = 0.0

    async def token(self) -> str:
        """Return a token that holds for some time yet. Raises `NoToken`."""
        if time.monotonic() >= self._until_s:
            try:
                async with asyncio.timeout(TOKEN_TIMEOUT_S):
                    self._token, life_s = await self._fetch()
            except NoToken:
                raise
            except Exception as error:
                raise NoToken(f"no token for Kafka: {type(error).__name__}: {error}") from error
            self._until_s = time.monotonic() + max(life_s - RENEWED_BEFORE_S, life_s / 2)
        return self._token

    async def _fetch(self) -> tuple[str, float]:
        """Fetch a new token; return it and how many seconds it holds."""
        raise NotImplementedError


class ClientCredentials(_Tokens):
    """Tokens from an authorization server, by the client credentials grant (RFC 6749 §4.4)."""

    def __init__(
        self, url: str, client_id: str, client_secret: str, scope: str, ca_file: Path | None
    ):
        super().__init__()
        self._url = url
        self._headers = {"Authorization": aiohttp.encode_basic_auth(client_id, client_secret)}
        self._form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        self._tls = ssl_context("METER_KAFKA", ca_file) if url.startswith("https:") else None

    async def _fetch(self) -> tuple[str, float]:
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.post(self._url, data=self._form, ssl=self._tls or True) as answer,
        ):
            if not answer.ok:
                raise NoToken(f"{self._url} gives no token for Kafka: it answered {answer.status}")
            told = await answer.json(content_type=None)
        return told["access_token"], float(told.get("expires_in", UNTOLD_LIFE_S))


class CalledTokens(_Tokens):
    """Tokens from a callable of somebody else's package, as cloud providers ship them.

    It is called without arguments, off the event loop unless it is a coroutine function, and
    returns the token, or (token, its end in milliseconds since the epoch).
    """

    def __init__(self, name: str):
        super().__init__()
        self._call = found_callable(name)

    async def _fetch(self) -> tuple[str, float]:
        if inspect.iscoroutinefunction(self._call):
            told = await self._call()
        else:
            told = await asyncio.to_thread(self._call)
        if isinstance(told, str):
            return told, UNTOLD_LIFE_S
        token, end_ms = told
        return str(token), (end_ms - SystemClock().now_ms()) / 1000
