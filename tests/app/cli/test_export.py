"""`meter export`: the whole log, and plain words without one."""

from __future__ import annotations

import json
from unittest.mock import ANY

import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.local_servers.ports import free_ports
from app.main import Worker
from tests.app.cli.conftest import Meter


@pytest.mark.parametrize("what", ["definitions", "events", "records"])
def test_no_kafka_is_one_line(what: str) -> None:
    (port,) = free_ports(1)
    answer = CliRunner(env={"METER_KAFKA_PORT": str(port)}).invoke(cli, ["export", what])
    assert (answer.exit_code, answer.stdout) == (3, "")
    assert f"Kafka at 127.0.0.1:{port} does not answer" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.servers
async def test_every_partition_is_exported_whatever_the_settings_say(
    worker: Worker, meter: Meter
) -> None:
    settings = worker.settings
    for partition in range(settings.raw_partitions):
        await worker.engine.append(
            settings.topic(settings.raw_topic), b"k", b"%d" % partition, partition
        )
    brokers = {
        "METER_KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "METER_TOPIC_PREFIX": settings.topic_prefix,
    }
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
