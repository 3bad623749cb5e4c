"""Cuts to come: when what was appended late, or corrected, is published."""

from __future__ import annotations

from collections.abc import Iterable
from math import lcm

from app.definitions.state import Definitions
from app.definitions.timeline import ceil_to
from app.wire.arrivals import SubscriptionKey
from tables.cells.cell import Cell
from tables.changelogged.checkpoint import Checkpoint


class CutsToCome:
    """Revision cuts of one partition that are not taken yet."""

    def __init__(self, definitions: Definitions, checkpoint: Checkpoint):
        self._definitions = definitions
        self._checkpoint = checkpoint
        self.late_cuts: dict[SubscriptionKey, set[int]] = {}
        """Revision cuts that events wait for."""
        self._late_names: set[SubscriptionKey] = set()

    @property
    def settled_ms(self) -> int:
        """Late cuts up to it are published and merged."""
        every_ms = lcm(*self.revision_grids_ms)
        return self._checkpoint.cut_ms // every_ms * every_ms

    @property
    def revision_grids_ms(self) -> tuple[int, ...]:
        """Every time between two revisions that there was: periods due keep the one they had."""
        definitions = self._definitions
        known = {record.revise_every_s for record in definitions.settings.all()}
        known = known or {definitions.settings_at().revise_every_s}
        return tuple(sorted(each * 1000 for each in known))

    def revisions_after(self, append_time_ms: int) -> set[int]:
        """Return the first revision cuts (ms) at or after an append time.

        There is one for each grid that any period may have.

        Which periods a correction concerns is not known before its event is read.
        """
        return {ceil_to(append_time_ms, each) for each in self.revision_grids_ms}

    def schedule_revision(self, name: SubscriptionKey, append_time_ms: int) -> None:
        """Have the revision cuts after an append time taken."""
        for cut_ms in self.revisions_after(append_time_ms):
            self.expect(name, cut_ms)

    def expect(self, name: SubscriptionKey, cut_ms: int) -> None:
        """Have a revision cut taken; one that finds nothing new publishes nothing."""
        self.late_cuts.setdefault(name, set()).add(cut_ms)
        self._late_names.add(name)

    def expect_late(self, cells: Iterable[Cell]) -> None:
        """Have the cuts taken that states of cells wait for."""
        for cell in cells:
            name = cell.layer.span.name
            self._late_names.add(name)
            self.remember(name, (cell.layer.revision_of(cut_ms) for cut_ms in cell.late or ()))

    def remember(self, name: SubscriptionKey, cuts: Iterable[int]) -> None:
        """Know of cuts that whoever schedules them asks for anyhow."""
        self.late_cuts.setdefault(name, set()).update(cuts)

    def take_late_names(self) -> set[SubscriptionKey]:
        """Return external subscriptions that got late events since the last call."""
        names, self._late_names = self._late_names, set()
        return names

    def due(self, settled_ms: int) -> list[SubscriptionKey]:
        """Return external subscriptions with a cut that is settled."""
        return [name for name, cuts in self.late_cuts.items() if min(cuts) <= settled_ms]

    def forget(self, name: SubscriptionKey, settled_ms: int) -> None:
        """Drop the cuts of an external subscription that are settled."""
        left = {cut for cut in self.late_cuts[name] if cut > settled_ms}
        if left:
            self.late_cuts[name] = left
        else:
            del self.late_cuts[name]
