"""Every aggregation class, by the name of its type.

This is one half of a type's registration. The other half is what the API accepts for it:
`app/definitions/aggregation_types.py`. `tests/laws/test_registry.py` compares the two.
"""

from __future__ import annotations

from typing import Any

from tables.aggregation import Aggregation
from tables.count import Count
from tables.latest import Latest
from tables.maximum import Maximum
from tables.sum import Sum
from tables.unique_count import UniqueCount
from tables.weighted_sum import WeightedSum

_CLASSES: tuple[type[Aggregation[Any]], ...] = (
    Count,
    Sum,
    Maximum,
    UniqueCount,
    Latest,
    WeightedSum,
)

AGGREGATIONS: dict[str, type[Aggregation[Any]]] = {each.type_name: each for each in _CLASSES}
