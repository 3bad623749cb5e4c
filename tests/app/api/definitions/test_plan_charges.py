"""Charges of a plan and their filters at paths of their own, as a client of Lago sees them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.app.api.conftest import Answer, Running
from tests.world import bodies

METRIC = {
    "name": "m",
    "code": "m",
    "aggregation_type": "count_agg",
    "filters": [{"key": "region", "values": ["eu", "us"]}],
}
CHARGE = {"billable_metric_code": "m", "charge_model": "standard"}
CHARGES = "/api/v1/plans/p/charges"
EU, US = {"values": {"region": ["eu"]}}, {"values": {"region": ["us"]}}


@pytest.fixture
async def plan(api: Running) -> Any:
    """A plan with charges a and b; a has a filter."""
    await api.must("POST", "/api/v1/billable_metrics", {"billable_metric": METRIC})
    return await api.make_plan(
        "p", [{**CHARGE, "code": "a", "filters": [EU]}, {**CHARGE, "code": "b"}]
    )


async def charges_of_plan(api: Running) -> Any:
    return (await api.must("GET", "/api/v1/plans/p"))["plan"]["charges"]


async def test_a_charge_through_its_life(api: Running, plan: Any) -> None:
    body = {**CHARGE, "code": "c", "properties": {"amount": "2"}, "filters": [US]}
    made = (await api.must("POST", CHARGES, {"charge": body}))["charge"]
    assert (made["code"], made["lago_parent_id"], made["taxes"]) == ("c", None, [])
    assert made["lago_billable_metric_id"] == plan["charges"][0]["lago_billable_metric_id"]
    assert made["filters"][0]["charge_code"] == "c"
    assert await charges_of_plan(api) == [*plan["charges"], made]
    assert (await api.must("GET", f"{CHARGES}/c"))["charge"] == made
    for method, name in (("PUT", "C"), ("PATCH", "D")):
        named = {"charge": {"invoice_display_name": name, "cascade_updates": True}}
        changed = (await api.must(method, f"{CHARGES}/c", named))["charge"]
        assert changed == {**made, "invoice_display_name": name}
    gone = (await api.must("DELETE", f"{CHARGES}/c"))["charge"]
    assert gone == changed
    assert await charges_of_plan(api) == plan["charges"]
    again = await api.call("DELETE", f"{CHARGES}/c", {"charge": {"cascade_updates": True}})
    assert (again.status, again.body["code"]) == (404, "charge_not_found")


async def test_a_filter_through_its_life(api: Running, plan: Any) -> None:
    filters = f"{CHARGES}/a/filters"
    body = {**US, "properties": {"amount": "3"}, "invoice_display_name": "US"}
    made = (await api.must("POST", filters, {"filter": body}))["filter"]
    assert made == {
        "lago_id": made["lago_id"],
        "charge_code": "a",
        "invoice_display_name": "US",
        "properties": {"amount": "3"},
        "values": {"region": ["us"]},
    }
    path = f"{filters}/{made['lago_id']}"
    assert (await api.must("GET", path))["filter"] == made
    for method, amount in (("PUT", "4"), ("PATCH", "5")):
        priced = {"filter": {"properties": {"amount": amount}, **EU}}
        changed = (await api.must(method, path, priced))["filter"]
        assert changed == {**made, "properties": {"amount": amount}}
    assert (await charges_of_plan(api))[0]["filters"][1] == changed
    assert (await api.must("DELETE", path))["filter"] == changed
    for method, sent in (("GET", None), ("PUT", {"filter": EU}), ("DELETE", None)):
        answer = await api.call(method, path, sent)
        assert (answer.status, answer.body["code"]) == (404, "charge_filter_not_found")


async def test_charges_are_listed_from_the_newest_and_filters_from_the_oldest(
    api: Running, plan: Any
) -> None:
    await api.must("POST", CHARGES, {"charge": {**CHARGE, "code": "c"}})
    # A list in another order makes nothing newer.
    kept = [{"id": each["lago_id"]} for each in reversed(await charges_of_plan(api))]
    await api.must("PUT", "/api/v1/plans/p", {"plan": {"charges": kept}})
    listed = await api.must("GET", CHARGES)
    assert [each["code"] for each in listed["charges"]] == ["c", "b", "a"]
    assert listed["meta"] == {
        "current_page": 1,
        "next_page": None,
        "prev_page": None,
        "total_pages": 1,
        "total_count": 3,
    }
    second = await api.must("GET", f"{CHARGES}?per_page=1&page=2")
    assert [each["code"] for each in second["charges"]] == ["b"]
    assert (second["meta"]["next_page"], second["meta"]["prev_page"]) == (3, 1)
    assert second["charges"][0] == (await api.must("GET", f"{CHARGES}/b"))["charge"]

    for values in (US, EU):
        await api.must("POST", f"{CHARGES}/a/filters", {"filter": values})
    filters = await api.must("GET", f"{CHARGES}/a/filters?per_page=2")
    assert [each["values"]["region"] for each in filters["filters"]] == [["eu"], ["us"]]
    assert (filters["meta"]["total_count"], filters["meta"]["next_page"]) == (3, 2)
    nothing = await api.must("GET", f"{CHARGES}/b/filters")
    assert (nothing["filters"], nothing["meta"]["total_count"]) == ([], 0)


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/x/charges", None, "plan_not_found"),
        ("POST", "/x/charges", {"charge": CHARGE}, "plan_not_found"),
        ("GET", "/x/charges/a", None, "plan_not_found"),
        ("PUT", "/x/charges/a", {"charge": CHARGE}, "plan_not_found"),
        ("DELETE", "/x/charges/a", None, "plan_not_found"),
        ("POST", "/p/charges", {"charge": {"code": "x"}}, "billable_metric_not_found"),
        ("GET", "/p/charges/x", None, "charge_not_found"),
        ("PUT", "/p/charges/x", {"charge": CHARGE}, "charge_not_found"),
        ("DELETE", "/p/charges/x", None, "charge_not_found"),
        ("GET", "/x/charges/a/filters", None, "plan_not_found"),
        ("GET", "/p/charges/x/filters", None, "charge_not_found"),
        ("POST", "/p/charges/x/filters", {"filter": EU}, "charge_not_found"),
        ("GET", "/p/charges/x/filters/f", None, "charge_not_found"),
        ("GET", "/p/charges/a/filters/f", None, "charge_filter_not_found"),
        ("PUT", "/p/charges/a/filters/f", {"filter": EU}, "charge_filter_not_found"),
        ("DELETE", "/p/charges/a/filters/f", None, "charge_filter_not_found"),
    ],
)
async def test_what_is_not_there(
    api: Running, plan: Any, method: str, path: str, body: Any, code: str
) -> None:
    answer = await api.call(method, f"/api/v1/plans{path}", body)
    assert (answer.status, answer.body["code"]) == (404, code)


@pytest.mark.parametrize(
    ("method", "path", "root"),
    [
        ("POST", CHARGES, "charge"),
        ("PUT", f"{CHARGES}/a", "charge"),
        ("POST", f"{CHARGES}/a/filters", "filter"),
        ("PUT", f"{CHARGES}/a/filters/f", "filter"),
    ],
)
@pytest.mark.parametrize("body", [b"", {}, {"plan": {"a": 1}}, []])
async def test_a_root_is_wanted(
    api: Running, plan: Any, method: str, path: str, root: str, body: Any
) -> None:
    answer = await api.call(method, path, body)
    assert answer.status == 400
    assert root in answer.body["error"]


async def test_what_is_refused(api: Running, plan: Any) -> None:
    async def details(method: str, path: str, body: Any) -> Any:
        answer = await api.call(method, path, body)
        assert (answer.status, answer.body["code"]) == (422, "validation_errors")
        return answer.body["error_details"]

    mandatory = ["value_is_mandatory"]
    assert await details("POST", CHARGES, {"charge": CHARGE}) == {"code": mandatory}
    taken = {"code": ["value_already_exist"]}
    assert await details("POST", CHARGES, {"charge": {**CHARGE, "code": "a"}}) == taken
    assert await details("PUT", f"{CHARGES}/a", {"charge": {"code": "b"}}) == taken
    filters = f"{CHARGES}/a/filters"
    assert await details("POST", filters, {"filter": {"x": 1}}) == {"values": mandatory}
    unknown = {"filter": {"values": {"region": ["mars"]}}}
    assert await details("POST", filters, unknown) == {"values": ["value_is_invalid"]}
    path = f"{filters}/{plan['charges'][0]['filters'][0]['lago_id']}"
    wrong = {"filter": {"properties": {"amount": "x"}}}
    assert await details("PUT", path, wrong) == {"properties": ["invalid_amount"]}


async def test_a_write_is_one_definition(api: Running, plan: Any) -> None:
    before = len(api.meter.commands)
    await api.must("POST", f"{CHARGES}/b/filters", {"filter": EU})
    ((_, _, command),) = api.meter.commands[before:]
    assert (command.type, command.payload["code"]) == ("create_charge_filter", "p")
    assert command.changed_by == "METER_API_KEYS[0]"


async def test_a_key_that_reads_changes_nothing(api: Running, plan: Any) -> None:
    async def asked(method: str, path: str, key: str, body: Any = None) -> Answer:
        return await api.call(method, path, body, key=key)

    filter_id = plan["charges"][0]["filters"][0]["lago_id"]
    paths = (CHARGES, f"{CHARGES}/a", f"{CHARGES}/a/filters", f"{CHARGES}/a/filters/{filter_id}")
    for path in paths:
        assert (await asked("GET", path, "reader")).status == 200
        # To another organization there is no such plan.
        assert (await asked("GET", path, "other")).status == 404
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            refused = await asked(method, path, "reader", {"charge": CHARGE, "filter": EU})
            assert refused.status in (403, 405)
    for path, method, resource in ((paths[0], "POST", "charge"), (paths[3], "PUT", "filter")):
        refused = await asked(method, path, "reader", {resource: EU})
        assert refused.body["code"] == f"write_action_not_allowed_for_{resource}"
    assert await charges_of_plan(api) == plan["charges"]


@pytest.mark.parametrize("code", ["a/b", "/", "a b", "a%2Fb", "ü", ".", "charges", "a/charges"])
async def test_codes_hold_any_character(api: Running, plan: Any, code: str) -> None:
    await api.make_plan(code)
    inside = f"/api/v1/plans/{quote(code, safe='')}/charges"
    made = await api.must("POST", inside, {"charge": {**CHARGE, "code": code}})
    path = f"{inside}/{quote(code, safe='')}"
    assert await api.must("GET", path) == made
    filters = f"{path}/filters"
    told = (await api.must("POST", filters, {"filter": EU}))["filter"]
    assert told["charge_code"] == code
    assert (await api.must("GET", f"{filters}/{told['lago_id']}"))["filter"] == told
    shown = await api.must("GET", f"/api/v1/plans/{quote(code, safe='')}")
    assert shown["plan"]["code"] == code


async def test_a_nested_path_is_no_plan_whose_code_ends_alike(api: Running, plan: Any) -> None:
    await api.make_plan("p/charges", name="p")
    listed = await api.must("GET", CHARGES)
    assert [each["code"] for each in listed["charges"]] == ["b", "a"]
    for method in ("PUT", "PATCH", "DELETE"):
        answer = await api.call(method, CHARGES, {"plan": {"name": "x"}})
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")
    whole = await api.must("GET", "/api/v1/plans/p%2Fcharges")
    assert (whole["plan"]["code"], whole["plan"]["name"]) == ("p/charges", "p")
    # A bare slash in a code is as good as ever where nothing is nested.
    await api.make_plan("p/other")
    assert (await api.must("GET", "/api/v1/plans/p/other"))["plan"]["code"] == "p/other"


async def test_a_subscription_shows_the_charges_of_its_plan(api: Running, plan: Any) -> None:
    await api.make_plan("q", [{**CHARGE, "code": "c"}])
    for plan_code, external_id, more in (
        ("p", "s", {}),
        ("q", "later", {"subscription_at": "2999-01-01T00:00:00Z"}),
        ("p", "a/b", {}),
    ):
        await api.subscribe(external_id, plan_code, **more)
    (filter_id,) = (each["lago_id"] for each in plan["charges"][0]["filters"])
    for below in ("", "?per_page=1", "/a", "/a/filters", f"/a/filters/{filter_id}"):
        wanted = await api.must("GET", f"{CHARGES}{below}")
        for name in ("s", "a%2Fb"):
            assert await api.must("GET", f"/api/v1/subscriptions/{name}/charges{below}") == wanted

    async def codes(name: str, query: str = "") -> Any:
        answer = await api.call("GET", f"/api/v1/subscriptions/{name}/charges{query}")
        if answer.status != 200:
            return answer.body["code"]
        return [each["code"] for each in answer.body["charges"]]

    missing = "subscription_not_found"
    assert await codes("later") == missing
    assert await codes("later", "?subscription_status=pending") == ["c"]
    assert await codes("later", "?status=pending") == ["c"]
    assert await codes("later", "?status=pending&subscription_status=active") == missing
    assert await codes("later", "/c?status=active") == missing
    assert await codes("s", "?subscription_status=bogus") == missing
    assert await codes("nobody") == missing
    assert await codes("s", "/x") == "charge_not_found"
    assert await codes("s", "/x/filters") == "charge_not_found"
    assert await codes("s", "/a/filters/x") == "charge_filter_not_found"
    await api.must("DELETE", "/api/v1/plans/p")
    assert await codes("s") == missing
    assert await codes("s", "?status=terminated") == ["b", "a"]


async def test_answers_are_as_described(api: Running, plan: Any) -> None:
    document = (await api.call("GET", "/openapi.json", key=None)).body
    filter_id = plan["charges"][0]["filters"][0]["lago_id"]
    nested = "/api/v1/plans/{code}/charges"
    for template, path in (
        (nested, CHARGES),
        (f"{nested}/{{charge_code}}", f"{CHARGES}/a"),
        (f"{nested}/{{charge_code}}/filters", f"{CHARGES}/a/filters"),
        (f"{nested}/{{charge_code}}/filters/{{id}}", f"{CHARGES}/a/filters/{filter_id}"),
    ):
        described = document["paths"][template]["get"]["responses"]["200"]["content"]
        schema = described["application/json"]["schema"]
        answer = await api.must("GET", path)
        Draft202012Validator({**schema, "components": document["components"]}).validate(answer)


async def test_terms_that_do_not_go_together_are_refused(api: Running, plan: Any) -> None:
    wrong = {"invoiceable": ["must_be_true_unless_pay_in_advance"]}
    body = {**CHARGE, "code": "c", "invoiceable": False}
    own = bodies.plan("q", [body])
    for method, path, given in (
        ("POST", "/api/v1/plans", {"plan": own}),
        ("PUT", "/api/v1/plans/p", {"plan": {"charges": [body]}}),
        ("POST", CHARGES, {"charge": body}),
        ("PUT", f"{CHARGES}/b", {"charge": {"invoiceable": False}}),
    ):
        answer = await api.call(method, path, given)
        assert (answer.status, answer.body["error_details"]) == (422, wrong)
    assert await charges_of_plan(api) == plan["charges"]
    both = {**body, "pay_in_advance": True, "regroup_paid_fees": "invoice"}
    assert (await api.must("POST", CHARGES, {"charge": both}))["charge"]["invoiceable"] is False
