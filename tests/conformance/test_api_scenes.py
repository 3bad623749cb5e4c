"""Scenes of API vectors: what their words make."""

from __future__ import annotations

import json

import pytest

from tests.conformance.api_scenes import Scene, scene_of
from tests.conformance.api_states import arrangement_of
from tests.conformance.files import VECTORS


def told(state: str) -> Scene:
    scene = scene_of(state)
    assert scene is not None
    return scene


def test_a_plan_with_charges_and_events_of_two_periods() -> None:
    scene = told(
        "USD weekly anniversary plan, in advance; charge A package 10 on sum metric a (gb) with "
        "pricing_group_keys [cloud]; charge B volume on count metric b; acme of inc started "
        "2024-01-02; 2 events b now; events this period a: aws 4, gcp 6; previous period a: x 5"
    )
    assert (scene.plan["amount_currency"], scene.plan["interval"]) == ("USD", "weekly")
    assert scene.plan["pay_in_advance"] is True
    assert [(name, code, c["charge_model"]) for name, code, c in scene.charges] == [
        ("A", "a", "package"),
        ("B", "b", "volume"),
    ]
    assert scene.metrics["a"]["field_name"] == "gb"
    assert scene.subscription == {
        "billing_time": "anniversary",
        "external_id": "acme",
        "external_customer_id": "inc",
        "subscription_at": "2024-01-02T00:00:00Z",
    }
    assert scene.events == [
        ("b", {}),
        ("b", {}),
        ("a", {"gb": 4, "cloud": "aws"}),
        ("a", {"gb": 6, "cloud": "gcp"}),
    ]
    assert scene.earlier == [("a", {"gb": 5, "cloud": "x"})]


def test_filters_and_the_events_of_each() -> None:
    scene = told("sum metric, filters tier x zone: a/eu 1, b/eu 2; events 1 a-eu, 2 c-us")
    ((_, code, charge),) = scene.charges
    assert [each["values"] for each in charge["filters"]] == [
        {"tier": ["a"], "zone": ["eu"]},
        {"tier": ["b"], "zone": ["eu"]},
    ]
    assert scene.metrics[code]["filters"] == [
        {"key": "tier", "values": ["a", "b"]},
        {"key": "zone", "values": ["eu"]},
    ]
    other = (code, {"tier": "c", "zone": "us", "units": 1})
    assert scene.events == [(code, {"tier": "a", "zone": "eu", "units": 1}), other, other]


@pytest.mark.parametrize("state", ["the moon is full", "no events", "monthly plan; the moon"])
def test_what_is_not_understood_is_not_arranged(state: str) -> None:
    assert arrangement_of(state) is None


def test_every_state_of_the_vectors_is_understood() -> None:
    told_elsewhere = ("clock frozen at ", "API key whose", "metric code private exists")
    states = {
        step["state"]
        for vector in json.loads((VECTORS / "api.json").read_text())
        for step in vector["setup"]
        if "state" in step and not step["state"].startswith(told_elsewhere)
    }
    assert [state for state in sorted(states) if arrangement_of(state) is None] == []
