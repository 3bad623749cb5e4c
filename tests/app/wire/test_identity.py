"""Identity of events: hashes, equal bodies, digests."""

import hashlib
from decimal import Decimal

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.limits import COMPARED_BYTES
from app.wire.events import Event
from app.wire.identity import (
    BODY_HASH_MASK,
    comparing_bodies,
    digest_of,
    event_body_hash,
    event_id,
    same_body,
)


def make_event(
    properties: str = "{}",
    code: str = "storage",
    timestamp_ms: int | None = 1000,
    amount: str | None = None,
    envelope: bytes = b"",
) -> Event:
    precise = None if amount is None else Decimal(amount)
    return Event(
        "org", "sub", "t1", code, timestamp_ms, precise, properties.encode(), b"{}", envelope
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (make_event('{"a":1,"b":"x"}'), make_event('{ "b" : "x", "a" : 1 }')),
        (make_event('{"a":1e3}'), make_event('{"a":1000}')),
        (make_event('{"a":10e-1}'), make_event('{"a":1.0}')),
        (make_event('{"a":-12.5E1}'), make_event('{"a":-125}')),
        (make_event('{"a":"\\u0065"}'), make_event('{"a":"e"}')),
        (
            make_event('{"a":{"y":[1,null,true],"x":2}}'),
            make_event('{"a":{"x":2,"y":[1,null,true]}}'),
        ),
        (make_event('{"a":1,"a":2}'), make_event('{"a":2}')),
        (make_event(amount=None), make_event(amount="0.0")),
        (make_event(amount="1.50"), make_event(amount="1.5")),
        (make_event(timestamp_ms=None), make_event(timestamp_ms=5)),
        (make_event('{"a":1e999999}'), make_event('{"a":1E+999999}')),
        (make_event('{"a":10e399}'), make_event('{"a":1e400}')),
        (make_event('{"a":-0.00e5}'), make_event('{"a":-0}')),
    ],
)
def test_equal_bodies(one: Event, other: Event) -> None:
    assert same_body(one, other)
    assert same_body(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (make_event('{"a":1}'), make_event('{"a":1.0}')),
        (make_event('{"a":1}'), make_event('{"a":"1"}')),
        (make_event('{"a":0}'), make_event('{"a":-0}')),
        (make_event('{"a":null}'), make_event("{}")),
        (make_event('{"a":[1,2]}'), make_event('{"a":[2,1]}')),
        (make_event('{"a":true}'), make_event('{"a":"true"}')),
        (make_event('{"a":[]}'), make_event('{"a":{}}')),
        (make_event('{"a":[1]}'), make_event('{"a":[1,1]}')),
        (make_event('{"a":1e-400}'), make_event('{"a":10e-401}')),
        (make_event('{"a":1e999998}'), make_event('{"a":1e999999}')),
        (make_event(code="a"), make_event(code="b")),
        (make_event(timestamp_ms=1), make_event(timestamp_ms=2)),
        (make_event(amount=None), make_event(amount="0.01")),
    ],
)
def test_different_bodies(one: Event, other: Event) -> None:
    assert not same_body(one, other)
    assert not same_body(other, one)


def test_event_ids_are_twelve_bytes_and_keep_fields_apart() -> None:
    ids = {event_id("o", "s", "t1"), event_id("o", "st", "1"), event_id("os", "", "t1")}
    assert len(ids) == 3
    assert {len(each) for each in ids} == {12}


@given(st.binary())
def test_body_hashes_have_forty_eight_bits(value: bytes) -> None:
    assert 0 <= event_body_hash(make_event(envelope=value)) < 1 << 48


def test_headers_that_carry_the_event_are_part_of_its_hash() -> None:
    one, other = make_event(envelope=b"type=a"), make_event(envelope=b"type=b")
    assert event_body_hash(one) != event_body_hash(other)
    body = xxhash.xxh3_64_intdigest(make_event().body)
    assert event_body_hash(make_event()) == body & BODY_HASH_MASK


def test_digest_is_blake2b_of_the_fields_separated_by_nul() -> None:
    text = b"sub\0t1\x001741007009344\0storage\x0012.5"
    expected = int(hashlib.blake2b(text, digest_size=16).hexdigest(), 16)
    assert digest_of("sub", "t1", 1741007009344, "storage", "12.5") == expected


def test_long_properties_are_equal_when_their_bytes_are() -> None:
    spellings = [f'{{"a":"{"x" * (COMPARED_BYTES - 8 + more)}"}}' for more in (0, 1)]
    short, long = (make_event(text) for text in spellings)
    assert same_body(short, make_event(spellings[0].replace("x", "\\u0078", 1))) is False
    assert same_body(long, make_event(spellings[1]))
    assert not same_body(long, make_event(spellings[1].replace('"a":', '"a": ')))
    assert same_body(make_event('{"b":[1e400,1],"a":1}'), make_event('{"a":1,"b":[10e399,1]}'))


def test_numbers_are_never_written_out() -> None:
    """The attack by its form, as long as what is compared may be: each step is short."""
    one, other = (
        make_event(f'{{"a":[{",".join([text] * 9_000)}]}}') for text in ("1e400", "10e399")
    )
    assert max(len(event.properties) for event in (one, other)) < COMPARED_BYTES
    assert sum(1 for _ in comparing_bodies(one, other)) > 9_000 // 64
    assert same_body(one, other)
