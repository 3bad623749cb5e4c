"""What alerts came to goes once no cut looks at it any more, and no query shows it."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions import commands
from app.definitions.command import Command
from tables.reading.usage import evaluated_alerts
from tests.tables.closing.test_forgetting import FINAL_MS, NAME, SETTINGS, pass_until
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, subscription_body
from tests.world.events import arrived
from tests.world.partition import Live


def alert(code: str, metric: str) -> Command:
    body: dict[str, Any] = {
        "alert_type": "billable_metric_current_usage_units",
        "code": code,
        "billable_metric_code": metric,
        "thresholds": [{"value": "1"}],
    }
    return commands.create_alert(ORG, SUBSCRIPTION, body)


def watched() -> Live:
    """Two alerts; that on the count was looked at last."""
    one = Live(definitions_of(["sum", "count"], SETTINGS))
    one.define_all()
    one.append(START_MS + 1, alert("a", "sum"))
    one.append(START_MS + 2, alert("b", "count"))
    sent(one, START_MS + HOUR_MS)
    return one


def sent(one: Live, at_ms: int) -> None:
    """One event of each metric, and the cuts that show them."""
    for number, code in enumerate(("sum", "count")):
        one.deliver([arrived(code, 10 * at_ms + number, at_ms + number * HOUR_MS, v="2")])
        pass_until(one, at_ms + (number + 1) * HOUR_MS - 1)


def rows(one: Live) -> int:
    one.flush()
    assert len(one.changelog.tables["evaluations"]) == len(one.partition.evaluations.rows)
    return len(one.partition.evaluations.rows)


def test_that_of_a_deleted_alert_goes_with_the_cells() -> None:
    one = watched()
    one.append(START_MS + DAY_MS, commands.delete_alert(ORG, SUBSCRIPTION, "a"))
    pass_until(one, FINAL_MS)
    shown = evaluated_alerts(one.partition, NAME)
    assert rows(one) == 2
    assert one.forget(NAME)
    assert rows(one) == 1
    one.restart()
    assert evaluated_alerts(one.partition, NAME) == shown
    assert rows(one) == len(shown) == 1


def test_it_stays_until_the_cut_that_decides_the_end_of_the_alert() -> None:
    one = watched()
    one.append(FINAL_MS + 1, commands.delete_alert(ORG, SUBSCRIPTION, "a"))
    pass_until(one, FINAL_MS)
    one.forget(NAME)
    assert rows(one) == 2


def test_the_newest_stays_which_tells_what_cut_was_taken() -> None:
    """Of a state that is folded anew nothing else does."""
    one = watched()
    for code in "ab":
        one.append(START_MS + DAY_MS, commands.delete_alert(ORG, SUBSCRIPTION, code))
    pass_until(one, FINAL_MS)
    newest_ms = one.partition.evaluations.newest_ms
    one.forget(NAME)
    assert rows(one) == 1
    one.restart()
    assert one.partition.evaluations.newest_ms == newest_ms > 0


@pytest.mark.parametrize("begins_anew", [False, True])
def test_that_of_an_ended_subscription_goes_once_another_has_one(*, begins_anew: bool) -> None:
    one = watched()
    ends_ms = START_MS + DAY_MS
    one.append(ends_ms, commands.terminate_subscription(ORG, SUBSCRIPTION))
    pass_until(one, ends_ms + HOUR_MS)
    if begins_anew:
        body = subscription_body(subscription_at="2024-01-03T00:00:00Z")
        one.append(ends_ms + 2 * HOUR_MS, commands.create_subscription(ORG, body))
        sent(one, START_MS + 3 * DAY_MS)
    pass_until(one, FINAL_MS + WEEK_MS)
    before, shown = rows(one), evaluated_alerts(one.partition, NAME)
    assert len(shown) == 2
    assert one.forget(NAME)
    assert (before, rows(one)) == ((4, 2) if begins_anew else (2, 2))
    assert evaluated_alerts(one.partition, NAME) == shown
