"""What of a partition is to be folded again, and which definitions its cells stand under."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from itertools import islice

from app.definitions.periods import NEVER_MS
from app.kernel import reach_of
from app.log import facts
from app.wire.arrivals import MeterKey, Run, SubscriptionKey
from tables.partition.left_out import FROM_THE_FIRST
from tables.partition.partition import Partition

log = logging.getLogger(__name__)

_ORPHANED_TOLD = 5


class RefoldQueue:
    """Meter keys that wait for a refold, or are under one, and what has to wait for them."""

    def __init__(self, state: Partition):
        self._state = state
        self.meter_keys: dict[MeterKey, None] = {}
        """The queued ones; a refold that has begun has taken its own out."""
        self._recorrecting: dict[SubscriptionKey, int] = {}
        """Subscriptions whose queued refold puts other corrections in force.

        Each with the time since when their events are dated.
        """
        self._recorrected: dict[SubscriptionKey, int] = {}
        """Subscriptions of a refold that has begun, until it is swapped in or put back."""
        self._most = 0
        """Most subscriptions at a time, since a refold of more has failed; 0: all of them."""
        self.repairs: dict[SubscriptionKey, int] = {}
        """Subscriptions to be repaired, with the first cut that has to wait for it."""
        self._queued_since_ms = NEVER_MS
        """Append time of the earliest of what is queued: cuts from then on wait; NEVER_MS: none."""
        self._begun_since_ms = NEVER_MS
        """The same of what a refold has taken out, until it is swapped in."""
        self.definitions_taken = (0, -1)
        """(next offset, append time) of the definitions that the cells stand under."""
        self._told: tuple[int, int] | None = None
        """The same of the last one told since a flush took them; None: none was."""
        self.wanted = asyncio.Event()
        self.repairs_wanted = asyncio.Event()

    @property
    def since_ms(self) -> int | None:
        """Append time of the earliest definition or correction that cells do not show yet."""
        since_ms = min(self._queued_since_ms, self._begun_since_ms, *self.repairs.values())
        return since_ms if since_ms < NEVER_MS else None

    # Queueing

    def want(
        self, meter_keys: Iterable[MeterKey], since_ms: int, *, redefined: bool = False
    ) -> None:
        """Queue meter keys; cuts later than `since_ms` wait until they are swapped in.

        `redefined`: for definitions alone.
        """
        wanted = dict.fromkeys(meter_keys)
        if not wanted:
            return
        self.meter_keys.update(wanted)
        self._state.stale.queue(wanted, redefined=redefined)
        self._queued_since_ms = min(self._queued_since_ms, since_ms)
        self.wanted.set()

    def want_repair(self, name: SubscriptionKey, since_ms: int) -> None:
        """Queue corrections of a subscription that its next cut shows; that cut waits for them."""
        self.repairs[name] = min(since_ms, self.repairs.get(name, since_ms))
        self._state.stale.repairing.add(name)
        self.repairs_wanted.set()

    def repaired(self, name: SubscriptionKey) -> None:
        """Note that the cells of a subscription show its corrections, or that a refold will."""
        self.repairs.pop(name, None)
        self._state.stale.repairing.discard(name)

    def defer_repair(self, name: SubscriptionKey) -> bool:
        """Leave a repair until the refold is over that puts corrections in force.

        Return whether there is one. Whoever swaps it in looks for corrections again.
        """
        if self.meter_keys and name in self._recorrecting:
            self._queued_since_ms = min(self._queued_since_ms, self.repairs[name])
        elif name in self._recorrected:
            self._begun_since_ms = min(self._begun_since_ms, self.repairs[name])
        else:
            return False
        self.repaired(name)
        return True

    def recorrect(
        self, name: SubscriptionKey, since_ms: int, meter_keys: Iterable[MeterKey], dated_ms: int
    ) -> None:
        """Queue a refold under the corrections that the next cut shows; that cut waits for it.

        `meter_keys`: those that the corrections concern. `dated_ms`: since when their events are
        dated; what is forgotten before may stay so.
        """
        self._recorrecting[name] = min(dated_ms, self._recorrecting.get(name, dated_ms))
        self.want(meter_keys, since_ms, redefined=dated_ms > FROM_THE_FIRST)

    def requeue_corrections(self, names: Iterable[SubscriptionKey], since_ms: int) -> None:
        """Queue a refold of all of some subscriptions under the corrections of their next cuts."""
        for name in names:
            meter_keys = self._state.event_ranges.meter_keys_of(name)
            self.recorrect(name, since_ms, meter_keys, FROM_THE_FIRST)

    def want_displaced(self, folded: Iterable[Run] = ()) -> None:
        """Queue what events before those folded change; `folded`: all that was folded since.

        Cuts from the first of these on wait for it, and all if it is not known what was folded.
        """
        smaller = self._state.stale.take_displaced_keys()
        if smaller:
            times = (reach_of(run)[1] for _, run in folded)
            self.want(smaller, min(times, default=self._state.checkpoint.cut_ms))

    def want_orphaned(self) -> None:
        """Queue what the table has found cells of that nothing leads to."""
        orphaned_keys = self._state.stale.take_orphaned_keys()
        if orphaned_keys:
            named, text = (
                sorted(orphaned_keys),
                "Cells of %s pairs lead nowhere and are refolded: %s",
            )
            extra = facts("note", partition=self._state.number)
            log.error(text, len(named), named[:_ORPHANED_TOLD], extra=extra)
            # Every cut to come waits: what they held is missing until then.
            self.want(orphaned_keys, self._state.checkpoint.cut_ms)

    # Refolding

    def begin(self) -> tuple[dict[MeterKey, None], dict[SubscriptionKey, int]]:
        """Take meter keys out; return them, and the subscriptions refolded for corrections.

        What is queued meanwhile is shown by the next refold: cuts before it go on after this one.
        """
        meter_keys, self.meter_keys = self.meter_keys, {}
        self._begun_since_ms, self._queued_since_ms = self._queued_since_ms, NEVER_MS
        names, self._recorrecting = self._recorrecting, {}
        self._recorrected = names
        if self._most:
            most = dict.fromkeys(
                islice(dict.fromkeys(meter_key[:2] for meter_key in meter_keys), self._most)
            )
            self.meter_keys = {
                meter_key: None for meter_key in meter_keys if meter_key[:2] not in most
            }
            self._recorrecting = {n: at_ms for n, at_ms in names.items() if n not in most}
            meter_keys = {meter_key: None for meter_key in meter_keys if meter_key[:2] in most}
            names = self._recorrected = {n: at_ms for n, at_ms in names.items() if n in most}
            if self.meter_keys:
                self._queued_since_ms = self._begun_since_ms
            # If they can be refolded, twice as many the next time.
            self._most = 2 * self._most if self.meter_keys else 0
        return meter_keys, names

    def put_back(
        self, meter_keys: dict[MeterKey, None], names: Mapping[SubscriptionKey, int]
    ) -> None:
        """Queue again, before all others, what a refold took and did not swap in."""
        self.meter_keys = {**meter_keys, **self.meter_keys}
        for name, dated_ms in names.items():
            self._recorrecting[name] = min(dated_ms, self._recorrecting.get(name, dated_ms))
        self._recorrected = {}
        if meter_keys:
            self._queued_since_ms = min(self._queued_since_ms, self._begun_since_ms)
            self._begun_since_ms = NEVER_MS

    def swapped(self, meter_keys: Iterable[MeterKey]) -> None:
        """Note that these are refolded, whatever kept them from it before."""
        self._state.stale.unpark(meter_keys)

    def let_stand(
        self,
        lost: set[SubscriptionKey],
        reason: str,
        meter_keys: Iterable[MeterKey],
        names: Mapping[SubscriptionKey, int],
    ) -> None:
        """Leave those as they are that cannot be refolded; the others are refolded next."""
        state = self._state
        log.error(
            "%s subscriptions of partition %s keep their figures: %s",
            len(lost),
            state.number,
            reason,
            extra=facts("note", partition=state.number),
        )
        left = dict.fromkeys(key for key in meter_keys if key[:2] not in lost)
        self.put_back(left, {n: at_ms for n, at_ms in names.items() if n not in lost})
        for name in lost:
            state.stale.park(name, reason)
            state.corrections.followed.let_stand(name)

    def halve(self, failing: int) -> None:
        """Refold half as many subscriptions the next time: a refold of so many has failed."""
        self._most = max(1, failing // 2)

    def let_cuts_go_on(self, definitions: tuple[int, int]) -> None:
        """Let cuts go on after a refold, but for those that wait for what was queued meanwhile.

        `definitions`: (next offset, append time) of the last one applied here.
        """
        self._state.stale.finish(self.meter_keys)
        self._begun_since_ms, self._recorrected = NEVER_MS, {}
        self.note_definitions(*definitions)

    # Definitions

    def note_definitions(self, offset: int, append_time_ms: int) -> None:
        """Let the cells stand under all definitions until then, or until before what is left to do.

        Definitions that never end would keep a restart at the first of them else.
        """
        behind_ms = self._state.standing.behind_since_ms
        first_ms = min(self._queued_since_ms, self._begun_since_ms)
        first_ms = first_ms if behind_ms is None else min(first_ms, behind_ms)
        if first_ms <= append_time_ms:
            append_time_ms = first_ms - 1
            offset = self._state.definitions.last_offset_at(append_time_ms) + 1
        self.definitions_taken = max(self.definitions_taken, (offset, append_time_ms))

    def note_told(self, offset: int, append_time_ms: int) -> None:
        """Note that the partition was told of a definition; the next flush notes what it is under.

        Most concern nobody here, and what each costs all partitions pay.
        """
        self._told = offset, append_time_ms

    @property
    def is_told_more(self) -> bool:
        """Whether the partition was told of definitions that no flush has taken."""
        return self._told is not None

    def take_definitions(self) -> tuple[int, int]:
        """Return the definitions that the cells stand under, for a flush."""
        if self._told is not None:
            self.note_definitions(*self._told)
            self._told = None
        return self.definitions_taken

    def stand_under(self, definitions: tuple[int, int]) -> None:
        """Note which definitions the cells stand under, as a restore finds them."""
        self.definitions_taken = definitions
