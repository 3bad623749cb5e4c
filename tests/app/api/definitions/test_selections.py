"""What lists of customers and of subscriptions select, by Lago's names."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api.conftest import Running

CUSTOMERS: tuple[dict[str, Any], ...] = (
    {
        "external_id": "a",
        "name": "Zed Limited",
        "customer_type": "company",
        "country": "US",
        "state": "CA",
        "zipcode": "1",
        "currency": "USD",
        "tax_identification_number": "7",
        "metadata": [{"key": "synced", "value": "true"}, {"key": "at", "value": "noon"}],
    },
    {
        "external_id": "b",
        "email": "zoe@example.com",
        "customer_type": "individual",
        "country": "FR",
        "currency": "EUR",
        "metadata": [{"key": "synced", "value": "true"}],
    },
    {"external_id": "zc", "state": "NY"},
)


@pytest.mark.parametrize(
    ("query", "selected"),
    [
        ("external_id=b&customer_type=company", ""),
        ("search_term=ZE", "a"),
        ("search_term=z", "zc b a"),
        ("search_term=nobody&external_id=b", "b"),
        ("customer_type=company", "a"),
        ("has_customer_type=True", "b a"),
        ("has_customer_type=false", "zc"),
        ("countries[]=US&countries[]=FR", "b a"),
        ("countries[]=DE", ""),
        ("states[]=NY&states[]=CA", "zc a"),
        ("zipcodes[]=1", "a"),
        ("currencies[]=USD&search_term=z", "a"),
        ("has_tax_identification_number=true", "a"),
        ("has_tax_identification_number=false", "zc b"),
        ("metadata[synced]=true", "b a"),
        ("metadata[synced]=true&metadata[at]=", "b"),
        ("metadata[at]=night", ""),
        ("account_type[]=customer", "zc b a"),
        ("account_type[]=partner", ""),
        ("billing_entity_codes[]=default&billing_entity_codes[]=default", "zc b a"),
        ("billing_entity_codes=other", "zc b a"),
    ],
)
async def test_customers(api: Running, query: str, selected: str) -> None:
    for customer in CUSTOMERS:
        await api.must("POST", "/api/v1/customers", {"customer": customer})
    answer = await api.must("GET", f"/api/v1/customers?{query}")
    assert [each["external_id"] for each in answer["customers"]] == selected.split()
    assert answer["meta"]["total_count"] == len(selected.split())


BOOLEAN = ["must be one of: true, false"]


@pytest.mark.parametrize(
    ("query", "details"),
    [
        (
            "has_customer_type=false&customer_type=company",
            {"customer_type": ["must be nil when has_customer_type is false"]},
        ),
        ("customer_type=x", {"customer_type": ["must be one of: company, individual"]}),
        (
            "has_tax_identification_number=x&has_customer_type=y",
            {"has_tax_identification_number": BOOLEAN, "has_customer_type": BOOLEAN},
        ),
        ("account_type[]=x", {"account_type": {"0": ["must be one of: customer, partner"]}}),
        (
            "metadata[nested][deep]=1&metadata[listed][]=1",
            {"metadata": {"listed": ["must be a string"], "nested": ["must be a string"]}},
        ),
    ],
)
async def test_customers_that_cannot_be_selected(
    api: Running, query: str, details: dict[str, Any]
) -> None:
    answer = await api.call("GET", f"/api/v1/customers?{query}")
    assert (answer.status, answer.body["error_details"]) == (422, details)


@pytest.mark.parametrize(
    ("name", "known", "first", "last"),
    [("currencies", "EUR", "AED", "ZWL"), ("countries", "DE", "AD", "XK")],
)
async def test_an_unknown_code_is_refused_by_its_place(
    api: Running, name: str, known: str, first: str, last: str
) -> None:
    answer = await api.call("GET", f"/api/v1/customers?{name}[]={known}&{name}[]=QQQ")
    assert answer.status == 422
    ((place, (text,)),) = answer.body["error_details"][name].items()
    codes = text.removeprefix("must be one of: ").split(", ")
    assert (place, codes[0], codes[-1]) == ("1", first, last)


@pytest.mark.parametrize(
    ("query", "selected"),
    [
        ("plan_code=other", "b"),
        ("currency=USD", "b"),
        ("overridden=true", "c"),
        ("overriden=true", "c"),
        ("overridden=False&overriden=true", "b a"),
        ("external_id=a", "a"),
        ("external_id=a&status[]=active&status[]=terminated", "a a"),
        ("external_id=a&external_customer_id=y", ""),
        ("external_id=nobody", ""),
        ("external_id=a&plan_code=other", ""),
        ("billing_entity_codes[]=default", "c b a"),
        ("status[]=bogus", "c b a a"),
        ("status[]=bogus&status[]=terminated", "c b a a"),
        ("status[]=incomplete", "c b a"),
        ("status=bogus", "c b a"),
        ("search=B", "b"),
        ("search=XA", "a"),
        ("search=second", "c"),
        ("search=x&currency=USD", "b"),
        ("search=a&status[]=terminated", "a"),
        ("search=nobody", ""),
    ],
)
async def test_subscriptions(api: Running, query: str, selected: str) -> None:
    await api.make_plan("plan")
    await api.make_plan("other", amount_currency="USD")
    own = {"plan_overrides": {"amount_cents": 5}, "name": "The Second"}
    for name, code, more in (("a", "plan", {}), ("b", "other", {}), ("c", "plan", own)):
        await api.subscribe(name, code, f"x{name}", **more)
        if name == "a":
            await api.must("DELETE", "/api/v1/subscriptions/a")
            await api.subscribe(name, code, f"x{name}")
    answer = await api.must("GET", f"/api/v1/subscriptions?{query}")
    assert [each["external_id"] for each in answer["subscriptions"]] == selected.split()
    assert answer["meta"]["total_count"] == len(selected.split())


@pytest.mark.parametrize("path", ["customers", "subscriptions"])
async def test_another_billing_entity_is_not_found(api: Running, path: str) -> None:
    codes = "billing_entity_codes[]=default&billing_entity_codes[]=other"
    answer = await api.call("GET", f"/api/v1/{path}?{codes}")
    assert (answer.status, answer.body["code"]) == (404, "billing_entity_not_found")


@pytest.mark.parametrize(
    ("path", "root", "body"),
    [
        ("/customers", "customer", {"external_id": "c"}),
        ("/subscriptions", "subscription", {"external_customer_id": "c", "plan_code": "none"}),
    ],
)
async def test_nothing_is_made_for_another_billing_entity(
    api: Running, path: str, root: str, body: dict[str, Any]
) -> None:
    named = {root: {**body, "billing_entity_code": "other"}}
    answer = await api.call("POST", f"/api/v1{path}", named)
    assert (answer.status, answer.body["code"]) == (404, "billing_entity_not_found")
    own = await api.call("POST", f"/api/v1{path}", {root: {**body, "billing_entity_code": ""}})
    assert own.body.get("code") != "billing_entity_not_found"
