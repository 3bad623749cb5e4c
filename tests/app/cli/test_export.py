"""`meter export`: the whole log, and plain words without one."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
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
    assert await offsets("--since-offset", "1:0") == all_of_them
    for place, said in (
        ("1:9", f"Partition 1 of {topic} ends at 0, before 9."),
        ("99:0", f"{topic} has 2 partitions, and none is 99."),
        (f"0:{all_of_them[-1] + 1_000}", "ends at"),
    ):
        refused = await meter("export", "events", "--since-offset", place, **brokers)
        assert (refused.exit_code, refused.stdout) == (2, ""), refused.output
        assert said in refused.stderr
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


_DEFINITION = (
    '{"type":"metric","id":"i","organization_id":"o","payload":{},"_append_time":1,"_offset":9}\n'
)
_EVENT = '{"_append_time":1,"_partition":0,"_offset":9,"code":"c"}\n'


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        ("events", _DEFINITION),
        ("events", _EVENT + _DEFINITION),
        ("events", '{"code":"c"}\n'),
        ("events", "root:x:0:0\n"),
        ("definitions", _EVENT),
    ],
)
def test_another_file_is_no_earlier_export(what: str, lines: str, tmp_path: Path) -> None:
    file = tmp_path / "earlier.jsonl"
    file.write_text(lines)
    answer = CliRunner().invoke(cli, ["export", what, "--after", str(file)])
    assert (answer.exit_code, answer.stdout) == (2, ""), answer.output
    number = len(lines.splitlines())
    assert f"{file} is no export of {what}: line {number}: " in answer.stderr


@pytest.mark.parametrize("wrong", ["definitions", "events"])
def test_an_import_names_the_file_that_is_none(wrong: str, tmp_path: Path) -> None:
    texts = {"definitions": _DEFINITION, "events": _EVENT, wrong: "[\n"}
    paths = {name: tmp_path / name for name in texts}
    for name, text in texts.items():
        paths[name].write_text(text)
    words = ["import", str(paths["definitions"]), str(paths["events"]), "--into-empty"]
    answer = CliRunner(env={"METER_PROFILE": "local"}).invoke(cli, words)
    assert answer.exit_code == 1, answer.output
    assert f"Error: {paths[wrong]}: line 1: " in answer.stderr


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
