"""Runs of a charge with several cells: kernel and twin fold the same parts into the same cells."""

from __future__ import annotations

import shutil
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.kernel import twin
from app.kernel.twin import Literals, Place
from app.numbers import EXACT, ZERO, group_text
from app.wire.arrivals import Arrival
from tables.aggregation import State
from tables.cells.cell import Cell
from tables.values import Reading, number_of
from tests.app.kernel.runs import learn, loaded, plain
from tests.world.profiles import examples

KEY = ("o", "s", "c")
NAMES = ("g", "h")
PERIOD_MS = 5
GROUPS = (
    *(None, b'"eu"', b'"us"', b'""', b'" "', b'" eu"', b'"\\u00e9"', '"\u00e9"'.encode()),
    *(b"1", b"1.0", b"true", b"null", b"{}", b'["eu"]', b'"%s"' % (b"x" * 1_030)),
)
"""Literals of a property that groups; None: there is no such property."""
TEXTS = (None, "eu", "us", " eu", "\u00e9", "1", "1.0", "true", "x" * 1_030)
VALUES = (b"1", b"2.5", b'"3"', b'"none"', b"{}")


class Fold(NamedTuple):
    """A charge, as far as parting goes."""

    place_names: tuple[str, ...]
    group_places: tuple[int, ...] | None
    keys: tuple[int, ...]
    """Which of the names group."""


def place_of(fold: Fold, literals: Literals) -> Place | None:
    """Name the cell of an event; those with a null in both decide themselves."""
    raws = [literals[at] for at in fold.keys]
    if raws.count(b"null") == 2:
        return None
    return None, tuple(None if raw is None else group_text(raw) for raw in raws)


def event(number: int, value: bytes, *groups: bytes | None) -> Arrival:
    """Return an event with these literals."""
    named = dict(zip(("v", *NAMES), (value, *groups), strict=True))
    body = b",".join(b'"%s":%s' % (n.encode(), raw) for n, raw in named.items() if raw is not None)
    one = plain(number)
    return replace(one, event=replace(one.event, properties=b"{%s}" % body))


runs = st.lists(
    st.tuples(st.sampled_from(VALUES), st.sampled_from(GROUPS), st.sampled_from(GROUPS)), max_size=6
).map(lambda some: [event(number, *each) for number, each in enumerate(some)])
places = st.tuples(st.sampled_from(TEXTS), st.sampled_from(TEXTS))
folds = st.sampled_from([(0, 1), (1, 0)]).flatmap(
    lambda keys: st.sampled_from([Fold(NAMES, keys, keys), Fold(NAMES, None, keys)])
)


def routed(fold: Fold, there: list[Place], sets: Any, *, unique: bool) -> Any:
    """Return a route that leads to these cells."""
    cells = {place: Cell(cast(Any, None), *place, State(0, 0)) for place in there}
    apply = None if unique else _apply
    reading = Reading(
        "v", 8, None if unique else {}, number_of, True, ZERO, EXACT.add, apply, 0, EXACT.fma
    )
    parting = (cells, fold, sets if unique else None, PERIOD_MS)
    return SimpleNamespace(cell=None, set_key=None, reading=reading, parting=parting)


def _apply(state: Any, number: Any, *_: object) -> None:
    state.bare += int(number * 4)


def folded(kernel: Any, route: Any, run: list[Arrival], complete: set[bytes]) -> tuple[Any, ...]:
    """Return all that folding a run comes to."""
    dirty: list[Any] = []
    operations: list[Any] = []
    answer = kernel.fold_led([route], [(KEY, run)], dirty, operations, place_of, complete)
    cells = route.parting[0]
    names = {id(cell): name for name, cell in cells.items()}
    told = [(names[id(cell)], set_key, found) for _, cell, set_key, found in operations]
    states = {name: (cell.state, cell.dirty) for name, cell in cells.items()}
    return answer, sorted(map(repr, told)), states, {names[id(cell)] for cell in dirty}


@examples(500)
@given(run=runs, fold=folds, more=st.lists(places, max_size=6), data=st.data())
@pytest.mark.parametrize("unique", [False, True])
def test_both_fold_the_same_parts(
    kernel: Any, unique: bool, run: list[Arrival], fold: Fold, more: list[Any], data: st.DataObject
) -> None:
    found = (place_of(fold, each) for each in twin.by_literals(run, NAMES) if each is not None)
    there = list(dict.fromkeys([*(p for p in found if p), *((None, groups) for groups in more)]))
    absent = data.draw(st.sets(st.sampled_from(there), max_size=1)) if there else set()
    there = [place for place in there if place not in absent]
    sets = {(*place, PERIOD_MS): repr(place).encode() for place in there}
    complete = set(sets.values())
    if complete:
        complete -= data.draw(st.sets(st.sampled_from(sorted(complete)), max_size=1))
    ours, expected = (
        folded(each, routed(fold, there, deepcopy(sets), unique=unique), run, complete)
        for each in (kernel, twin)
    )
    assert ours == expected


@pytest.mark.parametrize("learned", [False, True])
def test_the_kernel_asks_nobody_for_plain_groups(
    compiled: Path, tmp_path: Path, learned: bool
) -> None:
    kernel: Any = loaded(Path(shutil.copy(compiled, tmp_path)))
    if learned:
        learn(kernel)
    fold = Fold(NAMES, (1, 0), (1, 0))
    run = [event(0, b"1", b'"eu"', None), event(1, b"2", b'"us"', b'"eu"')]
    there: list[Place] = [(None, (None, "eu")), (None, ("eu", "us"))]
    route = routed(fold, there, None, unique=False)
    found = kernel.fold_led([route], [(KEY, run)], [], [], None, set())
    assert found == ([], [])
    assert [cell.state.events for cell in route.parting[0].values()] == [1, 1]


@pytest.mark.parametrize("learned", [False, True])
def test_what_leads_nowhere_is_left(compiled: Path, tmp_path: Path, learned: bool) -> None:
    kernel: Any = loaded(Path(shutil.copy(compiled, tmp_path)))
    if learned:
        learn(kernel)
    one, other = (
        routed(Fold(NAMES, (0,), (0,)), [(None, ("eu",))], None, unique=False) for _ in range(2)
    )
    one.parting = None
    runs = [(KEY, [event(number, b"1", b'"eu"', None)]) for number in range(2)]
    for each in (kernel, twin):
        assert each.fold_led([one, other], runs, [], [], place_of, set()) == ([0], [])
