"""The parts of `meter webhooks` in the process of the tests, and a key to sign with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.clock import Clock, SystemClock
from app.settings import Settings
from app.webhooks.process import Webhooks


def write_key(path: Path) -> rsa.RSAPrivateKey:
    """Make a private key and write it."""
    key = rsa.generate_private_key(65_537, 2_048)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return key


@asynccontextmanager
async def running_webhooks(
    settings: Settings, clock: Clock | None = None, *, events_errors: bool = False
) -> AsyncIterator[Webhooks]:
    """Run the process's parts in this one."""
    process = Webhooks(settings, clock or SystemClock(), events_errors=events_errors)
    running = asyncio.create_task(process.run())
    try:
        yield process
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
