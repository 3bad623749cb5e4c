"""Redefinition: what a partition is told of, until everybody it concerns was looked at."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import count

from app.bounds.turns import STEP_ITEMS, freeing
from app.definitions.outcome import Impact
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.presence import REST
from tables.partition.changed import Changed
from tables.partition.corrected import Corrected
from tables.partition.cuts import CutsToCome
from tables.partition.packing import Packing
from tables.partition.redirection import Redirection, Renewed, moves_cut
from tables.partition.route_table import RouteTable
from tables.partition.standing import Standing, WaitingDefinition
from tables.partition.tables import Tables

TOLD_AT_ONCE = 256
"""Definitions that are looked at together: those that concern the same ones are looked at once."""


class Redefinition:
    """The definitions that one partition is told of, until everybody they concern was looked at."""

    def __init__(
        self,
        tables: Tables,
        corrected: Corrected,
        standing: Standing,
        routes: RouteTable,
        packing: Packing,
        redirection: Redirection,
        cuts: CutsToCome,
        changed: Changed,
    ):
        self._cuts = cuts
        self._changed = changed
        self._definitions = tables.definitions
        self._work = tables.work
        self._checkpoint = tables.checkpoint
        self._event_ranges = tables.event_ranges
        self._corrected = corrected
        self._standing = standing
        self._routes = routes
        self._packing = packing
        self._redirection = redirection
        self._searched_for = dict[str | None, int]()
        """Organizations with definitions that may be of names not kept one by one; None: all.

        With the number of the newest search that is asked for.
        """
        self._asked = 0
        """Searches that were asked for."""

    def tell(self, impact: Impact, at_ms: int | None = None, until_ms: int | None = None) -> None:
        """Queue an applied definition; `renewing` looks at the subscriptions it concerns.

        `at_ms`: its append time, when others came after. `until_ms`: the append time up to which
        definitions were looked at before, for a partition that is being restored.
        """
        self._routes.tell(impact)
        at_ms = self._definitions.append_time_ms if at_ms is None else at_ms
        self._standing.tell(impact, at_ms, until_ms)
        self._changed.tell(impact, at_ms)

    def renewing(self, *, waits: bool = False) -> Generator[Renewed | None, None, None]:
        """Look at each subscription that queued definitions concern, at most one a step.

        Events fold on meanwhile by the present routes. A run that ends early begins again.
        `waits`: at none that waits for a grid cut, or is queued after the first step, which comes
        later than this is called.
        """
        standing = self._standing
        queued_ms = min(standing.looks_until_ms, standing.newest_ms)
        standing.begin_looking(queued_ms if waits else NEVER_MS)
        try:
            yield from self._looking()
        finally:
            standing.end_looking()
        yield from self._packing.pack_later()

    def _looking(self) -> Generator[Renewed | None, None, None]:
        standing = self._standing
        while (
            since_ms := standing.behind_since_ms
        ) is not None and since_ms <= standing.looks_for_ms:
            told = [
                each for each in standing.first(TOLD_AT_ONCE) if each.at_ms <= standing.looks_for_ms
            ]
            if any(each.impact.organization_id is None for each in told):
                # Settings may come into force before corrections and events that were read earlier.
                yield from self._corrected.reschedule_revisions()
                yield from self._cuts.expect_undecided()
                yield from self._missed(told)
            yield from self._renewed_for([each.impact for each in told], since_ms)
            if self._definitions.watches_before(NEVER_MS):
                yield from self._watched(told, since_ms)
            yield from self._redirection.look_again()
            if self._event_ranges.rest is not None and self._asks_for_search(told):
                yield Renewed(REST[:2], {REST}, False)
            if told[-1].at_ms > standing.looks_for_ms:
                # One that came meanwhile has to wait, and what is of its millisecond with it.
                return
            standing.looked_at(told)
        if not standing.looks:
            standing.clear()

    def _missed(self, told: Iterable[WaitingDefinition]) -> Iterator[Renewed | None]:
        """Have events noted for usage-changed that came before settings of an earlier time."""
        since_ms = min(each.at_ms for each in told if each.impact.organization_id is None)
        for meter_key in self._changed.missed(since_ms):
            yield None if meter_key is None else Renewed(meter_key[:2], {meter_key}, False)

    def _watched(
        self, told: Iterable[WaitingDefinition], since_ms: int
    ) -> Iterator[Renewed | None]:
        """Have the grid cuts taken at which definitions show, of those watched since a time."""
        passed = count(1)
        for impact, at_ms, _ in told:
            seen = set[SubscriptionKey]()
            for name in self._redirection.concerned(impact):
                if name in seen or not self._definitions.is_watched(name, since_ms):
                    if next(passed) % STEP_ITEMS == 0:
                        yield None
                    continue
                seen.add(name)
                # Routes without events may stand under what was before.
                self._routes.drop_unused(name)
                self._cuts.schedule_grid(name, at_ms)
                self._corrected.schedule_again(name)
                if impact.external_subscription_id is not None:
                    yield from self._remember_late(name, impact.codes or ())
                yield Renewed(name, set(), True)
            yield from freeing(seen)

    def _remember_late(
        self, name: SubscriptionKey, codes: Iterable[str]
    ) -> Iterator[Renewed | None]:
        """Have the cuts looked at that states wait for since before an alert was there."""
        if self._packing.is_packed(name):
            # It comes back as of before the alert, with nobody who watches it.
            yield from self._packing.unpacking_all(name)
            refold = yield from self._redirection.looking_at(name, None)
            yield Renewed(name, refold, False)
        for code in codes:
            if self._event_ranges.find(name, code) is None:
                continue
            for span in self._packing.route_of((*name, code)).spans:
                for layer in list(span.layers.values()):
                    for cell in list(layer.cells.values()):
                        self._cuts.remember(cell)
                    yield None

    def _renewed_for(self, impacts: Iterable[Impact], since_ms: int) -> Iterator[Renewed | None]:
        """Look at concerned subscriptions; after an impact on all codes, not again at the same.

        `since_ms`: append time of the first of them, as `_watched` has it.
        """
        redirection, settings = self._redirection, self._redirection.new_settings
        seen, left = set[SubscriptionKey](), set[SubscriptionKey]()
        impacts = sorted(dict.fromkeys(impacts), key=lambda impact: impact.codes is not None)
        leaves = any(impact.of_settings for impact in impacts) and settings.leave_most()
        watches, passed = self._definitions.watches_before(NEVER_MS), count(1)
        for impact in impacts:
            # Whom settings leave alone may be concerned by another one.
            known = left if leaves and impact.of_settings else seen
            for name in redirection.concerned(impact):
                if name in known or name in seen:
                    if next(passed) % STEP_ITEMS == 0:
                        yield None
                    continue
                self._work.add("definition", "names", 1)
                if impact.codes is None:
                    known.add(name)
                codes = settings.moving(name) if known is left else impact.codes
                # Its next cut is looked for once it is known which grid cuts show it.
                waits = watches and self._definitions.is_watched(name, since_ms)
                if codes != []:
                    refold = yield from redirection.looking_at(name, codes)
                    yield Renewed(name, refold, impact.moves_cuts and not waits)
                elif not (waits or settings.keep_cuts(name)):
                    yield moves_cut(name)
                elif next(passed) % STEP_ITEMS == 0:
                    yield None
        yield from freeing(seen)
        yield from freeing(left)

    def _asks_for_search(self, told: Sequence[WaitingDefinition]) -> bool:
        """Return whether names not kept one by one are to be searched for what was defined."""
        defining = {each.impact.organization_id for each in told if self._defines(each.impact)}
        if defining:
            self._asked += 1
            self._searched_for.update(dict.fromkeys(defining, self._asked))
        elif self._event_ranges.rest_names.is_whole and not self._searched_for:
            # None of them was of such a name, so no later search has to look for these.
            self.note_searched(told[-1].at_ms, {})
        return bool(defining)

    def _defines(self, impact: Impact) -> bool:
        """Return True if a definition may be the first of a name that events came for."""
        organization_id, definitions = impact.organization_id, self._definitions
        searched_ms, rest_names = self._checkpoint.searched_ms, self._event_ranges.rest_names
        if organization_id is None:
            # Settings define a name by the implicit plan alone; else it stands for many of any.
            is_new = searched_ms <= definitions.settings.implicit_since_ms < NEVER_MS
            return is_new or not (impact.of_settings or impact.codes is not None)
        if impact.external_subscription_id is not None:
            name = (organization_id, impact.external_subscription_id)
            is_new = searched_ms <= definitions.named_since_ms(*name) < NEVER_MS
            return is_new and rest_names.may_have(name)
        return any(
            searched_ms <= definitions.code_since_ms(organization_id, code) < NEVER_MS
            and rest_names.may_have_code(organization_id, code)
            for code in impact.codes or ()
        )

    def is_searched_for(self, organization_id: str) -> bool:
        """Return True if an organization's definitions may be of names not kept one by one."""
        return not self._searched_for.keys().isdisjoint((organization_id, None))

    def searched_for(self) -> dict[str | None, int]:
        """Return organizations whose definitions are looked for among names not kept one by one.

        Each with the number of the newest search that is asked for.
        """
        return dict(self._searched_for)

    def search_for_all(self) -> None:
        """Search for all after a restore: whose definitions were looked for is not written down."""
        if self._event_ranges.rest is not None:
            self._searched_for.setdefault(None, self._asked)

    def note_searched(self, defined_ms: int, searched_for: Mapping[str | None, int]) -> None:
        """Note that names not kept one by one were searched for what was defined until then.

        `searched_for`: as it was when the search began. What was asked for since is still to come.
        """
        self._checkpoint.searched_ms = max(self._checkpoint.searched_ms, defined_ms)
        for organization_id, asked in searched_for.items():
            if self._searched_for.get(organization_id) == asked:
                del self._searched_for[organization_id]
