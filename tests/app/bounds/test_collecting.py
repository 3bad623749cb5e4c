"""What stays is walked once while memory grows; what comes and goes is not kept for ever."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from app.bounds import collecting
from app.bounds.collecting import GROWN, Collecting

MANY = 10_000


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The most memory that the process had, as the test wishes."""
    used = SimpleNamespace(ru_maxrss=GROWN)
    # Whatever the machine: no walk of this test is a long one.
    monkeypatch.setattr(collecting, "MUCH_S", 3_600.0)
    monkeypatch.setattr(collecting, "getrusage", lambda _: used)
    thresholds, passing = gc.get_threshold(), Collecting()
    gc.collect()
    passing.start()
    yield used
    passing.stop()
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def _frozen_of(used: SimpleNamespace, grown: int) -> int:
    before = gc.get_freeze_count()
    used.ru_maxrss += grown
    kept: list[list[int]] = [[] for _ in range(MANY)]
    gc.collect(1)
    frozen = gc.get_freeze_count() - before
    return frozen if kept else 0


def test_what_a_growing_program_keeps_is_not_walked_again(memory: SimpleNamespace) -> None:
    assert _frozen_of(memory, GROWN) >= MANY


def test_what_comes_below_the_most_memory_is_walked_as_ever(memory: SimpleNamespace) -> None:
    _frozen_of(memory, GROWN)
    assert _frozen_of(memory, 0) <= 0
    assert _frozen_of(memory, GROWN - 1) <= 0
    # What grows by little at a time has grown as well.
    assert _frozen_of(memory, 1) >= MANY
