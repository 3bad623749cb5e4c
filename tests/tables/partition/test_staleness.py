"""Staleness: repairs are noted for whoever compares figures, and for nobody else."""

from __future__ import annotations

import gc
import tracemalloc

from tables.partition.staleness import Staleness

NAMES = [("org", f"sub-{number}") for number in range(10_000)]


def test_repairs_are_told_to_who_asked_about_the_name_before() -> None:
    stale = Staleness()
    stale.note_repaired(NAMES[0])
    first = stale.repaired_since(NAMES[:2])
    stale.note_repaired(NAMES[1])
    second = stale.repaired_since(NAMES[:3])
    stale.note_repaired(NAMES[2])
    assert [name in first for name in NAMES[:3]] == [False, True, False]
    assert [name in second for name in NAMES[:3]] == [False, False, True]


def test_nothing_is_kept_of_repairs_that_nobody_asks_about() -> None:
    stale = Staleness()
    asked = stale.repaired_since(NAMES)
    del asked
    gc.collect()
    tracemalloc.start()
    for name in NAMES:
        stale.note_repaired(name)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < len(NAMES)
