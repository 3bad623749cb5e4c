"""Where we do not do as Lago does, on purpose; which of it a difference may come from.

docs/from-lago.md has the whole list, with a reason for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import combinations
from typing import Final, NamedTuple

from app.cli.lago.figures import FigureDifference
from app.cli.remote import Json
from app.definitions.aggregation_types import AGGREGATION_TYPES, TypeRules


class Case(NamedTuple):
    """A difference, and what is defined where it is."""

    found: FigureDifference
    metric: Json
    """Ours, as the API shows it."""
    charge: Json
    subscription: Json
    past: bool
    """Whether a period that has ended is looked at."""
    bodies_differ: bool
    """Whether an event that both sides have says something else in Lago."""

    @property
    def rules(self) -> TypeRules:
        """What the aggregation type may."""
        of_charge = self.found.charge
        name = of_charge.aggregation_type if of_charge is not None else ""
        return next((rules for each, rules in AGGREGATION_TYPES.items() if each == name), _NO_TYPE)

    @property
    def recurring(self) -> bool:
        """Whether the figure is carried from period to period."""
        return bool(self.metric.get("recurring"))

    @property
    def ends_in_the_period(self) -> bool:
        """Whether the subscription ends in the period that runs, or has ended."""
        ends = self.subscription.get("ending_at")
        shown = self.subscription.get("current_billing_period_ending_at")
        return bool(ends) and (shown is None or str(ends)[:10] <= str(shown)[:10])

    @property
    def uniques(self) -> bool:
        """Whether values are counted once."""
        rules = self.rules
        return not rules.numeric and rules.recurring

    def says(self, *fields: str) -> bool:
        """Return whether the difference is one of these."""
        return self.found.field in fields

    def figures(self) -> tuple[Decimal, Decimal] | None:
        """Return both figures, if they are numbers."""
        try:
            return Decimal(self.found.lago), Decimal(self.found.here)
        except ArithmeticError:
            return None


_NO_TYPE: Final = TypeRules()


class Deviation(NamedTuple):
    """One deviation from Lago."""

    words: str
    fits: Callable[[Case], bool]
    """Tells whether it may be the cause. It never says that it is."""


def _is_tiny(case: Case) -> bool:
    pair = case.figures()
    return pair is not None and abs(pair[0] - pair[1]) <= Decimal("0.00005")


def _is_zero_for_negative(case: Case) -> bool:
    pair = case.figures()
    return pair is not None and pair[0] < 0 and pair[1] == 0


def _overlap(filters: Sequence[Json]) -> bool:
    """Return whether one event can match two of the filters."""
    return any(
        all(key not in other or set(texts) & set(other[key]) for key, texts in one.items())
        for one, other in combinations([each["values"] for each in filters], 2)
    )


_OF_OBJECTS: Final = ("(none)", "{", "[")
DEVIATIONS: Final[Mapping[str, Deviation]] = {
    "D1": Deviation(
        "a subscription ends at the instant of ending_at",
        lambda case: case.ends_in_the_period,
    ),
    "D2": Deviation(
        "a subscription starts at the instant of subscription_at",
        lambda case: case.says("period", "end"),
    ),
    "D4": Deviation(
        "a level from before the first subscription is carried",
        lambda case: case.rules.over_time and case.recurring,
    ),
    "D5": Deviation(
        "a level goes on in a charge that takes the place of another",
        lambda case: case.recurring and not case.says("events_count"),
    ),
    "D6": Deviation(
        "a final level below 0 is shown as 0",
        lambda case: (
            case.rules.over_time
            and case.says("total_aggregated_units")
            and _is_zero_for_negative(case)
        ),
    ),
    "D7": Deviation(
        "an average of a running period is taken to ending_at",
        lambda case: case.rules.over_time and not case.past and case.ends_in_the_period,
    ),
    "D8": Deviation(
        "on an upgrade the next period carries a recurring metric of both plans",
        lambda case: (
            case.past and case.recurring and bool(case.subscription.get("previous_plan_code"))
        ),
    ),
    "D9": Deviation(
        "ratios of days are exact",
        lambda case: bool(case.charge.get("prorated")) and _is_tiny(case),
    ),
    "D10": Deviation(
        "days of a prorated unique count are local dates",
        lambda case: bool(case.charge.get("prorated")) and case.uniques,
    ),
    "D11": Deviation(
        "an object is the null group",
        lambda case: any(sign in case.found.part[0] for sign in _OF_OBJECTS),
    ),
    "D12": Deviation(
        "a recurring figure that became 0 gets one closing record",
        lambda case: case.past and case.recurring and case.says("charge"),
    ),
    "D14": Deviation(
        "an event counts in one of two filters that overlap",
        lambda case: _overlap(case.charge.get("filters") or ()),
    ),
    "D15": Deviation(
        "an event at the millisecond of an end does not count",
        lambda case: case.past and case.subscription.get("status") == "terminated",
    ),
    "D16": Deviation(
        "ended periods of a back-dated subscription are published",
        lambda case: case.past and case.says("period") and case.found.lago == "none",
    ),
    "D17": Deviation(
        "of one transaction_id with two bodies the first one counts",
        lambda case: case.bodies_differ,
    ),
    "D18": Deviation(
        "a unique count ignores an event without its property or with an unknown operation",
        lambda case: case.uniques,
    ),
    "D19": Deviation(
        "a level carried on comes from all events, late ones too",
        lambda case: case.recurring and case.says("units", "total_aggregated_units"),
    ),
    "D20": Deviation(
        "charges that are paid in advance are in past_usage",
        lambda case: case.past and bool(case.charge.get("pay_in_advance")) and case.says("charge"),
    ),
    "D21": Deviation(
        "late events and corrections revise a period that Lago has invoiced",
        lambda case: case.past and case.found.charge is not None and case.found.charge.revision > 0,
    ),
}
"""By the name that `--accept` takes.

D3 and D13 are no causes: one is as in Lago now, the other is a date that is not compared.
"""


def candidates(case: Case) -> list[str]:
    """Return which deviations may be the cause."""
    return [name for name, deviation in DEVIATIONS.items() if deviation.fits(case)]
