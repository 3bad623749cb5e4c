"""A law of watched cells: events that count from one cut on are folded at once as one by one.

An alert has its cells watched, so that each of their events counts from its grid cut on. Daily
records have each charge fold once more, where an event counts from the cut of its day on.
"""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction
from tables.cells.watch import Watch
from tables.changelogged.checkpoint import Checkpoint
from tables.closing.close import next_cut
from tables.partition.refold import Refold
from tests.laws.test_straight import APART, PLAIN, Close, same
from tests.world.clock import DAY_MS, HOUR_MS, START_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    changing_definitions,
    definitions_of,
    lines,
    plan_body,
)
from tests.world.events import arrivals, arrived, slices
from tests.world.partition import Live
from tests.world.profiles import examples

CODES = (*PLAIN, "balance")
MINUTE_MS = 60_000
DAILY = replace(SETTINGS, daily_records=True)
WATCHING = [
    replace(each, usage_changed=tells) for each in (SETTINGS, DAILY) for tells in (False, True)
]


class OneByOne(Close):
    """A partition that folds event by event whatever is watched."""

    def deliver(self, batch: Sequence[Arrival]) -> None:
        with (
            patch("tables.fold._fold_late", return_value=None),
            patch("tables.fold._fold_by_cells", side_effect=lambda *given: (None, given[3])),
            patch("tables.partition.changed.Changed._is_noted", return_value=False),
        ):
            super().deliver(batch)


def watching(
    made: Sequence[CommandAt], codes: Sequence[str], since_ms: int, gone_ms: Sequence[int] = ()
) -> list[CommandAt]:
    """Add an alert on each metric, which is deleted, and made anew, by turns at some times."""
    alerts = [
        {
            "alert_type": "billable_metric_current_usage_units",
            "code": code,
            "billable_metric_code": code,
            "thresholds": [{"value": "1", "recurring": True}],
        }
        for code in codes
    ]
    told = [(line.append_time_ms, line.command) for line in made]
    for number, at_ms in enumerate((since_ms, *gone_ms)):
        for alert in alerts:
            command = commands.create_alert(ORG, SUBSCRIPTION, alert)
            if number % 2:
                command = commands.delete_alert(ORG, SUBSCRIPTION, str(alert["code"]))
            told.append((at_ms, command))
    return lines(sorted(told, key=lambda line: line[0]))


@examples(150)
@given(st.data())
def test_events_of_a_cut_are_folded_at_once_as_one_by_one(data: st.DataObject) -> None:
    """Among cuts that are taken, definitions that change, and restarts."""
    codes = data.draw(st.sampled_from([CODES, PLAIN[-1:], ("balance", "sum"), APART]))
    changing = data.draw(st.booleans())
    settings = data.draw(st.sampled_from(WATCHING))
    made = definitions_of(codes, settings)
    if changing:
        made = [made[0], *data.draw(changing_definitions(codes))[1:]]
    since_ms = START_MS + data.draw(st.sampled_from([0, 1, HOUR_MS]))
    steps_ms = data.draw(st.lists(st.sampled_from([1, MINUTE_MS, HOUR_MS, DAY_MS]), max_size=3))
    gone_ms = [since_ms + sum(steps_ms[: n + 1]) for n in range(len(steps_ms))]
    definitions = watching(made, codes, since_ms, gone_ms)
    events = data.draw(arrivals(codes, ids=30, max_events=40))
    if data.draw(st.booleans()):
        # Most come within some minutes, or hours, in time.
        step_ms = data.draw(st.sampled_from([7_000, HOUR_MS]))
        events = [
            replace(each, append_time_ms=START_MS + HOUR_MS + step_ms * number)
            for number, each in enumerate(events)
        ]
    lives = Live(definitions), OneByOne(definitions)
    for batch in data.draw(slices(events)):
        defined, closes, restarts = data.draw(
            st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 7))
        )
        for live in lives:
            live.define(defined)
            live.deliver(batch)
            if closes and batch and not changing:
                live.close_until(min(each.append_time_ms for each in batch) - 1)
            if restarts == 0:
                live.restart()
        assert lives[0].cells() == lives[1].cells()
    same(*lives, traces=False)
    assert [each.value for each in lives[0].records] == [each.value for each in lives[1].records]


@pytest.mark.parametrize("codes", [CODES, APART])
def test_the_second_event_of_a_watched_cell_goes_straight_until_its_cut(
    codes: Sequence[str],
) -> None:
    definitions = definitions_of(codes)
    live = Live(watching(definitions, codes, START_MS))
    live.define_all()
    first_ms = START_MS + HOUR_MS

    def deliver(*appended_ms: int) -> int:
        before = live.straight
        for at_ms in appended_ms:
            for code in codes:
                name = f"{code}{at_ms}"
                live.deliver([arrived(code, at_ms, at_ms, transaction_id=name, u="a", v="1")])
        return (live.straight - before) // len(codes)

    assert deliver(first_ms + 1, first_ms + 2, first_ms + MINUTE_MS) == 2
    assert deliver(first_ms + MINUTE_MS + 1, first_ms + 2 * MINUTE_MS) == 1
    # Of the cut before, which is not taken yet; and of this one again.
    assert deliver(first_ms + 3, first_ms + MINUTE_MS + 2) == 0
    live.close_until(first_ms + 2 * MINUTE_MS)
    assert deliver(first_ms + MINUTE_MS + 3) == 0


@pytest.mark.parametrize("kind", ["current", "lifetime"])
@pytest.mark.parametrize("codes", [CODES, APART])
def test_events_go_straight_again_once_the_alert_is_gone(kind: str, codes: Sequence[str]) -> None:
    """One on another metric stays."""
    at_ms = START_MS + HOUR_MS
    made = watching(definitions_of([*codes, "fees"]), ["fees"], START_MS)
    made = watching(made, codes, START_MS, [at_ms + 1])
    for line in made:
        if line.command.type == "create_alert":
            line.command.payload["alert"]["alert_type"] = f"billable_metric_{kind}_usage_units"
    lives = Live(made), OneByOne(made)
    straight = []
    for live in lives:
        live.define_until(START_MS)
        for number in range(6):
            appended_ms = at_ms + (number - 2) * MINUTE_MS + 1
            live.close_until(appended_ms - 1)
            before = live.straight
            live.deliver(
                [
                    arrived(code, n, appended_ms, transaction_id=f"t{n}", u="a", v="1", g="x")
                    for n, code in enumerate(codes, number * len(codes))
                ]
            )
            straight.append((live.straight - before) // len(codes))
    # What comes until the next grid cut is yet of the alert.
    assert straight == [0, 0, 0, 0, 1, 1] + [0] * 6
    # Nothing is folded over the life of who is watched no more.
    assert not any(key.charge_id.endswith(":lifetime") for key, _ in lives[0].cells())
    same(*lives)


def canceled(live: Live, transaction_id: str, at_ms: int) -> None:
    """Cancel an event."""
    told = Correction(ORG, SUBSCRIPTION, transaction_id, "cancel", None, f"c{at_ms}", b"")
    state, name = live.partition, (ORG, SUBSCRIPTION)
    state.corrected.correct(CorrectionArrival(told, ORG, at_ms, 0, at_ms, 0))
    keys = state.event_ranges.meter_keys_of(name)
    refold = Refold(state, keys, {name: next_cut(state, name)})
    refold.feed(live.arrived())
    assert refold.swap()


def test_who_deleted_the_last_alert_waits_for_no_grid_cut() -> None:
    """What is defined or corrected before that does, whenever it is known to be gone."""
    at_ms, name = START_MS + HOUR_MS, (ORG, SUBSCRIPTION)
    gone_ms = at_ms + 5 * MINUTE_MS
    live = Live(watching(definitions_of(["count"]), ["count"], START_MS, [gone_ms]))
    live.define_until(gone_ms - 1)
    live.deliver([arrived("count", 0, at_ms + 1, transaction_id="t0")])
    live.close_until(at_ms + MINUTE_MS)
    live.define_all()
    standing, cuts = live.partition.standing, live.partition.cuts
    assert standing.next_awaited_ms() == gone_ms - MINUTE_MS
    canceled(live, "t0", at_ms + 2 * MINUTE_MS + 1)
    live.close_until(gone_ms)
    (row,) = live.partition.evaluations.rows.values()
    assert (row.cut_ms, row.units) == (at_ms + 3 * MINUTE_MS, "0.0")
    live.deliver([arrived("count", 1, gone_ms + HOUR_MS, transaction_id="t1")])
    canceled(live, "t1", gone_ms + HOUR_MS + 1)
    assert not cuts.grid.by_name
    ended = commands.terminate_subscription(ORG, SUBSCRIPTION)
    live.append(gone_ms + 2 * HOUR_MS, ended)
    assert standing.behind_since_ms is None
    assert cuts.late.of(name)
    assert not cuts.grid.by_name


def test_a_route_made_anew_knows_of_no_alert_of_which_all_is_told() -> None:
    """Whoever has an alert anew each day would have its first event look at all of them."""
    gone_ms = START_MS + HOUR_MS
    live = Live(watching(definitions_of(["count"]), ["count"], START_MS, [gone_ms]))
    live.define_all()
    routes, meter_key = live.partition.routes, (ORG, SUBSCRIPTION, "count")
    watched = []
    for at_ms in (gone_ms - 1, gone_ms):
        live.close_until(at_ms)
        watched.append([span.watch is not None for span in routes.compile(meter_key).spans])
    assert watched == [[True], [False]]


def test_what_comes_late_of_a_deleted_alert_is_looked_at() -> None:
    """It was appended before the last cut that the alert is asked at, and that is not taken yet."""
    at_ms = START_MS + HOUR_MS
    made = watching(definitions_of(["count"]), ["count"], START_MS, [at_ms + 1])
    lives = Live(made), OneByOne(made)
    for live in lives:
        live.define_all()
        live.close_until(at_ms)
        for number, after_ms in enumerate((MINUTE_MS + 1, MINUTE_MS + 2, 2)):
            name = f"t{number}"
            live.deliver([arrived("count", number, at_ms, at_ms + after_ms, transaction_id=name)])
    assert lives[0].straight == 1
    assert lives[0].cells() == lives[1].cells()


def at_hours(live: Live, dated: int, appended: int, codes: Sequence[str] = CODES) -> int:
    """Deliver an event of each code; return how many went straight."""
    before, place = live.straight, 100 * appended
    for n, code in enumerate(codes, place):
        times_ms = START_MS + dated * HOUR_MS, START_MS + appended * HOUR_MS
        live.deliver([arrived(code, n, *times_ms, transaction_id=f"t{n}", u="a", v="1")])
        live.flush()
    return live.straight - before


@pytest.mark.parametrize("codes", [CODES, APART])
def test_the_second_event_of_a_day_goes_straight_into_both_spans(codes: Sequence[str]) -> None:
    definitions = definitions_of(codes, DAILY)
    lives = Live(definitions), OneByOne(definitions)
    straight = []
    for live in lives:
        live.define_all()
        live.close_until(START_MS)
        for dated, appended in (
            (1, 1),
            (2, 2),
            (3, 3),
            (3, 25),
            (26, 26),
            (5, 27),
            (50, 50),
            (51, 51),
        ):
            straight.append(at_hours(live, dated, appended, codes) // len(codes))
    # A group takes its place in a day first.
    first = int(codes is CODES)
    assert straight == [0, first, 1, 0, 1, 1, 0, 1] + [0] * 8
    assert lives[0].cells() == lives[1].cells()
    assert lives[0].changelog.cells == lives[1].changelog.cells
    daily = [key for key, _ in lives[0].cells() if key.charge_id.endswith(":daily")]
    assert len(daily) == len(codes)


def test_an_event_goes_straight_into_the_cells_of_all_charges() -> None:
    """Or into none of them: its group is known to each, but not both of its groups to one."""
    definitions = watching(definitions_of(["sum"]), ["sum"], START_MS)
    (charge,) = plan_body(["sum"])["charges"]
    other = {**charge, "code": "other", "properties": {"amount": "1", "pricing_group_keys": ["u"]}}
    told = [(line.append_time_ms, line.command) for line in definitions]
    told.append((START_MS, commands.create_charge(ORG, "plan", other)))
    lives = Live(lines(told)), OneByOne(lines(told))
    straight = []
    for live in lives:
        live.define_all()
        for group, user in ("xa", "yb", "xb", "xc", "xc"):
            place, before = live.accepted, live.straight
            at_ms = START_MS + HOUR_MS + 1 + place
            live.deliver([arrived("sum", place, at_ms, at_ms, v="1", g=group, u=user)])
            straight.append(live.straight - before)
    assert straight == [0, 0, 1, 0, 1] + [0] * 5
    same(*lives)


def test_events_of_two_days_in_one_batch_count_from_their_own_on() -> None:
    definitions = definitions_of(["count"], DAILY)
    lives = Live(definitions), OneByOne(definitions)
    batch = [
        arrived(
            "count", n, START_MS + n * HOUR_MS, START_MS + hour * HOUR_MS, transaction_id=f"{n}"
        )
        for n, hour in enumerate((1, 2, 25))
    ]
    for live in lives:
        live.define_all()
        # Days are told once the settings are looked at.
        live.close_until(START_MS)
        live.deliver(batch)
        assert {key.charge_id.partition(":")[2] for key, _ in live.cells()} == {"", "daily"}
    assert lives[0].cells() == lives[1].cells()


def test_no_event_goes_straight_into_a_set_of_members_that_is_not_whole() -> None:
    """Of the span beside: whoever asks for that of the first span does not see it."""
    live = Live(definitions_of(["heads"], DAILY))
    live.define_all()
    live.close_until(START_MS)
    assert [at_hours(live, hour, hour, ["heads"]) for hour in (1, 2)] == [0, 1]
    late = live.partition.routes.by_key[ORG, SUBSCRIPTION, "heads"].late
    assert late is not None
    (beside,) = late.beside
    assert beside.set_key is not None
    live.partition.members.complete.discard(beside.set_key)
    assert at_hours(live, 3, 3, ["heads"]) == 0


def test_no_event_goes_straight_beside_into_a_day_that_is_taken() -> None:
    live = Live(definitions_of(["count"], DAILY))
    live.define_all()
    live.close_until(START_MS)
    assert [at_hours(live, hour, hour, ["count"]) for hour in (1, 2)] == [0, 1]
    live.close_until(START_MS + 2 * DAY_MS)
    assert at_hours(live, 3, 3, ["count"]) == 0


def test_events_of_two_cuts_count_from_their_own_on() -> None:
    live = Live(watching(definitions_of(["count"]), ["count"], START_MS))
    live.define_all()
    at_ms = START_MS + HOUR_MS
    times_ms = (at_ms + 1, at_ms + 2, at_ms + MINUTE_MS + 1)
    live.deliver([arrived("count", n, ms, transaction_id=f"t{n}") for n, ms in enumerate(times_ms)])
    seen = []
    for cut_ms in (at_ms + MINUTE_MS, at_ms + 2 * MINUTE_MS):
        live.close_until(cut_ms)
        seen += [each.units for each in live.partition.evaluations.rows.values()]
    assert seen == ["2.0", "3.0"]


def test_how_far_ahead_the_next_event_is_dated_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a period ends later than an event may be dated."""
    live = Live(watching(definitions_of(["count"]), ["count"], START_MS))
    live.define_all()
    monkeypatch.setattr("tables.routing.route.MAX_EVENT_AHEAD_MS", DAY_MS)
    for number in range(3):
        at_ms = START_MS + HOUR_MS
        live.deliver([arrived("count", number, at_ms, at_ms, transaction_id=f"t{number}")])
    assert (live.accepted, live.straight) == (3, 0)


def test_who_asked_until_a_cut_that_is_taken_decides_no_other() -> None:
    """A route that is made anew does not know of them: nothing goes elsewhere for that."""
    grids, checkpoint = ((0, MINUTE_MS),), Checkpoint(cut_ms=3 * MINUTE_MS)
    asked = (50_000, MINUTE_MS), (MINUTE_MS + 1, 3 * MINUTE_MS), (200_000, NEVER_MS)
    old, new = (Watch(stretches, grids, checkpoint) for stretches in (asked, asked[-1:]))
    joined = Watch(((MINUTE_MS + 1, NEVER_MS),), grids, checkpoint)
    begun = Watch(((2 * MINUTE_MS, NEVER_MS),), grids, checkpoint)
    for at_ms in (1, MINUTE_MS, 150_000, 4 * MINUTE_MS):
        assert old.reached(at_ms) == new.reached(at_ms)
    assert joined.reached(4 * MINUTE_MS) == begun.reached(4 * MINUTE_MS)
    assert joined.reached(4 * MINUTE_MS) != new.reached(4 * MINUTE_MS)
    checkpoint.cut_ms = MINUTE_MS
    assert old.reached(4 * MINUTE_MS) != new.reached(4 * MINUTE_MS)


def test_a_grid_that_begins_ends_what_has_the_same_cut() -> None:
    grids = ((0, MINUTE_MS), (30_001, 10_000))
    watch = Watch(((5_000, NEVER_MS),), grids, Checkpoint())
    for at_ms in (1, 5_000, 5_001, 30_000, 30_001, 40_000, 40_001):
        until_ms = watch.same_until(at_ms)
        assert watch.cut_of(until_ms) == watch.cut_of(at_ms)
        assert watch.cut_of(until_ms + 1) != watch.cut_of(at_ms)
    assert watch.same_until(20_000) == 30_000
