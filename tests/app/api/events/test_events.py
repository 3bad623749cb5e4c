"""Events over HTTP: what is checked, echoed, refused, and what goes into the log."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from app.api.events.event_input import EventFields, InvalidEvent, read_event
from app.wire.decode import decode_record
from app.wire.encode import record_value
from tests.app.api.conftest import NOW_MS, Answer, Running
from tests.app.api.ledger import ORGANIZATION

EVENT = {"transaction_id": "t", "external_subscription_id": "s", "code": "c"}
TAKEN = {"transaction_id": ["value_already_exist"]}
TEN_YEARS_S = 3652 * 86_400
NOW_S = NOW_MS // 1000


def fields(body: str) -> EventFields:
    return msgspec.json.decode(body.encode(), type=EventFields)


def with_(**more: str) -> str:
    """An event's JSON, given fields as literals."""
    literals = {key: json.dumps(value) for key, value in EVENT.items()} | more
    return "{" + ",".join(f'"{key}":{literal}' for key, literal in literals.items()) + "}"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (
            "{}",
            {
                "transaction_id": ["value_is_mandatory"],
                "code": ["value_is_mandatory"],
                "external_subscription_id": ["value_is_mandatory"],
            },
        ),
        (with_(transaction_id='" \\t"'), {"transaction_id": ["value_is_mandatory"]}),
        (with_(code=f'"{"c" * 1025}"'), {"code": ["value_is_too_long"]}),
        (with_(code="null"), {"code": ["value_is_mandatory"]}),
        (with_(code="[]"), {"code": ["value_is_invalid"]}),
        (with_(transaction_id='"t\\u0000"'), {"transaction_id": ["value_is_invalid"]}),
        (with_(code='"\\u0000"'), {"code": ["value_is_invalid"]}),
        (
            with_(external_subscription_id='"\\u0000s"'),
            {"external_subscription_id": ["value_is_invalid"]},
        ),
        (with_(code="true"), {"code": ["value_is_invalid"]}),
        (with_(timestamp='""'), {"timestamp": ["invalid_format"]}),
        (with_(timestamp='"abc"'), {"timestamp": ["invalid_format"]}),
        (with_(timestamp='"1e9"'), {"timestamp": ["invalid_format"]}),
        (with_(timestamp='" 12 "'), {"timestamp": ["invalid_format"]}),
        (with_(timestamp='"1_000"'), {"timestamp": ["invalid_format"]}),
        (with_(timestamp='"5."'), {"timestamp": ["invalid_format"]}),
        (with_(timestamp='".5"'), {"timestamp": ["invalid_format"]}),
        (with_(timestamp='"0x10"'), {"timestamp": ["invalid_format"]}),
        (with_(timestamp='"2023-11-14T22:13:20Z"'), {"timestamp": ["invalid_format"]}),
        (with_(timestamp="true"), {"timestamp": ["invalid_format"]}),
        (with_(timestamp="{}"), {"timestamp": ["invalid_format"]}),
        (with_(timestamp="-1"), {"timestamp": ["value_is_out_of_range"]}),
        (with_(timestamp="1700000000000"), {"timestamp": ["value_is_out_of_range"]}),
        (with_(timestamp="1e999999999"), {"timestamp": ["value_is_out_of_range"]}),
        (with_(timestamp=str(NOW_S + TEN_YEARS_S + 1)), {"timestamp": ["value_is_out_of_range"]}),
        (with_(properties="[1]"), {"properties": ["value_is_invalid"]}),
        (with_(properties='"x"'), {"properties": ["value_is_invalid"]}),
        (
            with_(precise_total_amount_cents=f'"{"9" * 39}"'),
            {"precise_total_amount_cents": ["value_is_not_valid_number"]},
        ),
        (
            with_(precise_total_amount_cents="1e40"),
            {"precise_total_amount_cents": ["value_is_not_valid_number"]},
        ),
        (
            with_(precise_total_amount_cents="false"),
            {"precise_total_amount_cents": ["value_is_not_valid_number"]},
        ),
    ],
)
def test_refused_fields(body: str, errors: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidEvent) as raised:
        read_event(fields(body), NOW_MS)
    assert raised.value.errors == errors


@pytest.mark.parametrize(
    ("literal", "expected_ms"),
    [
        ("null", None),
        ("0", 0),
        ("1700000000", 1_700_000_000_000),
        ("1e9", 1_000_000_000_000),
        ("1693842312.344", 1_693_842_312_344),
        ("1693842312.3449999", 1_693_842_312_344),
        ('"1693842312.344"', 1_693_842_312_344),
        ('"+5"', 5_000),
        (str(NOW_S + TEN_YEARS_S), (NOW_S + TEN_YEARS_S) * 1000),
    ],
)
def test_timestamps(literal: str, expected_ms: int | None) -> None:
    assert read_event(fields(with_(timestamp=literal)), NOW_MS).timestamp_ms == expected_ms


def test_numbers_are_cast_to_text_where_text_is_wanted() -> None:
    event = read_event(fields(with_(transaction_id="12", code="1.50")), NOW_MS)
    assert (event.transaction_id, event.code) == ("12", "1.50")


@pytest.mark.parametrize(
    ("literal", "amount"),
    [('"x"', "0.0"), ('" 1"', "0.0"), ('".5"', "0.5"), ('"1e2"', "100.0")],
)
async def test_an_amount_that_is_no_decimal_is_stored_as_0(
    api: Running, literal: str, amount: str
) -> None:
    answer = await send(api, precise_total_amount_cents=json.loads(literal))
    assert answer.status == 200
    assert answer.body["event"]["precise_total_amount_cents"] == amount
    ((event, _),) = api.meter.taken.values()
    assert event.precise_total_amount_cents == Decimal(amount)
    assert f'"precise_total_amount_cents":"{amount}"'.encode() in record_value("o", [event], NOW_MS)


@pytest.mark.parametrize("literal", ["null", '""', '" "'])
def test_a_blank_amount_is_none(literal: str) -> None:
    event = read_event(fields(with_(precise_total_amount_cents=literal)), NOW_MS)
    assert event.precise_total_amount_cents is None


@pytest.mark.parametrize("literal", ["null", "[]", "[ ]", '""', "{}"])
def test_properties_without_entries_may_be_an_empty_list(literal: str) -> None:
    event = read_event(fields(with_(properties=literal)), NOW_MS)
    assert bytes(event.properties) == b"{}"


def test_the_record_decodes_to_the_same_event() -> None:
    body = with_(
        timestamp="1e9",
        properties='{"a": 1e6, "b": 1.50, "c": "é", "d": 12345678901234567890.123456789}',
        precise_total_amount_cents='"12.30"',
    )
    event = read_event(fields(body), NOW_MS)
    ((index, decoded),) = decode_record(record_value(ORGANIZATION, [event], NOW_MS))
    assert index == 0
    assert decoded.organization_id == ORGANIZATION  # type: ignore[union-attr]
    for name in ("transaction_id", "code", "external_subscription_id", "timestamp_ms"):
        assert getattr(decoded, name) == getattr(event, name)
    assert decoded.precise_total_amount_cents == Decimal("12.3")  # type: ignore[union-attr]
    properties = bytes(decoded.properties)  # type: ignore[union-attr]
    for spelling in (b"1e6", b"1.50", b"12345678901234567890.123456789"):
        assert spelling in properties


def test_several_events_are_one_array() -> None:
    events = [read_event(fields(with_(transaction_id=f'"{n}"')), NOW_MS) for n in range(3)]
    decoded = decode_record(record_value(ORGANIZATION, events, NOW_MS))
    assert [found.transaction_id for _, found in decoded] == ["0", "1", "2"]  # type: ignore[union-attr]


async def send(api: Running, path: str = "events", **more: Any) -> Answer:
    return await api.call("POST", f"/api/v1/{path}", {"event": EVENT | more})


async def batch(api: Running, *events: Any, query: str = "") -> Answer:
    return await api.call("POST", f"/api/v1/events/batch{query}", {"events": list(events)})


async def test_answer_shows_numbers_as_they_were_spelled(api: Running) -> None:
    body = f'{{"event":{with_(properties=chr(123) + chr(34) + "a" + chr(34) + ": 1.50e3}")}}}'
    answer = await api.call("POST", "/api/v1/events", body.encode())
    assert "1.50e3" in answer.text
    shown = await api.call("GET", "/api/v1/events/t")
    assert "1.50e3" in shown.text
    assert shown.body == answer.body


async def test_position_can_be_waited_for(api: Running) -> None:
    answer = await send(api)
    assert answer.headers["Meter-Position"] == "0:0"
    path = "/api/v1/customers/x/past_usage?external_subscription_id=s&wait_for="
    assert (await api.call("GET", path + "0:0")).status == 200
    late = await api.call("GET", path + "0:1")
    assert (late.status, late.headers["Retry-After"]) == (503, "1")
    for wrong in ("x", "0", "0:", ":1", "-1:0", "0:9999999999999999999", "0:1:2"):
        answer = await api.call("GET", path + wrong)
        assert answer.body["error_details"] == {"wait_for": ["invalid_format"]}
    nowhere = await api.call("GET", path + "1:0")
    assert nowhere.body["error_details"] == {"wait_for": ["value_is_out_of_range"]}


@pytest.mark.parametrize(
    ("again", "kind"),
    [
        pytest.param({}, "identical", id="same"),
        pytest.param({"properties": {"a": 1}}, "conflicting", id="other-properties"),
        pytest.param({"code": "d"}, "conflicting", id="other-code"),
    ],
)
async def test_duplicates(api: Running, again: dict[str, Any], kind: str) -> None:
    assert (await send(api)).status == 200
    answer = await send(api, **again)
    assert (answer.status, answer.body["error_details"]) == (422, TAKEN)
    assert answer.headers["Meter-Duplicate"] == kind
    assert (await send(api, external_subscription_id="other")).status == 200


async def define_expression(api: Running) -> None:
    metric = {
        "name": "m",
        "code": "c",
        "aggregation_type": "sum_agg",
        "field_name": "value",
        "expression": "event.properties.a * 2",
    }
    await api.must("POST", "/api/v1/billable_metrics", {"billable_metric": metric})


async def test_expression_failure_is_a_bare_text(api: Running) -> None:
    await define_expression(api)
    answer = await send(api)
    missing = "expression_evaluation_failed: Variable: a not found"
    assert (answer.status, answer.body["error_details"]) == (422, missing)
    answer = await send(api, properties={"a": "1_000"})
    assert answer.body["error_details"] == "expression_evaluation_failed: Expected a decimal"
    answer = await batch(api, EVENT | {"properties": {"a": 1}}, EVENT | {"transaction_id": "u"})
    assert (answer.status, answer.body["error_details"]) == (422, {"1": missing})
    answer = await batch(api, EVENT)
    assert answer.body["error_details"] == {"0": missing}
    assert api.meter.taken == {}


@pytest.mark.parametrize(
    ("expression", "properties", "value"),
    [
        ("event.properties.a * 2", {"a": "1e3"}, "2000.0"),
        ("event.properties.a * 2", {"a": "+5"}, "10.0"),
        ("event.properties.a * 2", {"a": ".5"}, "1.0"),
        ("round(2.345, 1.5)", {}, "2.3"),
        ("concat(event.properties.a, '-', event.properties.b)", {"a": "x", "b": None}, "x-"),
        ("concat(event.properties.a, '-', event.properties.b)", {"a": "x"}, None),
        ("event.properties.a / 0", {"a": 1}, None),
    ],
)
async def test_an_expression_is_tried(
    api: Running, expression: str, properties: dict[str, Any], value: str | None
) -> None:
    body = {"expression": expression, "event": {"code": "c", "properties": properties}}
    answer = await api.call("POST", "/api/v1/billable_metrics/evaluate_expression", body)
    if value is None:
        assert (answer.status, answer.body["error_details"]) == (422, {"event": ["invalid_event"]})
    else:
        assert answer.body == {"expression_result": {"value": value}}


async def test_the_log_keeps_properties_without_the_result(api: Running) -> None:
    await define_expression(api)
    answer = await send(api, properties={"a": "1.5"})
    assert answer.body["event"]["properties"] == {"a": "1.5", "value": "3.0"}
    ((event, _),) = api.meter.taken.values()
    assert json.loads(event.properties) == {"a": "1.5"}


async def test_reads_show_the_result_of_the_expression_where_there_is_one(api: Running) -> None:
    assert (await send(api, transaction_id="before", properties={"b": 1})).status == 200
    await define_expression(api)
    await send(api, transaction_id="after", properties={"a": "1.5"})
    shown = (await api.must("GET", "/api/v1/events"))["events"]
    assert {event["transaction_id"]: event["properties"] for event in shown} == {
        "before": {"b": 1},
        "after": {"a": "1.5", "value": "3.0"},
    }
    one = await api.must("GET", "/api/v1/events/after")
    assert one["event"]["properties"] == {"a": "1.5", "value": "3.0"}


@pytest.mark.parametrize(
    ("events", "details"),
    [
        pytest.param([EVENT] * 101, {"events": ["too_many_events"]}, id="too-many"),
        pytest.param([], {"events": ["no_events"]}, id="none"),
        pytest.param(
            [EVENT, 5, None],
            {"1": {"event": ["value_is_invalid"]}, "2": {"event": ["value_is_invalid"]}},
            id="no-objects",
        ),
        pytest.param(
            [EVENT, EVENT | {"timestamp": "x"}],
            {"1": {"timestamp": ["invalid_format"]}},
            id="one-invalid",
        ),
        pytest.param(
            [EVENT, EVENT | {"transaction_id": "u\0"}],
            {"1": {"transaction_id": ["value_is_invalid"]}},
            id="one-that-the-fold-would-refuse",
        ),
        pytest.param([EVENT, EVENT], {"1": TAKEN}, id="repeated"),
        pytest.param(
            [EVENT, EVENT | {"external_subscription_id": "other"}],
            {"1": TAKEN},
            id="repeated-for-another-subscription",
        ),
    ],
)
async def test_refused_batches(api: Running, events: list[Any], details: dict[str, Any]) -> None:
    answer = await batch(api, *events)
    assert (answer.status, answer.body["error_details"]) == (422, details)
    assert api.meter.taken == {}


async def test_a_batch_with_a_known_event_is_refused_whole(api: Running) -> None:
    await send(api)
    answer = await batch(api, EVENT | {"transaction_id": "new"}, EVENT)
    assert (answer.status, answer.body["error_details"]) == (422, {"1": TAKEN})
    assert answer.headers["Meter-Duplicate"] == "identical"
    assert len(api.meter.taken) == 1


async def test_a_conflict_outweighs_identical_duplicates(api: Running) -> None:
    await send(api)
    await send(api, transaction_id="u")
    answer = await batch(api, EVENT, EVENT | {"transaction_id": "u", "code": "d"})
    assert answer.headers["Meter-Duplicate"] == "conflicting"


async def test_partial_acceptance_names_the_others(api: Running) -> None:
    await send(api)
    answer = await batch(
        api,
        EVENT,
        EVENT | {"transaction_id": "new"},
        EVENT | {"transaction_id": "bad", "timestamp": "x"},
        query="?partial=true",
    )
    assert answer.status == 200
    assert [event["transaction_id"] for event in answer.body["events"]] == ["new"]
    assert answer.body["error_details"] == {"0": TAKEN, "2": {"timestamp": ["invalid_format"]}}
    assert len(api.meter.taken) == 2


async def test_partial_acceptance_of_nothing_is_a_422(api: Running) -> None:
    await send(api)
    answer = await batch(api, EVENT, query="?partial=true")
    assert (answer.status, answer.body["error_details"]) == (422, {"0": TAKEN})


async def test_an_element_that_loses_a_race_after_the_append_is_named(api: Running) -> None:
    api.meter.lost_races.add("t")
    answer = await batch(api, EVENT, EVENT | {"transaction_id": "u"})
    assert answer.status == 200
    assert [event["transaction_id"] for event in answer.body["events"]] == ["u"]
    assert answer.body["error_details"] == {"0": TAKEN}
    assert answer.headers["Meter-Duplicate"] == "conflicting"


async def test_losing_every_race_is_a_422(api: Running) -> None:
    api.meter.lost_races |= {"t", "u"}
    for answer in (await batch(api, EVENT), await send(api, transaction_id="u")):
        assert answer.status == 422
        assert answer.headers["Meter-Duplicate"] == "conflicting"


async def test_dry_run_appends_nothing(api: Running) -> None:
    assert (await batch(api, EVENT, query="?dry_run=true")).body == {"events": []}
    assert api.meter.taken == {}
    await send(api)
    answer = await batch(api, EVENT, query="?dry_run=true")
    assert (answer.status, answer.body["error_details"]) == (422, {"0": TAKEN})


async def test_unencoded_ids(api: Running) -> None:
    """Lago's Python client puts ids into the path as they are."""
    await send(api, transaction_id="a/b?c")
    answer = await api.call("GET", "/api/v1/events/a/b?c")
    assert answer.body["event"]["transaction_id"] == "a/b?c"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("timestamp_from=1970-01-01T00:00:20Z", ["t3", "t2"]),
        ("timestamp_to=1970-01-01T00:00:20Z", ["t2", "t1"]),
        ("timestamp_from=1970-01-01&timestamp_to=1970-01-01T00:00:10Z", ["t1"]),
        ("code=d", ["t3"]),
        ("per_page=1&page=2", ["t2"]),
        ("whole=true&per_page=1&page=2", ["t3", "t2", "t1"]),
    ],
)
async def test_listing(api: Running, query: str, found: list[str]) -> None:
    for number, code in ((1, "c"), (2, "c"), (3, "d")):
        await send(api, transaction_id=f"t{number}", timestamp=number * 10, code=code)
    body = await api.must("GET", f"/api/v1/events?{query}")
    assert [event["transaction_id"] for event in body["events"]] == found


@pytest.mark.parametrize(
    ("query", "details"),
    [
        ("timestamp_from=x", {"timestamp_from": ["invalid_date"]}),
        ("timestamp_to=2024-13-01", {"timestamp_to": ["invalid_date"]}),
        (
            "timestamp_from_started_at=maybe",
            {"timestamp_from_started_at": ["must be one of: true, false"]},
        ),
    ],
)
async def test_listing_errors(api: Running, query: str, details: dict[str, Any]) -> None:
    answer = await api.call("GET", f"/api/v1/events?{query}")
    assert (answer.status, answer.body["error_details"]) == (422, details)
