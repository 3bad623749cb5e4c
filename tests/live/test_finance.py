"""Finance's way: what was published, what changed since, and which events made the difference."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pyarrow import Table, parquet

from app.cli.main import cli
from app.main import Worker
from app.wire.record_rows import COLUMNS, INSTANTS
from tests.live.installed import INSTALLED, ROOT, NotInstalled, cells_of, install, run
from tests.world import bodies
from tests.world.live.api import Api, Json
from tests.world.live.consumer import records_of
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

DAY_S = 86_400
DUCKDB = "duckdb==2.0.0"
NOTEBOOK = ROOT / "docs" / "examples" / "notebook.ipynb"
Meter = Callable[..., Awaitable[Result]]


@pytest.fixture
def meter(worker: Worker) -> Meter:
    """The command line against the worker."""

    settings = worker.settings
    environment = {
        "METER_PROFILE": "test",
        "METER_HTTP_PORT": str(settings.http_port),
        "METER_KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "METER_TOPIC_PREFIX": settings.topic_prefix,
        "METER_RAW_PARTITIONS": str(settings.raw_partitions),
    }

    async def run(*words: str) -> Result:
        runner = CliRunner(env=environment)
        return await asyncio.to_thread(runner.invoke, cli, [*words])

    return run


async def define(api: Api) -> None:
    """Traffic by region, and a plan with a charge of it."""
    regions = [{"key": "region", "values": ["eu", "us"]}]
    await api.make_metric("traffic", "sum_agg", field_name="gb", filters=regions)
    filters = [{"properties": {"amount": "0"}, "values": {"region": ["eu"]}}]
    zones = {"pricing_group_keys": ["zone"]}
    await api.make_plan("plan", [bodies.charge("traffic", properties=zones, filters=filters)])


async def subscribe(api: Api) -> None:
    """Two subscriptions since two months ago: their ended period closes at once."""
    started = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - 61 * DAY_S))
    for name in ("s", "other"):
        since = {"billing_time": "anniversary", "subscription_at": started}
        await api.subscribe(name, "plan", name, **since)


async def send(api: Api, name: str, transaction_id: str, days: int, **properties: Any) -> None:
    """Send an event of so many days ago."""
    at_s = int(time.time()) - days * DAY_S
    await api.send(name, transaction_id, "traffic", at_s, **properties)


async def on_topic(worker: Worker) -> list[bytes]:
    """Return every usage record, in the order of the topic."""
    return [record.value for record in await records_of(worker.settings, "usage-records")]


def newest(values: list[bytes]) -> set[bytes]:
    """Return the newest record of each cell."""
    by_cell: dict[str, bytes] = {}
    for value in values:
        record = json.loads(value)
        if record["type"] != "period.completed":
            by_cell[record["cell_id"]] = value
    return set(by_cell.values())


async def test_finance(worker: Worker, api: Api, meter: Meter, tmp_path: Path) -> None:
    await define(api)
    for name in ("s", "other"):
        for number, region in enumerate(("eu", "us", "us")):
            await send(api, name, f"t{number}", 50, region=region, gb="1.50", zone=f"z{number}")
    # What came before is in time.
    await subscribe(api)

    async def lines(*words: str) -> list[bytes]:
        answer = await meter("records", *words, "-o", "jsonl")
        # "Not now" is no failure: what the table has goes out with the next flush.
        assert answer.exit_code == 0 or "answered 503" in answer.stderr, answer.output
        return answer.stdout_bytes.splitlines()

    async def same() -> bool:
        values = await on_topic(worker)
        found = await lines()
        return len(found) == 6 and len(found) == len(set(found)) and set(found) == newest(values)

    await eventually(same, True)
    await send(api, "s", "late", 50, region="us", gb="0.5", zone="z1")

    async def units() -> list[str]:
        return [json.loads(line)["units"] for line in await lines("s", "--type", "usage.revised")]

    await eventually(units, ["2.0"])
    await eventually(same, True)

    async def whole() -> bool:
        # A cut may be seen half published.
        values = await on_topic(worker)
        of_one = {value for value in values if b'"external_subscription_id":"s"' in value}
        return set(await lines("s", "--all-revisions")) == of_one and (
            set(await lines("--all-revisions")) == set(values)
        )

    await eventually(whole, True)
    await of_cells(api, meter)
    await of_events(api, meter)
    await of_a_statement(meter, tmp_path)
    await sent_to_kafka(meter, tmp_path / "events.jsonl")
    await in_a_notebook(meter, tmp_path)


async def sent_to_kafka(meter: Meter, file: Path) -> None:
    """A file may go to the raw topic itself; what became of each event is told all the same."""
    names = {"external_subscription_id": "s", "code": "traffic"}
    events = [{**names, "transaction_id": f"k{n}", "properties": {"gb": "1"}} for n in range(150)]
    events.append({**names, "transaction_id": "none", "code": "unheard-of"})
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    answer = await meter("send", str(file), "--kafka", "--wait", "30")
    assert answer.exit_code == 1, answer.output
    assert answer.stdout == "151 sent: 150 counted, 1 not counted (unknown_code 1)\n"

    async def of_today() -> list[str]:
        shown = await meter("series", "s", "traffic", "--window", "month", "-o", "csv")
        *_, last = csv.DictReader(shown.stdout.splitlines())
        return [last["units"], last["events_count"]]

    await eventually(of_today, ["150.0", "150"])


async def write_parquet(file: Path, meter: Meter, *words: str) -> None:
    """Write what a command prints, once it finds nothing that differs."""

    async def code() -> int:
        answer = await meter(*words, "-o", "parquet")
        file.write_bytes(answer.stdout_bytes)
        return answer.exit_code

    await eventually(code, 0)


async def in_a_notebook(meter: Meter, directory: Path) -> None:
    """The example reads what the two commands wrote. It comes last, as it may be skipped."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 50 * DAY_S))
    await write_parquet(directory / "records.parquet", meter, "records", "--all-revisions")
    await write_parquet(directory / "events.parquet", meter, "explain", "s", "traffic", "--at", at)
    top, revisions, compared = await notebook(directory)
    assert [row[1] for row in top] == ["s", "other"]
    assert {row[6] for row in revisions} == {"late_events", "correction"}
    assert [row[1:] for row in compared] == [
        ["zone=z1", "1.500000000000", "1.500000000000", True],
        ["zone=z2", "2.500000000000", "2.500000000000", True],
        ["", "1.500000000000", "1.500000000000", True],
    ]


async def notebook(directory: Path) -> list[list[list[Any]]]:
    """Return the rows of its three tables, made of the two files in a directory."""
    packages = INSTALLED / "python"
    try:
        if not (packages / "duckdb").exists():
            pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
            await install(DUCKDB, *pip, "--target", str(packages))
    except NotInstalled as error:
        pytest.skip(f"the notebook was not run: {error}")
    told = "for each in (top, revisions, compared): print(json.dumps(each.fetchall(), default=str))"
    script = "\n".join(["import json", *cells_of(NOTEBOOK), told])
    environment = {"PYTHONPATH": str(packages), "SUBSCRIPTION": "s"}
    there = ("env", "-C", str(directory))
    printed = await run(*there, sys.executable, "-c", script, **environment)
    return [json.loads(line) for line in printed.splitlines()[-3:]]


def row(cell: str, **said: str) -> dict[str, str]:
    """A record of one customer as a row."""
    usual = {"type": "usage.recorded", "external_customer_id": "c", "billable_metric_code": "m"}
    figures = {"cell_id": cell, "revision": "0", "units": "10.0", "billing": "arrears"}
    return {**dict.fromkeys(COLUMNS, ""), "charge_model": "standard", **usual, **figures, **said}


async def test_a_notebook_bills_by_the_rules_of_a_consumer(tmp_path: Path) -> None:
    """As `to_bill`: prorated where the charge is, nothing of what was paid before."""
    revised = {"type": "usage.revised", "revision": "1", "revision_reason": "late_events"}
    instant = {"type": "usage.instant", "billing": "", "units": "3.0"}
    rows = [
        row("prorated", prorated_units="5.0"),
        row("prorated", units="12.0", prorated_units="6.5", **revised),
        row("paid", billing="none"),
        row("paid", instant_id="first", **instant),
        row("paid", instant_id="second", **instant),
        row("dynamic", charge_model="dynamic"),
        row("", type="period.completed", units="", charge_model="", billing=""),
    ]
    days = {name: datetime(2026, 10, 1, tzinfo=UTC) for name in INSTANTS}
    parquet.write_table(
        Table.from_pylist([one | days for one in rows]), tmp_path / "records.parquet"
    )
    event = {"code": "", "charge_code": "", "filters": "", "grouped_by": "", "value": "1"}
    event |= {"status": "ignored", "revision": ""}
    parquet.write_table(
        Table.from_pylist([event | days | {"timestamp": None}]), tmp_path / "events.parquet"
    )
    top, revisions, _ = await notebook(tmp_path)
    assert top == [["m", "c", "12.500000000000"]]
    assert [one[-1] for one in revisions] == ["1.500"]


async def of_a_statement(meter: Meter, directory: Path) -> None:
    """The same figure gives the same file, and whoever gets it proves it without a server."""
    month = time.strftime("%Y-%m", time.gmtime(time.time() - 61 * DAY_S))
    files = [directory / "first.zip", directory / "second.zip"]
    for file in files:
        answer = await meter("statement", "s", "traffic", "--period", month, "-o", str(file))
        assert answer.exit_code == 0, answer.output
    assert files[0].read_bytes() == files[1].read_bytes()
    checked = await meter("statement", "check", str(files[0]))
    assert checked.exit_code == 0, checked.output
    none = await meter("statement", "s", "nothing", "--period", month, "-o", str(files[0]))
    assert none.exit_code == 4


async def of_events(api: Api, meter: Meter) -> None:
    """Each event says in which revision it is; asked since one, only what differs is listed."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 50 * DAY_S))

    async def told(*words: str) -> list[tuple[str, ...]]:
        answer = await meter("explain", "s", "traffic", "--at", at, *words)
        # A correction may be on its way to the cells (1), or a partition not to be asked now (3).
        assert answer.exit_code in (0, 1, 3), answer.output
        names = ("transaction_id", "status", "change", "revision", "grouped_by")
        return [tuple(row[name] for name in names) for row in rows_of(answer)]

    in_time = [
        ("t0", "counted", "", "0", ""),
        ("t1", "counted", "", "0", "zone=z1"),
        ("t2", "counted", "", "0", "zone=z2"),
    ]
    await eventually(told, [*in_time, ("late", "counted", "", "1", "zone=z1")])
    late = [("late", "counted", "late", "1", "zone=z1")]
    await eventually(lambda: told("--since-revision", "0"), late)
    await eventually(lambda: told("--since-revision", "1"), [])
    none = await meter("explain", "s", "traffic", "--at", at, "--since-revision", "7")
    assert none.exit_code == 3
    assert "422" in none.stderr

    async def revised() -> list[tuple[str, ...]]:
        found = await told("--since-revision", "1")
        return [(row[0], row[1], row[2]) for row in found]

    await cancel(api, "t1")
    await eventually(revised, [("t1", "cancelled", "corrected")])
    await amend(api, "t2", "2.5")
    await eventually(revised, [("t1", "cancelled", "corrected"), ("t2", "counted", "corrected")])

    # Two revisions more of z1: which one has which event is read from the topic.
    await eventually(lambda: revision_of(meter, "zone=z1"), 2)
    await send(api, "s", "later", 50, region="us", gb="1", zone="z1")
    await eventually(lambda: revision_of(meter, "zone=z1"), 3)

    async def shown_by() -> dict[str, str]:
        return {row[0]: row[3] for row in await told() if row[1] == "counted"}

    await eventually(shown_by, {"t0": "0", "t2": "1", "late": "1", "later": "3"})

    async def differing() -> list[str]:
        return [row[0] for row in await told("--since-revision", "2") if row[2] == "late"]

    await eventually(differing, ["later"])


async def revision_of(meter: Meter, group: str) -> int:
    """Return the newest revision of a group of October's traffic."""
    answer = await meter("records", "s", "-o", "tsv")
    found = [int(row["revision"]) for row in rows_of(answer) if row["grouped_by"] == group]
    return max(found, default=-1)


def rows_of(answer: Result) -> list[dict[str, str]]:
    """Return the rows of a table by their headings."""
    header, *lines = (line.split("\t") for line in answer.stdout.splitlines() or [""])
    return [dict(zip(header, line, strict=True)) for line in lines]


async def cancel(api: Api, transaction_id: str) -> None:
    await _correct(api, transaction_id, operation="cancel")


async def amend(api: Api, transaction_id: str, gb: str) -> None:
    event = {
        "transaction_id": transaction_id,
        "external_subscription_id": "s",
        "code": "traffic",
        "timestamp": int(time.time()) - 50 * DAY_S,
        "properties": {"region": "us", "gb": gb, "zone": "z2"},
    }
    await _correct(api, transaction_id, operation="amend", event=event)


async def _correct(api: Api, transaction_id: str, **correction: Any) -> None:
    names = {"transaction_id": transaction_id, "external_subscription_id": "s"}
    await api.post("/events/corrections", {"correction": {**names, **correction}})


async def of_cells(api: Api, meter: Meter) -> None:
    """Pages, choices and forms of one list."""
    status, first = await api.call("GET", "/usage_records?external_subscription_id=s&per_page=2")
    assert (status, first["meta"]["total_count"], first["meta"]["next_page"]) == (200, 3, 2)
    _, all_at_once = await api.call("GET", "/usage_records?external_customer_id=s")
    _, second = await api.call("GET", "/usage_records?external_subscription_id=s&per_page=2&page=2")
    assert first["usage_records"] + second["usage_records"] == all_at_once["usage_records"]
    _, none = await api.call("GET", "/usage_records?from=2999-01-01")
    assert none["usage_records"] == []
    _, ended = await api.call("GET", "/usage_records?type=period.completed")
    assert {record["type"] for record in ended["usage_records"]} == {"period.completed"}

    rows = rows_of(await meter("records", "s"))
    assert sorted((row["filters"], row["grouped_by"], row["units"]) for row in rows) == [
        ("", "zone=z1", "2.0"),
        ("", "zone=z2", "1.5"),
        ("region=eu", "", "1.5"),
    ]
    as_csv = (await meter("records", "s", "-o", "csv", "--no-header")).stdout.splitlines()
    assert len(as_csv) == len(rows)
    listed: Json = json.loads((await meter("records", "s", "--json")).stdout)
    assert listed["usage_records"] == all_at_once["usage_records"]
