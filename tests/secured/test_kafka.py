"""A worker on brokers that demand TLS, certificates, passwords or tokens counts as on any other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError

from app.kafka.clients import Admin, Consumer, started
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import running_worker
from tests.secured.authority import Authority
from tests.secured.conftest import CLIENT, PASSWORD, SECRET, USER, SecuredKafka
from tests.world.live.api import Api
from tests.world.live.producer import foreign_producer, raw_event, send_in_turn
from tests.world.live.servers import MakeSettings
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

READY_WITHIN_S = 30.0
"""A worker was ready on plain connections after 4 s, over TLS once after 63 s."""

_PASSWORD = {"kafka_username": USER, "kafka_password": PASSWORD}


def reached(
    kafka: SecuredKafka, authority: Authority, how: str, token_url: str
) -> Mapping[str, Any]:
    """Settings that reach the broker in one of the ways."""
    tls = {"kafka_tls": True, "kafka_ca_file": authority.ca_file}
    if how == "mTLS":
        chain, key = authority.certificate("worker")
        certificate = {"kafka_cert_file": chain, "kafka_key_file": key}
        return {"kafka_bootstrap_servers": kafka.mutual_tls, **tls, **certificate}
    if how == "token provider":
        return {
            "kafka_bootstrap_servers": kafka.sasl_tls,
            "kafka_scram_algorithm": "OAUTHBEARER",
            "kafka_token_provider": "tests.secured.conftest:meter_token",
            **tls,
        }
    if how == "OAUTHBEARER":
        return {
            "kafka_bootstrap_servers": kafka.sasl_tls,
            "kafka_scram_algorithm": how,
            "kafka_oauth_token_url": token_url,
            "kafka_oauth_client_id": CLIENT,
            "kafka_oauth_client_secret": SECRET,
            **tls,
        }
    mechanism, _, plaintext = how.partition(" ")
    servers = kafka.sasl_plaintext if plaintext else kafka.sasl_tls
    return {
        "kafka_bootstrap_servers": servers,
        "kafka_scram_algorithm": mechanism,
        **_PASSWORD,
        **({} if plaintext else tls),
    }


WAYS = (
    "PLAIN",
    "PLAIN plaintext",
    "SCRAM-SHA-256",
    "SCRAM-SHA-512 plaintext",
    "OAUTHBEARER",
    "token provider",
    "mTLS",
)


@pytest.mark.parametrize("how", WAYS)
async def test_clients_reach_the_broker(
    how: str,
    secured_kafka: SecuredKafka,
    authority: Authority,
    make_settings: MakeSettings,
    token_url: str,
) -> None:
    settings = make_settings(**reached(secured_kafka, authority, how, token_url))
    async with started(Admin(**settings.kafka_options())) as admin:
        assert (await admin.describe_cluster())["brokers"]


@pytest.mark.parametrize("how", ["SCRAM-SHA-512", "mTLS"])
async def test_a_worker_counts_over_tls_and_starts_as_quickly(
    how: str,
    secured_kafka: SecuredKafka,
    authority: Authority,
    make_settings: MakeSettings,
    local_redis: LocalRedis,
    token_url: str,
) -> None:
    (port,) = free_ports(1)
    settings = make_settings(
        http_port=port,
        redis_url=local_redis.url,
        raw_partitions=2,
        implicit_plan=True,
        **reached(secured_kafka, authority, how, token_url),
    )
    began_s = time.monotonic()
    async with running_worker(settings, **SESSIONS) as worker, Api(worker.url) as api:
        while worker.gateway.not_ready():
            assert time.monotonic() < began_s + READY_WITHIN_S
            await asyncio.sleep(0.05)
        await api.make_metric("calls", "count_agg")
        async with foreign_producer(settings) as producer:
            events = [raw_event("me", f"t{number}", "calls") for number in range(10)]
            await send_in_turn(producer, settings.topic(settings.raw_topic), events)
        await eventually(lambda: _units(api), "10.0")
        ended_s = time.monotonic()
    assert time.monotonic() < ended_s + READY_WITHIN_S


async def _units(api: Api) -> object:
    usage = await api.usage_if_owned("me", "me")
    return usage and usage["charges_usage"][0]["units"]


async def test_a_consumer_over_tls_is_closed_at_once(
    secured_kafka: SecuredKafka, authority: Authority, make_settings: MakeSettings, token_url: str
) -> None:
    settings = make_settings(**reached(secured_kafka, authority, "SCRAM-SHA-256", token_url))

    topic = f"{settings.topic_prefix}empty"

    async def close() -> float:
        async with started(Admin(**settings.kafka_options())) as admin:
            await admin.create_topics([NewTopic(topic, 1, 1)])
        consumer = Consumer(fetch_max_wait_ms=20_000, **settings.kafka_options())
        async with started(consumer):
            consumer.assign([TopicPartition(topic, 0)])
            # The broker holds its answer back, and would its part in closing as well.
            await asyncio.wait([asyncio.ensure_future(consumer.getmany())], timeout=1)
            await asyncio.sleep(1)
            began_s = time.monotonic()
        return time.monotonic() - began_s

    # The loop that workers have: it waits for the other side's part in closing.
    assert await asyncio.to_thread(uvloop.run, close()) < 10.0


@pytest.mark.parametrize(
    ("how", "wrong", "cause"),
    [
        ("PLAIN", {"kafka_password": "guess"}, "METER_KAFKA_PASSWORD"),
        ("SCRAM-SHA-256", {"kafka_password": "guess"}, "METER_KAFKA_PASSWORD"),
        ("SCRAM-SHA-256", {"kafka_ca_file": None}, "METER_KAFKA_CA_FILE"),
        ("mTLS", {"kafka_cert_file": None, "kafka_key_file": None}, "METER_KAFKA_CERT_FILE"),
        ("OAUTHBEARER", {"kafka_oauth_client_secret": "guess"}, "401"),
    ],
)
async def test_why_a_broker_does_not_let_us_in_is_said(
    how: str,
    wrong: Mapping[str, Any],
    cause: str,
    secured_kafka: SecuredKafka,
    authority: Authority,
    make_settings: MakeSettings,
    token_url: str,
) -> None:
    values = {**reached(secured_kafka, authority, how, token_url), **wrong}
    settings = make_settings(**values)
    with pytest.raises(KafkaError, match=cause):
        async with started(Admin(**settings.kafka_options())):
            pass


def test_a_password_is_not_printed(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings(
        redis_url="redis://:hidden@host",
        redis_password="hidden",
        kafka_username="u",
        kafka_password="hidden",
        kafka_oauth_client_secret="hidden",
    )
    assert "hidden" not in repr(settings)
    assert "hidden" not in str(settings)
