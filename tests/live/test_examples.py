"""The examples of docs run as they are printed: against a real broker, and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.local_servers.java import kafka_jars
from app.local_servers.ports import free_ports
from app.wire.decode import decode_record
from app.wire.events import Event
from app.wire.keys import home_partition
from tests.live.installed import INSTALLED, ROOT, NotInstalled, cells_of, install, run
from tests.world.events import cancel
from tests.world.story import Story
from tests.world.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.servers

EXAMPLES = ROOT / "docs" / "examples"
KAFKAJS = "kafkajs@2.2.4"
PSYCOPG = "3.2.9"
PARTITIONS = 4


async def at_once(**examples: Coroutine[Any, Any, None]) -> None:
    """Run examples side by side; at the end skip if some could not run, and say which."""
    outcomes = await asyncio.gather(*examples.values(), return_exceptions=True)
    missing = []
    for name, outcome in zip(examples, outcomes, strict=True):
        if isinstance(outcome, NotInstalled):
            missing.append(f"{name}: {outcome}")
        elif outcome is not None:
            raise outcome
    if missing:
        pytest.skip("; ".join(missing))


@asynccontextmanager
async def topic(kafka: str) -> AsyncIterator[str]:
    """Make a topic for one example."""
    name = f"examples-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
        yield name
    finally:
        await admin.delete_topics([name])
        await admin.close()


async def sent(kafka: str, topic: str) -> tuple[int, bytes, Event]:
    """Return where the one record of a topic lies, its key and its event."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
    async with consumer:
        message = await asyncio.wait_for(consumer.getone(), PATIENCE_S)
    ((_, event),) = decode_record(message.value, [])
    assert isinstance(event, Event), event
    return message.partition, message.key, event


async def produce(kafka: str, *command: str) -> None:
    async with topic(kafka) as name:
        await run(*command, BROKERS=kafka, TOPIC=name)
        partition, key, event = await sent(kafka, name)
    assert event.code == "storage"
    assert event.external_subscription_id == "acme-storage"
    assert partition == home_partition(key, PARTITIONS, "crc32")


async def produce_with_node(kafka: str) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotInstalled("node and npm are not there")
    if not (INSTALLED / "node_modules" / "kafkajs").exists():
        options = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund")
        await install(KAFKAJS, "npm", "install", *options, "--prefix", str(INSTALLED))
    # A module finds what lies beside it.
    script = INSTALLED / "producer.mjs"
    script.write_text((EXAMPLES / "producer.mjs").read_text())
    await produce(kafka, "node", str(script))


async def produce_with_java(kafka: str) -> None:
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        raise NotInstalled("no Java that compiles is there")
    jars = os.pathsep.join(map(str, kafka_jars()))
    await produce(kafka, java, "-cp", jars, str(EXAMPLES / "Producer.java"))


async def test_producers_send_an_event_to_its_home(kafka: str) -> None:
    await at_once(
        python=produce(kafka, sys.executable, str(EXAMPLES / "producer.py")),
        javascript=produce_with_node(kafka),
        java=produce_with_java(kafka),
    )


def records() -> list[dict[str, Any]]:
    """Return what is published of a month with an event that came late and one cancelled."""
    story = Story(close_grid_s=60).metric("m", "sum_agg").plan({}).subscribe()
    story.send("2024-01-10", v="5").send("2024-01-11", v="3")
    story.send("2024-01-20", appended="2024-02-03", v="2")
    story.append("2024-02-04", cancel("t0"))
    return story.messages("2024-03-02")


@pytest.fixture
async def published(kafka: str) -> AsyncIterator[str]:
    """A topic with records, each of them twice."""
    told = records()
    async with topic(kafka) as name, AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for record in told * 2:
            await producer.send_and_wait(name, json.dumps(record).encode(), partition=0)
        yield name


class Consuming(NamedTuple):
    """What a consumer runs with."""

    kafka: str
    topic: str
    path: str

    async def run(self, script: str, path: str = "", **more: str) -> str:
        """Run an example; return what it prints."""
        names = {"BROKERS": self.kafka, "TOPIC": self.topic}
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, [self.path, path]))}
        return await run(sys.executable, str(EXAMPLES / script), **names, **paths, **more)


@pytest.fixture
def consuming(kafka: str, published: str, tmp_path: Path) -> Consuming:
    """An environment where `meterstream.records` is this tree's, as a wheel has it."""
    package = tmp_path / "meterstream"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "records.py").write_text("from app.records import *\n")
    return Consuming(kafka, published, os.pathsep.join([str(tmp_path), str(ROOT)]))


async def test_consumers_take_each_record_once(consuming: Consuming) -> None:
    await at_once(
        printing=consume_printing(consuming),
        posting=consume_posting(consuming),
        postgresql=consume_into_postgresql(consuming),
    )


async def consume_printing(consuming: Consuming) -> None:

    async def printed() -> list[str]:
        return [line.split()[-1] for line in (await consuming.run("consumer.py")).splitlines()]

    # On a busy machine nothing may come for longer than the example waits.
    await eventually(printed, ["8.0", "2.0", "-5.0", "complete", "complete"])


async def consume_posting(consuming: Consuming) -> None:
    """Post to a receiver that refuses the first time."""
    taken: list[dict[str, str]] = []
    answers = iter([503])

    async def take(request: web.Request) -> web.Response:
        status = next(answers, 200)
        if status == 200:
            taken.append(await request.json())
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/usage", take)
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()

    async def posted() -> list[str]:
        receiver = f"http://127.0.0.1:{port}/usage"
        await consuming.run("consumer_webhook.py", RECEIVER=receiver)
        return [each["delta"] for each in taken]

    try:
        await eventually(posted, ["8.0", "2.0", "-5.0"] * 2)
    finally:
        await runner.cleanup()
    assert len({each["id"] for each in taken}) == 3


@asynccontextmanager
async def postgresql() -> AsyncIterator[str]:
    """Run a PostgreSQL of its own."""
    tools = {name: shutil.which(name) for name in ("initdb", "pg_ctl")}
    if None in tools.values():
        raise NotInstalled("initdb and pg_ctl are not there")
    # It refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if user is not None:
        shutil.chown(folder, user)
    data, (port,) = str(folder / "data"), free_ports(1)
    await run(str(tools["initdb"]), "-D", data, "-N", "-U", "meter", "-A", "trust", user=user)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    ctl = (str(tools["pg_ctl"]), "-D", data, "-w")
    try:
        await run(*ctl, "-l", str(folder / "log"), "-o", options, "start", user=user)
        yield f"postgresql://meter@127.0.0.1:{port}/postgres"
    finally:
        await run(*ctl, "-m", "immediate", "stop", user=user)
        shutil.rmtree(folder, ignore_errors=True)


async def consume_into_postgresql(consuming: Consuming) -> None:
    driver = INSTALLED / "python"
    if not (driver / "psycopg_binary").exists():
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
        for wanted in (f"psycopg=={PSYCOPG}", f"psycopg-binary=={PSYCOPG}"):
            await install(wanted, *pip, "--target", str(driver))
    path = os.pathsep.join([consuming.path, str(driver)])
    async with postgresql() as database:

        async def kept() -> list[list[str]]:
            await consuming.run("consumer_postgresql.py", str(driver), DATABASE=database)
            return await query(
                database,
                path,
                "select * from (select kind, units::text from lines order by revision) l"
                " union all select 'closed', count(*)::text from invoices where closed",
            )

        lines = [["line", "8.0"], ["further line", "2.0"], ["credit note", "-5.0"]]
        await eventually(kept, [*lines, ["closed", "2"]])


async def query(database: str, path: str, text: str) -> list[list[str]]:
    """Return rows as texts, read by the driver that the example uses."""
    script = (
        "import json, sys, psycopg; c = psycopg.connect(sys.argv[1]);"
        "print(json.dumps([[str(v) for v in row] for row in c.execute(sys.argv[2])]))"
    )
    printed = await run(sys.executable, "-c", script, database, text, PYTHONPATH=path)
    found: list[list[str]] = json.loads(printed)
    return found


def test_examples_are_short() -> None:
    for path in EXAMPLES.iterdir():
        lines = cells_of(path) if path.suffix == ".ipynb" else path.read_text().splitlines()
        assert len(lines) <= 80, path.name
