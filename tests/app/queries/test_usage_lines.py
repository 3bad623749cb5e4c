"""The page's lines of usage: few subscriptions are looked at, however many there are."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from app.bounds.limits import OVERVIEW_CELLS, OVERVIEW_SUBSCRIPTIONS
from app.bounds.turns import Turns, drained
from app.meter.overview import OverviewQuery, UsageView
from app.queries.usage_lines import COUNTED, UsageLines
from app.runtime.status import Tally
from bench.growth.spent import steps_of
from tables.cells.cell import Span
from tables.partition.filling import unpack_into
from tables.partition.partition import Partition
from tests.world.clock import START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

SUBSCRIPTIONS = 100_000


class Looks:
    """Looks at one partition, and counts the subscriptions whose usage each look evaluates."""

    def __init__(self, state: Partition) -> None:
        self.states = {0: state}
        self.tally = Tally()
        self.lines = UsageLines(Turns(clock=lambda: 0.0), self.tally)

    def look(self, search: str = "", organization: str | None = None) -> tuple[list[str], int, int]:
        """Return the subscriptions shown, how many there are, and how many were evaluated."""
        work = self.tally.work.counts
        before = work["query", "names"]
        query = OverviewQuery(organization_id=organization, search=search)
        views: list[UsageView]
        views, count = drained(self.lines.shown(self.states, query, 1_704_100_000_000))
        names = [view.external_subscription_id for view in views]
        return names, count, work["query", "names"] - before

    def folded(self, *names: str) -> None:
        """Tell what was folded."""
        self.tally.recent.note(0, [(("org", name, "m"), ()) for name in names])


@pytest.fixture(scope="module")
def looks() -> Looks:
    state = Live().partition
    state.event_ranges.most_undefined = SUBSCRIPTIONS + 1
    for number in range(SUBSCRIPTIONS):
        state.event_ranges.of(("org", f"sub-{number}"), "m")
    return Looks(state)


def test_a_look_evaluates_a_page_of_many_subscriptions(looks: Looks) -> None:
    _, count, evaluated = looks.look()
    assert (count, evaluated) == (SUBSCRIPTIONS, OVERVIEW_SUBSCRIPTIONS)
    _, count, evaluated = looks.look("SUB-")
    assert (count, evaluated) == (COUNTED, OVERVIEW_SUBSCRIPTIONS)
    assert looks.look("sub-99999")[1:] == (1, 1)
    assert looks.look("m org")[1:] == (COUNTED, OVERVIEW_SUBSCRIPTIONS)
    assert looks.look("zzz")[1:] == (0, 0)
    assert looks.look("", "other")[1:] == (0, 0)


def test_who_was_active_lately_is_looked_at_first(looks: Looks) -> None:
    looks.folded("sub-77777", "sub-88888", "gone")
    found, count = looks.lines.lately(looks.states, None)
    assert [name for _, (_, name) in found[:2]] == ["sub-88888", "sub-77777"]
    assert (len(found), count) == (OVERVIEW_SUBSCRIPTIONS, SUBSCRIPTIONS)


def test_the_ring_of_the_active_holds_the_latest(looks: Looks) -> None:
    looks.folded(*(f"sub-{number}" for number in range(300)))
    looks.folded("sub-100")
    names = list(looks.tally.recent.names())
    assert (len(names), names[:2]) == (200, [("org", "sub-100"), ("org", "sub-299")])


def test_whose_name_begins_so_is_found_among_many_that_match(looks: Looks) -> None:
    looks.look()
    query = OverviewQuery(organization_id=None, search="sub-9999")
    found, _ = drained(looks.lines.searched(looks.states, query, "sub-9999", 0))
    assert found[0] == (0, ("org", "sub-9999"))
    assert ("org", "sub-99999") in [name for _, name in found]


def test_a_search_finds_who_has_no_figure_now(looks: Looks) -> None:
    """Closed periods, and so invoices, may be there: it is not called nothing."""
    assert looks.look("sub-99999")[0] == ["sub-99999"]
    assert looks.look("")[0] == []


def state_of(organizations: int, subscriptions: int) -> Partition:
    """Return a partition where each of so many organizations has so many subscriptions."""
    state = Live().partition
    state.event_ranges.most_undefined = organizations * subscriptions + 1
    for number in range(organizations * subscriptions):
        state.event_ranges.of((f"org-{number % organizations}", f"sub-{number}"), "m")
    return state


@pytest.mark.parametrize(("search", "most"), [("", 10), ("zzz", 60)])
def test_what_a_look_leaves_of_each_subscription_is_small(search: str, most: int) -> None:
    """Without a search some bytes; a text of each only of the organization that is searched."""
    count = 20_000
    state = state_of(2, count)
    looks = Looks(state)
    gc.collect()
    tracemalloc.start()
    looks.look(search, "org-1")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2 * count * most


def test_a_look_takes_as_long_however_many_organizations_there_are() -> None:
    def steps(organizations: int, organization: str | None) -> int:
        looks = Looks(state_of(organizations, 1))
        looks.look()
        return steps_of(lambda: looks.look("", organization))

    few, many = (steps(organizations, None) for organizations in (100, 1_000))
    assert many < 1.1 * few
    few, many = (steps(organizations, "org-7") for organizations in (100, 1_000))
    assert many < 1.1 * few


def test_a_search_of_all_takes_as_long_however_many_organizations_there_are() -> None:
    def searched(organizations: int) -> int:
        looks = Looks(state_of(organizations, 2_000 // organizations))
        assert looks.look("sub-77 ")[0] == ["sub-77"]
        return steps_of(lambda: looks.look("sub-1999"))

    assert searched(2_000) < 1.1 * searched(10)


def test_who_searches_all_finds_what_who_searches_one_does() -> None:
    looks = Looks(state_of(3, 40))
    ours = [name for n in range(3) for name in looks.look("sub-1", f"org-{n}")[0]]
    assert sorted(looks.look("sub-1")[0]) == sorted(ours)
    assert looks.look("org-2")[1:] == (40, 40)


@pytest.mark.parametrize("groups", [OVERVIEW_CELLS, OVERVIEW_CELLS + 1])
def test_cells_at_rest_are_unpacked_only_to_be_added_up(
    groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, unpacked = Live(definitions_of(["sum"])), list[object]()

    def noted(span: Span, packed: Sequence[Any]) -> object:
        unpacked.extend(packed)
        return unpack_into(span, packed)

    monkeypatch.setattr("tables.partition.filling.unpack_into", noted)
    live.define_all()
    events = range(groups)
    live.deliver([arrived("sum", n, START_MS, START_MS, v="1", g=str(n)) for n in events])
    live.flush()
    query, lines = OverviewQuery(organization_id=ORG), UsageLines(Turns(), Tally())
    warm, _ = drained(lines.shown({0: live.partition}, query, START_MS + 1))
    live.partition.packing.pack((ORG, SUBSCRIPTION))
    assert live.partition.packing.is_packed((ORG, SUBSCRIPTION))
    cold, _ = drained(lines.shown({0: live.partition}, query, START_MS + 1))
    assert warm == cold
    assert [each.events_count for each in cold] == [groups if groups <= OVERVIEW_CELLS else None]
    assert len(unpacked) == (groups if groups <= OVERVIEW_CELLS else 0)
