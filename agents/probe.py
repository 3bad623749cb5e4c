"""Probe: looks once a second whether everything is there that this worker needs.

What it finds is told by `app.runtime.health`. Nothing here waits for a silent server: each is asked
with a time limit, and one that has not answered is asked again only then.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from app.bounds.limits import (
    CLOSE_WAITS_S,
    DISK_LOW_SHARE,
    FLUSH_STALE_S,
    KAFKA_SLOW_FOR_S,
    KAFKA_SLOW_S,
    OPEN_TRANSACTION_S,
    PEER_SILENT_S,
    REDIS_SILENT_S,
)
from app.definitions.model import SettingsRecord
from app.log import Fact, facts
from app.meter.health import UNREADY, Code
from app.redis.client import NoPermissionError, RedisError, ResponseError, closed, redis_client
from app.runtime.agreement import differing_settings
from app.runtime.engine import Engine
from app.runtime.partition.life import State
from app.runtime.status import Observed
from app.settings import Settings

log = logging.getLogger(__name__)

EVERY_S = 1.0
POLICY_EVERY_S = 10.0
_SHORT_TOLD = 3
_REDIS_FULL_SHARE = 0.98
"""Share of maxmemory from which the probe warns; at the limit Redis itself refuses writes."""


async def probe(worker: Engine) -> None:
    """Look until cancelled."""
    looks = _Looks(worker)
    try:
        while True:
            began_s = monotonic()
            await asyncio.gather(looks.redis(), looks.peers())
            looks.kafka()
            looks.disk()
            looks.set_aside()
            looks.settings()
            looks.closing()
            looks.ready()
            await asyncio.sleep(max(0.0, EVERY_S - (monotonic() - began_s)))
    finally:
        await looks.close()


class _Looks:
    def __init__(self, worker: Engine):
        self._worker = worker
        self._health = worker.health
        self._redis: Any = redis_client(worker.settings, REDIS_SILENT_S)
        self._session = ClientSession(
            timeout=ClientTimeout(total=PEER_SILENT_S - EVERY_S),
            connector=TCPConnector(ssl=worker.settings.peer_tls() or True),
        )
        self._answered_s: dict[str, float] = {}
        self._policy_s = -POLICY_EVERY_S
        self._slow_since_s: float | None = None
        self._unready_since_s: float | None = monotonic()
        self._closing_waits_s: dict[int, float] = {}
        """Monotonic time in s since when cuts wait, by partition."""
        self._closing_told: set[int] = set()
        self._compared: tuple[SettingsRecord | None, Settings | None] = None, None
        """The settings in force and ours, as they were compared last."""

    async def close(self) -> None:
        """Close the HTTP session and the Redis client."""
        await self._session.close()
        await closed(self._redis)

    # Kafka: who asks the brokers is `app.kafka.brokers`

    def kafka(self) -> None:
        worker, brokers, now_s = self._worker, self._worker.brokers, monotonic()
        away_s = None if brokers.away_since_s is None else now_s - brokers.away_since_s
        self._note_since(
            "kafka_unreachable",
            away_s,
            None
            if away_s is None
            else f"Kafka has not answered for {away_s:.0f} s; newer events are not counted yet",
        )
        self._slow(now_s, away_s is not None)
        refused = brokers.refused_writes
        refused_s = None if refused is None or away_s is not None else now_s - refused[0]
        if refused is None or refused_s is None or refused_s < KAFKA_SLOW_FOR_S:
            self._health.note("kafka_refuses_writes", None)
        else:
            short = {each.topic: each for each in sorted(brokers.short)}
            lacking = [
                f"{each.topic}/{each.partition} has {each.in_sync} of {each.replicas} replicas"
                for each in list(short.values())[:_SHORT_TOLD]
            ]
            text = "; ".join([f"The brokers answer, but take no writes: {refused[1]}", *lacking])
            self._note_since(
                "kafka_refuses_writes",
                refused_s,
                text,
                error=refused[1],
                topics=list(short),
                in_sync=[each.in_sync for each in short.values()],
            )
        held = {
            number: seen
            for number, seen in worker.status.observed.items()
            if number in worker.owned
            and seen.held_since_s is not None
            and now_s - seen.held_since_s > OPEN_TRANSACTION_S
        }
        self._open_transactions({} if away_s is not None else held, now_s)
        self.flushes()

    def _open_transactions(self, held: Mapping[int, Observed], now_s: float) -> None:
        if not held:
            self._health.note("open_transaction", None)
            return
        named = ", ".join(
            f"{number} (by producer id {'unknown' if seen.producer_id < 0 else seen.producer_id})"
            for number, seen in sorted(held.items())
        )
        self._note_since(
            "open_transaction",
            now_s - min(seen.held_since_s or now_s for seen in held.values()),
            f"An open transaction holds back raw partitions {named}: what was appended after its "
            "first record cannot be read before it ends",
            partitions=sorted(held),
            producers=[seen.producer_id for _, seen in sorted(held.items())],
        )

    def _slow(self, now_s: float, away: bool) -> None:
        slowest_s = self._worker.brokers.slowest_s(now_s)
        if away or slowest_s <= KAFKA_SLOW_S:
            self._slow_since_s = None
        elif self._slow_since_s is None:
            self._slow_since_s = now_s
        slow = self._slow_since_s is not None and now_s - self._slow_since_s > KAFKA_SLOW_FOR_S
        self._health.note(
            "kafka_slow", f"The brokers take up to {slowest_s:.1f} s to answer" if slow else None
        )

    def flushes(self) -> None:
        now_s = monotonic()
        late = [
            number
            for number, owned in sorted(self._worker.owned.items())
            if owned.commits.unsent is not None
            and now_s - owned.commits.unsent.packed_s > FLUSH_STALE_S
        ]
        names = ", ".join(map(str, late))
        self._health.note(
            "flush_stale",
            f"Flushes of partitions {names} have waited for over {FLUSH_STALE_S:g} s"
            if late
            else None,
        )

    async def redis(self) -> None:
        health, worker = self._health, self._worker
        began_s = monotonic()
        try:
            async with asyncio.timeout(REDIS_SILENT_S):
                await self._redis.ping()
                worker.shared.tally.redis_seconds.labels("ping").observe(monotonic() - began_s)
                if monotonic() - self._policy_s >= POLICY_EVERY_S or health.holds("redis_full"):
                    await self._policy()
                    self._policy_s = monotonic()
        except (RedisError, OSError, TimeoutError) as error:
            if isinstance(error, ResponseError) and not isinstance(error, NoPermissionError):
                # It answers; what it refuses, whoever needed it tells.
                health.note("redis_unreachable", None)
                return
            waiting = [
                n
                for n, owned in sorted(worker.owned.items())
                if owned.life.state is State.WAITING_FOR_MEMBERS
            ]
            members = sum(owned.members.unstored for owned in worker.owned.values())
            names = ", ".join(map(str, waiting))
            health.note(
                "redis_unreachable",
                "Redis does not answer; unique counts stay as they were"
                + (f", partitions {names} wait for it" if waiting else "")
                + (f", {members} members are to be stored" if members else ""),
                partitions=waiting,
                members=members,
            )
            return
        health.note("redis_unreachable", None)

    async def _policy(self) -> None:
        try:
            memory: Mapping[str, Any] = await self._redis.info("memory")
        except NoPermissionError:
            return
        used, allowed = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
        self._worker.status.note_redis_memory(used, allowed)
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        self._health.note(
            "redis_full",
            f"Redis uses {used} of the {allowed} bytes that maxmemory allows: "
            "`CONFIG SET maxmemory …` gives it more"
            if allowed and used >= _REDIS_FULL_SHARE * allowed
            else None,
        )
        self._health.note(
            "redis_evicts",
            None
            if policy == "noeviction"
            else f"Redis forgets members when it is full (maxmemory-policy {policy}): "
            "`CONFIG SET maxmemory-policy noeviction`",
        )

    def set_aside(self) -> None:
        worker = self._worker
        count = worker.definitions.set_asides.counts.total()
        parked = worker.parked_subscriptions
        said = [f"{count} records or elements are set aside"] if count else []
        said += [f"the figures of {parked} subscriptions stand as they are"] if parked else []
        self._health.note("set_aside", "; ".join(said) or None)

    def disk(self) -> None:
        worker, directory = self._worker, self._worker.settings.state_dir
        with suppress(OSError):
            usage = shutil.disk_usage(directory)
            worker.status.note_disk(usage.free)
            low = usage.free < DISK_LOW_SHARE * usage.total
            self._health.note(
                "disk_low",
                f"METER_STATE_DIR ({directory}) has {usage.free} bytes left" if low else None,
                path=str(directory),
                bytes=usage.free,
            )
        full = [each for owned in worker.owned.values() if (each := owned.disk.full) is not None]
        if full:
            since_ms, text = min(full)
            self._health.note("disk_full", text, since_ms)
        else:
            self._health.note("disk_full", None)

    def settings(self) -> None:
        definitions, ours = self._worker.definitions, self._worker.settings
        in_force = definitions.settings.at()
        if self._compared[0] is in_force and self._compared[1] is ours:
            return
        self._compared = in_force, ours
        names = [] if in_force is None else differing_settings(ours, in_force)
        self._health.note(
            "settings_differ",
            f"This worker's {', '.join(names)} differ from the definitions log, which holds"
            if names
            else None,
        )

    def closing(self) -> None:
        """Tell in the log which cuts have waited for long, and when they go on."""
        now_s = monotonic()
        waiting = {n: one.cuts.blocked for n, one in self._worker.owned.items() if one.cuts.blocked}
        for number, since_s in list(self._closing_waits_s.items()):
            if number in waiting:
                continue
            del self._closing_waits_s[number]
            if number in self._closing_told:
                self._closing_told.remove(number)
                seconds = round(now_s - since_s, 1)
                extra = facts("return", reason="close_blocked", partition=number, seconds=seconds)
                log.info("Cuts of partition %s go on after %.0f s", number, seconds, extra=extra)
        for number, blocked in waiting.items():
            seconds = now_s - self._closing_waits_s.setdefault(number, now_s)
            if seconds > CLOSE_WAITS_S and number not in self._closing_told:
                self._closing_told.add(number)
                extra = facts(
                    "loss",
                    reason="close_blocked",
                    held_by=blocked.held_by,
                    partition=number,
                    seconds=round(seconds, 1),
                )
                text = "Cuts of partition %s have waited for %.0f s: %s"
                log.warning(text, number, seconds, blocked.text, extra=extra)

    def ready(self) -> None:
        """Log each change from not ready to ready for requests."""
        ready = all(reason.code not in UNREADY for reason in self._worker.reasons())
        if ready and self._unready_since_s is not None:
            waited_s = monotonic() - self._unready_since_s
            log.info(
                "Ready after %.1f s", waited_s, extra=facts("ready", seconds=round(waited_s, 1))
            )
        if ready:
            self._unready_since_s = None
        elif self._unready_since_s is None:
            self._unready_since_s = monotonic()

    async def peers(self) -> None:
        worker = self._worker
        of: dict[str, list[int]] = {}
        for number in range(worker.settings.raw_partitions):
            told = worker.progress.of(number)
            if told is not None and told.url != worker.url and number not in worker.owned:
                of.setdefault(told.url, []).append(number)
        await asyncio.gather(*(self._ask(url) for url in of))
        now_s = monotonic()
        silent = {
            url: numbers
            for url, numbers in sorted(of.items())
            if now_s - self._answered_s.setdefault(url, now_s) > PEER_SILENT_S
        }
        self._answered_s = {url: at for url, at in self._answered_s.items() if url in of}
        worker.status.note_silent_peers(silent)
        said = "; ".join(
            f"{url} (partitions {', '.join(map(str, numbers))})" for url, numbers in silent.items()
        )
        self._health.note(
            "peer_unreachable",
            f"No answer from {said}: their figures are missing here" if silent else None,
            urls=list(silent),
            partitions=[number for numbers in silent.values() for number in numbers],
        )

    async def _ask(self, url: str) -> None:
        with suppress(ClientError, TimeoutError, OSError, ValueError):
            async with self._session.get(f"{url.rstrip('/')}/health/live", allow_redirects=False):
                self._answered_s[url] = monotonic()

    def _note_since(
        self, code: Code, ago_s: float | None, text: str | None, **fields: Fact
    ) -> None:
        since_ms = None if ago_s is None else self._worker.clock.now_ms() - int(ago_s * 1000)
        self._health.note(code, text, since_ms, **fields)
