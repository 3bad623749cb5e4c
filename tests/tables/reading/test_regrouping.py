"""Groups that are merged into one: however many they are, others wait for few of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.bounds.turns import STEP_ITEMS, drained
from app.meter.usage import Regrouping
from tables.reading.regrouping import Regrouped
from tables.reading.usage import current_usage
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

GROUPS = 3 * STEP_ITEMS


@pytest.mark.parametrize(
    ("code", "full", "units", "steps"),
    [
        ("sum", False, 2 * GROUPS, 3),
        ("sum", True, 3 * GROUPS, 2 * 3),
        # Both what the period comes to and what has accrued are merged.
        ("average", False, 2 * GROUPS, 2 * 3),
    ],
)
def test_one_result_of_many_groups_is_merged_by_steps(
    code: str, full: bool, units: int, steps: int
) -> None:
    """The sum of 50,000 groups held the loop for 0.1 s, and for as long again for each period."""
    definitions = definitions_of([code])
    (plan,) = [line.command for line in definitions if line.command.type == "create_plan"]
    (made,) = plan.payload["plan"]["charges"]
    made["properties"] = {"amount": "1", "pricing_group_keys": ["g"]}
    live = Live(definitions)
    live.define_all()
    for week, value in enumerate("12"):
        at_ms, first = START_MS + week * WEEK_MS, week * GROUPS
        live.deliver([arrived(code, first + n, at_ms, v=value, g=f"g{n}") for n in range(GROUPS)])
    usage = current_usage(live.partition, (ORG, SUBSCRIPTION), START_MS + WEEK_MS + HOUR_MS)
    assert usage is not None
    wanted = Regrouping(skip_grouping=True, full=full)
    regrouped = Regrouped(live.partition, usage, wanted, START_MS + WEEK_MS + HOUR_MS)
    taken = list(regrouped.merging())
    (row,) = drained(regrouped.usage()).rows
    assert not regrouped.to_read
    assert (row.units, row.grouped_by) == (Decimal(units), ())
    # Beside them: names are listed by period, the running one first; groups are told apart.
    assert len(taken) == (3 if full else 2) + 3 + steps
