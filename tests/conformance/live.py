"""Aggregation vectors on real servers: definitions by REST, events by both, usage and records out.

Every other vector sends its events by Kafka, the rest by REST. All of them run in one worker, each
in an organization of its own. Their steps are taken in the order of time, so that years pass once.
Nothing waits for a period to close: records are a function of the logs, however far the clock has
moved on by the time they are made.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import ClientSession
from aiokafka import TopicPartition

from app.billing_periods.instants import iso_seconds
from app.kafka.clients import Consumer, Producer, started
from app.main import Worker
from app.settings import Settings
from app.wire.instant_records import INSTANT_TYPES
from app.wire.keys import home_partition, message_key
from tests.conformance.comparison import Comparison, Difference
from tests.conformance.directory import FileOutcome, Outcome, is_api_file
from tests.conformance.figures import CellFigures
from tests.conformance.files import Json, read_vectors
from tests.conformance.live_api import check_api_live
from tests.conformance.live_figures import (
    RECORD_NAMES,
    compared,
    record_cells,
    usage_cells,
    usage_names,
)
from tests.conformance.live_requests import (
    CUSTOMER,
    customer_body,
    event_body,
    metric_body,
    plan_body,
    raw_record,
    subscription_body,
    takes_by_rest,
)
from tests.conformance.live_script import Reading, Script, Step, script_of
from tests.conformance.live_worker import (
    Client,
    Servers,
    VectorClock,
    api_key,
    own_servers,
    vector_worker,
)
from tests.conformance.scenario import CannotRun, arrivals, charge_of, external_id

_DAY_MS = 86_400_000
_FOLD_TIMEOUT_S = 60.0
_CLOSE_TIMEOUT_S = 120.0
_MOST_PERIODS = 1000
_AT_ONCE = 8
"""Vectors whose steps of one instant are taken together."""


def check_live(paths: Iterable[Path]) -> list[FileOutcome]:
    """Run the aggregation and API vectors among these files, on servers started for them."""
    return asyncio.run(_check_live(list(paths)))


async def _check_live(paths: Sequence[Path]) -> list[FileOutcome]:
    with tempfile.TemporaryDirectory(prefix="meter-vectors-") as name:
        directory = Path(name)
        async with own_servers(directory) as servers:
            aggregation = [path for path in paths if path.parent.name == "aggregation"]
            checked = await check_aggregations_live(aggregation, servers, directory)
            for path in paths:
                if is_api_file(path):
                    checked.append(await check_api_live(path, servers, directory))
            return checked


async def check_aggregations_live(
    paths: Sequence[Path], servers: Servers, directory: Path
) -> list[FileOutcome]:
    """Run aggregation files in one worker; each outcome in its file's order."""
    files = {path: _scripts(path) for path in paths}
    runs = [each for of_file in files.values() for each in of_file if isinstance(each, _Run)]
    if runs:
        await _run(runs, servers, directory)
    return [
        FileOutcome(f"live {path.parent.name}/{path.name}", [_outcome(each) for each in of_file])
        for path, of_file in files.items()
    ]


def _outcome(ran: _Run | Outcome) -> Outcome:
    return ran if isinstance(ran, Outcome) else Outcome(ran.script.vector.id, ran.differences)


def _scripts(path: Path) -> list[_Run | Outcome]:
    entries: list[_Run | Outcome] = []
    for vector in read_vectors(path):
        try:
            number = len(entries)
            by_rest = number % 2 == 1 and takes_by_rest(vector.json)
            script = script_of(vector)
            entries.append(_Run(script, f"{path.stem}-{number}", by_rest=by_rest))
        except CannotRun as error:
            entries.append(Outcome(vector.id, [], str(error)))
        except Exception as error:
            entries.append(Outcome(vector.id, [_broken("vector", error)]))
    return entries


def _broken(field: str, error: Exception) -> Difference:
    """What breaks one vector must not hide those after it."""
    return Difference(field, "one that succeeds", f"{type(error).__name__}: {error}")


class _Run:
    """One vector on its way."""

    def __init__(self, script: Script, organization_id: str, *, by_rest: bool):
        vector = script.vector.json
        self.script = script
        self.organization_id = organization_id
        self.external_ids = list(
            dict.fromkeys((external_id(vector), *(r.external_id for r in script.readings)))
        )
        self.differences: list[Difference] = []
        self.charge = charge_of(vector)
        self.unique = vector["metric"]["aggregation_type"] == "unique_count_agg"
        self.compare = Comparison(vector.get("compare") or {})
        self.filter_ids: list[str] = []
        self.subscription_ids: dict[str, str] = {}
        """By external id."""
        paid = self.charge.pay_in_advance
        self.in_advance = paid and vector.get("mode") == "current_usage"
        """Whether its units are those of usage, which tell what was billed at once too."""
        self.by_rest = by_rest
        self.timestamps_ms = [event.timestamp_ms for event in arrivals(script.vector)]
        self.position = ""
        """`partition:offset` of the newest event."""
        self.stopped = False

    @property
    def key(self) -> str:
        """The API key of the organization."""
        return f"key-{self.organization_id}"


class _Tools(NamedTuple):
    worker: Worker
    clock: VectorClock
    session: ClientSession
    producer: Producer

    def client(self, run: _Run) -> Client:
        """The API as the vector's organization."""
        return Client(self.session, self.worker.url, run.key)


async def _run(runs: Sequence[_Run], servers: Servers, directory: Path) -> None:
    order = sorted(
        ((step, run) for run in runs for step in run.script.steps), key=lambda each: each[0].at_ms
    )
    clock = VectorClock(order[0][0].at_ms)
    keys = [api_key(run.organization_id, run.key) for run in runs]
    async with vector_worker(servers, directory, keys, clock) as worker:
        producer = Producer(acks="all", **worker.settings.kafka_options())
        async with ClientSession() as session, started(producer):
            tools = _Tools(worker, clock, session, producer)
            for at_ms, together in groupby(order, key=lambda each: each[0].at_ms):
                clock.jump(at_ms)
                await _steps(tools, together)
            clock.advance(_DAY_MS)
            await _everything_is_closed(worker, clock.now_ms())
            await _steps(tools, ((Step(clock.now_ms(), "look back"), run) for run in runs))
        records = await _newest_records(worker.settings)
    for run in runs:
        if not run.stopped:
            _compare_published(run, records)


async def _steps(tools: _Tools, steps: Iterable[tuple[Step, _Run]]) -> None:
    """Take the steps of one instant: those of one vector in order, some vectors at a time."""
    of_runs: dict[_Run, list[Step]] = {}
    for step, run in steps:
        of_runs.setdefault(run, []).append(step)

    async def take(run: _Run) -> None:
        for step in of_runs[run]:
            await _step(tools, run, step)

    runs = list(of_runs)
    for first in range(0, len(runs), _AT_ONCE):
        await asyncio.gather(*map(take, runs[first : first + _AT_ONCE]))


async def _step(tools: _Tools, run: _Run, step: Step) -> None:
    if run.stopped:
        return
    try:
        if step.what == "define":
            await _define(tools.client(run), run)
        elif step.what == "event":
            await _send(tools, run, step)
        elif step.what == "read":
            await _read(tools.client(run), run, run.script.readings[step.number])
        elif step.what == "terminate":
            for named in run.external_ids:
                await tools.client(run).call("DELETE", f"/subscriptions/{named}")
        else:
            await _look_back(tools.client(run), run)
    except Exception as error:
        run.differences.append(_broken(step.what, error))
        run.stopped = True


async def _define(client: Client, run: _Run) -> None:
    vector, plan = run.script.vector.json, run.script.plan
    metric = await client.call("POST", "/billable_metrics", metric_body(vector))
    metric_id = metric["billable_metric"]["lago_id"]
    made = await client.call("POST", "/plans", plan_body(vector, plan, metric_id))
    run.filter_ids = [f["lago_id"] for f in made["plan"]["charges"][0]["filters"]]
    await client.call("POST", "/customers", customer_body(plan))
    for named in run.external_ids:
        subscribed = await client.call("POST", "/subscriptions", subscription_body(named, plan))
        run.subscription_ids[named] = subscribed["subscription"]["lago_id"]


async def _send(tools: _Tools, run: _Run, step: Step) -> None:
    if run.by_rest:
        body = event_body(run.script.vector, step.number, run.timestamps_ms[step.number])
        run.position = await tools.client(run).produce(body)
        return
    settings = tools.worker.settings
    event = run.script.vector.json["events"][step.number]
    named = event.get("external_subscription_id", run.external_ids[0])
    key = message_key(run.organization_id, named)
    partition = home_partition(key, settings.raw_partitions, settings.home_partitioner)
    sent = await tools.producer.send_and_wait(
        settings.topic(settings.raw_topic),
        raw_record(run.script.vector, step.number, run.organization_id),
        key=key,
        partition=partition,
        timestamp_ms=step.at_ms,
    )
    run.position = f"{partition}:{sent.offset}"


async def _read(client: Client, run: _Run, reading: Reading) -> None:
    if not reading.in_usage:
        return
    path = f"/customers/{CUSTOMER}/current_usage?external_subscription_id={reading.external_id}"
    if run.position:
        path += f"&wait_for={run.position}"
    usage = (await asyncio.wait_for(_settled(client, path), _FOLD_TIMEOUT_S))["customer_usage"]
    place = f"{reading.place}usage "
    shown = {"from_datetime": reading.period.start_ms, "to_datetime": reading.period.end_ms - 1000}
    if run.script.plan.terminated_at_ms is not None:
        del shown["to_datetime"]
    for name, at_ms in shown.items():
        if usage[name] != iso_seconds(at_ms):
            run.differences.append(Difference(place + name, iso_seconds(at_ms), usage[name]))
    charge_usage = usage["charges_usage"][0]
    names = usage_names(run.charge, unique=run.unique)
    cells = usage_cells(charge_usage, run.charge, names, in_advance=run.in_advance)
    _compare(run, reading, cells, names, "usage ")


async def _look_back(client: Client, run: _Run) -> None:
    """Past usage of every period that the vector is about."""
    for reading in run.script.readings:
        if not reading.in_records:
            continue
        path = f"/customers/{CUSTOMER}/past_usage?external_subscription_id={reading.external_id}"
        periods = (await client.call("GET", f"{path}&per_page={_MOST_PERIODS}"))["usage_periods"]
        by_start = {period["from_datetime"]: period["charges_usage"] for period in periods}
        # Nothing was used where no charge is shown.
        (charge_usage,) = by_start[iso_seconds(reading.period.start_ms)] or (None,)
        names = _billed(run, usage_names(run.charge, unique=run.unique))
        cells = [] if charge_usage is None else usage_cells(charge_usage, run.charge, names)
        _compare(run, reading, cells, names, "past usage ")


def _billed(run: _Run, names: Sequence[str]) -> Sequence[str]:
    """Return the numbers of a period that is over; what it billed at once is not among them."""
    return [name for name in names if not (run.in_advance and name == "units")]


def _compare(
    run: _Run, reading: Reading, cells: Sequence[CellFigures], names: Sequence[str], of: str
) -> None:
    place = reading.place + of
    run.differences += compared(reading.expect, cells, names, run.charge, run.compare, place)


async def _settled(client: Client, path: str) -> Any:
    """Usage that no refold is about to change."""
    while True:
        answer = await client.call("GET", path)
        if not answer["customer_usage"]["stale"]:
            return answer
        await asyncio.sleep(0.05)


async def _everything_is_closed(worker: Worker, until_ms: int) -> None:
    async def closed() -> None:
        while any(o.cuts.schedule.next_ms() <= until_ms for o in worker.engine.owned.values()):
            if worker.engine.failure is not None:
                raise worker.engine.failure
            await asyncio.sleep(0.05)

    await asyncio.wait_for(closed(), _CLOSE_TIMEOUT_S)
    for owned in worker.engine.owned.values():
        await owned.flush()


Records = dict[str, dict[str, dict[str, Json]]]
"""Newest records by subscription, start of the period and cell."""


async def _newest_records(settings: Settings) -> Records:
    topic = settings.topic(settings.usage_records_topic)
    partitions = [TopicPartition(topic, number) for number in range(settings.raw_partitions)]
    reader = Consumer(
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        **settings.kafka_options(),
    )
    newest: Records = {}
    async with started(reader) as consumer:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                for message in batch:
                    record = json.loads(message.value)
                    if record["type"] in INSTANT_TYPES:
                        continue
                    of = newest.setdefault(record["lago_subscription_id"], {})
                    of.setdefault(record["period"]["from"], {})[record["cell_id"]] = record
    return newest


def _compare_published(run: _Run, records: Records) -> None:
    for reading in run.script.readings:
        if not reading.in_records:
            continue
        place = f"{reading.place}records "
        newest = records.get(run.subscription_ids[reading.external_id], {})
        found = newest.get(iso_seconds(reading.period.start_ms), {}).values()
        complete = [record for record in found if record["type"] == "period.completed"]
        cells = [record for record in found if record["type"] != "period.completed"]
        if not complete:
            run.differences.append(Difference(place, "a period.completed", "none"))
            continue
        if complete[0]["records_count"] != len(cells):
            told = str(complete[0]["records_count"])
            run.differences.append(Difference(f"{place}records_count", str(len(cells)), told))
        published = record_cells(cells, run.charge, run.filter_ids, unique=run.unique)
        _compare(run, reading, published, _billed(run, RECORD_NAMES), "records ")
