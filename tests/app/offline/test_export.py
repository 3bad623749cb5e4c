"""Exported events, read back: `meter fold` takes every record that the raw topic may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.event_lines import read_events
from app.kafka.log_readers import LogRecord
from app.offline.export import event_line
from app.offline.fold import EventLine
from app.wire.decode import Headers, decode_record
from app.wire.events import MAX_BYTES
from app.wire.refusals import Refusal

EVENT = (
    b'{"organization_id":"o","external_subscription_id":"s","transaction_id":"t","code":"c",'
    b'"timestamp":1.5,"properties":{"gb":%s}}'
)

ODD = {
    "a-plain-event": EVENT % b"1.50",
    "not-a-number": EVENT % b"NaN",
    "infinity": EVENT % b"-Infinity",
    "lone-surrogate": EVENT % rb'"\ud800"',
    "broken-utf-8": EVENT % b'"\xff"',
    "control-character": EVENT % b'"\x01"',
    "leading-zero": EVENT % b"01",
    "line-feed": EVENT % b"\n1",
    "line-separator": EVENT % b'"\xe2\x80\xa8"',
    "key-twice": b'{"code":"a","code":"b"}',
    "key-of-ours": b'{"_offset":7,"code":"a"}',
    "too-deep": b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "array": b"[" + EVENT % b"1" + b"]",
    "utf-16": '{"code":"a"}'.encode("utf-16-le"),
    "byte-order-mark": b"\xef\xbb\xbf{}",
    "too-large-by-blanks": (EVENT % b"1") + b" " * MAX_BYTES,
    "empty-object": b" { } ",
    "empty": b"",
    "null": None,
}


def _read_back(value: bytes | None, headers: Headers = ()) -> EventLine:
    record = LogRecord(b"k", value, headers, 17, 3)
    (line,) = read_events([(1, event_line(2, record))])
    assert (line.append_time_ms, line.partition, line.offset) == (17, 2, 3)
    return line


def _meaning(value: bytes | None) -> list[tuple[object, ...]]:
    """What is made of a record; a refusal's bytes may be spaced otherwise."""
    return [
        (index, one.code, one.message) if isinstance(one, Refusal) else (index, one)
        for index, one in decode_record(value, ())
    ]


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_whatever_a_record_holds_is_read_back(value: bytes | None) -> None:
    assert _meaning(_read_back(value).value) == _meaning(value)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("ce_id", b"t"), ("ce_time", None)], id="texts"),
        pytest.param([("ce_id", b"caf\xe9"), ("ce_type", b"c"), ("ce_time", None)], id="bytes"),
        pytest.param(
            [("content-type", b"application/cloudevents+json"), ("content-type", b"text/plain")],
            id="name-twice",
        ),
    ],
)
def test_headers_are_read_back_as_they_were(headers: Headers) -> None:
    line = _read_back(b"{}", headers)
    assert (line.value, line.headers) == (b"{}", headers)


@pytest.mark.parametrize(
    ("key", "written"), [(b"o-s", False), (b"another", True), (b"\xff", True), (None, False)]
)
def test_a_key_that_the_event_says_itself_is_not_written(key: bytes | None, written: bool) -> None:
    for value in (EVENT % b"1", (EVENT % rb'"\\"').replace(b",", b" ,  ")):
        text = event_line(2, LogRecord(key, value, (), 17, 3))
        (line,) = read_events([(1, text)])
        assert (line.value, line.key) == (value, key if written else None)
        assert (b"_key" in text) == written


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["NaN", "1e5"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | st.builds(lambda inner: EVENT % repr(inner).encode("utf-8", "replace"), _JSON))
def test_any_bytes_are_read_back(value: bytes) -> None:
    assert _meaning(_read_back(value).value) == _meaning(value)
