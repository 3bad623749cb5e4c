"""Checks of Redis: it answers, keeps everything, and lets us use what a worker uses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.cli.doctor.finding import CLOCKS_APART_S, Finding, Outcome, judged
from app.clock import SystemClock
from app.errors import StackError
from app.redis.client import RedisError, closed, redis_client
from app.settings import Settings

AREA = "redis"
CHECKS: Final = tuple(
    (AREA, name)
    for name in ("address", "clock", "eviction", "memory", "persistence", "rights", "keys")
)
_KEYS_LOOKED_AT: Final = 10_000
ASKED_WITHIN_S: Final = 5.0
NEARLY_FULL: Final = 0.9
USED: Final = ("EVALSHA", "HGETALL", "HLEN", "HMGET", "HSCAN", "HSET", "MULTI", "SCAN", "SCRIPT")
"""Commands that a worker needs, besides INFO."""


async def checked(settings: Settings) -> list[Finding]:
    """Return what Redis says; nothing is written."""
    try:
        client = redis_client(settings, ASKED_WITHIN_S)
    except StackError as error:
        return [Finding(AREA, "address", "fail", str(error), "Correct the setting that it names.")]
    try:
        async with asyncio.timeout(3 * ASKED_WITHIN_S):
            await client.ping()
            asked_ms = SystemClock().now_ms()
            told = await client.info()
            answered_ms = SystemClock().now_ms()
            policy = await _configured(client, "maxmemory-policy")
            snapshots = await _configured(client, "save")
            refused = await _refused(client)
            keys = await _keys(client, settings.consumer_group)
    except (RedisError, OSError, TimeoutError) as error:
        found = f"It does not answer ({type(error).__name__}: {error})."
        mend = "Set METER_REDIS_URL, METER_REDIS_PASSWORD, METER_REDIS_TLS."
        return [Finding(AREA, "address", "fail", found, mend)]
    finally:
        await closed(client)
    return [
        Finding(AREA, "address", "ok", f"Redis {told.get('redis_version', '?')} answers."),
        _clock(told, asked_ms, answered_ms),
        *_memory(told, policy),
        _kept(told, snapshots),
        _rights(refused),
        *keys,
    ]


def _clock(told: Mapping[str, Any], asked_ms: int, answered_ms: int) -> Finding:
    """Return how far its clock is from ours, at least: it answered between two looks at ours."""
    if "server_time_usec" not in told:
        found = "It does not tell its time."
        return Finding(AREA, "clock", "unknown", found, "Compare `date` on both machines.")
    its_ms = int(told["server_time_usec"]) // 1_000
    apart_s = max(asked_ms - its_ms, its_ms - answered_ms, 0) / 1_000
    found = f"Its clock is {apart_s:.0f} s from this machine's."
    mend = "Run a time service on both."
    return judged(AREA, "clock", apart_s > CLOCKS_APART_S, found, mend)


async def _configured(client: Any, name: str) -> str | None:
    """Return a setting; None: it does not tell."""
    try:
        answer = await client.config_get(name)
    except RedisError:
        return None
    found = answer.get(name)
    return None if found is None else str(found)


async def _keys(client: Any, group: str) -> list[Finding]:
    """Return whether all keys that begin as ours do are ours; of many some are looked at."""
    ours = re.compile(rb"\{%s:\d+\}:(meta|counts|set:.*)" % re.escape(group.encode()), re.DOTALL)
    cursor, seen, others = 0, 0, list[str]()
    try:
        there = int(await client.dbsize())
        while seen < _KEYS_LOOKED_AT:
            cursor, some = await client.scan(cursor, count=1_000)
            seen += len(some)
            alike = [key for key in some if key.startswith(b"{%s:" % group.encode())]
            others += [key.decode("utf-8", "replace") for key in alike if not ours.fullmatch(key)]
            if not cursor:
                break
    except RedisError:
        # The check of rights names what is refused.
        return []
    if others:
        found = f"{len(others):,} keys below {group} are not a worker's, such as {others[0]!r}."
        mend = "Give each product a Redis, or METER_CONSUMER_GROUP a name of its own."
        return [Finding(AREA, "keys", "warn", found, mend)]
    found = f"Of {seen:,} keys looked at, of {there:,}, none is another's below {group}."
    return [Finding(AREA, "keys", "ok", found)]


async def _refused(client: Any) -> list[str] | None:
    """Return the commands that this user may not give; None: it does not tell."""
    try:
        user = await client.execute_command("ACL", "WHOAMI")
        name = user.decode() if isinstance(user, bytes) else str(user)
        granted = await client.acl_getuser(name)
    except RedisError:
        granted = {}
    if granted.get("categories") == ["+@all"] and not granted.get("commands"):
        # Before Redis 7 nobody can try more.
        return []
    try:
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


def _kept(told: Mapping[str, Any], snapshots: str | None) -> Finding:
    if int(told.get("aof_enabled", 0)):
        return Finding(AREA, "persistence", "ok", "It keeps its data over a restart.")
    if snapshots is None:
        found = "It keeps no log of writes, and does not tell whether it makes snapshots."
        return Finding(AREA, "persistence", "unknown", found, "Allow CONFIG GET save.")
    if snapshots:
        found = "It keeps what its last snapshot has over a restart."
        return Finding(AREA, "persistence", "ok", found)
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
