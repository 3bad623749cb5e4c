"""A log that is exported without what no metric reads folds to the same records and usage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.event_lines import EventsFile
from app.definitions.command import Command
from app.definitions.files import read_definitions
from app.kafka.log_readers import LogRecord
from app.offline.export import event_line
from app.offline.redaction import ALWAYS_READ, CannotRedact, names_read, redacted
from app.wire.decode import decode_record
from app.wire.events import MAX_BYTES, Event
from app.wire.grants import digest_of
from tests.rules.golden.digests import digests_of, known_digests
from tests.rules.golden.folds import LOG, LOG_2, Log, folded_offline

SECRET = "Ada Lovelace"


def names_of(log: Log) -> frozenset[str]:
    with log.definitions.open("rb") as file:
        payloads = [Command.decode(line.value or b"").payload for line in read_definitions(file)]
    return ALWAYS_READ.union(names_read(payloads))


def with_secret(value: bytes | None) -> bytes | None:
    """Put into each plain event what nobody reads; the bytes of its numbers stay."""
    if value is None or not value.startswith(b"{") or b'"properties":{' not in value:
        return value
    said = b'"properties":{"person":"%s"' % SECRET.encode()
    empty = b'"properties":{}' in value
    return value.replace(b'"properties":{', said if empty else said + b",")


@pytest.mark.parametrize("log", [LOG, LOG_2], ids=["version 1", "version 2"])
def test_usage_and_records_stay_as_they_are(log: Log, tmp_path: Path) -> None:
    read, lines = names_of(log), list[bytes]()
    with log.events.open("rb") as file, EventsFile(file) as events:
        for line in (line for each in events.logs() for line in each):
            value, headers = redacted(with_secret(line.value), line.headers, read)
            record = LogRecord(None, value, headers, line.append_time_ms, line.offset)
            lines.append(event_line(line.partition, record))
    without = tmp_path / "events.jsonl"
    without.write_bytes(b"".join(line + b"\n" for line in lines))
    assert SECRET.encode() not in without.read_bytes()
    made = {
        log.prefix + kind: rows
        for kind, rows in folded_offline(log._replace(events=without)).items()
    }
    assert digests_of(made).items() <= known_digests().items()


READ = frozenset({"gb", "operation_type"})
NAMES = {"external_subscription_id": "s", "transaction_id": "t", "code": "c"}


def left(value: object, headers: Any = (), read: frozenset[str] = READ) -> Any:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    without, kept = redacted(text, headers, read)
    assert not any(name.startswith("ce_") for name, _ in kept)
    return None if without is None else json.loads(without)


def test_of_an_event_its_identity_and_what_is_read_is_left() -> None:
    event = {**NAMES, "timestamp": 1767225600.25, "properties": {"gb": "1.50", "mail": SECRET}}
    known = {**NAMES, "timestamp": 1767225600.25, "properties": {"gb": "1.50"}}
    assert left({**event, "note": SECRET}) == known
    assert left([event, SECRET, {**event, "code": 7}]) == [known, None, None]


def test_numbers_keep_their_digits() -> None:
    body = (
        b'{"external_subscription_id":"s","transaction_id":"t","code":"c","properties":{"gb":1.50}}'
    )
    without, _ = redacted(body, (), READ)
    assert without is not None
    assert b'"properties":{"gb":1.50}' in without


def test_a_cloudevent_of_headers_becomes_a_plain_one() -> None:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"t"),
        ("ce_type", b"c"),
        ("ce_subject", b"s"),
        ("ce_source", b"/x"),
        ("ce_time", b"2026-01-01T00:00:00.250Z"),
        ("meter-admit", b"true"),
    ]
    value = json.dumps({"gb": 1, "mail": SECRET}).encode()
    without, kept = redacted(value, headers, READ)
    assert kept == [("meter-admit", b"true")]
    (_, before), (_, after) = *decode_record(value, headers), *decode_record(without, kept)
    assert isinstance(before, Event)
    assert isinstance(after, Event)
    assert (after.timestamp_ms, after.transaction_id) == (before.timestamp_ms, "t")
    assert json.loads(after.properties) == {"gb": 1}


def test_headers_of_producers_are_left_out() -> None:
    headers = [("traceparent", SECRET.encode()), ("meter-organization", b"o"), ("x", None)]
    _, kept = redacted(json.dumps({**NAMES, "properties": {}}).encode(), headers, READ)
    assert kept == [("meter-organization", b"o")]


def test_a_full_array_does_not_grow() -> None:
    """Each event as short as a producer can write it; the array as large as one may be."""
    name = b"s" * 40
    bare = b'{"external_subscription_id":"' + name
    bare += b'","transaction_id":"%d","code":"c","timestamp":1.5'
    events, size = list[bytes](), 0
    for number in range(10_000):
        event = bare % number + (b',"properties":{"gb":1}}' if number % 2 else b"}")
        size += len(event) + 1
        if size >= MAX_BYTES:
            break
        events.append(event)
    value = b"[" + b",".join(events) + b"]"
    assert MAX_BYTES - 200 < len(value) <= MAX_BYTES
    without, _ = redacted(value, (), READ)
    assert without == value


def test_an_array_that_grows_too_large_is_refused() -> None:
    """A CloudEvent's attributes have shorter names than what Lago calls them."""
    event = b'{"specversion":"1.0","subject":"%s","id":"%d","type":"c"}'
    value = b"[" + b",".join(event % (b"s" * 40, number) for number in range(10_000)) + b"]"
    assert len(value) <= MAX_BYTES
    with pytest.raises(CannotRedact, match="over 1000000 bytes"):
        redacted(value, (), READ)


CANCEL = {
    "operation": "cancel",
    "organization_id": "o",
    "external_subscription_id": "s",
    "transaction_id": "t",
    "correction_id": "c1",
}
AMEND = {**CANCEL, "operation": "amend"}
OF_THE_API = {"ingested_at": "2026-01-01T00:00:00.000", "source": "http_meterstream"}
GRANTED = [("meter-granted", b"7")]


@pytest.mark.parametrize(
    "value",
    [
        CANCEL,
        {**AMEND, "event": {**NAMES, **OF_THE_API, "properties": {"gb": "2"}}},
        {**NAMES, "properties": {"gb": 1}},
        [{**NAMES, "timestamp": "2026-01-01T00:00:00Z"}, CANCEL],
    ],
)
def test_what_is_granted_stays_byte_for_byte(value: object) -> None:
    text = json.dumps(value, indent=1).encode()
    without, kept = redacted(text, [*GRANTED, ("x", b"y")], READ)
    assert (without, kept) == (text, GRANTED)
    assert digest_of(without, kept) == digest_of(text, GRANTED)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        ({**CANCEL, "note": SECRET}, []),
        ({**CANCEL, "event": {"note": SECRET}}, []),
        ({**AMEND, "event": {**NAMES, "properties": {"mail": SECRET}}}, []),
        ({**AMEND, "event": {**NAMES, "note": SECRET}}, []),
        ({**NAMES, "properties": {"mail": SECRET}}, []),
        ({**NAMES, "note": SECRET}, []),
        ([NAMES, SECRET], []),
        (b'{"code":"%s",%s' % (SECRET.encode(), json.dumps(NAMES).encode()[1:]), []),
        ({"gb": 1}, [("ce_id", b"t"), ("ce_type", b"c"), ("ce_subject", b"s")]),
    ],
)
def test_what_is_granted_and_has_more_is_refused(value: Any, headers: Any) -> None:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(CannotRedact, match="granted with its exact bytes"):
        redacted(text, [*GRANTED, *headers], READ)


def test_what_is_granted_and_refused_all_the_same_is_left_out() -> None:
    assert redacted(SECRET.encode(), GRANTED, READ) == (None, GRANTED)


def test_what_is_refused_anyway_is_left_out_and_does_not_count_then() -> None:
    nested: object = SECRET
    for _ in range(40):
        nested = [nested]
    assert left({**NAMES, "properties": {"gb": 1, "deep": nested}}) is None
    assert left(b"no JSON " + SECRET.encode()) is None


def test_of_a_correction_the_event_loses_the_same() -> None:
    event = {**NAMES, "properties": {"gb": "2", "mail": SECRET}}
    amend = {
        "operation": "amend",
        "external_subscription_id": "s",
        "transaction_id": "t",
        "correction_id": "c1",
        "event": event,
    }
    assert left(amend) == {**amend, "event": {**NAMES, "properties": {"gb": "2"}}}


@pytest.mark.parametrize(
    ("definition", "names"),
    [
        ({"field_name": "gb"}, {"gb"}),
        ({"expression": "event.properties.a * Round(event.properties.b2)"}, {"a", "b2"}),
        ({"filters": [{"key": "region", "values": ["eu"]}]}, {"region"}),
        ({"charges": [{"filters": [{"values": {"tier": ["a"]}}]}]}, {"tier"}),
        ({"properties": {"pricing_group_keys": ["zone"]}}, {"zone"}),
        ({"properties": {"grouped_by": ["zone"]}}, {"zone"}),
        ({"properties": {"presentation_group_keys": [{"value": "team"}]}}, {"team"}),
        ({"group": {"key": "provider", "values": [{"name": "aws", "key": "r", "values": []}]}},
         {"provider", "r"}),
        ({"charges": [{"accepts_target_wallet": True}]}, {"target_wallet_code"}),
        ({"charges": [{"accepts_target_wallet": False}]}, set()),
        ({"code": "gb", "name": "region"}, set()),
    ],
)  # fmt: skip
def test_a_definition_reads_the_properties_that_it_names(
    definition: dict[str, Any], names: set[str]
) -> None:
    assert set(names_read({"plan": definition})) == names
