"""Earlier versions of a plan that differ in prices alone take little, and are what they were."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands, prices
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.prices import OtherPrices, PlanVersions
from app.definitions.terms import _plan_shape
from tables.routing.plan import changes_ms
from tests.app.definitions.test_at_once import replayed
from tests.app.definitions.test_copies import (
    KINDS,
    let_go,
    log_after,
    log_of,
    spelled,
    subscribe,
    whole,
)
from tests.world.definitions_log import ORG, Log


def repriced(number: int) -> Command:
    """A command that changes the price of a charge."""
    price = {"properties": {"amount": str(1_000_000 + number)}, "cascade_updates": True}
    return commands.update_charge(ORG, "dear", "c1", price)


def reprice(log: Log, times: int) -> None:
    for number in range(times):
        log.now_ms += 1_000
        log.accept(repriced(number))


def kept(log: Log) -> list[list[Any]]:
    return [list(versions._objects) for versions in log.definitions.plan_versions.values()]


def grown(log: Log, times: int) -> float:
    """Bytes that each of so many changes of a price takes."""
    known = log.definitions
    for number in range(times + 100):
        if number == 100:
            tracemalloc.start()
        apply(known, repriced(number).encode(), log.now_ms + number, known.offset)
    let_go()
    gc.collect()
    found, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found / times


def test_a_change_of_a_price_takes_little_however_many_charges_there_are() -> None:
    assert grown(log_of(5), 1_000) < 240
    assert grown(log_of(50), 1_000) < 260


def test_a_child_that_follows_takes_less_than_a_plan() -> None:
    log = log_of()
    for number in range(10):
        subscribe(log, f"s{number}", amount_cents=number)
    assert grown(log, 400) / 10 < 200


def test_the_newest_and_the_one_before_are_whole_and_one_in_so_many() -> None:
    log = log_of()
    subscribe(log, "s", amount_cents=1)
    reprice(log, 100)
    for versions in kept(log):
        rows = [not isinstance(each, OtherPrices) for each in versions]
        assert [at for at, is_whole in enumerate(rows) if is_whole] == [0, 33, 66, 99, 100]


def test_what_is_no_price_is_kept_whole() -> None:
    log = log_of()
    subscribe(log, "s", amount_cents=1)
    reprice(log, 2)
    log.accept(commands.delete_charge(ORG, "dear", "c0", {"cascade_updates": True}))
    reprice(log, 4)
    for versions in log.definitions.plan_versions.values():
        assert isinstance(versions, PlanVersions)
        assert [len(plan.charges) for plan in versions.kept_whole()] == [3, 2, 2, 2]
        assert [len(plan.charges) for plan in versions.all()] == [3, 3, 3, *[2] * 5]


def test_a_plan_that_another_follows_says_what_it_is_at_first() -> None:
    """The version in force is kept by what differs from one that nobody has of the other plan."""
    log = log_of()
    log.metric("other", aggregation_type="count_agg")
    log.plan("other", charges=[{"billable_metric_code": "other", "charge_model": "package"}])
    reprice(log, 6)
    dear, other = log.definitions.plan_versions.values()
    joined = PlanVersions.joined([(0, 0, other), (dear.changes[3], dear.offsets[3], dear)])
    assert list(joined.kept_whole())[:2] == [other.at(), dear.at(dear.changes[3])]
    assert list(joined.all())[1:] == list(dear.all())[3:]


@given(st.lists(st.tuples(st.integers(0, KINDS - 1), st.integers(0, 20)), max_size=40))
def test_versions_are_as_if_all_of_them_were_kept(changes: list[tuple[int, int]]) -> None:
    log = log_after(changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prices, "_as_prices", lambda plan, _: plan)
        theirs = replayed(log)
    ours = log.definitions
    assert whole(spelled(ours)) == whole(spelled(theirs))
    for plan_id, versions in theirs.plan_versions.items():
        mine = ours.plan_versions[plan_id]
        assert list(mine.changes_of(_plan_shape)) == list(versions.changes_of(_plan_shape))
        assert changes_ms(ours, mine) == changes_ms(theirs, versions)
        for at_ms in versions.changes:
            assert mine.at(at_ms) == versions.at(at_ms)
