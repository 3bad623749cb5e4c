"""The aggregation types that a metric may have, and what the API accepts for each.

This is one half of a type's registration. The other half is its class in `tables/registry.py`,
which this package may not import. `tests/laws/test_registry.py` compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias


class TypeRules(NamedTuple):
    """What a metric of the type, and a charge of that metric, may ask for."""

    needs_field: bool = True
    """A metric names the property that it reads."""
    numeric: bool = True
    """The property is a number."""
    recurring: bool = False
    """A metric may carry its figure from period to period."""
    prorated: bool = False
    """A charge may weigh units by days; the metric has to be recurring, too."""
    in_advance: bool = False
    """A charge may be paid in advance."""
    dynamic: bool = False
    """A charge may have the model `dynamic`."""
    over_time: bool = False
    """The figure is an average over time: it has a weighted_interval and accrues."""
    words: str = ""
    """What it does, with an example, for whoever chooses one."""


AGGREGATION_TYPES: dict[str, TypeRules] = {
    "count_agg": TypeRules(
        needs_field=False,
        numeric=False,
        in_advance=True,
        words="Counts the events. Three requests are 3.",
    ),
    "sum_agg": TypeRules(
        recurring=True,
        prorated=True,
        in_advance=True,
        dynamic=True,
        words="Adds a property up. 5 GB and 3 GB are 8.",
    ),
    "max_agg": TypeRules(words="Takes the largest value. Of 5, 8 and 3 seats it is 8."),
    "unique_count_agg": TypeRules(
        numeric=False,
        recurring=True,
        prorated=True,
        in_advance=True,
        words="Counts different values. a, b and a are 2.",
    ),
    "latest_agg": TypeRules(words="Takes the value of the newest event. Of 5, then 3, it is 3."),
    "weighted_sum_agg": TypeRules(
        recurring=True,
        over_time=True,
        words="Averages a level over time. 10 GB for half of a month are 5.",
    ),
}
"""In the order in which the API's description lists them."""

PLACEHOLDER = "count_agg"
"""Stands in a metric until its body says which type it has."""

NOT_FOR_SALE = "custom_agg"
"""Lago knows this type; here it is refused."""

if TYPE_CHECKING:
    AggregationType: TypeAlias = str
else:
    # The description of the API lists the names, so that a type cannot be left out there.
    AggregationType = Literal[tuple(AGGREGATION_TYPES)]
