"""What a look at the page takes of the folding loop, counted in steps of the interpreter."""

from __future__ import annotations

import pytest

from app.bounds.turns import Turns, drained
from app.meter.overview import OverviewQuery
from app.queries import usage_lines
from app.queries.usage_lines import UsageLines
from app.runtime.status import Tally
from bench.growth.spent import steps_of
from bench.page import NOW_MS, ORG, folded, looked
from tables.partition.partition import Partition
from tables.reading.usage import active_subscription

MOST = 305_000
"""Steps that take less than 5 ms: `python -m bench.page` shows what they take in time."""


@pytest.fixture(scope="module")
def state() -> Partition:
    return folded(3_000)


@pytest.mark.parametrize("search", ["", "sub-1", "sub-"])
def test_a_look_takes_few_steps(state: Partition, search: str) -> None:
    lines = UsageLines(Turns(clock=lambda: 0.0), Tally())
    query = OverviewQuery(organization_id=ORG, search=search)
    # The first one takes the names into the index.
    looked(lines, state, query)
    assert steps_of(lambda: looked(lines, state, query)) < MOST


def test_a_search_looks_at_as_many_names_again_whatever_partitions_there_are(
    state: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = UsageLines(Turns(clock=lambda: 0.0), Tally())
    query = OverviewQuery(organization_id=ORG, search="zzz")
    states = {0: state, 1: folded(1), 2: folded(1_000)}
    drained(lines.shown(states, query, NOW_MS))
    again: list[int] = []

    def counted(partition: Partition, name: tuple[str, str], at_ms: int) -> object:
        again.append(next(number for number, each in states.items() if each is partition))
        return active_subscription(partition, name, at_ms)

    monkeypatch.setattr(usage_lines, "active_subscription", counted)
    for _ in states:
        drained(lines.shown(states, query, NOW_MS))
    assert sorted(again) == [0] * 32 + [1] + [2] * 32
