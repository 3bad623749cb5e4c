"""A cut that ends half-way, wherever that is, publishes the same bytes once it is taken again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Arrival
from tables.closing.at_cut import AtCut
from tables.closing.close import closing, next_cut, settling
from tables.closing.instants import instants_at
from tables.closing.period_at_cut import PeriodAtCut
from tests.laws.test_partition import ALL, GRACES, few
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, CommandAt, definitions_of
from tests.world.events import arrivals, event
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)
END_MS = START_MS + 4 * WEEK_MS + HOUR_MS


def ready(definitions: Sequence[CommandAt], events: Sequence[Arrival]) -> Live:
    """Everything is folded, and no cut taken."""
    live = Live(definitions)
    live.define_all()
    live.deliver(events)
    live.define_until(END_MS)
    return live


def whole(definitions: Sequence[CommandAt], events: Sequence[Arrival]) -> list[bytes]:
    live = ready(definitions, events)
    live.close_until(END_MS)
    return [record.value for record in live.records]


def cut_in_steps(live: Live, cut_ms: int, published: list[bytes]) -> Iterator[None]:
    """One cut as a worker takes it."""
    live.look_up_members(cut_ms)
    for record in instants_at(live.partition, cut_ms):
        if record is not None:
            published.append(record.value)
        else:
            yield
    yield
    for record in closing(live.partition, NAME, cut_ms):
        if record is not None:
            published.append(record.value)
        yield
    yield from settling(live.partition, cut_ms)


@few
@given(st.data())
def test_between_any_two_steps(data: st.DataObject) -> None:
    definitions = definitions_of(ALL, data.draw(GRACES), presents=True)
    events = data.draw(arrivals(ALL, ids=8))
    live = ready(definitions, events)
    halves = data.draw(st.lists(st.integers(0, 40), max_size=8))
    published: list[bytes] = []
    while (cut_ms := next_cut(live.partition, NAME)) <= END_MS:
        most = halves.pop() if halves else NEVER_MS
        for count, _ in enumerate(cut_in_steps(live, cut_ms, published)):
            if count >= most:
                live.restart()
                break
    assert published == whole(definitions, events)


def test_before_the_first_cut_of_a_unique_count_paid_in_advance() -> None:
    """After the restart the members are in the store alone."""
    definitions = definitions_of(["passes"], presents=True)
    at_ms = START_MS + WEEK_MS
    entry = event("passes", "t", START_MS, u="a", operation_type="add")
    events = [Arrival(entry, ORG, at_ms, 0, 0, 0)]
    live = ready(definitions, events)
    live.restart()
    published: list[bytes] = []
    while (cut_ms := next_cut(live.partition, NAME)) <= END_MS:
        for _ in cut_in_steps(live, cut_ms, published):
            pass
    assert published == whole(definitions, events)
    assert published


CODES = ("count", "sum")


def revised_late(definitions: Sequence[CommandAt], *, restarts: bool) -> list[bytes]:
    """What a revision publishes of two cells; a restart comes after these, before its end."""
    live = Live(definitions)
    live.define_all()
    published: list[bytes] = []
    for week, appended_ms in enumerate((START_MS, START_MS + WEEK_MS + HOUR_MS)):
        events = [event(code, f"{code}{week}", START_MS, v="1", g="x") for code in CODES]
        offsets = range(len(CODES) * week, len(CODES) * (week + 1))
        live.deliver(
            [
                Arrival(each, ORG, appended_ms, 0, offset, 0)
                for each, offset in zip(events, offsets, strict=True)
            ]
        )
        live.define_until(END_MS)
        published.clear()
        cut_ms = next_cut(live.partition, NAME)
        for _ in cut_in_steps(live, cut_ms, published):
            if restarts and week and len(published) == len(CODES):
                live.restart()
                for _ in cut_in_steps(live, cut_ms, published):
                    pass
                break
    return published


def test_a_period_that_lacks_its_completion_alone() -> None:
    """All cells are revised; nothing but that tells that it has not been completed again."""
    definitions = definitions_of(CODES, presents=True)
    published = revised_late(definitions, restarts=True)
    assert published == revised_late(definitions, restarts=False)
    assert len(published) == 3
    assert b"period.completed" in published[-1]


def test_a_cut_before_one_that_is_half_taken_is_not_taken_again() -> None:
    """A state that is lost in the midst of a cut takes all cuts again, over what was published."""
    definitions = definitions_of(CODES)
    first, late = (
        [
            Arrival(event(code, f"{code}{at_ms}", START_MS, v="1", g="x"), ORG, at_ms, 0, offset, 0)
            for offset, code in enumerate(CODES, at_ms)
        ]
        for at_ms in (START_MS, START_MS + WEEK_MS + 2 * HOUR_MS)
    )
    live, again = ready(definitions, first), ready(definitions, first)
    for each in (live, again):
        for _ in cut_in_steps(each, next_cut(each.partition, NAME), []):
            pass
    live.deliver(late)
    cut_ms, published = next_cut(live.partition, NAME), list[bytes]()
    for _ in cut_in_steps(live, cut_ms, published):
        if published:
            break
    again.partition.published = live.partition.published
    ((versions, timeline),) = again.partition.timelines.of(NAME)
    subscription, period = versions.at(None), timeline.holding(START_MS)
    assert subscription is not None
    assert period is not None
    at = AtCut(again.partition, NAME, subscription, period, None, cut_ms - HOUR_MS)
    at_cut = PeriodAtCut(at)
    assert len(published) == 1
    assert [record for record in at_cut.records() if record is not None] == []
