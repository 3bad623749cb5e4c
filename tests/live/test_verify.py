"""Proof on real servers: verify, explain, trace and series against a running worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from aiokafka import TopicPartition
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry, generate_latest
from redis.asyncio import Redis

from agents.verify_samples import RoundRobin, verify_next
from app.api.schemas.proofs import ExplanationAnswer, TraceAnswer
from app.api.schemas.usage import UsageSeriesAnswer
from app.billing_periods.instants import parse_iso8601_ms
from app.cli.explain import explain
from app.cli.verify import verify
from app.kafka.log_readers import scan
from app.kafka.topics import EVENTS_REKEYED
from app.main import Worker
from app.redis.sealing import SEAL_BYTES, seal
from app.runtime.metrics import EngineCollector
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from tables.cells.cell import Cell
from tables.changelogged.members import pack_member, unpack_member
from tests.world import bodies
from tests.world.live.api import KEY, Api, Json
from tests.world.live.consumer import records_of
from tests.world.live.producer import encoded, event_key, foreign_producer, raw_event
from tests.world.live.worker import worker_process
from tests.world.live.world import Months
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

CUSTOMER = "customer"
NAMES = [f"sub-{number}" for number in range(6)]
METRICS: dict[str, Json] = {
    "calls": {"aggregation_type": "count_agg"},
    "traffic": {
        "aggregation_type": "sum_agg",
        "field_name": "gb",
        "filters": [{"key": "region", "values": ["eu", "us"]}],
    },
    "peak": {"aggregation_type": "max_agg", "field_name": "cores"},
    "level": {"aggregation_type": "latest_agg", "field_name": "gb"},
    "users": {"aggregation_type": "unique_count_agg", "field_name": "user", "recurring": True},
    "stored": {"aggregation_type": "weighted_sum_agg", "field_name": "gb", "recurring": True},
}


async def define(api: Api) -> None:
    """Six metrics of six types on one plan, with groups and a filter; a few subscriptions."""
    charges = []
    for code, metric in METRICS.items():
        body = {"name": code, "code": code, **metric}
        if metric["aggregation_type"] == "weighted_sum_agg":
            body["weighted_interval"] = "seconds"
        answer = await api.post("/billable_metrics", {"billable_metric": body})
        charge: Json = {
            "billable_metric_id": answer["billable_metric"]["lago_id"],
            "code": code,
            "charge_model": "standard",
            "properties": {"amount": "1"},
        }
        if code == "calls":
            charge["properties"]["pricing_group_keys"] = ["zone"]
        if code == "traffic":
            charge["filters"] = [{"values": {"region": ["eu"]}, "properties": {"amount": "2"}}]
        charges.append(charge)
    plan = bodies.plan("plan", charges)
    await api.post("/plans", {"plan": plan})
    for name in NAMES:
        subscription = {
            "external_customer_id": CUSTOMER,
            "plan_code": "plan",
            "external_id": name,
            "billing_time": "calendar",
            "subscription_at": Months().named(0),
        }
        await api.post("/subscriptions", {"subscription": subscription})


def some_events(count: int) -> list[Json]:
    """Events of every metric, over three months, each subscription in turn."""
    months = Months()
    span_ms = months.now_ms - 1_000 - months.starts_ms[0]
    made = []
    for number in range(count):
        code = list(METRICS)[number % len(METRICS)]
        at_ms = months.starts_ms[0] + number * span_ms // count
        properties: Json = {
            "gb": f"{number % 17}.25",
            "cores": number % 13,
            "user": f"user-{number % 7}",
            "region": ["eu", "us", "asia"][number % 3],
            "zone": ["a", "b"][number % 2],
            "operation_type": "remove" if number % 5 == 4 else "add",
        }
        name = NAMES[number // len(METRICS) % len(NAMES)]
        stamp = f"{at_ms // 1000}.{at_ms % 1000:03}"
        made.append(raw_event(name, f"t{number}", code, stamp, **properties))
    return made


async def send(settings: Settings, events: Sequence[Json]) -> None:
    """A third of the records without regard to where their home is."""
    topic = settings.topic(settings.raw_topic)
    keyed = len(events) * 2 // 3
    for keying, part in (("crc32", events[:keyed]), ("unkeyed", events[keyed:])):
        producer = foreign_producer(settings, keying)  # type: ignore[arg-type]
        await producer.start()
        try:
            for event in part:
                key = event_key(event["external_subscription_id"])
                await producer.send(topic, encoded(event), key=key)
        finally:
            await producer.stop()


async def is_folded(worker: Worker, accepted: int) -> None:
    """Wait until so many events were taken, and nothing is being refolded."""

    async def taken() -> tuple[int, bool]:
        owned = worker.engine.owned.values()
        refolding = any(part.refold_queue.since_ms is not None for part in owned)
        return sum(part.state.index.length for part in owned), refolding

    await eventually(taken, (accepted, False))


async def is_stored(worker: Worker) -> None:
    """Wait until Redis has every member as it was counted last."""
    owned = worker.engine.owned.values()

    async def stored() -> list[bool]:
        states = [await part.shared.members.state(part.number) for part in owned]
        return [s.flush == part.commits.flush for s, part in zip(states, owned, strict=True)]

    for part in owned:
        await part.flush()
    await eventually(stored, [True] * len(owned))


async def folded_events(settings: Settings, worker: Worker, api: Api, count: int) -> list[Json]:
    """Define what is metered, send so many events, and wait until they are folded."""
    await define(api)
    events = some_events(count)
    await send(settings, events)
    await is_folded(worker, len(events))
    return events


async def run(worker: Worker, command: click.Command, *arguments: str) -> Result:
    """A command of the CLI, against the worker."""
    given = [*arguments, "--url", worker.url, "--key", KEY]
    result = await asyncio.to_thread(CliRunner().invoke, command, given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


async def verified(worker: Worker, *arguments: str) -> tuple[int, Json]:
    """Exit status and what `meter verify --json` says."""
    result = await run(worker, verify, "--json", *arguments)
    assert result.exit_code in (0, 1), result.output
    found: Json = json.loads(result.stdout)
    return result.exit_code, found


def a_cell(worker: Worker, name: str, code: str) -> Cell:
    """A live cell of a metric of a subscription, in its newest period."""
    meter_key = (LOCAL_ORGANIZATION_ID, name, code)
    for owned in worker.engine.owned.values():
        route = owned.state.routes.by_key.get(meter_key)
        for span in route.spans if route is not None else ():
            for layer in reversed(span.layers.values()):
                for cell in layer.cells.values():
                    if cell.state.events:
                        return cell
    raise AssertionError(f"{meter_key} has no cell here")


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
        explained = (await _explained(api, NAMES[5], code))["explanation"]
        assert explained["equal"], code
        ids = [event["transaction_id"] for event in explained["events"]]
        assert len(ids) == len(set(ids)), code
    for event in events[-5:]:
        arrivals = await _arrivals(
            api, event["transaction_id"], str(event["external_subscription_id"])
        )
        assert len(arrivals) == 1


async def _forward_again(worker: Worker, home: int) -> int:
    """Append a copy of each record of a partition of events-rekeyed; how many there are."""
    settings = worker.settings
    topic = TopicPartition(settings.topic(EVENTS_REKEYED), home)
    end = worker.engine.owned[home].state.checkpoint.rekeyed_next
    copied = 0
    async for records in scan(settings, topic, 0, end):
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
    """Whether every partition with subscriptions has published and settled a cut."""
    states = [part.state for part in worker.engine.owned.values()]
    return all(
        any(period.cells for period in state.published.periods.values())
        and all(p.cut_ms <= state.checkpoint.cut_ms for p in state.published.periods.values())
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
    assert (unknown.exit_code, unknown.stdout) == (3, told)

    # Somebody else writes to the topic: a record again, and one that follows from nothing.
    published = await records_of(live_settings, live_settings.usage_records_topic)
    record = next(
        r for r in published if json.loads(r.value)["external_subscription_id"] == NAMES[1]
    )
    producer = foreign_producer(live_settings)
    await producer.start()
    try:
        for identity in (dict(record.headers)["ce_id"], b"made-up"):
            headers = [(k, identity if k == "ce_id" else v) for k, v in record.headers]
            place = record.topic, record.value, record.key, record.partition
            await producer.send_and_wait(*place, headers=headers)
    finally:
        await producer.stop()
    status, found = await verified(worker)
    twice, surplus = found["differences"]
    assert (status, {twice["kind"], surplus["kind"]}) == (1, {"record"})
    assert twice["record_id"] == dict(record.headers)["ce_id"].decode()
    assert twice["live"]["first_place"] == f"{record.partition}:{record.offset}"
    assert (surplus["record_id"], surplus["external_subscription_id"]) == ("made-up", NAMES[1])
    said = await run(worker, verify, "--subscription", NAMES[1])
    assert "usage-records made-up at " in said.stdout.replace("\n", " ")


async def test_explain_computes_the_live_figures_of_every_type(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    events = await folded_events(live_settings, worker, api, 300)
    for code in METRICS:
        for name in NAMES[:2]:
            usage = await api.current_usage(CUSTOMER, name)
            (charge,) = (c for c in usage["charges_usage"] if c["billable_metric"]["code"] == code)
            answer = await _explained(api, name, code)
            explanation = answer["explanation"]
            assert explanation["equal"], explanation
            shown = sum(Decimal(cell["recomputed"]["units"]) for cell in explanation["cells"])
            assert shown == Decimal(charge["units"]), code
            counted = [e for e in explanation["events"] if e["status"] == "counted"]
            mine = [e for e in events if (e["external_subscription_id"], e["code"]) == (name, code)]
            start_ms = Months().starts_ms[2]
            if not METRICS[code].get("recurring"):
                mine = [e for e in mine if Decimal(e["timestamp"]) * 1000 >= start_ms]
            assert sorted(e["transaction_id"] for e in counted) == sorted(
                e["transaction_id"] for e in mine
            )
            assert answer["meta"]["total_count"] == len(explanation["events"])
            ExplanationAnswer.model_validate(answer)

    by_days = await _explained(api, NAMES[0], "traffic", "&per_event=true&breakdown=days")
    ExplanationAnswer.model_validate(by_days)
    for cell in by_days["explanation"]["cells"]:
        assert cell["per_event"] is None
        assert cell["breakdown"] is None
        units = sum(Decimal(day["value"]) for day in cell["days"])
        assert units == Decimal(cell["recomputed"]["units"])

    # Page by page it is the same list; the figures are of all events on every page.
    whole = await _explained(api, NAMES[0], "stored")
    parts = [await _explained(api, NAMES[0], "stored", f"&per_page=3&page={p}") for p in (1, 2, 3)]
    listed = [e for part in parts for e in part["explanation"]["events"]]
    assert listed == whole["explanation"]["events"][:9]
    assert all(p["explanation"]["cells"] == whole["explanation"]["cells"] for p in parts)

    told = await run(worker, explain, NAMES[0], "traffic", "-o", "table")
    assert told.exit_code == 0, told.output
    assert "equal" in told.stdout
    cell = a_cell(worker, NAMES[0], "traffic")
    cell.state.digest ^= 1
    told = await run(worker, explain, NAMES[0], "traffic", "--customer", CUSTOMER)
    assert told.exit_code == 1, told.output


async def _explained(api: Api, name: str, code: str, more: str = "") -> Json:
    path = (
        f"/customers/{CUSTOMER}/usage/explain?external_subscription_id={name}"
        f"&billable_metric_code={code}{more}"
    )
    status, answer = await api.call("GET", path)
    assert status == 200, answer
    return answer


async def test_explain_of_a_closed_period_shows_what_is_published(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    await folded_events(live_settings, worker, api, 120)
    at = Months().named(1)

    async def is_published() -> bool:
        answer = await _explained(api, NAMES[0], "calls", f"&at={at}")
        cells = answer["explanation"]["cells"]
        return bool(cells) and all(
            cell["published"] is not None
            and cell["published"]["digest"] == cell["live"]["digest"]
            and cell["equal"]
            for cell in cells
        )

    await eventually(is_published, True)


@pytest.mark.parametrize(
    ("query", "status", "where"),
    [
        ("external_subscription_id=sub-0", 422, "billable_metric_code"),
        ("billable_metric_code=calls", 422, "external_subscription_id"),
        ("external_subscription_id=sub-0&billable_metric_code=calls&at=never", 422, "at"),
        ("external_subscription_id=nobody&billable_metric_code=calls", 404, "subscription"),
        (
            "external_subscription_id=sub-0&billable_metric_code=calls&at=2000-01-01",
            404,
            "usage_period",
        ),
    ],
)
async def test_explain_refuses(
    worker: Worker, api: Api, query: str, status: int, where: str
) -> None:
    await define(api)
    got, answer = await api.call("GET", f"/customers/{CUSTOMER}/usage/explain?{query}")
    assert got == status
    assert where in json.dumps(answer)


async def test_trace_says_what_became_of_an_event_and_why(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    await define(api)
    now = f"{Months().now_ms // 1000}"
    sub, long_ago = NAMES[0], "946684800"
    sent = [
        raw_event(sub, "counts", "traffic", now, gb="2.5", region="eu"),
        raw_event(sub, "counts", "traffic", now, gb="2.5", region="eu"),
        raw_event(sub, "counts", "traffic", now, gb="3", region="eu"),
        raw_event(sub, "no-number", "traffic", now, gb="much"),
        raw_event(sub, "no-property", "traffic", now),
        raw_event(sub, "too-long", "traffic", now, gb="1" * 60),
        raw_event(sub, "unknown-code", "nothing", now),
        raw_event("nobody", "unknown-subscription", "calls", now),
        raw_event(sub, "before-all", "calls", long_ago),
        raw_event(sub, "odd", "users", now, user="u", operation_type="maybe"),
        raw_event(sub, "out-of-range", "calls", "9999999999"),
    ]
    await send_one_by_one(live_settings, sent)
    await is_folded(worker, 8)

    (first, again, other) = await _arrivals(api, "counts", sub)
    assert (first["status"], first["reason"]) == ("counted", None)
    (charge,) = first["charges"]
    assert (charge["counted"], charge["value"]) == (True, "2.5")
    assert charge["filters"] == {"region": ["eu"]}
    assert charge["period"]["from"].startswith(Months().named(2)[:10])
    assert (again["status"], again["reason"]) == ("duplicate", "identical")
    assert again["duplicate_of"] == first["position"]
    assert (other["status"], other["reason"]) == ("duplicate", "conflicting")

    expected = {
        "no-number": ("ignored", "not_numeric"),
        "no-property": ("ignored", "missing_property"),
        "too-long": ("ignored", "invalid_value"),
        "unknown-code": ("ignored", "unknown_code"),
        "before-all": ("ignored", "outside_periods"),
        "odd": ("ignored", "unknown_operation_type"),
        "out-of-range": ("refused", "timestamp_out_of_range"),
    }
    for transaction_id, wanted in expected.items():
        (found,) = await _arrivals(api, transaction_id, sub)
        assert (found["status"], found["reason"]) == wanted, transaction_id
    (found,) = await _arrivals(api, "unknown-subscription")
    assert (found["status"], found["reason"]) == ("ignored", "unknown_subscription")
    status, _ = await api.call("GET", "/events/never-sent/trace")
    assert status == 404


async def test_corrected_events_are_traced_and_proved(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    await define(api)
    now, sub = f"{Months().now_ms // 1000}", NAMES[0]
    await send_one_by_one(
        live_settings,
        [raw_event(sub, f"c{number}", "traffic", now, gb=f"{number}") for number in range(1, 4)],
    )
    await is_folded(worker, 3)
    amended = {
        "transaction_id": "c2",
        "external_subscription_id": sub,
        "code": "traffic",
        "timestamp": now,
        "properties": {"gb": "20"},
    }
    for correction in (
        {"transaction_id": "c1", "operation": "cancel"},
        {"transaction_id": "c2", "operation": "amend", "event": amended},
    ):
        body = {"external_subscription_id": sub, **correction}
        await api.post("/events/corrections", {"correction": body})

    async def shown() -> bool:
        # A refold of the first correction may count the second, too: the next one makes it so.
        usage = await api.current_usage(CUSTOMER, sub)
        return (await api.units(CUSTOMER, sub)).get("traffic") == 23 and not usage["stale"]

    await eventually(shown, True)
    (cancelled,) = await _arrivals(api, "c1", sub)
    assert (cancelled["status"], cancelled["charges"]) == ("cancelled", [])
    (counted,) = await _arrivals(api, "c2", sub)
    assert (counted["status"], counted["amended"]) == ("counted", True)
    assert counted["charges"][0]["value"] == "20.0"
    explanation = (await _explained(api, sub, "traffic"))["explanation"]
    assert explanation["equal"]
    assert explanation["counts"] == {"cancelled": 1, "counted": 2}
    assert (await verified(worker))[0] == 0

    for owned in worker.engine.owned.values():
        owned.state.corrections._seen.clear()
    status, found = await verified(worker)
    lost = [(d["kind"], d["refolded"]["transaction_id"]) for d in found["differences"]]
    assert (status, sorted(lost)) == (1, [("correction", "c1"), ("correction", "c2")])
    said = (await run(worker, verify, "--subscription", sub)).stdout.replace("\n", " ")
    assert said.count("was never taken") == 2


async def send_one_by_one(settings: Settings, events: Sequence[Json]) -> None:
    """Each acknowledged before the next, so that their order is known."""
    producer = foreign_producer(settings)
    await producer.start()
    try:
        for event in events:
            key = event_key(event["external_subscription_id"])
            await producer.send_and_wait(
                settings.topic(settings.raw_topic), encoded(event), key=key
            )
    finally:
        await producer.stop()


async def _arrivals(api: Api, transaction_id: str, subscription: str | None = None) -> list[Json]:
    query = "" if subscription is None else f"?external_subscription_id={subscription}"
    status, answer = await api.call("GET", f"/events/{transaction_id}/trace{query}")
    assert status == 200, (transaction_id, answer)
    TraceAnswer.model_validate(answer)
    arrivals: list[Json] = answer["trace"]["arrivals"]
    return arrivals


async def test_series_add_up_to_the_usage(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    events = await folded_events(live_settings, worker, api, 300)
    months = Months()
    since = months.named(2)
    usage = await api.current_usage(CUSTOMER, NAMES[0])
    figures = {c["billable_metric"]["code"]: c for c in usage["charges_usage"]}
    by_day = await _series(api, "calls", f"&window=day&timezone=Europe/Paris&from={since}")
    by_hour = await _series(api, "calls", f"&window=hour&from={since}")
    for series in (by_day, by_hour):
        total = sum(value["events_count"] for value in series)
        extra = _counted_before(events, series[0]["from"], months.starts_ms[2])
        assert total == figures["calls"]["events_count"] + extra
    (traffic,) = await _series(api, "traffic", f"&window=month&from={since}")
    assert traffic["units"] == figures["traffic"]["units"]
    (users,) = await _series(api, "users", f"&window=month&from={since}")
    assert users["units"] == figures["users"]["units"]


def _counted_before(events: Sequence[Json], first: str, month_ms: int) -> int:
    """Calls between the start of the first window and that of the month: the day began earlier."""
    since_ms = parse_iso8601_ms(first) or 0
    return sum(
        since_ms <= Decimal(event["timestamp"]) * 1000 < month_ms
        for event in events
        if (event["external_subscription_id"], event["code"]) == (NAMES[0], "calls")
    )


async def _series(api: Api, code: str, more: str) -> list[Json]:
    path = (
        f"/customers/{CUSTOMER}/usage/series?external_subscription_id={NAMES[0]}"
        f"&billable_metric_code={code}{more}"
    )
    status, answer = await api.call("GET", path)
    assert status == 200, answer
    UsageSeriesAnswer.model_validate(answer)
    (charge,) = answer["usage_series"]["charges"]
    values: list[Json] = charge["values"]
    return values


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("window=year", "window"),
        ("window=minute&from=2020-01-01&to=2020-02-01", "window"),
        ("timezone=Mars/Olympus", "timezone"),
        ("from=yesterday", "from"),
        ("from=2020-02-01&to=2020-01-01", "from"),
    ],
)
async def test_series_refuse(worker: Worker, api: Api, query: str, field: str) -> None:
    await define(api)
    named = f"external_subscription_id={NAMES[0]}&billable_metric_code=calls"
    status, answer = await api.call("GET", f"/customers/{CUSTOMER}/usage/series?{named}&{query}")
    assert status == 422
    assert list(answer["error_details"]) == [field]


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
