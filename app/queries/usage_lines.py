"""The live page's lines of usage: which subscriptions to show, found without asking all of them.

A look without a search needs no more than numbers of names. Whoever searches has the names of its
organizations indexed. Then the usage of the few that are shown is computed.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from app.bounds.limits import OVERVIEW_CELLS, OVERVIEW_S, OVERVIEW_SUBSCRIPTIONS
from app.bounds.turns import STEP_ITEMS, Steps, Turns
from app.meter.overview import OverviewQuery, UsageView
from app.meter.usage import UsageRow
from app.numbers import exact_sum
from app.runtime.status import Tally
from app.wire.arrivals import SubscriptionKey
from tables.partition.partition import Partition
from tables.reading.usage import active_subscription, current_usage

_INDEXED_AGAIN = 32
"""Subscriptions looked at again in each search, of one partition after the other: what they are
found by may have come to be another."""
COUNTED = 1_000
"""Subscriptions up to which those that match a search are counted."""
_CHUNK = 1_024
"""Subscriptions that are searched at once."""


class _Match(NamedTuple):
    """A subscription that matches."""

    names: _Names
    place: int
    """Where among these it is."""
    text: str
    """What a search finds it by."""
    rank: tuple[int, str]
    """The shortest name comes first."""


_RANK = attrgetter("rank")


class _Chunk:
    """Texts of some subscriptions, all in one, so that a search passes over most at once."""

    def __init__(self) -> None:
        self._text = ""
        self._more: list[str] = []
        """Texts that were added since all were one."""

    def add(self, text: str) -> None:
        """Add a text at the end."""
        self._more.append(f"\n{text}")
        if len(self._more) == _CHUNK:
            self._whole()

    def put(self, place: int, text: str) -> None:
        """Take over what has changed of a text."""
        texts = self._whole().split("\n")
        if texts[place + 1] != text:
            texts[place + 1] = text
            self._text = "\n".join(texts)

    def matching(self, search: str) -> list[tuple[int, str]]:
        """Return places and texts of those that contain what is searched for."""
        if search not in self._whole():
            return []
        texts = self._text.split("\n")[1:]
        return [(place, text) for place, text in enumerate(texts) if search in text]

    def beginning(self, search: str) -> list[tuple[int, str]]:
        """Return those whose subscription begins with what is searched for."""
        if f"\n{search}" not in self._whole():
            return []
        texts = self._text.split("\n")[1:]
        return [(place, text) for place, text in enumerate(texts) if text.startswith(search)]

    def _whole(self) -> str:
        if self._more:
            self._text += "".join(self._more)
            self._more.clear()
        return self._text


class _Names:
    """Subscriptions of one partition, all or an organization's; made once somebody searches."""

    def __init__(self, number: int, state: Partition) -> None:
        self.number = number
        """The partition."""
        self._state = state
        self.numbers: Sequence[int] = ()
        """Their numbers among those with events."""
        self.chunks: list[_Chunk] = []
        self._lengths = array("I")
        """Characters of the names whose texts are made."""
        self._again = 0

    def named(self, places: Iterable[int]) -> Iterator[SubscriptionKey]:
        """Yield the names at some places."""
        return self._state.event_ranges.codes.named(self.numbers[place] for place in places)

    def index(self, now_ms: int) -> Steps[None]:
        """Make the texts of those that are new."""
        lengths = self._lengths
        while (place := len(lengths)) < len(self.numbers):
            if place % _CHUNK == 0:
                self.chunks.append(_Chunk())
            (name,) = self.named((place,))
            self.chunks[-1].add(self._text(name, now_ms))
            lengths.append(len(name[1]))
            yield

    def look_again(self, now_ms: int) -> Steps[None]:
        """Look at some of them again, in turn."""
        count = len(self._lengths)
        for _ in range(min(_INDEXED_AGAIN, count)):
            place = self._again = (self._again + 1) % count
            (name,) = self.named((place,))
            self.chunks[place // _CHUNK].put(place % _CHUNK, self._text(name, now_ms))
            yield

    def found(self, chunk: int, matching: Iterable[tuple[int, str]]) -> list[_Match]:
        """Return what matches in a chunk."""
        first, lengths = chunk * _CHUNK, self._lengths
        return [
            _Match(self, first + place, text, (lengths[first + place], text))
            for place, text in matching
        ]

    def _text(self, name: SubscriptionKey, now_ms: int) -> str:
        state = self._state
        codes = state.event_ranges.codes[name]
        running = active_subscription(state, name, now_ms)
        customer = "" if running is None else running.external_customer_id
        # The subscription stands first: whose name begins so is found before others.
        customers = () if customer == name[1] else (customer,)
        text = " ".join((name[1], *customers, *codes, name[0])).casefold()
        return text.replace("\n", " ")


class UsageLines:
    """Finds the lines of usage that the page shows."""

    def __init__(self, turns: Turns, tally: Tally) -> None:
        self._turns = turns
        self._tally = tally
        self._numbers: dict[Partition, dict[str, array[int]]] = {}
        """By organization, numbers of its subscriptions with events: names take much room."""
        self._known: dict[Partition, int] = {}
        """How many subscriptions of a partition are among `_numbers`."""
        self._names: dict[Partition, dict[str | None, _Names]] = {}
        """By organization, what was searched; None: of all together, however many they are."""
        self._searches = 0

    def shown(
        self, states: Mapping[int, Partition], query: OverviewQuery, now_ms: int
    ) -> Steps[tuple[list[UsageView], int]]:
        """Return lines, and how many subscriptions there would be to show.

        Without a search, those that were active lately come first.
        """
        yield from self._learn(states)
        search = query.search.casefold()
        if search:
            found, count = yield from self.searched(states, query, search, now_ms)
        else:
            found, count = self.lately(states, query.organization_id)
        views: list[UsageView] = []
        began_s, used_s, evaluated = 0.0, 0.0, 0
        for number, name in found:
            if len(views) >= query.limit or used_s > OVERVIEW_S:
                break
            began_s = self._turns.clock()
            views += _lines(states[number], name, now_ms, search)
            used_s += self._turns.clock() - began_s
            evaluated += 1
            yield
        self._tally.work.add("query", "names", evaluated)
        return views[: query.limit], count

    def lately(
        self, states: Mapping[int, Partition], organization_id: str | None
    ) -> tuple[list[tuple[int, SubscriptionKey]], int]:
        """Return subscriptions that were active lately, then others, and how many there are.

        All names must be known.
        """
        found = {
            name: number
            for name, number in self._tally.recent.names().items()
            if organization_id in (None, name[0])
            and number in states
            and name in states[number].event_ranges.codes
        }
        count = 0
        for number, state in states.items():
            numbers = self._numbers_of(state, organization_id)
            count += len(numbers)
            first = numbers[: max(0, OVERVIEW_SUBSCRIPTIONS - len(found))]
            for name in state.event_ranges.codes.named(first):
                found.setdefault(name, number)
        shown = islice(found.items(), OVERVIEW_SUBSCRIPTIONS)
        return [(number, name) for name, number in shown], count

    def searched(
        self, states: Mapping[int, Partition], query: OverviewQuery, search: str, now_ms: int
    ) -> Steps[tuple[list[tuple[int, SubscriptionKey]], int]]:
        """Return subscriptions that match, and how many match; many are not counted.

        Those whose name begins with what is searched for come first, the shortest before others.
        All names must be known.
        """
        found: list[_Match] = []
        beginning = 0
        self._searches += 1
        again = self._searches % max(len(states), 1)
        for turn, (number, state) in enumerate(states.items()):
            numbers = self._numbers_of(state, query.organization_id)
            if not numbers:
                continue
            of_state = self._names.setdefault(state, {})
            names = of_state.setdefault(query.organization_id, _Names(number, state))
            names.numbers = numbers
            yield from names.index(now_ms)
            if turn == again:
                yield from names.look_again(now_ms)
            for place, chunk in enumerate(names.chunks):
                if len(found) < COUNTED:
                    found += names.found(place, chunk.matching(search))
                else:
                    # Whoever is called so is found among any number.
                    more = chunk.beginning(search if beginning < COUNTED else f"{search} ")
                    found += names.found(place, more)
                    beginning += len(more)
                yield
        # What is in order already is sorted in no time: the shortest were named first.
        found.sort(key=_RANK)
        first: list[_Match] = []
        others: list[_Match] = []
        for each in found:
            (first if each.text.startswith(search) else others).append(each)
            if len(first) == OVERVIEW_SUBSCRIPTIONS:
                break
        shown = [*first, *others][:OVERVIEW_SUBSCRIPTIONS]
        named = [
            (each.names.number, name) for each in shown for name in each.names.named((each.place,))
        ]
        return named, min(len(found), COUNTED)

    def _numbers_of(self, state: Partition, organization_id: str | None) -> Sequence[int]:
        """Return numbers of the subscriptions of one organization, or of all, on a partition."""
        if organization_id is None:
            return range(self._known[state])
        return self._numbers[state].get(organization_id, ())

    def _learn(self, states: Mapping[int, Partition]) -> Steps[None]:
        """Take in the subscriptions that are new."""
        for gone in [state for state in self._numbers if state not in states.values()]:
            del self._numbers[gone], self._known[gone]
            self._names.pop(gone, None)
        for state in states.values():
            by_organization = self._numbers.setdefault(state, {})
            known = self._known.setdefault(state, 0)
            if known == len(state.event_ranges.codes):
                continue
            for organization_id, _ in state.event_ranges.codes.since(known):
                numbers = by_organization.get(organization_id)
                if numbers is None:
                    numbers = by_organization[organization_id] = array("I")
                numbers.append(self._known[state])
                self._known[state] += 1
                if self._known[state] % STEP_ITEMS == 0:
                    yield


def _lines(state: Partition, name: SubscriptionKey, now_ms: int, search: str) -> list[UsageView]:
    # Packed ones are unpacked by none but who shows them.
    if state.packing.has_cells(name, OVERVIEW_CELLS + 1) or _cells(state, name) > OVERVIEW_CELLS:
        return _uncounted(state, name, now_ms, search)
    usage = current_usage(state, name, now_ms)
    if usage is None:
        running = active_subscription(state, name, now_ms)
        customer = "" if running is None else running.external_customer_id
        return [_bare(name, customer)] if search else []
    customer = usage.subscription.external_customer_id
    haystack = " ".join((*name, customer)).casefold()
    lines: dict[str, list[UsageRow]] = {}
    charges = {c.charge.id: c for c in usage.charges}
    for row in usage.rows:
        lines.setdefault(row.charge_id, []).append(row)
    found = [
        UsageView(
            organization_id=name[0],
            external_customer_id=customer,
            external_subscription_id=name[1],
            billable_metric_code=charges[charge_id].metric.code,
            charge_code=charges[charge_id].charge.code,
            units=exact_sum(row.units for row in rows),
            events_count=sum(row.events_count for row in rows),
            from_ms=usage.from_ms,
            to_ms=usage.to_ms,
            timezone=usage.timezone,
            implicit=usage.implicit,
        )
        for charge_id, rows in lines.items()
        if search in haystack or search in charges[charge_id].metric.code.casefold()
    ]
    return found or ([_bare(name, customer)] if search else [])


def _uncounted(
    state: Partition, name: SubscriptionKey, now_ms: int, search: str
) -> list[UsageView]:
    """Return the lines of a subscription of more cells than a look adds up."""
    running = active_subscription(state, name, now_ms)
    if running is None:
        return [_bare(name, "")] if search else []
    haystack = " ".join((*name, running.external_customer_id)).casefold()
    return [
        UsageView(
            organization_id=name[0],
            external_customer_id=running.external_customer_id,
            external_subscription_id=name[1],
            billable_metric_code=code,
            charge_code=code,
            units=None,
            events_count=None,
            from_ms=running.started_at_ms,
            to_ms=now_ms,
        )
        for code in state.event_ranges.codes[name]
        if search in haystack or search in code.casefold()
    ]


def _bare(name: SubscriptionKey, customer: str) -> UsageView:
    """Return the line of a subscription without a figure now; its closed periods may have some."""
    return UsageView(
        organization_id=name[0],
        external_customer_id=customer,
        external_subscription_id=name[1],
        billable_metric_code="",
        charge_code="",
        units=None,
        events_count=None,
        from_ms=0,
        to_ms=0,
    )


def _cells(state: Partition, name: SubscriptionKey) -> int:
    """Count the cells that a subscription has at hand, in earlier periods too."""
    codes: Collection[str] = state.event_ranges.codes[name]
    if len(codes) > STEP_ITEMS:
        # There may be any number of those that no metric ever had.
        codes = [code for code in codes if state.definitions.had_metric(name[0], code)]
    return sum(
        len(layer.cells)
        for code in codes
        for span in state.views.route_of((*name, code)).spans
        for layer in span.layers.values()
    )
