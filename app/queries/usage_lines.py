"""The live page's lines of usage: which subscriptions to show, found without asking all of them.

Names are indexed as they come. An overview looks at the index, then computes the usage of the few
that it shows.
"""

from __future__ import annotations

from heapq import nlargest
from itertools import islice
from typing import NamedTuple

from app.bounds.limits import OVERVIEW_CELLS, OVERVIEW_S
from app.bounds.turns import Steps, Turns
from app.meter.overview import OverviewQuery, UsageView
from app.meter.usage import UsageRow
from app.numbers import exact_sum
from app.runtime.owned import OwnedPartition
from app.wire.arrivals import SubscriptionKey
from tables.partition.partition import Partition
from tables.reading.usage import active_subscription, current_usage

_INDEXED_AGAIN = 256
"""Subscriptions of an organization looked at again in each overview: what is searched for may have
come to be another."""
_SEARCHED_AT_ONCE = 2_048


class _Entry(NamedTuple):
    """A subscription with events."""

    events: int
    number: int
    """The partition."""
    name: SubscriptionKey
    text: str
    """What a search finds it by."""


class _Names:
    """Subscriptions of one organization on one partition."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.entries: list[_Entry] = []
        self._again = 0

    def add(self, state: Partition, name: SubscriptionKey, now_ms: int) -> None:
        """Add a subscription that was not there before."""
        self.entries.append(self._entry(state, name, now_ms))

    def look_again(self, state: Partition, now_ms: int) -> Steps[None]:
        """Look at some of them again, in turn."""
        for _ in range(min(_INDEXED_AGAIN, len(self.entries))):
            self._again = (self._again + 1) % len(self.entries)
            entry = self.entries[self._again]
            self.entries[self._again] = self._entry(state, entry.name, now_ms)
            yield

    def _entry(self, state: Partition, name: SubscriptionKey, now_ms: int) -> _Entry:
        codes = state.event_ranges.codes[name]
        running = active_subscription(state, name, now_ms)
        customer = "" if running is None else running.external_customer_id
        text = " ".join((*name, customer, *codes)).casefold()
        return _Entry(sum(each.events for each in codes.values()), self._number, name, text)


class UsageLines:
    """Finds the lines of usage that the page shows."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._names: dict[Partition, dict[str, _Names]] = {}
        self._indexed: dict[Partition, int] = {}

    def shown(
        self, owned: dict[int, OwnedPartition], query: OverviewQuery, now_ms: int
    ) -> Steps[tuple[list[UsageView], int]]:
        """Return lines, those of most events first, and how many there would be."""
        states = {number: each.state for number, each in owned.items()}
        yield from self._index(states, now_ms)
        search = query.search.casefold()
        found, count = list[_Entry](), 0
        for state in states.values():
            by_organization = self._names[state]
            wanted = (
                list(by_organization.values())
                if query.organization_id is None
                else [by_organization.get(query.organization_id, _Names(state.number))]
            )
            for names in wanted:
                yield from names.look_again(state, now_ms)
                for start in range(0, len(names.entries), _SEARCHED_AT_ONCE):
                    part = names.entries[start : start + _SEARCHED_AT_ONCE]
                    hits = [entry for entry in part if search in entry.text]
                    count += len(hits)
                    found = nlargest(query.limit, found + hits)
                    yield
        views: list[UsageView] = []
        looked_at, began_s = 0, self._turns.clock()
        used_s = 0.0
        for entry in found:
            if len(views) >= query.limit or used_s > OVERVIEW_S:
                break
            began_s = self._turns.clock()
            views += _lines(states[entry.number], entry.name, now_ms, search)
            used_s += self._turns.clock() - began_s
            looked_at += 1
            yield
        return nlargest(query.limit, views, key=_most), len(views) + count - looked_at

    def _index(self, states: dict[int, Partition], now_ms: int) -> Steps[None]:
        """Take in the subscriptions that are new."""
        for gone in [state for state in self._names if state not in states.values()]:
            del self._names[gone], self._indexed[gone]
        for number, state in states.items():
            by_organization = self._names.setdefault(state, {})
            known = self._indexed.setdefault(state, 0)
            if known == len(state.event_ranges.codes):
                continue
            for name in list(islice(state.event_ranges.codes, known, None)):
                names = by_organization.setdefault(name[0], _Names(number))
                names.add(state, name, now_ms)
                self._indexed[state] += 1
                yield


def _most(view: UsageView) -> tuple[int, object]:
    return view.events_count, view.units or 0


def _lines(state: Partition, name: SubscriptionKey, now_ms: int, search: str) -> list[UsageView]:
    running = active_subscription(state, name, now_ms)
    if running is None:
        return []
    haystack = " ".join((*name, running.external_customer_id)).casefold()
    if _cells(state, name) > OVERVIEW_CELLS:
        return [
            UsageView(
                organization_id=name[0],
                external_customer_id=running.external_customer_id,
                external_subscription_id=name[1],
                billable_metric_code=code,
                charge_code=code,
                units=None,
                events_count=entry.events,
                from_ms=running.started_at_ms,
                to_ms=now_ms,
            )
            for code, entry in state.event_ranges.codes[name].items()
            if search in haystack or search in code.casefold()
        ]
    usage = current_usage(state, name, now_ms)
    if usage is None:
        return []
    lines: dict[str, list[UsageRow]] = {}
    charges = {c.charge.id: c for c in usage.charges}
    for row in usage.rows:
        lines.setdefault(row.charge_id, []).append(row)
    return [
        UsageView(
            organization_id=name[0],
            external_customer_id=usage.subscription.external_customer_id,
            external_subscription_id=name[1],
            billable_metric_code=charges[charge_id].metric.code,
            charge_code=charges[charge_id].charge.code,
            units=exact_sum(row.units for row in rows),
            events_count=sum(row.events_count for row in rows),
            from_ms=usage.from_ms,
            to_ms=usage.to_ms,
            implicit=usage.implicit,
        )
        for charge_id, rows in lines.items()
        if search in haystack or search in charges[charge_id].metric.code.casefold()
    ]


def _cells(state: Partition, name: SubscriptionKey) -> int:
    """Count the cells that a subscription has at hand, in earlier periods too."""
    return sum(
        len(layer.cells)
        for code in state.event_ranges.codes[name]
        for span in state.views.route_of((*name, code)).spans
        for layer in span.layers.values()
    )
