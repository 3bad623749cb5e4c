"""`meter doctor`: what it finds on servers that are well, and on those that are not."""

from __future__ import annotations

import asyncio
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli.doctor import brokers, command, environment, host, worker
from app.cli.doctor import redis as doctors_redis
from app.cli.doctor.finding import Finding, exit_code
from app.cli.main import cli
from app.kafka import appender
from app.kafka.clients import Producer, started
from app.kafka.cluster import cluster_of
from app.kafka.topics import admin_client, ensure_topics
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import Worker
from app.redis.client import closed, redis_client
from app.runtime.local_state import LocalState
from app.settings import Settings
from app.wire.keys import home_partition
from tests.app.cli.conftest import Meter
from tests.world.clock import AheadClock
from tests.world.waiting import eventually


def told(result: Result) -> dict[tuple[str, str], dict[str, str]]:
    """Findings by area and check; the worst of several."""
    order = ("ok", "unknown", "warn", "fail")
    findings = json.loads(result.stdout)["findings"]
    findings.sort(key=lambda finding: order.index(finding["outcome"]))
    return {(finding["area"], finding["check"]): finding for finding in findings}


def surroundings(settings: Settings, **more: str) -> dict[str, str]:
    """What makes the command see a worker's own servers."""
    return {
        "METER_PROFILE": "test",
        "METER_KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "METER_REDIS_URL": settings.redis_url or "",
        "METER_TOPIC_PREFIX": settings.topic_prefix,
        "METER_RAW_PARTITIONS": str(settings.raw_partitions),
        "METER_STATE_DIR": str(settings.state_dir),
        "METER_IMPLICIT_PLAN": "true",
    } | more


@pytest.mark.servers
async def test_a_worker_that_is_well(worker: Worker, meter: Meter, tmp_path: Path) -> None:
    ours = surroundings(worker.settings)
    bundle = tmp_path / "help.zip"

    async def lag() -> str:
        return told(await meter("doctor", "--json", **ours))["state", "lag"]["outcome"]

    # It has to look at its logs first.
    await eventually(lag, "ok")
    well = await meter("doctor", "--json", "--bundle", str(bundle), **ours)
    findings = told(well)
    assert well.exit_code == 0, well.output
    for check in (
        ("settings", "names"),
        ("settings", "log"),
        ("kafka", "brokers"),
        ("kafka", "version"),
        ("kafka", "transactions"),
        ("kafka", "rights"),
        ("topics", "shape"),
        ("group", "members"),
        ("group", "application"),
        ("redis", "address"),
        ("redis", "rights"),
        ("redis", "clock"),
        ("host", "clock"),
        ("host", "state directory"),
        ("state", "brokers' clock"),
        ("state", "lag"),
        ("state", "differing"),
    ):
        assert findings[check]["outcome"] == "ok", findings[check]
    assert findings.keys() >= {*command.CHECKS}
    assert [one for one in findings.values() if one["outcome"] == "unknown"] == []
    assert "1 worker(s)" in findings["group", "members"]["found"]
    others = await meter("doctor", "--json", METER_APPLICATION_ID="others", **ours)
    mend = told(others)["group", "application"]["mend"]
    assert f"Set METER_APPLICATION_ID={worker.settings.application_id}" in mend
    with zipfile.ZipFile(bundle) as file:
        assert "meter_lag_seconds" in file.read("metrics.txt").decode()
        assert json.loads(file.read("findings.json"))

    text = await meter("doctor", "-o", "table", COLUMNS="200", **ours)
    assert text.exit_code == 0
    assert "topics are as they must be" in text.stdout
    header, *rows = (await meter("doctor", **ours)).stdout.splitlines()
    assert header.split("\t") == [*Finding._fields]
    assert {tuple(row.split("\t")[:2]) for row in rows} == findings.keys()

    # Each of these is a mistake that somebody makes.
    wrong = surroundings(
        worker.settings,
        METER_GRACE_S="7200",
        METER_RAW_PARTITONS="3",
        METER_RAW_PARTITIONS="4",
    )
    ill = await meter("doctor", "--json", **wrong)
    findings = told(ill)
    assert ill.exit_code == 1
    assert findings["settings", "names"]["mend"] == "Did you mean METER_RAW_PARTITIONS?"
    assert "grace_s 7200 here and 0 in the log" in findings["settings", "log"]["found"]
    shape = findings["topics", "shape"]
    assert shape["outcome"] == "fail"
    assert "has 2 partitions" in shape["found"]


@pytest.mark.servers
def test_a_redis_that_evicts_or_refuses(
    settings: Settings, tmp_path: Path, local_redis: LocalRedis
) -> None:
    (port,) = free_ports(1)
    redis = LocalRedis(
        tmp_path / "redis",
        port=port,
        options=(
            *("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"),
            *("--user", "weak", "on", ">secret", "~*", "+ping", "+info", "+acl|whoami"),
        ),
    )
    assert local_redis.url != redis.url

    async def asked(url: str) -> Result:
        async with redis:
            environment = surroundings(settings, METER_REDIS_URL=url)
            runner = CliRunner(env=environment)
            return await asyncio.to_thread(runner.invoke, cli, ["doctor", "--json"])

    findings = told(asyncio.run(asked(redis.url)))
    assert findings["redis", "eviction"]["outcome"] == "fail"
    assert "noeviction" in findings["redis", "eviction"]["mend"]
    assert findings["state", "worker"]["outcome"] == "unknown"
    findings = told(asyncio.run(asked(f"redis://weak:secret@127.0.0.1:{port}/0")))
    for check in ("rights", "keys"):
        assert findings["redis", check]["outcome"] == "unknown", findings["redis", check]


@pytest.mark.servers
async def test_a_redis_that_others_use_and_that_keeps_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    options = ("--save", "", "--appendonly", "no")
    async with LocalRedis(tmp_path / "redis", port=port, options=options) as redis:
        client = redis_client(settings.model_copy(update={"redis_url": redis.url}), 5.0)
        group = settings.consumer_group.encode()
        await client.set(b"{%s:0}:set:x" % group, b"")
        await client.set(b"of-others", b"")

        async def outcomes() -> dict[str, str]:
            asked = settings.model_copy(update={"redis_url": redis.url})
            return {one.check: one.outcome for one in await doctors_redis.checked(asked)}

        found = await outcomes()
        assert (found["keys"], found["persistence"]) == ("ok", "warn")
        await client.set(b"{%s:0}:queue" % group, b"")
        assert (await outcomes())["keys"] == "warn"
        await closed(client)


@pytest.mark.servers
def test_servers_that_are_not_there_fail() -> None:
    kafka, redis, http = free_ports(3)
    runner = CliRunner(
        env={
            "METER_PROFILE": "test",
            "METER_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{kafka}",
            "METER_REDIS_URL": f"redis://127.0.0.1:{redis}/0",
            "METER_HTTP_PORT": str(http),
        }
    )
    result = runner.invoke(cli, ["doctor", "--json"])
    findings = told(result)
    assert result.exit_code == 1
    assert findings["kafka", "brokers"]["outcome"] == "fail"
    assert findings["redis", "address"]["outcome"] == "fail"
    assert findings["state", "worker"]["outcome"] == "unknown"
    # What nobody saw is never called well.
    unseen = [check for check in command.CHECKS if check[0] not in ("settings", "host")]
    assert {findings[check]["outcome"] for check in unseen} == {"fail", "unknown"}
    assert findings["settings", "log"]["outcome"] == "unknown"
    assert findings["host", "clock"]["outcome"] == "unknown"


def test_a_production_worker_needs_keys_and_an_address() -> None:
    settings = Settings(profile="test").model_copy(
        update={"profile": "production", "api_keys": (), "http_host": "0.0.0.0"}
    )
    found = {f.check: f for f in environment.checked(settings, {"METER_GRACE": "1"})}
    assert {check for check, finding in found.items() if finding.outcome == "fail"} == {
        "names",
        "network",
        "peer secret",
        "keys",
        "address",
    }
    assert all(finding.mend for finding in found.values() if finding.outcome == "fail")


def test_a_slow_disk_and_one_that_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(path: Path) -> str:
        settings = Settings(profile="test").model_copy(update={"state_dir": path})
        return next(one.outcome for one in host.checked(settings) if one.check == "speed")

    monkeypatch.setattr(host, "SLOW_WRITE_S", 60.0)
    assert outcome(tmp_path / "not" / "yet") == "ok"
    assert [*tmp_path.iterdir()] == []
    monkeypatch.setattr(host, "SLOW_WRITE_S", 0.0)
    assert outcome(tmp_path) == "warn"
    assert outcome(Path("/proc")) == "unknown"


def test_a_state_directory_that_two_workers_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> Finding:
        settings = Settings(profile="test").model_copy(update={"state_dir": tmp_path / "state"})
        return next(one for one in host.checked(settings) if one.check == "state directory")

    assert found().found.startswith("0 worker(s)")
    first = LocalState(tmp_path / "state")
    assert (found().outcome, found().found[:9]) == ("ok", "1 worker(")
    second = LocalState(tmp_path / "state")
    assert (found().outcome, found().found[:9]) == ("warn", "2 worker(")
    first.close()
    second.close()
    # Processes of one worker.
    children = [LocalState(tmp_path / "state" / f"worker-{number}") for number in (1, 2)]
    assert found().outcome == "ok"
    for child in children:
        child.close()
    monkeypatch.setattr(host, "_LOCKS", tmp_path / "none")
    assert found().outcome == "unknown"


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ({"server_time_usec": 1_000_000_000}, "ok"),
        ({"server_time_usec": 1_006_000_000}, "warn"),
        ({"server_time_usec": 994_000_000}, "warn"),
        ({}, "unknown"),
    ],
)
def test_a_redis_with_another_time(told: dict[str, int], outcome: str) -> None:
    assert doctors_redis._clock(told, 999_900, 1_000_100).outcome == outcome


@pytest.mark.servers
async def test_a_broker_with_another_time_or_of_another_release(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "_CLOCK", AheadClock(60_000))
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
        appending = appender.Appender(settings)
        await appending.append(settings.topic(settings.raw_topic), b"k", b"{}", 0)
        assert (appending.clock_apart_ms or 0) > 50_000
        await appending.stop()
        (broker,) = (await cluster_of(admin)).brokers
        assert (await brokers._version(admin, {broker: None})).outcome == "ok"
        monkeypatch.setattr(brokers, "TRIED", (99, "9.9"))
        assert (await brokers._version(admin, {broker: None})).outcome == "warn"


@pytest.mark.servers
async def test_producers_that_do_not_compress(settings: Settings) -> None:
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)

        async def outcome(codec: str | None) -> str:
            options = settings.kafka_options()
            async with started(Producer(compression_type=codec, **options)) as producer:
                for _ in range(2):
                    topic = settings.topic(settings.raw_topic)
                    await producer.send_and_wait(topic, b" " * 5_000, partition=0)
            found = await brokers._producers(settings, admin)
            return next(one.outcome for one in found if one.check == "compression")

        assert [await outcome(codec) for codec in ("gzip", None, None)] == ["ok", "ok", "warn"]


@pytest.mark.servers
async def test_events_that_lie_elsewhere_than_at_home(settings: Settings) -> None:
    """Events of an array lie together: no producer could send them better."""
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
        topic, partitions = settings.topic(settings.raw_topic), settings.raw_partitions
        bodies = [
            b'{"organization_id":"o","external_subscription_id":"s%d","transaction_id":"t%d",'
            b'"code":"c"}' % (number, number)
            for number in range(120)
        ]

        async def told(away: int, *values: tuple[bytes, int]) -> tuple[str, str]:
            async with started(Producer(**settings.kafka_options())) as producer:
                for value, home in values:
                    partition = (home + away) % partitions
                    await producer.send_and_wait(topic, value, partition=partition)
            found = await brokers._producers(settings, admin)
            one = next(each for each in found if each.check == "forwarded")
            return one.outcome, one.found

        homes = [
            home_partition(b"o-s%d" % number, partitions, settings.home_partitioner)
            for number in range(120)
        ]
        batch = (b"[" + b",".join(bodies) + b"]", 0)
        first = await told(0, batch)
        assert first == (
            "ok",
            "0 of the newest 0 events that came alone lie elsewhere than at home.",
        )
        assert (await told(0, *zip(bodies, homes, strict=True)))[0] == "ok"
        assert (await told(1, *zip(bodies, homes, strict=True)))[0] == "warn"


def test_two_names_for_one_setting() -> None:
    settings = Settings(profile="test")
    both = {"METER_RAW_TOPIC": "a", "LAGO_KAFKA_RAW_EVENTS_TOPIC": "b"}
    outcomes = [f for f in environment.checked(settings, both) if f.outcome == "warn"]
    assert [finding.mend for finding in outcomes] == [
        "METER_RAW_TOPIC holds. Unset LAGO_KAFKA_RAW_EVENTS_TOPIC."
    ]


def test_what_a_worker_tells() -> None:
    text = (
        "# HELP meter_lag_seconds x\n"
        'meter_lag_seconds{partition="0"} 400\nmeter_lag_seconds{partition="1"} 2\n'
        'meter_events_not_counted_total{reason="unknown_code"} 3\n'
        'meter_events_not_counted_total{reason="no_charge"} 4\n'
        "meter_close_overdue_seconds 0\n# TYPE meter_set_aside gauge\n"
        "meter_parked_subscriptions 1\n"
        "meter_differing_pairs 0\nmeter_offsets_lost 0\n"
    )
    health: dict[str, Any] = {
        "status": "degraded",
        "reasons": [{"code": "redis_full", "message": "m"}],
    }
    found = {f.check: f for f in worker.checked(health, worker.samples_of(text), 60.0)}
    assert found["health"].outcome == "warn"
    assert (found["clock"].outcome, found["lag"].found) == ("warn", "Events wait 400 s.")
    assert "7 events" in found["not counted"].found
    assert found["parked"].outcome == "fail"
    assert found["set aside"].outcome == "ok"
    # What is not told is not well.
    assert found["dead letters"].outcome == "unknown"


def test_a_clock_that_is_hardly_behind_is_not_minus_nothing() -> None:
    found = {f.check: f for f in worker.checked({}, {}, -0.3)}
    assert found["clock"].found == "The worker's clock is +0 s from this machine's."


def test_seconds_of_no_partition_are_not_known() -> None:
    text = "# TYPE meter_lag_seconds gauge\n# TYPE meter_close_overdue_seconds gauge\n"
    found = {f.check: f for f in worker.checked({}, worker.samples_of(text), 0.0)}
    assert {found[check].outcome for check in ("lag", "closing")} == {"unknown"}


@pytest.mark.parametrize(
    ("health", "outcome"),
    [
        ({"status": "ready"}, "ok"),
        ({"status": "degraded", "reasons": [{"code": "c", "message": "m"}]}, "warn"),
        ({"status": "not_ready", "reasons": [{"code": "c", "message": "m"}]}, "fail"),
        ({"status": "not_ready", "workers_not_ready": ["http://one"]}, "fail"),
    ],
)
def test_a_worker_is_as_well_as_it_says(health: dict[str, Any], outcome: str) -> None:
    outcomes = {f.outcome for f in worker.checked(health, {}, 0.0) if f.check == "health"}
    assert outcomes == {outcome}


def test_much_since_the_worker_began_is_told() -> None:
    text = (
        "meter_start_time_seconds 3600\nmeter_rebalances_total %d\n"
        'meter_revisions_total{reason="late_events"} %d\nmeter_records_published_total 100\n'
    )

    def outcomes(rebalances: int, revisions: int) -> list[str]:
        samples = worker.samples_of(text % (rebalances, revisions))
        return [f.outcome for f in worker._since_start(samples, 10_800.0)]

    assert outcomes(12, 10) == ["ok", "ok"]
    assert outcomes(13, 11) == ["warn", "warn"]


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [(("ok", "warn"), 0), (("ok", "unknown"), 3), (("unknown", "fail"), 1), ((), 0)],
)
def test_exit_codes(outcomes: tuple[Any, ...], code: int) -> None:
    assert exit_code(Finding("a", "c", outcome, "") for outcome in outcomes) == code


def test_nothing_is_cut_short_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    mend = "Set METER_KAFKA_BOOTSTRAP_SERVERS."
    command._draw([Finding("kafka", "brokers", "fail", "Nobody answers.", mend)])
    assert "…" not in capsys.readouterr().out
