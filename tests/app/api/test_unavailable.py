"""What Lago sells apart or prices, and this product answers with a clear no."""

from __future__ import annotations

import pytest

from tests.app.api.conftest import Running
from tests.world import bodies

V1 = "/api/v1"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/events_enriched", "endpoint_not_available"),
        ("GET", "/customers/c/portal_url", "feature_unavailable"),
        ("GET", "/analytics/usage", "feature_unavailable"),  # without daily records
        ("POST", "/events/estimate_instant_fees", "feature_unavailable"),
        ("POST", "/events/batch_estimate_instant_fees", "feature_unavailable"),
        ("PUT", "/subscriptions/s/lifetime_usage", "feature_unavailable"),
    ],
)
async def test_forbidden(api: Running, method: str, path: str, code: str) -> None:
    answer = await api.call(method, V1 + path, {} if method != "GET" else None)
    assert answer.status == 403
    assert answer.body == {"status": 403, "error": "Forbidden", "code": code}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/wallets",
        "/wallets/w/top_up",
        "/customers/c/wallets",
        "/customers/c/wallets/w/alerts",
        "/coupons",
        "/applied_coupons",
        "/customers/c/applied_coupons",
        "/invoices",
        "/invoices/preview",
        "/customers/c/invoices",
        "/customers/c/checkout_url",
        "/taxes",
        "/fees",
        "/plans/p/fixed_charges",
        "/plans/p/fixed_charges/f",
        "/plans/p/entitlements",
        "/subscriptions/s/fixed_charges",
        "/subscriptions/s/entitlements/e",
        "/features",
        "/products",
        "/rate_cards",
        "/quotes",
    ],
)
async def test_what_is_not_a_meters_is_not_there(api: Running, method: str, path: str) -> None:
    body = {"fixed_charge": {"code": "f"}} if method in ("POST", "PUT") else None
    answer = await api.call(method, V1 + path, body)
    assert (answer.status, answer.body["code"]) == (404, "resource_not_found")


async def test_a_custom_aggregation_is_refused(api: Running) -> None:
    metrics = f"{V1}/billable_metrics"
    custom = {"billable_metric": bodies.metric("m", "custom_agg")}
    answers = [await api.call("POST", metrics, custom)]
    assert (await api.call("PUT", f"{metrics}/m", custom)).status == 404
    await api.must("POST", metrics, {"billable_metric": bodies.metric("m", "count_agg")})
    answers.append(await api.call("PUT", f"{metrics}/m", custom))
    await api.must("POST", f"{V1}/plans", {"plan": bodies.plan("p", [bodies.charge("m")])})
    answers.append(await api.call("PUT", f"{metrics}/m", custom))
    assert [(a.status, a.body["code"]) for a in answers] == [(403, "feature_unavailable")] * 3


async def test_thresholds_in_money_are_taken_and_none_are_shown(api: Running) -> None:
    thresholds = {"usage_thresholds": [{"amount_cents": 100, "recurring": False}]}
    none: dict[str, list[str]] = {"usage_thresholds": [], "applicable_usage_thresholds": []}
    plan = {"plan": bodies.plan("p") | thresholds}
    for method, path in (("POST", "plans"), ("PUT", "plans/p")):
        answer = await api.must(method, f"{V1}/{path}", plan)
        assert {key: answer["plan"][key] for key in none} == none
    subscription = {"external_customer_id": "c", "plan_code": "p", "external_id": "s"}
    for method, path in (("POST", "subscriptions"), ("PUT", "subscriptions/s")):
        body = {"subscription": subscription | thresholds}
        answer = await api.must(method, f"{V1}/{path}", body)
        assert answer["subscription"]["applicable_usage_thresholds"] == []
