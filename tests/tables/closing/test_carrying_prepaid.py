"""What recurs and is paid in advance is carried on, too: its events bill the same at any age."""

from __future__ import annotations

import pytest

from app.bounds.turns import drained
from app.definitions import commands
from app.wire.arrivals import Arrival
from tables.reading.in_advance import estimated
from tests.tables.closing.test_forgetting import (
    NAME,
    SETTINGS,
    explained,
    layers,
    live,
    pass_until,
)
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ASKED, ORG, PREPAID, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.past import past_usage
from tests.world.repaired import Repaired
from tests.world.verified import differences


def with_a_late_event(code: str) -> tuple[list[Arrival], int]:
    """Of four weeks each has an event, and the second gets another one when all are final."""
    sent = [
        arrived(code, week, START_MS + week * WEEK_MS + HOUR_MS, v="2", u=user, g="x")
        for week, user in enumerate("abcd")
    ]
    late_ms, final_ms = START_MS + WEEK_MS + DAY_MS, START_MS + 5 * WEEK_MS
    return [*sent, arrived(code, 7, late_ms, final_ms + 1, v="2", u="e", g="x")], final_ms


@pytest.mark.parametrize("code", PREPAID)
def test_an_event_of_a_forgotten_week_is_told_with_what_the_week_began_with(code: str) -> None:
    (*sent, late), final_ms = with_a_late_event(code)
    found, told, cells = definitions_of([code], SETTINGS), [], []
    for forgets in (False, True):
        one = Repaired(found, repairs=True)
        for each in sent:
            one.close_until(each.append_time_ms - 1)
            one.deliver([each])
        pass_until(one, final_ms)
        assert not forgets or one.forget(NAME)
        one.deliver([late])
        one.close_until(final_ms + HOUR_MS)
        told.append(one.values())
        (body,) = [each for each in one.instants() if each["event_transaction_id"] == "t7"]
        began = ("2.0", "3.0") if code in ASKED else ("4.0", "6.0")
        assert (body["units_before"], body["units_after"]) == began
        pass_until(one, final_ms + DAY_MS)
        one.forget(NAME)
        cells.append(layers(one, code))
    assert told[0] == told[1]
    assert cells == [1, 1]


@pytest.mark.parametrize("code", PREPAID)
def test_who_lost_its_state_tells_the_same_again_while_it_forgets(code: str) -> None:
    """All events are there before the first cut is taken again."""
    (*sent, late), final_ms = with_a_late_event(code)
    found = definitions_of([code], SETTINGS)
    one, anew = (Repaired(found, repairs=True) for _ in range(2))
    anew.partition.checkpoint.index_epoch += 1
    anew.deliver([*sent, late])
    for each in sent:
        one.close_until(each.append_time_ms - 1)
        one.deliver([each])
    pass_until(one, final_ms)
    one.deliver([late])
    one.close_until(final_ms + HOUR_MS)
    forgot = []
    for week in range(6):
        pass_until(anew, START_MS + week * WEEK_MS)
        forgot.append(anew.forget(NAME))
    anew.close_until(final_ms + HOUR_MS)
    assert anew.values() == one.values()
    assert forgot == [False, False, True, False, False, False], (
        "not one with what is late, or later"
    )
    pass_until(anew, final_ms + DAY_MS)
    assert anew.forget(NAME)
    assert layers(anew, code) == 1


@pytest.mark.parametrize("code", ASKED)
def test_who_is_counted_in_a_week_that_is_over_would_bill_nothing_again(code: str) -> None:
    one = live(3, code)
    at_ms = START_MS + 3 * WEEK_MS
    one.append(at_ms + HOUR_MS, commands.terminate_subscription(ORG, SUBSCRIPTION))
    one.close_until(at_ms + DAY_MS)
    pass_until(one, at_ms + 3 * DAY_MS)
    fees, told = [], past_usage(one.partition, NAME, at_ms + 3 * DAY_MS)
    for _ in range(2):
        for user in "ab":
            event = arrived(code, 9, at_ms - DAY_MS, at_ms + 3 * DAY_MS + 1, u=user, g="x")
            (fee,) = drained(estimated(one.partition, NAME, event))
            fees.append(fee.units)
        assert one.forget(NAME) == (len(fees) == 2)
    assert fees == [0, 1] * 2
    assert layers(one, code) == 1
    one.restart()
    assert [each.rows for each in past_usage(one.partition, NAME, at_ms + 3 * DAY_MS)] == [
        each.rows for each in told
    ]
    assert differences(one) == []


@pytest.mark.parametrize("code", PREPAID)
def test_each_week_is_explained_by_its_records(code: str) -> None:
    """Those of a renewal tell no share of days."""
    one = live(3, code)
    pass_until(one, START_MS + 3 * WEEK_MS + DAY_MS)
    assert one.forget(NAME)
    for week in range(3):
        (figures,) = explained(one, code, week)
        assert figures is not None
        assert figures.live == figures.recomputed
        assert figures.live.prorated_units is None
