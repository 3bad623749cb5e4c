"""Verification while the partition goes on: what changed meanwhile is not called wrong."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice, permutations
from typing import Literal, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, Steps, drained
from app.definitions import commands
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction, Event
from tables.cells.cell import Cell
from tables.changelogged.corrections import CorrectionTable
from tables.changelogged.published_period import (
    PackedPeriod,
    PublishedCell,
    PublishedCellKey,
)
from tables.closing.close import next_cut
from tables.partition.refold import Refold
from tables.partition.repair import Original, Repair
from tables.reading.tracing import verdict
from tables.reading.verification import Verification
from tables.routing.group_admission import GroupAdmission
from tests.tables.closing.test_forgetting import live, pass_until
from tests.tables.partition.test_left_out import LATE, with_a_first_week_that_is_open
from tests.world.begun import begun
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SHORT_SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.events import arrived, event
from tests.world.partition import Live
from tests.world.verified import rounds

NAME = (ORG, SUBSCRIPTION)
HOUR_MS = 3_600_000
CLOSED_MS = START_MS + WEEK_MS + HOUR_MS


class Found(NamedTuple):
    skipped: list[str]
    differences: int


def correction(offset: int, at_ms: int, event: Event | None = None) -> CorrectionArrival:
    operation: Literal["cancel", "amend"] = "cancel" if event is None else "amend"
    body = Correction(*NAME, "t0", operation, event, "c", b"")
    return CorrectionArrival(body, ORG, at_ms, 0, offset, 0)


def end_of(verification: Verification) -> Found:
    compared = list(filter(None, verification.compare()))
    differences = [one for meter_key in compared for one in meter_key.differences]
    published = chain.from_iterable(filter(None, verification.compare_published()))
    differences += [*verification.lost, *published]
    return Found(
        [meter_key.meter_key[2] for meter_key in compared if meter_key.skipped], len(differences)
    )


def terminate(live: Live) -> list[Arrival]:
    at_ms = START_MS + 2 * DAY_MS
    live.append(at_ms, commands.terminate_subscription(ORG, SUBSCRIPTION))
    after = arrived("count", 1, at_ms + HOUR_MS)
    live.deliver([after])
    return [after]


def publish_another_metric(live: Live) -> list[Arrival]:
    other = arrived("sum", 1, START_MS + DAY_MS, v="5")
    live.deliver([other])
    live.close_until(CLOSED_MS)
    return [other]


def publish_a_cancel(live: Live) -> list[Arrival]:
    live.close_until(CLOSED_MS)
    live.define_until(CLOSED_MS + 1)
    assert live.partition.corrected.correct(correction(1, CLOSED_MS + 1))
    cut_ms = next_cut(live.partition, NAME)
    refold = Refold(live.partition, live.partition.event_ranges.meter_keys_of(NAME), {NAME: cut_ms})
    refold.feed(live.arrived())
    assert refold.swap()
    live.close_until(cut_ms)
    assert live.bodies()[-1]["period"]["from"]
    return []


def repair_for_a_cancel(live: Live) -> list[Arrival]:
    live.deliver([arrived("count", 2, START_MS + HOUR_MS)])
    cancel = correction(1, START_MS + DAY_MS)
    assert live.partition.corrected.correct(cancel)
    job = Repair(live.partition, NAME, next_cut(live.partition, NAME))
    (identity,) = job.turning()
    entry = live.partition.index.find(identity)
    assert entry is not None
    original = Original.of(entry, live.arrived()[0])
    assert drained(job.repairing({identity: original})) == set()
    job.finish()
    return live.arrived()[1:]


@pytest.mark.parametrize(
    ("go_on", "skipped"),
    [
        (terminate, ["count"]),
        (publish_another_metric, []),
        (publish_a_cancel, ["count"]),
        (repair_for_a_cancel, ["count"]),
    ],
)
def test_what_changes_while_events_are_read_is_not_called_wrong(
    go_on: Callable[[Live], list[Arrival]], skipped: list[str]
) -> None:
    live = Live(definitions_of(["count", "sum"]))
    live.define_all()
    first = arrived("count", 0, START_MS + HOUR_MS)
    live.deliver([first])
    verification = begun(Verification(live.partition, [NAME]))
    verification.feed([first])
    verification.feed(go_on(live))
    assert end_of(verification) == Found(skipped, 0)
    assert verified(live) == Found([], 0)


def test_what_is_published_of_deleted_events_is_not_called_wrong() -> None:
    live = Live(definitions_of(["count", "sum"]))
    live.define_all()
    events = [arrived("sum", n, START_MS + (n + 1) * HOUR_MS, v="5") for n in range(2)]
    live.deliver([*events, arrived("count", 2, START_MS + DAY_MS)])
    live.close_until(CLOSED_MS)

    def found(begins_at: int) -> Found:
        verification = begun(Verification(live.partition, [NAME]))
        verification.read_from({0: begins_at})
        verification.feed([each for each in live.arrived() if each.raw_offset >= begins_at])
        return end_of(verification)

    assert found(begins_at=0) == Found([], 0)
    # What it has of the metric that lost nothing stands for itself, and the records for nobody.
    assert found(begins_at=1) == Found(["sum"], 0)
    assert found(begins_at=3) == Found(["count", "sum"], 0)


@pytest.mark.parametrize("code", ["balance", "seats", "level"])
@pytest.mark.parametrize("corrected", [False, True], ids=["as it came", "corrected"])
def test_a_recurring_figure_is_recounted_when_its_period_is_open_no_more(
    code: str, *, corrected: bool
) -> None:
    live = Live(definitions_of([code], SHORT_SETTINGS))
    live.define_all()
    times = [(HOUR_MS, HOUR_MS), (DAY_MS, DAY_MS), (WEEK_MS + 6 * DAY_MS, 2 * DAY_MS)]
    for offset, (at_ms, dated_ms) in enumerate(times):
        value = {"v": "5", "u": f"u{offset}", "operation_type": "add"}
        one = event(code, f"t{offset}", START_MS + dated_ms, SUBSCRIPTION, **value)
        live.close_until(START_MS + at_ms - 1)
        live.define_until(START_MS + at_ms)
        live.deliver([Arrival(one, ORG, START_MS + at_ms, 0, offset, 0)])
    if corrected:
        at_ms = START_MS + 2 * WEEK_MS + DAY_MS
        live.close_until(at_ms - 1)
        live.define_until(at_ms)
        assert live.partition.corrected.correct(correction(3, at_ms))
        cut_ms = next_cut(live.partition, NAME)
        refold = Refold(live.partition, [(*NAME, code)], {NAME: cut_ms})
        refold.feed(live.arrived())
        assert refold.swap()
    live.close_until(START_MS + 4 * WEEK_MS)

    def differences() -> int:
        skipped, found = verified(live)
        assert not skipped
        return found

    assert differences() == 0
    (first,) = [
        period for (_, at), period in live.partition.published.periods.items() if at == START_MS
    ]
    ((name, cell),) = first.cells.items()
    first.cells[name] = msgspec.structs.replace(cell, units="7.5")
    assert differences() == 1


def test_a_correction_that_was_never_taken_is_named() -> None:
    live = Live(definitions_of(["max"]))
    live.define_all()
    live.deliver([arrived("max", 0, START_MS, v="5")])
    cancel = correction(1, START_MS + 1)
    for strangers, names in ((False, [NAME]), (True, [])):
        verification = begun(Verification(live.partition, names))
        verification.feed(live.arrived())
        verification.check_corrections([cancel], strangers=strangers)
        found = [(one.kind, one.refolded) for one in verification.lost]
        told = {"correction_id": "c", "transaction_id": "t0", "place": "0:1:0"}
        assert found == ([("correction", told)] if names else [])
    live.partition.corrected.correct(cancel)
    verification = begun(Verification(live.partition, [NAME]))
    verification.check_corrections([cancel])
    assert verification.lost == []


@pytest.mark.parametrize(("later_ms", "skipped"), [(1, []), (0, ["max"]), (-1, ["max"])])
def test_a_correction_as_old_as_its_event_is_not_called_wrong_before_cells_show_it(
    later_ms: int, skipped: list[str]
) -> None:
    """A refold would count it at once: nothing says of the cells which of both is right."""
    live = Live(definitions_of(["max", "count"]))
    live.define_all()
    live.deliver([arrived("max", 0, START_MS + 5, v="5")])
    assert live.partition.corrected.correct(correction(1, START_MS + 5 + later_ms))
    assert verified(live) == Found(skipped, 0)
    refold = Refold(live.partition, [(*NAME, "max")], {NAME: NEVER_MS})
    refold.feed(live.arrived())
    assert refold.swap()
    assert verified(live) == Found([], 0)


def verified(live: Live) -> Found:
    verification = begun(Verification(live.partition, [NAME]))
    verification.feed(live.arrived())
    return end_of(verification)


def test_a_correction_is_known_by_what_it_says_also_after_a_restore() -> None:
    table = CorrectionTable()
    amended = event("max", "t0", START_MS, v="7")
    table.accept(b"%12d" % 0, correction(1, NEVER_MS, amended))
    restored = CorrectionTable()
    for key, value in table.take_changes().items():
        restored.load(key, value)
    for each in (table, restored):
        assert each.has_taken(correction(1, NEVER_MS, amended))
        assert not each.has_taken(correction(1, NEVER_MS, event("max", "t0", START_MS, v="8")))
        assert not each.has_taken(correction(1, NEVER_MS))
        # Sent again under its id, it changes nothing, whatever it says.
        assert each.has_taken(correction(2, NEVER_MS))


def test_a_copy_that_a_broker_has_stamped_before_its_original_is_a_duplicate() -> None:
    """As a new leader may, whose clock is behind: along a partition the offset decides."""
    live = Live(definitions_of(["max"]))
    live.define_all()
    first = arrived("max", 0, START_MS + 5, v="5")
    again = replace(first, raw_offset=1, append_time_ms=START_MS)
    live.deliver([first, replace(again, append_time_ms=START_MS + 5)])
    verification = begun(Verification(live.partition, [NAME]))
    verification.feed([first, again])
    assert verification.lost == []
    assert verdict(live.partition, again).standing == "duplicate"
    earlier = replace(first, raw_partition=1, append_time_ms=START_MS)
    assert verdict(live.partition, earlier).standing == "lost"


def test_who_begins_in_turns_takes_a_step_for_each_pair() -> None:
    """Of twenty thousand meter keys that are made ready at once, others would notice."""
    live = Live(definitions_of(["max"]))
    live.define_all()
    live.deliver([arrived("max", 0, START_MS, v="5")])
    verification = Verification(live.partition, [NAME])
    steps = sum(1 for _ in verification.beginning())
    # Its terms, its generation, its route, and the groups that the live route is open to.
    assert steps == 1 + 3 * len(verification.meter_keys)
    verification.feed([arrived("max", 0, START_MS, v="5")])
    assert [compared.differences for compared in filter(None, verification.compare())] == [[]]


def of_many_groups() -> tuple[Live, Verification]:
    """A partition with so many groups that a step on the way ends three times, all of them read."""
    one = Live(definitions_of(["sum"]))
    one.define_all()
    one.deliver(
        [
            arrived("sum", number, START_MS, v="5", g=f"g{number}")
            for number in range(3 * STEP_ITEMS)
        ]
    )
    verification = begun(Verification(one.partition, [NAME]))
    verification.feed(one.arrived())
    return one, verification


def test_many_groups_of_a_pair_are_compared_by_steps() -> None:
    """A meter key of 30,000 groups held the loop for 0.7 s, while its fold waited."""
    _, verification = of_many_groups()
    (*made, compared) = verification.compare()
    assert compared is not None
    assert (compared.cells, compared.differences) == (3 * STEP_ITEMS, [])
    # Settled, two looks at places; on both sides: listed, forgotten or not, looked at for others.
    assert made == [None] * 3 * (1 + 2 + 2 * 3)


def test_what_is_defined_between_two_steps_is_not_called_wrong() -> None:
    one, verification = of_many_groups()
    for span in one.partition.views.route_of((*NAME, "sum")).spans:
        for layer in span.layers.values():
            next(iter(layer.cells.values())).state.events += 1
    steps = verification.compare()
    assert next(steps) is None
    terminate(one)
    (compared,) = filter(None, steps)
    assert (compared.skipped, compared.differences) == (True, [])


def sampled() -> tuple[Live, Verification]:
    """A partition that has forgotten four weeks, and a verification of the fifth that has begun."""
    one = live(4, "sum")
    pass_until(one, START_MS + 4 * WEEK_MS + DAY_MS)
    assert one.forget(NAME)
    one.deliver([arrived("sum", 100, START_MS + 4 * WEEK_MS + 2 * DAY_MS, v="5")])
    verification = begun(Verification(one.partition, [NAME], recent=True))
    assert verification.refold.appended_from_ms == START_MS + 4 * WEEK_MS - DAY_MS - HOUR_MS
    assert verification.refold.start_offsets((90, 7)) == (90, None)
    return one, verification


def test_a_sample_is_of_what_is_not_forgotten() -> None:
    one, verification = sampled()
    recent = [arrival for arrival in one.arrived() if arrival.raw_offset >= 100]
    verification.feed(recent)
    assert end_of(verification) == Found([], 0)
    (cell,) = [
        cell
        for span in one.partition.views.route_of((*NAME, "sum")).spans
        for layer in span.layers.values()
        for cell in layer.cells.values()
    ]
    cell.state.events += 1
    again = begun(Verification(one.partition, [NAME], recent=True))
    again.feed(recent)
    assert end_of(again) == Found([], 1)


def test_a_sample_of_who_is_forgotten_whole_reads_no_event_of_before() -> None:
    one = live(4, "sum")
    pass_until(one, START_MS + 4 * WEEK_MS + DAY_MS)
    assert one.forget(NAME)
    verification = begun(Verification(one.partition, [NAME], recent=True))
    newest_ms = START_MS + 3 * WEEK_MS + HOUR_MS
    assert verification.refold.appended_from_ms == newest_ms + 1 - DAY_MS - HOUR_MS
    assert end_of(verification) == Found([], 0)


def test_a_sample_of_one_metric_stands_beside_all_of_another() -> None:
    """What recurs is read from its first event on; records are compared of what is not final."""
    one = live(4, "sum", "balance")
    pass_until(one, START_MS + 4 * WEEK_MS + DAY_MS)
    assert one.forget(NAME)
    verification = begun(Verification(one.partition, [NAME], recent=True))
    verification.feed(one.arrived())
    assert end_of(verification) == Found([], 0)


@pytest.mark.parametrize("recent", [True, False])
def test_each_period_is_a_step_and_a_sample_takes_as_many_at_any_age(recent: bool) -> None:
    steps = []
    for weeks in (4, 24):
        one = live(weeks, "sum", "balance")
        pass_until(one, START_MS + weeks * WEEK_MS + DAY_MS)
        assert one.forget(NAME)
        verification = begun(Verification(one.partition, [NAME], recent=recent))
        verification.feed(one.arrived())
        assert all(compared.differences == [] for compared in filter(None, verification.compare()))
        (*made, found) = verification.compare_published()
        assert (set(made) <= {None}, found) == (True, [])
        steps.append(len(made))
    assert steps[1] == steps[0] if recent else steps[1] >= steps[0] + 20


def test_a_sample_says_nothing_once_a_correction_may_concern_what_was_left_out() -> None:
    one, verification = sampled()
    verification.feed([arrival for arrival in one.arrived() if arrival.raw_offset >= 100])
    assert one.partition.corrected.correct(correction(101, START_MS + 4 * WEEK_MS + 3 * DAY_MS))
    assert end_of(verification) == Found(["sum"], 0)


def test_a_sample_says_nothing_once_an_event_comes_of_a_week_that_had_none() -> None:
    one = with_a_first_week_that_is_open()
    verification = begun(Verification(one.partition, [NAME], recent=True))
    verification.feed(one.arrived())
    one.deliver([LATE])
    verification.feed([LATE])
    assert end_of(verification) == Found(["sum"], 0)


@pytest.mark.parametrize("revised", [False, True])
def test_what_was_published_of_many_groups_is_read_a_few_at_a_step(
    revised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = definitions_of(["sum"])
    made[2].command.payload["plan"]["charges"][0]["properties"]["pricing_group_keys"] = ["g"]
    one, groups = Live(made), 10 * STEP_ITEMS
    one.define_all()
    one.deliver([arrived("sum", i, START_MS, v="1", g=f"{i}") for i in range(groups)])
    one.close_until(CLOSED_MS)
    if revised:
        one.deliver([arrived("sum", groups, START_MS, CLOSED_MS + 1, v="1", g=f"{groups - 1}")])
        pass_until(one, next_cut(one.partition, NAME))
    one.flush()
    verification = begun(Verification(one.partition, [NAME]))
    verification.feed(one.arrived())
    assert not any(compared.differences for compared in filter(None, verification.compare()))
    unpacked, read = PackedPeriod.__getitem__, list[PublishedCellKey]()

    def get(self: PackedPeriod, name: PublishedCellKey) -> PublishedCell:
        read.append(name)
        return unpacked(self, name)

    monkeypatch.setattr(PackedPeriod, "__getitem__", get)
    steps = []
    for differences in verification.compare_published():
        assert not differences
        steps.append(len(read))
        read.clear()
    assert sum(steps) >= groups
    assert max(steps) <= STEP_ITEMS


def of_group(group: str, offset: int, at_ms: int) -> Arrival:
    return arrived("balance", offset, at_ms, v="1", g=group)


def with_groups_since_places_were_forgotten() -> Live:
    """Two find room. "x" was there before its weeks were final, "y" and "z" came afterwards."""
    settings = replace(SHORT_SETTINGS, max_groups=2, late_window_s=0)
    made = definitions_of(["balance"], settings)
    (charge,) = made[2].command.payload["plan"]["charges"]
    kept = {key: value for key, value in charge.items() if key != "new_id"}
    charge["properties"] = {**charge["properties"], "pricing_group_keys": ["g"]}
    one = Live(made)
    one.define_all()
    one.deliver([of_group("x", 0, START_MS)])
    one.close_until(CLOSED_MS)
    changed = {"charges": [{**kept, "id": charge["new_id"]}]}
    one.append(CLOSED_MS + 1, commands.update_plan(ORG, "plan", changed))
    for offset, group in enumerate("yz", 1):
        pass_until(one, START_MS + (offset + 1) * WEEK_MS)
        one.flush()
        one.forget(NAME)
        one.deliver([of_group(group, offset, START_MS + (offset + 1) * WEEK_MS + HOUR_MS)])
    return one


@pytest.mark.parametrize("again", [False, True], ids=["forgotten once", "forgotten again"])
@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_groups_that_came_once_places_were_forgotten_are_not_called_wrong(
    order: tuple[int, ...], again: bool
) -> None:
    """Which groups had a place is known only once all events are read, in any order."""
    one = with_groups_since_places_were_forgotten()
    if again:
        one.flush()
        assert one.forget(NAME)
    events = [one.arrived()[number] for number in order]
    ended = [end_of(job) for job in rounds(begun(Verification(one.partition, [NAME])), events)]
    assert ended == [Found([], 0)] * (1 if set(order[:2]) == {0, 1} else 2)
    live_cell = _any_cell(one)
    live_cell.state.events += 1
    found = [end_of(job) for job in rounds(begun(Verification(one.partition, [NAME])), events)]
    assert [each.differences > 0 for each in found] == [False] * (len(ended) - 1) + [True]
    live_cell.state.events -= 1
    # What was published of the groups that are forgotten is compared, too.
    subscription_id = live_cell.layer.span.key.subscription_id
    period = one.partition.published.find((subscription_id, START_MS))
    assert period is not None
    ((told, known),) = period.cells.items()
    wrong = replace(known, units="7.0")
    one.partition.published.put_cell((subscription_id, START_MS), told, wrong)
    found = [end_of(job) for job in rounds(begun(Verification(one.partition, [NAME])), events)]
    assert found[-1] == Found([], 1)


def test_what_has_other_groups_at_the_second_reading_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = with_groups_since_places_were_forgotten()
    monkeypatch.setattr(GroupAdmission, "agreeing", lambda *_: _never())
    first = begun(Verification(one.partition, [NAME]))
    ended = [end_of(job) for job in islice(rounds(first, one.arrived()), 3)]
    assert ended == [Found([], 0), Found(["balance"], 0)]


def _never() -> Steps[bool]:
    yield
    return False


def _any_cell(one: Live) -> Cell:
    cells = [
        cell
        for span in one.partition.views.route_of((*NAME, "balance")).spans
        for layer in span.layers.values()
        for cell in layer.cells.values()
    ]
    return cells[-1]
