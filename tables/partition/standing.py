"""Standing: what cells stand under while definitions, or history records, are looked at."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Container, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from app.definitions.model import HistoryRecord
from app.definitions.outcome import Impact
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.definitions.watching import shapes_watched
from app.wire.arrivals import SubscriptionKey
from tables.cells.grids import grid_cut_after, grid_cut_before
from tables.changelogged.checkpoint import Checkpoint
from tables.routing.period_charges import Covering


class WaitingDefinition(NamedTuple):
    """A definition that waits until everything it concerns was looked at."""

    impact: Impact
    at_ms: int
    """Append time of the definition in ms."""
    waits: bool
    """Whether it waits for the grid cut before it: somebody's figures there must not show it."""


class Standing:
    """Which definitions the cells of one partition show."""

    def __init__(self, definitions: Definitions, checkpoint: Checkpoint):
        self._definitions = definitions
        self._checkpoint = checkpoint
        self._told: deque[WaitingDefinition] = deque()
        """Definitions that are queued, or looked at right now, in their order."""
        self._told_about: Counter[tuple[str | None, str | None]] = Counter()
        """Number of queued definitions by (organization, external id); None: about any."""
        self._waiting_ms: list[int] = []
        """Append times of queued definitions that wait for the grid cut before them, in order."""
        self._until_ms = -1
        """Append time up to which packed cells include definitions, while others are looked at."""
        self._looked_ms = -1
        """Append time of the last definition that was looked at."""
        self.looks_for_ms = -1
        """Until when definitions are being looked at, whatever waits; -1: none are."""
        self._history_until_ms: int | None = None
        """The same for history records, while some are put in force; None: none are."""
        self._entered_ms = -1
        self._covering: dict[str, tuple[tuple[int, int], Covering]] = {}
        """By organization, its history records in force: (until when, of how many), these."""
        self._restored_ms = -1
        """Append time that the definitions had reached when the partition was restored."""
        self._packed_ms = -1
        """Append time that the definitions had reached when external subscriptions were packed."""
        self._packed: set[SubscriptionKey] = set()
        """External subscriptions that were packed at `_packed_ms`."""
        self._unclear: Container[SubscriptionKey] = ()
        """External subscriptions for which look-ups cannot separate what their cells include."""
        self._unclear_until_ms = -1
        self._again: dict[SubscriptionKey, None] = {}
        """External subscriptions to look at once more: their routes are of older definitions."""

    @property
    def looks(self) -> bool:
        """Whether a definition is left to be looked at."""
        return bool(self._told)

    @property
    def changes(self) -> bool:
        """Whether definitions or history records are looked at: cells still show older ones."""
        return bool(self._told) or self._history_until_ms is not None

    def of(self, name: SubscriptionKey) -> tuple[int | None, int | None]:
        """Return append times of the newest definitions and history records that cells include.

        None: packed cells include all that are in force; nothing is left to be looked at.
        """
        if not self._told:
            return None, self._history_until_ms
        until_ms = self._unclear_until_ms if name in self._unclear else self._until_ms
        if self.is_behind(name):
            # One of their last millisecond may wait: what was looked at does not show it. Who shows
            # another of that millisecond is folded anew once it is looked at. Nobody else is.
            until_ms = min(until_ms, max(self.looks_for_ms, self.looks_until_ms))
        return until_ms, self._history_until_ms

    @property
    def separated_ms(self) -> int | None:
        """Append time up to which all was looked at, and nothing after it; None: there is none.

        One that was looked at, or that cells of a restore include, may be of the millisecond of one
        that was not.
        """
        if not self._told or not self._looked_ms <= self._until_ms < self._told[0].at_ms:
            return None
        return self._until_ms

    def is_unclear(self, name: SubscriptionKey) -> bool:
        """Return True if look-ups cannot tell which definitions of one ms the cells include."""
        return name in self._unclear

    def note_restored(self) -> None:
        """Remember how far the definitions were applied when the partition was restored."""
        if not self._told:
            self._restored_ms = self._definitions.append_time_ms

    def note_packed(self, name: SubscriptionKey) -> None:
        """Remember how far the definitions were applied when cells were packed."""
        now_ms = self._definitions.append_time_ms
        if now_ms != self._packed_ms:
            self._packed_ms, self._packed = now_ms, set()
        self._packed.add(name)

    def tell(self, impact: Impact, at_ms: int, until_ms: int | None) -> None:
        """Queue a definition to be looked at."""
        # Where the log had come so far by a tick, cells include nothing of that time.
        alone = self._definitions.is_alone_at(at_ms)
        if not self._told:
            self._until_ms = at_ms - 1 if until_ms is None else until_ms
        if alone:
            self._until_ms = min(self._until_ms, at_ms - 1)
        elif until_ms is None and self._unclear is not _EVERYBODY:
            # As-of look-ups cannot tell what cells were restored or packed under from what came
            # after, in the same millisecond. What was left to be looked at at a restore begins with
            # the millisecond of the checkpoint.
            included_ms = max(self._restored_ms, self._until_ms)
            if at_ms <= included_ms:
                self._unclear, self._unclear_until_ms = _EVERYBODY, included_ms
            elif at_ms == self._packed_ms:
                self._unclear, self._unclear_until_ms = self._packed, at_ms
        definitions = self._definitions
        waits = definitions.watches_before(at_ms) and shapes_watched(definitions, impact, at_ms)
        if waits:
            self._waiting_ms.append(at_ms)
            # Even if it is of the millisecond of one that is being looked at: that waits with it.
            self.looks_for_ms = min(self.looks_for_ms, self.looks_until_ms)
        self._told.append(WaitingDefinition(impact, at_ms, waits))
        self._told_about[impact.organization_id, impact.external_subscription_id] += 1

    @property
    def shown_until_ms(self) -> int | None:
        """Append time of the last definitions that a route made now shows; None: it shows all.

        What waits for a grid cut shows in no cell before it, whatever else is looked at.
        """
        if not self._told:
            return None
        until_ms = max(self.looks_for_ms, self.looks_until_ms)
        return None if self._told[-1].at_ms <= until_ms else max(until_ms, self._told[0].at_ms - 1)

    def begin_looking(self, until_ms: int) -> None:
        """Let routes show definitions appended until then, which are looked at from now on."""
        self.looks_for_ms = until_ms

    def end_looking(self) -> None:
        """End `begin_looking`: what is told from now on shows when it may be looked at."""
        self.looks_for_ms = -1

    def first(self, most: int) -> list[WaitingDefinition]:
        """Return the first definitions of the queue."""
        return list(islice(self._told, most))

    def looked_at(self, told: Iterable[WaitingDefinition]) -> None:
        """Take the first definitions off the queue: all they concern was looked at."""
        for impact, at_ms, waits in told:
            self._told.popleft()
            self._looked_ms = at_ms
            if waits:
                del self._waiting_ms[0]
            about = impact.organization_id, impact.external_subscription_id
            self._told_about[about] -= 1
            if not self._told_about[about]:
                del self._told_about[about]
        if self._told:
            self._until_ms = self._told[0].at_ms - 1

    def clear(self) -> None:
        """Forget what could not be separated: every definition was looked at."""
        self._unclear = ()

    def is_behind(self, name: SubscriptionKey) -> bool:
        """Return True if a waiting definition may concern an external subscription."""
        told = self._told_about
        return bool(told) and any(told[one] for one in (name, (name[0], None), (None, None)))

    @property
    def behind_since_ms(self) -> int | None:
        """Append time of the first definition not looked at; cuts at or after it have to wait."""
        return self._told[0].at_ms if self._told else None

    @property
    def newest_ms(self) -> int:
        """Append time of the last definition not looked at; -1: all were."""
        return self._told[-1].at_ms if self._told else -1

    def holds_back(self, cut_ms: int) -> bool:
        """Return whether definitions have to be looked at before a cut, or a history record.

        A record comes into force over all that may be looked at. What waits for a grid cut does
        not hold it back: that cut comes after the record.
        """
        behind_ms, until_ms = self.behind_since_ms, cut_ms
        if behind_ms is not None and self.next_history_ms() <= cut_ms:
            until_ms = max(cut_ms, self.looks_until_ms)
        return behind_ms is not None and behind_ms <= until_ms

    @property
    def looks_until_ms(self) -> int:
        """Until when definitions may be looked at; NEVER_MS: none has to wait.

        What is decided at a grid cut must not show a later one that shapes it (records-and-cuts
        §4). Those behind one that waits do so, too: cells show definitions up to one of them.
        """
        waiting_ms, definitions = self._waiting_ms, self._definitions
        if not waiting_ms:
            return NEVER_MS
        next_ms = grid_cut_after(self._checkpoint.cut_ms, definitions.close_grids_ms())
        first = bisect_right(waiting_ms, next_ms)
        return waiting_ms[first] - 1 if first < len(waiting_ms) else NEVER_MS

    def next_awaited_ms(self) -> int:
        """Return the grid cut that a definition waits for; NEVER_MS: none does."""
        behind_ms = self.behind_since_ms
        if behind_ms is None or behind_ms <= self.looks_until_ms:
            return NEVER_MS
        return grid_cut_before(behind_ms, self._definitions.close_grids_ms())

    def look_again(self, name: SubscriptionKey) -> None:
        """Queue an external subscription to look at again: its routes are of older definitions."""
        self._again[name] = None

    def need_not_look_again(self, name: SubscriptionKey) -> None:
        """Take an external subscription off the queue of `look_again`."""
        self._again.pop(name, None)

    def next_again(self) -> SubscriptionKey | None:
        """Take the next name off the queue of `look_again`; None: the queue is empty."""
        return self._again.popitem()[0] if self._again else None

    @property
    def enters_history(self) -> bool:
        """Whether history records are being put in force: cells may stand without them."""
        return self._history_until_ms is not None

    @property
    def history_ms(self) -> int:
        """History records appended until then are in force; cells may yet have to be refolded."""
        return max(self._entered_ms, self._checkpoint.history_ms)

    def covering(self, organization_id: str) -> Covering:
        """Return the history records in force of an organization that has some."""
        under = self.history_ms, len(self._definitions.history.records)
        known = self._covering.get(organization_id)
        if known is None or known[0] != under:
            records = self._definitions.history_of(organization_id, self.history_ms)
            known = self._covering[organization_id] = under, Covering(records)
        return known[1]

    def next_history_ms(self) -> int:
        """Return the append time of the next history record not in force; NEVER_MS: none.

        The record is entered once every earlier cut is published, before any later cut.
        """
        records = self._definitions.history_after(self._history_entered_ms)
        return records[0].append_time_ms if records else NEVER_MS

    @property
    def _history_entered_ms(self) -> int:
        """History records appended until then were looked at, each to the end."""
        half_done = self._history_until_ms
        return self.history_ms if half_done is None else half_done

    def begin_history(self) -> Sequence[HistoryRecord]:
        """Put the next history records in force; until `end_history` cells stand without them."""
        records = self._definitions.history_after(self._history_entered_ms)
        self._history_until_ms = self._history_entered_ms
        self._entered_ms = records[0].append_time_ms
        return records

    def end_history(self, *, refolds: bool) -> None:
        """End `begin_history`: all was looked at; `refolds`: some cells wait for a refold."""
        self._history_until_ms = None
        if not refolds:
            self._checkpoint.history_ms = self._entered_ms


class _Everybody(Container[SubscriptionKey]):
    """All external subscriptions."""

    def __contains__(self, name: object) -> bool:
        return True


_EVERYBODY = _Everybody()
