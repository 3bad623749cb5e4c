"""Metrics and plans on the page, without a browser: lists, trial, preview, saving."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from app.meter.evidence import Uncounted
from tests.app.api.conftest import NOW_MS, Running
from tests.app.page.site import LONG, send_event

HEADERS = {"Meter-Page": "1"}
NEW = {"name": "Traffic", "code": "traffic", "aggregation_type": "sum_agg", "field_name": "gb"}
Fields = dict[str, str] | list[tuple[str, str]]


async def step(
    api: Running, name: str, fields: Fields, *, new: bool = True, key: str = "full"
) -> tuple[int, str, str | None]:
    """Take a step of the form; return status, text and what is replaced instead, if anything."""
    address = f"/page/metric/{name}{'?new=yes' if new else ''}"
    body = urlencode(fields).encode()
    answer = await api.call("POST", address, body, key=key, headers=HEADERS)
    return answer.status, answer.text, answer.headers.get("HX-Retarget")


async def test_metrics_and_plans_say_who_uses_them(closed_api: Running) -> None:
    closed_api.meter.uncounted.append(Uncounted("unknown_code", "stroage", 15, NOW_MS, NOW_MS, []))
    text = (await closed_api.call("GET", "/page/view/definitions", key="full")).text
    assert '<a href="/definitions/metrics/storage">storage</a>' in text
    assert '<a href="/definitions/plans/pro">pro</a>' in text
    assert '<a href="/definitions/new-metric?code=stroage">stroage</a>: 15 events' in text
    assert 'hx-get="/page/part/changes"' in text
    text = (await closed_api.call("GET", "/page/part/changes", key="full")).text
    assert "create billable metric" in text
    text = (await closed_api.call("GET", "/page/part/changes", key="other")).text
    assert "create billable metric" not in text
    text = (await closed_api.call("GET", "/page/view/definitions/plans/pro", key="full")).text
    assert "region=eu" in text
    text = (await closed_api.call("GET", "/page/view/definitions", key="other")).text
    assert "storage" not in text
    assert "acme" not in text


async def test_a_metric_that_a_plan_uses_shows_what_is_locked_and_why(closed_api: Running) -> None:
    address = "/page/view/definitions/metrics/storage"
    text = (await closed_api.call("GET", address, key="full")).text
    assert "A plan uses it: only name, description and filters can change." in text
    assert 'name="field_name" value="gb" readonly' in text
    assert 'name="name" value="storage" autocomplete' in text
    assert (await closed_api.call("GET", address, key="other")).status == 404


@pytest.mark.parametrize(
    ("expression", "example", "told"),
    [
        pytest.param(
            "event.properties.gb * 2",
            '{"properties": {"gb": 2.5}}',
            "<strong>5.0</strong>",
            id="ok",
        ),
        pytest.param("event.properties.gb *", "{}", "The expression is wrong", id="no-expression"),
        pytest.param("1 +* 2", "{}", "line 1", id="place"),
        pytest.param("event.properties.gb", "{}", "It has no value for this event", id="missing"),
        pytest.param("1", "no", "The example is no event", id="no-example"),
        pytest.param("", "{}", "Type an expression", id="nothing"),
    ],
)
async def test_an_expression_is_tried_while_it_is_typed(
    closed_api: Running, expression: str, example: str, told: str
) -> None:
    fields = {**NEW, "expression": expression, "example": example}
    status, text, _ = await step(closed_api, "try", fields)
    assert (status, told in text) == (200, True), text


async def test_errors_stand_at_their_fields(closed_api: Running) -> None:
    for name in ("preview", "save"):
        status, text, instead = await step(closed_api, name, {**NEW, "field_name": ""})
        assert (status, instead) == (200, "#metric")
        assert '<small id="field_name-error" class="bad">value is mandatory</small>' in text
        assert 'value="Traffic"' in text
    assert "traffic" not in (await closed_api.call("GET", "/api/v1/billable_metrics")).text


async def test_a_metric_is_previewed_and_saved_with_filters(closed_api: Running) -> None:
    filters = [("filter_key", "region"), ("filter_values", "eu\nus"), ("filter_key", "")]
    fields = [*NEW.items(), ("recurring", "on"), *filters, ("filter_values", "")]
    closed_api.meter.uncounted.append(Uncounted("unknown_code", "traffic", 7, NOW_MS, NOW_MS, []))
    _, text, _ = await step(closed_api, "filter", fields)
    assert text.count('name="filter_key"') == 3
    _, text, _ = await step(closed_api, "preview", fields)
    assert "7 events of this code came and were not counted" in text
    assert "No figure changes." in text
    _, text, _ = await step(closed_api, "save", fields)
    assert 'Saved: <a href="/definitions/metrics/traffic">traffic</a>.' in text
    answer = await closed_api.must("GET", "/api/v1/billable_metrics/traffic")
    made = answer["billable_metric"]
    assert (made["recurring"], made["filters"]) == (
        True,
        [{"key": "region", "values": ["eu", "us"]}],
    )


async def test_a_metric_in_use_changes_its_name_and_published_periods_follow(
    closed_api: Running,
) -> None:
    await send_event(closed_api, "sub_1", "storage", transaction_id="x", properties={"gb": "1"})
    fields = {
        "name": "Store",
        "code": "storage",
        "from": "2024-01-01",
        "aggregation_type": "max_agg",
    }
    _, text, _ = await step(closed_api, "preview", fields, new=False)
    assert "What changes" in text
    address = "/page/metric/save?revise=yes"
    body = urlencode(fields).encode()
    answer = await closed_api.call("POST", address, body, key="full", headers=HEADERS)
    assert "Revisions come at the next cut." in answer.text
    made = (await closed_api.must("GET", "/api/v1/billable_metrics/storage"))["billable_metric"]
    assert (made["name"], made["aggregation_type"]) == ("Store", "sum_agg")
    assert [command.type for _, _, command in closed_api.meter.commands[-2:]] == [
        "update_billable_metric",
        "history",
    ]


async def test_nobody_writes_without_leave(closed_api: Running) -> None:
    assert (await step(closed_api, "save", NEW, key="reader"))[0] == 403
    answer = await closed_api.call("POST", "/page/metric/save?new=yes", b"name=x", key="full")
    assert answer.status == 403
    assert "traffic" not in (await closed_api.call("GET", "/api/v1/billable_metrics")).text


async def test_an_example_is_chosen_among_the_events_that_came(closed_api: Running) -> None:
    await send_event(closed_api, "sub_9", "storage", key="other", transaction_id="theirs")
    _, text, _ = await step(closed_api, "examples", {"code": "storage"}, new=False)
    event = f'"properties":{{"gb":"{LONG}'
    assert text.count("<option") == 2
    assert event in text
    _, text, _ = await step(closed_api, "example", {"chosen": '{"properties": {"gb": 7}}'})
    assert '{"properties": {"gb": 7}}</textarea>' in text
    assert 'hx-trigger="load, input changed delay:300ms"' in text
    _, text, _ = await step(closed_api, "examples", {"code": "none"})
    assert "No event of this code" in text
