"""Every vector of api.json against the API over the ledger."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.billing_periods.instants import parse_iso8601_ms
from tests.app.api.conftest import NOW_MS, Running
from tests.conformance.api import Conversation, Skipped, check_api_vector
from tests.conformance.api_matching import differences
from tests.conformance.files import OWN, VECTORS
from tests.world import bodies


def vectors() -> list[Any]:
    found = json.loads((VECTORS / "api.json").read_text())
    return [pytest.param(each, id=each["id"]) for each in found if each["id"] not in NOT_RUN]


NOT_RUN = {"plan-index-includes-pending-deletion", "projected-usage-closed"}
"""Decided otherwise: `tests/conformance/test_api_vectors_live.py` says why."""

NEEDS_A_FOLD = {"usage-filters-groups", "usage-group-param", "usage-skip-grouping"}
"""The ledger behind the API here does not know every filter."""


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, id=vector["id"])
        for vector in json.loads((OWN / "api.json").read_text())
        if vector["id"] not in NEEDS_A_FOLD
    ],
)
async def test_own_vector(vector: dict[str, Any], api: Running) -> None:
    """What metering-semantics says and the published vectors leave out."""
    assert await check_api_vector(vector, api.base_url, "full", api.session) == []


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


NAMED = {
    "API key whose permissions exclude write on billable_metric (paid option)": read_only,
    "metric code private exists in another organization": private_elsewhere,
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
    assert not isinstance(found, Skipped), found.reason
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
        pytest.param({"$type": "decimal"}, 1, id="unknown-type"),
        pytest.param({"$count": 1, "$contains": [2]}, [1], id="second-operator"),
        pytest.param({"$type": "object", "a": 1}, {"a": 2}, id="key-beside-an-operator"),
        pytest.param({"$exact": {"a": {"b": 1}}}, {"a": {"b": 1, "c": 2}}, id="exact-below"),
        pytest.param({"$exact": {"a": 1}}, {"a": True}, id="exact-true-is-not-one"),
        pytest.param({"$exact": {"a": {"$regex": "x"}}}, {"a": "y"}, id="operator-in-exact"),
        pytest.param({"$set": [1, 1, 2]}, [1, 2, 2], id="set-of-other-numbers"),
        pytest.param({"$contains": [{"a": 1}, {"a": 1}]}, [{"a": 1}], id="contains-twice"),
        pytest.param({"a": {"$absent": False}}, {}, id="not-absent"),
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
        pytest.param({"$exact": {"a": {"$regex": "x"}}}, {"a": "x"}, id="operator-in-exact"),
        pytest.param({"$count": 1, "$contains": [1]}, [1], id="two-operators"),
        pytest.param(
            {"$set": [{}, {"a": 1}]}, [{"a": 1}, {"b": 1}], id="set-whose-first-match-is-not-it"
        ),
        pytest.param({"a": {"$absent": False}}, {"a": None}, id="not-absent"),
    ],
)
def test_what_matches_has_no_differences(expected: Any, actual: Any) -> None:
    assert differences(expected, actual, "body") == []


METRIC = bodies.metric("m", "count_agg")
LIST = {"method": "GET", "path": "/api/v1/billable_metrics"}
CREATE = {
    "method": "POST",
    "path": "/api/v1/billable_metrics",
    "body": {"billable_metric": METRIC},
}


async def ran(api: Running, vector: dict[str, Any]) -> list[str] | Skipped:
    return await check_api_vector({"id": "x", **vector}, api.base_url, "full", api.session)


@pytest.mark.parametrize(
    ("vector", "told"),
    [
        pytest.param(
            {"request": LIST, "expect": {"status": 200, "headers": {}}},
            ["expect.headers: nothing that is looked at here"],
            id="expectation",
        ),
        pytest.param(
            {"request": {**LIST, "query": {"page": 1}}, "expect": {"status": 200}},
            Skipped("request has keys that nothing here reads: query"),
            id="request",
        ),
        pytest.param(
            {
                "setup": [{"request": CREATE, "expect_status": 200, "as": "a"}],
                "request": LIST,
                "expect": {"status": 200},
            },
            Skipped("setup has keys that nothing here reads: as"),
            id="setup",
        ),
        pytest.param(
            {"request": {**LIST, "path": "/api/v1/plans/{{moon.code}}"}, "expect": {"status": 200}},
            Skipped("nothing is known as moon.code"),
            id="template",
        ),
        pytest.param(
            {"request": LIST, "expect": {"status": 200}, "then": [{"state": "the moon is full"}]},
            Skipped("no way to arrange: the moon is full"),
            id="state-in-then",
        ),
    ],
)
async def test_what_cannot_be_read_is_told(api: Running, vector: Any, told: Any) -> None:
    assert await ran(api, vector) == told


async def test_what_was_answered_can_be_asked_for(api: Running) -> None:
    vector = {
        "setup": [{"request": CREATE}],
        "request": {**LIST, "path": "/api/v1/billable_metrics/{{metric.code}}"},
        "expect": {
            "status": 200,
            "body_contains": {"billable_metric": {"name": "{{metric.name}}"}},
        },
    }
    assert await ran(api, vector) == []


async def test_an_expectation_is_about_what_was_known_before(api: Running) -> None:
    vector = {
        "setup": [{"request": CREATE}],
        "request": {
            "method": "PUT",
            "path": "/api/v1/billable_metrics/m",
            "body": {"billable_metric": {"name": "new"}},
        },
        "expect": {
            "status": 200,
            "body_contains": {"billable_metric": {"name": "{{metric.name}}"}},
        },
    }
    assert await ran(api, vector) == ["body.billable_metric.name: 'new', expected 'm'"]


@pytest.mark.parametrize(
    ("state", "path", "body"),
    [
        pytest.param(
            "metric gb (max_agg on size)",
            "billable_metrics/gb",
            {"billable_metric": {"aggregation_type": "max_agg", "field_name": "size"}},
            id="metric",
        ),
        pytest.param(
            "metric calls (count_agg); active subscription sub_7",
            "subscriptions/sub_7",
            {"subscription": {"status": "active"}},
            id="metric-and-subscription",
        ),
        pytest.param(
            "subscription old started_at 2024-01-02T03:04:05Z",
            "subscriptions/old",
            {"subscription": {"started_at": "2024-01-02T03:04:05.000Z"}},
            id="started",
        ),
        pytest.param(
            "gone is terminated",
            "subscriptions/gone?status=terminated",
            {"subscription": {"status": "terminated"}},
            id="terminated",
        ),
    ],
)
async def test_states_in_the_words_of_others(
    api: Running, state: str, path: str, body: Any
) -> None:
    vector = {
        "setup": [{"state": state}],
        "request": {"method": "GET", "path": f"/api/v1/{path}"},
        "expect": {"status": 200, "body_contains": body},
    }
    assert await ran(api, vector) == []
