"""Redirection: whom a definition concerns, and what of theirs it sends elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Set
from typing import Final, NamedTuple, TypeVar

from app.bounds.turns import STEP_ITEMS
from app.definitions.outcome import Impact
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.cells.forgotten import goes_on
from tables.changelogged.presence import EventRanges
from tables.partition.new_settings import NewSettings
from tables.partition.packing import Packing
from tables.partition.route_table import RouteTable
from tables.partition.staleness import Staleness
from tables.partition.standing import Standing
from tables.partition.tables import Carried, Tables
from tables.partition.timelines import Timelines
from tables.routing.route import Route

log = logging.getLogger(__name__)

T = TypeVar("T")


class Renewed(NamedTuple):
    """What new definitions mean for one external subscription."""

    name: SubscriptionKey
    refold: Set[MeterKey]
    """Meter keys with events that now go elsewhere; they keep their routes until a refold."""
    cut_moved: bool
    """Whether its next cut may be due at another time."""


def moves_cut(name: SubscriptionKey) -> Renewed:
    """Return that the next cut may be due at another time, and nothing else: so it is of most."""
    return _new(Renewed, (name, _NO_KEYS, True))


_NO_KEYS: Final = frozenset[MeterKey]()
# Plain __new__: the generated one costs three times as much, for each of very many.
_new = tuple.__new__

A_STEP = Renewed(("", ""), set(), False)
"""It means nothing for anybody: a long look goes on."""

Looking = Generator[Renewed, None, T]
"""A look by steps, each of which is `A_STEP`."""


class Redirection:
    """New routes for old ones of one partition, when definitions say so."""

    def __init__(
        self,
        tables: Tables,
        standing: Standing,
        routes: RouteTable,
        packing: Packing,
        stale: Staleness,
        home: Carried,
    ):
        self._home = home
        self._definitions = tables.definitions
        self._event_ranges = tables.event_ranges
        self._standing = standing
        self._timelines = routes.timelines
        self._routes = routes
        self._packing = packing
        self._stale = stale
        self.new_settings = NewSettings(tables, standing, routes, packing, stale)

    @property
    def refolds(self) -> bool:
        """Whether a refold of any meter key is queued or running."""
        return bool(self._stale.refolding_keys)

    def is_refolding(self, name: SubscriptionKey) -> bool:
        """Return whether a refold of an external subscription is queued or running."""
        return name in self._stale.names

    def concerned(self, impact: Impact, at_ms: int | None = None) -> Iterator[SubscriptionKey]:
        """Yield whom a definition is about of those at home; they may have no event yet.

        Who has events and a subscription may be told twice.
        `at_ms`: on the plans in force then; None: on those that routes made now show.
        """
        organization_id, external_id = impact.organization_id, impact.external_subscription_id
        if organization_id is not None and external_id is not None:
            if self._home.is_home((organization_id, external_id)):
                yield organization_id, external_id
            return
        for code in sorted(impact.codes or ()):
            for name in self._event_ranges.names_with(impact.organization_id or "", code):
                if self._is_on(name, impact, at_ms):
                    yield name
        if impact.codes is not None:
            return
        names_at_home = self._home.names_at_home
        if organization_id is None and names_at_home is not None:
            yield from names_at_home()
        else:
            yield from filter(self._home.is_home, self._definitions.names_affected(impact))
        if impact.of_all and self._definitions.settings.implicit_since_ms < NEVER_MS:
            # Also without a subscription: for the implicit plan.
            for name in self._event_ranges.codes:
                if organization_id in (None, name[0]):
                    yield name

    def _is_on(self, name: SubscriptionKey, impact: Impact, at_ms: int | None) -> bool:
        """Return True if a subscription of that external id is on the plan, if one is named.

        Who moves to another plan by a definition that waits is still on the old one.
        """
        if impact.plan_id is None:
            return True
        at_ms = self._standing.shown_until_ms if at_ms is None else at_ms
        found = (versions.at(at_ms) for versions in self._definitions.subscriptions(*name))
        return any(
            known is not None
            and impact.plan_id in (known.plan_ids if impact.with_children else (known.plan_id,))
            for known in found
        )

    def meter_keys_of(self, impact: Impact, at_ms: int) -> Iterator[MeterKey]:
        """Yield every meter key with events that a definition may concern, as of a moment."""
        for name in self.concerned(impact, at_ms):
            for code in list(self._event_ranges.codes_of(name)):
                if impact.codes is None or code in impact.codes:
                    yield (*name, code)

    def looking_at(
        self, name: SubscriptionKey, codes: Container[str] | None
    ) -> Looking[set[MeterKey]]:
        """Replace routes of some codes; return the meter keys that need a refold first.

        Events fold on between two steps. One that ends early is to begin again.
        """
        try:
            return (yield from self._newly_routed(name, codes))
        except MemoryError:
            raise
        except Exception:
            # A refold finds out whether only this one fails, and what to do about it.
            log.exception("It cannot be told what a definition changes for %s", name)
            return self._event_ranges.meter_keys_of(name)

    def look_again(self) -> Iterator[Renewed]:
        """Look once more at subscriptions that were routed under older definitions."""
        looked_at: list[SubscriptionKey] = []
        while (name := self._standing.next_again()) is not None:
            looked_at.append(name)
            try:
                refold = yield from self.looking_at(name, None)
            except GeneratorExit:
                self._standing.look_again(name)
                raise
            if self._standing.is_unclear(name):
                refold |= self._event_ranges.meter_keys_of(name)
            yield Renewed(name, refold, False)
        if self._standing.shown_until_ms is not None:
            # What they were routed without may be of those that wait yet.
            for name in looked_at:
                self._standing.look_again(name)

    def _newly_routed(
        self, name: SubscriptionKey, codes: Container[str] | None
    ) -> Looking[set[MeterKey]]:
        presences = self._event_ranges.codes_of(name)
        found = {(*name, c): p for c, p in presences.items() if codes is None or c in codes}
        if not found:
            return set()
        if self._event_ranges.undefined:
            for code in presences:
                self._event_ranges.note_defined(name, code)
        standing = self._standing
        until_ms, history_ms = standing.of(name)
        refold: set[MeterKey] = set()
        if standing.looks and standing.is_unclear(name):
            if self._packing.is_packed(name):
                # All of it comes back, under definitions that its cells may not show.
                found = {(*name, code): presence for code, presence in presences.items()}
            refold.update(meter_key for meter_key in found if not self._routes.find(meter_key))
        elif (yield from self._staying_cold(name, found, until_ms, history_ms)):
            return refold
        refold |= yield from self._redirecting(name, found, until_ms, history_ms)
        # Cells of before the definition have no route when it is unclear what they were made under.
        self._stale.find(refold)
        return refold

    def _staying_cold(
        self,
        name: SubscriptionKey,
        meter_keys: Mapping[MeterKey, EventRanges],
        before_ms: int | None,
        history_ms: int | None,
    ) -> Looking[bool]:
        """Return True if definitions change nothing for a packed external subscription."""
        if name in self._stale.names or not self._packing.is_all_packed(name):
            return False
        compiled, until_ms = self._routes.compile, self._standing.shown_until_ms
        # Once for all codes.
        old, new = self._compared(name, before_ms)
        passed = 0
        for meter_key, event_ranges in meter_keys.items():
            was = compiled(meter_key, before_ms, history_ms, old)
            now = compiled(meter_key, until_ms, None, new)
            if not _leads_like(was, now, event_ranges):
                return False
            passed += 2 + 2 * len(was.spans)
            if passed >= STEP_ITEMS:
                passed = 0
                yield A_STEP
        return True

    def _compared(
        self, name: SubscriptionKey, before_ms: int | None
    ) -> tuple[Timelines, Timelines]:
        """Return timelines under old and new definitions, without some that lead all alike.

        What all of whose periods were fixed before the new ones hangs on settings, history and
        alerts alone.
        """
        definitions, until_ms = self._definitions, self._standing.shown_until_ms
        timelines, settled_ms = self._timelines, max(definitions.settings.changes, default=-1)
        if (
            before_ms is None
            or settled_ms > before_ms
            or definitions.history.records
            or definitions.alerts.has_any(name)
        ):
            return timelines.of(name, before_ms), timelines.of(name, until_ms)
        return (
            timelines.not_fixed(name, before_ms, before_ms),
            timelines.not_fixed(name, before_ms, until_ms),
        )

    def _redirecting(
        self,
        name: SubscriptionKey,
        meter_keys: Mapping[MeterKey, EventRanges],
        before_ms: int | None,
        history_ms: int | None,
    ) -> Looking[set[MeterKey]]:
        """Replace routes; return the meter keys that keep theirs because they need a refold.

        `before_ms`, `history_ms`: append times under which the old routes were compiled.
        """
        passed = 0
        if self._packing.is_packed(name):
            # Unpacking brings back the routes of every code as of then. Look at all of them: nobody
            # comes back to a code that another definition of that millisecond left packed.
            for _ in self._packing.unpacking_all(name):
                yield A_STEP
            # What comes to it between two steps may ask for another look.
            self._standing.need_not_look_again(name)
            codes = self._event_ranges.codes_of(name)
            meter_keys = {(*name, code): event_ranges for code, event_ranges in codes.items()}
        refold: set[MeterKey] = set()
        # Of most of those that are looked at.
        is_one = len(meter_keys) == 1
        for meter_key, event_ranges in meter_keys.items():
            # A running refold may stand under older definitions: it has to be done again.
            if meter_key in self._stale.refolding_keys or self._changes_course(
                meter_key, event_ranges, before_ms, history_ms
            ):
                refold.add(meter_key)
            if is_one:
                break
            route = self._routes.by_key.get(meter_key)
            passed += 1 if route is None else 1 + len(route.spans)
            if passed >= STEP_ITEMS:
                passed = 0
                try:
                    yield A_STEP
                except GeneratorExit:
                    self._standing.look_again(name)
                    raise
        return refold

    def _changes_course(
        self,
        meter_key: MeterKey,
        event_ranges: EventRanges,
        before_ms: int | None,
        history_ms: int | None,
    ) -> bool:
        """Swap the route in place if no folded event goes elsewhere; else say so."""
        routes = self._routes
        known = routes.find(meter_key)
        old = known or routes.compile(meter_key, before_ms, history_ms)
        new = routes.compile(meter_key, self._standing.shown_until_ms)
        if not _leads_like(old, new, event_ranges):
            if known is None:
                self._routes.install(meter_key, old)
            return True
        self._routes.install(meter_key, new)
        return False


def refolds_of(steps: Iterable[Renewed | None]) -> set[MeterKey]:
    """Run all steps in one go, where nobody else waits, and return the meter keys to refold."""
    return {meter_key for renewed in steps if renewed is not None for meter_key in renewed.refold}


def _leads_like(old: Route, new: Route, event_ranges: EventRanges) -> bool:
    """Return whether a new route needs no refold of what an old one took, or carries on."""
    reach = event_ranges.newest_ms, event_ranges.appended_ms
    return old.leads_like(new, *reach) and not goes_on(
        old.spans, new.spans, event_ranges.forgotten_ms
    )
