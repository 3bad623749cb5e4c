"""Clocks: the machine's and the one that tests move. Nobody else reads the time."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

from app.clock import Clock, SystemClock
from tests.world.clock import ManualClock

REPOSITORY = Path(__file__).parents[2]
READS_THE_CLOCK = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "gmtime"),
    ("time", "localtime"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}


def test_system_clock_is_the_machines_time() -> None:
    clock: Clock = SystemClock()
    before = time.time_ns() // 1_000_000
    assert before <= clock.now_ms() <= time.time_ns() // 1_000_000
    assert clock.monotonic_s() <= clock.monotonic_s()


def test_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(1_000)
    assert (clock.now_ms(), clock.monotonic_s()) == (1_000, 0.0)
    clock.advance(2_500)
    assert (clock.now_ms(), clock.monotonic_s()) == (3_500, 2.5)


def test_a_jump_moves_the_wall_clock_but_no_interval() -> None:
    clock = ManualClock(1_000_000)
    clock.jump(5)
    assert (clock.now_ms(), clock.monotonic_s()) == (5, 0.0)


def test_time_does_not_pass_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        ManualClock().advance(-1)


def _clock_reads(source: str) -> list[str]:
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name | ast.Attribute)
        and (ast.unparse(node.value).rsplit(".", 1)[-1], node.attr) in READS_THE_CLOCK
    ]


@pytest.mark.parametrize(
    "source",
    ["time.time()", "datetime.now(UTC)", "datetime.datetime.utcnow()", "f(default=time.time_ns)"],
)
def test_a_read_is_recognised(source: str) -> None:
    assert _clock_reads(source)


def test_only_the_clock_module_reads_the_wall_clock() -> None:
    readers = {
        str(path.relative_to(REPOSITORY)): reads
        for package in ("app", "agents", "tables")
        for path in (REPOSITORY / package).rglob("*.py")
        if path != REPOSITORY / "app" / "clock.py" and (reads := _clock_reads(path.read_text()))
    }
    assert readers == {}
