"""Staleness: which figures do not show everything yet, and what is to be refolded for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from weakref import WeakSet

from app.wire.arrivals import MeterKey, SubscriptionKey


class Repaired:
    """Which of some external subscriptions were repaired since: nothing is known of others."""

    def __init__(self, names: Collection[SubscriptionKey]):
        self._names = frozenset(names)
        self._repaired: set[SubscriptionKey] = set()

    def note(self, name: SubscriptionKey) -> None:
        """Note a repair."""
        if name in self._names:
            self._repaired.add(name)

    def __contains__(self, name: SubscriptionKey) -> bool:
        return name in self._repaired


class Staleness:
    """Meter keys and external subscriptions of one partition that stand under something older."""

    def __init__(self) -> None:
        self.refolding_keys: set[MeterKey] = set()
        """Meter keys whose refold is queued or running: their routes stay until the swap."""
        self.whole_keys: set[MeterKey] = set()
        """Refolding meter keys of which all events are to be folded: not for definitions alone."""
        self.names: set[SubscriptionKey] = set()
        """External subscriptions under a refold."""
        self.repairing: set[SubscriptionKey] = set()
        """External subscriptions whose cells show other corrections than their next cut will."""
        self._asking: WeakSet[Repaired] = WeakSet()
        """Whoever compares figures now: repairs are noted for nobody else."""
        self.parked: dict[SubscriptionKey, str] = {}
        """External subscriptions that cannot be refolded, with the reason; their figures stay."""
        self.half_closed: set[SubscriptionKey] = set()
        """External subscriptions of which a cut has published some cells and not yet the others."""
        self.displaced_keys: set[MeterKey] = set()
        """Meter keys to refold because an earlier event, or copy of one, came after a later one.

        Or because they took over cells of another code."""
        self.orphaned_keys: set[MeterKey] = set()
        """Meter keys to refold because cells were found that no route leads to."""

    def includes(self, name: SubscriptionKey) -> bool:
        """Return True if figures of an external subscription are known to be incomplete."""
        return self.folds_anew(name) or name in self.parked or name in self.half_closed

    def folds_anew(self, name: SubscriptionKey) -> bool:
        """Return whether a refold or a repair of an external subscription is to come."""
        return name in self.names or name in self.repairing

    def note_repaired(self, name: SubscriptionKey) -> None:
        """Note that events count otherwise, without a refold: what was read before is outdated."""
        for asking in self._asking:
            asking.note(name)

    def repaired_since(self, names: Collection[SubscriptionKey]) -> Repaired:
        """Return to which of some external subscriptions that happens from now on."""
        asking = Repaired(names)
        self._asking.add(asking)
        return asking

    def queue(self, meter_keys: Iterable[MeterKey], *, redefined: bool = False) -> None:
        """Note meter keys whose refold is queued; `redefined`: for definitions alone."""
        meter_keys = list(meter_keys)
        self.refolding_keys.update(meter_keys)
        if not redefined:
            self.whole_keys.update(meter_keys)
        self.names.update((org, external_id) for org, external_id, _ in meter_keys)

    def finish(self, queued: Iterable[MeterKey]) -> None:
        """Keep, after a refold, what is queued yet and what cannot be refolded."""
        # Parked meter keys still stand under the definitions they stood under before.
        standing = {meter_key for meter_key in self.refolding_keys if meter_key[:2] in self.parked}
        self.refolding_keys = {*queued, *standing}
        self.whole_keys &= self.refolding_keys
        self.names = {(org, external_id) for org, external_id, _ in self.refolding_keys}

    def park(self, name: SubscriptionKey, reason: str) -> None:
        """Let the figures of an external subscription stand as they are."""
        self.parked[name] = reason

    def unpark(self, meter_keys: Iterable[MeterKey]) -> None:
        """Forget what kept these meter keys from a refold: they are refolded now."""
        meter_keys = set(meter_keys)
        self.refolding_keys.difference_update(meter_keys)
        left = {meter_key[:2] for meter_key in self.refolding_keys}
        for name in {meter_key[:2] for meter_key in meter_keys} - left:
            self.parked.pop(name, None)

    def displace(self, meter_keys: Iterable[MeterKey]) -> None:
        """Note meter keys with an event that lies before others that were folded."""
        self.displaced_keys.update(meter_keys)

    def take_displaced_keys(self) -> set[MeterKey]:
        """Hand out the meter keys that are to be refolded for an earlier event."""
        taken, self.displaced_keys = self.displaced_keys, set()
        return taken

    def take_orphaned_keys(self) -> set[MeterKey]:
        """Hand out the meter keys that are to be refolded for cells that nothing leads to."""
        taken, self.orphaned_keys = self.orphaned_keys, set()
        return taken

    def miss(self, meter_keys: Iterable[MeterKey]) -> None:
        """Note meter keys whose cells nothing leads to."""
        self.orphaned_keys.update(meter_keys)

    def find(self, meter_keys: Iterable[MeterKey]) -> None:
        """Note meter keys that are refolded anyhow: their cells need not be missed."""
        self.orphaned_keys.difference_update(meter_keys)
