"""What a contestant is told, and what it tells: plain files, so that any program can take part.

Of the standard library alone: Quix Streams and DuckDB run in an environment without the product.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

TASK = "task.json"
RESULT = "result.json"
TALLIES = "tallies.jsonl"
"""Lines [subscription, code, count, sum]: output of a contestant that writes no topic."""

Tally = tuple[int, float]
"""How many records of a subscription and code there are, and the sum of their `gb`."""


class Task(NamedTuple):
    """Which records are to be taken, and where there is room."""

    servers: str
    topic: str
    partitions: int
    records: int
    ends: list[int]
    """How many of them each partition has; ticks of ours, null values, may lie behind them."""
    group: str
    directory: str
    """Files of this run alone: the task, the result, the state."""
    file: str
    """The same events, one JSON text a line."""
    options: dict[str, Any]
    """What only this contestant is told."""

    @property
    def room(self) -> Path:
        """Return the directory as a path."""
        return Path(self.directory)

    def write(self) -> Path:
        """Write it where a process reads it; return the file."""
        path = self.room / TASK
        path.write_text(json.dumps(self._asdict()))
        return path


def told() -> Task:
    """Return the task that this process was started with."""
    return Task(**json.loads(Path(sys.argv[1]).read_text()))


class Result(NamedTuple):
    """What a process says of itself."""

    first_s: float
    """When it took the first event, in seconds since the epoch."""
    last_s: float
    """When the last one was durable."""
    cpu_s: float
    """CPU seconds between the two, of all its threads."""
    before: int = 0
    """Records that it had taken already when the first were noted."""


class Watch:
    """Measure this process from `begin` to the last `end`."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._before = 0
        self._result: Result | None = None

    def begin(self, before: int = 0) -> None:
        """Note the first event; later calls change nothing."""
        if self._first is None:
            self._first, self._before = (time.time(), time.process_time()), before

    def end(self) -> None:
        """Note that all that was taken is durable; the last call counts."""
        if self._first is not None:
            first_s, before_s = self._first
            self._result = Result(
                first_s, time.time(), time.process_time() - before_s, self._before
            )

    def write(self, task: Task) -> None:
        """Leave the result for whoever started this process."""
        if self._result is None:
            raise SystemExit("No event came.")
        (task.room / RESULT).write_text(json.dumps(self._result._asdict()))


def pair_of(body: dict[str, Any]) -> tuple[str, str, float]:
    """Return subscription, code and `gb` of an event, as Lago or CloudEvents write it."""
    if "specversion" in body:
        return body["subject"], body["type"], body["data"]["gb"]
    return body["external_subscription_id"], body["code"], body["properties"]["gb"]


def write_tallies(task: Task, tallies: dict[tuple[str, str], Tally]) -> None:
    """Leave the output of a contestant that writes no topic."""
    with (task.room / TALLIES).open("w") as file:
        for pair, tally in tallies.items():
            file.write(json.dumps([*pair, *tally]) + "\n")
