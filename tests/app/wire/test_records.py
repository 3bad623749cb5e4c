"""Records of every wire format: events, corrections, refusals, and never an exception.

It has over 500 lines: tables of what is taken and refused, side by side for each format.
"""

import json
from base64 import b64encode
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.bounds.nesting import PARSED_LEVELS
from app.wire import decode
from app.wire.decode import (
    Decoded,
    Headers,
    deciding_headers,
    decode_plain_binary,
    decode_record,
    is_tick,
)
from app.wire.events import LAGO_NAMES, MAX_BYTES, Correction, Event, decode_plain
from app.wire.refusals import Refusal, RefusalCode

BASE: dict[str, Any] = {
    "organization_id": "6f0a",
    "external_customer_id": None,
    "external_subscription_id": "sub_42",
    "transaction_id": "t-1",
    "timestamp": "1767225600.25",
    "code": "storage",
    "precise_total_amount_cents": "0.0",
    "properties": {"gb": 12.5, "region": "eu"},
    "ingested_at": "2026-01-01T00:00:01.118",
    "source": "http_ruby",
    "source_metadata": {"api_post_processed": False},
}
CLOUDEVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "t-1",
    "source": "/meter",
    "type": "storage",
    "subject": "sub_42",
    "time": "2026-01-01T00:00:00.25Z",
    "organizationid": "6f0a",
    "data": {"gb": 12.5, "region": "eu"},
}
CORRECTION: dict[str, Any] = {
    "organization_id": "6f0a",
    "external_subscription_id": "sub_42",
    "transaction_id": "t-1",
    "operation": "cancel",
    "correction_id": "c-1",
}
IN_BASE64 = b64encode(b' {"gb":12.5,"region":"eu"}\n').decode()
BINARY: Headers = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"t-1"),
    ("ce_type", b"storage"),
    ("ce_subject", b"sub_42"),
    ("ce_time", b"2026-01-01T00:00:00.25Z"),
    ("ce_organizationid", b"6f0a"),
    ("content-type", b"application/json"),
]
STRUCTURED: Headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
BATCH: Headers = [("Content-Type", b"application/cloudevents-batch+json")]


def encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def in_base64(data: bytes) -> bytes:
    """A CloudEvent with this data."""
    return encode(without(CLOUDEVENT, "data") | {"data_base64": b64encode(data).decode()})


def lago(**changes: Any) -> bytes:
    return encode(BASE | changes)


def spelled(literal: str, field: str = "timestamp") -> bytes:
    """The base event with one field's literal as given, which `json` could not write."""
    return lago(**{field: "@"}).replace(b'"@"', literal.encode())


def without(event: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in fields}


def only(value: bytes, headers: Headers = ()) -> Decoded:
    ((index, decoded),) = decode_record(value, headers)
    assert index == 0
    return decoded


def refused(value: bytes, headers: Headers = ()) -> RefusalCode:
    decoded = only(value, headers)
    assert isinstance(decoded, Refusal)
    assert decoded.value == value
    assert decoded.message
    return decoded.code


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


def test_an_event_of_the_api() -> None:
    value = lago()
    assert only(value) == Event(
        "6f0a",
        "sub_42",
        "t-1",
        "storage",
        1767225600250,
        Decimal("0.0"),
        b'{"gb":12.5,"region":"eu"}',
        value,
    )
    assert decode_plain(value) == only(value)


def test_a_cloud_event_is_as_plain_as_one_of_the_api() -> None:
    value = encode(CLOUDEVENT)
    assert decode_plain(value) == only(value)
    assert isinstance(only(value), Event)


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("1767225600", 1767225600000),
        ("1767225600.2509", 1767225600250),
        ("1.7672256e9", 1767225600000),
        ('"1767225600"', 1767225600000),
        ('"2026-01-01T01:00:00.5+01:00"', 1767225600500),
        ("null", None),
        ("-1", -1000),
    ],
)
def test_timestamps(literal: str, expected: int | None) -> None:
    event = only(spelled(literal))
    assert isinstance(event, Event)
    assert event.timestamp_ms == expected


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ('"12.5"', "12.5"),
        ("12.5", "12.5"),
        ("1e3", "1000"),
        ("0", "0"),
        ("-3", "-3"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
        ("null", None),
    ],
)
def test_precise_amounts(literal: str, expected: str | None) -> None:
    event = only(spelled(literal, "precise_total_amount_cents"))
    assert isinstance(event, Event)
    wanted = None if expected is None else Decimal(expected)
    assert event.precise_total_amount_cents == wanted


@pytest.mark.parametrize(
    ("event", "field", "expected"),
    [
        (without(BASE, "timestamp"), "timestamp_ms", None),
        (without(BASE, "organization_id"), "organization_id", None),
        (BASE | {"organization_id": None}, "organization_id", None),
        (BASE | {"organization_id": ""}, "organization_id", None),
        (without(BASE, "properties"), "properties", b"{}"),
        (BASE | {"properties": None}, "properties", b"{}"),
        (without(BASE, "precise_total_amount_cents"), "precise_total_amount_cents", None),
        (BASE | {"operation": None, "specversion": None}, "code", "storage"),
        (BASE | {"code": "süß"}, "code", "süß"),
        (BASE | {"unknown": [{"deep": [1]}]}, "code", "storage"),
        (BASE | {"transaction_id": " "}, "transaction_id", " "),
    ],
)
def test_tolerated(event: dict[str, Any], field: str, expected: object) -> None:
    for ascii_only in (True, False):
        decoded = only(json.dumps(event, ensure_ascii=ascii_only).encode())
        assert isinstance(decoded, Event)
        assert getattr(decoded, field) == expected


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", RefusalCode.INVALID_JSON),
        (b" ", RefusalCode.INVALID_JSON),
        (b"not json", RefusalCode.INVALID_JSON),
        (b'{"a":NaN}', RefusalCode.INVALID_JSON),
        (spelled("Infinity"), RefusalCode.INVALID_JSON),
        (spelled('{"a":01}', "properties"), RefusalCode.INVALID_JSON),
        (spelled('{"a":"\\ud800"}', "properties"), RefusalCode.INVALID_JSON),
        (lago()[:-1], RefusalCode.INVALID_JSON),
        (lago() + b"x", RefusalCode.INVALID_JSON),
        (lago(properties={"a": "@"}).replace(b"@", b"\xff"), RefusalCode.INVALID_JSON),
        (lago(properties={"a": "@"}).replace(b"@", b"\xed\xa0\x80"), RefusalCode.INVALID_JSON),
        (lago(properties={"a": "@"}).replace(b"@", b"\0"), RefusalCode.INVALID_JSON),
        (b"\xef\xbb\xbf" + lago(), RefusalCode.INVALID_JSON),
        (b"[" + lago(), RefusalCode.INVALID_JSON),
        (b"[" + lago() + b",]", RefusalCode.INVALID_JSON),
        (b"[" * 100_000, RefusalCode.INVALID_JSON),
        (spelled(nested(200, '{"a":', "}").replace('{"a":}', "{]")), RefusalCode.INVALID_JSON),
        (spelled(nested(2000, '{"a":', "}").replace('{"a":}', "{]")), RefusalCode.TOO_LARGE),
        (b"1", RefusalCode.INVALID_EVENT),
        (b"null", RefusalCode.INVALID_EVENT),
        (b'"text"', RefusalCode.INVALID_EVENT),
        (lago(code=1), RefusalCode.INVALID_EVENT),
        (lago(transaction_id=12), RefusalCode.INVALID_EVENT),
        (lago(external_subscription_id=[]), RefusalCode.INVALID_EVENT),
        (lago(organization_id=7), RefusalCode.INVALID_EVENT),
        (lago(transaction_id="a\0b"), RefusalCode.INVALID_EVENT),
        (lago(organization_id="a\0b"), RefusalCode.INVALID_EVENT),
        (lago(properties=[]), RefusalCode.INVALID_EVENT),
        (lago(properties="{}"), RefusalCode.INVALID_EVENT),
        (lago(precise_total_amount_cents="abc"), RefusalCode.INVALID_EVENT),
        (lago(precise_total_amount_cents=True), RefusalCode.INVALID_EVENT),
        (lago(precise_total_amount_cents={}), RefusalCode.INVALID_EVENT),
        (lago(precise_total_amount_cents="1" * 39), RefusalCode.INVALID_EVENT),
        (spelled("1e400", "precise_total_amount_cents"), RefusalCode.INVALID_EVENT),
        (encode(without(BASE, "transaction_id")), RefusalCode.MISSING_FIELD),
        (encode(without(BASE, "code")), RefusalCode.MISSING_FIELD),
        (encode(without(BASE, "external_subscription_id")), RefusalCode.MISSING_FIELD),
        (lago(code=""), RefusalCode.MISSING_FIELD),
        (lago(transaction_id=None), RefusalCode.MISSING_FIELD),
        (b"{}", RefusalCode.MISSING_FIELD),
        (lago(timestamp="2025-03-03 13:03:29"), RefusalCode.INVALID_TIMESTAMP),
        (lago(timestamp=""), RefusalCode.INVALID_TIMESTAMP),
        (lago(timestamp=True), RefusalCode.INVALID_TIMESTAMP),
        (lago(timestamp=[1]), RefusalCode.INVALID_TIMESTAMP),
        (spelled("1e400"), RefusalCode.TIMESTAMP_OUT_OF_RANGE),
        (spelled("9" * 5000), RefusalCode.TIMESTAMP_OUT_OF_RANGE),
        (lago(properties={"a": "x" * 1_000_000}), RefusalCode.TOO_LARGE),
        (spelled('{"a":' + nested(15) + "}", "properties"), RefusalCode.TOO_LARGE),
        (spelled('{"a":' + nested(5000) + "}", "properties"), RefusalCode.TOO_LARGE),
        (
            spelled(nested(16, '{"a":', "}").replace(":}", ":1}"), "properties"),
            RefusalCode.TOO_LARGE,
        ),
        (b"[" + b",".join([b"1"] * 10_001) + b"]", RefusalCode.TOO_LARGE),
    ],
)
def test_refused(value: bytes, code: RefusalCode) -> None:
    assert refused(value) is code


@pytest.mark.parametrize(
    "literal",
    [
        '{"a":' + nested(14) + "}",
        nested(15, '{"a":', "}").replace(":}", ":1}"),
        '{"a":"' + nested(40) + '"}',
        '{"a":[[1],[2],[3],[4],[5],[6],[7],[8],[9],[10],[11],[12],[13],[14],[15],[16]]}',
        '{"a":1e999999,"b":"\\u0000"}',
    ],
)
def test_properties_that_may_pass(literal: str) -> None:
    event = only(spelled(literal, "properties"))
    assert isinstance(event, Event)
    assert event.properties == literal.encode()


def test_what_is_ignored_may_nest_deeper() -> None:
    event = only(spelled(nested(PARSED_LEVELS - 1), "source_metadata"))
    assert isinstance(event, Event)
    assert event.properties == b'{"gb":12.5,"region":"eu"}'


@pytest.mark.parametrize("levels", [PARSED_LEVELS, PARSED_LEVELS + 300, 5_000, 200_000])
def test_what_is_ignored_must_not_nest_so_deeply_that_it_hangs_on_the_stack(levels: int) -> None:
    deep = spelled(nested(levels), "source_metadata")
    assert refused(deep) is RefusalCode.TOO_LARGE
    decoded = decode_record(b"[" + lago() + b"," + deep + b"]")
    assert [type(item) for _, item in decoded] == [Event, Refusal]


def test_messages_name_the_field() -> None:
    for name in ("external_subscription_id", "transaction_id", "code"):
        decoded = only(encode(without(BASE, name)))
        assert isinstance(decoded, Refusal)
        assert name in decoded.message


def test_an_array_refuses_its_elements_alone() -> None:
    deep = spelled('{"a":' + nested(5000) + "}", "properties")
    elements = [lago(), b"1", b"[]", lago(code=""), encode(CLOUDEVENT), deep, encode(CORRECTION)]
    decoded = decode_record(b" [ " + b" , ".join(elements) + b" ] ")
    assert [index for index, _ in decoded] == list(range(len(elements)))
    assert [
        item.code.value if isinstance(item, Refusal) else type(item).__name__ for _, item in decoded
    ] == [
        "Event",
        "invalid_event",
        "invalid_event",
        "missing_field",
        "Event",
        "too_large",
        "Correction",
    ]
    for (index, item), element in zip(decoded, elements, strict=True):
        assert (item.value if isinstance(item, Refusal) else item.body) == element
        assert not isinstance(item, Refusal) or item.index == index


@pytest.mark.parametrize("value", [None, b"[]", b" [ ] "])
def test_nothing(value: bytes | None) -> None:
    assert decode_record(value) == []


def test_ten_thousand_elements_are_taken() -> None:
    assert len(decode_record(b"[" + b",".join([b"1"] * 10_000) + b"]")) == 10_000


def test_ticks() -> None:
    assert is_tick(None, None, [("meter-tick", b"")])
    assert not is_tick(b"key", None, [("meter-tick", b"")])
    assert not is_tick(None, b"{}", [("meter-tick", b"")])
    assert not is_tick(None, None, [])
    assert decode_record(None, [("meter-tick", b"")]) == []


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (encode(CLOUDEVENT), ()),
        (encode(CLOUDEVENT), STRUCTURED),
        (encode(without(CLOUDEVENT, "specversion")), STRUCTURED),
        (encode([CLOUDEVENT]), ()),
        (encode([CLOUDEVENT]), BATCH),
        (encode(CLOUDEVENT["data"]), BINARY),
        (encode(without(CLOUDEVENT, "data") | {"data_base64": IN_BASE64}), ()),
    ],
    ids=["detected", "header", "header alone", "array", "batch", "binary", "base64"],
)
def test_cloudevents(value: bytes, headers: Headers) -> None:
    event = only(value, headers)
    assert isinstance(event, Event)
    assert (event.organization_id, event.external_subscription_id) == ("6f0a", "sub_42")
    assert (event.transaction_id, event.code) == ("t-1", "storage")
    assert event.timestamp_ms == 1767225600250
    assert event.precise_total_amount_cents is None
    assert event.properties == b'{"gb":12.5,"region":"eu"}'


@pytest.mark.parametrize("value", [None, b"", b" ", b"null"])
def test_binary_cloudevents_without_data(value: bytes | None) -> None:
    ((_, event),) = decode_record(value, BINARY)
    assert isinstance(event, Event)
    assert event.properties == b"{}"


def test_the_headers_of_a_binary_cloudevent_are_its_envelope() -> None:
    one, other = only(b"{}", BINARY), only(b"{}", [*BINARY, ("ce_type", b"requests")])
    assert isinstance(one, Event)
    assert isinstance(other, Event)
    assert one.body == other.body
    assert one.envelope != other.envelope


@pytest.mark.parametrize(
    ("value", "headers", "code"),
    [
        (encode(without(CLOUDEVENT, "subject")), (), RefusalCode.MISSING_FIELD),
        (encode(without(CLOUDEVENT, "id")), (), RefusalCode.MISSING_FIELD),
        (encode(CLOUDEVENT | {"data": "text"}), (), RefusalCode.INVALID_EVENT),
        (encode(CLOUDEVENT | {"time": "today"}), (), RefusalCode.INVALID_TIMESTAMP),
        (in_base64(b'{"gb":'), (), RefusalCode.INVALID_JSON),
        (in_base64(b"12"), (), RefusalCode.INVALID_EVENT),
        (in_base64(b'"\xff"'), (), RefusalCode.INVALID_EVENT),
        (encode(CLOUDEVENT | {"data_base64": IN_BASE64}), (), RefusalCode.INVALID_EVENT),
        (
            encode(without(CLOUDEVENT, "data") | {"data_base64": "{}"}),
            (),
            RefusalCode.INVALID_EVENT,
        ),
        (encode(without(CLOUDEVENT, "data") | {"data_base64": {}}), (), RefusalCode.INVALID_EVENT),
        (b"{}", BINARY[:2], RefusalCode.MISSING_FIELD),
        (b"[]", BINARY, RefusalCode.INVALID_EVENT),
        (b"{", BINARY, RefusalCode.INVALID_JSON),
        (b"{}", [*BINARY, ("ce_type", b"\xff")], RefusalCode.INVALID_EVENT),
        (b"{}", [*BINARY, ("ce_id", b"x" * MAX_BYTES)], RefusalCode.TOO_LARGE),
        (b"{}", [*BINARY, (f"ce_{'x' * MAX_BYTES}", b"")], RefusalCode.TOO_LARGE),
    ],
)
def test_refused_cloudevents(value: bytes, headers: Headers, code: RefusalCode) -> None:
    assert refused(value, headers) is code


def test_a_reason_quotes_the_beginning_of_a_long_name() -> None:
    refusal = only(b"{}", [*BINARY, (f"ce_{'x' * 1_000}", b"\xff")])
    assert isinstance(refusal, Refusal)
    assert refusal.message == f"header 'ce_{'x' * 197}' and 803 characters more is not UTF-8"


def test_other_headers_change_nothing() -> None:
    assert only(lago(), [("traceparent", b"00-ab"), ("content-type", None)]) == only(lago())


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("traceparent", b"00-ab")], id="lago"),
        pytest.param(STRUCTURED, id="structured"),
        pytest.param(BATCH, id="batch"),
        pytest.param([*BATCH, *BINARY, *BATCH], id="both"),
        pytest.param(BINARY, id="binary"),
        pytest.param([("ce_time", None), *BINARY[:-2], ("ce_time", None)], id="null"),
        pytest.param([("ce_time", None), *BINARY[:4]], id="no time"),
        pytest.param([("ce_id", b"t-0"), *BINARY, ("ce_type", b"requests")], id="name twice"),
    ],
)
@pytest.mark.parametrize("value", [lago(), encode(CLOUDEVENT), b'{"gb":1}', b"[]"])
def test_deciding_headers_make_the_same_of_a_value(value: bytes, headers: Headers) -> None:
    large = ("traceparent", b"x" * 10_000)
    deciding = deciding_headers([large, *headers, large])
    assert decode_record(value, deciding) == decode_record(value, headers)
    assert large not in deciding


def test_a_cancel() -> None:
    value = encode(CORRECTION)
    assert only(value) == Correction("6f0a", "sub_42", "t-1", "cancel", None, "c-1", value)


@pytest.mark.parametrize(
    "event",
    [
        BASE,
        CLOUDEVENT,
        {"code": "storage", "timestamp": 1767225600.25, "properties": BASE["properties"]},
    ],
    ids=["whole", "cloudevent", "without identity"],
)
def test_an_amend(event: dict[str, Any]) -> None:
    correction = only(encode(CORRECTION | {"operation": "amend", "event": event}))
    assert isinstance(correction, Correction)
    assert correction.operation == "amend"
    assert correction.event is not None
    assert correction.event.transaction_id == "t-1"
    assert correction.event.timestamp_ms == 1767225600250
    assert correction.event.properties == b'{"gb":12.5,"region":"eu"}'


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "undo"},
        {"operation": 1},
        {"correction_id": None},
        {"correction_id": 5},
        {"transaction_id": ""},
        {"operation": "amend"},
        {"operation": "amend", "event": []},
        {"operation": "amend", "event": {"timestamp": 1}},
        {"operation": "amend", "event": BASE | {"transaction_id": "t-2"}},
        {"operation": "amend", "event": BASE | {"organization_id": "other"}},
        {"operation": "amend", "event": BASE | {"external_subscription_id": "other"}},
        {"operation": "amend", "event": BASE | {"timestamp": "today"}},
    ],
)
def test_invalid_corrections(changes: dict[str, Any]) -> None:
    assert refused(encode(CORRECTION | changes)) is RefusalCode.INVALID_CORRECTION


def test_an_amend_may_be_no_deeper_than_an_event() -> None:
    for levels, kind in ((14, Correction), (15, Refusal), (5000, Refusal)):
        event = spelled('{"a":' + nested(levels) + "}", "properties").decode()
        value = encode(CORRECTION | {"operation": "amend", "event": "@"})
        assert isinstance(only(value.replace(b'"@"', event.encode())), kind)


odd_headers = st.sampled_from(
    [
        *(("ce_specversion", None), ("ce_id", b""), ("ce_id", b"a\0b"), ("ce_subject", b"\xff")),
        *(
            ("ce_organizationid", b""),
            ("ce_type", None),
            ("ce_type", "ü".encode()),
            ("ce_x", b"\xff"),
        ),
        *(
            ("ce_time", b"today"),
            ("ce_time", b""),
            ("ce_time", b"1767225600.2509"),
            ("ce_x", b"\0"),
        ),
        *(("ce_data", b"{}"), ("ce_x", b"y" * 2_000), (f"ce_{'x' * 2_000}", b""), ("ce_", b"")),
        *(("Content-Type", b"application/json; charset=utf-8"), ("content-type", None)),
        *(("CONTENT-TYPE", b"Application/CloudEvents+JSON"), ("traceparent", b"00-ab")),
        *(("traceparent", None), ("meter-admit", b"true"), ("ce_id", b"t-2"), ("CE_ID", b"t-3")),
    ]
)


@given(
    st.sampled_from([b"{}", b' {"gb":1}\n', b"null", b"", b" ", b"[]", b"{", b'{"a":"\xff"}'])
    | st.integers(10, 18).map(lambda levels: nested(levels).encode())
    | st.integers(10, 18).map(lambda levels: b'{"a":' * levels + b"1" + b"}" * levels),
    st.permutations(BINARY),
    st.lists(odd_headers, max_size=2),
    st.booleans(),
)
def test_binary_mode_is_only_faster(
    value: bytes, headers: list[tuple[str, bytes]], odd: list[Any], first: bool
) -> None:
    headers = [*odd, *headers] if first else [*headers, *odd]
    fast, slow = decode_plain_binary(value, headers), only(value, headers)
    assert fast is None or fast == slow
    if not odd and value.strip()[:2] in (b"{}", b'{"') and isinstance(slow, Event):
        assert fast is not None


literals = st.sampled_from(
    [
        *("null", "1", "-0", "1.5", "1e400", "1e-400", "9" * 40, "true", "[]", "{}", "@"),
        *('""', '"x"', '"0.0"', '"1.5"', '"\\u0000"', '"\\ud83d\\ude00"'),
        *('"2026-01-01T00:00:00Z"', '{"a":[{}]}', nested(40)),
    ]
)
names = st.sampled_from(
    [*LAGO_NAMES.values(), "operation", "correction_id", "event", "specversion", "id", "x"]
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(names | st.text(), inner),
)
headers_like = st.lists(
    st.tuples(
        st.sampled_from([name for name, _ in BINARY]) | st.text(),
        st.none() | st.binary() | st.sampled_from([text for _, text in [*STRUCTURED, *BATCH]]),
    ),
    max_size=4,
)


def check_everything_is_answered(value: bytes, headers: Headers) -> None:
    decoded = decode_record(value, headers)
    assert [index for index, _ in decoded] == list(range(len(decoded)))
    assert all(isinstance(item, Event | Correction | Refusal) for _, item in decoded)
    assert decoded or json.loads(value) == []
    assert decoded == decode_record(value, headers)


@given(st.binary(), headers_like)
def test_any_bytes_are_answered(value: bytes, headers: Headers) -> None:
    check_everything_is_answered(value, headers)


@given(json_values, headers_like)
def test_any_json_is_answered(value: Any, headers: Headers) -> None:
    check_everything_is_answered(json.dumps(value).encode(), headers)


@given(st.dictionaries(names, literals), st.sampled_from([{}, BASE, CLOUDEVENT]))
@example(event={"precise_total_amount_cents": "0.0"}, usual=BASE)
@example(event={"timestamp": "1767225600.2509"}, usual=BASE)
@example(event={"data_base64": '"e30="'}, usual=CLOUDEVENT)
@example(event={"specversion": "1"}, usual=CLOUDEVENT)
@example(event={"operation": '"cancel"'}, usual=CLOUDEVENT)
@example(event={"precise_total_amount_cents": '"1"', "code": "1"}, usual=CLOUDEVENT)
def test_the_fast_path_is_only_faster(event: dict[str, str], usual: dict[str, Any]) -> None:
    fields = {name: json.dumps(value) for name, value in usual.items()}
    members = (f'"{name}":{literal}' for name, literal in (fields | event).items())
    value = ("{" + ",".join(members) + "}").encode()
    fast = decode_record(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "decode_plain", lambda body: None)
        assert decode_record(value) == fast
    check_everything_is_answered(b"[" + value + b"]", ())
