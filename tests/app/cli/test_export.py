"""`meter export`: the whole log, and plain words without one."""

from __future__ import annotations

import asyncio
import csv
import json
from unittest.mock import ANY

import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.local_servers.ports import free_ports
from app.main import Worker
from app.wire.record_rows import COLUMNS
from tests.app.cli.conftest import Meter
from tests.world.live.api import Api
from tests.world.waiting import eventually


@pytest.mark.parametrize("what", ["definitions", "events", "records"])
def test_no_kafka_is_one_line(what: str) -> None:
    (port,) = free_ports(1)
    answer = CliRunner(env={"METER_KAFKA_PORT": str(port)}).invoke(cli, ["export", what])
    assert (answer.exit_code, answer.stdout) == (3, "")
    assert f"Kafka at 127.0.0.1:{port} does not answer" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def brokers_of(worker: Worker) -> dict[str, str]:
    """Settings of a command that reads the worker's topics."""
    settings = worker.settings
    return {
        "METER_KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "METER_TOPIC_PREFIX": settings.topic_prefix,
    }


@pytest.mark.servers
async def test_a_part_of_a_log_is_exported(worker: Worker, meter: Meter) -> None:
    topic, brokers = worker.settings.topic(worker.settings.raw_topic), brokers_of(worker)

    async def offsets(*words: str) -> list[int]:
        exported = await meter("export", "events", *words, **brokers)
        assert exported.exit_code == 0, exported.output
        return [json.loads(line)["_offset"] for line in exported.stdout.splitlines()]

    sent = []
    for subscriptions in (["a"], ["b"], ["b", "a"], ["b"]):
        events = [
            {"external_subscription_id": name, "transaction_id": "t", "code": "c"}
            for name in subscriptions
        ]
        value = json.dumps(events if len(events) > 1 else events[0]).encode()
        sent.append(await worker.engine.append(topic, b"k", value, 0))
        await asyncio.sleep(0.01)
    all_of_them = [one.offset for one in sent]
    assert await offsets() == all_of_them
    assert await offsets("--subscription", "a") == [all_of_them[0], all_of_them[2]]
    assert await offsets("--subscription", "nobody") == []
    assert await offsets("--since-offset", f"0:{all_of_them[2]}") == all_of_them[2:]
    assert await offsets("--since-offset", "1:9") == all_of_them
    times = [str(one.timestamp) for one in sent]
    assert await offsets("--from", times[1], "--to", times[3]) == all_of_them[1:3]
    assert await offsets("--from", "2999-01-01") == []
    assert await offsets("--to", times[2], "--subscription", "b") == [all_of_them[1]]


@pytest.mark.servers
async def test_records_are_exported_as_rows(api: Api, worker: Worker, meter: Meter) -> None:
    brokers = brokers_of(worker)

    async def lines(*words: str) -> list[str]:
        exported = await meter("export", "records", *words, **brokers)
        assert exported.exit_code == 0, exported.output
        return exported.stdout.splitlines()

    async def published() -> bool:
        return any('"period.completed"' in line for line in await lines())

    await eventually(published, True)
    whole = [json.loads(line) for line in await lines("--subscription", "sub/1")]
    assert whole
    rows = list(csv.DictReader(await lines("--subscription", "sub/1", "-o", "csv")))
    assert [row["id"] for row in rows[: len(whole)]] == [one["id"] for one in whole]
    assert [row["units"] for row in rows[: len(whole)]] == [one.get("units", "") for one in whole]
    assert await lines("--subscription", "nobody", "-o", "csv", "--to", "2020-01-01") == [
        ",".join(COLUMNS)
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["events", "-o", "csv"],
        ["definitions", "--subscription", "a"],
        ["definitions", "--to", "2026-01-01"],
        ["events", "--since-offset", "17"],
        ["events", "--redact", "--since-offset", "0:17"],
    ],
)
def test_what_cannot_be_exported_so(words: list[str]) -> None:
    assert CliRunner().invoke(cli, ["export", *words]).exit_code == 2


@pytest.mark.servers
async def test_every_partition_is_exported_whatever_the_settings_say(
    worker: Worker, meter: Meter
) -> None:
    settings, brokers = worker.settings, brokers_of(worker)
    for partition in range(settings.raw_partitions):
        await worker.engine.append(
            settings.topic(settings.raw_topic), b"k", b"%d" % partition, partition
        )
    exported = await meter("export", "events", **brokers, METER_RAW_PARTITIONS="1")
    assert exported.exit_code == 0, exported.output
    lines = map(json.loads, exported.stdout.splitlines())
    assert {line["_partition"] for line in lines} == set(range(settings.raw_partitions))

    event = {"external_subscription_id": "s", "transaction_id": "t", "code": "c"}
    value = json.dumps({**event, "properties": {"mail": "ada@example.com"}}).encode()
    await worker.engine.append(settings.topic(settings.raw_topic), b"k", value, 0)
    redacted = await meter("export", "events", "--redact", **brokers)
    assert redacted.exit_code == 0, redacted.output
    kept = [json.loads(line) for line in redacted.stdout.splitlines()]
    assert [line for line in kept if "code" in line] == [
        {
            **event,
            "_append_time": ANY,
            "_partition": 0,
            "_offset": ANY,
            "_key_base64": "aw==",
        }
    ]
    assert all(line["_value"] is None for line in kept if "code" not in line)

    granted = [("meter-granted", b"1")]
    sent = await worker.engine.append(settings.topic(settings.raw_topic), b"k", value, 0, granted)
    refused = await meter("export", "events", "--redact", **brokers)
    assert refused.exit_code == 1
    assert f"Record {sent.offset} of partition 0 is granted with its exact bytes" in refused.stderr
    wrong = await meter("export", "records", "--redact", **brokers)
    assert wrong.exit_code == 2

    nowhere = brokers | {"METER_TOPIC_PREFIX": "nobody-has-this-"}
    absent = await meter("export", "events", **nowhere)
    assert absent.exit_code == 1
    assert "has no topic nobody-has-this-" in absent.stderr
