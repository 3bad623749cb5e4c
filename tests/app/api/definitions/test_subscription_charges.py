"""Charges of one subscription and their filters, and cascades, as a client of Lago sees them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api.conftest import Running
from tests.world import bodies

METRIC = {
    **bodies.metric("m", "count_agg"),
    "filters": [{"key": "region", "values": ["eu", "us"]}],
}
CHARGES = "/api/v1/subscriptions/s/charges"
FILTERS = f"{CHARGES}/a/filters"
EU, US = {"values": {"region": ["eu"]}}, {"values": {"region": ["us"]}}


@pytest.fixture
async def plan(api: Running) -> Any:
    """A plan with the charges a, which has a filter, and b; the subscription s to it."""
    await api.must("POST", "/api/v1/billable_metrics", {"billable_metric": METRIC})
    charges = [{**bodies.charge("m"), "code": "a", "filters": [EU]}, bodies.charge("m")]
    made = await api.make_plan("p", charges)
    await api.subscribe("s", "p")
    return made


async def charges_of(api: Running, path: str = CHARGES) -> Any:
    return (await api.must("GET", path))["charges"][::-1]


async def test_a_charge_of_its_own(api: Running, plan: Any) -> None:
    before = len(api.meter.commands)
    body = {"charge": {"properties": {"amount": "2"}, "invoice_display_name": "A", "code": "x"}}
    changed = (await api.must("PUT", f"{CHARGES}/a", body))["charge"]
    theirs, other = plan["charges"]
    assert changed["lago_parent_id"] == theirs["lago_id"]
    assert (changed["code"], changed["properties"]) == ("a", {"amount": "2"})
    assert len(api.meter.commands) == before + 1
    mine, copy = await charges_of(api)
    assert (mine, copy["lago_parent_id"]) == (changed, other["lago_id"])
    assert await charges_of(api, "/api/v1/plans/p/charges") == plan["charges"]
    more = {"charge": {"min_amount_cents": 5}}
    again = (await api.must("PATCH", f"{CHARGES}/a?status=active", more))["charge"]
    assert again == {**changed, "min_amount_cents": 5}


async def test_filters_of_its_own(api: Running, plan: Any) -> None:
    theirs = plan["charges"][0]["filters"][0]
    named = {"filter": {"invoice_display_name": "EU", **US}}
    changed = (await api.must("PUT", f"{FILTERS}/{theirs['lago_id']}", named))["filter"]
    assert changed == {**theirs, "lago_id": changed["lago_id"], "invoice_display_name": "EU"}
    assert changed["lago_id"] != theirs["lago_id"]
    made = (await api.must("POST", FILTERS, {"filter": US}))["filter"]
    assert (await api.must("GET", FILTERS))["filters"] == [changed, made]
    path = f"{FILTERS}/{made['lago_id']}"
    assert (await api.must("DELETE", path))["filter"] == made
    gone = await api.call("DELETE", path)
    assert (gone.status, gone.body["code"]) == (404, "charge_filter_not_found")


async def test_what_is_refused(api: Running, plan: Any) -> None:
    async def code(method: str, path: str, body: Any = None) -> Any:
        answer = await api.call(method, path, body)
        assert answer.status in (400, 404, 405, 422)
        return answer.body.get("error_details") or answer.body.get("code")

    charge, charge_filter = {"charge": {"min_amount_cents": 1}}, {"filter": EU}
    nobody = "/api/v1/subscriptions/x/charges"
    for path in (nobody, f"{nobody}/a"):
        method = "PUT" if path.endswith("a") else "GET"
        assert await code(method, path, charge) == "subscription_not_found"
    assert await code("PUT", f"{CHARGES}/a?status=pending", charge) == "subscription_not_found"
    assert await code("PUT", f"{CHARGES}/x", charge) == "charge_not_found"
    assert await code("POST", f"{CHARGES}/x/filters", charge_filter) == "charge_not_found"
    assert await code("PUT", f"{FILTERS}/x", charge_filter) == "charge_filter_not_found"
    taken = {"values": ["value_already_exists"]}
    assert await code("POST", FILTERS, charge_filter) == taken
    assert await code("POST", FILTERS, {"filter": {"x": 1}}) == {"values": ["value_is_mandatory"]}
    assert (await api.call("PUT", f"{CHARGES}/a", {})).status == 400
    # Nothing of it made a child plan.
    assert [each["lago_parent_id"] for each in await charges_of(api)] == [None, None]
    refused = await api.call("PUT", f"{CHARGES}/a", charge, key="reader")
    assert refused.body["code"] == "write_action_not_allowed_for_charge"
    for method, path in (("POST", CHARGES), ("DELETE", f"{CHARGES}/a")):
        assert (await api.call(method, path, charge)).status == 405


async def test_a_pending_one_is_named_by_its_status(api: Running, plan: Any) -> None:
    await api.subscribe("later", "p", subscription_at="2999-01-01T00:00:00Z")
    path = "/api/v1/subscriptions/later/charges/a"
    sent = {"charge": {"min_amount_cents": 1}}
    assert (await api.call("PUT", path, sent)).status == 404
    for name in ("status", "subscription_status"):
        changed = await api.must("PUT", f"{path}?{name}=pending", sent)
        assert changed["charge"]["lago_parent_id"] == plan["charges"][0]["lago_id"]


async def test_a_cascade_is_one_definition(api: Running, plan: Any) -> None:
    await api.must("PUT", f"{CHARGES}/a", {"charge": {"invoice_display_name": "A"}})
    inside = "/api/v1/plans/p/charges"
    for amount, cascades, amounts in (("3", True, ["3", "1"]), ("4", False, ["3", "1"])):
        before = len(api.meter.commands)
        priced = {"properties": {"amount": amount}, "cascade_updates": cascades}
        await api.must("PUT", f"{inside}/a", {"charge": priced})
        assert [each["properties"]["amount"] for each in await charges_of(api)] == amounts
        assert len(api.meter.commands) == before + 1
    added = {**bodies.charge("m"), "code": "c", "cascade_updates": True}
    await api.must("POST", inside, {"charge": added})
    new = {**US, "cascade_updates": True}
    made = (await api.must("POST", f"{inside}/a/filters", {"filter": new}))["filter"]
    a, _, c = await charges_of(api)
    assert (len(a["filters"]), c["code"]) == (2, "c")
    path = f"{inside}/a/filters/{made['lago_id']}"
    await api.must("DELETE", path, {"filter": {"cascade_updates": True}})
    await api.must("DELETE", f"{inside}/c", {"charge": {"cascade_updates": True}})
    a, b = await charges_of(api)
    assert (len(a["filters"]), b["code"]) == (1, "m")
    await api.must("PUT", "/api/v1/plans/p", {"plan": {"amount_cents": 7, "cascade_updates": True}})
    shown = (await api.must("GET", "/api/v1/subscriptions/s"))["subscription"]
    assert shown["plan_amount_cents"] == 7
