"""`/subscriptions/{external_id}/alerts`, as a client sees them."""

from __future__ import annotations

from typing import Any

from tests.app.api.conftest import Running
from tests.world import bodies

ALERTS = "/api/v1/subscriptions/sub/alerts"


def body(code: str = "low", metric: str = "a") -> dict[str, Any]:
    return {
        "alert_type": "billable_metric_current_usage_units",
        "code": code,
        "name": "seats",
        "billable_metric_code": metric,
        "thresholds": [{"code": "warn", "value": "10"}, {"value": 2.5, "recurring": True}],
    }


async def define(api: Running) -> None:
    for code in ("a", "b"):
        await api.make_metric(code, "sum_agg", field_name="v")
    await api.make_plan("plan", [bodies.charge("a")])
    await api.subscribe("sub", "plan")


async def test_an_alert_is_made_shown_changed_and_deleted(api: Running) -> None:
    await define(api)
    made = (await api.must("POST", ALERTS, {"alert": body()}))["alert"]
    assert made["thresholds"] == [
        {"code": "warn", "value": "10.0", "recurring": False},
        {"code": None, "value": "2.5", "recurring": True},
    ]
    assert (made["direction"], made["previous_value"], made["last_processed_at"]) == (
        "increasing",
        "0.0",
        None,
    )
    assert made["billable_metric"]["code"] == "a"
    assert (await api.must("GET", f"{ALERTS}/low"))["alert"] == made
    change = {"alert": {"name": "other", "thresholds": [{"value": 1}]}}
    changed = (await api.must("PUT", f"{ALERTS}/low", change))["alert"]
    assert (changed["name"], changed["thresholds"][0]["value"]) == ("other", "1.0")
    assert (await api.must("DELETE", f"{ALERTS}/low"))["alert"] == changed
    for method in ("GET", "DELETE"):
        answer = await api.call(method, f"{ALERTS}/low")
        assert (answer.status, answer.body["code"]) == (404, "alert_not_found")


async def test_several_are_made_at_once_listed_and_deleted_together(api: Running) -> None:
    await define(api)
    both = [body(), body("high", "b")]
    made = (await api.must("POST", ALERTS, {"alerts": both}))["alerts"]
    listed = await api.must("GET", f"{ALERTS}?per_page=1")
    assert [one["code"] for one in listed["alerts"]] == ["high"]
    assert listed["meta"]["total_count"] == len(made) == 2
    gone = await api.call("DELETE", ALERTS)
    assert (gone.status, gone.text) == (200, "")
    assert (await api.must("GET", ALERTS))["alerts"] == []


async def test_what_is_wrong_of_a_list_is_told_by_its_place(api: Running) -> None:
    await define(api)
    answer = await api.call("POST", ALERTS, {"alerts": [body(), {**body("x"), "thresholds": []}]})
    assert answer.status == 422
    told = answer.body["error_details"]["1"]
    assert told["errors"] == {"thresholds": ["value_is_mandatory"]}
    assert told["params"]["code"] == "x"


async def test_root_subscription_and_rights_are_checked(api: Running) -> None:
    await define(api)
    assert (await api.call("POST", ALERTS, {})).status == 400
    for path in ("/api/v1/subscriptions/none/alerts", f"{ALERTS}?subscription_status=pending"):
        answer = await api.call("GET", path)
        assert (answer.status, answer.body["code"]) == (404, "subscription_not_found")
    assert (await api.call("GET", ALERTS, key="other")).status == 404
    assert (await api.call("POST", ALERTS, {"alert": body()}, key="reader")).status == 403
    assert (await api.call("GET", ALERTS, key="reader")).status == 200
