"""A law of members: what they did in forgotten periods comes to the last operation of it.

One that forgets beside one that keeps everything: the same records, and verification finds nothing
in either. Properties are added and removed again and again, at times long past as well: an event of
a recurring metric is never refused for its age.
"""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival
from tables.reading.usage import current_usage
from tables.unique_count import MemberOperation, since_last
from tests.laws.test_forgetting import Forgetful, Keeping
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import definitions_of
from tests.world.events import arrived
from tests.world.profiles import dear
from tests.world.repaired import NAME
from tests.world.verified import differences

SETTINGS = SettingsRecord(close_grid_s=60, revise_every_s=3600, late_window_s=86_400)
WEEKS = 12
KEPT = 4
"""Operations of a member: of the periods that are not final, and the last one before."""


def sent(choose: Random, code: str, week: int, number: int) -> Arrival:
    """An operation of the last days, or of any time."""
    # Several may come between two cuts.
    now_ms = START_MS + week * WEEK_MS + choose.randrange(1, 4) * DAY_MS + choose.randrange(HOUR_MS)
    ago = choose.choice((choose.randrange(60), choose.randrange(week * 7 * 24 + 30)))
    return arrived(
        code,
        number,
        now_ms - ago * HOUR_MS,
        now_ms,
        u=choose.choice("abc"),
        g=choose.choice(("x", "y")),
        operation_type=choose.choice(("add", "add", "remove")),
    )


def kept_most(one: Keeping | Forgetful) -> int:
    return max(len(msgspec.msgpack.decode(row)) for row in one.changelog.store.values())


@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
@pytest.mark.parametrize("code", ["seats", "heads"])
@pytest.mark.parametrize("seed", range(dear(12)))
def test_the_last_operation_of_what_is_forgotten_is_enough(
    code: str, seed: int, restarts: bool
) -> None:
    choose, number = Random(seed), 0
    definitions = definitions_of([code], SETTINGS)
    lives = [made(definitions) for made in (Forgetful, Keeping)]
    for one in lives:
        one.define_all()
    for week in range(WEEKS):
        events = [sent(choose, code, week, number + n) for n in range(choose.randrange(8))]
        number += len(events)
        events.sort(key=lambda event: event.append_time_ms)
        breaks = restarts and choose.random() < 0.2
        for one in lives:
            for event in events:
                one.close_until(event.append_time_ms - 1)
                one.deliver([event])
            one.close_until(START_MS + (week + 1) * WEEK_MS)
            one.partition.checkpoint.cut_ms = START_MS + (week + 1) * WEEK_MS
            one.flush()
            if breaks:
                one.restart()
    forgetful, keeping = lives
    assert forgetful.records == keeping.records
    at_ms = START_MS + WEEKS * WEEK_MS
    ours, theirs = (current_usage(one.partition, NAME, at_ms) for one in lives)
    assert ours == theirs
    assert [differences(one) for one in lives] == [[], []]


def test_an_operation_that_a_later_cut_shows_is_not_the_last() -> None:
    member = tuple(
        MemberOperation(START_MS, cut_ms, START_MS + number, (START_MS, 0, number, 0), adds)
        for number, (cut_ms, adds) in enumerate([(0, False), (0, True), (7, False)])
    )
    assert since_last(member, lambda period_ms: period_ms == START_MS) == member[1:]
    assert since_last(member, lambda period_ms: False) == member


@pytest.mark.parametrize("code", ["seats", "heads"])
def test_a_member_is_no_larger_after_years(code: str) -> None:
    one = Forgetful(definitions_of([code], SETTINGS))
    one.define_all()
    sizes = list[int]()
    for week in range(40):
        at_ms = START_MS + week * WEEK_MS + HOUR_MS
        one.close_until(at_ms - 1)
        one.partition.checkpoint.cut_ms = at_ms - 1
        one.deliver([arrived(code, week, at_ms, u="a", g="x", operation_type="add")])
        one.flush()
        sizes.append(kept_most(one))
    assert max(sizes) <= KEPT
    assert differences(one) == []
