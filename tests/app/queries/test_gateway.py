"""What a worker answers of the partitions that it owns, that it restores, and that others own."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from app.api.http.auth import KeyRing, PeerTokens
from app.api.http.keys import of_environment
from app.api.server import ApiServer, build_app
from app.bounds.turns import Turns
from app.queries.gateway import Gateway
from app.runtime.homes import HomePartitions
from app.runtime.progress import Progress, ProgressTable
from app.runtime.raw_lookup import RawPlace
from app.runtime.scanning.scans import Scans
from app.runtime.status import Tally
from app.wire.arrivals import Arrival
from app.wire.decode import decode_record
from app.wire.events import Event
from tables.event_index.entries import Entry
from tests.app.api.conftest import Answer, Running, api_key
from tests.world.clock import START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.topics import no_topics

MAX_BATCH = 1_000
"""As METER_MAX_BATCH may be set."""


NOTE_BYTES = 2_000


class Scan:
    """Reads what was delivered to a partition; `meanwhile` happens as it does.

    As from the log, every event has bytes of its own.
    """

    def __init__(self, live: Live, meanwhile: Callable[[], None]) -> None:
        self._live = live
        self._meanwhile = meanwhile

    async def __aenter__(self) -> Scan:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def start(self, *_: object) -> None:
        """Everything is read in any case."""

    seek_only = start

    async def read(self, *_: object, **__: object) -> AsyncIterator[list[Arrival]]:
        for arrival in self._live.arrived():
            self._meanwhile()
            properties = b'{"note":"%s"}' % (b"x" * NOTE_BYTES)
            event = msgspec.structs.replace(arrival.event, properties=properties)
            yield [replace(arrival, event=event)]


class Worker:
    """A gateway over the API's port; `engine` has what it asks, of one partition."""

    engine: Any

    def __init__(self) -> None:
        live = Live(definitions_of(["count"]))
        live.define_all()
        self.live, turns = live, Turns()
        lookup = SimpleNamespace(find=None, find_many=self._find_raw_many)
        self.engine = SimpleNamespace(
            definitions=live.definitions,
            owned={},
            restoring=frozenset(),
            assigned=True,
            failure=None,
            homes=HomePartitions(live.definitions, 1),
            progress=ProgressTable(),
            clock=SimpleNamespace(now_ms=lambda: START_MS),
            settings=SimpleNamespace(raw_partitions=1, raw_topic="events-raw", topic=str),
            append=self._append,
            url="",
            scan=lambda owned: Scan(self.live, self.meanwhile),
            offsets=SimpleNamespace(log_starts=self._log_starts),
            raw_lookup=lookup,
            shared=SimpleNamespace(turns=turns, tally=Tally(), raw_lookup=lookup),
            scans=Scans(turns),
        )
        self.meanwhile: Callable[[], None] = lambda: None
        self.gateway = Gateway(self.engine, no_topics)
        assert not self.gateway.opened
        self.gateway.opened = True
        keys = [api_key(ORG, "full")]
        self.appended: list[bytes] = []
        app = build_app(
            self.gateway,
            KeyRing(of_environment(keys)),
            CollectorRegistry(),
            max_batch=MAX_BATCH,
            peers=PeerTokens("shared"),
        )
        self.server = ApiServer(app)

    async def start(self) -> None:
        self.engine.url = f"http://127.0.0.1:{await self.server.start('127.0.0.1', 0)}"

    async def _append(self, topic: str, key: bytes, value: bytes, *_: object) -> Any:
        """Whatever is appended is folded at once."""
        self.appended.append(value)
        self.live.partition.checkpoint.raw_next = len(self.appended)
        return SimpleNamespace(offset=len(self.appended) - 1, timestamp=START_MS)

    async def _find_raw_many(
        self, places: Iterable[RawPlace], most_bytes: int | None = None
    ) -> dict[RawPlace, Arrival]:
        wanted = set(places)
        return {a.place[:3]: a for a in self.live.arrived() if a.place[:3] in wanted}

    async def _log_starts(self, number: int) -> tuple[int, int]:
        return 0, 0

    def hears_of(self, owner: Worker, epoch: int = 1) -> None:
        """The partition's owner reports."""
        told = Progress(0, START_MS, 0, epoch, owner.engine.url, 1)
        self.engine.progress.note(told)

    def owns_it(self, *dated_ms: int) -> None:
        """With events of these times, or with one."""
        for number, at_ms in enumerate(dated_ms or (START_MS,)):
            name = "t" if number == 0 else f"t{number}"
            self.live.deliver([arrived("count", number, at_ms, START_MS, transaction_id=name)])
        self.engine.owned[0] = SimpleNamespace(
            shared=self.engine.shared,
            state=self.live.partition,
            number=0,
            verdicts={},
            advanced=asyncio.Condition(),
        )

    def gives_it_to(self, other: Worker) -> None:
        self.engine.owned.clear()
        self.hears_of(other)
        other.owns_it()

    async def ask(self, session: ClientSession, path: str, sent: Any = None) -> Answer:
        running = Running(self.gateway, session, self.engine.url)  # type: ignore[arg-type]
        return await running.call("GET" if sent is None else "POST", f"/api/v1/{path}", sent)


@pytest.fixture
async def workers() -> AsyncIterator[tuple[Worker, Worker]]:
    """Two of them, and nobody owns the partition."""
    both = Worker(), Worker()
    async with AsyncExitStack() as stack:
        for worker in both:
            await worker.start()
            stack.push_async_callback(worker.server.stop)
        yield both


OF_EVERYTHING = ["events", "events/t", "events/t/trace", "events/not_counted"]


@pytest.mark.parametrize("path", OF_EVERYTHING)
@pytest.mark.parametrize("restoring", [True, False], ids=["restoring", "given up"])
async def test_while_the_owner_has_it_not_at_hand_nobody_knows(
    workers: tuple[Worker, Worker], path: str, restoring: bool
) -> None:
    """Not even a worker that is ready: it asks the one that reported last."""
    _, owner = workers
    for worker in workers:
        worker.hears_of(owner)
    if restoring:
        owner.engine.restoring = frozenset({0})
    async with ClientSession() as session:
        for worker in workers:
            answer = await worker.ask(session, path)
            assert (answer.status, answer.headers.get("Retry-After")) == (503, "1"), answer.text


@pytest.mark.parametrize("path", OF_EVERYTHING)
async def test_whoever_restores_does_not_ask_the_owner_of_before(
    workers: tuple[Worker, Worker], path: str
) -> None:
    next_owner, before = workers
    next_owner.hears_of(before)
    before.hears_of(next_owner, epoch=2)
    next_owner.engine.restoring = frozenset({0})
    async with ClientSession() as session:
        answer = await next_owner.ask(session, path)
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "1"), answer.text


@pytest.mark.parametrize("path", ["events", "events/t/trace"])
@pytest.mark.parametrize("moves", [False, True], ids=["stays", "moves"])
async def test_a_partition_that_moves_while_it_is_read_is_not_counted_twice(
    workers: tuple[Worker, Worker], path: str, moves: bool
) -> None:
    """The next owner may have it by the time the others are asked."""
    worker, other = workers
    worker.owns_it()
    if moves:
        worker.meanwhile = lambda: worker.gives_it_to(other)
    async with ClientSession() as session:
        answer = await worker.ask(session, path)
    assert answer.status == (503 if moves else 200), answer.text


async def test_an_event_is_not_denied_when_its_partition_moved_meanwhile(
    workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What let go of it finds no event in it, and the next one does not have it yet."""
    worker, other = workers
    worker.owns_it()

    def closed(packed: bytes) -> dict[int, Entry]:
        worker.engine.owned.clear()
        worker.hears_of(other)
        return {}

    monkeypatch.setattr(worker.live.partition.index, "find_packed", closed)
    other.engine.owned[1] = SimpleNamespace(state=other.live.partition, number=1)
    other.hears_of(worker)
    async with ClientSession() as session:
        answer = await worker.ask(session, "events/t")
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "1"), answer.text


@pytest.mark.parametrize("query", ["", "?partial=true"])
async def test_a_batch_that_is_too_large_as_one_record_is_refused_before_it_is_appended(
    workers: tuple[Worker, Worker], query: str
) -> None:
    """The request is not: the fold would refuse the record whole."""
    worker, _ = workers
    worker.owns_it()
    events = [
        {
            "transaction_id": f"t{number}",
            "external_subscription_id": SUBSCRIPTION,
            "code": "count",
            "properties": {"note": "x" * 790},
        }
        for number in range(MAX_BATCH)
    ]
    async with ClientSession() as session:
        answer = await worker.ask(session, f"events/batch{query}", {"events": events})
        assert (answer.status, worker.appended) == (413, []), answer.text[:200]
        assert answer.body["code"] == "too_large"
        assert answer.body["error_details"] == {"record": ["limit_is_1000000_bytes"]}
        taken = await worker.ask(session, f"events/batch{query}", {"events": events[:900]})
    assert taken.status == 200
    (value,) = worker.appended
    assert [type(found) for _, found in decode_record(value)] == [Event] * 900


async def test_a_page_of_events_holds_no_more_of_them_than_its_end(
    workers: tuple[Worker, Worker],
) -> None:
    """Order and counts are those of all of them; several have one time."""
    worker, _ = workers
    draw = random.Random(6)
    worker.owns_it(*(START_MS + draw.randrange(500) for _ in range(5_000)))
    newest = sorted(
        (-arrival.timestamp_ms, arrival.event.transaction_id) for arrival in worker.live.arrived()
    )
    tracemalloc.start()
    async with ClientSession() as session:
        answer = await worker.ask(session, "events?per_page=10&page=3")
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [shown["transaction_id"] for shown in answer.body["events"]] == [
        transaction_id for _, transaction_id in newest[20:30]
    ]
    assert (answer.body["meta"]["total_count"], answer.body["meta"]["total_pages"]) == (5_000, 500)
    assert most_bytes < 5_000 * NOTE_BYTES / 2
