"""`meter verify` against a running worker: what is wrong is found, and nothing else."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from prometheus_client import CollectorRegistry, generate_latest
from redis.asyncio import Redis

from agents.verify_samples import RoundRobin, verify_next
from app.cli.verify import verify
from app.definitions.periods import NEVER_MS
from app.kafka.log_readers import scan
from app.kafka.topics import EVENTS_REKEYED, admin_client
from app.main import Worker, running_worker
from app.redis.sealing import SEAL_BYTES, seal
from app.runtime.metrics import EngineCollector
from app.settings import Settings
from tables.changelogged.members import pack_member, unpack_member
from tests.live.proofs import (
    CUSTOMER,
    METRICS,
    NAMES,
    a_cell,
    arrivals_of,
    define,
    explained_of,
    folded_events,
    is_folded,
    is_stored,
    run,
    send,
    some_events,
    verified,
)
from tests.world.live.api import Api, Json, api_of
from tests.world.live.committed import all_of
from tests.world.live.consumer import records_of
from tests.world.live.producer import encoded, event_key, foreign_producer, raw_event
from tests.world.live.worker import SESSIONS, worker_process
from tests.world.live.world import World
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers


async def test_verify_finds_exactly_what_is_wrong_and_repair_mends_it(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    await define(api)
    events = some_events(600)
    await send(live_settings, [*events, *events[:50]])
    await is_folded(worker, len(events))
    pairs = len(NAMES) * len(METRICS)

    status, found = await verified(worker)
    assert (status, found["equal"], found["differences"]) == (0, True, [])
    assert found["pairs_verified"] == pairs
    assert found["cells_verified"] > pairs
    assert worker.engine.forwarder.forwarded > 0
    before = [await api.current_usage(CUSTOMER, name) for name in NAMES]

    cell = a_cell(worker, NAMES[2], "peak")
    cell.state.greatest = Decimal(99)  # type: ignore[attr-defined]
    status, found = await verified(worker)
    assert status == 1
    (difference,) = found["differences"]
    assert difference["kind"] == "cell"
    assert difference["external_subscription_id"] == NAMES[2]
    assert difference["metric_code"] == "peak"
    assert difference["live"]["units"] == "99.0"
    assert difference["refolded"]["units"] != "99.0"

    # One subscription alone, as text.
    assert (await run(worker, verify, "--subscription", NAMES[1])).exit_code == 0
    said = await run(worker, verify, "--subscription", NAMES[2])
    assert said.exit_code == 1
    assert "live units 99.0 is" in said.stdout.replace("\n", " ")

    status, found = await verified(worker, "--repair")
    assert (status, found["repairing"]) == (1, 1)
    await is_folded(worker, len(events))
    assert (await verified(worker))[0] == 0
    after = [await api.current_usage(CUSTOMER, name) for name in NAMES]
    assert [_units(usage) for usage in after] == [_units(usage) for usage in before]


async def test_verify_compares_the_members_in_redis(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    """What the next event of a property would be counted by, whatever the figures show now."""
    await folded_events(live_settings, worker, api, 600)
    assert live_settings.redis_url is not None
    async with Redis.from_url(live_settings.redis_url) as redis:
        status, found = await verified(worker)
        assert (status, found["differences"]) == (0, [])
        await is_stored(worker)
        assert await _stored(redis, live_settings) == found["members_verified"]

        # Lost: Redis has fewer than were counted, and is given them again by itself.
        kept = await _a_set(redis, live_settings)
        members: dict[bytes, bytes] = await redis.hgetall(kept)  # type: ignore[assignment]
        text, packed = min(members.items())
        await redis.hdel(kept, text)
        status, found = await verified(worker)
        assert (status, found["differences"]) == (0, [])
        assert await redis.hget(kept, text) == packed

        # Another one in its place, check sum and all.
        key = kept.split(b":set:", 1)[1]
        name = key, text.decode()
        # The last operation says what the member is now; those before may no longer matter.
        (*before, last) = unpack_member(packed[SEAL_BYTES:])
        other = pack_member((*before, last._replace(adds=not last.adds)))
        await redis.hset(kept, text, seal(name, other) + other)
        status, found = await verified(worker, "--repair")
        assert (status, found["repairing"]) == (1, 1)
        (difference,) = found["differences"]
        assert (difference["kind"], difference["metric_code"]) == ("members", "users")
        assert difference["live"]["differing"] == "1"
        assert f'"{text.decode()}"' in difference["live"]
        await is_folded(worker, 600)
        status, found = await verified(worker)
        assert (status, found["differences"]) == (0, [])


async def _a_set(redis: Redis, settings: Settings) -> bytes:
    """The key of some set of members."""
    return min(await _sets(redis, settings))


async def _stored(redis: Redis, settings: Settings) -> int:
    """How many members there are."""
    return sum([await redis.hlen(key) for key in await _sets(redis, settings)])


async def _sets(redis: Redis, settings: Settings) -> set[bytes]:
    """Keys of all sets of members."""
    return {key async for key in redis.scan_iter(match=f"{{{settings.consumer_group}:*:set:*")}


async def test_what_was_forwarded_twice_counts_once_in_every_proof(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    """A worker killed between its forwards and its flush forwards the same records again."""
    events = await folded_events(live_settings, worker, api, 120)
    forwarded = [await _forward_again(worker, home) for home in worker.engine.owned]
    assert sum(forwarded) > len(events) // 8
    await eventually(lambda: _folded_forwards(worker), [2 * count for count in forwarded])

    for name in NAMES[1:]:
        status, found = await verified(worker, "--subscription", name, "--figures-only")
        assert (status, found["differences"]) == (0, []), name
        assert (found["records_compared"], found["records_verified"]) == (False, {})
        assert found["pairs_verified"] == len(METRICS)
    status, found = await verified(worker, "--subscription", NAMES[0])
    assert (status, found["differences"], found["records_compared"]) == (0, [], True)
    told = await run(worker, verify, "--subscription", NAMES[1], "--figures-only")
    assert told.stdout.endswith("all equal\nPublished messages were not compared\n")
    for code in METRICS:
        explained = (await explained_of(api, NAMES[5], code))["explanation"]
        assert explained["equal"], code
        ids = [event["transaction_id"] for event in explained["events"]]
        assert len(ids) == len(set(ids)), code
    for event in events[-5:]:
        arrivals = await arrivals_of(
            api, event["transaction_id"], str(event["external_subscription_id"])
        )
        assert len(arrivals) == 1


async def _forward_again(worker: Worker, home: int) -> int:
    """Append a copy of each record of a partition of events-rekeyed; how many there are."""
    settings = worker.settings
    topic = TopicPartition(settings.topic(EVENTS_REKEYED), home)
    end = worker.engine.owned[home].state.checkpoint.rekeyed_next
    copied = 0
    for records in await all_of(scan(settings, topic, 0, end)):
        for record in records:
            headers = list(record.headers)
            await worker.engine.append(topic.topic, record.key, record.value, home, headers)
            copied += 1
    return copied


async def _folded_forwards(worker: Worker) -> list[int]:
    return [owned.state.checkpoint.rekeyed_next for owned in worker.engine.owned.values()]


def _units(usage: Json) -> list[Any]:
    charges = usage["charges_usage"]
    return [(c["billable_metric"]["code"], c["units"], c["events_count"]) for c in charges]


async def _is_published(worker: Worker) -> bool:
    """Whether every partition with subscriptions has published, settled and waits for no cut.

    A revision to come would show what differs from a figure that a test has changed.
    """
    states = [part.state for part in worker.engine.owned.values()]
    return all(
        any(period.cells for period in state.published.periods.values())
        and all(p.cut_ms <= state.checkpoint.cut_ms for p in state.published.periods.values())
        and state.cuts.next_ms() == NEVER_MS
        for state in states
        if state.event_ranges.codes
    )


async def test_verify_finds_wrong_published_figures_and_messages(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    await folded_events(live_settings, worker, api, 240)

    await eventually(lambda: _is_published(worker), True)
    status, found = await verified(worker)
    assert status == 0
    assert found["records_verified"]["usage-records"] > len(NAMES) * len(METRICS)
    period, name, cell = next(
        (period, name, cell)
        for part in worker.engine.owned.values()
        for period in part.state.published.periods.values()
        for name, cell in period.cells.items()
        if cell.units != "0.0"
    )
    period.cells[name] = msgspec.structs.replace(cell, units="12345.0")
    status, found = await verified(worker)
    assert status == 1
    assert [d["kind"] for d in found["differences"]] == ["published"]
    assert found["differences"][0]["live"] == {"units": "12345.0"}
    period.cells[name] = cell

    # Of subscriptions that nobody knows there is nothing to compare, and so nothing is well.
    unknown = await run(worker, verify, "--subscription", "nobody")
    told = "Nothing compared: nothing is known of it here\n"
    assert (unknown.exit_code, unknown.stdout) == (4, told)

    # Somebody else writes to the topic: a record again, and one that follows from nothing.
    published = await records_of(live_settings, live_settings.usage_records_topic)
    record = next(
        r for r in published if json.loads(r.value)["external_subscription_id"] == NAMES[1]
    )
    async with foreign_producer(live_settings) as producer:
        for identity in (dict(record.headers)["ce_id"], b"made-up"):
            headers = [(k, identity if k == "ce_id" else v) for k, v in record.headers]
            place = record.topic, record.value, record.key, record.partition
            await producer.send_and_wait(*place, headers=headers)
    status, found = await verified(worker)
    twice, surplus = found["differences"]
    assert (status, {twice["kind"], surplus["kind"]}) == (1, {"record"})
    assert twice["record_id"] == dict(record.headers)["ce_id"].decode()
    assert twice["live"]["first_place"] == f"{record.partition}:{record.offset}"
    assert (surplus["record_id"], surplus["external_subscription_id"]) == ("made-up", NAMES[1])
    said = await run(worker, verify, "--subscription", NAMES[1])
    assert "usage-records made-up at " in said.stdout.replace("\n", " ")


async def test_what_retention_took_is_not_called_wrong_and_proves_nothing(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    events = await folded_events(live_settings, worker, api, 240)
    await eventually(lambda: _is_published(worker), True)
    topic = live_settings.topic(live_settings.raw_topic)
    everything = {TopicPartition(topic, n): RecordsToDelete(-1) for n in worker.engine.owned}
    async with admin_client(live_settings) as admin:
        await admin.delete_records(everything)
    for more in ([], ["--figures-only"]):
        found = await run(worker, verify, "--json", *more)
        told = json.loads(found.stdout)
        assert (found.exit_code, told["equal"], told["differences"]) == (3, False, [])
        assert (told["pairs_verified"], told["cells_verified"]) == (0, 0)
        assert len(told["skipped"]) == len(NAMES) * len(METRICS)
    said = await run(worker, verify, "--figures-only")
    assert said.exit_code == 3
    assert said.stdout.endswith("\nNothing compared\n")
    assert sum(part.state.index.length for part in worker.engine.owned.values()) == len(events)


async def test_what_other_groups_than_the_admitted_have_is_read_once_more(
    live_settings: Settings,
) -> None:
    """Events are read in any order: who finds room is known once all of them were."""
    settings = live_settings.model_copy(update={"max_groups": 3})
    async with running_worker(settings, **SESSIONS) as worker, api_of(worker.url) as api:
        world = World(settings, api, 2)
        await world.define()
        topic = settings.topic(settings.raw_topic)
        async with foreign_producer(settings) as producer:
            for number in range(5 * len(world.names)):
                name, zone = world.names[number % len(world.names)], f"zone-{number}"
                event = raw_event(name, f"t-{number}", "calls", zone=zone)
                await producer.send(topic, encoded(event), key=event_key(name))

        async def rooms() -> list[int]:
            usages = [await api.usage_if_owned(CUSTOMER, name) for name in world.names]
            charges = [each["charges_usage"] if each else [] for each in usages]
            return [_groups_of(each) for each in charges]

        await eventually(rooms, [3, 3])
        assert (await verified(worker))[0] == 0
        cell = a_cell(worker, world.names[1], "calls")
        # As if another group had found room in its place.
        del cell.layer.cells[cell.filter_id, cell.groups]
        (group,) = cell.groups
        cell.groups = ("zone-9",)
        cell.layer.cells[cell.filter_id, cell.groups] = cell
        for more in ([], ["--subscription", world.names[1]]):
            status, found = await verified(worker, "--figures-only", *more)
            told = {tuple(d["groups"]): bool(d["live"]) for d in found["differences"]}
            assert (status, told) == (1, {("zone-9",): True, (group,): False})
            assert found["skipped"] == []
        _, found = await verified(worker, "--figures-only")
        assert found["pairs_verified"] == len(await _meter_keys(worker))


def _groups_of(charges: list[Json]) -> int:
    return sum(
        group["units"] != "0.0"
        for charge in charges
        if charge["billable_metric"]["code"] == "calls"
        for group in charge["grouped_usage"]
    )


async def _meter_keys(worker: Worker) -> list[tuple[str, str, str]]:
    return [
        (*name, code)
        for part in worker.engine.owned.values()
        for name, codes in part.state.event_ranges.codes.items()
        for code in codes
    ]


async def test_every_worker_verifies_its_share(
    live_settings: Settings, worker: Worker, api: Api, tmp_path: Path
) -> None:
    await folded_events(live_settings, worker, api, 300)
    async with worker_process(live_settings, tmp_path):

        async def shared() -> bool:
            return 0 < len(worker.engine.owned) < live_settings.raw_partitions

        await eventually(shared, True)

        async def all_equal() -> tuple[int, int]:
            result = await run(worker, verify, "--json")
            pairs = json.loads(result.stdout)["pairs_verified"] if result.exit_code == 0 else -1
            return result.exit_code, pairs

        await eventually(all_equal, (0, len(NAMES) * len(METRICS)))


async def test_verification_in_the_background_counts_what_differs(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    await folded_events(live_settings, worker, api, 120)
    engine, turns = worker.engine, RoundRobin(worker.engine)
    for _ in range(2 * live_settings.raw_partitions):
        await verify_next(engine, turns)
    assert engine.status.verified.pairs > 0
    assert engine.status.verified.differing == 0
    a_cell(worker, NAMES[3], "level").state.digest ^= 1
    for _ in range(4 * live_settings.raw_partitions):
        await verify_next(engine, turns)
    assert engine.status.verified.differing > 0
    registry = CollectorRegistry()
    registry.register(EngineCollector(engine))
    text = generate_latest(registry).decode()
    assert f"meter_differing_pairs {float(engine.status.verified.differing)}" in text
