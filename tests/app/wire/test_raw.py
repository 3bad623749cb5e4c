"""Lago's raw format as written here, and home partitions."""

import json
from decimal import Decimal

import pytest
from aiokafka.partitioner import murmur2 as client_murmur2
from hypothesis import given
from hypothesis import strategies as st

from app.wire.events import Event
from app.wire.raw import encode_raw, home_partition, message_key, murmur2
from app.wire.records import decode_record


def encode(
    timestamp_ms: int | None = 1_767_225_600_250,
    amount: str | None = None,
    properties: bytes = b'{"gb":12.50}',
) -> bytes:
    return encode_raw(
        organization_id="6f0a",
        external_subscription_id="sub_42",
        transaction_id="t-1",
        code="storage",
        timestamp_ms=timestamp_ms,
        precise_total_amount_cents=None if amount is None else Decimal(amount),
        properties=properties,
        ingested_at_ms=1_767_225_600_118,
    )


def test_bytes_are_those_of_lago() -> None:
    assert json.loads(encode()) == {
        "organization_id": "6f0a",
        "external_customer_id": None,
        "external_subscription_id": "sub_42",
        "transaction_id": "t-1",
        "timestamp": "1767225600.25",
        "code": "storage",
        "precise_total_amount_cents": "0.0",
        "properties": {"gb": 12.5},
        "ingested_at": "2026-01-01T00:00:00.118",
        "source": "http_ruby",
        "source_metadata": {"api_post_processed": False},
    }
    assert b'{"gb":12.50}' in encode()


@pytest.mark.parametrize(
    ("timestamp_ms", "text"),
    [(1_767_225_600_000, "1767225600.0"), (1_767_225_600_005, "1767225600.005"), (None, None)],
)
def test_timestamp_text(timestamp_ms: int | None, text: str | None) -> None:
    assert json.loads(encode(timestamp_ms))["timestamp"] == text


@given(st.none() | st.integers(0, 10**13), st.none() | st.integers(0, 10**9))
def test_what_is_written_reads_back(timestamp_ms: int | None, cents: int | None) -> None:
    amount = None if cents is None else f"{cents}E-3"
    ((index, event),) = decode_record(encode(timestamp_ms, amount))
    assert index == 0
    assert isinstance(event, Event)
    assert event.timestamp_ms == timestamp_ms
    assert event.precise_total_amount_cents == Decimal(amount or 0)
    assert event.properties == b'{"gb":12.50}'


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_of_the_java_client(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % 2**32


@given(st.binary(max_size=40), st.integers(1, 64))
def test_murmur2_partitions_are_those_of_aiokafka(key: bytes, partitions: int) -> None:
    expected = (client_murmur2(key) & 0x7FFFFFFF) % partitions
    assert home_partition(key, partitions, "murmur2") == expected


@pytest.mark.parametrize(
    ("key", "crc32"), [(b"", 0), (b"123456789", 0xCBF43926), (b"a", 0xE8B7BE43)]
)
def test_crc32_partitions_are_those_of_librdkafka(key: bytes, crc32: int) -> None:
    assert [home_partition(key, n, "crc32") for n in (1, 7, 12)] == [crc32 % n for n in (1, 7, 12)]


def test_message_key() -> None:
    assert message_key("org", "süb") == "org-süb".encode()
