"""The form of a plan, without a browser: what it keeps, what it changes, and what is refused."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.app.api.conftest import Running
from tests.world import bodies

HEADERS = {"Meter-Page": "1"}
Fields = list[tuple[str, str]]


def fields_of(text: str) -> Fields:
    """What a browser would send of the form that is shown."""
    found: Fields = []
    for tag, rest in re.findall(r"<(input|textarea|select)([^>]*>)", text):
        named = re.search(r' name="([^"]*)"', rest)
        if named is None:
            continue
        place = text.index(f"<{tag}{rest}") + len(tag) + len(rest) + 1
        if tag == "textarea":
            value = text[place : text.index("</textarea>", place)]
        elif tag == "select":
            chosen = re.search(
                r'value="([^"]*)" selected', text[place : text.index("</select>", place)]
            )
            value = chosen[1] if chosen else ""
        elif 'type="checkbox"' in rest:
            if " checked" not in rest:
                continue
            value = "on"
        else:
            value = (re.search(r' value="([^"]*)"', rest) or ["", ""])[1]
        found.append((unescape(named[1]), unescape(value)))
    return found


async def step(
    api: Running, name: str, fields: Fields, *, new: bool = False, key: str = "full"
) -> tuple[int, str]:
    address = f"/page/plan/{name}{'?new=yes' if new else ''}"
    answer = await api.call("POST", address, urlencode(fields).encode(), key=key, headers=HEADERS)
    return answer.status, answer.text


def changed(fields: Fields, **values: str) -> Fields:
    """The same with other values; a name as `groups_0` stands for `groups-0`."""
    other = {name.replace("_0", "-0").replace("_1", "-1"): text for name, text in values.items()}
    kept = [(name, other.pop(name, value)) for name, value in fields]
    return [*kept, *other.items()]


async def plan_of(api: Running, code: str) -> Any:
    return (await api.must("GET", f"/api/v1/plans/{code}"))["plan"]


async def form_of(api: Running, code: str) -> Fields:
    address = f"/page/view/definitions/plans/{code}/edit"
    answer = await api.call("GET", address, key="full")
    assert answer.status == 200
    return fields_of(answer.text)


async def test_a_plan_is_made_previewed_and_saved(closed_api: Running) -> None:
    text = (await closed_api.call("GET", "/page/view/definitions/new-plan", key="full")).text
    assert '<option value="storage"></option>' in text
    fields = changed(
        fields_of(text),
        name="Basic",
        code="basic",
        metric_0="storage",
        groups_0="region, zone",
        filters_0="region=eu|us\n\nregion=us",
    )
    _, text = await step(closed_api, "preview", fields, new=True)
    assert "What changes" in text
    assert (await closed_api.call("GET", "/api/v1/plans/basic")).status == 404
    _, text = await step(closed_api, "save", fields, new=True)
    assert 'Saved: <a href="/definitions/plans/basic">basic</a>.' in text
    (charge,) = (await plan_of(closed_api, "basic"))["charges"]
    assert charge["properties"]["pricing_group_keys"] == ["region", "zone"]
    values = [each["values"] for each in charge["filters"]]
    assert values == [{"region": ["eu", "us"]}, {"region": ["us"]}]
    groups = [each["properties"]["pricing_group_keys"] for each in charge["filters"]]
    assert groups == [["region", "zone"]] * 2


async def test_what_the_form_does_not_show_stays_as_it_is(closed_api: Running) -> None:
    priced = await plan_of(closed_api, "pro")
    await step(closed_api, "save", await form_of(closed_api, "pro"))
    assert await plan_of(closed_api, "pro") == priced
    charge = bodies.charge("storage", charge_model="graduated")
    charge["properties"] = {
        "graduated_ranges": [
            {"from_value": 0, "to_value": None, "per_unit_amount": "7", "flat_amount": "1"}
        ],
        "grouped_by": ["region"],
    }
    charge["invoice_display_name"] = "Storage, all of it"
    charge["filters"] = [
        {
            "values": {"region": ["eu"]},
            "properties": charge["properties"] | {"grouped_by": []},
            "invoice_display_name": "Europe",
        }
    ]
    await closed_api.must("POST", "/api/v1/plans", {"plan": bodies.plan("rich", [charge])})
    before = await plan_of(closed_api, "rich")
    _, text = await step(closed_api, "save", await form_of(closed_api, "rich"))
    assert "Saved" in text
    assert await plan_of(closed_api, "rich") == before
    fields = changed(await form_of(closed_api, "rich"), name="Richer", filters_0="region=us")
    await step(closed_api, "save", fields)
    after = await plan_of(closed_api, "rich")
    assert after["name"] == "Richer"
    (kept,) = after["charges"]
    (was,) = before["charges"]
    assert kept["lago_id"] == was["lago_id"]
    assert kept["properties"] == was["properties"]
    assert [each["values"] for each in kept["filters"]] == [{"region": ["us"]}]


async def test_charges_come_and_go(closed_api: Running) -> None:
    fields = await form_of(closed_api, "pro")
    _, text = await step(closed_api, "charge", fields)
    fields = changed(fields_of(text), metric_1="storage", prorated_1="on")
    status, text = await step(closed_api, "save", fields)
    assert (status, "prorated: invalid billable metric or charge model" in text) == (200, True)
    fields = [pair for pair in fields_of(text) if pair[0] != "prorated-1"]
    await step(closed_api, "save", fields)
    first, second = (await plan_of(closed_api, "pro"))["charges"]
    fields = changed(await form_of(closed_api, "pro"), removed_0="on")
    await step(closed_api, "save", fields)
    (left,) = (await plan_of(closed_api, "pro"))["charges"]
    assert left["lago_id"] in (first["lago_id"], second["lago_id"])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"metric_0": "nothing"}, "plan: billable metrics not found"),
        ({"name": ""}, "name: value is mandatory"),
        ({"amount_currency": "shells"}, "amount_currency: value is invalid"),
    ],
)
async def test_what_is_wrong_is_told(
    closed_api: Running, values: dict[str, str], told: str
) -> None:
    text = (await closed_api.call("GET", "/page/view/definitions/new-plan", key="full")).text
    start = {"name": "Basic", "code": "basic", "metric_0": "storage"}
    fields = changed(fields_of(text), **(start | values))
    for name in ("preview", "save"):
        status, text = await step(closed_api, name, fields, new=True)
        assert (status, told in text) == (200, True), text


async def test_only_who_may_write_changes_a_plan(closed_api: Running) -> None:
    before = await plan_of(closed_api, "pro")
    fields = changed(await form_of(closed_api, "pro"), name="Mine")
    assert (await step(closed_api, "save", fields, key="reader"))[0] == 403
    body = urlencode(fields).encode()
    answer = await closed_api.call("POST", "/page/plan/save", body, key="full")
    assert answer.status == 403
    text = (await step(closed_api, "save", fields, key="other"))[1]
    assert "plan: plan not found" in text
    assert await plan_of(closed_api, "pro") == before


async def test_published_periods_follow_a_plan_if_so_asked(closed_api: Running) -> None:
    fields = changed(await form_of(closed_api, "pro"), groups_0="region")
    body = urlencode([*fields, ("from", "2024-01-01")]).encode()
    address = "/page/plan/save?revise=yes"
    answer = await closed_api.call("POST", address, body, key="full", headers=HEADERS)
    assert "Revisions come at the next cut." in answer.text
    (charge,) = (await plan_of(closed_api, "pro"))["charges"]
    update, history = (command for _, _, command in closed_api.meter.commands[-2:])
    assert (update.type, history.type) == ("update_plan", "history")
    assert history.payload["charge_ids"] == [charge["lago_id"]]
