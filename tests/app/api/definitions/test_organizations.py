"""The organization of a key and its one billing entity, as a client of Lago sees them."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.app.api.conftest import Running
from tests.app.api.ledger import ORGANIZATION

ORGANIZATIONS = "/api/v1/organizations"
ENTITIES = "/api/v1/billing_entities"
ENTITY = f"{ENTITIES}/default"
BEGAN = "1970-01-01T00:00:00Z"
"""Nothing is in the log."""


async def organization(api: Running) -> Any:
    return (await api.must("GET", ORGANIZATIONS))["organization"]


async def entity(api: Running) -> Any:
    return (await api.must("GET", ENTITY))["billing_entity"]


async def test_what_is_shown_before_anything_is_said(api: Running) -> None:
    texts = (
        *("country", "address_line1", "address_line2", "state", "zipcode", "email", "city"),
        *("legal_name", "legal_number", "tax_identification_number"),
    )
    shown: dict[str, Any] = {
        "lago_id": ORGANIZATION,
        "name": ORGANIZATION,
        "created_at": BEGAN,
        "timezone": "UTC",
        "default_currency": "USD",
        "billing_configuration": {
            "invoice_grace_period": None,
            "invoice_footer": None,
            "document_locale": "en",
        },
        "webhook_url": None,
        "webhook_urls": [],
        "net_payment_term": 0,
        **dict.fromkeys(texts),
    }
    assert await organization(api) == shown
    more = {
        "code": "default",
        "updated_at": BEGAN,
        "is_default": True,
        **shown["billing_configuration"],
    }
    assert await entity(api) == {**shown, **more}
    assert await api.must("GET", ENTITIES) == {"billing_entities": [{**shown, **more}]}


async def test_each_route_shows_what_the_other_wrote(api: Running) -> None:
    body = {
        "name": "ignored",
        "timezone": "Europe/Paris",
        "city": "Paris",
        "webhook_url": "https://x",
    }
    written = (await api.must("PUT", ORGANIZATIONS, {"organization": body}))["organization"]
    assert written == await organization(api)
    assert (written["timezone"], written["name"]) == ("Europe/Paris", ORGANIZATION)
    assert (written["city"], written["webhook_urls"]) == ("Paris", ["https://x"])
    assert written["created_at"] == "2024-03-15T12:00:00Z"
    assert (await entity(api))["timezone"] == "Europe/Paris"
    changed = {"invoice_grace_period": 3, "billing_configuration": {"invoice_footer": "f"}}
    answer = (await api.must("PUT", ENTITY, {"billing_entity": changed}))["billing_entity"]
    assert answer == await entity(api)
    assert (answer["invoice_grace_period"], answer["updated_at"]) == (3, "2024-03-15T12:00:00Z")
    assert (answer["invoice_footer"], answer["document_locale"]) == ("f", "en")
    both = {"invoice_grace_period": 3, "invoice_footer": "f", "document_locale": "en"}
    assert (await organization(api))["billing_configuration"] == both
    own = {"invoice_grace_period": 9, "billing_configuration": {"invoice_grace_period": 4}}
    answer = (await api.must("PATCH", ENTITY, {"billing_entity": own}))["billing_entity"]
    assert answer["invoice_grace_period"] == 4


async def test_its_webhook_url_is_that_of_its_first_endpoint(api: Running) -> None:
    async def put(url: object) -> list[str]:
        answer = await api.must("PUT", ORGANIZATIONS, {"organization": {"webhook_url": url}})
        shown = answer["organization"]
        assert shown["webhook_url"] == next(iter(shown["webhook_urls"]), None)
        found: list[str] = shown["webhook_urls"]
        return found

    assert await put(None) == []
    assert await put("http://a") == ["http://a"]
    (first,) = (await api.must("GET", "/api/v1/webhook_endpoints"))["webhook_endpoints"]
    second = {"webhook_endpoint": {"webhook_url": "http://b"}}
    await api.must("POST", "/api/v1/webhook_endpoints", second)
    assert await put("http://c") == ["http://c", "http://b"]
    one = f"/api/v1/webhook_endpoints/{first['lago_id']}"
    assert (await api.must("GET", one))["webhook_endpoint"]["webhook_url"] == "http://c"
    for url, codes in (
        ("http://b", ["value_already_exist"]),
        ("x", ["url_invalid"]),
        (None, ["value_is_mandatory", "url_invalid"]),
    ):
        answer = await api.call("PUT", ORGANIZATIONS, {"organization": {"webhook_url": url}})
        assert (answer.status, answer.body["error_details"]) == (422, {"webhook_url": codes})


async def test_what_is_refused(api: Running) -> None:
    for method, path, root in (("PUT", ORGANIZATIONS, "organization"), ("PUT", ENTITY, "x")):
        assert (await api.call(method, path, {})).status == 400, root
    answer = await api.call("PUT", ORGANIZATIONS, {"organization": {"timezone": "Mars/Base"}})
    assert (answer.status, answer.body["error_details"]) == (
        422,
        {"timezone": ["invalid_timezone"]},
    )
    for days in (-1, "x"):
        answer = await api.call("PUT", ENTITY, {"billing_entity": {"invoice_grace_period": days}})
        wrong = {"invoice_grace_period": ["value_is_out_of_range"]}
        assert (answer.status, answer.body["error_details"]) == (422, wrong)
    for method, body in (("GET", None), ("PUT", {"billing_entity": {"city": "x"}})):
        answer = await api.call(method, f"{ENTITIES}/other", body)
        assert (answer.status, answer.body["code"]) == (404, "billing_entity_not_found")
    answer = await api.call("POST", ENTITIES, {"billing_entity": {"code": "x"}})
    assert (answer.status, answer.body["code"]) == (403, "feature_unavailable")
    for path, resource in ((ORGANIZATIONS, "organization"), (ENTITY, "billing_entity")):
        answer = await api.call("PUT", path, {resource: {"city": "x"}}, key="reader")
        assert answer.body["code"] == f"write_action_not_allowed_for_{resource}"
        assert (await api.call("GET", path, key="reader")).status == 200


async def test_it_began_with_the_oldest_of_what_it_has_and_no_other_customer_is_looked_at(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, later = "2024-03-15T12:00:00Z", "2024-03-15T12:00:07Z"
    for number in range(9):
        customer = {"customer": {"external_id": f"c{number}"}}
        await api.must("POST", "/api/v1/customers", customer)
        if number == 0:
            api.meter.clock.now_ms += 7_000
    looked_at: list[int] = []
    packed = api.meter.definitions.customer_index.versions
    newest = packed.newest  # type: ignore[attr-defined]

    def noted(number: int) -> Any:
        looked_at.append(number)
        return newest(number)

    monkeypatch.setattr(packed, "newest", noted)
    assert (await organization(api))["created_at"] == began
    assert looked_at == [0]
    await api.must("DELETE", "/api/v1/customers/c0")
    assert (await entity(api))["created_at"] == later
    assert len(looked_at) == 2
    for number in range(1, 9):
        await api.must("DELETE", f"/api/v1/customers/c{number}")
    assert (await organization(api))["created_at"] == began
    for code in ("p", "q"):
        await api.make_plan(code)
        api.meter.clock.now_ms += 1_000
    await api.make_metric("m", "count_agg")
    assert (await organization(api))["created_at"] == later


async def test_a_customer_and_its_subscription_show_what_applies(api: Running) -> None:
    await api.make_plan("p")
    await api.subscribe("s", "p")

    async def shown() -> tuple[Any, ...]:
        customer = (await api.must("GET", "/api/v1/customers/c"))["customer"]
        subscription = (await api.must("GET", "/api/v1/subscriptions/s"))["subscription"]
        ending_at = subscription["current_billing_period_ending_at"]
        return customer["timezone"], customer["applicable_timezone"], ending_at

    assert await shown() == (None, "UTC", "2024-03-31T23:59:59Z")
    await api.must("PUT", ORGANIZATIONS, {"organization": {"timezone": "Europe/Paris"}})
    assert await shown() == (None, "Europe/Paris", "2024-03-31T21:59:59Z")
    own = {"external_id": "c", "timezone": "UTC"}
    await api.must("POST", "/api/v1/customers", {"customer": own})
    assert await shown() == ("UTC", "UTC", "2024-03-31T23:59:59Z")


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/api/v1/organizations", ORGANIZATIONS),
        ("/api/v1/billing_entities", ENTITIES),
        ("/api/v1/billing_entities/{code}", ENTITY),
    ],
)
async def test_answers_are_as_described(api: Running, template: str, path: str) -> None:
    document = (await api.call("GET", "/openapi.json", key=None)).body
    described = document["paths"][template]["get"]["responses"]["200"]["content"]
    schema = described["application/json"]["schema"]
    answer = await api.must("GET", path)
    Draft202012Validator({**schema, "components": document["components"]}).validate(answer)
