"""Dead letters, alerts and instant records as messages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.definitions import commands
from app.definitions.state import Definitions
from app.kafka.log_readers import LogRecord
from app.kafka.names import TopicPartition
from app.webhooks.message import Message
from app.webhooks.records import alert, event_error, fee
from tests.world.definitions_log import ORG, Log

TP = TopicPartition("events-dead-letter", 3)
NOTHING = Definitions()
WHY = [
    ("meter-organization", b"acme"),
    ("meter-error-code", b"too_late"),
    ("meter-error-message", "zu spät".encode()),
    ("meter-failed-at", b"2024-01-01T00:00:00.000Z"),
]


def record(value: bytes | None, headers: list[tuple[str, bytes]]) -> LogRecord:
    return LogRecord(None, value, headers, 0, 17)


def letter(value: bytes | None, *more: tuple[str, bytes]) -> Message:
    made = event_error(record(value, [*WHY, *more]), TP, NOTHING)
    assert made is not None
    return made


def told(message: Message) -> Any:
    return msgspec.json.decode(message.body)["event_error"]


def test_a_dead_letter_says_why_and_which_event() -> None:
    made = letter(
        b'{"transaction_id":"t","code":"c","external_subscription_id":"s","timestamp":1.5019,'
        b'"precise_total_amount_cents":2.50,"properties":{"gb":12.500000000000000000001}}'
    )
    assert (made.organization_id, made.id, made.lane) == ("acme", "events-dead-letter:3:17", "s")
    error = told(made)
    assert (error["status"], error["error"]) == (422, "Unprocessable entity")
    assert msgspec.json.decode(error["message"]) == {"too_late": ["zu spät"]}
    event = error["event"]
    names = ("transaction_id", "code", "external_subscription_id")
    assert [event[name] for name in names] == ["t", "c", "s"]
    assert event["created_at"] == "2024-01-01T00:00:00Z"
    assert event["timestamp"] == "1970-01-01T00:00:01.501Z"
    assert event["precise_total_amount_cents"] == "2.50"
    assert b'"gb":12.500000000000000000001' in made.body


@pytest.mark.parametrize(
    ("timestamp", "shown"),
    [
        ("1700000000", "2023-11-14T22:13:20.000Z"),
        ('"1700000000.5"', "2023-11-14T22:13:20.500Z"),
        ('"2023-11-14T23:13:20+01:00"', "2023-11-14T22:13:20.000Z"),
        ('"soon"', "soon"),
        ("1e999", 1e999),
        ("null", None),
        ("true", True),
        ("[1]", [1]),
        ("999999999999", 999_999_999_999),
    ],
)
def test_a_time_is_told_as_lago_spells_it_if_it_is_one(timestamp: str, shown: object) -> None:
    made = letter(f'{{"timestamp":{timestamp}}}'.encode())
    if shown == 1e999:
        assert b'"timestamp":1e999' in made.body
    else:
        assert told(made)["event"]["timestamp"] == shown


def test_cloud_events_are_told_by_the_names_of_events() -> None:
    structured = b'{"specversion":"1.0","id":"t","type":"c","subject":"s","data":{"a":1}}'
    binary = letter(
        b'{"a":1}',
        ("ce_specversion", b"1.0"),
        ("ce_id", b"t"),
        ("ce_type", b"c"),
        ("ce_subject", b"s"),
    )
    for made in (letter(structured), binary):
        event = told(made)["event"]
        assert [event[name] for name in ("transaction_id", "code")] == ["t", "c"]
        assert (event["properties"], made.lane) == ({"a": 1}, "s")


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"[1]", b"5", b'{"code":"\xff"}', b"[" * 100_000, b'{"a":' * 5_000]
)
def test_what_is_no_object_is_told_without_an_event(value: bytes | None) -> None:
    event = told(letter(value))["event"]
    assert event["transaction_id"] is None
    assert event["properties"] == {}


def test_a_dead_letter_of_nobody_is_told_nobody() -> None:
    headers = [header for header in WHY if header[0] != "meter-organization"]
    nobody = [*headers, ("meter-organization", b"")]
    assert event_error(record(b"{", nobody), TP, NOTHING) is None


def test_an_alert_is_sent_as_it_stands() -> None:
    value = (
        b'{"webhook_type":"alert.triggered","object_type":"triggered_alert","organization_id":'
        b'"acme","triggered_alert":{"lago_id":"a", "external_subscription_id":"s"}}'
    )
    assert alert(record(value, []), TP, NOTHING) == Message(
        "acme", "alert.triggered", "a", "s", value
    )
    for other in (None, b"{", b'{"webhook_type":"x"}'):
        assert alert(record(other, []), TP, NOTHING) is None


@pytest.mark.parametrize("is_deleted", [False, True])
def test_an_instant_record_is_a_fee_without_a_price(*, is_deleted: bool) -> None:
    log = Log()
    log.plan()
    customer = log.customer()
    subscription = log.subscribe()
    if is_deleted:
        log.accept(commands.delete_customer(ORG, "cust_1"))
        log.customer()
    instant = {
        "type": "usage.instant",
        "id": "record-id",
        "instant_id": "one",
        "organization_id": "acme",
        "external_customer_id": "cust",
        "external_subscription_id": "s",
        "lago_subscription_id": subscription.id,
        "lago_charge_id": "lc",
        "amount_currency": "EUR",
        "billable_metric": {"lago_id": "lm", "code": "api", "name": "API"},
        "charge": {"invoiceable": False},
        "grouped_by": {"region": "eu"},
        "applied_units": "10.0",
        "units_after": "14.0",
        "events_count": 1,
        "event_transaction_id": "t",
        "closed_at": "2024-01-01T00:01:00.000Z",
        "period": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-31T23:59:59Z"},
    }
    headers = [("ce_type", b"usage.instant")]
    made = fee(record(msgspec.json.encode(instant), headers), TP, log.definitions)
    assert made is not None
    assert (made.webhook_type, made.id, made.lane) == ("fee.created", "record-id", "s")
    shown = msgspec.json.decode(made.body)["fee"]
    assert (shown["lago_id"], shown["units"], shown["amount_cents"]) == ("one", "10.0", 0)
    assert (shown["created_at"], shown["event_transaction_id"]) == ("2024-01-01T00:01:00Z", "t")
    assert shown["lago_customer_id"] == customer.id
    assert (shown["pay_in_advance"], shown["invoiceable"]) == (True, False)
    assert shown["item"]["code"] == "api"
    assert shown["item"]["grouped_by"] == {"region": "eu"}
    revised = [("ce_type", b"usage.instant_revised")]
    assert fee(record(msgspec.json.encode(instant), revised), TP, log.definitions) is None
    unknown = fee(record(msgspec.json.encode(instant), headers), TP, NOTHING)
    assert unknown is not None
    assert b'"lago_customer_id":null' in unknown.body
