"""Record batches as no library makes them, for a producer that means no good."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import cramjam
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c, encode_varint

from app.kernel import split

CODECS: Final = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_XERIAL_HEAD: Final = bytes((0x82, *b"SNAPPY\0", 0, 0, 0, 1, 0, 0, 0, 1))
_XERIAL_BLOCK: Final = 32 * 1024
_RECORDS_AT: Final = 61


class Record(NamedTuple):
    """A record as the kernel tells it."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def record_bytes(
    delta: int, value: bytes | None, headers: Sequence[tuple[bytes, bytes | None]] = ()
) -> bytes:
    """One record of a batch."""
    body = bytearray(b"\0\0")
    for number in (delta, -1):
        encode_varint(number, body.append)
    _append(body, value)
    encode_varint(len(headers), body.append)
    for name, text in headers:
        _append(body, name)
        _append(body, text)
    head = bytearray()
    encode_varint(len(body), head.append)
    return bytes(head + body)


def _append(body: bytearray, text: bytes | None) -> None:
    encode_varint(-1 if text is None else len(text), body.append)
    body += text or b""


def batch_bytes(
    records: bytes, count: int, codec: str = "zstd", base_offset: int = 0, at_ms: int = 0
) -> bytes:
    """A batch in the format that brokers take, with its checksum."""
    compressed = compress(records, codec)
    return packed_batch(compressed, count, codec, base_offset, at_ms)


def packed_batch(
    payload: bytes, count: int, codec: str, base_offset: int = 0, at_ms: int = 0
) -> bytes:
    """A batch whose records are compressed already."""
    counted = struct.pack(">hiqqqhii", CODECS[codec], count - 1, at_ms, at_ms, -1, -1, -1, count)
    counted += payload
    head = struct.pack(">qiibI", base_offset, 9 + len(counted), -1, 2, calc_crc32c(counted))
    return head + counted


def compress(records: bytes, codec: str) -> bytes:
    """As Java's client does it."""
    compressors: dict[str, Any] = {
        "none": bytes,
        "gzip": cramjam.gzip.compress,
        "snappy": _xerial,
        "lz4": cramjam.lz4.compress,
        "zstd": cramjam.zstd.compress,
    }
    return bytes(compressors[codec](records))


def bomb_bytes(count: int, size: int, codec: str) -> bytes:
    """A batch of records of so many zeros each, which need be nowhere in memory."""
    zeros = compress(bytes(size // 10), codec)
    payload = b""
    for delta in range(count):
        body = bytearray(b"\0\0")
        for number in (delta, -1, size):
            encode_varint(number, body.append)
        head = bytearray()
        encode_varint(len(body) + size + 1, head.append)
        # One frame after another: decoders go on with the next.
        payload += compress(bytes(head + body), codec) + 10 * zeros + compress(b"\0", codec)
    return packed_batch(payload, count, codec)


def _xerial(records: bytes) -> bytes:
    blocks = [
        bytes(cramjam.snappy.compress_raw(records[at : at + _XERIAL_BLOCK]))
        for at in range(0, len(records), _XERIAL_BLOCK)
    ]
    return _XERIAL_HEAD + b"".join(struct.pack(">i", len(block)) + block for block in blocks)


def split_records(records: Sequence[Any]) -> Sequence[Any]:
    """Return records as a reader finds them in the batch that a producer makes of them.

    Their kernel may split no batch; then they are returned as they are.
    """
    if not records:
        return records
    first, last = records[0], records[-1]
    made = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 40)
    for record in records:
        delta, headers = record.offset - first.offset, list(record.headers)
        made.append(delta, record.timestamp, record.key, record.value, headers)
    data = bytes(made.build())
    offsets = first.offset, last.offset + 1, first.offset
    times = first.timestamp, -1
    found = split(data, _RECORDS_AT, len(data), len(records), *offsets, *times, Record)
    return records if found is None else cast(Sequence[Any], found)
