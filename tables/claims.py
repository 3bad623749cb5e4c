"""Claims: which of the filters of a charge has an event, beside thousands of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tables.values import text_of


class Claims:
    """Finds the first of some filters whose conditions an event meets.

    A number has a bit for each filter. Each text that is named has the filters that it meets, so an
    event costs a look for each property, however many filters there are.
    """

    __slots__ = ("_by_property", "_every")

    def __init__(self, conditions: Sequence[Sequence[tuple[str, frozenset[str]]]]):
        """Take the conditions of each filter, in the order in which they claim events."""
        named: dict[str, dict[frozenset[str], int]] = {}
        for place, each in enumerate(conditions):
            for key, values in each:
                # Many may name the same texts, as by all values: these are gone through once.
                alike = named.setdefault(key, {})
                alike[values] = alike.get(values, 0) | 1 << place
        self._every = (1 << len(conditions)) - 1
        self._by_property = [(key, *self._met(alike)) for key, alike in named.items()]

    def _met(self, alike: Mapping[frozenset[str], int]) -> tuple[dict[str, int], int]:
        """Return which filters each text of a property meets, and which do not ask for it."""
        met: dict[str, int] = {}
        asking = 0
        for values, filters in alike.items():
            asking |= filters
            for text in values:
                met[text] = met.get(text, 0) | filters
        return met, self._every & ~asking

    def first(self, properties: Mapping[str, msgspec.Raw]) -> int | None:
        """Return the place of the first filter that an event meets; None: there is none."""
        left = self._every
        for key, met, indifferent in self._by_property:
            text = text_of(properties, key)
            left &= indifferent if text is None else met.get(text, 0) | indifferent
            if not left:
                break
        return (left & -left).bit_length() - 1 if left else None
