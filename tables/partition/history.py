"""History: history records that are put in force, and the cuts that show what they change."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Iterator

from app.bounds.turns import freeing
from app.definitions.model import HistoryRecord
from app.definitions.outcome import Impact
from app.definitions.periods import NEVER_MS, ceil_to
from app.definitions.timeline import Timeline
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.partition.cuts import CutsToCome
from tables.partition.packing import Packing
from tables.partition.redirection import Redirection, Renewed
from tables.partition.rewritten import Rewritten
from tables.partition.route_table import RouteTable
from tables.partition.standing import Standing
from tables.partition.tables import Tables


class History:
    """History records as one partition puts them in force."""

    def __init__(
        self,
        tables: Tables,
        cuts: CutsToCome,
        standing: Standing,
        routes: RouteTable,
        packing: Packing,
        redirection: Redirection,
    ):
        self._definitions = tables.definitions
        self._checkpoint = tables.checkpoint
        self._event_ranges = tables.event_ranges
        self._cuts = cuts
        self._standing = standing
        self._timelines = routes.timelines
        self._routes = routes
        self._packing = packing
        self._redirection = redirection

    def entering(self) -> Generator[Renewed | None, None, None]:
        """Put the next history records in force, a step for each external subscription.

        Meter keys that must be refolded keep their old routes until then. Everything that was
        appended until the records must have been folded, and the definitions looked at. Ended
        early it begins again.
        """
        records = self._standing.begin_history()
        refolds, watches = self._redirection.refolds, self._definitions.watches_before(NEVER_MS)
        self._routes.note_told()
        for record in records:
            # A look-ahead may have made a route for a first event that is not folded yet.
            self._routes.outdate(record.organization_id)
            named = yield from self._definitions.codes_named(record)
            rewritten = Rewritten(self._definitions, record)
            seen = set[SubscriptionKey]()
            for name in self._redirection.concerned(Impact(record.organization_id, codes=named)):
                if name in seen:
                    # It has events of several codes.
                    yield None
                    continue
                seen.add(name)
                # An alert or a day shows what it changes, though no event comes.
                waits = watches and self._cuts.schedule_grid(name, record.append_time_ms)
                refold = self._recounted(name, named, rewritten)
                if not self._leaves(name, named, rewritten):
                    refold |= yield from self._redirection.looking_at(name, named)
                refolds = refolds or bool(refold)
                yield Renewed(name, refold, waits) if refold or waits else None
            yield from freeing(seen)
        # Nobody announces them any more once they are in force: it may end early before that only.
        yield from self._announcing(records)
        for renewed in self._redirection.look_again():
            refolds = refolds or bool(renewed.refold)
            yield renewed
        self._standing.end_history(refolds=refolds)
        yield from self._packing.pack_later()

    def _leaves(self, name: SubscriptionKey, codes: Container[str], rewritten: Rewritten) -> bool:
        """Return whether a record sends no event of an external subscription elsewhere."""
        if self._standing.looks or self._redirection.is_refolding(name):
            return False
        known = self._event_ranges.codes_of(name)
        named = [code for code in known if code in codes]
        if any(rewritten.may_reach(code, known[code].newest_ms) for code in named):
            by_name = self._definitions.subscription_index.by_external_id
            life = None if self._timelines.has(name) else by_name.life(name)
            if life is not None:
                # As of most, whose versions need not be made for it.
                return not rewritten.changes_plan(life.plan_id)
            return not any(map(rewritten.changes, self._definitions.subscriptions(*name)))
        for code in named:
            route = self._routes.find((*name, code))
            if route is not None:
                # What comes later may be dated in those periods.
                self._routes.rest(route)
        return True

    def _recounted(
        self, name: SubscriptionKey, codes: Container[str], rewritten: Rewritten
    ) -> set[MeterKey]:
        """Return meter keys with forgotten cells that records tell otherwise, folded alike or not.

        Periods of what recurs are recounted, with what came when they were open no more. Which
        single events a record lists hangs on the price as well.
        """
        known = self._event_ranges.codes_of(name)
        forgotten = {code for code in known if code in codes and known[code].forgotten_ms >= 0}
        if not forgotten:
            return set()
        recounted = {code for code in forgotten if rewritten.recurs(code)}
        if len(recounted) < len(forgotten):
            for versions in self._definitions.subscriptions(*name):
                recounted |= forgotten & rewritten.listed(versions)
        return {(*name, code) for code in recounted}

    def revises(self, name: SubscriptionKey) -> bool:
        """Return whether history records shape cells of a subscription not revised by them yet."""
        cuts = self._cuts.late.of(name)
        if not cuts:
            return False
        # The first cut that shows a record comes within a revision after it.
        after_ms = cuts[0] - max(self._cuts.revision_grids_ms)
        records = self._definitions.history_of(name[0], self._standing.history_ms, after_ms)
        return any(
            not self._cuts.revisions_after(record.append_time_ms).isdisjoint(cuts)
            for record in records
        )

    def announcing(self) -> Iterator[None]:
        """Have the revision cuts taken of what is in force, after a restore."""
        in_force = [
            known
            for known in self._definitions.history_records
            if known.append_time_ms <= self._checkpoint.history_ms
        ]
        yield from self._announcing(in_force)

    def _announcing(self, records: Iterable[HistoryRecord]) -> Iterator[None]:
        """Expect the revision cuts of what history records concern."""
        done_ms, cuts = self._checkpoint.cut_ms, self._cuts
        by_organization: dict[str, list[tuple[HistoryRecord, dict[Timeline, set[int]]]]] = {}
        for record in records:
            if max(cuts.revisions_after(record.append_time_ms)) > done_ms:
                by_organization.setdefault(record.organization_id, []).append((record, {}))
        for organization_id, own in by_organization.items():
            for name in self._waiting_of(organization_id):
                if name is None:
                    yield None
                    continue
                for record, told in own:
                    for cut_ms in self._shown_at(record, name, told):
                        if cut_ms > done_ms:
                            cuts.expect(name, cut_ms)
                    yield None

    def _waiting_of(self, organization_id: str) -> Iterator[SubscriptionKey | None]:
        """Yield whoever of an organization waits for cuts of history records: at hand, or known.

        None: one that was yielded before. Who comes meanwhile is not among them.
        """
        at_hand = dict.fromkeys(self._timelines.names_of(organization_id))
        yield from at_hand
        for name in self._event_ranges.names_of(organization_id):
            yield None if name in at_hand else name

    def _shown_at(
        self, record: HistoryRecord, name: SubscriptionKey, told: dict[Timeline, set[int]]
    ) -> set[int]:
        """Return the revision cuts that show what a record changes of a subscription.

        `told`: what it was of others, by the timelines that they share.
        """
        at_ms, from_ms = record.append_time_ms, record.from_ms
        shared = self._timelines.telling(name, from_ms)
        if shared is not None and shared in told:
            return told[shared]
        until_ms = min(record.to_ms - 1, at_ms)
        shown = {
            ceil_to(at_ms, period.revise_every_ms)
            for period in self._timelines.within(name, from_ms, until_ms, shared)
            if record.covers(period.start_ms, period.due_at_ms)
        }
        if shared is not None:
            told[shared] = shown
        return shown

    def reopens(self, name: SubscriptionKey, cut_ms: int) -> bool:
        """Return whether a revision cut shows what records in force change of a subscription.

        It may revise any period then, also those that are final. It is asked at the cut: who had no
        event when they came, and was not at hand, waits for it by what came since.
        """
        last_ms = min(cut_ms, self._standing.history_ms)
        after_ms = cut_ms - max(self._cuts.revision_grids_ms)
        while records := self._definitions.history_after(after_ms):
            after_ms = records[0].append_time_ms
            if after_ms > last_ms:
                break
            own = (record for record in records if record.organization_id == name[0])
            if any(cut_ms in self._shown_at(record, name, {}) for record in own):
                return True
        return False
