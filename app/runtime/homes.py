"""Home: the raw partition that owns a subscription (state.md §1)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeAlias, cast

import numpy as np

from app.bounds.at_hand import keep
from app.bounds.turns import STEP_ITEMS, Steps, drained
from app.definitions.outcome import Impact
from app.definitions.state import Definitions
from app.wire.keys import home_partition, message_key

Name: TypeAlias = tuple[str, str]
"""(organization id, external id)."""

_REMEMBERED = 1_000_000
_NOWHERE: Final = (1 << 16) - 1
"""Stands for the home of who is found by another number; no topic has so many partitions."""
_AT_ONCE: Final = 4_096
"""How many homes are looked at in one go, for those of one partition."""


class HomePartitions:
    """Home partitions by (organization_id, external_subscription_id), remembered."""

    def __init__(self, definitions: Definitions, partitions: int):
        self._definitions = definitions
        self._partitions = partitions
        self._partitioner = definitions.settings_at().home_partitioner
        self._known: dict[Name, int] = {}
        self._numbered = array("H")
        """By number of a subscription, its home if it is the first of its name."""

    def of(self, organization_id: str, external_subscription_id: str) -> int:
        """Return the partition that has all events and cells of the subscription."""
        name = (organization_id, external_subscription_id)
        home = self._known.get(name)
        if home is None:
            home = keep(self._known, name, self._found(name), _REMEMBERED)
        return home

    def of_impact(self, impact: Impact) -> int | None:
        """Return the partition that a definition concerns alone; None: it names no subscription."""
        organization_id, external_id = impact.organization_id, impact.external_subscription_id
        if organization_id is None or external_id is None:
            return None
        return self.of(organization_id, external_id)

    def _found(self, name: Name) -> int:
        partitioner = self._definitions.settings_at().home_partitioner
        return home_partition(message_key(*name), self._partitions, partitioner)

    def of_all(self, names: list[Name]) -> list[int]:
        """Return the partition of each of many subscriptions, in order."""
        homes = [*map(self._known.get, names)]
        if None not in homes:
            # Without a step of the interpreter for each.
            return cast("list[int]", homes)
        return [self.of(*name) for name in names]

    def at(self, number: int) -> tuple[Callable[[Name], bool], Callable[[], Iterator[Name]]]:
        """Return what tells whether a subscription is at home in a partition, and who is."""
        return partial(self.is_at, number), partial(self.names_at, number)

    def is_at(self, number: int, name: Name) -> bool:
        """Return whether a partition has the events and cells of a subscription."""
        return self.of(*name) == number

    def knowing(self) -> Steps[None]:
        """Find the homes of all subscriptions that there are, once for all partitions."""
        named, homes = self._definitions.subscription_index.by_external_id, self._numbered
        for count, number in enumerate(named.firsts(len(homes)), 1):
            # Another one who asks may have come further meanwhile.
            if number >= len(homes):
                homes.extend([_NOWHERE] * (number - len(homes)))
                homes.append(self._found(named.walked(number)))
            if count % STEP_ITEMS == 0:
                yield

    def names_at(self, partition: int) -> Iterator[Name]:
        """Yield names of all subscriptions at home in a partition, each once.

        Without a look at those of others: these are most of what a worker knows.
        """
        drained(self.knowing())
        named, numbered = self._definitions.subscription_index.by_external_id, self._numbered
        for first in range(0, len(numbered), _AT_ONCE):
            homes = np.frombuffer(numbered[first : first + _AT_ONCE], np.uint16)
            yield from map(named.walked, (np.flatnonzero(homes == partition) + first).tolist())

    def names_of(self, organization_id: str, partition: int) -> Iterator[Name | None]:
        """Yield names of an organization at home in a partition, each once; None: a step."""
        for _ in self.knowing():
            yield None
        index = self._definitions.subscription_index
        numbers = index.by_organization.numbers(organization_id)
        for first in range(0, len(numbers), _AT_ONCE):
            some = numbers[first : first + _AT_ONCE]
            # The last ones may all have names that others had before.
            some = some[some < len(self._numbered)]
            if len(some):
                homes = np.frombuffer(self._numbered, np.uint16)[some]
                yield from map(index.by_external_id.walked, some[homes == partition].tolist())
            yield None

    def forget(self) -> None:
        """Forget all known partitions if the partitioner has changed."""
        partitioner = self._definitions.settings_at().home_partitioner
        if partitioner != self._partitioner:
            self._partitioner = partitioner
            self._known.clear()
            self._numbered = array("H")
