"""The members store on a real Redis: exactness over loss, eviction, roll-back and zombies.

It is over 500 lines: each way to lose members takes a few, and all of them share one store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.redis import members
from app.redis.errors import MembersLost, MembersSilent, StaleEpoch
from app.redis.members import MEMBERS_IN_A_CALL, MOST_MEMBERS, MembersState, MemberStore
from app.settings import Settings
from tables.changelogged.members import MemberKey
from tests.world.live.servers import MakeSettings
from tests.world.waiting import PATIENCE_S, until

pytestmark = pytest.mark.servers

A, B = b"set a", b"set\x00b\xff*"


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[MemberStore]:
    running = MemberStore(settings)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    client: Any = Redis.from_url(redis_url)
    yield client
    await client.aclose()


def member(key: bytes, text: str, packed: bytes | None) -> tuple[MemberKey, bytes | None]:
    return (key, text), packed


class Held(NamedTuple):
    """What Redis has of a partition. `intact`: every set has the members counted for it."""

    flush: int | None
    epoch: int
    sets: int
    members: int
    intact: bool


async def held(store: MemberStore) -> Held:
    """Count what Redis has of the first partition."""
    state = await store.state(0)
    counts = {k: int(n) for k, n in (await store._redis.hgetall(store._counts(0))).items()}
    lengths = {key: await store._redis.hlen(key) for key in counts}
    members = int(await store._redis.hget(store._meta(0), "members") or 0)
    intact = lengths == counts and sum(counts.values()) == members
    return Held(state.flush, state.epoch, len(counts), sum(lengths.values()), intact)


async def test_where_a_partition_stands_is_told_without_counting(
    store: MemberStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write(0, 3, 7, [member(A, "x", b"1")])
    asked: list[object] = []
    monkeypatch.setattr(members, "call_script", lambda *given: asked.append(given))
    assert await store.state(0) == MembersState(flush=7, epoch=3)
    assert asked == []


async def test_members_are_read_back(store: MemberStore) -> None:
    await store.write(0, 1, 1, [member(A, "x", b"1"), member(B, "ü", b"\x00"), member(B, "", b"3")])
    names = [(B, ""), (A, "x"), (A, "absent"), (b"none", "x"), (B, "ü"), (A, "x")]
    assert await store.load_many(0, names) == [b"3", b"1", None, None, b"\x00", b"1"]
    assert await store.load_many(0, []) == []
    assert await store.load_many(1, [(A, "x")]) == [None], "another partition"
    assert await held(store) == Held(flush=1, epoch=1, sets=2, members=3, intact=True)


async def test_a_flush_overwrites_deletes_and_empties(store: MemberStore) -> None:
    await store.write(0, 1, 1, [member(A, "x", b"1"), member(A, "y", b"1"), member(B, "z", b"1")])
    changed = [member(A, "x", b"2"), member(A, "y", None), member(B, "z", None)]
    await store.write(0, 1, 2, changed)
    assert await store.load_many(0, [(A, "x"), (A, "y"), (B, "z")]) == [b"2", None, None]
    assert await held(store) == Held(flush=2, epoch=1, sets=1, members=1, intact=True)
    await store.write(0, 1, 3, [member(A, "x", None), member(A, "new", b"3")])
    assert await store.load_many(0, [(A, "x"), (A, "new")]) == [None, b"3"]
    await store.write(0, 1, 4, [member(A, "new", None), member(A, "never was", None)])
    assert await held(store) == Held(flush=4, epoch=1, sets=0, members=0, intact=True)


async def test_whole_sets_are_read_back(store: MemberStore, redis: Any) -> None:
    large = {f"large {n}": b"%d" % n for n in range(MEMBERS_IN_A_CALL + 500)}
    small = {b"%d" % n: {f"small {n}": b"s", "": b"%d" % n} for n in range(MEMBERS_IN_A_CALL)}
    sets = {**small, A: large, B: {"ü": b"\x00"}}
    members = [member(key, text, v) for key, found in sets.items() for text, v in found.items()]
    await store.write(0, 1, 1, members)
    assert await store.load_sets(0, [*sets, b"none"]) == [*sets.values(), {}]
    assert await store.load_sets(0, []) == []
    await redis.hdel(store._set(0, A), "large 7")
    with pytest.raises(MembersLost):
        await store.load_sets(0, [B, A])
    await redis.flushdb()
    with pytest.raises(MembersLost):
        await store.load_sets(0, [B])


async def test_a_large_set_is_read_in_parts_until_all_of_it_was_told(store: MemberStore) -> None:
    large = {f"large {n}": b"%d" % n for n in range(3 * MEMBERS_IN_A_CALL)}
    small = [member(b"%d" % n, "x", b"s") for n in range(MOST_MEMBERS)]
    await store.write(0, 1, 1, [*small, *(member(A, text, v) for text, v in large.items())])
    keys = [A, *(key for (key, _), _ in small), b"none"]
    some = await store.load_some(0, dict.fromkeys(keys, 0))
    assert 1 < len(some) < len(keys)
    found, calls, cursor = dict[str, bytes](), 0, -1
    while cursor:
        ((_, (cursor, part)),) = (await store.load_some(0, {A: max(cursor, 0)})).items()
        assert len(part) < len(large)
        found |= part
        calls += 1
    assert (found, calls > 1) == (large, True)
    assert await store.load_some(0, {b"none": 0}) == {b"none": (0, {})}


async def test_whole_sets_are_not_waited_for(tmp_path: Path, make_settings: MakeSettings) -> None:
    async with LocalRedis(tmp_path / "redis") as redis:
        store = MemberStore(make_settings(redis_url=redis.url))
        await store.start()
        await store.write(0, 1, 1, [member(A, "x", b"1")])
        await redis.stop()
        with pytest.raises(MembersSilent):
            await store.load_sets(0, [A])
        await store.stop()


async def test_a_flush_written_twice_counts_once(store: MemberStore) -> None:
    for _ in range(2):
        await store.write(0, 1, 1, [member(A, "x", b"1"), member(B, "y", b"1")])
    assert await held(store) == Held(flush=1, epoch=1, sets=2, members=2, intact=True)


async def test_a_large_flush_is_one_transaction(store: MemberStore, redis: Any) -> None:
    count = 5 * MEMBERS_IN_A_CALL + 1
    members = [member(b"%d" % (n % 7), str(n), b"v%d" % n) for n in range(count)]
    seen: set[tuple[int | None, int]] = set()

    async def watch() -> None:
        while True:
            async with redis.pipeline(transaction=True) as pipeline:
                pipeline.hget(store._meta(0), "flush")
                for n in range(7):
                    pipeline.hlen(store._set(0, b"%d" % n))
                flush, *lengths = await pipeline.execute()
            seen.add((None if flush is None else int(flush), sum(lengths)))

    watching = asyncio.create_task(watch())
    await store.write(0, 1, 1, members)
    await asyncio.sleep(0.2)
    watching.cancel()
    assert await store.load_many(0, [name for name, _ in members]) == [
        value for _, value in members
    ]
    assert seen <= {(None, 0), (1, count)}


async def test_a_lower_epoch_is_refused(settings: Settings, store: MemberStore) -> None:
    zombie = MemberStore(settings)
    await zombie.write(0, 1, 1, [member(A, "x", b"1")])
    assert await store.stands_at(0, 1)
    await store.write(0, 2, 2, [member(A, "x", b"2")])
    with pytest.raises(StaleEpoch):
        await zombie.write(0, 1, 2, [member(A, "y", b"zombie")])
    with pytest.raises(StaleEpoch):
        await zombie.replace_all(0, 1, 2, [((A, "y"), b"zombie")])
    with pytest.raises(MembersLost):
        await zombie.load_many(0, [(A, "x")])
    assert await store.load_many(0, [(A, "x"), (A, "y")]) == [b"2", None]
    await zombie.stop()


async def test_members_of_another_cluster_are_never_taken_for_ours(
    settings: Settings, store: MemberStore
) -> None:
    """Both were given one Redis, and stand at the same flush."""
    store.cluster = "ours"
    other = MemberStore(settings)
    other.cluster = "others"
    try:
        await store.write(0, 1, 1, [member(A, "x", b"1")])
        assert await other.stands_at(0, 1) is False
        assert await other.state(0) == MembersState(None, 0)
        for asked in (
            other.load_many(0, [(A, "x")]),
            other.load_sets(0, [A]),
            other.write(0, 9, 2, [member(A, "y", b"2")]),
        ):
            with pytest.raises(MembersLost, match="Kafka cluster"):
                await asked
        await other.replace_all(0, 9, 1, [((A, "y"), b"2")])
        assert await other.load_many(0, [(A, "x"), (A, "y")]) == [None, b"2"]
        with pytest.raises(MembersLost, match="another Kafka cluster"):
            await store.load_many(0, [(A, "x")])
        # Its epoch is no reason to believe that ours has a newer owner.
        await store.replace_all(0, 1, 1, [((A, "x"), b"1")])
        assert await store.load_many(0, [(A, "x"), (A, "y")]) == [b"1", None]
    finally:
        await other.stop()


async def test_members_that_an_earlier_program_kept_are_ours(
    settings: Settings, store: MemberStore, redis: Any
) -> None:
    await store.write(0, 1, 1, [member(A, "x", b"1")])
    await redis.hdel(store._meta(0), "cluster")
    store.cluster = "ours"
    assert await store.stands_at(0, 1)
    await store.write(0, 1, 2, [member(A, "y", b"2")])
    assert await store.load_many(0, [(A, "x"), (A, "y")]) == [b"1", b"2"]
    assert await redis.hget(store._meta(0), "cluster") == b"ours"


async def test_flushall_is_noticed(
    settings: Settings, make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with LocalRedis(tmp_path / "own-redis") as own:
        store = MemberStore(make_settings(redis_url=own.url))
        await store.write(0, 1, 1, [member(A, "x", b"1")])
        client: Any = Redis.from_url(own.url)
        await client.flushall()
        with pytest.raises(MembersLost):
            await store.load_many(0, [(A, "x")])
        assert not await store.stands_at(0, 1)
        # A later flush must not cover the loss up.
        with pytest.raises(MembersLost):
            await store.write(0, 1, 2, [member(A, "y", b"2")])
        assert (await store.state(0)).flush is None
        await store.replace_all(0, 1, 2, [((A, "x"), b"1"), ((A, "y"), b"2")])
        assert await store.load_many(0, [(A, "x"), (A, "y")]) == [b"1", b"2"]
        await client.aclose()
        await store.stop()


@pytest.mark.parametrize("lost", ["set", "counts", "meta"])
async def test_an_evicted_key_is_noticed(
    settings: Settings, store: MemberStore, redis: Any, lost: str
) -> None:
    await store.write(0, 1, 1, [member(A, "x", b"1"), member(B, "y", b"1")])
    pattern = f"{{{settings.consumer_group}:0}}:{lost}*"
    evicted = [key async for key in redis.scan_iter(match=pattern) if not key.endswith(B)]
    assert len(evicted) == 1
    await redis.delete(*evicted)
    with pytest.raises(MembersLost):
        await store.load_many(0, [(A, "absent")])
    assert not await store.stands_at(0, 1)


async def test_an_evicted_set_is_noticed_although_its_count_was_evicted_too(
    settings: Settings, store: MemberStore, redis: Any
) -> None:
    await store.write(0, 1, 1, [member(A, "x", b"1"), member(B, "y", b"1")])
    await redis.delete(store._counts(0), store._set(0, A))
    with pytest.raises(MembersLost):
        await store.load_many(0, [(A, "x")])
    with pytest.raises(MembersLost):
        await store.load_sets(0, [A])
    with pytest.raises(MembersLost):
        await store.write(0, 1, 2, [member(A, "z", b"1")])
    assert not await store.stands_at(0, 1)


@pytest.mark.parametrize(
    ("refuse", "take"),
    [
        pytest.param("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", id="full"),
        pytest.param("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", id="a replica"),
    ],
)
async def test_writes_wait_while_redis_takes_none(
    tmp_path: Path, make_settings: MakeSettings, refuse: str, take: str
) -> None:
    async with LocalRedis(tmp_path / "redis") as server, Redis.from_url(server.url) as redis:
        store = MemberStore(make_settings(redis_url=server.url))
        await store.start()
        await store.write(0, 1, 1, [member(A, "x", b"1")])
        await _told(redis, refuse)
        writing = asyncio.create_task(
            store.write(0, 1, 2, [member(A, "x", None), member(B, "y", b"1")])
        )
        await until(lambda: not store.available)
        await asyncio.sleep(0.3)
        assert (writing.done(), store.available) == (False, False)
        await _told(redis, take)
        await writing
        assert (writing.done(), store.available) == (True, True)
        assert await store.load_many(0, [(A, "x"), (B, "y")]) == [None, b"1"]
        await store.replace_all(0, 1, 3, [((A, "x"), b"1")])
        assert await store.load_many(0, [(A, "x"), (B, "y")]) == [b"1", None]
        await store.stop()


async def test_who_writes_to_a_full_redis_ends_when_asked(
    tmp_path: Path, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis's client tells one cancellation of seven as a failure, which is tried again."""
    monkeypatch.setattr(members, "RETRY_S", 0.001)
    async with LocalRedis(tmp_path / "redis") as server, Redis.from_url(server.url) as redis:
        store = MemberStore(make_settings(redis_url=server.url))
        await store.start()
        await _told(redis, "CONFIG SET maxmemory 1")
        for each in range(60):
            writing = asyncio.create_task(store.write(0, 1, 1, []))
            await asyncio.sleep(each % 20 / 1000)
            writing.cancel()
            ended, _ = await asyncio.wait([writing], timeout=PATIENCE_S)
            assert ended, f"after {each % 20} ms"
        await store.stop()


async def _told(redis: Any, command: str) -> None:
    await redis.execute_command(*command.split())


async def test_a_lost_member_is_noticed(settings: Settings, store: MemberStore, redis: Any) -> None:
    await store.write(0, 1, 1, [member(A, "x", b"1"), member(A, "y", b"1")])
    await redis.hdel(f"{{{settings.consumer_group}:0}}:set:".encode() + A, "x")
    with pytest.raises(MembersLost):
        await store.load_many(0, [(A, "y")])
    assert not await store.stands_at(0, 1)


async def test_an_altered_member_is_noticed(
    settings: Settings, store: MemberStore, redis: Any
) -> None:
    await store.write(0, 1, 1, [member(A, "x", b"1"), member(A, "y", b"1")])
    key = f"{{{settings.consumer_group}:0}}:set:".encode() + A
    kept = await redis.hget(key, "x")
    await redis.hset(key, "x", kept[:-1] + b"2")
    assert await store.load_many(0, [(A, "y")]) == [b"1"]
    with pytest.raises(MembersLost):
        await store.load_many(0, [(A, "x")])
    await redis.hset(key, "x", await redis.hget(key, "y"))
    with pytest.raises(MembersLost):
        await store.load_many(0, [(A, "x")])


async def test_a_roll_back_to_an_older_dump_is_noticed(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    directory = tmp_path / "own-redis"
    options = ("--appendonly", "no", "--dbfilename", "dump.rdb")
    async with LocalRedis(directory, options=options) as own:
        store = MemberStore(make_settings(redis_url=own.url))
        await store.write(0, 1, 1, [member(A, "x", b"1")])
        client: Any = Redis.from_url(own.url)
        await client.save()
        await store.write(0, 1, 2, [member(A, "x", b"2")])
        assert await store.stands_at(0, 2)
        await client.aclose()
        own.kill()
        await own.start()
        assert (await store.state(0)).flush == 1
        assert not await store.stands_at(0, 2)
        with pytest.raises(MembersLost):
            await store.load_many(0, [(A, "x")])
        await store.replace_all(0, 2, 2, [((A, "x"), b"2")])
        assert await store.load_many(0, [(A, "x")]) == [b"2"]
        assert await store.stands_at(0, 2)
        await store.stop()


async def test_replacing_all_leaves_nothing_of_before(
    settings: Settings, store: MemberStore, redis: Any
) -> None:
    sets = [member(b"%d" % n, "x", b"1") for n in range(3_000)]
    await store.write(0, 1, 1, sets)
    await store.write(1, 1, 1, [member(A, "x", b"other partition")])
    # Sets whose count was lost go too.
    await redis.delete(f"{{{settings.consumer_group}:0}}:counts")
    new = [((b"new %d" % (n % 10), str(n)), b"v%d" % n) for n in range(2 * MEMBERS_IN_A_CALL + 5)]
    await store.replace_all(0, 2, 7, iter(new))
    assert await held(store) == Held(7, 2, sets=10, members=len(new), intact=True)
    assert await store.load_many(0, [(b"5", "x"), new[0][0]]) == [None, b"v0"]
    # SCAN may tell a key twice while the table of keys shrinks.
    keys = {key async for key in redis.scan_iter(match=f"{{{settings.consumer_group}:0}}*")}
    assert len(keys) == 12
    assert await store.load_many(1, [(A, "x")]) == [b"other partition"]


async def test_what_others_have_is_not_looked_at_to_replace_all(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    calls = []
    # Workers of other tests may still ask the shared Redis, and it counts their commands too.
    async with LocalRedis(tmp_path / "own-redis") as own:
        store = MemberStore(make_settings(redis_url=own.url))
        client: Any = Redis.from_url(own.url)
        for others in (100, 10_000):
            await store.replace_all(0, 1, 1, [((A, "x"), b"1")])
            theirs = [member(b"%d" % n, "x", b"1") for n in range(others)]
            await store.write(1, 1, others, theirs)
            await client.config_resetstat()
            await store.replace_all(0, 1, 2, [((B, "x"), b"2")])
            stats = await client.info("commandstats")
            calls.append({name: each["calls"] for name, each in stats.items()})
            assert await store.load_many(0, [(A, "x"), (B, "x")]) == [None, b"2"]
        await client.aclose()
        await store.stop()
    assert calls[0] == calls[1]
    assert "cmdstat_scan" not in calls[0]


async def test_a_replacement_that_was_broken_off_is_done_again(
    store: MemberStore, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write(0, 1, 1, [member(b"%d" % n, "x", b"1") for n in range(3_000)])
    calls = iter(range(3))

    async def broken_off(number: int, call: Awaitable[Any]) -> Any:
        answer = await call
        if next(calls) == 2:
            raise RuntimeError("the worker ends")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(members, "refused", broken_off)
        with pytest.raises(RuntimeError):
            await store.clear(0, 1)
    assert 0 < len(await redis.keys(store._set(0, b"*"))) < 3_000
    await store.replace_all(0, 1, 2, [((A, "x"), b"1")])
    assert await held(store) == Held(2, 1, sets=1, members=1, intact=True)
    assert await redis.keys(store._set(0, b"*")) == [store._set(0, A)]


async def test_sets_that_outlive_what_counts_them_are_not_believed(
    store: MemberStore, redis: Any
) -> None:
    """Redis that evicts may keep sets of a partition and nothing that names them."""
    await store.write(0, 1, 1, [member(key, text, b"1") for key in (A, B) for text in "xy"])
    await redis.delete(store._meta(0), store._counts(0))
    await store.replace_all(0, 1, 2, [((A, "x"), b"2")])
    assert await store.load_many(0, [(A, "x"), (A, "y")]) == [b"2", None]
    with pytest.raises(MembersLost):
        await store.load_many(0, [(B, "x")])
    await store.replace_all(0, 1, 2, [((A, "x"), b"2")])
    assert await store.load_many(0, [(B, "x"), (A, "x")]) == [None, b"2"]


async def test_a_flush_does_not_declare_whole_what_was_cleared(store: MemberStore) -> None:
    """A changelog that turns out to be torn leaves nothing to fill in, and flushes may go on."""
    await store.write(0, 1, 1, [member(A, "x", b"1")])
    await store.clear(0, 1)
    with pytest.raises(MembersLost):
        await store.write(0, 1, 2, [member(A, "y", b"2")])
    with pytest.raises(MembersLost):
        await store.load_many(0, [(A, "x")])
    assert not await store.stands_at(0, 2)


async def test_half_a_replacement_stands_at_no_flush(store: MemberStore) -> None:
    await store.write(0, 1, 1, [member(A, "x", b"1")])

    def torn() -> Any:
        yield from (((A, str(n)), b"v") for n in range(MEMBERS_IN_A_CALL + 1))
        raise RuntimeError("the changelog could not be read on")

    with pytest.raises(RuntimeError):
        await store.replace_all(0, 1, 1, torn())
    assert (await store.state(0)).flush is None
    assert not await store.stands_at(0, 1)


@pytest.mark.parametrize("filled", [0, MEMBERS_IN_A_CALL, MEMBERS_IN_A_CALL + 1])
async def test_redis_that_is_lost_while_it_is_filled_is_not_taken_for_whole(
    make_settings: MakeSettings, tmp_path: Path, filled: int
) -> None:
    """An empty Redis stands at no flush, as one does that is being filled."""
    async with LocalRedis(tmp_path / "own-redis") as own:
        store = MemberStore(make_settings(redis_url=own.url))
        await store.write(0, 1, 1, [member(A, "x", b"1")])

        def lost_half_way() -> Iterator[tuple[MemberKey, bytes]]:
            yield from (((A, str(n)), b"v") for n in range(filled))
            with BlockingRedis.from_url(own.url) as client:
                client.flushall()

        with pytest.raises(MembersLost):
            await store.replace_all(0, 1, 1, lost_half_way())
        assert not await store.stands_at(0, 1)
        await store.stop()


@pytest.mark.parametrize("saved", [0, 1, MEMBERS_IN_A_CALL])
@pytest.mark.parametrize("chunks", [1, 2])
async def test_redis_that_goes_back_within_a_fill_is_not_taken_for_whole(
    settings: Settings, store: MemberStore, redis_url: str, saved: int, chunks: int
) -> None:
    """The snapshot is of the same fill, but lacks what was written after it."""
    snapshot: dict[bytes, bytes] = {}
    total = saved + chunks * MEMBERS_IN_A_CALL + 1

    def going_back() -> Iterator[tuple[MemberKey, bytes]]:
        with BlockingRedis.from_url(redis_url) as client:
            for n in range(total):
                if n in (saved, total - 1):
                    keys = client.keys(f"{{{settings.consumer_group}:0}}*")
                if n == saved:
                    snapshot.update((key, client.dump(key)) for key in keys)
                if n == total - 1:
                    client.delete(*keys)
                    for key, value in snapshot.items():
                        client.restore(key, 0, value)
                yield (A, str(n)), b"v"

    with pytest.raises(MembersLost):
        await store.replace_all(0, 1, 1, going_back())
    assert not await store.stands_at(0, 1)


async def test_a_cluster_of_which_no_node_answers_is_away(make_settings: MakeSettings) -> None:
    (port,) = free_ports(1)
    store = MemberStore(make_settings(redis_url=f"redis+cluster://127.0.0.1:{port}"))
    with pytest.raises(MembersSilent):
        await store._ask(store._redis.ping)
    assert not store.available
    await store.stop()


async def test_calls_wait_while_redis_is_away(make_settings: MakeSettings, tmp_path: Path) -> None:
    # Written every second only, the file may lack what was answered while it was being synced.
    options = ("--appendfsync", "always")
    async with LocalRedis(tmp_path / "own-redis", options=options) as own:
        store = MemberStore(make_settings(redis_url=own.url))
        await store.write(0, 1, 1, [member(A, "x", b"1")])
        own.kill()
        writing = asyncio.create_task(store.write(0, 1, 2, [member(A, "y", b"2")]))
        loading = asyncio.create_task(store.load_many(0, [(A, "x")]))
        await asyncio.sleep(1.5)
        assert not writing.done()
        assert not loading.done()
        # A partition is taken over all the same; its first look-up finds out.
        assert await store.stands_at(1, 7) is None
        was_available = store.available
        await own.start()
        await asyncio.wait_for(writing, PATIENCE_S)
        assert await asyncio.wait_for(loading, PATIENCE_S) == [b"1"]
        assert await store.load_many(0, [(A, "x"), (A, "y")]) == [b"1", b"2"]
        assert (was_available, store.available) == (False, True)
        assert await store.stands_at(0, 2) is True
        with pytest.raises(MembersLost):
            await store.load_many(1, [(A, "x")])
        await store.stop()


async def test_no_redis_is_told_at_the_start(make_settings: MakeSettings) -> None:
    store = MemberStore(make_settings(redis_url="redis://127.0.0.1:1/0"))
    with pytest.raises(RedisError):
        await store.start()
    await store.stop()


async def test_a_look_up_waits_while_members_are_filled_in(store: MemberStore) -> None:
    """Until they are all there, what is absent may be one of those to come."""
    names = [(A, str(number)) for number in range(3 * MEMBERS_IN_A_CALL)]
    await store.replace_all(0, 1, 1, [(name, b"1") for name in names])
    filling = asyncio.create_task(store.replace_all(0, 1, 2, [(name, b"2") for name in names]))
    while not filling.done():
        await asyncio.sleep(0)
        found = await store.load_many(0, names[-2:])
        assert found in ([b"1"] * 2, [b"2"] * 2)
    await filling
    assert await store.load_many(0, names[:1]) == [b"2"]


async def test_members_that_were_filled_in_halfway_are_lost(store: MemberStore) -> None:
    def broken() -> Iterator[tuple[MemberKey, bytes]]:
        yield from (((A, str(number)), b"1") for number in range(MEMBERS_IN_A_CALL))
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await store.replace_all(0, 1, 1, broken())
    with pytest.raises(MembersLost):
        await store.load_many(0, [(A, "0")])
    with pytest.raises(MembersLost):
        await store.write(0, 1, 2, [member(A, "x", b"2")])
    await store.replace_all(0, 1, 1, [((A, "0"), b"1")])
    assert await store.load_many(0, [(A, "0")]) == [b"1"]
