"""Members on a Redis with TLS, with ACLs, behind Sentinel and in a cluster: real servers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError

from app.cli.serving import stopped_plainly
from app.errors import StackError
from app.local_servers.ports import free_ports, is_free
from app.local_servers.redis import LocalRedis, find_redis_server
from app.redis.members import MemberStore
from app.settings import HOST, Settings
from tests.secured.authority import Authority
from tests.world.live.servers import MakeSettings
from tests.world.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.servers

A, B = b"set-a", b"set-b"
LEAST_RIGHTS = (
    "+hset +hget +hmget +hgetall +hlen +hdel +hkeys +hincrby +hscan +exists +unlink +scan "
    "+evalsha +eval +script|load +multi +exec +ping +info +config|get +select"
)


async def works(settings: Settings, number: int = 0) -> None:
    """What a worker does with members: fill in, write, look up, count, forget."""
    store = MemberStore(settings)
    await store.start()
    try:
        await store.replace_all(number, 1, 7, [((A, "x"), b"1"), ((B, "y"), b"2")])
        assert await store.stands_at(number, 7)
        changed = [((A, "z"), b"3"), ((A, "x"), None), ((B, "y"), None)]
        await store.write(number, 1, 8, changed)
        found = await store.load_many(number, [(A, "x"), (A, "z"), (B, "y")])
        assert found == [None, b"3", None]
        assert await store.load_sets(number, [A]) == [{"z": b"3"}]
        assert (await store.state(number)).flush == 8
        assert await store.stands_at(number, 8)
        await store.clear(number, 2)
    finally:
        await store.stop()


@pytest.mark.skipif(
    not shutil.which("redis-server"),
    reason="the redis-server that came with pip speaks no TLS; install Redis to run this",
)
@pytest.mark.parametrize("by", ["url", "setting"])
async def test_over_tls_with_certificates_on_both_sides(
    by: str, tmp_path: Path, authority: Authority, make_settings: MakeSettings
) -> None:
    (port,) = free_ports(1)
    chain, key = authority.certificate("redis")
    options = ["--tls-port", str(port), "--tls-auth-clients", "yes"]
    options += ["--tls-cert-file", str(chain), "--tls-key-file", str(key)]
    options += ["--tls-ca-cert-file", str(authority.ca_file)]
    ours, our_key = authority.certificate("worker")
    async with LocalRedis(tmp_path, options=options):
        address = {"redis_url": f"rediss://{HOST}:{port}/0"}
        if by == "setting":
            address = {"redis_url": f"redis://{HOST}:{port}", "redis_tls": "true"}
        trusting = {**address, "redis_ca_file": authority.ca_file}
        await works(
            make_settings(**trusting, redis_cert_file=ours, redis_key_file=our_key),
        )
        with pytest.raises((RedisError, OSError)):
            await MemberStore(make_settings(**trusting)).start()
        with pytest.raises((RedisError, OSError), match="certificate"):
            await MemberStore(make_settings(**address)).start()


async def test_as_a_user_with_the_least_rights(tmp_path: Path, make_settings: MakeSettings) -> None:
    users = tmp_path / "users.acl"
    users.write_text(
        f"user default off\nuser meter on >secret ~{{t*-meterstream:* {LEAST_RIGHTS}\n"
    )
    async with _answering(tmp_path, ["--aclfile", str(users)], "meter", "secret") as server:
        settings = make_settings(redis_url=f"redis://meter:secret@{server.address}/0")
        await works(settings)
        await works(
            make_settings(redis_url=f"redis://meter@{server.address}", redis_password="secret"),
            1,
        )
        client: Any = Redis.from_url(settings.redis_url or "")
        with pytest.raises(NoPermissionError):
            await client.set("{elsewhere}", "1")
        await client.aclose()
        with pytest.raises(RedisError, match="invalid username-password"):
            await MemberStore(
                make_settings(redis_url=f"redis://meter:guess@{server.address}/0")
            ).start()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://meter:guess@{}/0", "did not let us in: invalid username-password"),
        ("redis://{}/0", "did not let us in: "),
        ("redis+cluster://{}", "did not let us in: "),
        ("redis://meter:secret@{}/99", "has no such database: DB index is out of range"),
        ("redis+cluster://meter:secret@{}", "Cluster mode is not enabled on this node"),
    ],
)
async def test_what_a_redis_refuses_is_told_with_its_setting(
    url: str, told: str, tmp_path: Path, make_settings: MakeSettings
) -> None:
    users = tmp_path / "users.acl"
    users.write_text("user default off\nuser meter on >secret ~* +@all\n")
    async with _answering(tmp_path, ["--aclfile", str(users)], "meter", "secret") as server:
        settings = make_settings(redis_url=url.format(server.address))
        store = MemberStore(settings)
        with pytest.raises(StackError) as refused, stopped_plainly(settings):
            await store.start()
        await store.stop()
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"Redis at {server.address} ")
    assert told in line
    assert ("METER_REDIS_URL" in line, "secret" in line) == (True, False)
    assert ("METER_REDIS_PASSWORD" in line) == ("let us in" in told)


class _AskedAs(LocalRedis):
    """A Redis that asks for a user, also of whoever looks whether it answers."""

    user = password = ""

    @property
    def url(self) -> str:
        return f"redis://{self.user}:{self.password}@{self.address}/0"


@asynccontextmanager
async def _answering(
    directory: Path, options: Sequence[str], user: str, password: str
) -> AsyncIterator[LocalRedis]:
    server = _AskedAs(directory / "own", options=options)
    server.user, server.password = user, password
    async with server:
        yield server


async def test_behind_sentinel_the_next_master_is_found(
    tmp_path: Path, make_settings: MakeSettings
) -> None:
    (sentinel_port,) = free_ports(1)
    async with AsyncExitStack() as servers:
        master = await servers.enter_async_context(LocalRedis(tmp_path / "one"))
        replica = await servers.enter_async_context(
            LocalRedis(tmp_path / "two", options=["--replicaof", HOST, str(master.port)])
        )
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(
            f"port {sentinel_port}\nbind {HOST}\ndir {tmp_path}\n"
            f"sentinel monitor members {HOST} {master.port} 1\n"
            "sentinel down-after-milliseconds members 500\n"
            "sentinel failover-timeout members 3000\n"
        )
        sentinel = await asyncio.create_subprocess_exec(
            find_redis_server(), str(configuration), "--sentinel", stdout=asyncio.subprocess.DEVNULL
        )
        servers.callback(_kill, sentinel)
        watcher: Any = Redis(host=HOST, port=sentinel_port)
        servers.push_async_callback(watcher.aclose)

        async def knows() -> object:
            with contextlib.suppress(RedisError, OSError):
                known = await watcher.sentinel_master("members")
                return known["num-slaves"], known["port"]
            return None

        await eventually(knows, (1, master.port))
        url = f"redis+sentinel://{HOST}:{sentinel_port}/members/0"
        settings = make_settings(redis_url=url)
        store = MemberStore(settings)
        servers.push_async_callback(store.stop)
        await store.start()
        await store.replace_all(0, 1, 7, [((A, "x"), b"1")])
        copied: Any = Redis.from_url(replica.url)
        servers.push_async_callback(copied.aclose)
        await eventually(copied.dbsize, 3)
        master.kill()
        # It waits for whoever takes over, and goes on there.
        await asyncio.wait_for(store.write(0, 1, 8, [((A, "y"), b"2")]), PATIENCE_S)
        assert await store.load_many(0, [(A, "x"), (A, "y")]) == [b"1", b"2"]
        promoted: Any = Redis.from_url(replica.url)
        servers.push_async_callback(promoted.aclose)
        assert await promoted.hget("{" + settings.consumer_group + ":0}:meta", "flush") == b"8"


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _with_bus() -> list[int]:
    """Return three ports whose bus has one, too: Redis before 7 adds 10,000 and has no choice."""
    ports = (port for port in free_ports(64) if port + 10_000 < 1 << 16 and is_free(port + 10_000))
    return list(islice(ports, 3))


async def test_in_a_cluster_each_partition_lies_on_one_node(
    tmp_path: Path, make_settings: MakeSettings
) -> None:
    async with AsyncExitStack() as servers:
        nodes = [
            await servers.enter_async_context(
                LocalRedis(tmp_path / str(port), port=port, options=["--cluster-enabled", "yes"])
            )
            for port in _with_bus()
        ]
        clients: list[Any] = [Redis.from_url(node.url) for node in nodes]
        for client in clients:
            servers.push_async_callback(client.aclose)
        slots = [range(5461), range(5461, 10923), range(10923, 16384)]
        for client, own in zip(clients, slots, strict=True):
            await client.execute_command("CLUSTER ADDSLOTS", *own)
            await client.execute_command("CLUSTER MEET", HOST, nodes[0].port)

        async def states() -> set[str]:
            return {(await client.cluster("info"))["cluster_state"] for client in clients}

        async def known() -> int:
            return min([int((await c.cluster("info"))["cluster_known_nodes"]) for c in clients])

        await eventually(known, 3)
        await eventually(states, {"ok"})
        settings = make_settings(
            redis_url=f"redis+cluster://{HOST}:{nodes[0].port},{HOST}:{nodes[1].port}"
        )
        await works(settings)
        store = MemberStore(settings)
        servers.push_async_callback(store.stop)
        await store.start()
        for number in range(1, 9):
            await store.replace_all(number, 1, 3, [((A, "x"), str(number).encode())])
        # Three keys each, and one that says who forgot partition 0.
        sizes = [await client.dbsize() for client in clients]
        assert sum(sizes) == 8 * 3 + 1
        assert sum(size > 0 for size in sizes) > 1
        # Scripts are gone after a restart.
        for client in clients:
            await client.script_flush()
        await asyncio.wait_for(store.write(5, 1, 4, [((A, "y"), b"2")]), PATIENCE_S)
        assert await store.load_many(5, [(A, "x"), (A, "y")]) == [b"5", b"2"]
