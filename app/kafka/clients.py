"""The Kafka clients of the project: aiokafka's, with nothing left open however they are cut short.

As they come, a start that is cancelled leaves the connection open that asks for the brokers; a stop
that is cancelled, or that cancels itself (it waits for tasks that have not taken their first step),
leaves all of them; and `async with` does not stop what failed to start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, client
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownMemberIdError
from aiokafka.protocol.group import JoinGroupRequest

from app.bounds.cancellation import retrieve
from app.errors import StackError
from app.kafka.fetch_sessions import SessionFetch
from app.kafka.lenient_fetch import FetchingEnded  # also how every consumer reads what it fetches
from app.kafka.sending import Batches, InOrderBatches, Requests
from app.tokens import refusal_of

NOT_TAKEN: Final = (KafkaError, OSError, TimeoutError)
"""What a client raises when the brokers are away or refuse: no fault of ours, it may be tried
again."""


def is_of_brokers(error: BaseException) -> bool:
    """Return True if an error says that brokers are away, which passes by itself."""
    return isinstance(error, KafkaError) and error.retriable


FETCHER_LOOKS_MS: Final = 5_000
"""How often a fetcher looks unasked; all that lets it fetch wakes it: data, room, a seek."""
STOPPED_WITHIN_S: Final = 5.0
"""How long a producer that stops waits for the brokers to take what was sent."""

_BOOTSTRAP_ENDS_WITHIN_S = 1.0
_TLS = ("SSL", "SASL_SSL")
_failed: ContextVar[list[tuple[str, BaseException]]] = ContextVar("_failed")
"""(host:port, why) of the first broker that could not be asked for the others.

Tasks that begin meanwhile keep the list as long as they live: it must not grow by each connection
that fails while the brokers are away.
"""
_stopping: set[asyncio.Task[None]] = set()
"""Nobody may wait for them any more, and a task that nobody holds may be collected."""


class _Connection(AIOKafkaConnection):  # type: ignore[misc]
    """One connection."""

    _reader: Any
    _writer: Any
    _read_task: Any

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """Send a request and return what its answer is awaited by.

        Raises:
            KafkaConnectionError: the connection is closed, or closes right now.
        """
        try:
            return super().send(request, expect_response)
        except RuntimeError as error:
            # So uvloop refuses a transport that has closed before its reader knows; asyncio's own
            # loop takes the bytes and drops them.
            self.close(exc=error)
            raise KafkaConnectionError(
                f"Connection at {self.host}:{self.port} closed: {error}"
            ) from error

    def close(self, reason: object = None, exc: BaseException | None = None) -> Any:
        """Close it; over TLS without waiting for the other side, which may take half a minute."""
        if self._read_task is None and self._writer is not None:
            # It was ended while it connected, so nobody reads of it.
            self._writer.close()
            self._writer = self._reader = None
        if self._writer is not None and self._security_protocol in _TLS:
            self._writer.transport.abort()
        return super().close(reason, exc)


async def _connect(host: str, port: int, **options: Any) -> AIOKafkaConnection:
    """Connect to a broker; aiokafka makes every connection by this function."""
    connection = _Connection(host, port, **options)
    try:
        await connection.connect()
    except BaseException as error:
        failed = _failed.get(None)
        if failed == []:
            failed.append((f"{host}:{port}", error))
        raise
    return connection


client.create_conn = _connect


class Connections(AIOKafkaClient):  # type: ignore[misc]
    """The connections of one client."""

    async def bootstrap(self) -> None:
        """Ask for the brokers; a cancellation waits until the connection that asks is closed.

        Raises:
            NotLetIn: brokers answer, and none lets us in.
            KafkaConnectionError: none answers.
        """
        failed: list[tuple[str, BaseException]] = []
        _failed.set(failed)
        asking = asyncio.create_task(super().bootstrap())
        try:
            await asyncio.shield(asking)
        except KafkaConnectionError as error:
            refusal = next((refusal_of(why, place) for place, why in failed), None)
            if refusal is not None:
                raise refusal from error
            raise
        except asyncio.CancelledError:
            await asyncio.wait([asking], timeout=_BOOTSTRAP_ENDS_WITHIN_S)
            asking.cancel()
            raise

    async def send(self, node_id: Any, request: Any, **options: Any) -> Any:
        """Send a request to a broker and return its answer."""
        response = await super().send(node_id, request, **options)
        if isinstance(request, SessionFetch):
            request.answered(response)
        return response


class _OfAllTopics(Connections):
    """The connections of who follows topics by a pattern, and asks about all topics for it.

    One topic more to ask about would leave it that topic alone: the pattern would lose the others,
    and the group would take their partitions away.
    """

    def add_topic(self, topic: str) -> Any:
        """Ask about all topics again; return what the answer is awaited by."""
        if topic in self.cluster.topics():
            known = asyncio.get_running_loop().create_future()
            known.set_result(True)
            return known
        return self.force_metadata_update()


async def _stop(stop: Callable[[], Awaitable[None]], connections: AIOKafkaClient) -> None:
    """Stop in a task of its own, which goes on when whoever waits for it is cancelled."""

    async def apart() -> None:
        try:
            await stop()
        except asyncio.CancelledError:
            # Not ours: that of a task which it waited for.
            pass
        finally:
            await connections.close()
            # Whom it tells of brokers leads back to it. It would wait for the collector, with each
            # partition of each topic that it knows.
            connections.cluster._listeners = set()

    stopping = asyncio.create_task(apart())
    _stopping.add(stopping)
    stopping.add_done_callback(_stopping.discard)
    await asyncio.shield(stopping)


DISPLACED_S: Final = 60.0
"""Seconds within which a worker is put out again by whoever has its instance id as well."""

PUT_OUT: Final = 2
"""Times that a worker is put out before it ends. One that was there first may be more often: once
for each two heartbeats that it was alone. The newer one is put out before they are over."""

PUT_OUT_BY_NEWER: Final = 6
"""Times at most."""


class Membership(GroupCoordinator):  # type: ignore[misc]
    """Our part in a group, with the time of its last answer that we are in it."""

    heard_s = -1.0
    """On the monotonic clock of the process."""
    is_doubled = False
    """Whether another runs with our instance id as well, and we are to end: the newer one."""
    _began_s: float | None = None
    _displaced = 0
    """How often lately we were put out before our session ended. Only who joins by our instance
    id does that, and we put it out in turn."""
    _displaced_s = -DISPLACED_S
    _most = PUT_OUT
    _code = 0

    def check_errors(self) -> None:
        """Raise what ended the coordination, and StackError when another has our instance id."""
        if self.is_doubled:
            raise StackError(
                f"Another worker runs with the instance id {self._group_instance_id} as well, and "
                "each puts the other out: give each its own METER_GROUP_INSTANCE_ID, or none."
            )
        super().check_errors()

    async def _send_req(self, request: Any) -> Any:
        if isinstance(request, JoinGroupRequest):
            # aiokafka joins once for each assignor, with one more of them each time. The group
            # would begin again for each, and two that join in turns found no end of it.
            told = request._group_protocols
            topics = self._subscription.subscription.topics
            left = [(each.name, each.metadata(topics)) for each in self._assignors[len(told) :]]
            request._group_protocols = [*told, *((name, it.encode()) for name, it in left)]
        response = await super()._send_req(request)
        self._code = getattr(response, "error_code", 0)
        return response

    async def _do_heartbeat(self) -> bool:
        asked_s, self._code = monotonic(), 0
        alive: bool = await super()._do_heartbeat()
        if alive:
            self.heard_s = asked_s
        elif self._group_instance_id and self._code == UnknownMemberIdError.errno:
            self._note_displaced(asked_s)
        return alive

    def _note_displaced(self, now_s: float) -> None:
        if now_s - self.heard_s >= self._session_timeout_ms / 1_000:
            return
        if now_s - self._displaced_s >= DISPLACED_S:
            alone_ms = 1_000 * (now_s - (self._began_s or now_s))
            more = int(alone_ms // (2 * self._heartbeat_interval_ms))
            self._displaced, self._most = 0, min(PUT_OUT + more, PUT_OUT_BY_NEWER)
        self._displaced += 1
        self._displaced_s = now_s
        self.is_doubled = self._displaced >= self._most

    async def ensure_active_group(self, *arguments: Any) -> Any:
        """Join, unless we are to end: the other one would be put out once more, and end as well."""
        if self.is_doubled:
            await asyncio.wait([self._closing])
            return None
        return await super().ensure_active_group(*arguments)

    async def _on_join_complete(self, *arguments: Any) -> None:
        self.heard_s = monotonic()
        self._began_s = self._began_s or self.heard_s
        await super()._on_join_complete(*arguments)


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer. `keeps_sessions`: it names to brokers what has changed, not all it reads."""

    def __init__(self, *args: Any, keeps_sessions: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client.__class__ = Connections
        self._keeps_sessions = keeps_sessions

    def subscribe(
        self, topics: Collection[str] = (), pattern: str | None = None, listener: Any = None
    ) -> None:
        """Follow topics, or all whose names match a pattern."""
        super().subscribe(topics, pattern, listener)
        if pattern is not None:
            self._client.__class__ = _OfAllTopics

    async def start(self) -> None:
        """Connect, and join the group if there is one.

        Raises:
            KafkaError: no broker answers.
        """
        await super().start()
        if isinstance(self._coordinator, GroupCoordinator):
            self._coordinator.__class__ = Membership
        if self._keeps_sessions:
            self._fetcher.keep_sessions()
        # Its own tasks take their first step.
        await asyncio.sleep(0)

    async def beginning_offsets(
        self, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still has."""
        await self._learn(partitions)
        return dict(await super().beginning_offsets(partitions))

    async def end_offsets(
        self, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Return the offset that each partition's next record will have."""
        await self._learn(partitions)
        return dict(await super().end_offsets(partitions))

    async def led_bounds(
        self, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, tuple[int, int]]:
        """Return `led_starts` and `led_ends` of those partitions that have both."""
        starts = await self.led_starts(partitions)
        ends = await self.led_ends(starts)
        return {tp: (starts[tp], end) for tp, end in ends.items()}

    async def led_starts(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return `beginning_offsets` of those partitions whose leader answers now."""
        return await self._led(partitions, OffsetResetStrategy.EARLIEST)

    async def led_ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return `end_offsets` of those partitions whose leader answers now."""
        return await self._led(partitions, OffsetResetStrategy.LATEST)

    async def _led(
        self, partitions: Collection[TopicPartition], which: int
    ) -> dict[TopicPartition, int]:
        """Ask each leader apart, and once more who leads what is left then.

        aiokafka asks again until all of them answer, and tells nothing of any until then.
        """
        await self._learn(partitions)
        found = await self._told_by_leaders(partitions, which)
        if left := [tp for tp in partitions if tp not in found]:
            await self._client.force_metadata_update()
            found |= await self._told_by_leaders(left, which)
        return found

    async def _told_by_leaders(
        self, partitions: Iterable[TopicPartition], which: int
    ) -> dict[TopicPartition, int]:
        by_leader: dict[int, dict[TopicPartition, int]] = {}
        for tp in partitions:
            leader = self._client.cluster.leader_for_partition(tp)
            # -1: there is none. None: the partition is not known.
            if leader is not None and leader >= 0:
                by_leader.setdefault(leader, {})[tp] = which
        asking = map(self._fetcher._proc_offset_requests, by_leader.values())
        found: dict[TopicPartition, int] = {}
        for told in await asyncio.gather(*asking, return_exceptions=True):
            if not isinstance(told, BaseException):
                found |= {tp: offset for tp, (offset, _) in told.items()}
            elif not is_of_brokers(told):
                raise told
        return found

    async def _learn(self, partitions: Iterable[TopicPartition]) -> None:
        """Ask where all partitions are at once.

        Otherwise it finds one topic after another unknown, and waits 0.1 s for each.
        """
        await asyncio.gather(*(self._client.add_topic(each.topic) for each in partitions))

    def fetched_ends(self, tp: TopicPartition) -> tuple[int, int] | None:
        """Return where the last fetch saw a partition end; from any thread.

        That is (for readers of what is committed, for all); None: nothing was fetched of it.
        """
        subscription = self._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        state = None if assignment is None else assignment.state_value(tp)
        if state is None or state.highwater is None or state.lso is None:
            return None
        return state.lso, state.highwater

    @property
    def is_fetching(self) -> bool:
        """Whether records may still come; else it has to be made anew."""
        try:
            self._fetcher.check_fetching()
        except FetchingEnded:
            return False
        return True

    @property
    def heard_s(self) -> float:
        """When the group last answered that we are in it, on the process's monotonic clock."""
        return float(getattr(self._coordinator, "heard_s", -1.0))

    async def stop(self) -> None:
        """Leave the group and close the connections."""
        await _stop(self._end, self._client)

    async def _end(self) -> None:
        try:
            await super().stop()
        finally:
            # It may have got no further than the coordinator; the fetcher would connect again.
            if self._fetcher is not None:
                for task in (self._fetcher._fetch_task, *self._fetcher._pending_tasks):
                    task.cancel()


class Producer(AIOKafkaProducer):  # type: ignore[misc]
    """A producer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.client.__class__ = Connections
        self._message_accumulator.__class__ = Batches
        self._sender.__class__ = Requests
        self._sender.asking = set()

    async def stop(self) -> None:
        """Deliver what was sent and close the connections; brokers that are gone hold nothing up.

        What they have not taken after `STOPPED_WITHIN_S` fails.
        """
        await _stop(self._end, self.client)

    def refuse(self) -> None:
        """Send nothing from now on, nor again: what is on its way ends, all else fails."""
        self._message_accumulator.refuse(KafkaError("the producer was given up"))

    async def _end(self) -> None:
        stopping = asyncio.create_task(super().stop())
        await asyncio.wait([stopping], timeout=STOPPED_WITHIN_S)
        if stopping.done():
            stopping.result()
            return
        # aiokafka sends the batches of an idempotent producer again without end.
        self._message_accumulator.fail_all(
            KafkaError("the producer was stopped while the broker did not answer")
        )
        ending = [stopping, *self._sender.asking]
        if self._sender.sender_task is not None:
            ending.append(self._sender.sender_task)
        for task in ending:
            task.add_done_callback(retrieve)
            task.cancel()
        await asyncio.wait(ending, timeout=STOPPED_WITHIN_S)


class InOrderProducer(Producer):
    """A producer that delivers nothing after what it could not deliver.

    As it comes, a batch that was refused, or that found no leader for too long, fails alone: those
    after it are sent, and brokers take them from a producer that they know nothing of. Whoever
    reads by position would pass over the hole.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, enable_idempotence=True, **kwargs)
        self._message_accumulator.__class__ = InOrderBatches


class Admin(AIOKafkaAdminClient):  # type: ignore[misc]
    """An admin client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client.__class__ = Connections

    async def stop(self) -> None:
        """Close the connections."""
        await _stop(super().close, self._client)


_AnyClient = TypeVar("_AnyClient", Consumer, Producer, InOrderProducer, Admin)


async def start(client: _AnyClient) -> _AnyClient:
    """Start a client that its caller stops; stop it here when it does not start.

    Raises:
        KafkaError: no broker answers.
    """
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client


@asynccontextmanager
async def started(client: _AnyClient) -> AsyncIterator[_AnyClient]:
    """Start a client for the length of a block; stop it also when it did not start.

    Raises:
        KafkaError: no broker answers.
    """
    try:
        await client.start()
        yield client
    finally:
        await client.stop()
