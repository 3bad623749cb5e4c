"""A law of runs: events of a run that are folded at once come to what they do one by one.

Before their period is due or after it, into one cell or by their groups, shown by other keys too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Arrival
from tables import fold
from tables.fold import Folded
from tests.laws.test_partition import ALL, GRACES
from tests.laws.test_straight import APART, Close, grouped, play, same
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    changing_definitions,
    definitions_of,
)
from tests.world.events import arrivals, arrived, slices
from tests.world.profiles import examples

_offsets = count(1_000)


@contextmanager
def one_by_one() -> Iterator[None]:
    """Have no events folded at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "_fold_plainly", lambda *_: None)
        patch.setattr(fold, "_fold_late", lambda *_: None)
        patch.setattr(fold, "_fold_by_cells", lambda span, parts, route, run, *_: (None, run))
        yield


WAYS: tuple[Callable[[], AbstractContextManager[None]], ...] = (nullcontext, one_by_one)


def same_bytes(lives: tuple[Close, Close]) -> None:
    """Whatever is kept or published is the same, and cells know the same first events."""
    same(*lives)
    assert lives[0].changelog.cells == lives[1].changelog.cells


@examples(200)
@given(st.data())
def test_at_once_is_one_by_one(data: st.DataObject) -> None:
    """Among definitions that change, restarts, cuts and refolds."""
    settings = data.draw(GRACES)
    changing = data.draw(st.booleans())
    codes = data.draw(st.sampled_from([ALL, APART, *[(code,) for code in ALL]]))
    definitions = (
        data.draw(changing_definitions(codes))
        if changing
        else definitions_of(codes, settings, presents=True)
    )
    events = data.draw(arrivals(codes, max_events=30))
    lives = Close(definitions), Close(definitions)
    for batch in data.draw(slices(events, shuffle=data.draw(st.booleans()))):
        defined, closes, refolds, restarts = data.draw(
            st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3), st.integers(0, 5))
        )
        for live, way in zip(lives, WAYS, strict=True):
            with way():
                play(live, batch, defined, closes=closes and not changing, restarts=restarts == 0)
                if refolds == 0:
                    live.refold_all()
    same_bytes(lives)


def both(codes: list[str], *batches: list[Arrival]) -> tuple[Close, Close]:
    """Return what batches come to at once, and one by one; each closes what was due before it."""
    definitions = definitions_of(codes, presents="average" in codes)
    lives = Close(definitions), Close(definitions)
    for live, way in zip(lives, WAYS, strict=True):
        live.define_all()
        for batch in batches:
            with way():
                live.close_until(batch[0].append_time_ms - 1)
                live.deliver(batch)
    return lives


def late(code: str, *appended_ms: int, group: str = "x") -> list[Arrival]:
    """Return events of the first week that were appended so much after it."""
    return [
        arrived(
            code,
            next(_offsets),
            START_MS,
            START_MS + WEEK_MS + at_ms,
            transaction_id=f"late{at_ms}",
            v="2",
            u=f"u{at_ms}",
            g=group,
        )
        for at_ms in appended_ms
    ]


@pytest.mark.parametrize("code", ["count", "max", "heads", "level", *APART])
def test_late_events_of_two_cuts_are_told_apart(code: str) -> None:
    """Those of one revision are folded at once; a later one takes them all one by one."""
    first = [arrived(code, 1, START_MS, transaction_id="a", v="1", u="a")]
    lives = both(
        [code],
        first,
        late(code, 30 * HOUR_MS + 1, 30 * HOUR_MS + 2),
        late(code, 50 * HOUR_MS + 1, 50 * HOUR_MS + 2, 200 * HOUR_MS),
    )
    assert lives[0].cells() == lives[1].cells()
    same_bytes(lives)


@pytest.mark.parametrize("settled_ms", [-1, NEVER_MS])
@pytest.mark.parametrize("untaken", [range(0), range(NEVER_MS)])
@pytest.mark.parametrize("code", ["count", "sum"])
def test_late_events_count_from_cuts_that_are_to_come(
    code: str, settled_ms: int, untaken: range
) -> None:
    """What is published, or was being taken when a refold began, shows them no more."""
    lives = both([code], late(code, HOUR_MS))
    run = late(code, 30 * HOUR_MS + 1, 30 * HOUR_MS + 2)
    for live, way in zip(lives, WAYS, strict=True):
        route = live.partition.routes.by_key[ORG, SUBSCRIPTION, code]
        folded = Folded()
        with way():
            fold.fold_run(route, run, settled_ms, live.partition.members, folded, untaken=untaken)
        assert len(set(map(id, folded.late))) == (settled_ms < 0 and not untaken)
    assert lives[0].cells() == lives[1].cells()


@pytest.mark.parametrize(("code", "at_ms"), [("count", DAY_MS), ("sum", -DAY_MS), ("sum", DAY_MS)])
def test_no_event_is_folded_at_once_into_cells_that_are_forgotten(code: str, at_ms: int) -> None:
    """A refold has to bring them back."""
    live, _ = both([code], late(code, HOUR_MS))
    route = live.partition.routes.by_key[ORG, SUBSCRIPTION, code]
    folded, run = Folded(), late(code, at_ms + 1, at_ms + 2)
    for span in route.spans:
        span.forgotten_ms = NEVER_MS
    with one_by_one():
        fold.fold_run(route, run, -1, live.partition.members, folded)
    apart = Folded()
    fold.fold_run(route, run, -1, live.partition.members, apart)
    assert folded.displaced == apart.displaced == {(ORG, SUBSCRIPTION, code)}


def test_what_comes_first_of_a_group_is_known_though_it_comes_later() -> None:
    """Rows that only show usage keep where each of them began."""
    batches = [
        [grouped("average", 5, "x"), grouped("average", 6, "y")],
        [grouped("average", 3, "y"), grouped("average", 7, "x")],
        [grouped("average", 2, "x"), grouped("average", 8, "y")],
    ]
    same_bytes(both(["average"], *batches))


def test_a_group_begins_with_the_first_of_its_events() -> None:
    same_bytes(both(["sum"], [grouped("sum", n, "xy"[n % 2]) for n in range(6)]))
