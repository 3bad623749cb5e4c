"""What a worker and the process of webhooks tell as metrics, and what a query asks of them."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from app import main
from app.api.http.siblings import Siblings
from app.bounds.turns import Turns
from app.clock import SystemClock
from app.main import Worker
from app.settings import Settings
from app.webhooks.metrics import Metrics

OF_THE_SCRAPE = {"job", "instance"}
FOREIGN = {"up": OF_THE_SCRAPE}
"""Series that Prometheus makes itself."""

_SUFFIXES: dict[str, dict[str, set[str]]] = {
    "counter": {"_total": set()},
    "gauge": {"": set()},
    "histogram": {"_bucket": {"le"}, "_count": set(), "_sum": set()},
    "unknown": {"": set()},
}


class Told(NamedTuple):
    """One series: its labels, and the values of those that have a closed list."""

    labels: set[str]
    values: dict[str, set[str]]
    kind: str = ""
    """counter, gauge or histogram."""
    help: str = ""


def series_of_a_worker(state_dir: Path) -> dict[str, Told]:
    """Return every series that a worker may tell, by name; it lives in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", __name__, str(state_dir)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    return {
        name: Told(set(labels), {label: set(each) for label, each in values.items()}, *about)
        for name, (labels, values, *about) in told.items()
    }


async def _series_of(state_dir: Path) -> dict[str, Told]:
    """Make a worker that is never started and read what it would tell."""
    registry, webhooks = CollectorRegistry(), CollectorRegistry()
    vars(main)["CollectorRegistry"] = lambda: registry
    kafka, redis = ("127.0.0.1:9",), "redis://127.0.0.1:9"
    settings = Settings(
        profile="test", state_dir=state_dir, kafka_bootstrap_servers=kafka, redis_url=redis
    )
    engine = Worker(settings, SystemClock()).engine
    engine.appender.clock_apart_ms = 0
    engine.status.disk_free_bytes = 1
    engine.status.redis_memory = (1, 2)
    engine.status.definitions_lag = 0
    Metrics(webhooks, SystemClock())
    known = {name: Told(labels, {}) for name, labels in FOREIGN.items()}
    for collected in (registry, webhooks):
        for collector in dict.fromkeys(collected._collector_to_names):
            known |= _series(collector)
    for tallied in vars(engine.shared.tally).values():
        if isinstance(tallied, Histogram):
            known |= _series(tallied)
    return known | await _series_of_siblings(state_dir)


async def _series_of_siblings(directory: Path) -> dict[str, Told]:
    """Return what a worker tells beside its own figures when it answers for its siblings."""

    async def own() -> bytes:
        return b""

    async with ClientSession() as session:
        told = await Siblings(directory, 1, 1).metrics(session, Turns(), own)
    return {
        family.name: Told({"worker"} | OF_THE_SCRAPE, {}, family.type, family.documentation)
        for family in text_string_to_metric_families(told.decode())
    }


def _series(collector: Any) -> dict[str, Told]:
    found = {}
    own = set(getattr(collector, "_labelnames", ()))
    for family in collector.collect():
        labels = own | set(getattr(family, "_labelnames", ()))
        for suffix, more in _SUFFIXES.get(family.type, {"": set()}).items():
            name = f"{family.name}{suffix}"
            found[name] = Told(
                labels | more | OF_THE_SCRAPE,
                _values(family, name),
                family.type,
                family.documentation,
            )
    return found


def _values(family: Metric, name: str) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for sample in family.samples:
        if sample.name == name:
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    return values


def unknown_in(expression: str, known: dict[str, Told]) -> list[str]:
    """Return what a query asks for that nobody tells: metrics, labels, values of labels.

    Raises:
        ValueError: it is no PromQL.
    """
    wrong = []
    labels: set[str] = set()
    for name, matchers in _selected(promql_parser.parse(expression)):
        told = known.get(name)
        if told is None:
            wrong.append(name)
            continue
        labels |= told.labels
        for label, value in matchers:
            if label not in told.labels:
                wrong.append(f"{name}{{{label}}}")
            elif told.values.get(label) and not value.startswith("$"):
                wanted = value.split("|")
                wrong += [f"{name}={v}" for v in wanted if v not in told.values[label]]
    for listed in re.findall(r"\b(?:by|on|ignoring|without) ?\(([^)]*)\)", expression):
        named = {each.strip() for each in listed.split(",") if each.strip()}
        wrong += sorted(named - labels)
    return wrong


def _selected(node: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name or "", [(each.name, each.value) for each in node.matchers.matchers]
    for part in ("expr", "lhs", "rhs", "args", "vector_selector", "param"):
        inner = getattr(node, part, None)
        for each in inner if isinstance(inner, list) else [inner]:
            if each is not None and not isinstance(each, str):
                yield from _selected(each)


if __name__ == "__main__":
    found = asyncio.run(_series_of(Path(sys.argv[1])))
    print(json.dumps(found, default=sorted))  # noqa: T201
