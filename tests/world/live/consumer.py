"""A sample invoicing consumer: keeps the newest revision of each cell and believes nothing else.

It reads what is committed, checks that an id never has two bodies, that revisions of a cell follow
each other, and that every `period.completed` is true: so many cells, with that sum of digests.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.billing_periods.instants import parse_iso8601_ms
from app.kafka.topics import USAGE_ALERTS
from app.settings import Settings
from tests.world.live.recount import Figure, Row
from tests.world.live.recount_events import Billed, Triggered

Json = dict[str, Any]
Period = tuple[str, str]
"""(lago_subscription_id, from)"""


class Ledger:
    """Everything that an invoicing consumer holds."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        """Every record by id."""
        self.newest: dict[str, Json] = {}
        """The newest revision by cell_id, completions too."""
        self.repeats = 0
        """Records that came again under the same id."""
        self.next: dict[int, int] = {}
        """By partition, the offset up to which the topic was read."""
        self.instants: dict[str, Json] = {}
        """The newest revision of what each event billed in advance, by instant_id."""
        self.alerts: dict[str, bytes] = {}
        """Every message of an alert by id."""
        self.next_alerts: dict[int, int] = {}
        self._cells: dict[Period, dict[str, int]] = {}

    def take(self, value: bytes) -> None:
        """One record of the topic."""
        record = json.loads(value)
        known = self.bodies.setdefault(record["id"], value)
        assert known == value, f"id {record['id']} has two bodies:\n{known!r}\n{value!r}"
        if record["type"] in ("usage.instant", "usage.instant_revised"):
            self._take_instant(record)
            return
        before = self.newest.get(record["cell_id"])
        revision = -1 if before is None else before["revision"]
        if record["revision"] <= revision:
            self.repeats += 1
            return
        assert record["revision"] == revision + 1, (record, before)
        if record["type"] == "usage.revised":
            assert before is not None
            assert record["previous_units"] == before["units"]
            delta = Decimal(record["units"]) - Decimal(before["units"])
            assert Decimal(record["delta_units"]) == delta
        self.newest[record["cell_id"]] = record
        cells = self._cells.setdefault(_period(record), {})
        if record["type"] == "period.completed":
            assert record["records_count"] == len(cells), record
            assert int(record["digest"], 16) == sum(cells.values()) % (1 << 128), record
        else:
            cells[record["cell_id"]] = int(record["digest"], 16)

    def _take_instant(self, record: Json) -> None:
        before = self.instants.get(record["instant_id"])
        revision = -1 if before is None else before["revision"]
        if record["revision"] <= revision:
            self.repeats += 1
            return
        assert record["revision"] == revision + 1, (record, before)
        if before is not None:
            assert record["previous_units"] == before["units"]
        self.instants[record["instant_id"]] = record

    def take_alert(self, value: bytes) -> None:
        """One message of an alert."""
        identity = json.loads(value)["triggered_alert"]["lago_id"]
        self.repeats += identity in self.alerts
        assert self.alerts.setdefault(identity, value) == value

    def billed(self) -> set[Billed]:
        """What each event bills in advance."""
        return {
            Billed(
                tuple(record["position"][key] for key in ("partition", "offset", "index")),
                *(Decimal(record[f"{key}units"]) for key in ("", "current_", "peak_")),
            )
            for record in self.instants.values()
        }

    def triggered(self) -> set[Triggered]:
        """What alerts told."""
        bodies = [json.loads(value)["triggered_alert"] for value in self.alerts.values()]
        return {
            Triggered(
                body["external_subscription_id"],
                parse_iso8601_ms(body["triggered_at"]) or 0,
                Decimal(body["previous_value"]),
                Decimal(body["current_value"]),
                tuple(Decimal(each["value"]) for each in body["crossed_thresholds"]),
            )
            for body in bodies
        }

    def completions(self) -> dict[tuple[str, str], int]:
        """Newest revision of each completion by (external_subscription_id, from)."""
        return {
            (r["external_subscription_id"], r["period"]["from"]): r["revision"]
            for r in self.newest.values()
            if r["type"] == "period.completed"
        }

    def figures(self, period_from: str) -> dict[Row, Figure]:
        """What is to be invoiced for the periods that begin at an instant."""
        return {
            _row(record): Figure(Decimal(record["units"]), record["events_count"])
            for record in self.newest.values()
            if record["type"] != "period.completed"
            and record["period"]["from"] == period_from
            and (Decimal(record["units"]) or record["events_count"])
        }

    @property
    def records(self) -> set[bytes]:
        """Every message as a set."""
        return {*self.bodies.values(), *self.alerts.values()}


def _period(record: Json) -> Period:
    return record["lago_subscription_id"], record["period"]["from"]


def _row(record: Json) -> Row:
    grouped = record["grouped_by"] or {}
    (group,) = grouped.values() or (None,)
    return Row(
        record["external_subscription_id"],
        record["billable_metric"]["code"],
        record["filters"] is not None,
        group,
    )


async def read_ledger(settings: Settings) -> Ledger:
    """All usage records committed until now."""
    ledger = Ledger()
    await read_on(settings, ledger)
    return ledger


async def read_on(settings: Settings, ledger: Ledger) -> None:
    """Take in what was committed since."""
    for record in await records_of(settings, settings.usage_records_topic, ledger.next):
        ledger.take(record.value)
    for record in await records_of(settings, USAGE_ALERTS, ledger.next_alerts):
        ledger.take_alert(record.value)


async def records_of(
    settings: Settings, topic: str, next_offsets: dict[int, int] | None = None
) -> list[Any]:
    """Return the committed records of a topic, from the offsets by partition on; these move on."""
    moved = {} if next_offsets is None else next_offsets
    tps = [TopicPartition(settings.topic(topic), n) for n in range(settings.raw_partitions)]
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        **settings.kafka_options(),
    )
    found: list[Any] = []
    async with consumer:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        for tp in tps:
            if tp.partition in moved:
                consumer.seek(tp, moved[tp.partition])
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
        for tp in tps:
            moved[tp.partition] = await consumer.position(tp)
    return found
