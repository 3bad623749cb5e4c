"""Corrected events: how an event counts, and which cuts show it, under its corrections."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, Steps, batches, in_order
from app.wire.arrivals import Arrival, CorrectionArrival, MeterKey, Position, SubscriptionKey
from app.wire.events import Event
from app.wire.identity import event_id
from tables.changelogged.correction_rows import StoredCorrection
from tables.fold import Folded, fold_run
from tables.partition.changed import Changed, codes_of
from tables.partition.cuts import CutsToCome
from tables.partition.packing import Packing
from tables.partition.revised import Counted, Kept, Revised, Versions, turned
from tables.partition.tables import Tables
from tables.spool import Spool


class Corrected:
    """Events of one partition as their corrections have them."""

    def __init__(
        self,
        tables: Tables,
        cuts: CutsToCome,
        packing: Packing,
        changed: Changed,
    ):
        self._changed = changed
        self._checkpoint = tables.checkpoint
        self._index = tables.index
        self._members = tables.members
        self._event_ranges = tables.event_ranges
        self._corrections = tables.corrections
        self._definitions = tables.definitions
        self._instants = tables.instants
        self._cuts = cuts
        self._packing = packing
        self._revised: dict[SubscriptionKey, dict[tuple[str, int], Versions]] = {}
        """What corrections revise in cuts to come: the events before and after each.

        By metric code and the last cut that may be the first to show it.
        """
        self._spool = Spool(tables.corrections.spool.directory)

    def fold_new(self, arrival: Arrival, identity: bytes, folded: Folded) -> None:
        """Fold a new event whose corrections came before it, as those appended before it say.

        For those appended after it, it is as if they came now.
        """
        event, name = arrival.event, arrival.name
        history = self._corrections.history(identity)
        self._corrections.rows.note_event(identity, came=True)
        self._note_versions(name, arrival, history)
        for stored in history:
            if stored.append_time_ms > arrival.append_time_ms:
                self._corrections.followed.follow(stored)
                self._schedule(stored)
        counted = self.counted(identity, arrival)
        if counted is None:
            if self._packing.route_of((*name, event.code)).grouped:
                # Its group takes a place all the same; a refold admits groups.
                folded.displaced.add((*name, event.code))
            return
        route = self._packing.route_of((*name, counted.arrival.event.code))
        self._changed.note_corrected(route, counted.arrival)
        fold_run(
            route,
            (counted.arrival,),
            self._cuts.settled_ms,
            self._members,
            folded,
            counted.since_ms,
        )
        folded.bills_as_it_came(arrival)

    def counted(
        self,
        identity: bytes,
        arrival: Arrival,
        horizon_ms: int | None = None,
        known: Container[int] | None = None,
    ) -> Counted | None:
        """Return the arrival as it counts in the cells; None when it is cancelled there.

        With `horizon_ms` as it counts under every correction appended until then. `known`: of those
        that no cell shows yet only these count, by row.
        """
        counted: Counted | None = Counted(arrival, -1)
        for stored in self._corrections.history(identity):
            at_ms = stored.append_time_ms
            if horizon_ms is None:
                shown = stored.applied
            else:
                shown = at_ms <= horizon_ms and _is_known(stored, known)
            if shown or at_ms <= arrival.append_time_ms:
                event = stored.event
                counted = None if event is None else Counted(replace(arrival, event=event), at_ms)
        return counted

    def shows_early(self, identity: bytes, append_time_ms: int) -> bool:
        """Return whether a correction counts in `counted` that cells show at their next cut.

        It was appended before its event, or in the same millisecond, and folded after it.
        """
        return any(
            stored.followed and not stored.applied and stored.append_time_ms <= append_time_ms
            for stored in self._corrections.history(identity)
        )

    def shown(self, identity: bytes, arrival: Arrival) -> Position | None:
        """Return where the correction lies that an event counts under in the cells; None: none."""
        for stored in reversed(self._corrections.history(identity)):
            if stored.applied or stored.append_time_ms <= arrival.append_time_ms:
                return stored.position
        return None

    def revised_by(
        self,
        identity: bytes,
        arrival: Arrival,
        horizon_ms: int,
        after_ms: int = -1,
        known: Container[int] | None = None,
    ) -> Iterator[tuple[Revised, Counted]]:
        """Yield what an event's corrections revise in cuts to come: it before and after each.

        `after_ms`: of corrections appended later only. `known`: as for `counted`.
        """
        event: Event | None = arrival.event
        for stored in self._corrections.history(identity):
            if stored.append_time_ms > arrival.append_time_ms and not _is_known(stored, known):
                continue
            before, event = event, stored.event
            at_ms = stored.append_time_ms
            if not max(arrival.append_time_ms, after_ms) < at_ms <= horizon_ms:
                continue
            last_ms = max(self._cuts.revisions_after(at_ms))
            if last_ms > self._checkpoint.cut_ms:
                for version in turned(arrival, before, event, at_ms):
                    yield (stored.name, version.arrival.event.code, last_ms), version

    def names(self) -> set[SubscriptionKey]:
        """Return external subscriptions that a cut to come revises for a correction."""
        return set(self._revised)

    def revised(self, name: SubscriptionKey, code: str, cut_ms: int) -> Iterator[Kept]:
        """Yield events before and after corrections that a cut may be the first to show."""
        of_name = self._revised.get(name)
        if of_name:
            for last_ms in self._cuts.revisions_after(cut_ms):
                yield from of_name.get((code, last_ms), ())

    def revised_codes(self, name: SubscriptionKey) -> set[str]:
        """Return metric codes of events that cuts to come revise for a correction."""
        return {code for code, _ in self._revised.get(name, ())}

    def revise(self, meter_keys: Collection[MeterKey], revised: Mapping[Revised, Versions]) -> None:
        """Put what a refold found in place of what there was of these meter keys."""
        for name in {meter_key[:2] for meter_key in meter_keys}:
            before = self._revised.pop(name, {})
            left = {key: before[key] for key in before if (*name, key[0]) not in meter_keys}
            if left:
                self._revised[name] = left
        for (name, code, last_ms), versions in revised.items():
            self._revised.setdefault(name, {})[code, last_ms] = versions

    def revise_more(self, revised: Iterable[tuple[Revised, Counted]]) -> None:
        """Add what the corrections of one event revise."""
        for (name, code, last_ms), version in revised:
            if not self._revised:
                # Nothing that was put on disk before is asked for any more.
                self._spool = Spool(self._corrections.spool.directory)
            of_name = self._revised.setdefault(name, {})
            if (code, last_ms) not in of_name:
                of_name[code, last_ms] = Versions(self._spool)
            of_name[code, last_ms].add(version)

    def settling(self, cut_ms: int) -> Iterator[None]:
        """Forget what cuts until then were to revise, by small steps."""
        for some in batches(list(self._revised), STEP_ITEMS):
            for name in some:
                # A refold may have taken it since the last step.
                of_name = self._revised.get(name, {})
                for key in [key for key in of_name if key[1] <= cut_ms]:
                    del of_name[key]
                if not of_name:
                    self._revised.pop(name, None)
            yield

    def correct(self, arrival: CorrectionArrival) -> bool:
        """Take a correction in; whether it changes what events count that are known.

        Published periods are revised at the first revision cut after it, at any age.
        """
        correction, name = arrival.correction, arrival.name
        touched = self._corrections.accept(event_id(*name, correction.transaction_id), arrival)
        changes = False
        for stored in touched:
            entry = self._index.find(stored.identity)
            if entry is None:
                continue
            changes = True
            self._corrections.rows.note_event(stored.identity, came=True)
            event = stored.event
            if event is not None:
                # A route is renewed until its first event takes it.
                self._packing.route_of((*name, event.code))
                # The event lies where those of its old code do.
                self._event_ranges.extend_to(name, event.code)
                self._reach(name, event, entry.append_time_ms, stored.append_time_ms)
            self._schedule(stored)
        if changes:
            self._corrections.followed.follow(touched[0])
        return changes

    def following_all(self) -> Steps[Iterator[SubscriptionKey]]:
        """Follow corrections with a revision cut to come, after a restore, by small steps.

        Return their names, in order.
        """
        names, to_come = set[SubscriptionKey](), list[StoredCorrection]()
        rows = self._corrections.rows
        for count, row in enumerate(rows.all(), 1):
            if max(self._cuts.revisions_after(rows.append_time_ms(row))) > self._checkpoint.cut_ms:
                to_come.append(rows.get(row))
            if count % STEP_ITEMS == 0:
                yield
        ordered = yield from in_order(to_come, key=_position_of)
        for stored in ordered:
            entry = self._index.find(stored.identity)
            if entry is not None:
                self._corrections.followed.follow(stored)
                # It may be an earlier copy that no cell shows yet: its cut comes before that of the
                # correction, and the refold must not put the one in force for the other.
                self._cuts.schedule_revision(stored.name, entry.append_time_ms)
                self._schedule(stored)
                names.add(stored.name)
            yield
        return (yield from in_order(names))

    def reschedule_revisions(self) -> Iterator[None]:
        """Ask anew for the revision cuts of all that are followed, a step for each."""
        for name, at_ms in self._corrections.followed.times():
            self._cuts.schedule_revision(name, at_ms)
            yield None

    def schedule_again(self, name: SubscriptionKey) -> None:
        """Have cuts taken for corrections that were read before a definition that asks for them."""
        for stored in self._corrections.followed.of(name):
            self._schedule(stored)

    def _schedule(self, stored: StoredCorrection) -> None:
        """Have the cuts taken that show a correction of a known event."""
        name, at_ms = stored.name, stored.append_time_ms
        self._cuts.schedule_revision(name, at_ms)
        cut_ms = self._cuts.grid_cut_of(at_ms)
        if cut_ms > self._checkpoint.cut_ms and self._definitions.pays_in_advance(*name):
            self._instants.correct(name, stored.identity)
            self._cuts.expect_instants({name}, cut_ms)

    def take_earlier(self, arrival: Arrival) -> None:
        """Take an earlier copy of a known event: it is what corrections are of from now on.

        It was appended before corrections that the later one was not. Until them it counts as it
        is, from its own cut on.
        """
        name = arrival.name
        history: Sequence[StoredCorrection] = ()
        if self._corrections.touches(name):
            history = self._corrections.history(arrival.identity)
        self._note_versions(name, arrival, history)
        for stored in history:
            if stored.append_time_ms > arrival.append_time_ms:
                # Cells may show them for the later copy.
                self._corrections.followed.mark_unclear(name)
                self._corrections.followed.follow(stored)
                self._cuts.schedule_revision(name, arrival.append_time_ms)
                self._schedule(stored)

    def _note_versions(
        self, name: SubscriptionKey, arrival: Arrival, history: Sequence[StoredCorrection]
    ) -> None:
        """Note an event's ranges as it is and as its corrections have it."""
        self._corrections.note_code(history, arrival.event.code)
        versions = ((stored.event, stored.append_time_ms) for stored in history)
        amended = [(event, at_ms) for event, at_ms in versions if event is not None]
        for code, at_ms in sorted(codes_of(arrival, history).items()):
            # A route is renewed until its first event takes it.
            self._packing.route_of((*name, code))
            entry = self._event_ranges.of(name, code)
            entry.note((arrival,))
            entry.first_ms = min(entry.first_ms, at_ms)
        for event, corrected_ms in amended:
            self._reach(name, event, arrival.append_time_ms, corrected_ms)

    def _reach(
        self, name: SubscriptionKey, amended: Event, append_time_ms: int, corrected_ms: int
    ) -> None:
        at_ms = amended.timestamp_ms
        entry = self._event_ranges.of(name, amended.code)
        entry.first_ms = min(entry.first_ms, max(append_time_ms, corrected_ms))
        # Its cut is that of its correction.
        entry.extend(append_time_ms if at_ms is None else at_ms, corrected_ms)


_position_of = attrgetter("position")


def _is_known(stored: StoredCorrection, known: Container[int] | None) -> bool:
    """Return whether cells show a correction already, or are about to."""
    return known is None or stored.applied or stored.row in known
