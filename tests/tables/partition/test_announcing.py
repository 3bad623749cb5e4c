"""Announcing: after a restart all that waits for cuts is looked at in turns, and rests again."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, Steps, drained
from app.definitions import commands
from app.definitions.outcome import Impact
from app.wire.arrivals import CorrectionArrival, SubscriptionKey
from app.wire.events import Correction
from tables.cells.cell import Cell
from tables.changelogged.correction_rows import CorrectionRows, StoredCorrection
from tables.partition.cuts import CutsToCome
from tables.partition.partition import Partition
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of, subscription_body
from tests.world.events import arrived
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)
MANY = 2 * STEP_ITEMS + 3


def test_late_events_are_looked_at_in_turns_and_no_cut_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There may be very many: whether the state is whole is told without a look at their cells."""
    one = Live(definitions_of(["count"]))
    one.define_all()
    one.deliver([arrived("count", 0, START_MS + HOUR_MS)])
    one.close_until(START_MS + WEEK_MS)
    one.deliver([arrived("count", 1, START_MS + 2 * HOUR_MS, START_MS + WEEK_MS + HOUR_MS)])
    waiting = [*one.partition.cuts.late.of(NAME)]
    assert waiting
    looked_at, within = Counter[str](), list[str]()
    remember, restored = CutsToCome.remember, Partition.restored

    def counted(cuts: CutsToCome, cell: Cell) -> bool:
        looked_at[within[-1] if within else "in turns"] += 1
        return remember(cuts, cell)

    def whole(partition: Partition) -> Steps[bool]:
        within.append("before")
        is_whole = yield from restored(partition)
        within.pop()
        return is_whole

    monkeypatch.setattr(CutsToCome, "remember", counted)
    monkeypatch.setattr(Partition, "restored", whole)
    one.restart()
    assert looked_at == {"in turns": 1}
    assert list(one.partition.cuts.late.by_name) == [NAME]
    assert one.partition.cuts.late.of(NAME) == tuple(waiting)
    assert one.partition.packing.is_packed(NAME)
    assert not one.partition.packing.late


def test_whatever_waits_for_a_cut_is_announced_by_small_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Events that are billed, days, changes of usage and a history record, each of very many."""
    one = of_many()
    waited = waiting(one.partition)
    assert waited["instants"] == waited["changed"] == MANY
    assert waited["grid"] == waited["late"] == MANY
    announcing, known = Partition.announcing, list[Counter[str]]()

    def counted(partition: Partition) -> Steps[None]:
        known.append(waiting(partition))
        for _ in announcing(partition):
            known.append(waiting(partition))
            yield

    monkeypatch.setattr(Partition, "announcing", counted)
    one.restart()
    assert waiting(one.partition) == waited
    assert not known[0].total()
    assert max((after - before).total() for before, after in pairwise(known)) < MANY


def test_whether_a_state_is_whole_is_told_by_small_steps() -> None:
    """Of very many that are late, and of very many sets of members that leave."""
    one = of_many()
    partition, leaving = one.partition, tuple(b"%d" % number for number in range(MANY))
    names = one.definitions.all_subscription_keys()
    several = (one.definitions.subscriptions(*name) for name in names)
    late = {each.id for versions in several for each in next(iter(versions)).all()}
    partition.checkpoint.leaving = leaving
    one.flush()
    restored = one.changelog.restored(one.definitions)
    restored.packing.late.update(late)
    restored.members.leaving.clear()
    restored.checkpoint.leaving = leaving
    left = [len(restored.members.leaving) for _ in restored.restored()]
    assert max(after - before for before, after in pairwise([0, *left])) <= STEP_ITEMS
    assert left[-1] == MANY
    assert left.count(MANY) > MANY // STEP_ITEMS


@pytest.mark.parametrize("name", ["presence_sum", "corrections_sum", "instants_sum"])
def test_a_state_without_a_row_that_its_checkpoint_knows_of_is_not_whole(name: str) -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    live.flush()
    state = live.changelog.restored(live.definitions)
    assert drained(state.restored())
    known = getattr(state.checkpoint, name)
    setattr(state.checkpoint, name, known.replaced(b"key", None, b"value"))
    assert not drained(state.restored())


def test_definitions_are_told_again_by_small_steps() -> None:
    """For usage-changed, of all that was defined since its last moment."""
    one = of_many()
    changed, at_ms = one.partition.changed, one.partition.checkpoint.cut_ms + 1
    impacts = [(n, at_ms + n, Impact(ORG, external_subscription_id=f"{n}")) for n in range(MANY)]
    moment_ms = changed.moment_of(at_ms)
    told = [len(changed.impacts_at(moment_ms)) for _ in changed.telling_again(impacts)]
    assert told[-1] - told[0] >= MANY - 1
    assert max(after - before for before, after in pairwise(told)) <= STEP_ITEMS


def test_corrections_are_followed_by_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read from local disk, and its event looked for in the index."""
    one = Live(definitions_of(["count"]))
    one.define_all()
    for number in range(MANY):
        at_ms = START_MS + HOUR_MS + number
        one.deliver([arrived("count", number, at_ms, external_id=f"sub-{number}")])
        cancelled = Correction(ORG, f"sub-{number}", f"t{number}", "cancel", None, "c", b"")
        sent = CorrectionArrival(cancelled, ORG, at_ms, 0, MANY + number, 0)
        assert one.partition.corrected.correct(sent)
    one.restart()
    done, get, expect = Counter[str](), CorrectionRows.get, CutsToCome.expect

    def read(table: CorrectionRows, row: int) -> StoredCorrection:
        done["read"] += 1
        return get(table, row)

    def expected(cuts: CutsToCome, name: SubscriptionKey, cut_ms: int) -> None:
        done["expected"] += 1
        expect(cuts, name, cut_ms)

    monkeypatch.setattr(CorrectionRows, "get", read)
    monkeypatch.setattr(CutsToCome, "expect", expected)
    following, known = one.partition.corrected.following_all(), [done.copy()]
    names = iter(())
    while True:
        try:
            next(following)
        except StopIteration as end:
            names = end.value
            break
        known.append(done.copy())
    assert list(names) == sorted((ORG, f"sub-{number}") for number in range(MANY))
    assert done == {"read": MANY, "expected": 2 * MANY}
    assert max((after - before).total() for before, after in pairwise(known)) <= STEP_ITEMS


def of_many() -> Live:
    """Very many subscriptions for whom everything waits that can."""
    settings = replace(SETTINGS, daily_records=True, usage_changed=True)
    one = Live(definitions_of(["spent"], settings))
    one.define_all()
    (metric,) = one.definitions.metrics(ORG)
    names = [f"sub-{number}" for number in range(MANY)]
    for name in names:
        body = subscription_body(external_id=name)
        one.append(START_MS - HOUR_MS, commands.create_subscription(ORG, body))
    at_ms = START_MS + WEEK_MS + HOUR_MS + 1
    one.close_until(at_ms - 1)
    record = commands.apply_history(ORG, metric_ids=[metric.id], from_ms=0, to_ms=at_ms)
    one.append(at_ms, record)
    one.close_until(at_ms + HOUR_MS // 2)
    sent_ms = one.partition.checkpoint.cut_ms + 1
    one.deliver(
        [arrived("spent", n, sent_ms, external_id=name, v="1") for n, name in enumerate(names)]
    )
    return one


def waiting(partition: Partition) -> Counter[str]:
    """How many wait for cuts, by what for."""
    cuts, changed = partition.cuts, partition.changed
    return Counter(
        late=len({*cuts.late.by_name} - {NAME}),
        grid=sum(len(cuts.grid.of(name)) for name in cuts.grid.by_name),
        instants=sum(len(cuts.instants.of(name)) for name in cuts.instants.by_name),
        changed=len(changed.touched_at(changed.next_ms())),
    )
