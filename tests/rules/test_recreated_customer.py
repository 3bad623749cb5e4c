"""A customer made anew under an old external id shapes nothing of its predecessor's usage."""

from __future__ import annotations

import pytest

from app.definitions import commands
from app.definitions.command import Command
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, definitions_of, subscription_body
from tests.world.events import arrived
from tests.world.partition import Live

DELETED_MS = START_MS + WEEK_MS + DAY_MS
"""The first week is in grace, and will be for two days."""
GRACE = {"external_id": "customer", "billing_configuration": {"invoice_grace_period": 3}}
UPSERTED = commands.upsert_customer(ORG, {"external_id": "customer"})
SUBSCRIBED = commands.create_subscription(
    ORG, subscription_body(external_id="another", subscription_at=None)
)
OTHER = subscription_body(
    external_id="third", external_customer_id="other", subscription_at="2024-01-09T12:00:00Z"
)


def published(anew: Command | None, *, restarts: bool) -> list[tuple[str, str, str | None]]:
    """(period start, cut, units) of the deleted customer's subscription."""
    live = Live(definitions_of(["sum"]))
    live.define_all()
    live.append(START_MS, commands.upsert_customer(ORG, GRACE))
    used_ms = START_MS + HOUR_MS
    live.deliver([arrived("sum", 0, used_ms, transaction_id="t", v="1")])
    live.append(DELETED_MS, commands.delete_customer(ORG, "customer"))
    if anew is not None:
        live.append(DELETED_MS + 12 * HOUR_MS, anew)
    # A cut of another subscription is taken meanwhile.
    live.append(DELETED_MS + 12 * HOUR_MS + 1, commands.create_subscription(ORG, OTHER))
    live.append(DELETED_MS + 12 * HOUR_MS + 2, commands.terminate_subscription(ORG, "third"))
    live.close_until(DELETED_MS + DAY_MS)
    if restarts:
        live.restart()
    live.close_until(START_MS + 3 * WEEK_MS)
    return [
        (body["period"]["from"][:10], body["closed_at"][:13], body.get("units"))
        for body in live.bodies()
        if body["external_subscription_id"] == "sub"
    ]


@pytest.mark.parametrize("restarts", [False, True], ids=["going-on", "restarted"])
@pytest.mark.parametrize("anew", [None, UPSERTED, SUBSCRIBED], ids=["never", "upsert", "subscribe"])
def test_what_is_in_grace_closes_under_the_deleted_customers_terms(
    anew: Command | None, *, restarts: bool
) -> None:
    assert published(anew, restarts=restarts) == [
        ("2024-01-01", "2024-01-11T00", "1.0"),
        ("2024-01-01", "2024-01-11T00", None),
        ("2024-01-08", "2024-01-12T00", None),
    ]
