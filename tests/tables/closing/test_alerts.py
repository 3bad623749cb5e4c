"""What a grid cut looks at of the alerts of a subscription: those that it may change."""

from __future__ import annotations

from unittest.mock import patch

from app.definitions import commands
from tables.closing.alerts import ALERTS_A_STEP, triggered
from tables.routing.period_charges import charges_in_force
from tests.tables.closing.test_forgetting import NAME, SETTINGS, pass_until
from tests.world.clock import HOUR_MS, START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

CODES = ["sum", "count", "max", "latest", "unique", "seats", "heads", "passes"]
TYPES = ["billable_metric_current_usage_units", "billable_metric_lifetime_usage_units"]
AT_MS = START_MS + HOUR_MS


def test_charges_are_looked_up_once_for_all_alerts_that_a_cut_touches() -> None:
    """Each of hundreds looked at all charges, whether its metric had an event or none."""
    live = Live(definitions_of(CODES, SETTINGS))
    live.define_all()
    bodies = [
        {
            "alert_type": alert_type,
            "code": f"{alert_type}{code}",
            "billable_metric_code": code,
            "thresholds": [{"value": "1"}],
        }
        for alert_type in TYPES
        for code in CODES
    ]
    live.append(START_MS, commands.create_alerts(ORG, SUBSCRIPTION, bodies))
    pass_until(live, AT_MS)
    live.deliver(
        [
            arrived(code, number, AT_MS + 1, v="2", u="one", g="x")
            for number, code in enumerate(("sum", "max"))
        ]
    )
    live.definitions.append_time_ms = AT_MS + HOUR_MS
    cut_ms = live.partition.cuts.next_of(NAME, AT_MS)
    name = "tables.closing.alerts.charges_in_force"
    with patch(name, wraps=charges_in_force) as asked:
        found = list(triggered(live.partition, NAME, cut_ms))
    assert len([one for one in found if one is not None]) == 4
    assert asked.call_count == 1
    assert found.count(None) >= len(bodies) // ALERTS_A_STEP == 1
