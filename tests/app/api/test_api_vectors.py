"""Every vector of api.json against the API over the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.api.vectors import Conversation, Skipped, check_api_vector, differences
from app.definitions.instants import parse_iso8601_ms
from tests.app.api.conftest import NOW_MS, Running

VECTORS = Path(__file__).parents[3].parent / "shared" / "vectors" / "api.json"


def vectors() -> list[Any]:
    if not VECTORS.exists():
        missing = pytest.mark.skip(reason="../shared/vectors/api.json is missing")
        return [pytest.param(None, id="missing", marks=missing)]
    return [pytest.param(vector, id=vector["id"]) for vector in json.loads(VECTORS.read_text())]


def arranger(api: Running) -> Any:
    """States that need the clock or another key."""

    async def arrange(conversation: Conversation, state: str) -> bool:
        if state.startswith("clock frozen at "):
            return True
        arrange_named = NAMED.get(state)
        if arrange_named is None:
            return False
        await arrange_named(api, conversation)
        return True

    return arrange


async def read_only(api: Running, conversation: Conversation) -> None:
    conversation.api_key = "reader"


async def private_elsewhere(api: Running, conversation: Conversation) -> None:
    metric = {"name": "p", "code": "private", "aggregation_type": "count_agg"}
    answer = await api.call(
        "POST", "/api/v1/billable_metrics", {"billable_metric": metric}, key="other"
    )
    assert answer.status == 200


async def api_calls(api: Running, conversation: Conversation) -> None:
    """The plan's start lies years back, so the clock does too while it is made."""
    at_ms = parse_iso8601_ms("2022-03-15T00:00:00Z")
    assert at_ms is not None
    api.meter.clock.now_ms = at_ms
    metric = {"name": "api_calls", "code": "api_calls", "aggregation_type": "count_agg"}
    answer = await conversation.must(
        "POST", "/api/v1/billable_metrics", {"billable_metric": metric}
    )
    ranges = [{"from_value": 0, "to_value": None, "per_unit_amount": "0.01", "flat_amount": "0.01"}]
    charge = {
        "billable_metric_id": answer["billable_metric"]["lago_id"],
        "charge_model": "graduated",
        "properties": {"graduated_ranges": ranges},
    }
    await monthly(conversation, [charge])
    api.meter.clock.now_ms = NOW_MS
    for number in range(4):
        event = {
            "transaction_id": f"t{number}",
            "code": "api_calls",
            "external_subscription_id": "sub_1",
        }
        await conversation.must("POST", "/api/v1/events", {"event": event})


async def mid_period(api: Running, conversation: Conversation) -> None:
    at_ms = parse_iso8601_ms("2024-03-10T09:30:00Z")
    assert at_ms is not None
    api.meter.clock.now_ms = at_ms
    await monthly(conversation, [])
    api.meter.clock.now_ms = NOW_MS


async def monthly(conversation: Conversation, charges: list[Any]) -> None:
    plan = {
        "name": "p",
        "code": "p",
        "interval": "monthly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": charges,
    }
    await conversation.must("POST", "/api/v1/plans", {"plan": plan})
    subscription = {
        "external_customer_id": "cust_1",
        "external_id": "sub_1",
        "plan_code": "p",
        "billing_time": "calendar",
    }
    await conversation.must("POST", "/api/v1/subscriptions", {"subscription": subscription})


NAMED = {
    "API key whose permissions exclude write on billable_metric (paid option)": read_only,
    "metric code private exists in another organization": private_elsewhere,
    "EUR monthly calendar plan, in arrears; graduated charge on count metric api_calls: one open "
    "range 0.., per_unit_amount 0.01, flat_amount 0.01; sub_1 of cust_1 started 2022-03-15; tax "
    "20%; 4 events api_calls now; clock 2024-03-15T12:00:00Z": api_calls,
    "monthly calendar plan; sub_1 started 2024-03-10T09:30:00Z; clock 2024-03-15": mid_period,
}


DECIDED_OTHERWISE = {
    # records-and-cuts §11: terminated_at prints with milliseconds.
    "subscription-terminate": "body.subscription.terminated_at",
}


def frozen_at_ms(vector: dict[str, Any]) -> int:
    """The clock a vector is set up under: no log goes back in time."""
    for step in vector["setup"]:
        at = step.get("state", "").removeprefix("clock frozen at ")
        at_ms = parse_iso8601_ms(at)
        if at_ms is not None:
            return at_ms
    return NOW_MS


@pytest.mark.parametrize("vector", vectors())
async def test_vector(vector: dict[str, Any], api: Running) -> None:
    api.meter.clock.now_ms = frozen_at_ms(vector)
    found = await check_api_vector(vector, api.base_url, "full", api.session, arranger(api))
    if isinstance(found, Skipped):
        pytest.skip(found.reason)
    places = [difference.partition(":")[0] for difference in found]
    decided = DECIDED_OTHERWISE.get(vector["id"])
    assert places == ([decided] if decided else []), found


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        pytest.param({"a": 1}, {"a": 2}, id="value"),
        pytest.param({"a": 1}, {}, id="absent-key"),
        pytest.param({"a": False}, {"a": 0}, id="false-is-not-zero"),
        pytest.param({"a": {"$absent": True}}, {"a": None}, id="present-though-absent-wanted"),
        pytest.param({"$exact": {"a": 1}}, {"a": 1, "b": 2}, id="more-than-exact"),
        pytest.param({"$regex": "^x$"}, "y", id="regex"),
        pytest.param({"$regex": "^x$"}, None, id="regex-of-null"),
        pytest.param({"$type": "array"}, {}, id="type"),
        pytest.param({"$type": "integer"}, True, id="boolean-is-no-integer"),
        pytest.param({"$count": 2}, [1], id="count"),
        pytest.param({"$contains": [{"a": 1}]}, [{"a": 2}], id="contains"),
        pytest.param({"$set": [1, 2]}, [1, 2, 3], id="set-has-more"),
        pytest.param([1, 2], [2, 1], id="order"),
        pytest.param({"$unheard": 1}, 1, id="unknown-operator"),
    ],
)
def test_differences_are_found(expected: Any, actual: Any) -> None:
    assert differences(expected, actual, "body")


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, id="more-keys"),
        pytest.param({"a": {"$absent": True}}, {}, id="absent"),
        pytest.param({"a": {"$any": True}}, {"a": None}, id="any"),
        pytest.param({"$contains": [{"a": 1}]}, [{"b": 1}, {"a": 1, "c": 2}], id="contains"),
        pytest.param({"$set": [1, 2]}, [2, 1], id="set"),
        pytest.param({"$exact": {"a": [1]}}, {"a": [1]}, id="exact"),
    ],
)
def test_what_matches_has_no_differences(expected: Any, actual: Any) -> None:
    assert differences(expected, actual, "body") == []
