"""Events go straight of who began anew, or has another plan, as those of whoever never did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from tables import fold
from tables.routing import route
from tests.laws.test_partition import ALL, GRACES
from tests.laws.test_straight import APART, LATE, PLAIN, same
from tests.laws.test_watched import DAILY, OneByOne, canceled, watching
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    definitions_of,
    lines,
    plan_body,
    subscription_body,
)
from tests.world.events import arrivals, arrived, slices
from tests.world.partition import Live
from tests.world.profiles import examples

AGAIN_MS = START_MS + WEEK_MS + DAY_MS
"""When a subscription begins anew, on the second day of a week."""


@pytest.fixture(scope="module", autouse=True)
def spans_are_found_by_time() -> Iterator[None]:
    """Have all spans found as those of very many are."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (route, fold):
            patch.setattr(module, "FEW_SPANS", 0)
        yield


def ended() -> Command:
    """Return the command that ends the subscription."""
    return commands.terminate_subscription(ORG, SUBSCRIPTION)


def begun(plan: str = "plan") -> Command:
    """Return the command that begins it, or gives it another plan."""
    return commands.create_subscription(
        ORG, subscription_body(subscription_at=None, plan_code=plan)
    )


PLANS = {"cheap": 0, "dear": 100_000, "dearer": 200_000}
"""Other plans, by what they cost; an upgrade holds at once, a downgrade from the next week on."""


def anew(
    made: Sequence[CommandAt], codes: Sequence[str], *more: tuple[int, Command]
) -> list[CommandAt]:
    """Add the other plans, and definitions at their times."""
    told = [(line.append_time_ms, line.command) for line in made]
    for plan, amount_cents in PLANS.items():
        body = plan_body(codes, code=plan, amount_cents=amount_cents)
        told.append((START_MS - HOUR_MS, commands.create_plan(ORG, body)))
    return lines(sorted([*told, *more], key=lambda line: line[0]))


WAYS = {
    "begun anew": ((AGAIN_MS, ended()), (AGAIN_MS + 1, begun())),
    "begun anew later": ((AGAIN_MS - DAY_MS, ended()), (AGAIN_MS + 1, begun())),
    "upgraded": ((AGAIN_MS, begun("dear")),),
    "upgraded twice": ((AGAIN_MS - DAY_MS, begun("dear")), (AGAIN_MS, begun("dearer"))),
}
CODES = (*PLAIN, *APART)


def sent(live: Live, codes: Sequence[str], at_ms: int, appended_ms: int) -> int:
    """Deliver an event of each code; return how many went straight."""
    before, place = live.straight, live.accepted
    for n, code in enumerate(codes, place):
        name = f"t{n}"
        live.deliver(
            [
                arrived(
                    code,
                    n,
                    at_ms,
                    appended_ms,
                    transaction_id=name,
                    v="1.5",
                    u="a",
                    g="x",
                    operation_type="add",
                )
            ]
        )
    return live.straight - before


@pytest.mark.parametrize("way", WAYS)
def test_events_go_straight_again(way: str) -> None:
    definitions = anew(definitions_of(CODES), CODES, *WAYS[way])
    lives = Live(definitions), OneByOne(definitions)
    straight = []
    for live in lives:
        for at_ms in (START_MS, AGAIN_MS - HOUR_MS, *(AGAIN_MS + n * HOUR_MS for n in range(1, 4))):
            live.close_until(at_ms - 1)
            live.define_until(at_ms)
            straight.append(sent(live, CODES, at_ms, at_ms))
    assert straight == [0, 0, 0, len(CODES), len(CODES), 0, 0, 0, 0, 0]
    same(*lives)


@pytest.mark.parametrize("way", WAYS)
def test_late_events_go_straight_again(way: str) -> None:
    definitions = anew(definitions_of(LATE), LATE, *WAYS[way])
    lives = Live(definitions), OneByOne(definitions)
    straight = []
    for live in lives:
        live.define_until(AGAIN_MS + 1)
        sent(live, LATE, START_MS, START_MS)
        live.close_until(AGAIN_MS + 2 * WEEK_MS)
        # Of the part of the week that the newer one has, and of the week before.
        for at_ms in (AGAIN_MS + HOUR_MS, START_MS):
            came_ms = AGAIN_MS + 2 * WEEK_MS
            straight += [sent(live, LATE, at_ms, came_ms + n) for n in range(1, 4)]
    assert straight == [0, len(LATE), len(LATE)] * 2 + [0] * 6
    same(*lives)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("settings", [SETTINGS, DAILY])
def test_events_of_watched_cells_go_straight_again(way: str, settings: SettingsRecord) -> None:
    codes = PLAIN
    made = watching(definitions_of(codes, settings), codes, START_MS)
    definitions = anew(made, codes, *WAYS[way])
    lives = Live(definitions), OneByOne(definitions)
    straight = []
    for live in lives:
        live.define_until(START_MS)
        sent(live, codes, START_MS + 1, START_MS + 1)
        live.close_until(AGAIN_MS + HOUR_MS)
        for n in range(1, 4):
            at_ms = AGAIN_MS + HOUR_MS + n
            straight.append(sent(live, codes, at_ms, at_ms))
    assert straight == [0, len(codes), len(codes), 0, 0, 0]
    same(*lives)


def used_before_and_after(way: str) -> Live:
    """Return one with an event before it began anew, and one after that."""
    live = Live(anew(definitions_of(["count"]), ["count"], *WAYS[way]))
    live.define_until(START_MS)
    sent(live, ["count"], START_MS, START_MS)
    # The cut of its end is yet to come when the next one is begun.
    live.define_until(AGAIN_MS + 1)
    sent(live, ["count"], AGAIN_MS + HOUR_MS, AGAIN_MS + HOUR_MS)
    return live


@pytest.mark.parametrize(
    ("way", "ended"),
    [("begun anew", "period_end"), ("upgraded twice", "plan_change")],
    ids=["begun anew", "upgraded twice"],
)
def test_who_began_anew_is_due_as_long_as_what_was_before_is(way: str, ended: str) -> None:
    live = used_before_and_after(way)
    live.close_until(AGAIN_MS + 3 * WEEK_MS)
    reasons = [b["closing_reason"] for b in live.bodies() if b["type"] == "usage.recorded"]
    assert reasons == [ended, "period_end"]


@pytest.mark.parametrize("way", WAYS)
def test_what_has_ended_is_revised_as_long_as_it_is_not_final(way: str) -> None:
    """And by a correction at any age."""
    live = used_before_and_after(way)

    def revised(at_ms: int) -> list[str]:
        live.records.clear()
        live.close_until(at_ms + WEEK_MS)
        return [b["period"]["from"] for b in live.bodies() if b["type"] == "usage.revised"]

    came_ms = AGAIN_MS + 2 * WEEK_MS + 1
    starts = []
    for dated_ms in (AGAIN_MS + HOUR_MS, START_MS):
        live.close_until(came_ms)
        sent(live, ["count"], dated_ms, came_ms)
        starts += revised(came_ms)
        came_ms += WEEK_MS
    assert len(set(starts)) == 2
    came_ms += 30 * WEEK_MS
    live.close_until(came_ms)
    sent(live, ["count"], came_ms - WEEK_MS, came_ms)
    assert not {*starts} & {*revised(came_ms)}
    canceled(live, "t0", came_ms + WEEK_MS + 1)
    assert revised(came_ms + 2 * WEEK_MS) == [min(starts)]


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[int, Command]]:
    """It ends and begins, and has other plans, at any times of some weeks."""
    days = st.integers(0, 28).map(lambda day: day * DAY_MS)
    made: list[tuple[int, Command]] = []
    for _ in range(draw(st.integers(1, 4))):
        at_ms = START_MS + draw(days | st.integers(0, 4 * WEEK_MS))
        if draw(st.booleans()):
            made.append((at_ms, begun(draw(st.sampled_from([*PLANS, "plan"])))))
            continue
        made.append((at_ms, ended()))
        if draw(st.integers(0, 3)):
            again_ms = at_ms + draw(st.sampled_from([0, 1, HOUR_MS, DAY_MS, WEEK_MS]))
            made.append((again_ms, begun()))
    return made


@examples(200)
@given(st.data())
def test_straight_is_one_by_one(data: st.DataObject) -> None:
    """Among cuts and restarts; with or without alerts and daily records."""
    codes = data.draw(st.sampled_from([ALL, CODES, LATE, PLAIN[-1:], ("balance", "sum")]))
    settings = data.draw(GRACES)
    if data.draw(st.booleans()):
        settings = replace(settings, daily_records=True)
    made = definitions_of(codes, settings)
    if data.draw(st.booleans()):
        made = watching(made, codes, START_MS)
    definitions = anew(made, codes, *data.draw(changes()))
    events = data.draw(arrivals(codes, ids=60, max_events=50))
    known = data.draw(st.sampled_from([len(definitions), len(made) - 1]))
    lives = Live(definitions), OneByOne(definitions)
    for live in lives:
        live.define(known)
    closes = data.draw(st.booleans())
    for batch in data.draw(slices(events)):
        defined, restarts = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 9)))
        for live in lives:
            if closes and batch:
                first_ms = min(each.append_time_ms for each in batch)
                live.close_until(first_ms - 1)
                live.define_until(first_ms)
            elif known < len(definitions):
                live.define(defined)
            live.deliver(batch)
            if restarts == 0:
                live.restart()
        assert lives[0].cells() == lives[1].cells()
    # Who looks closely at a copy may wait for definitions that the other one has not read yet.
    same(*lives, traces=False, notes=known == len(definitions))


def test_what_only_a_lifetime_alert_asks_for_has_no_charge() -> None:
    """The week before has none; the second of its late events would be led by the alert alone."""
    gone = commands.delete_charge(ORG, "plan", "count")
    (charge,) = plan_body(["count"])["charges"]
    back = commands.create_charge(ORG, "plan", {**charge, "code": "again"})
    alert = {
        "alert_type": "billable_metric_lifetime_usage_units",
        "code": "life",
        "billable_metric_code": "count",
        "thresholds": [{"value": "100"}],
    }
    made = [
        (START_MS - HOUR_MS, gone),
        (AGAIN_MS, back),
        (AGAIN_MS, commands.create_alert(ORG, SUBSCRIPTION, alert)),
    ]
    definitions = anew(definitions_of(["count"]), ["count"], *made)
    lives = Live(definitions), OneByOne(definitions)
    for live in lives:
        live.define_all()
        live.close_until(AGAIN_MS)
        for n in range(1, 4):
            sent(live, ["count"], START_MS, AGAIN_MS + n)
        assert live.partition.ignored == {"no_charge": 3}
    same(*lives)


def test_a_plan_that_waits_takes_in_what_recurs_from_now_on() -> None:
    """Its first week shows all that came before."""
    codes = ["level"]
    cheaper_ms = AGAIN_MS + DAY_MS
    ways = (AGAIN_MS, begun("dear")), (cheaper_ms, begun("cheap"))
    definitions = anew(definitions_of(codes), codes, *ways)
    lives = Live(definitions), OneByOne(definitions)
    straight = []
    for live in lives:
        live.define_all()
        for n in range(1, 4):
            at_ms = cheaper_ms + n * HOUR_MS
            straight.append(sent(live, codes, at_ms, at_ms))
    assert straight == [0] * 6
    same(*lives)


def test_groups_of_what_recurs_take_a_place_in_what_has_ended() -> None:
    """Its limit of groups spans all history, so each group that comes is asked for there."""
    limited = replace(SETTINGS, max_groups=1)
    definitions = anew(definitions_of(["level"], limited), ["level"], *WAYS["begun anew"])
    grouped = {"properties": {"amount": "1", "pricing_group_keys": ["g"]}}
    edit = commands.update_charge(ORG, "plan", "level", grouped)
    told = [(line.append_time_ms, line.command) for line in definitions]
    definitions = lines(sorted([*told, (START_MS, edit)], key=lambda line: line[0]))
    lives = Live(definitions), OneByOne(definitions)
    for live in lives:
        live.define_all()
        for n, group in enumerate("xyzxyzxx"):
            at_ms = AGAIN_MS + n * HOUR_MS
            live.deliver([arrived("level", n, at_ms, v="1", g=group)])
        # Of the one that has ended, in which the first of them has the place.
        for n, group in enumerate("xyz", 8):
            late_ms = AGAIN_MS + DAY_MS + n
            live.deliver([arrived("level", n, START_MS, late_ms, v="1", g=group)])
        assert live.straight == 0
    same(*lives)


def test_events_go_to_each_charge_that_there_is_now() -> None:
    """Of two charges, one of which has another before it."""
    (charge,) = plan_body(["count"])["charges"]
    more = commands.create_charge(ORG, "plan", {**charge, "code": "again"})
    gone = commands.delete_charge(ORG, "plan", "count")
    definitions = anew(definitions_of(["count"]), ["count"], (AGAIN_MS, more), (AGAIN_MS, gone))
    more = commands.create_charge(ORG, "plan", {**charge, "code": "once more"})
    told = [(line.append_time_ms, line.command) for line in definitions]
    definitions = lines([*told, (AGAIN_MS + 1, more)])
    lives = Live(definitions), OneByOne(definitions)
    for live in lives:
        live.define_until(START_MS)
        sent(live, ["count"], START_MS, START_MS)
        live.close_until(AGAIN_MS + 1)
        for n in range(1, 5):
            at_ms = AGAIN_MS + n * HOUR_MS
            sent(live, ["count"], at_ms, at_ms)
    assert lives[0].straight == 3
    same(*lives)
