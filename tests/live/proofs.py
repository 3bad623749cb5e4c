"""What proofs are asked about: six metrics of six types, their events, and how to ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import click
from click.testing import CliRunner, Result

from app.api.schemas.proofs import TraceAnswer
from app.cli.verify import verify
from app.main import Worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from tables.cells.cell import Cell
from tests.world import bodies
from tests.world.live.api import KEY, Api, Json
from tests.world.live.producer import encoded, event_key, foreign_producer, raw_event
from tests.world.live.world import Months
from tests.world.waiting import eventually

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
    "stored": {
        "aggregation_type": "weighted_sum_agg",
        "weighted_interval": "seconds",
        "field_name": "gb",
        "recurring": True,
    },
}


async def define(api: Api) -> None:
    """Six metrics of six types on one plan, with groups and a filter; a few subscriptions."""
    charges = []
    for code, metric in METRICS.items():
        await api.make_metric(code, **metric)
        charge = {**bodies.charge(code), "code": code}
        if code == "calls":
            charge["properties"]["pricing_group_keys"] = ["zone"]
        if code == "traffic":
            charge["filters"] = [{"values": {"region": ["eu"]}, "properties": {"amount": "2"}}]
        charges.append(charge)
    await api.make_plan("plan", charges)
    for name in NAMES:
        since = {"billing_time": "calendar", "subscription_at": Months().named(0)}
        await api.subscribe(name, "plan", CUSTOMER, **since)


def some_events(count: int) -> list[Json]:
    """Events of every metric, a third in each of three months, each subscription in turn.

    The last month may have begun a moment ago.
    """
    months, made = Months(), list[Json]()
    for number in range(count):
        code = list(METRICS)[number % len(METRICS)]
        month, of_month = divmod(3 * number, count)
        begins_ms, ends_ms = months.starts_ms[month : month + 2]
        lasts_ms = max(0, min(ends_ms, months.now_ms - 1_000) - begins_ms)
        at_ms = begins_ms + lasts_ms * of_month // count
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
        async with foreign_producer(settings, keying) as producer:  # type: ignore[arg-type]
            for event in part:
                key = event_key(event["external_subscription_id"])
                await producer.send(topic, encoded(event), key=key)


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


async def explained_of(api: Api, name: str, code: str, more: str = "") -> Json:
    """The answer of explain for a metric of a subscription."""
    path = (
        f"/customers/{CUSTOMER}/usage/explain?external_subscription_id={name}"
        f"&billable_metric_code={code}{more}"
    )
    status, answer = await api.call("GET", path)
    assert status == 200, answer
    return answer


async def arrivals_of(api: Api, transaction_id: str, subscription: str | None = None) -> list[Json]:
    """What trace says of each arrival of an event."""
    query = "" if subscription is None else f"?external_subscription_id={subscription}"
    status, answer = await api.call("GET", f"/events/{transaction_id}/trace{query}")
    assert status == 200, (transaction_id, answer)
    TraceAnswer.model_validate(answer)
    arrivals: list[Json] = answer["trace"]["arrivals"]
    return arrivals
