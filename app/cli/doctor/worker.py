"""Checks of a running worker: what its health and its metrics say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from app.cli.doctor.finding import CLOCKS_APART_S, Finding, Outcome, judged
from app.cli.remote import Json
from app.clock import SystemClock

AREA = "state"
LAG_S: Final = 300.0
OVERDUE_S: Final = 900.0

REBALANCES_AN_HOUR: Final = 6.0
REVISED_SHARE: Final = 0.1

_OF_STATUS: Final[Mapping[str, Outcome]] = {"ready": "ok", "degraded": "warn", "not_ready": "fail"}

Samples = Mapping[str, float]
"""Sum of a metric's samples by name."""


def checked(health: Json, samples: Samples, clock_ahead_s: float) -> Iterator[Finding]:
    """Yield what one worker tells of itself."""
    status = str(health.get("status"))
    outcome = _OF_STATUS.get(status, "unknown")
    for reason in health.get("reasons", ()):
        found = f"{reason['code']}: {reason['message']}"
        yield Finding(AREA, "health", outcome, found, "docs/runbook.md has what mends it.")
    for one in health.get("workers_not_ready", ()):
        found = f"Worker {one} of its port is not ready."
        yield Finding(AREA, "health", outcome, found, "Ask it by its own address.")
    if status == "ready":
        yield Finding(AREA, "health", "ok", "The worker names nothing that is wrong.")
    apart = abs(clock_ahead_s)
    found = f"The worker's clock is {round(clock_ahead_s):+} s from this machine's."
    yield judged("host", "clock", apart > CLOCKS_APART_S, found, "Run a time service on both.")
    for check in _CHECKS:
        yield check.of(samples)
    yield from _since_start(samples, SystemClock().now_ms() / 1000)


def _since_start(samples: Samples, now_s: float) -> Iterator[Finding]:
    """Yield what is judged by how much of it there was since the worker began."""
    began_s = samples.get("meter_start_time_seconds")
    rebalances = samples.get("meter_rebalances_total")
    if began_s is not None and rebalances is not None:
        hours = (now_s - began_s) / 3600
        found = f"The group was shared out {rebalances:.0f} times in {hours:.1f} h."
        is_often = rebalances > REBALANCES_AN_HOUR * max(hours, 1.0)
        mend = "Set METER_GROUP_INSTANCE_ID, and see why workers restart."
        yield judged("group", "rebalances", is_often, found, mend)
    revisions = samples.get("meter_revisions_total")
    published = samples.get("meter_records_published_total")
    if revisions is not None and published is not None:
        found = f"{revisions:.0f} of {published:.0f} records revised one since the worker began."
        mend = "docs/runbook.md, RevisionsBurst: `meter_revisions_total` has the reasons."
        yield judged(AREA, "revisions", revisions > published * REVISED_SHARE, found, mend)


class _Check(NamedTuple):
    """A metric, and above which value it is told."""

    name: str
    metric: str
    most: float
    outcome: Outcome
    text: str
    mend: str

    def of(self, samples: Samples) -> Finding:
        value = samples.get(self.metric)
        if value is None:
            mend = "Ask a worker of this version."
            found = f"The worker does not tell {self.metric}."
            return Finding(AREA, self.name, "unknown", found, mend)
        found, is_ill = self.text.format(value), value > self.most
        return judged(AREA, self.name, is_ill, found, self.mend, outcome=self.outcome)


_CHECKS: Final = (
    _Check(
        "brokers' clock",
        "meter_clock_apart_seconds",
        CLOCKS_APART_S,
        "warn",
        "The brokers' clock is {:.0f} s from the worker's, as its newest append showed.",
        "Run a time service on brokers and workers: append times decide what is late.",
    ),
    _Check(
        "lag",
        "meter_lag_seconds",
        LAG_S,
        "warn",
        "Events wait {:.0f} s.",
        "Add workers up to the number of partitions, or find what holds them: `meter watch`.",
    ),
    _Check(
        "closing",
        "meter_close_overdue_seconds",
        OVERDUE_S,
        "fail",
        "The oldest cut is {:.0f} s overdue.",
        "`meter watch` tells for what it waits.",
    ),
    _Check(
        "not counted",
        "meter_events_not_counted_total",
        0,
        "warn",
        "{:.0f} events counted nowhere since the worker began.",
        "`meter_events_not_counted_total` has the reasons; the page lists them.",
    ),
    _Check(
        "dead letters",
        "meter_events_refused_total",
        0,
        "warn",
        "{:.0f} events were refused since the worker began.",
        "`meter dead-letters list` has them.",
    ),
    _Check(
        "set aside",
        "meter_set_aside",
        0,
        "warn",
        "{:.0f} raw records are set aside.",
        "`meter set-aside list` has them.",
    ),
    _Check(
        "parked",
        "meter_parked_subscriptions",
        0,
        "fail",
        "{:.0f} subscriptions are parked: their cuts wait.",
        "The log of the worker says what each one lacks.",
    ),
    _Check(
        "differing",
        "meter_differing_pairs",
        0,
        "fail",
        "{:.0f} metrics of subscriptions differ from the raw events.",
        "`meter verify` shows them, `meter verify --repair` folds them again.",
    ),
    _Check(
        "lost offsets",
        "meter_offsets_lost",
        0,
        "fail",
        "{:.0f} partitions lack records that nobody folded.",
        "Restore the topic from its copy before you start the worker again.",
    ),
)


CHECKS: Final = (
    ("group", "rebalances"),
    (AREA, "worker"),
    (AREA, "health"),
    *((AREA, check.name) for check in _CHECKS),
    (AREA, "revisions"),
)


def samples_of(text: str) -> dict[str, float]:
    """Return the sum of each metric's samples, the largest of those in seconds.

    `text`: the Prometheus text format, as `/metrics` answers.
    """
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE ") and not line.split()[2].endswith("_seconds"):
            # One with labels has no samples before it has something to tell. But seconds are of
            # partitions: without any nobody has looked.
            found.setdefault(line.split()[2], 0.0)
        if line.startswith("#") or not line.strip():
            continue
        name_and_labels, _, value = line.rpartition(" ")
        name, number = name_and_labels.partition("{")[0], float(value)
        known = found.get(name, 0.0)
        found[name] = max(known, number) if name.endswith("_seconds") else known + number
    return found
