"""Staleness: which figures do not show everything yet, and what is to be refolded for it."""

from __future__ import annotations

from collections.abc import Iterable

from app.wire.arrivals import SubscriptionName
from tables.changelogged.presence import Pair


class Staleness:
    """Pairs and external subscriptions of one partition that stand under something older."""

    def __init__(self) -> None:
        self.refolding_pairs: set[Pair] = set()
        """Pairs whose refold is queued or running: their routes stay until the swap."""
        self.names: set[SubscriptionName] = set()
        """External subscriptions under a refold."""
        self.parked: dict[SubscriptionName, str] = {}
        """External subscriptions that cannot be refolded, with the reason; their figures stay."""
        self.half_closed: set[SubscriptionName] = set()
        """External subscriptions of which a cut has published some cells and not yet the others."""
        self.smaller_positions: set[Pair] = set()
        """Pairs to refold because an earlier event, or copy of one, came after a later one."""
        self.strays: set[Pair] = set()
        """Pairs to refold because cells were found that no route leads to."""

    def includes(self, name: SubscriptionName) -> bool:
        """Return True if figures of an external subscription are known to be incomplete."""
        return name in self.names or name in self.parked or name in self.half_closed

    def queue(self, pairs: Iterable[Pair]) -> None:
        """Note pairs whose refold is queued."""
        pairs = list(pairs)
        self.refolding_pairs.update(pairs)
        self.names.update((org, external_id) for org, external_id, _ in pairs)

    def finish(self, queued: Iterable[Pair]) -> None:
        """Keep, after a refold, what is queued yet and what cannot be refolded."""
        # Parked pairs still stand under the definitions they stood under before.
        standing = {pair for pair in self.refolding_pairs if pair[:2] in self.parked}
        self.refolding_pairs = {*queued, *standing}
        self.names = {(org, external_id) for org, external_id, _ in self.refolding_pairs}

    def park(self, name: SubscriptionName, reason: str) -> None:
        """Let the figures of an external subscription stand as they are."""
        self.parked[name] = reason

    def unpark(self, pairs: Iterable[Pair]) -> None:
        """Forget what kept these pairs from a refold: they are refolded now."""
        pairs = set(pairs)
        self.refolding_pairs.difference_update(pairs)
        left = {pair[:2] for pair in self.refolding_pairs}
        for name in {pair[:2] for pair in pairs} - left:
            self.parked.pop(name, None)

    def displace(self, pairs: Iterable[Pair]) -> None:
        """Note pairs with an event that lies before others that were folded."""
        self.smaller_positions.update(pairs)

    def take_smaller_positions(self) -> set[Pair]:
        """Hand out the pairs that are to be refolded for an earlier event."""
        taken, self.smaller_positions = self.smaller_positions, set()
        return taken

    def take_strays(self) -> set[Pair]:
        """Hand out the pairs that are to be refolded for cells that nothing leads to."""
        taken, self.strays = self.strays, set()
        return taken

    def miss(self, pairs: Iterable[Pair]) -> None:
        """Note pairs whose cells nothing leads to."""
        self.strays.update(pairs)

    def find(self, pairs: Iterable[Pair]) -> None:
        """Note pairs that are refolded anyhow: their cells need not be missed."""
        self.strays.difference_update(pairs)
