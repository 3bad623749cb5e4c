"""Terms of a subscription's own, as a client of Lago gives and sees them."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.app.api.conftest import Running
from tests.world import bodies

SUBSCRIPTIONS = "/api/v1/subscriptions"


@pytest.fixture
async def plan(api: Running) -> Any:
    """The plan p with the charge m, and the subscription s to it."""
    await api.make_metric("m", "count_agg")
    made = await api.make_plan("p", [bodies.charge("m")], amount_cents=100)
    await api.subscribe("s", "p")
    return made


async def test_a_subscription_with_overrides(api: Running, plan: Any) -> None:
    (charge,) = plan["charges"]
    priced = {"id": charge["lago_id"], "properties": {"amount": "9"}}
    given = {"amount_cents": 7, "charges": [priced]}
    made = await api.subscribe("own", "p", plan_overrides=given)
    assert (made["plan_code"], made["plan_amount_cents"]) == ("p", 7)
    own = made["plan"]
    assert (own["parent_id"], own["code"]) == (plan["lago_id"], "p")
    (copy,) = own["charges"]
    assert (copy["lago_parent_id"], copy["properties"]) == (charge["lago_id"], {"amount": "9"})
    shown = (await api.must("GET", f"{SUBSCRIPTIONS}/own"))["subscription"]
    assert shown == made
    listed = await api.must("GET", f"{SUBSCRIPTIONS}/own/charges")
    assert listed["charges"] == [copy]
    # The plan itself is as it was; its child is at no address.
    told = (await api.must("GET", "/api/v1/plans/p"))["plan"]
    assert told["charges"] == plan["charges"]
    assert told["active_subscriptions_count"] == 2
    assert (await api.must("GET", "/api/v1/plans"))["meta"]["total_count"] == 1
    assert (await api.call("GET", f"/api/v1/plans/{own['lago_id']}")).status == 404
    by_code = await api.must("GET", f"{SUBSCRIPTIONS}?plan_code=p")
    assert by_code["meta"]["total_count"] == 2


async def test_a_put_is_one_definition(api: Running, plan: Any) -> None:
    before = len(api.meter.commands)
    body = {"subscription": {"name": "n", "plan_overrides": {"amount_cents": 7}}}
    changed = (await api.must("PUT", f"{SUBSCRIPTIONS}/s", body))["subscription"]
    assert (changed["name"], changed["plan_amount_cents"]) == ("n", 7)
    assert changed["plan"]["parent_id"] == plan["lago_id"]
    ((_, _, command),) = api.meter.commands[before:]
    assert command.type == "update_subscription"
    again = (await api.must("PUT", f"{SUBSCRIPTIONS}/s", body))["subscription"]
    assert again == changed
    none = {"subscription": {"plan_overrides": None, "name": "m"}}
    kept = (await api.must("PUT", f"{SUBSCRIPTIONS}/s", none))["subscription"]
    assert kept["plan"]["lago_id"] == changed["plan"]["lago_id"]


async def test_what_is_refused(api: Running, plan: Any) -> None:
    for overrides, details in (
        ([], {"plan_overrides": ["value_is_invalid"]}),
        ({"amount_cents": "x"}, {"amount_cents": ["value_is_invalid"]}),
        (
            {"charges": [{"id": plan["charges"][0]["lago_id"], "properties": {"amount": 1}}]},
            {"properties": ["invalid_amount"]},
        ),
    ):
        for method, path in (("PUT", f"{SUBSCRIPTIONS}/s"), ("POST", SUBSCRIPTIONS)):
            body = {"external_customer_id": "c", "plan_code": "p", "external_id": "new"}
            sent: Any = {"subscription": {**body, "plan_overrides": overrides}}
            answer = await api.call(method, path, sent)
            assert (answer.status, answer.body["error_details"]) == (422, details)


async def test_an_answer_is_as_described(api: Running, plan: Any) -> None:
    document = (await api.call("GET", "/openapi.json", key=None)).body
    described = document["paths"]["/api/v1/subscriptions/{external_id}"]["get"]["responses"]
    schema = described["200"]["content"]["application/json"]["schema"]
    await api.subscribe("own", "p", plan_overrides={})
    answer = await api.must("GET", f"{SUBSCRIPTIONS}/own")
    Draft202012Validator({**schema, "components": document["components"]}).validate(answer)
