"""What recurs is carried on: cells of its final periods become one, and tell the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.meter.usage import Regrouping
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction
from tables.cells.keys import pack_position
from tables.reading.tracing import verdict
from tables.reading.usage import current_usage
from tables.unique_count import BEFORE
from tests.tables.closing.test_forgetting import (
    FINAL_MS,
    NAME,
    SETTINGS,
    explained,
    layers,
    live,
    pass_until,
)
from tests.world import bodies, definitions
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ASKED, ORG, PREPAID, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.past import past_usage
from tests.world.regrouped import answered, merged
from tests.world.repaired import Repaired
from tests.world.verified import differences

RECURRING = ("balance", "seats", "heads", "level")
BEFORE_MS = START_MS - DAY_MS
"""Nobody was subscribed then."""


@pytest.mark.parametrize("code", [*RECURRING, "prepaid", "licences"])
def test_each_week_is_explained_as_before(code: str) -> None:
    one = live(3, code)
    pass_until(one, START_MS + 3 * WEEK_MS)
    before = [explained(one, code, week) for week in range(3)]
    assert one.forget(NAME)
    assert [explained(one, code, week) for week in range(3)] == before
    assert all(figures is not None for (figures,) in before)


def test_a_week_shown_by_keys_is_told_as_before_though_it_has_no_event() -> None:
    """What comes after it stays apart, or nobody could tell what it was made of."""
    settings = replace(SETTINGS, close_elapsed=False)
    *found, subscribing = definitions_of(["level"], settings, presents=True)
    # The first week is over by then, and never published.
    found.append(subscribing._replace(append_time_ms=START_MS + WEEK_MS + 1))
    told, shown_ms = [], START_MS + 2 * WEEK_MS
    for forgets in (False, True):
        one = Live(found)
        one.deliver([arrived("level", 0, START_MS, v="2", u="a")])
        one.close_until(shown_ms)
        plain = {"charge_model": "standard", "properties": {"amount": "1"}}
        one.append(shown_ms + 1, commands.update_charge(ORG, "plan", "level", plain))
        one.deliver([arrived("level", 1, shown_ms + HOUR_MS, v="3", u="b")])
        at_ms = shown_ms + WEEK_MS + DAY_MS
        pass_until(one, at_ms)
        if forgets:
            one.forget(NAME)
        told.append([usage.rows for usage in past_usage(one.partition, NAME, at_ms)])
    assert told[0] == told[1]
    (shown,) = told[1][1]
    assert [row.presentation_by for row in shown.presented or ()] == [(("u", "a"),)]


@pytest.mark.parametrize("code", ["heads", "balance"])
def test_full_usage_has_the_groups_that_were_there_before_the_subscription(code: str) -> None:
    """There is room for two. Nothing is read again: its cells have what forgotten weeks had."""
    found, shown = definitions_of([code], replace(SETTINGS, max_groups=2)), []
    for forgets in (False, True):
        one = Live(found)
        one.define_all()
        for number, group in enumerate("xy"):
            one.deliver([arrived(code, number, BEFORE_MS, START_MS, u="a", v="1", g=group)])
        one.deliver([arrived(code, 2, START_MS + HOUR_MS, u="b", v="1", g="z")])
        one.close_until(START_MS + WEEK_MS)
        grouped = {"properties": {"amount": "1", "pricing_group_keys": ["g"]}}
        one.append(START_MS + WEEK_MS + 1, commands.update_charge(ORG, "plan", code, grouped))
        pass_until(one, FINAL_MS)
        if forgets:
            assert one.forget(NAME)
        usage = current_usage(one.partition, NAME, FINAL_MS)
        assert usage is not None
        regrouped = merged(one.partition, usage, Regrouping(full=True), FINAL_MS)
        assert not regrouped.to_read, "what recurs is carried on"
        traced = [verdict(one.partition, each) for each in one.arrived()]
        shown.append([(r.grouped_by, r.units) for r in answered(regrouped, traced).rows])
    assert shown[0] == shown[1] == [((("g", group),), Decimal(1)) for group in "xy"]


def test_full_usage_of_what_is_carried_on_is_read_of_its_cell() -> None:
    one, at_ms = live(3, "heads"), START_MS + 3 * WEEK_MS
    pass_until(one, at_ms)
    assert one.forget(NAME)
    usage = current_usage(one.partition, NAME, at_ms)
    assert usage is not None
    assert not merged(one.partition, usage, Regrouping(full=True), at_ms).to_read


class Scenario:
    """A log of one metric, for one who forgets and for one who does not."""

    settings = SETTINGS

    def __init__(self, code: str):
        self.code = code
        self.definitions = definitions_of([code], self.settings)
        self.stays = int(code in ASKED)  # A cell of a span that is over.

    def played(self, *, forgets: bool) -> Repaired:
        """What comes of it."""
        one = Repaired(self.definitions, repairs=True)
        self.play(one, forgets=forgets)
        return one

    def play(self, one: Repaired, *, forgets: bool) -> None:
        raise NotImplementedError

    def event(
        self, number: int, at_ms: int, appended_ms: int | None = None, **properties: Any
    ) -> Arrival:
        return arrived(self.code, number, at_ms, appended_ms, **properties)


@pytest.mark.parametrize("code", [*RECURRING, *PREPAID])
def test_there_is_one_cell_however_many_periods_there_were(code: str) -> None:
    kept = []
    for weeks in (2, 12, 60):
        one = live(weeks, code)
        at_ms = START_MS + weeks * WEEK_MS
        before = current_usage(one.partition, NAME, at_ms)
        pass_until(one, at_ms)
        assert one.forget(NAME)
        one.restart()
        assert current_usage(one.partition, NAME, at_ms) == before
        assert differences(one) == []
        kept.append((len(one.changelog.cells), one.partition.checkpoint.cells))
        assert len(past_usage(one.partition, NAME, at_ms)) == weeks
    assert kept == [(2, 2)] * 3


@pytest.mark.parametrize("code", [*RECURRING, "prepaid", "credits"])
def test_nothing_is_carried_on_once_no_week_is_to_come(code: str) -> None:
    one = live(3, code)
    at_ms = START_MS + 3 * WEEK_MS
    one.deliver([arrived(code, 7, BEFORE_MS, at_ms + 1, v="2", u="b", g="x")])
    one.append(at_ms + HOUR_MS, commands.terminate_subscription(ORG, SUBSCRIPTION))
    one.close_until(at_ms + DAY_MS)
    # Of its last week one is not final yet: two are carried on, and what lies before.
    pass_until(one, at_ms + DAY_MS - HOUR_MS)
    one.forget(NAME)
    one.flush()
    assert one.changelog.cells
    told = past_usage(one.partition, NAME, at_ms + DAY_MS)
    pass_until(one, at_ms + 2 * DAY_MS)
    assert one.forget(NAME)
    one.flush()
    assert (one.changelog.cells, one.partition.checkpoint.cells) == ({}, 0)
    assert (one.changelog.members, one.changelog.store) == ({}, {})
    one.restart()
    assert [each.rows for each in past_usage(one.partition, NAME, at_ms + DAY_MS)] == [
        each.rows for each in told
    ]
    assert differences(one) == []


def is_carried(one: Repaired, code: str) -> bool:
    """Whether no refold has brought back what is carried on."""
    return one.partition.event_ranges.forgotten_ms(NAME, code) >= 0


class CorrectedFromBefore(Scenario):
    """An event from before the subscription is cancelled when its first week is final."""

    def play(self, one: Repaired, *, forgets: bool) -> None:
        one.deliver([self.event(0, BEFORE_MS, v="5", u="b")])
        one.deliver([self.event(1, START_MS + HOUR_MS, v="1", u="a")])
        one.close_until(START_MS + WEEK_MS)
        pass_until(one, FINAL_MS)
        assert not forgets or one.forget(NAME)
        cancel = Correction(*NAME, "t0", "cancel", None, "c", b"")
        one.correct(CorrectionArrival(cancel, ORG, FINAL_MS + 1, 0, 9, 0))
        one.close_until(START_MS + 2 * WEEK_MS)


class FollowedByAMember(Scenario):
    """Who has been there in a week that is final comes again, dated before all weeks."""

    def play(self, one: Repaired, *, forgets: bool) -> None:
        one.deliver([self.event(0, START_MS + HOUR_MS, v="1", u="a")])
        one.close_until(START_MS + WEEK_MS)
        pass_until(one, FINAL_MS)
        assert not forgets or one.forget(NAME)
        one.deliver([self.event(5, BEFORE_MS, FINAL_MS + HOUR_MS, v="3", u="a")])
        assert not forgets or is_carried(one, self.code)
        # A cut to come shows it, and what it changes of the week that it is followed by.
        assert differences(one) == []
        one.close_until(START_MS + 2 * WEEK_MS)


class VeryLate(Scenario):
    """Events come in a week that is carried on, and in one without any; the next cut shows them."""

    def play(self, one: Repaired, *, forgets: bool) -> None:
        one.deliver([self.event(0, START_MS + HOUR_MS, v="1", u="a")])
        for week in (1, 2, 3):
            one.close_until(START_MS + week * WEEK_MS)
        at_ms = START_MS + 3 * WEEK_MS + DAY_MS
        pass_until(one, at_ms)
        assert not forgets or one.forget(NAME)
        late = [self.event(5, START_MS + 2 * HOUR_MS, at_ms + HOUR_MS, v="3", u="b")]
        late.append(self.event(6, START_MS + WEEK_MS, at_ms + 2 * HOUR_MS, v="-1", u="a"))
        one.deliver(late)
        assert not forgets or is_carried(one, self.code) == (self.code in RECURRING)
        one.restart()
        assert not forgets or not one.forget(NAME)
        assert differences(one) == []
        for week in (4, 5):
            one.close_until(START_MS + week * WEEK_MS)
        pass_until(one, START_MS + 5 * WEEK_MS + DAY_MS)
        assert not forgets or one.forget(NAME)
        assert not forgets or layers(one, self.code) == 1


class FinalBeforeAnEarlierOne(Scenario):
    """The second week waits for an hour, the first one for three weeks."""

    settings = replace(SETTINGS, late_window_s=21 * 86_400)

    def play(self, one: Repaired, *, forgets: bool) -> None:
        end_ms = START_MS + 2 * WEEK_MS
        one.deliver([self.event(0, START_MS + HOUR_MS, v="1", u="a")])
        one.close_until(START_MS + WEEK_MS)
        at_ms = START_MS + WEEK_MS + HOUR_MS
        one.append(at_ms, commands.set_settings(replace(SETTINGS, late_window_s=3_600)))
        one.deliver([self.event(3, at_ms, v="4", u="b")])
        one.close_until(end_ms)
        pass_until(one, end_ms + 2 * HOUR_MS)
        assert not one.forget(NAME)
        one.deliver([self.event(4, START_MS, end_ms + 3 * HOUR_MS, v="2", u="c")])
        one.close_until(end_ms + DAY_MS)
        pass_until(one, START_MS + 5 * WEEK_MS)
        assert not forgets or one.forget(NAME)


class OverBeforeAnEarlierOne(Scenario):
    """It ends in its second week, which has no event and waits for an hour; the first is open."""

    settings = replace(SETTINGS, late_window_s=21 * 86_400)

    def play(self, one: Repaired, *, forgets: bool) -> None:
        one.deliver([self.event(0, BEFORE_MS, v="3", u="b")])
        one.deliver([self.event(1, START_MS + HOUR_MS, v="1", u="a")])
        one.close_until(START_MS + WEEK_MS)
        at_ms = START_MS + WEEK_MS + HOUR_MS
        one.append(at_ms, commands.set_settings(replace(SETTINGS, late_window_s=3_600)))
        one.append(at_ms + HOUR_MS, commands.terminate_subscription(ORG, SUBSCRIPTION))
        end_ms = at_ms + DAY_MS
        one.close_until(end_ms)
        pass_until(one, end_ms)
        assert not one.forget(NAME)
        one.deliver([self.event(4, START_MS, end_ms + HOUR_MS, v="2", u="c")])
        one.close_until(end_ms + DAY_MS)
        assert one.bodies()[-1]["closing_reason"] == "period_end"
        pass_until(one, START_MS + 5 * WEEK_MS)
        assert not forgets or one.forget(NAME)
        assert not forgets or layers(one, self.code) == self.stays


class RecountedByHistory(Scenario):
    """A history record recounts a week that was over when something dated before it came."""

    def play(self, one: Repaired, *, forgets: bool) -> None:
        one.deliver([self.event(0, START_MS + HOUR_MS, v="1", u="a")])
        one.close_until(START_MS + WEEK_MS)
        one.deliver([self.event(1, BEFORE_MS, FINAL_MS + HOUR_MS, v="3", u="b")])
        at_ms = START_MS + 2 * WEEK_MS
        one.close_until(at_ms)
        assert not forgets or one.forget(NAME)
        metric = one.definitions.metric(ORG, self.code)
        assert metric is not None
        history = commands.apply_history(
            ORG, metric_ids=[metric.id], from_ms=START_MS, to_ms=START_MS + WEEK_MS
        )
        one.append(at_ms + HOUR_MS, history)
        one.close_until(at_ms + DAY_MS)
        assert one.bodies()[-2]["period"]["from"].startswith("2024-01-01")


class Ended(Scenario):
    """It ended long ago. Then an event of its first week is cancelled, another one comes."""

    def play(self, one: Repaired, *, forgets: bool) -> None:
        for week in range(2):
            at_ms = START_MS + week * WEEK_MS + HOUR_MS
            one.deliver([self.event(week, at_ms, v="5", u="ab"[week])])
            one.close_until(at_ms)
        end_ms = START_MS + 2 * WEEK_MS - DAY_MS
        one.append(end_ms, commands.terminate_subscription(ORG, SUBSCRIPTION))
        final_ms = end_ms + 2 * DAY_MS
        one.close_until(final_ms)
        pass_until(one, final_ms)
        assert not forgets or one.forget(NAME)
        one.restart()
        assert not forgets or layers(one, self.code) == self.stays
        one.deliver([self.event(5, START_MS + 2 * HOUR_MS, final_ms + HOUR_MS, v="3", u="c")])
        assert not forgets or layers(one, self.code) == (0 if self.code in RECURRING else 2)
        assert differences(one) == []
        cancel = Correction(*NAME, "t0", "cancel", None, "c", b"")
        one.correct(CorrectionArrival(cancel, ORG, final_ms + 2 * HOUR_MS, 0, 9, 0))
        one.close_until(final_ms + DAY_MS)
        assert one.bodies()[-2]["revision_reason"] == "correction"


class BegunAnew(Scenario):
    """Another subscription has the id by then, in which what came before it counts."""

    def __init__(self, code: str):
        super().__init__(code)
        self.anew = commands.create_subscription(ORG, definitions.subscription_body())

    def play(self, one: Repaired, *, forgets: bool) -> None:
        one.deliver([self.event(0, START_MS + HOUR_MS, v="5", u="a")])
        end_ms = START_MS + 2 * DAY_MS
        one.close_until(end_ms)
        one.append(end_ms, commands.terminate_subscription(ORG, SUBSCRIPTION))
        one.append(end_ms + HOUR_MS, self.anew)
        one.deliver([self.event(1, end_ms + 2 * HOUR_MS, v="4", u="b")])
        at_ms = end_ms + 2 * DAY_MS
        one.close_until(at_ms)
        pass_until(one, at_ms)
        assert not forgets or one.forget(NAME)
        # Of the one that runs there are the week and what is dated before it.
        assert not forgets or layers(one, self.code) == 2 + self.stays
        one.deliver([self.event(2, START_MS + 2 * HOUR_MS, at_ms + HOUR_MS, v="2", u="c")])
        one.restart()
        assert differences(one) == []
        one.close_until(START_MS + WEEK_MS)


class Upgraded(Scenario):
    """The dearer plan has the metric, too, so no record of the first one's last week has it."""

    def __init__(self, code: str):
        super().__init__(code)
        dearer = bodies.plan("dearer", [bodies.charge(code)], interval="weekly", amount_cents=9)
        self.upgrade = (
            commands.create_plan(ORG, dearer),
            commands.create_subscription(ORG, definitions.subscription_body(plan_code="dearer")),
        )

    def play(self, one: Repaired, *, forgets: bool) -> None:
        one.deliver([self.event(0, START_MS + HOUR_MS, v="5", u="a", g="x")])
        upgraded_ms = START_MS + 2 * DAY_MS
        one.close_until(upgraded_ms)
        for command in self.upgrade:
            one.append(upgraded_ms, command)
        one.deliver([self.event(1, upgraded_ms + HOUR_MS, v="4", u="b", g="x")])
        at_ms = upgraded_ms + 2 * DAY_MS
        one.close_until(at_ms)
        pass_until(one, at_ms)
        assert not forgets or one.forget(NAME)
        assert not forgets or layers(one, self.code) == 2 + self.stays
        one.restart()
        assert differences(one) == []
        one.close_until(START_MS + WEEK_MS)
        cancel = Correction(*NAME, "t0", "cancel", None, "c", b"")
        one.correct(CorrectionArrival(cancel, ORG, START_MS + WEEK_MS + 1, 0, 9, 0))
        one.close_until(START_MS + WEEK_MS + DAY_MS)


class FoldedOtherwise(Scenario):
    """Its groups are others from the second week on, so nothing of the first is carried on."""

    def play(self, one: Repaired, *, forgets: bool) -> None:
        one.deliver([self.event(0, START_MS + HOUR_MS, v="5", u="a", g="x")])
        one.close_until(START_MS + WEEK_MS)
        grouped = {"properties": {"amount": "1", "pricing_group_keys": ["u"]}}
        one.append(START_MS + WEEK_MS + 1, commands.update_charge(ORG, "plan", self.code, grouped))
        one.deliver([self.event(1, START_MS + WEEK_MS + HOUR_MS, v="4", u="b", g="y")])
        pass_until(one, FINAL_MS)
        assert not forgets or one.forget(NAME)
        assert not forgets or layers(one, self.code) == 2 + self.stays
        one.deliver([self.event(2, START_MS + HOUR_MS, FINAL_MS + HOUR_MS, v="2", u="c", g="x")])
        one.restart()
        assert differences(one) == []
        one.close_until(START_MS + 2 * WEEK_MS)


SCENARIOS = [
    Ended,
    BegunAnew,
    Upgraded,
    FoldedOtherwise,
    RecountedByHistory,
    CorrectedFromBefore,
    FollowedByAMember,
    VeryLate,
    FinalBeforeAnEarlierOne,
    OverBeforeAnEarlierOne,
]


@pytest.mark.parametrize("code", [*RECURRING, *PREPAID])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_is_told_whether_it_is_carried_on(scenario: type[Scenario], code: str) -> None:
    made = scenario(code)
    forgetful, keeping = made.played(forgets=True), made.played(forgets=False)
    assert forgetful.values() == keeping.values()
    at_ms = START_MS + 6 * WEEK_MS
    ours, theirs = (current_usage(one.partition, NAME, at_ms) for one in (forgetful, keeping))
    assert ours == theirs
    assert (ours is None) == (scenario in (Ended, OverBeforeAnEarlierOne))
    assert differences(forgetful) == []


def grouped(max_groups: int, monkeypatch: pytest.MonkeyPatch) -> Live:
    """A balance of two groups, one in each week, both final."""
    monkeypatch.setattr(definitions, "GROUPED", ("balance",))
    settings = replace(SETTINGS, max_groups=max_groups)
    one = Live(definitions_of(["balance"], settings))
    one.define_all()
    for week, group in enumerate("xyx"):
        at_ms = START_MS + week * WEEK_MS + HOUR_MS
        one.close_until(at_ms - 1)
        one.deliver([arrived("balance", week, at_ms, v="1", g=group)])
        one.flush()
    one.close_until(START_MS + 3 * WEEK_MS)
    pass_until(one, START_MS + 4 * WEEK_MS)
    return one


def test_a_group_keeps_the_place_of_its_first_event(monkeypatch: pytest.MonkeyPatch) -> None:
    one = grouped(3, monkeypatch)
    assert one.forget(NAME)
    one.flush()
    rows = {}
    for key, value in one.changelog.cells.items():
        _, _, _, start_ms, _, (group,) = msgspec.msgpack.decode(key)
        rows[start_ms, group] = msgspec.msgpack.decode(value)[3]
    first = {
        group: pack_position((START_MS + week * WEEK_MS + HOUR_MS, 0, week, 0))
        for week, group in enumerate("xy")
    }
    assert rows == {(BEFORE, group): position for group, position in first.items()}


def test_groups_that_are_as_many_as_may_be_are_not_carried_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = grouped(2, monkeypatch)
    # Nobody has counted the groups since.
    one.restart()
    assert not one.forget(NAME)


FIRST_VERSION = replace(SETTINGS, fold_version=1)
"""By its rules late events change what recurs at any age."""


def test_what_earlier_events_change_at_any_age_is_not_carried_on() -> None:
    one = live(1, "balance", settings=FIRST_VERSION)
    pass_until(one, FINAL_MS)
    assert not one.forget(NAME)


@pytest.mark.parametrize("forgets", [False, True])
def test_such_a_week_without_events_shows_what_is_amended_into_it(forgets: bool) -> None:
    one = Live(definitions_of(["balance"], FIRST_VERSION))
    one.define_all()
    pass_until(one, START_MS + WEEK_MS)
    one.append(START_MS + WEEK_MS + 1, commands.set_settings(SETTINGS))
    one.deliver([arrived("balance", 1, START_MS + WEEK_MS + HOUR_MS, v="2")])
    at_ms = START_MS + 2 * WEEK_MS + DAY_MS
    pass_until(one, at_ms)
    if forgets:
        one.forget(NAME)
    # It counts as of before the first week: its correction came first.
    sent = arrived("balance", 2, at_ms, at_ms + 1, v="7")
    amended = replace(sent.event, timestamp_ms=BEFORE_MS)
    correction = Correction(
        ORG, NAME[1], sent.event.transaction_id, "amend", amended, "c", amended.body
    )
    one.partition.corrected.correct(CorrectionArrival(correction, ORG, at_ms, 0, 1, 0))
    one.deliver([sent])
    one.close_until(at_ms + HOUR_MS)
    (revised,) = [body for body in one.bodies() if body["type"] == "usage.recorded"][1:]
    assert (revised["period"]["from"], revised["units"]) == ("2024-01-01T00:00:00Z", "7.0")
