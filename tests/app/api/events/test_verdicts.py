"""`POST /events/verdicts`: what became of events, by their ids."""

from __future__ import annotations

from typing import Any

from app.bounds.limits import COMPARED_BYTES
from tests.app.api.conftest import Running

PATH = "/api/v1/events/verdicts"


async def sent(api: Running) -> dict[str, Any]:
    event = {
        "transaction_id": "t1",
        "external_subscription_id": "s",
        "code": "c",
        "timestamp": "1767225600.5",
        "properties": {"gb": 1.10, "kind": "a"},
    }
    await api.must("POST", "/api/v1/events", {"event": event})
    return event


async def test_verdicts_are_in_the_order_asked(api: Running) -> None:
    event = await sent(api)
    identity = {"external_subscription_id": "s", "transaction_id": "t1"}
    asked = [
        {**identity, "transaction_id": "t0"},
        identity,
        event,
        {**identity, "code": "other", "timestamp": 1767225601, "properties": {"gb": "1.1"}},
        {**identity, "timestamp": "2026-01-01T00:00:00.500Z", "properties": {"gb": 1.1}},
    ]
    found = (await api.must("POST", PATH, {"events": asked}))["verdicts"]
    assert [one["verdict"] for one in found] == [
        "missing",
        "counted",
        "counted",
        "differs",
        "counted",
    ]
    assert found[3]["differs"] == ["code", "timestamp", "properties.gb"]
    assert found[0]["event"] is None
    assert found[1]["event"]["code"] == "c"


async def test_long_properties_differ_where_their_bytes_do(api: Running) -> None:
    """To compare what they say would hold the loop."""
    properties = {"a": 1.0, "long": "x" * COMPARED_BYTES}
    event = {
        "transaction_id": "t1",
        "external_subscription_id": "s",
        "code": "c",
        "properties": properties,
    }
    await api.must("POST", "/api/v1/events", {"event": event})
    identity = {"external_subscription_id": "s", "transaction_id": "t1"}
    asked = [{**identity, "properties": {**properties, "a": a}} for a in (1.0, 1, "1.0")]
    found = (await api.must("POST", PATH, {"events": asked}))["verdicts"]
    assert [one["differs"] for one in found] == [[], ["properties.a"], ["properties.a"]]


async def test_reading_suffices_and_the_number_is_bounded(api: Running) -> None:
    one = {"external_subscription_id": "s", "transaction_id": "t"}
    reader = await api.call("POST", PATH, {"events": [one]}, key="reader")
    assert reader.status == 200
    for body in (b"", b"{}"):
        nothing = await api.call("POST", PATH, body)
        assert (nothing.status, nothing.body["error_details"]) == (422, {"events": ["no_events"]})
    assert (await api.call("POST", PATH, b'{"events":[{')).status == 400
    for events, code in (
        ([], "no_events"),
        ([one] * 101, "too_many_events"),
        ([{"transaction_id": 5}], "value_is_invalid"),
    ):
        refused = await api.call("POST", PATH, {"events": events})
        assert (refused.status, refused.body["error_details"]) == (422, {"events": [code]})
