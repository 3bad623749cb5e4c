"""`meter webhooks` against a real broker and a server that answers, or does not."""

from __future__ import annotations

import asyncio
import gc
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import NewTopic
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from app.bounds.collecting import Collecting
from app.cli.exits import WRONG_USAGE
from app.cli.main import cli
from app.definitions import commands
from app.kafka.lenient_fetch import FetchingEnded
from app.kafka.names import KafkaError
from app.kafka.topics import METER_DEFINITIONS, admin_client
from app.local_servers.ports import free_ports
from app.settings import Settings
from app.webhooks import sender
from app.webhooks.failures import Failures
from app.webhooks.process import _defect
from app.webhooks.signatures import read_private_key
from tests.app.webhooks.conftest import (
    HMAC_KEY,
    ISSUER,
    ORG,
    Topics,
    alert,
    assigned,
    committed,
    figure,
    producing,
    says,
)
from tests.world.clock import AheadClock
from tests.world.definitions_log import metric_body, plan_body, subscription_body
from tests.world.live.receiver import Receiver, Request
from tests.world.live.webhooks import running_webhooks
from tests.world.live.worker import ROOT, environment_of
from tests.world.waiting import PATIENCE_S, eventually, until

METRIC = commands.create_billable_metric(ORG, metric_body("storage"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once."""
    monkeypatch.setattr(sender, "wait_s", lambda *_: 0.05)


async def test_each_endpoint_is_told_once_in_order(topics: Topics, receiver: Receiver) -> None:
    await topics.define(METRIC)
    async with running_webhooks(topics.settings):
        await assigned(topics.settings)
        await topics.endpoint(f"{receiver.url}/a")
        await topics.endpoint(f"{receiver.url}/b", event_types=["billable_metric.deleted"])
        for name in "xyz":
            await topics.define(commands.update_billable_metric(ORG, "storage", {"name": name}))
        await topics.define(commands.delete_billable_metric(ORG, "storage"))
        await until(lambda: len(receiver.requests) == 5)
        names = [one.told["billable_metric"]["name"] for one in receiver.at("/a")]
        assert names == ["x", "y", "z", "z"]
        assert receiver.types_at("/b") == ["billable_metric.deleted"]
        assert len({one.key for one in receiver.requests}) == 5
        await committed(topics.settings, METER_DEFINITIONS, 7)


async def test_bodies_are_signed_by_the_algorithm_of_the_endpoint(
    topics: Topics, receiver: Receiver
) -> None:
    settings = topics.settings
    async with running_webhooks(settings):
        await assigned(settings)
        await topics.endpoint(f"{receiver.url}/hmac", signature_algo="hmac")
        await topics.endpoint(f"{receiver.url}/jwt")
        await topics.append(settings.dead_letter_topic, b"{", [("meter-organization", b"acme")])
        await until(lambda: len(receiver.requests) == 2)
    (by_hmac,), (by_jwt,) = receiver.at("/hmac"), receiver.at("/jwt")
    assert by_hmac.body == by_jwt.body
    signature = hmac.digest(HMAC_KEY.encode(), by_hmac.body, sha256)
    assert by_hmac.headers["X-Lago-Signature"] == b64encode(signature).decode()
    assert by_hmac.headers["X-Lago-Signature-Algorithm"] == "hmac"
    head, claims, signed = by_jwt.headers["X-Lago-Signature"].split(".")
    assert settings.webhook_private_key_file is not None
    key = read_private_key(settings.webhook_private_key_file).public_key()
    key.verify(urlsafe_b64decode(signed + "=="), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
    told = json.loads(b64decode(claims + "=="))
    assert told == {"data": by_jwt.body.decode(), "iss": ISSUER}


@pytest.mark.slow
async def test_who_is_down_gets_three_attempts_and_holds_back_nobody(
    topics: Topics, receiver: Receiver
) -> None:
    receiver.statuses["/down"] = 500
    settings = topics.settings
    async with running_webhooks(settings):
        await assigned(settings)
        await topics.endpoint(f"{receiver.url}/down")
        await topics.endpoint(f"{receiver.url}/up")
        for number in range(3):
            await topics.append("usage-alerts", alert("s", number))
        await until(lambda: len(receiver.at("/up")) == 3)
        assert len(receiver.at("/down")) == 3
        await until(lambda: len(receiver.at("/down")) == 9)
        await says(settings, 'meter_webhooks_given_up_total{webhook_type="alert.triggered"} 3.0')
        await committed(settings, "usage-alerts", 3)
    assert len(receiver.at("/up")) == 3
    for key in {one.key for one in receiver.at("/down")}:
        at_s = [one.at_s for one in receiver.at("/down") if one.key == key]
        after_s = [at - at_s[0] for at in at_s]
        assert 3 <= after_s[1] < 4
        assert 21 <= after_s[2] < 25
    runner = CliRunner(env={"METER_STATE_DIR": str(settings.state_dir)})
    failed = json.loads(runner.invoke(cli, ["webhooks", "failed", "--json"]).stdout)
    in_a_pipe = runner.invoke(cli, ["webhooks", "failed"]).stdout.splitlines()
    names, *rows = (line.split("\t") for line in in_a_pipe)
    assert [dict(zip(names, row, strict=True)) for row in rows] == [
        {name: str(value) for name, value in one.items()} for one in failed
    ]
    assert {one["unique_key"] for one in failed} == {one.key for one in receiver.at("/down")}
    assert {(one["attempts"], one["reason"]) for one in failed} == {(3, "status 500")}


@pytest.mark.usefixtures("quick")
async def test_what_is_given_up_says_why_in_words(topics: Topics, receiver: Receiver) -> None:
    receiver.statuses["/moved"] = 302
    settings, (nobody,) = topics.settings, free_ports(1)
    async with running_webhooks(settings):
        await assigned(settings)
        await topics.endpoint(f"{receiver.url}/moved")
        await topics.endpoint(f"http://127.0.0.1:{nobody}/")
        await topics.endpoint(receiver.url.replace("http:", "https:"))
        await topics.append("usage-alerts", alert("s"))
        await committed(settings, "usage-alerts", 1)
    found = [*Failures(settings.state_dir).newest()]
    assert {one.reason for one in found} == {"status 302", "connection refused", "TLS failed"}
    assert len(found) == 3


@pytest.mark.usefixtures("quick")
async def test_a_signature_too_long_for_a_header_is_told_where_it_is_given_up(
    topics: Topics, receiver: Receiver
) -> None:
    """The receiver takes headers of 8,190 bytes, as it comes."""
    settings = topics.settings
    async with running_webhooks(settings):
        await assigned(settings)
        await topics.endpoint(f"{receiver.url}/jwt")
        await topics.endpoint(f"{receiver.url}/hmac", signature_algo="hmac")
        await topics.append("usage-alerts", alert("s" * 5_000))
        await topics.append("usage-alerts", alert("s" * 5_800))
        await committed(settings, "usage-alerts", 2)
    assert len(receiver.at("/hmac")) == 2
    (taken,) = receiver.at("/jwt")
    assert len(taken.headers["X-Lago-Signature"]) < 8_000
    (given_up,) = Failures(settings.state_dir).newest()
    assert re.fullmatch(r"status 400, the signature has 8,\d{3} bytes", given_up.reason)


async def test_names_that_nobody_answers_for_hold_back_nobody(
    topics: Topics, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()
    over, look_up = threading.Event(), socket.getaddrinfo

    def slowly(host: Any, *args: Any, **options: Any) -> Any:
        if str(host).startswith("dead"):
            asked.add(host)
            over.wait()
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    each = [f"o{number}" for number in range(10)]
    urls = {name: [f"http://dead{n}.{name}.invalid/" for n in range(10)] for name in each}
    async with running_webhooks(topics.settings):
        await assigned(topics.settings)
        try:
            for name, of_one in urls.items():
                for url in of_one:
                    made = commands.create_webhook_endpoint(name, {"webhook_url": url})
                    await topics.define(made)
                await topics.append("usage-alerts", alert("s", organization_id=name))
            await topics.endpoint(receiver.url.replace("127.0.0.1", "localhost"))
            await topics.append("usage-alerts", alert("s"))
            await until(lambda: len(receiver.requests) == 1)
            await until(lambda: len(asked) == 100)
        finally:
            over.set()


@pytest.mark.usefixtures("quick")
async def test_a_redirect_is_not_followed(topics: Topics, receiver: Receiver) -> None:
    receiver.statuses["/moved"] = 302
    async with running_webhooks(topics.settings):
        await assigned(topics.settings)
        await topics.endpoint(f"{receiver.url}/moved")
        await topics.append("usage-alerts", alert("s"))
        await until(lambda: len(receiver.requests) == 3)
        await committed(topics.settings, "usage-alerts", 1)
    assert {one.path for one in receiver.requests} == {"/moved"}


@pytest.mark.usefixtures("quick")
async def test_what_fails_is_tried_again_while_what_follows_goes_on(
    topics: Topics, receiver: Receiver
) -> None:
    def once(request: Request) -> None:
        first = len(receiver.requests) == 1
        receiver.statuses["/a"] = 503 if first else 201

    receiver.on_request = once
    async with running_webhooks(topics.settings):
        await assigned(topics.settings)
        await topics.endpoint(f"{receiver.url}/a")
        await topics.append("usage-alerts", alert("s", 0))
        await topics.append("usage-alerts", alert("s", 1))
        await until(lambda: len(receiver.requests) == 3)
        await committed(topics.settings, "usage-alerts", 2)
    keys = [one.key for one in receiver.requests]
    assert keys[0] in keys[1:]
    assert len(set(keys)) == 2


async def test_an_alert_and_a_fee_are_told_as_they_stand(
    topics: Topics, receiver: Receiver
) -> None:
    settings = topics.settings
    instant = {"type": "usage.instant", "id": "i", "organization_id": ORG, "instant_id": "one"}
    records = settings.usage_records_topic
    async with running_webhooks(settings):
        await assigned(settings)
        await topics.endpoint(f"{receiver.url}/a")
        await topics.append("usage-alerts", alert("s"))
        revised = json.dumps({**instant, "type": "usage.instant_revised"}).encode()
        await topics.append(records, revised, [("ce_type", b"usage.instant_revised")])
        value = json.dumps(instant).encode()
        await topics.append(records, value, [("ce_type", b"usage.instant")])
        await until(lambda: len(receiver.requests) == 2)
        await committed(settings, records, 2)
    by_type = {one.type: one for one in receiver.requests}
    assert by_type["alert.triggered"].body == alert("s")
    assert by_type["fee.created"].told["fee"]["lago_id"] == "one"


async def test_what_was_before_the_first_start_is_told_nobody_and_a_restart_goes_on(
    topics: Topics, receiver: Receiver
) -> None:
    await topics.endpoint(f"{receiver.url}/a")
    await topics.define(METRIC)
    await topics.append("usage-alerts", alert("s", 0))
    async with running_webhooks(topics.settings):
        await assigned(topics.settings)
        await committed(topics.settings, METER_DEFINITIONS, 2)
        await committed(topics.settings, "usage-alerts", 1)
    await topics.define(commands.delete_billable_metric(ORG, "storage"))
    await topics.append("usage-alerts", alert("s", 1))
    async with running_webhooks(topics.settings):
        await until(lambda: len(receiver.requests) == 2)
        await committed(topics.settings, "usage-alerts", 2)
    assert sorted(receiver.types_at("/a")) == ["alert.triggered", "billable_metric.deleted"]


async def test_topics_that_come_later_are_read_from_their_start(
    webhook_settings: Settings, receiver: Receiver
) -> None:
    settings, partitions = webhook_settings, webhook_settings.raw_partitions
    names = {settings.topic(METER_DEFINITIONS): 1}
    names |= dict.fromkeys(
        map(settings.topic, (settings.usage_records_topic, settings.dead_letter_topic)), partitions
    )
    async with admin_client(settings) as admin:
        await admin.create_topics([NewTopic(name, count, 1) for name, count in names.items()])
    async with running_webhooks(settings), producing(settings) as topics:
        await says(settings, f"meter_webhooks_assigned {2 * partitions + 1}.0")
        await topics.endpoint(f"{receiver.url}/a")
        async with admin_client(settings) as admin:
            name = settings.topic("usage-alerts")
            await admin.create_topics([NewTopic(name, partitions, 1)])
        await topics.append("usage-alerts", alert("s"))
        await until(lambda: len(receiver.requests) == 1)


async def test_the_collector_walks_no_definitions_while_the_process_runs(
    webhook_settings: Settings,
) -> None:
    walks = list(gc.callbacks)
    async with running_webhooks(webhook_settings):
        await until(lambda: len(gc.callbacks) == len(walks) + 1)
        assert isinstance(gc.callbacks[-1].__self__, Collecting)  # type: ignore[attr-defined]
    assert gc.callbacks == walks


async def test_two_processes_share_the_work_and_one_goes_on_for_both(
    topics: Topics, receiver: Receiver
) -> None:
    (port,) = free_ports(1)
    settings = topics.settings
    other = settings.model_copy(update={"webhooks_port": port})
    every = range(settings.raw_partitions)

    async def send(since: int) -> None:
        for partition in every:
            value = alert(f"s{partition}", since + partition)
            await topics.append("usage-alerts", value, partition=partition)

    async def are_shared() -> bool:
        found = [await read_partitions(each) for each in (settings, other)]
        return sum(found) == 3 * settings.raw_partitions + 1 and all(found)

    async with running_webhooks(settings):
        await assigned(settings)
        await topics.endpoint(f"{receiver.url}/a")
        async with running_webhooks(other):
            await eventually(are_shared, True)
            await send(0)
            await topics.define(METRIC)
            await until(lambda: len({one.key for one in receiver.requests}) == 3)
        await assigned(settings)
        await send(10)
        await topics.define(commands.delete_billable_metric(ORG, "storage"))
        await until(lambda: len({one.key for one in receiver.requests}) == 6)


async def read_partitions(settings: Settings) -> int:
    return int(await figure(settings, "meter_webhooks_assigned"))


async def test_what_comes_with_time_is_told_when_it_has_come(
    topics: Topics, receiver: Receiver
) -> None:
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 90_000))
    async with running_webhooks(topics.settings):
        await assigned(topics.settings)
        await topics.endpoint(f"{receiver.url}/a", event_types=["subscription.started"])
        await topics.define(METRIC, commands.create_plan(ORG, plan_body()))
        body = subscription_body(subscription_at=start)
        await topics.define(commands.create_subscription(ORG, body))
        await committed(topics.settings, METER_DEFINITIONS, 4)
        assert receiver.requests == []
    clock = AheadClock(100_000_000)  # more than a day
    async with running_webhooks(topics.settings, clock):
        await until(lambda: len(receiver.requests) == 1)
        (told,) = receiver.requests
        assert told.told["subscription"]["status"] == "active"
        assert told.told["subscription"]["customer"]["external_id"] == "cust_1"
        await asyncio.sleep(2)
    async with running_webhooks(topics.settings, clock):
        await assigned(topics.settings)
        await asyncio.sleep(2)
    assert len(receiver.requests) == 1


async def test_once_an_hour_events_that_nothing_can_count_are_told(
    topics: Topics, receiver: Receiver
) -> None:
    clock = AheadClock()
    settings = topics.settings
    async with running_webhooks(settings, clock, events_errors=True):
        await assigned(settings)
        await topics.endpoint(f"{receiver.url}/a", event_types=["events.errors"])
        filters = [{"key": "region", "values": ["eu"]}]
        metric = metric_body("storage", filters=filters)
        await topics.define(commands.create_billable_metric(ORG, metric))
        for number, (code, properties) in enumerate(
            (
                ("storage", {"gb": 1, "region": "eu"}),
                ("other", {}),
                ("storage", {"region": "eu"}),
                ("storage", {"gb": None}),
                ("storage", {"gb": 1, "region": "us"}),
            )
        ):
            event: dict[str, object] = {
                "organization_id": ORG,
                "external_subscription_id": "s",
                "code": code,
            }
            event = event | {"transaction_id": f"t{number}", "properties": properties}
            value = json.dumps(event).encode()
            await topics.append(settings.raw_topic, value, partition=number % 2)
        await committed(settings, METER_DEFINITIONS, 2)
        clock.ahead_ms = 3_620_000
        await until(lambda: len(receiver.requests) == 1)
    (told,) = receiver.requests
    assert told.told["object_type"] == "events_errors"
    errors = {kind: sorted(ids) for kind, ids in told.told["events_errors"].items()}
    assert errors == {
        "invalid_code": ["t1"],
        "missing_aggregation_property": ["t2", "t3"],
        "missing_group_key": [],
        "invalid_filter_values": ["t4"],
    }
    async with running_webhooks(settings, clock, events_errors=True):
        await assigned(settings)
        await asyncio.sleep(2)
    assert len(receiver.requests) == 1


@asynccontextmanager
async def launched(settings: Settings, log: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """`meter webhooks` as a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("METER_")},
        **{name: text for name, text in environment_of(settings).items() if "REDIS" not in name},
        "METER_STATE_DIR": str(settings.state_dir),
        "METER_WEBHOOKS_PORT": str(settings.webhooks_port),
        "METER_WEBHOOK_PRIVATE_KEY_FILE": str(settings.webhook_private_key_file),
    }
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", "from app.cli.main import cli; cli()", "webhooks"],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=file,
        )
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def test_a_kill_between_delivery_and_commit_sends_the_same_key_again(
    topics: Topics, receiver: Receiver, tmp_path: Path
) -> None:
    settings, log = topics.settings, tmp_path / "log"
    async with launched(settings, log) as process:
        await assigned(settings)
        await topics.endpoint(f"{receiver.url}/a")
        await committed(settings, METER_DEFINITIONS, 1)
        receiver.on_request = lambda _: os.kill(process.pid, signal.SIGKILL)
        await topics.append("usage-alerts", alert("s"))
        await topics.define(METRIC)
        await until(lambda: process.poll() is not None)
    receiver.on_request = lambda _: None
    before = {one.key for one in receiver.requests}
    assert before
    async with launched(settings, log) as process:
        await committed(settings, "usage-alerts", 1)
        await committed(settings, METER_DEFINITIONS, 2)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PATIENCE_S) == 0, log.read_text()
    keys = [one.key for one in receiver.requests]
    assert set(keys) >= before
    assert all(keys.count(key) >= 2 for key in before)
    assert len(set(keys)) == 2


def test_without_a_private_key_it_says_what_to_set(webhook_settings: Settings) -> None:
    environment = environment_of(webhook_settings)
    answer = CliRunner(env=environment).invoke(cli, ["webhooks"])
    assert answer.exit_code == WRONG_USAGE
    assert "METER_WEBHOOK_PRIVATE_KEY_FILE is not set" in answer.output


def test_a_reader_that_fetches_nothing_any_more_ends_the_process() -> None:
    """With brokers that are away a session begins anew, by the same reader."""
    ended = FetchingEnded("nothing is fetched any more")
    assert _defect(ExceptionGroup("a session", [KafkaError(), ended])) is ended
    assert _defect(ExceptionGroup("a session", [KafkaError(), TimeoutError()])) is None
