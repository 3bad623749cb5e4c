"""A product with five metrics, its subscriptions and its events."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from app.settings import Settings
from tests.world.live.api import Api, Json
from tests.world.live.consumer import Ledger, read_on
from tests.world.live.offline import fold_offline
from tests.world.live.producer import encoded, event_key, foreign_producer, raw_event
from tests.world.live.recount import Figure, Recount, Row, recount
from tests.world.live.recount_events import EVERY, IN_ADVANCE, ONCE, WATCHED
from tests.world.waiting import PATIENCE_S, eventually

SCALE = int(os.environ.get("TEST_SCALE", "1"))
"""How much larger than by default the loads are; 10 gives the sizes of the long runs."""

METRICS: list[Json] = [
    {"name": "Calls", "code": "calls", "aggregation_type": "count_agg"},
    {
        "name": "Traffic",
        "code": "traffic",
        "aggregation_type": "sum_agg",
        "field_name": "gb",
        "filters": [{"key": "region", "values": ["eu", "us"]}],
    },
    {"name": "Peak", "code": "peak", "aggregation_type": "max_agg", "field_name": "cores"},
    {"name": "Level", "code": "level", "aggregation_type": "latest_agg", "field_name": "level"},
    {
        "name": "Users",
        "code": "users",
        "aggregation_type": "unique_count_agg",
        "field_name": "user",
    },
]
PLAN = "everything"
CUSTOMER = "customer"
ZONES = (None, "a", "b")


class Months:
    """The running calendar month and the two before it, UTC."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self.now_ms = int(now.timestamp() * 1000)
        self.starts = [_month(now.year, now.month - back) for back in (2, 1, 0, -1)]

    @property
    def starts_ms(self) -> list[int]:
        """Of the three months, and the end of the last."""
        return [int(start.timestamp() * 1000) for start in self.starts]

    def named(self, number: int) -> str:
        """As records print the start of a month; 0 is the oldest, 2 the running one."""
        return self.starts[number].strftime("%Y-%m-%dT%H:%M:%SZ")


def _month(year: int, month: int) -> datetime:
    years, index = divmod(month - 1, 12)
    return datetime(year + years, index + 1, 1, tzinfo=UTC)


class World:
    """Subscriptions since two months ago, so that two periods have elapsed at their creation."""

    def __init__(self, settings: Settings, api: Api, subscriptions: int):
        self.settings = settings
        self.api = api
        self.months = Months()
        self.names = [f"sub-{number}" for number in range(subscriptions)]
        self.watched = self.names[:2]
        """Those with an alert."""
        self.is_defined_first = False
        """No event came before what it counts for, so that each tells what it bills."""
        self.acknowledged = 0
        """Events that the broker said it has, of loads that are over."""
        self._recount: Recount | None = None

    async def define(self) -> None:
        """Metrics, plan, customer and subscriptions."""
        await self.define_metrics()
        await self.subscribe()
        self.is_defined_first = True
        await _in_parallel([self._alert(name) for name in self.watched], self.api)

    async def define_metrics(self) -> None:
        """Metrics and a plan that has a charge of each."""
        charges = [_charge(await self.api.make_metric(**metric)) for metric in METRICS]
        await self.api.make_plan(PLAN, charges)

    async def subscribe(self) -> None:
        """All subscriptions, twenty at a time."""
        await _in_parallel([self._subscription(name) for name in self.names], self.api)

    async def subscribe_also(self, name: str) -> None:
        """One more, which no traffic of this world is for."""
        await _in_parallel([self._subscription(name)], self.api)

    def _subscription(self, name: str) -> tuple[str, str, Json]:
        subscription = {
            "external_customer_id": CUSTOMER,
            "plan_code": PLAN,
            "external_id": name,
            "billing_time": "calendar",
            "subscription_at": self.months.named(0),
        }
        return "POST", "/subscriptions", {"subscription": subscription}

    def _alert(self, name: str) -> tuple[str, str, Json]:
        alert = {
            "alert_type": "billable_metric_current_usage_units",
            "code": "much",
            "billable_metric_code": WATCHED,
            "thresholds": [{"value": str(ONCE)}, {"value": str(EVERY), "recurring": True}],
        }
        return "POST", f"/subscriptions/{name}/alerts", {"alert": alert}

    async def terminate(self) -> None:
        """End all subscriptions now; alerts of what was sent before are looked at while they last.

        That is at the next grid cut, and nobody is told of a subscription that has ended by then.
        """
        await asyncio.sleep(self.settings.close_grid_s)
        await _in_parallel([("DELETE", f"/subscriptions/{n}", None) for n in self.names], self.api)

    async def expected(self, number: int) -> dict[Row, Figure]:
        """The recount of a month."""
        return (self._recount or await self.recounted()).figures[number]

    async def recount_once(self) -> Recount:
        """Recount every month now; no more events come, so it holds from here on."""
        self._recount = await self.recounted()
        return self._recount

    async def recounted(self) -> Recount:
        """Every month by the raw topic as it is now."""
        return await recount(self.settings, list(pairwise(self.months.starts_ms)), self.watched)

    async def shown(self) -> dict[Row, Figure]:
        """Current usage of all subscriptions."""
        rows: dict[Row, Figure] = {}
        limit = asyncio.Semaphore(20)

        async def ask(name: str) -> None:
            async with limit:
                usage = await self.api.usage_if_owned(CUSTOMER, name)
                rows.update(_rows(name, usage) if usage else {})

        await asyncio.gather(*map(ask, self.names))
        return rows

    async def is_counted(self, timeout_s: float = PATIENCE_S) -> None:
        """Current usage becomes the recount of the running month."""
        await eventually(self.shown, await self.expected(2), timeout_s, every_s=0.5)

    async def equals_a_batch(self, directory: Path, timeout_s: float = PATIENCE_S) -> Ledger:
        """All months are published as recounted, and the bytes are those of an offline fold."""
        ledger = await self.is_published([0, 1, 2], timeout_s)
        await self.has_records(await self.folded_offline(directory), ledger, timeout_s)
        return ledger

    async def folded_offline(self, directory: Path) -> set[bytes]:
        """Every record that all events make, in the cuts to come too; no more events come."""
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        at_ms = now_ms + 2_000 * self.settings.revise_every_s
        return await fold_offline(self.settings, directory, at_ms)

    async def has_records(
        self, records: set[bytes], ledger: Ledger, timeout_s: float = PATIENCE_S
    ) -> None:
        """These are published, and no others; what the ledger does not hold yet it takes in."""

        async def differing() -> set[bytes]:
            await read_on(self.settings, ledger)
            return ledger.records ^ records

        await eventually(differing, set[bytes](), timeout_s, every_s=0.5)

    async def is_published(self, months: Sequence[int], timeout_s: float = PATIENCE_S) -> Ledger:
        """Records become the recounts of these months, with a completion for each subscription."""
        recount = self._recount or await self.recounted()
        recounts = {number: recount.figures[number] for number in months}
        wanted = {(name, self.months.named(n)) for n in months for name in self.names}
        ledger = Ledger()

        async def published() -> tuple[dict[int, dict[Row, Figure]], bool]:
            await read_on(self.settings, ledger)
            figures = {number: ledger.figures(self.months.named(number)) for number in months}
            return figures, wanted <= ledger.completions().keys()

        await eventually(published, (recounts, True), timeout_s, every_s=0.5)
        if self.is_defined_first and len(months) == len(self.months.starts) - 1:

            async def told() -> tuple[object, object]:
                await read_on(self.settings, ledger)
                return ledger.billed(), ledger.triggered()

            # The newest events belong to a grid cut that no record waits for.
            await eventually(told, (recount.billed, recount.triggered), timeout_s, every_s=0.5)
        return ledger


def _charge(metric: Json) -> Json:
    charge: Json = {
        "billable_metric_id": metric["lago_id"],
        "charge_model": "standard",
        "properties": {"amount": "1"},
    }
    if metric["code"] == "calls":
        charge["properties"]["pricing_group_keys"] = ["zone"]
    if metric["code"] == IN_ADVANCE:
        charge["pay_in_advance"] = True
    if metric["code"] == "traffic":
        charge["filters"] = [{"values": {"region": ["eu"]}, "properties": {"amount": "2"}}]
    return charge


async def _in_parallel(calls: Sequence[tuple[str, str, Json | None]], api: Api) -> None:
    limit = asyncio.Semaphore(20)

    async def one(method: str, path: str, body: Json | None) -> None:
        async with limit:
            status, answer = await api.call_when_available(method, path, body)
            assert status == 200, (path, status, answer)

    await asyncio.gather(*(one(*call) for call in calls))


def _rows(name: str, usage: Json) -> Iterator[tuple[Row, Figure]]:
    for charge in usage["charges_usage"]:
        code = charge["billable_metric"]["code"]
        if charge["grouped_usage"]:
            parts = [(False, g["grouped_by"]["zone"], g) for g in charge["grouped_usage"]]
        elif charge["filters"]:
            parts = [(f["values"] is not None, None, f) for f in charge["filters"]]
        else:
            parts = [(False, None, charge)]
        for filtered, group, figures in parts:
            figure = Figure(Decimal(figures["units"]), figures["events_count"])
            if figure != Figure(Decimal(0), 0):
                yield Row(name, code, filtered, group), figure


class Traffic:
    """Events of a world, the same for the same seed; some come twice, some in conflict."""

    def __init__(
        self,
        world: World,
        seed: int = 0,
        *,
        months: Sequence[int] = (0, 1, 2),
        conflicts: float = 0.03,
    ):
        self.world = world
        self.conflicts = conflicts
        """Share of the events that repeat an id with something else."""
        self.random = random.Random(seed)
        self.seed = seed
        self.months = months
        self.sent = 0
        self.conflicting = 0
        """Of those sent, the ones that repeat an id with something else."""
        self.acknowledged = 0
        """Of those sent in batches, the ones that the broker said it has."""

    def event(self) -> Json:
        """The next event."""
        choose, number = self.random, self.sent
        self.sent += 1
        starts_ms = [*self.world.months.starts_ms[:3], self.world.months.now_ms - 1_000]
        month = choose.choice(self.months)
        at_ms = choose.randrange(starts_ms[month], max(starts_ms[month] + 1, starts_ms[month + 1]))
        if choose.random() < self.conflicts:
            number = choose.randrange(self.sent)
            self.conflicting += 1
        code = choose.choice(METRICS)["code"]
        return raw_event(
            self.world.names[number % len(self.world.names)],
            f"{self.seed}-{number}",
            code,
            f"{at_ms // 1000}.{at_ms % 1000:03}",
            **_properties(code, choose),
        )

    async def send(self, count: int, producer: AIOKafkaProducer) -> None:
        """Send so many events and wait until the broker has them."""
        topic = self.world.settings.topic(self.world.settings.raw_topic)
        sent = []
        for _ in range(count):
            event = self.event()
            key = event_key(event["external_subscription_id"])
            sent.append(await producer.send(topic, encoded(event), key=key))
            if self.random.random() < 0.01:
                sent.append(await producer.send(topic, encoded(event), key=key))
        await producer.flush()
        await asyncio.gather(*sent)

    async def send_batches(
        self, count: int, producer: AIOKafkaProducer, place: Callable[[bytes], int]
    ) -> None:
        """Like `send`, with a tenth of its work: `place` names the partition of a key."""
        topic = self.world.settings.topic(self.world.settings.raw_topic)
        batches: dict[int, Any] = {}
        delivered = []
        for _ in range(count):
            event = self.event()
            key, value = event_key(event["external_subscription_id"]), encoded(event)
            partition = place(key)
            for _ in range(2 if self.random.random() < 0.01 else 1):
                batch = batches.get(partition)
                if batch is None or batch.append(key=key, value=value, timestamp=None) is None:
                    if batch is not None:
                        delivered.append(
                            await producer.send_batch(batch, topic, partition=partition)
                        )
                    batch = batches[partition] = producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
        for partition, batch in batches.items():
            delivered.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*delivered)
        self.acknowledged += count

    async def send_from_all_sides(self, count: int) -> None:
        """Most as librdkafka keys, some as Java does, some without a key."""
        shares = {"crc32": count * 8 // 10, "murmur2": count // 10, "unkeyed": count // 10}
        for keying, share in shares.items():
            producer = foreign_producer(self.world.settings, keying)  # type: ignore[arg-type]
            await producer.start()
            try:
                await self.send(share, producer)
            finally:
                await producer.stop()


def _properties(code: str, choose: random.Random) -> dict[str, Any]:
    if code == "traffic":
        properties: dict[str, Any] = {
            "gb": f"{choose.randrange(-(10**4), 10**5)}.{choose.randrange(10**4):04}"
        }
        region = choose.choice(["eu", "us", None])
        return properties | ({} if region is None else {"region": region})
    if code == "calls":
        zone = choose.choice(ZONES)
        return {} if zone is None else {"zone": zone}
    if code == "peak":
        return {"cores": choose.randrange(1, 1000) / 8}
    if code == "level":
        return {"level": choose.randrange(1, 10**6)}
    operation = choose.choice(["add", "add", "remove", None])
    properties = {"user": f"user-{choose.randrange(12)}"}
    return properties | ({} if operation is None else {"operation_type": operation})
