"""The live page's lines of usage: which subscriptions to show, found without asking all of them.

Names are indexed as they come. An overview looks at the index, then computes the usage of the few
that it shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from app.bounds.limits import OVERVIEW_CELLS, OVERVIEW_S, OVERVIEW_SUBSCRIPTIONS
from app.bounds.turns import Steps, Turns
from app.meter.overview import OverviewQuery, UsageView
from app.meter.usage import UsageRow
from app.numbers import exact_sum
from app.runtime.status import Tally
from app.wire.arrivals import SubscriptionKey
from tables.partition.partition import Partition
from tables.reading.usage import active_subscription, current_usage

_INDEXED_AGAIN = 32
"""Subscriptions looked at again in each search, one organization of one partition after the other:
what they are found by may have come to be another."""
COUNTED = 1_000
"""Subscriptions up to which those that match a search are counted."""
_CHUNK = 1_024
"""Subscriptions that are searched at once."""


class _Entry(NamedTuple):
    """A subscription with events."""

    number: int
    """The partition."""
    name: SubscriptionKey
    text: str
    """What a search finds it by."""
    rank: tuple[int, str]
    """The shortest name comes first."""


_RANK = attrgetter("rank")


class _Chunk:
    """Some subscriptions, and all their texts in one, so that a search passes over most at once."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self._text: str | None = None

    def put(self, place: int, entry: _Entry) -> None:
        """Add an entry at the end, or take over what has changed of one."""
        if place == len(self.entries):
            self.entries.append(entry)
        elif self.entries[place].text == entry.text:
            return
        else:
            self.entries[place] = entry
        self._text = None

    def matching(self, search: str) -> list[_Entry]:
        """Return the entries whose text contains what is searched for."""
        if search not in self._whole():
            return []
        return [entry for entry in self.entries if search in entry.text]

    def beginning(self, search: str) -> list[_Entry]:
        """Return the entries whose subscription begins with what is searched for."""
        if f"\n{search}" not in self._whole():
            return []
        return [entry for entry in self.entries if entry.text.startswith(search)]

    def _whole(self) -> str:
        if self._text is None:
            self._text = "".join(f"\n{entry.text}" for entry in self.entries)
        return self._text


class _Names:
    """Subscriptions of one organization on one partition."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.chunks: list[_Chunk] = []
        self.count = 0
        self._again = 0

    def add(self, state: Partition, name: SubscriptionKey, now_ms: int) -> None:
        """Add a subscription that was not there before."""
        if self.count % _CHUNK == 0:
            self.chunks.append(_Chunk())
        self.chunks[-1].put(self.count % _CHUNK, self._entry(state, name, now_ms))
        self.count += 1

    def look_again(self, state: Partition, now_ms: int) -> Steps[None]:
        """Look at some of them again, in turn."""
        for _ in range(min(_INDEXED_AGAIN, self.count)):
            self._again = (self._again + 1) % self.count
            chunk, place = self.chunks[self._again // _CHUNK], self._again % _CHUNK
            chunk.put(place, self._entry(state, chunk.entries[place].name, now_ms))
            yield

    def _entry(self, state: Partition, name: SubscriptionKey, now_ms: int) -> _Entry:
        codes = state.event_ranges.codes[name]
        running = active_subscription(state, name, now_ms)
        customer = "" if running is None else running.external_customer_id
        # The subscription stands first: whose name begins so is found before others.
        customers = () if customer == name[1] else (customer,)
        text = " ".join((name[1], *customers, *codes, name[0])).casefold()
        return _Entry(self._number, name, text, (len(name[1]), text))


class UsageLines:
    """Finds the lines of usage that the page shows."""

    def __init__(self, turns: Turns, tally: Tally) -> None:
        self._turns = turns
        self._tally = tally
        self._names: dict[Partition, dict[str, _Names]] = {}
        self._indexed: dict[Partition, int] = {}
        self._searches = 0

    def shown(
        self, states: Mapping[int, Partition], query: OverviewQuery, now_ms: int
    ) -> Steps[tuple[list[UsageView], int]]:
        """Return lines, and how many subscriptions there would be to show.

        Without a search, those that were active lately come first.
        """
        yield from self._index(states, now_ms)
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

        All names must be indexed.
        """
        found = {
            name: number
            for name, number in self._tally.recent.names().items()
            if organization_id in (None, name[0])
            and number in states
            and name in states[number].event_ranges.codes
        }
        of_all = [names for names, _ in self._wanted(states, organization_id)]
        for names in of_all:
            for chunk in names.chunks[:1]:
                for entry in chunk.entries[:OVERVIEW_SUBSCRIPTIONS]:
                    found.setdefault(entry.name, entry.number)
        shown = islice(found.items(), OVERVIEW_SUBSCRIPTIONS)
        return [(number, name) for name, number in shown], sum(names.count for names in of_all)

    def searched(
        self, states: Mapping[int, Partition], query: OverviewQuery, search: str, now_ms: int
    ) -> Steps[tuple[list[tuple[int, SubscriptionKey]], int]]:
        """Return subscriptions that match, and how many match; many are not counted.

        Those whose name begins with what is searched for come first, the shortest before others.
        """
        found: list[_Entry] = []
        beginning = 0
        wanted = self._wanted(states, query.organization_id)
        self._searches += 1
        for names, state in wanted[self._searches % max(len(wanted), 1) :][:1]:
            yield from names.look_again(state, now_ms)
        for names, _ in wanted:
            for chunk in names.chunks:
                if len(found) < COUNTED:
                    found += chunk.matching(search)
                else:
                    # Whoever is called so is found among any number.
                    more = chunk.beginning(search if beginning < COUNTED else f"{search} ")
                    found += more
                    beginning += len(more)
                yield
        # What is in order already is sorted in no time: the shortest were named first.
        found.sort(key=_RANK)
        first: list[_Entry] = []
        others: list[_Entry] = []
        for entry in found:
            (first if entry.text.startswith(search) else others).append(entry)
            if len(first) == OVERVIEW_SUBSCRIPTIONS:
                break
        shown = [*first, *others][:OVERVIEW_SUBSCRIPTIONS]
        return [(entry.number, entry.name) for entry in shown], min(len(found), COUNTED)

    def _wanted(
        self, states: Mapping[int, Partition], organization_id: str | None
    ) -> list[tuple[_Names, Partition]]:
        """Return the names of one organization or of all, by partition."""
        return [
            (names, state)
            for state in states.values()
            for organization, names in self._names[state].items()
            if organization_id in (None, organization)
        ]

    def _index(self, states: Mapping[int, Partition], now_ms: int) -> Steps[None]:
        """Take in the subscriptions that are new."""
        for gone in [state for state in self._names if state not in states.values()]:
            del self._names[gone], self._indexed[gone]
        for number, state in states.items():
            by_organization = self._names.setdefault(state, {})
            known = self._indexed.setdefault(state, 0)
            if known == len(state.event_ranges.codes):
                continue
            for name in state.event_ranges.codes.since(known):
                names = by_organization.setdefault(name[0], _Names(number))
                names.add(state, name, now_ms)
                self._indexed[state] += 1
                yield


def _lines(state: Partition, name: SubscriptionKey, now_ms: int, search: str) -> list[UsageView]:
    if _cells(state, name) > OVERVIEW_CELLS:
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
    return sum(
        len(layer.cells)
        for code in state.event_ranges.codes[name]
        for span in state.views.route_of((*name, code)).spans
        for layer in span.layers.values()
    )
