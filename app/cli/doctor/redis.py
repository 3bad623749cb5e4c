"""Checks of Redis: it answers, keeps everything, and lets us use what a worker uses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.cli.doctor.finding import Finding, Outcome
from app.redis.client import RedisError, closed, redis_client
from app.settings import Settings

AREA = "redis"
ASKED_WITHIN_S: Final = 5.0
NEARLY_FULL: Final = 0.9
USED: Final = ("EVALSHA", "HGETALL", "HLEN", "HMGET", "HSCAN", "HSET", "MULTI", "SCAN", "SCRIPT")
"""Commands that a worker needs, besides INFO."""


async def checked(settings: Settings) -> list[Finding]:
    """Return what Redis says; nothing is written."""
    try:
        client = redis_client(settings, ASKED_WITHIN_S)
    except ValueError as error:
        return [Finding(AREA, "address", "fail", f"{error}.", "Set METER_REDIS_URL.")]
    try:
        async with asyncio.timeout(3 * ASKED_WITHIN_S):
            await client.ping()
            told = await client.info()
            policy = await _policy(client)
            refused = await _refused(client)
    except (RedisError, OSError, TimeoutError) as error:
        found = f"It does not answer ({type(error).__name__}: {error})."
        mend = "Set METER_REDIS_URL, METER_REDIS_PASSWORD, METER_REDIS_TLS."
        return [Finding(AREA, "address", "fail", found, mend)]
    finally:
        await closed(client)
    return [
        Finding(AREA, "address", "ok", f"Redis {told.get('redis_version', '?')} answers."),
        *_memory(told, policy),
        _kept(told),
        _rights(refused),
    ]


async def _policy(client: Any) -> str | None:
    """Return what it does when memory is short; None: it does not tell."""
    try:
        answer = await client.config_get("maxmemory-policy")
    except RedisError:
        return None
    return str(answer.get("maxmemory-policy", "")) or None


async def _refused(client: Any) -> list[str] | None:
    """Return the commands that this user may not give; None: it does not tell."""
    try:
        user = await client.execute_command("ACL", "WHOAMI")
        name = user.decode() if isinstance(user, bytes) else str(user)
        refused = []
        for command in USED:
            words = [*_SAMPLE.get(command, (command, "meter:doctor"))]
            answer = await client.execute_command("ACL", "DRYRUN", name, *words)
            if answer not in (b"OK", "OK", True):
                refused.append(command)
    except RedisError:
        return None
    return refused


_SAMPLE: Final[Mapping[str, tuple[str, ...]]] = {
    "EVALSHA": ("EVALSHA", "0" * 40, "0"),
    "HMGET": ("HMGET", "meter:doctor", "f"),
    "HSCAN": ("HSCAN", "meter:doctor", "0"),
    "HSET": ("HSET", "meter:doctor", "f", "v"),
    "MULTI": ("MULTI",),
    "SCAN": ("SCAN", "0"),
    "SCRIPT": ("SCRIPT", "EXISTS", "0" * 40),
}


def _memory(told: Mapping[str, Any], policy: str | None) -> Iterator[Finding]:
    used, allowed = int(told.get("used_memory", 0)), int(told.get("maxmemory", 0))
    policy = policy or told.get("maxmemory_policy")
    if policy is None:
        mend = "Allow INFO or CONFIG GET maxmemory-policy."
        yield Finding(AREA, "eviction", "unknown", "It does not tell its policy.", mend)
    elif policy != "noeviction":
        mend = "Set maxmemory-policy noeviction: a set that is dropped is filled in again."
        yield Finding(AREA, "eviction", "fail", f"maxmemory-policy is {policy}.", mend)
    else:
        yield Finding(AREA, "eviction", "ok", "maxmemory-policy is noeviction.")
    if not allowed:
        yield Finding(AREA, "memory", "ok", f"{used:,} bytes, without a limit.")
        return
    found = f"{used:,} of {allowed:,} bytes."
    if used > NEARLY_FULL * allowed:
        outcome: Outcome = "warn" if used < allowed else "fail"
        yield Finding(
            AREA, "memory", outcome, found, "Raise maxmemory: a full Redis stops flushes."
        )
    else:
        yield Finding(AREA, "memory", "ok", found)


def _kept(told: Mapping[str, Any]) -> Finding:
    if int(told.get("aof_enabled", 0)) or int(told.get("rdb_last_save_time", 0)):
        return Finding(AREA, "persistence", "ok", "It keeps its data over a restart.")
    mend = "Set appendonly yes: else members are filled in again from Kafka after a restart."
    return Finding(AREA, "persistence", "warn", "It keeps nothing over a restart.", mend)


def _rights(refused: list[str] | None) -> Finding:
    if refused is None:
        found = "It does not tell what this user may do."
        return Finding(AREA, "rights", "unknown", found, "Allow ACL WHOAMI and ACL DRYRUN.")
    if refused:
        mend = "Allow them to the user of METER_REDIS_URL."
        return Finding(AREA, "rights", "fail", f"Refused: {', '.join(refused)}.", mend)
    return Finding(AREA, "rights", "ok", "Every command that a worker gives is allowed.")
