"""Home: the raw partition that owns a subscription (state.md §1)."""

from __future__ import annotations

from typing import cast

from app.definitions.state import Definitions
from app.wire.keys import home_partition, message_key

_REMEMBERED = 1_000_000


class HomePartitions:
    """Home partitions by (organization_id, external_subscription_id), remembered."""

    def __init__(self, definitions: Definitions, partitions: int):
        self._definitions = definitions
        self._partitions = partitions
        self._known: dict[tuple[str, str], int] = {}

    def of(self, organization_id: str, external_subscription_id: str) -> int:
        """Return the partition that has all events and cells of the subscription."""
        name = (organization_id, external_subscription_id)
        home = self._known.get(name)
        if home is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            partitioner = self._definitions.settings_at().home_partitioner
            home = home_partition(message_key(*name), self._partitions, partitioner)
            self._known[name] = home
        return home

    def of_all(self, names: list[tuple[str, str]]) -> list[int]:
        """Return the partition of each of many subscriptions, in order."""
        homes = [*map(self._known.get, names)]
        if None not in homes:
            # Without a step of the interpreter for each.
            return cast("list[int]", homes)
        return [self.of(*name) for name in names]

    def is_at(self, number: int, name: tuple[str, str]) -> bool:
        """Return whether a partition has the events and cells of a subscription."""
        return self.of(*name) == number

    def forget(self) -> None:
        """Forget all known partitions: the partitioner may have changed."""
        self._known.clear()
