"""What a worker says of itself: its metrics by name, type and labels, and its log as JSON."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from app.log import Event
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from tests.world.live.api import Api, text_of
from tests.world.live.producer import foreign_producer
from tests.world.live.worker import ROOT, environment_of
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

KEY, WRONG = "a-key-of-this-test-only-0123456789abcdef", "a-key-that-nobody-knows-0123456789abcdef"
SECRET = "what-an-event-says"

Table = dict[str, tuple[str, dict[str, str | re.Pattern[str]]]]
PARTITION, ANY = re.compile("[0-2]"), re.compile(".+")
BY = (
    "decode fold duplicates flush close define reschedule restore refold scan request page gc other"
)
HELD_BY = "raw_behind peer_silent forwarded_behind definitions_behind refolding"
NOT_COUNTED = (
    "unknown_code unknown_subscription no_charge outside_periods pending missing_property "
    "not_numeric invalid_value unknown_operation_type expression_failed expression_too_costly "
    "value_too_long too_many_groups"
)
METRICS: Table = {
    "meter_build_info": (
        "gauge",
        {
            "version": ANY,
            "fold_version": re.compile(r"\d+"),
            "tzdata": re.compile(r"\d{4}\S+"),
            "python": re.compile(r"3\.\d+\.\d+"),
        },
    ),
    "meter_start_time_seconds": ("gauge", {}),
    "meter_keys_file_valid": ("gauge", {}),
    "meter_loop_stall_seconds": ("histogram", {}),
    "meter_loop_held_seconds": ("counter", {"by": BY}),
    "meter_kafka_up": ("gauge", {}),
    "meter_redis_up": ("gauge", {}),
    "meter_peers_unreachable": ("gauge", {}),
    "meter_clock_apart_seconds": ("gauge", {}),
    "meter_disk_free_bytes": ("gauge", {}),
    "meter_kafka_request_seconds": ("histogram", {"api": re.compile("ApiVersions|commit")}),
    "meter_redis_command_seconds": ("histogram", {"command": re.compile("[a-z]+")}),
    "meter_lag_records": ("gauge", {"partition": PARTITION, "log": "raw rekeyed"}),
    "meter_lag_seconds": ("gauge", {"partition": PARTITION}),
    "meter_folded_until_timestamp_seconds": ("gauge", {"partition": PARTITION}),
    "meter_definitions_lag_records": ("gauge", {}),
    "meter_last_flush_timestamp_seconds": ("gauge", {"partition": PARTITION}),
    "meter_flush_seconds": ("histogram", {}),
    "meter_flush_bytes": ("histogram", {}),
    "meter_flush_retries": (
        "counter",
        {"reason": "too_few_replicas no_leader timeout unreachable refused"},
    ),
    "meter_events_folded": ("counter", {"partition": PARTITION}),
    "meter_events_refused": (
        "counter",
        {
            "code": "invalid_json invalid_event missing_field invalid_timestamp "
            "timestamp_out_of_range unknown_organization too_large invalid_correction many_refused "
            "too_late period_closed conflicting_duplicate set_aside beyond_retention "
            "organization_not_allowed"
        },
    ),
    "meter_work": (
        "counter",
        {
            "operation": "fold duplicate correction refold definition close cool query restore",
            "kind": "log_records ledger_rows index_rows names periods cells broker_requests",
        },
    ),
    "meter_duplicates": ("counter", {"kind": "identical conflicting"}),
    "meter_events_not_counted": ("counter", {"reason": NOT_COUNTED}),
    "meter_records_published": (
        "counter",
        {"type": "usage.recorded usage.revised period.completed"},
    ),
    "meter_revisions": ("counter", {"reason": "late_events correction definition"}),
    "meter_periods_closed": ("counter", {"closing_reason": "period_end termination plan_change"}),
    "meter_close_blocked": ("gauge", {"partition": PARTITION, "reason": HELD_BY}),
    "meter_close_overdue_seconds": ("gauge", {"partition": PARTITION}),
    "meter_partitions_owned": ("gauge", {}),
    "meter_rebalances": ("counter", {}),
    "meter_restore_seconds": ("histogram", {"from": "changelog raw parked"}),
    "meter_rebuilds": ("counter", {"what": "partition index figures members published"}),
    "meter_local_state_discarded": (
        "counter",
        {
            "what": "days figures index ledger published",
            "reason": "damaged unreadable unfinished version machine another",
        },
    ),
    "meter_set_aside": ("gauge", {"code": re.compile("[a-z_]+")}),
    "meter_parked_subscriptions": ("gauge", {}),
    "meter_corrections": ("gauge", {"partition": PARTITION}),
    "meter_names_undefined": ("gauge", {"partition": PARTITION}),
    "meter_cells": ("gauge", {"partition": PARTITION}),
    "meter_index_bytes": ("gauge", {"partition": PARTITION}),
    "meter_members_waiting": ("gauge", {"partition": PARTITION}),
    "meter_http_request_seconds": (
        "histogram",
        {
            "method": re.compile("[A-Z]+"),
            "path": re.compile(r"/[a-z0-9_/{}]*"),
            "status": re.compile(r"\d{3}"),
        },
    ),
    "meter_http_connections": ("gauge", {"state": "active idle"}),
    "meter_requests_refused": ("counter", {"code": re.compile("[a-z_]+")}),
    "meter_large_refolds": ("counter", {"by": "child loop"}),
    "meter_refold_process_memory_bytes": ("gauge", {}),
    "meter_scans": ("gauge", {"state": "running waiting"}),
    "meter_key_last_used_timestamp_seconds": ("gauge", {"key": re.compile("ci")}),
    "meter_verified_pairs": ("counter", {}),
    "meter_differing_pairs": ("gauge", {}),
    "meter_offsets_lost": ("gauge", {}),
}
"""Type and labels by name: the values of one, all there from the start, or what they look like."""

MORE: Table = {
    # Each reason of /health/ready by its code, so that one alert names it.
    "meter_degraded": ("gauge", {"code": re.compile("[a-z_]+")}),
    # A Redis that fills up is seen before it is full.
    "meter_redis_memory_bytes": ("gauge", {}),
    "meter_redis_memory_allowed_bytes": ("gauge", {}),
    # A producer that stands in the middle of a transaction (bounded-work M28).
    "meter_open_transaction_producer_id": ("gauge", {"partition": PARTITION}),
    "meter_open_transaction_seconds": ("gauge", {"partition": PARTITION}),
    # Keys that somebody tries, or that were removed too early.
    "meter_failed_logins": ("counter", {}),
}


@asynccontextmanager
async def told(settings: Settings, directory: Path) -> AsyncIterator[Path]:
    """The file that a worker of `meter worker` logs to; it is asked to end after the block."""
    keys = directory / "keys.toml"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys.write_text(
        f'[[keys]]\nname = "ci"\norganization_id = "{LOCAL_ORGANIZATION_ID}"\n'
        f'access = "write"\nsha256 = "{digest}"\n'
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("METER_")},
        **environment_of(settings),
        "METER_HTTP_PORT": str(settings.http_port),
        "METER_STATE_DIR": str(directory / "state"),
        "METER_API_KEYS_FILE": str(keys),
        "METER_LOG_FORMAT": "json",
        "METER_MISSPELT": "1",
    }
    logged = directory / "log"
    command = [sys.executable, "-c", "from app.cli.main import cli; cli()", "worker"]
    with logged.open("wb") as file:
        running = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=file
        )
    try:
        await eventually(lambda: is_ready(f"http://127.0.0.1:{settings.http_port}"), True)
        yield logged
        running.send_signal(signal.SIGHUP)
        for event in ("keys", "ready"):
            await eventually(partial(_says, logged, f'"event": "{event}"'), True)
        running.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.wait, 60) == 0, logged.read_text()
    finally:
        running.kill()
        running.wait()


async def _says(file: Path, text: str) -> bool:
    return text in file.read_text()


async def is_ready(url: str) -> bool:
    with suppress(aiohttp.ClientError):
        return '"ready"' in await text_of(f"{url}/health/ready")
    return False


async def test_metrics_and_log(live_settings: Settings, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{live_settings.http_port}"
    async with told(live_settings, tmp_path) as logged:
        async with Api(url, KEY) as api:
            await api.make_metric("made", "count_agg")
            await api.send("s", "t", "nobody-has-it", said=SECRET)
        async with Api(url, WRONG) as stranger:
            assert (await stranger.call("GET", "/plans"))[0] == 401
        async with foreign_producer(live_settings) as producer:
            topic = live_settings.topic(live_settings.raw_topic)
            await producer.send_and_wait(topic, SECRET.encode())
        await eventually(lambda: _counts(url), (1.0, 1.0, 6))
        compare(await families(url))
    check(logged.read_text())


async def families(url: str) -> dict[str, Metric]:
    text = await text_of(f"{url}/metrics")
    return {family.name: family for family in text_string_to_metric_families(text)}


async def _counts(url: str) -> tuple[float, float, int]:
    """(refused, not counted) events of two codes, and whose lag is known."""
    found = await families(url)
    return (
        _sample(found["meter_events_refused"], "invalid_json"),
        _sample(found["meter_events_not_counted"], "unknown_code"),
        len(found["meter_lag_records"].samples),
    )


def _sample(family: Metric, value: str) -> float:
    return next(s.value for s in family.samples if value in s.labels.values())


def compare(found: dict[str, Metric]) -> None:
    """Every metric is in the table, and everything in the table is there."""
    wanted = {**METRICS, **MORE}
    ours = {name for name in found if not name.startswith(("process_", "python_gc_"))}
    assert ours == wanted.keys()
    assert {"process_resident_memory_bytes", "process_open_fds"} <= found.keys()
    assert {"python_gc_collections", "python_gc_objects_collected"} <= found.keys()
    for name, (kind, labels) in wanted.items():
        family = found[name]
        assert family.type == kind, name
        assert family.documentation.endswith("."), name
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == labels.keys(), name
        for label, values in labels.items():
            seen = {sample.labels[label] for sample in family.samples}
            if isinstance(values, str):
                assert seen == set(values.split()), (name, label)
            else:
                assert [value for value in seen if not values.fullmatch(value)] == [], (name, label)
    for name in ("meter_events_folded", "meter_lag_records", "meter_cells"):
        assert {sample.labels["partition"] for sample in found[name].samples} == {"0", "1", "2"}


def check(log: str) -> None:
    """Every line is an object with an event of the list, and none holds a secret."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.splitlines()]
    for line in lines:
        assert {"time", "level", "event", "message"} <= line.keys()
        assert line["event"] in get_args(Event)
    by_event = {line["event"]: line for line in lines}
    events = [line["event"] for line in lines]
    # What no setting is told by goes before, on a line of its own.
    assert "METER_MISSPELT" in lines[0]["message"]
    assert (events[1], events[-1]) == ("start", "stop")
    start = by_event["start"]
    assert start["unknown"] == ["METER_MISSPELT"]
    assert (start["partitions"], len(start["topics"])) == (3, 17)
    assert start["settings"]["log_format"] == "json"
    assert "http_host" not in start["settings"]
    assert events.index("rebalance") < events.index("ready")
    assert (by_event["rebalance"]["gained"], by_event["rebalance"]["lost"]) == ([0, 1, 2], [])
    assert by_event["assignment"]["partitions"] == [0, 1, 2]
    restored = [line for line in lines if line["event"] == "restore"]
    assert [each["source"] for each in restored] == ["raw"] * 3
    assert sorted(each["partition"] for each in restored) == [0, 1, 2]
    defined = [line for line in lines if line["event"] == "definition"]
    assert [(each["key"], each["object"]) for each in defined][-1] == ("ci", "made")
    # The ready-made one is none beside a file.
    assert by_event["keys"]["keys"] == 1
    assert by_event["stop"]["why"] == "it was asked to"
    for secret in (KEY, WRONG, SECRET):
        assert secret not in log
