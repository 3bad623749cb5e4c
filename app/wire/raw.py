"""Write Lago's raw event format and find the partition that owns an event."""

import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

import msgspec

from app.numbers import ZERO, plain

Partitioner = Literal["crc32", "murmur2"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UINT32: Final = 0xFFFFFFFF
_MURMUR2_SEED: Final = 0x9747B28C
_MURMUR2_MULTIPLIER: Final = 0x5BD1E995


def encode_raw(
    *,
    organization_id: str,
    external_subscription_id: str,
    transaction_id: str,
    code: str,
    timestamp_ms: int | None,
    precise_total_amount_cents: Decimal | None,
    properties: bytes,
    ingested_at_ms: int,
) -> bytes:
    """Write an event as Lago's API produces it (metering-semantics §3.1).

    `properties` is a JSON object and goes out byte for byte, so that numbers keep their digits.
    """
    return msgspec.json.encode(
        {
            "organization_id": organization_id,
            "external_customer_id": None,
            "external_subscription_id": external_subscription_id,
            "transaction_id": transaction_id,
            "timestamp": None if timestamp_ms is None else _seconds_text(timestamp_ms),
            "code": code,
            "precise_total_amount_cents": plain(precise_total_amount_cents or ZERO),
            "properties": msgspec.Raw(properties),
            "ingested_at": _naive_text(ingested_at_ms),
            "source": "http_ruby",
            "source_metadata": {"api_post_processed": False},
        }
    )


def message_key(organization_id: str, external_subscription_id: str) -> bytes:
    """Give the key of everything about a subscription."""
    return f"{organization_id}-{external_subscription_id}".encode()


def home_partition(key: bytes, partitions: int, partitioner: Partitioner) -> int:
    """Find a key's partition as librdkafka (`crc32`) or the Java client (`murmur2`) does."""
    if partitioner == "crc32":
        return zlib.crc32(key) % partitions
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(key: bytes) -> int:
    """Hash as Kafka's Java client does; unsigned 32 bits."""
    value = (_MURMUR2_SEED ^ len(key)) & _UINT32
    whole = len(key) & ~3
    for start in range(0, whole, 4):
        block = int.from_bytes(key[start : start + 4], "little") * _MURMUR2_MULTIPLIER & _UINT32
        block = (block ^ block >> 24) * _MURMUR2_MULTIPLIER & _UINT32
        value = value * _MURMUR2_MULTIPLIER & _UINT32 ^ block
    if whole < len(key):
        value ^= int.from_bytes(key[whole:], "little")
        value = value * _MURMUR2_MULTIPLIER & _UINT32
    value = (value ^ value >> 13) * _MURMUR2_MULTIPLIER & _UINT32
    return value ^ value >> 15


def _seconds_text(milliseconds: int) -> str:
    return plain(Decimal(milliseconds).scaleb(-3))


def _naive_text(milliseconds: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
