"""Cuts to come: when what was appended late, or corrected, is published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from math import lcm
from typing import NamedTuple

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.definitions.copies import alike
from app.definitions.model import Subscription
from app.definitions.periods import NEVER_MS, ceil_to
from app.definitions.versions import Versions
from app.wire.arrivals import SubscriptionKey
from tables.cells.cell import Cell
from tables.cells.days import Days, cuts_after, next_first_day, shown_within_ms
from tables.cells.grids import decided_until
from tables.partition.tables import Tables
from tables.partition.timelines import TimelineTable
from tables.partition.waiting import WaitingNames


class LateLayer(NamedTuple):
    """A layer of which a revision cut shows what came late."""

    cut_ms: int
    """The revision cut."""
    code: str
    """The code of its metric; empty: the cut may show anything."""
    start_ms: int
    recurs: bool
    """Whether later periods show it, too."""
    reopens: bool = False
    """Whether the cut may revise the period though it is final."""


class CutsToCome:
    """Revision cuts of one partition that are not taken yet."""

    def __init__(
        self,
        tables: Tables,
        timelines: TimelineTable,
        is_home: Callable[[SubscriptionKey], bool],
    ):
        self._definitions = tables.definitions
        self._checkpoint = tables.checkpoint
        self._daily = tables.daily
        self._billed_at_once = tables.instants
        self._timelines = timelines
        self._is_home = is_home
        self.late = WaitingNames()
        """Revision cuts that events wait for."""
        self._layers: dict[SubscriptionKey, set[LateLayer]] = {}
        """What the revision cuts that somebody waits for show: they look at nothing else."""
        self.grid = WaitingNames()
        """Grid cuts at which something of an external subscription is to be decided."""
        self.instants = WaitingNames()
        """Grid cuts at which events are to be billed."""
        self._late_names: set[SubscriptionKey] = set()
        self._carrying: dict[str, tuple[int, bool]] = {}
        """By plan: of how many versions, and whether a metric of it recurs or did."""
        self._revisions_told = -1
        """Records of settings that `_revisions_ms` stands under."""
        self._revisions_ms: tuple[tuple[int, ...], int] = ((), 1)
        """Times between two revisions, and the least that is a multiple of each."""
        self._carrying_changed = -1
        """Changes of metrics that `_carrying` stands under."""

    @property
    def settled_ms(self) -> int:
        """Late cuts up to it are published and merged.

        Every grid cut up to it has told, too: the time between two revisions is made of grid cuts.
        """
        self._know_revisions()
        every_ms = self._revisions_ms[1]
        return self._checkpoint.cut_ms // every_ms * every_ms

    @property
    def revision_grids_ms(self) -> tuple[int, ...]:
        """Every time between two revisions that there was: periods due keep the one they had."""
        self._know_revisions()
        return self._revisions_ms[0]

    def _know_revisions(self) -> None:
        definitions = self._definitions
        told = len(definitions.settings.changes)
        if told == self._revisions_told:
            return
        known = {record.revise_every_s for record in definitions.settings.all()}
        known = known or {definitions.settings_at().revise_every_s}
        grids_ms = tuple(sorted(each * 1000 for each in known))
        self._revisions_told, self._revisions_ms = told, (grids_ms, lcm(*grids_ms))

    def revisions_after(self, append_time_ms: int) -> set[int]:
        """Return the first revision cuts (ms) at or after an append time.

        There is one for each grid that any period may have.

        Which periods a correction concerns is not known before its event is read.
        """
        return {ceil_to(append_time_ms, each) for each in self.revision_grids_ms}

    def schedule_revision(self, name: SubscriptionKey, append_time_ms: int) -> None:
        """Have the revision cuts after an append time taken, and the grid cut of who is watched."""
        for cut_ms in self.revisions_after(append_time_ms):
            self.expect(name, cut_ms)
        self.schedule_grid(name, append_time_ms)

    def schedule_grid(self, name: SubscriptionKey, append_time_ms: int) -> bool:
        """Have the grid cut after an append time taken, of who is watched and not beyond it yet.

        Return whether there is one: the caller reschedules who waits for it. Nothing is scheduled
        of who is at home elsewhere.
        """
        if not self._is_home(name):
            return False
        waits = False
        definitions, done_ms = self._definitions, self._checkpoint.grid_done_ms
        cut_ms = ceil_to(append_time_ms, definitions.grid_ms(append_time_ms))
        # Figures that were lost are decided again, at every cut that they were decided at.
        taken_ms = self._checkpoint.billed_ms if definitions.pays_in_advance(*name) else done_ms
        if cut_ms > taken_ms and definitions.is_watched_each_cut(name, append_time_ms):
            self.grid.add(name, cut_ms)
            waits = True
        if self._definitions.settings_at(append_time_ms).daily_records:
            for day_ms in self._day_cuts(name, append_time_ms, append_time_ms):
                if day_ms > done_ms:
                    self._schedule_day(name, day_ms)
                    waits = True
        return waits

    def schedule_day_after(self, name: SubscriptionKey, cut_ms: int) -> None:
        """Have the day after the one of a cut looked at, for what the cut could not tell."""
        for day_ms in self._day_cuts(name, cut_ms, cut_ms + 1):
            self._schedule_day(name, day_ms)

    def _schedule_day(self, name: SubscriptionKey, day_ms: int) -> None:
        self.grid.add(name, day_ms)
        self._daily.touch(name, day_ms)

    def _day_cuts(self, name: SubscriptionKey, as_of_ms: int, from_ms: int) -> Set[int]:
        """Return the cuts of the days that show what was appended at a time, as of another."""
        grids = self._definitions.close_grids_ms()
        later = self._definitions.has_commands_after(as_of_ms)
        if not later:
            first_ms = from_ms - shown_within_ms(grids)
            shared = self._timelines.shared_from(name, first_ms)
            if shared is not None:
                return cuts_after(shared, grids, from_ms)
        timelines = self._timelines.of(name, as_of_ms if later else None)
        return {
            cut_ms
            for _, timeline in timelines
            for cut_ms in Days(timeline, grids).cuts_after(from_ms)
        }

    def next_first_day(self, name: SubscriptionKey) -> int:
        """Return the next cut of a period's first day that shows what it carries; NEVER_MS: none.

        It carries something where a metric recurs, whatever comes.
        """
        definitions = self._definitions
        daily_ms = definitions.settings.daily_ms()
        if not daily_ms or daily_ms[-1][1] <= (done_ms := self._checkpoint.grid_done_ms):
            return NEVER_MS
        if not any(map(self._is_carrying, definitions.subscription_index.plan_ids_of(name))):
            # As of most, whose timelines need not be made.
            return NEVER_MS
        daily_ms = tuple(each for each in daily_ms if each[1] > done_ms)
        grids, found = definitions.close_grids_ms(), NEVER_MS
        for versions, timeline in self._timelines.of(name):
            if self._carries(versions):
                for on_ms, off_ms in daily_ms:
                    known_ms = max(done_ms, versions.changes[0] - 1, on_ms - 1)
                    first_ms = next_first_day(timeline, grids, known_ms)
                    if first_ms < min(found, off_ms):
                        found = first_ms
        return found

    def _carries(self, versions: Versions[Subscription]) -> bool:
        """Return whether a metric recurs, or did: what came since may be later than a cut."""
        return any(self._is_carrying(plan_id) for plan_id in {v.plan_id for v in versions.all()})

    def _is_carrying(self, plan_id: str) -> bool:
        definitions = self._definitions
        changed = definitions.metric_index.changed
        if self._carrying_changed != changed:
            self._carrying.clear()
            self._carrying_changed = changed
        versions = definitions.plan_versions[plan_id]
        known, carries = self._carrying.get(plan_id, (0, False))
        if known != len(versions):
            metric_ids = {
                charge.metric_id for plan in versions.all() for charge in alike(plan.charges)
            }
            carries = any(
                metric.recurring
                for metric_id in metric_ids
                for metric in definitions.metric_versions[metric_id].all()
            )
            self._carrying[plan_id] = len(versions), carries
        return carries

    def expect(self, name: SubscriptionKey, cut_ms: int, reopened: Iterable[int] = ()) -> None:
        """Have a revision cut taken; one that finds nothing new publishes nothing.

        `reopened`: starts of final periods that it may revise as well.
        """
        self._wait_for(name, (cut_ms,))
        layers = self._layers.setdefault(name, set())
        layers.add(LateLayer(cut_ms, "", NEVER_MS, True))
        layers.update(LateLayer(cut_ms, "", start_ms, False, True) for start_ms in reopened)
        self._late_names.add(name)

    def _wait_for(self, name: SubscriptionKey, cuts: Iterable[int]) -> bool:
        """Note revision cuts of an external subscription; return whether some are new."""
        are_new = [self.late.add(name, cut_ms) for cut_ms in cuts]
        return any(are_new)

    def reopened(self, name: SubscriptionKey, cut_ms: int) -> set[int]:
        """Return the starts of final periods that a revision cut may revise."""
        layers = self._layers.get(name, ())
        return {each.start_ms for each in layers if each.reopens and each.cut_ms == cut_ms}

    def layers_at(self, name: SubscriptionKey, cut_ms: int) -> list[LateLayer] | None:
        """Return the layers of which a revision cut shows late events; None: it may show all.

        Whatever else it shows somebody has told by `expect`.
        """
        found = [each for each in self._layers.get(name, ()) if each.cut_ms == cut_ms]
        return found if found and all(each.code for each in found) else None

    def settled_codes(self, name: SubscriptionKey, settled_ms: int) -> Set[str] | None:
        """Return the metric codes of cells with states that are settled; None: any may have some.

        Whatever is watched is settled by grid cuts.
        """
        layers = self._layers.get(name, ())
        codes = {each.code for each in layers if each.cut_ms <= settled_ms}
        return None if not codes or "" in codes or name in self.grid.by_name else codes

    def expect_late(self, cells: Iterable[Cell]) -> None:
        """Have the cuts taken that states of cells wait for."""
        for cell in dict.fromkeys(cells):
            span = cell.layer.span
            if not span.fold.by_day:
                if self.remember(cell):
                    self._late_names.add(span.name)
                continue
            for cut_ms in cell.late or ():
                if self.grid.add(span.name, cut_ms):
                    self._late_names.add(span.name)

    def remember(self, cell: Cell) -> bool:
        """Know of the cuts that states of a cell wait for; return whether some are new.

        Somebody else asks for them.
        """
        layer, name, known = cell.layer, cell.layer.span.name, True
        for cut_ms in cell.late or ():
            watch, late = layer.span.watch, cut_ms > layer.due_at_ms
            if watch is not None and not (late and watch.is_taken(cut_ms)):
                known = not self.grid.add(name, cut_ms) and known
            if late:
                # A later period may be revised more often, and shows what recurs.
                metric = layer.span.fold.metric
                recurs, period = metric.recurring, layer.period
                cuts = self.revisions_after(cut_ms) if recurs else {layer.revision_of(cut_ms)}
                known = not self._wait_for(name, cuts) and known
                # A final one: of an event that was admitted, or that a correction brought there.
                reopens = not recurs and period is not None and max(cuts) > period.final_ms
                about = metric.code, layer.start_ms, recurs, reopens
                self._layers.setdefault(name, set()).update(LateLayer(c, *about) for c in cuts)
        return not known

    def untold_ms(self) -> Steps[list[int]]:
        """Return when something was defined that no grid cut has shown yet; of each cut the first.

        Whoever is watched at a later time is so at an earlier one. What days show is told of each.
        """
        definitions, done_ms = self._definitions, self._checkpoint.grid_done_ms
        decided_ms = decided_until(done_ms, definitions.close_grids_ms())
        each_once = bool(definitions.settings.daily_ms())
        first_ms: dict[int, int] = {}
        for some in batches(definitions.times_after_ms(decided_ms), STEP_ITEMS):
            for at_ms in some:
                first_ms.setdefault(at_ms if each_once else self.grid_cut_of(at_ms), at_ms)
            yield
        return list(first_ms.values())

    def announcing_grid(self, name: SubscriptionKey, untold_ms: Sequence[int]) -> Iterator[None]:
        """Have the grid cuts of a subscription with alerts taken that `untold_ms` tells of."""
        if self._definitions.alerts.has_any(name):
            for some in batches(untold_ms, STEP_ITEMS):
                for at_ms in some:
                    self.schedule_grid(name, at_ms)
                yield

    def announcing_days(self) -> Iterator[None]:
        """Have the cuts taken of days that definitions or corrections wait for."""
        for count, (name, day_ms) in enumerate(self._daily.touched(), 1):
            if day_ms > self._checkpoint.grid_done_ms:
                self.grid.add(name, day_ms)
            if count % STEP_ITEMS == 0:
                yield

    def grid_cut_of(self, append_time_ms: int) -> int:
        """Return the grid cut that decides what was appended at a time."""
        return ceil_to(append_time_ms, self._definitions.grid_ms(append_time_ms))

    def expect_instants(self, names: Set[SubscriptionKey], cut_ms: int) -> None:
        """Have the grid cut taken that decides events, or corrections, of charges paid at once."""
        self._late_names.update([name for name in names if self.instants.add(name, cut_ms)])

    def expect_undecided(self) -> Iterator[None]:
        """Have the grid cuts taken of all events that wait to be billed, a step for each time.

        By the settings known now: some may be of before events that came in earlier.
        """
        undecided = self._billed_at_once.undecided
        for name in list(undecided):
            for append_time_ms in {position[0] for position in undecided.get(name, ())}:
                self.expect_instants({name}, self.grid_cut_of(append_time_ms))
                yield

    def next_ms(self) -> int:
        """Return the first cut to come that anybody's events or corrections wait for."""
        done_ms = self._checkpoint.cut_ms
        return min(each.next_ms(done_ms) for each in (self.late, self.grid, self.instants))

    def next_of_history(self) -> int:
        """Return the first cut to come that shows history records; NEVER_MS: none.

        It is taken though nobody waits for it: a published period without events has the charges of
        the record from then on, and who has no events waits for a cut only while at hand.
        """
        definitions, done_ms, found = self._definitions, self._checkpoint.cut_ms, NEVER_MS
        if definitions.history.records:
            for every_ms in self.revision_grids_ms:
                records = definitions.history_after(done_ms // every_ms * every_ms)
                if records:
                    found = min(found, ceil_to(records[0].append_time_ms, every_ms))
        return found

    def names_at(self, cut_ms: int) -> list[SubscriptionKey]:
        """Return whose events or corrections wait for a cut, in order."""
        return sorted({*self.late.at(cut_ms), *self.grid.at(cut_ms), *self.instants.at(cut_ms)})

    def next_of(self, name: SubscriptionKey, done_ms: int) -> int:
        """Return the first cut to come that events or corrections wait for; NEVER_MS: none."""
        next_ms = NEVER_MS
        for waiting in (self.late, self.grid, self.instants):
            if name in waiting.by_name:
                next_ms = min(next_ms, waiting.next_of(name, done_ms))
        return next_ms

    def take_late_names(self) -> set[SubscriptionKey]:
        """Return external subscriptions that got late events since the last call."""
        names, self._late_names = self._late_names, set()
        return names

    def forgetting_instants(self) -> Iterator[None]:
        """Drop the cuts of events to be billed that are taken, by steps."""
        done_ms = self._checkpoint.cut_ms
        for cut_ms in self.instants.until(done_ms):
            for some in batches([*self.instants.at(cut_ms)], STEP_ITEMS):
                for name in some:
                    self.instants.drop(name, done_ms)
                yield

    def due(self, settled_ms: int) -> list[SubscriptionKey]:
        """Return external subscriptions with a cut that is settled."""
        done_ms = self._checkpoint.cut_ms
        found = dict[SubscriptionKey, None]()
        for cut_ms in self.late.until(settled_ms):
            found.update(self.late.at(cut_ms))
        for cut_ms in self.grid.until(done_ms):
            found.update(self.grid.at(cut_ms))
        return list(found)

    def forget(self, name: SubscriptionKey, settled_ms: int) -> None:
        """Drop the cuts of an external subscription that are settled."""
        self.late.drop(name, settled_ms)
        layers = {each for each in self._layers.pop(name, ()) if each.cut_ms > settled_ms}
        if layers:
            self._layers[name] = layers
        self.grid.drop(name, self._checkpoint.cut_ms)
        self._daily.untouch(name, self._checkpoint.cut_ms)
