"""What each view of the page, and each of its parts, takes of a worker's CPU.

A worker in a process of its own, on real servers, with so many subscriptions, one of them with a
thousand events, closed periods, refusals and events that no charge counts. Every fragment is asked
for again and again; what the worker takes while nobody asks is subtracted. Slices of a scan, which
make way for the fold, are told apart from the rest.

    python -m bench.views [--subscriptions N] [--looks N]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from operator import sub
from typing import Any

import aiohttp
import click
import msgspec
import psutil
import uvloop
from aiokafka import AIOKafkaProducer

from app.api.pages.page_views import PTAG
from app.bounds.turns import Turns, Work
from app.main import running_worker
from app.settings import LOCAL_ORGANIZATION_ID as ORG
from app.settings import Settings
from bench.world import METRICS, keyed, local_servers, plan_of

EVENTS = 1_000
"""Events of the metric that is explained."""

NAMES = 50
"""Codes that nothing defines, metrics, and subscriptions on the plan."""

LETTERS = 300
QUIET_S = 5.0
BUDGET_MS = 5.0

ONE = "/page/view/subscriptions/subscription_000000"
ITS = "subscription=subscription_000000"
LOOKS: dict[str, str] = {
    "/": "/page/view",
    "/?search=sub": "/page/view?search=sub",
    "/subscriptions/{id}": ONE,
    "  charts by day": "/page/part/series?" + ITS + "&metric=calls&window=day",
    "  charts by hour": "/page/part/series?" + ITS + "&metric=calls&window=hour",
    "  closed periods": "/page/part/past?" + ITS,
    "  of a closed period": ONE + "?period={month}",
    "  its records": "/page/part/records?" + ITS + "&period={month}",
    "/subscriptions/{id}/explain/{code}": ONE + "/explain/calls",
    "  of a closed period ": ONE + "/explain/calls?at={month}",
    "  filtered": ONE + "/explain/calls?status=counted&page=3",
    "/events/{id}": "/page/view/events/calls-000007?" + ITS,
    "/dead-letters": "/page/view/dead-letters",
    "  from the topic": "/page/view/dead-letters?before=newest",
    "/not-counted": "/page/view/not-counted",
    "/definitions": "/page/view/definitions",
    "/definitions/metrics/{code}": "/page/view/definitions/metrics/calls",
    "/definitions/plans/{code}": "/page/view/definitions/plans/bench",
    "  its form": "/page/view/definitions/plans/bench/edit",
}
"""What is looked at, and where it is asked for."""

HELD = ("/subscriptions/{id}/explain/{code}", "/events/{id}")
"""Views that read events again: once, and at no tick of a tab that shows them."""


@click.command(help=__doc__)
@click.option("--subscriptions", default=100_000, show_default=True)
@click.option("--looks", default=50, show_default=True, help="Looks at each.")
def main(subscriptions: int, looks: int) -> None:
    """Measure each view."""
    uvloop.run(_main(subscriptions, looks))


def _work(settings: Settings, scans_s: Any) -> None:
    """Run a worker; note the CPU of its scans' slices in a value that is shared."""
    holding = Turns.holding

    @contextmanager
    def noted(turns: Turns, work: Work) -> Iterator[None]:
        began_s = time.thread_time()
        with holding(turns, work):
            yield
        if work.kind == "scan":
            scans_s.value += time.thread_time() - began_s

    async def run() -> None:
        async with running_worker(settings):
            await asyncio.Event().wait()

    Turns.holding = noted  # type: ignore[method-assign, assignment]
    uvloop.run(run())


async def _main(subscriptions: int, looks: int) -> None:
    async with local_servers(4, implicit_plan=True) as settings:
        context = multiprocessing.get_context("spawn")
        scans_s = context.Value("d", 0.0, lock=False)
        process = context.Process(target=_work, args=(settings, scans_s))
        process.start()
        try:
            url = f"http://127.0.0.1:{settings.http_port}"
            headers = {"Authorization": "Bearer local-key", "Accept-Encoding": "gzip"}
            async with aiohttp.ClientSession(url, headers=headers) as session:
                bench = Bench(session, psutil.Process(process.pid), scans_s, looks)
                await bench.until("/health/ready")
                await prepare(bench, settings, subscriptions)
                await bench.measure()
        finally:
            process.terminate()
            process.join()


class Bench:
    """Looks at a worker's page."""

    def __init__(
        self, session: aiohttp.ClientSession, process: psutil.Process, scans_s: Any, looks: int
    ):
        self._session, self._looks = session, looks
        self._process, self._scans_s = process, scans_s

    async def get(self, path: str) -> tuple[int, bytes]:
        async with self._session.get(path) as response:
            return response.status, await response.read()

    async def _tag(self, path: str) -> dict[str, str]:
        """Return what a tab says that shows a fragment."""
        async with self._session.get(path) as response:
            return {PTAG: response.headers[PTAG]}

    async def until(self, path: str, says: bytes = b"", within_s: float = 300.0) -> None:
        """Wait until an answer says something."""
        async with asyncio.timeout(within_s):
            while True:
                try:
                    status, body = await self.get(path)
                except aiohttp.ClientError:
                    status, body = 0, b""
                if status == 200 and says in body:
                    return
                await asyncio.sleep(0.2)

    async def post(self, path: str, body: Any) -> None:
        async with self._session.post(f"/api/v1/{path}", json=body) as response:
            if response.status != 200:
                raise RuntimeError(f"{path}: {response.status} {await response.text()}")

    def _spent(self) -> tuple[float, float, float, float]:
        """Return the time, and seconds of CPU: of the process, of its loop, of scans' slices."""
        times, threads = self._process.cpu_times(), self._process.threads()
        loop = next(each for each in threads if each.id == self._process.pid)
        in_loop_s = loop.user_time + loop.system_time
        return time.perf_counter(), times.user + times.system, in_loop_s, self._scans_s.value

    async def measure(self) -> None:
        """Ask for each fragment, and print what it took."""
        before = self._spent()
        await asyncio.sleep(QUIET_S)
        took_s, *spent = map(sub, self._spent(), before)
        quiet = [each / took_s for each in spent]
        click.echo(f"{'ms of CPU a look':38}{'all':>7}{'loop':>7}{'scan':>7}{'rest':>7}{'KB':>7}")
        month = f"{last_month():%Y-%m-%d}"
        for name, path in LOOKS.items():
            await self._look(name, path.format(month=month), quiet, {})
        for name in HELD:
            await self._look(f"a tick of {name}", LOOKS[name], quiet, await self._tag(LOOKS[name]))

    async def _look(
        self, name: str, path: str, quiet: list[float], headers: dict[str, str]
    ) -> None:
        for _ in range(3):
            status, body = await self.get(path)
            if status != 200:
                raise RuntimeError(f"{path}: {status} {body[:300]!r}")
        before = self._spent()
        for _ in range(self._looks):
            async with self._session.get(path, headers=headers) as response:
                await response.read()
        took_s, *spent = map(sub, self._spent(), before)
        looks = self._looks / 1e3
        ours = [(s - idle * took_s) / looks for s, idle in zip(spent, quiet, strict=True)]
        everything, loop, scan = ours
        over = "" if loop - scan <= BUDGET_MS else "  over budget"
        figures = "".join(f"{each:7.1f}" for each in (everything, loop, scan, loop - scan))
        click.echo(f"{name:38}{figures}{len(body) / 1e3:7.0f}{over}")


def last_month() -> datetime:
    """Return when the last month began."""
    this = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (this - timedelta(days=1)).replace(day=1)


async def prepare(bench: Bench, settings: Settings, subscriptions: int) -> None:
    """Define metrics, a plan and subscriptions on it; send events of all kinds."""
    last = f"subscription_{subscriptions - 1:06d}"
    for body in METRICS:
        await bench.post("billable_metrics", {"billable_metric": body})
    for number in range(NAMES):
        body = {"name": f"m{number}", "code": f"m{number}", "aggregation_type": "count_agg"}
        await bench.post("billable_metrics", {"billable_metric": body})
    standard = {"charge_model": "standard", "properties": {"amount": "0"}}
    charges = [{"billable_metric_code": body["code"], **standard} for body in METRICS]
    await bench.post("plans", {"plan": plan_of(charges)})
    # Events first: a period that is over closes as soon as its subscription is there.
    await send(settings, subscriptions)
    await bench.until(f"/page/view?search={last}", f"{last}</a>".encode())
    for number in range(NAMES):
        named = {"external_customer_id": f"customer_{number}", "plan_code": "bench"}
        name = f"subscription_{number:06d}"
        began = {"external_id": name, "subscription_at": f"{last_month():%Y-%m-%dT00:00:00Z}"}
        await bench.post("subscriptions", {"subscription": {**named, **began}})
    records = "/api/v1/usage_records?external_subscription_id=subscription_000000"
    await bench.until(records, b"usage.recorded")
    await asyncio.sleep(QUIET_S)


async def send(settings: Settings, subscriptions: int) -> None:
    """Send an event of each subscription, many of one, some that do not count and some refused."""
    topic, now_s, then_s = settings.topic(settings.raw_topic), time.time(), last_month().timestamp()

    async with AIOKafkaProducer(linger_ms=20, **settings.kafka_options()) as producer:

        async def sent(number: int, code: str, transaction: str, at_s: float | str) -> None:
            name = f"subscription_{number:06d}"
            key, home = keyed(name, settings.raw_partitions)
            event = {
                "organization_id": ORG,
                "external_subscription_id": name,
                "transaction_id": transaction,
                "timestamp": str(at_s),
                "code": code,
                "properties": {"gb": 1.5, "cores": 2, "user": "u"},
            }
            await producer.send(topic, msgspec.json.encode(event), key=key, partition=home)

        for each in range(EVENTS):
            await sent(0, "calls", f"calls-{each:06d}", now_s - each)
            await sent(0, "calls", f"then-{each:06d}", then_s + each * 1_000)
        for each in range(NAMES):
            await sent(1, f"unknown-{each}", f"unknown-{each}", now_s)
        for each in range(LETTERS):
            await sent(2, "calls", f"refused-{each}", "noon")
        for number in range(1, subscriptions):
            await sent(number, "calls", "first", now_s)


if __name__ == "__main__":
    main()
