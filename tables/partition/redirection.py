"""Redirection: whom a definition concerns, and what of theirs it sends elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from app.definitions.outcome import Touch
from app.wire.arrivals import SubscriptionName
from tables.changelogged.presence import Pair, Presence
from tables.partition.packing import Packing
from tables.partition.route_table import RouteTable
from tables.partition.staleness import Staleness
from tables.partition.standing import Standing
from tables.partition.tables import Tables
from tables.partition.timelines import Timelines

log = logging.getLogger(__name__)


class Renewed(NamedTuple):
    """What new definitions mean for one external subscription."""

    name: SubscriptionName
    refold: set[Pair]
    """Pairs with events that now go elsewhere; these pairs keep their routes until a refold."""
    cut_moved: bool
    """Whether its next cut may be due at another time."""


class Redirection:
    """New routes for old ones of one partition, when definitions say so."""

    def __init__(
        self,
        tables: Tables,
        standing: Standing,
        routes: RouteTable,
        packing: Packing,
        stale: Staleness,
    ):
        self._definitions = tables.definitions
        self._presence = tables.presence
        self._standing = standing
        self._timelines = routes.timelines
        self._routes = routes
        self._packing = packing
        self._stale = stale

    @property
    def refolds(self) -> bool:
        """Whether a refold of any pair is queued or running."""
        return bool(self._stale.refolding_pairs)

    def concerned(self, touch: Touch) -> Iterator[SubscriptionName]:
        """Whom a definition is about; they may be at home elsewhere, or have no event yet."""
        for code in sorted(touch.codes or ()):
            for name in self._presence.names_with(touch.organization_id or "", code):
                if self._is_on(name, touch.plan_id):
                    yield name
        if touch.codes is not None:
            return
        if touch.of_all:
            # Also without a subscription: for the implicit plan.
            for name in list(self._presence.codes):
                if touch.organization_id in (None, name[0]):
                    yield name
        yield from self._definitions.names_touched(touch)

    def _is_on(self, name: SubscriptionName, plan_id: str | None) -> bool:
        """Return True if a subscription of that external id is on a plan; None: any plan."""
        return plan_id is None or any(
            newest is not None and newest.plan_id == plan_id
            for newest in (versions.at() for versions in self._definitions.subscriptions(*name))
        )

    def pairs_of(self, touch: Touch) -> Iterator[Pair]:
        """Yield every pair with events that a definition may concern."""
        for name in self.concerned(touch):
            for code in list(self._presence.codes.get(name, ())):
                if touch.codes is None or code in touch.codes:
                    yield (*name, code)

    def look_at(self, name: SubscriptionName, codes: Container[str] | None) -> set[Pair]:
        """Replace the routes of some codes; return the pairs that need a refold and keep theirs."""
        try:
            return self._newly_routed(name, codes)
        except MemoryError:
            raise
        except Exception:
            # A refold finds out whether only this one fails, and what to do about it.
            log.exception("It cannot be told what a definition changes for %s", name)
            return self._presence.pairs_of(name)

    def look_again(self) -> Iterator[Renewed]:
        """Look once more at subscriptions that were routed under older definitions."""
        while (name := self._standing.next_again()) is not None:
            refold = self.look_at(name, None)
            if self._standing.is_unclear(name):
                refold |= self._presence.pairs_of(name)
            yield Renewed(name, refold, False)

    def _newly_routed(self, name: SubscriptionName, codes: Container[str] | None) -> set[Pair]:
        presences = self._presence.codes.get(name, {})
        found = {(*name, c): p for c, p in presences.items() if codes is None or c in codes}
        if not found:
            return set()
        if self._presence.undefined:
            for code in presences:
                self._presence.note_defined(name, code)
        standing = self._standing
        until_ms, history_ms = standing.of(name)
        refold: set[Pair] = set()
        if standing.looks and standing.is_unclear(name):
            refold.update(pair for pair in found if pair not in self._routes.by_pair)
        elif self._stays_cold(name, found, until_ms, history_ms):
            return refold
        refold |= self._redirected(name, found, until_ms, history_ms)
        # Cells of before the definition have no route when it is unclear what they were made under.
        self._stale.find(refold)
        return refold

    def _stays_cold(
        self,
        name: SubscriptionName,
        pairs: Mapping[Pair, Presence],
        before_ms: int | None,
        history_ms: int | None,
    ) -> bool:
        """Return True if definitions change nothing for a cold external subscription."""
        if name in self._stale.names or not self._packing.is_cold(name):
            return False
        old: Timelines | None = None
        new: Timelines | None = None
        if before_ms is not None and history_ms is None:
            old, new = self._timelines.unfixed(name, before_ms)
        compiled = self._routes.compile
        return all(
            compiled(pair, before_ms, history_ms, old).shape(*_reach(presence))
            == compiled(pair, timelines=new).shape(*_reach(presence))
            for pair, presence in pairs.items()
        )

    def _redirected(
        self,
        name: SubscriptionName,
        pairs: Mapping[Pair, Presence],
        before_ms: int | None,
        history_ms: int | None,
    ) -> set[Pair]:
        """Replace routes; return the pairs that keep their old ones because they need a refold.

        `before_ms`, `history_ms`: append times under which the old routes were compiled.
        """
        if self._packing.is_cold(name):
            # Thawing brings back the routes of every code as of then. Look at all of them: nobody
            # comes back to a code that another definition of that millisecond left packed.
            self._packing.thaw(name)
            self._standing.need_not_look_again(name)
            codes = self._presence.codes.get(name, {})
            pairs = {(*name, code): presence for code, presence in codes.items()}
        return {
            pair
            for pair, presence in pairs.items()
            # A running refold may stand under older definitions: it has to be done again.
            if pair in self._stale.refolding_pairs
            or self._changes_course(pair, presence, before_ms, history_ms)
        }

    def _changes_course(
        self, pair: Pair, presence: Presence, before_ms: int | None, history_ms: int | None
    ) -> bool:
        """Swap the route in place if no folded event goes elsewhere; else say so."""
        routes = self._routes
        old = routes.by_pair.get(pair) or routes.compile(pair, before_ms, history_ms)
        new = routes.compile(pair)
        reach = _reach(presence)
        if old.shape(*reach) != new.shape(*reach):
            if pair not in routes.by_pair:
                self._packing.install(pair, old)
            return True
        self._packing.install(pair, new)
        return False


def refolds_of(steps: Iterable[Renewed | None]) -> set[Pair]:
    """Run all steps in one go, where nobody else waits, and return the pairs to refold."""
    return {pair for renewed in steps if renewed is not None for pair in renewed.refold}


def _reach(presence: Presence) -> tuple[int, int]:
    """Return how far the events of a pair reach, for `Route.shape`."""
    return presence.newest_ms, presence.appended_ms
