"""What a subscription weighs, in bytes that were asked for: the same on any machine."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from app.bounds.turns import drained
from app.definitions.indexes import rows
from app.definitions.log import applying
from app.definitions.state import Definitions
from app.runtime.shelf import Shelf
from bench import definitions
from bench.subscriptions import Shape, defined, logged, write
from tables.changelogged.checkpoint import Checkpoint
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.partition.tables import Carried

SUBSCRIPTIONS = 1_300
"""Dicts that grow by doubling are well filled then."""


class Grown:
    """Tells how many bytes a subscription more are held than when it was asked last."""

    def __init__(self) -> None:
        gc.collect()
        tracemalloc.start()
        self._before = 0

    def __call__(self, subscriptions: int = SUBSCRIPTIONS) -> float:
        gc.collect()
        before, self._before = self._before, tracemalloc.get_traced_memory()[0]
        return (self._before - before) / subscriptions


@pytest.fixture(autouse=True)
def stop_counting() -> Iterator[None]:
    yield
    tracemalloc.stop()


def test_what_a_subscription_with_one_cell_weighs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a customer of its own: defined, with a meter key that has events, and a cold cell."""
    # Of so few the rows are hardly on disk else.
    monkeypatch.setattr(rows, "CHUNK_BYTES", 1 << 13)
    monkeypatch.setattr(rows, "_FULL", 1 << 12)
    write(Shape(SUBSCRIPTIONS, cells=1, partitions=1, parts=False), tmp_path)
    grown = Grown()

    known = defined(tmp_path)
    assert grown() < 102

    checkpoint, newest = msgspec.msgpack.decode(
        (tmp_path / "state0").read_bytes(), type=tuple[Checkpoint, dict[str, dict[bytes, bytes]]]
    )
    state = Partition(0, known, EventIndex(), carried=Carried(checkpoint))
    grown()

    for key, value in newest["presence"].items():
        state.event_ranges.load(key, value)
    state.event_ranges.loaded()
    assert grown() < 100

    for key, value in newest["cells"].items():
        state.packing.load_cell(key, value)
    drained(state.packing.packing_loaded())
    assert grown() < 150


def test_what_the_definition_of_a_subscription_weighs_without_a_disk(tmp_path: Path) -> None:
    logged(Shape(SUBSCRIPTIONS, cells=1, partitions=1, parts=False), tmp_path)
    (tmp_path / "shelf").write_bytes(b"no directory")
    # What is made once does not count: other tests may have had it made before, or not.
    defined(tmp_path)
    grown = Grown()

    known = defined(tmp_path)
    assert grown() < 220
    assert len(known.subscription_versions) == SUBSCRIPTIONS


def test_what_the_definition_of_a_subscription_weighs_whose_customer_has_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CHUNK_BYTES", 1 << 13)
    monkeypatch.setattr(rows, "_FULL", 1 << 12)
    monkeypatch.setattr(definitions, "PLANS", 1)
    # What there is once weighs little beside these.
    count = 10 * SUBSCRIPTIONS
    log = [command.encode() for command in definitions.definitions(count + 2, 10)]
    grown = Grown()

    known = Definitions(Shelf(tmp_path).keep)
    for offset, value in enumerate(log):
        drained(applying(known, value, definitions.NOW_MS + offset, offset))
    assert grown(count) < 64
    assert len(known.subscription_versions) == count
