"""Give the message key of a subscription and find the partition that owns it."""

import zlib
from typing import Final

from app.definitions.model import Partitioner

_UINT32: Final = 0xFFFFFFFF
_MURMUR2_SEED: Final = 0x9747B28C
_MURMUR2_MULTIPLIER: Final = 0x5BD1E995


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
