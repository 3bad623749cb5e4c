"""Connections that fail leave nothing behind, however long the brokers are away."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest
from aiokafka.errors import KafkaConnectionError

from app.kafka import clients

TRIES = 30


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def refused_now() -> int:
    gc.collect()
    return sum(type(each) is ConnectionRefusedError for each in gc.get_objects())


async def test_tasks_of_a_client_that_connect_again_keep_no_errors() -> None:
    port, before = closed_port(), refused_now()
    consumer = clients.Consumer(bootstrap_servers=f"127.0.0.1:{port}")
    with pytest.raises(KafkaConnectionError):
        await consumer.start()
    await consumer.stop()

    async def connect_again() -> None:
        for _ in range(TRIES):
            with pytest.raises(ConnectionRefusedError):
                await clients._connect("127.0.0.1", port)

    # As the tasks that a client starts, it has the context of the start.
    await asyncio.create_task(connect_again())
    assert refused_now() <= before + 1


async def test_a_connection_that_ends_before_anybody_reads_of_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accepted = asyncio.Queue[asyncio.StreamWriter]()
    server = await asyncio.start_server(lambda _, end: accepted.put_nowait(end), "127.0.0.1", 0)
    connection = clients._Connection("127.0.0.1", server.sockets[0].getsockname()[1])

    def ends() -> None:
        raise RuntimeError("the loop takes no more tasks")

    monkeypatch.setattr(connection, "_create_reader_task", ends)
    with pytest.raises(RuntimeError, match="no more tasks"):
        await connection.connect()
    transport = connection._writer.transport
    connection.close()
    assert transport.is_closing()
    await connection.close()
    (await accepted.get()).close()
    server.close()
    await server.wait_closed()
