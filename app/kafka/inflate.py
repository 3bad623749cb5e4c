"""Inflate what producers compressed, into buffers of a bounded size: 128 KB may hold gigabytes.

aiokafka's decoders, which take whatever comes, are replaced where it looks them up. They keep the
GIL for little more than a call, so that another thread can inflate while the event loop goes on.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import cramjam
from aiokafka.record import default_records, legacy_records

from app.bounds.limits import INFLATED_BYTES, INFLATED_ON_LOOP_BYTES, INFLATING_BUFFERS

_XERIAL_HEAD: Final = bytes((0x82, *b"SNAPPY\0", 0, 0, 0, 1, 0, 0, 0, 1))
_XERIAL_BLOCK: Final = struct.Struct(">i")
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LZ4_MAGIC: Final = b"\x04\x22\x4d\x18"
_LZ4_DECLARES: Final = 0x08
_TOO_SMALL: Final = "failed to write whole buffer"
"""How cramjam says that the buffer is full and there is more."""


class Unreadable(Exception):
    """A batch that cannot be inflated; the same everywhere, for its bytes alone say so."""

    def __init__(self, message: str, *, too_large: bool):
        super().__init__(message)
        self.too_large = too_large


class _Limit(threading.local):
    ceiling = INFLATED_BYTES
    inflated = b""


_LIMIT: Final = _Limit()


def inflate_within(ceiling: int, begin: Callable[[], None]) -> bytes:
    """Let `begin` inflate, in this thread, at most so many bytes; tells what they were.

    Raises:
        Unreadable: it has more, or is damaged.
    """
    _LIMIT.ceiling, _LIMIT.inflated = ceiling, b""
    try:
        begin()
        return _LIMIT.inflated
    finally:
        _LIMIT.ceiling, _LIMIT.inflated = INFLATED_BYTES, b""


def _too_large() -> Unreadable:
    message = f"inflated, the batch has over {_LIMIT.ceiling} bytes; send smaller batches"
    return Unreadable(message, too_large=True)


def _inflated(
    data: bytes, inflate_into: Callable[[bytes, Any], int], declared: int | None
) -> bytes:
    if declared is not None and declared > _LIMIT.ceiling:
        raise _too_large()
    for size in INFLATING_BUFFERS:
        if size > _LIMIT.ceiling:
            break
        if size < (declared or 0):
            continue
        # Untouched pages of a mapping cost nothing, and the larger ones nobody else waits for.
        with mmap.mmap(-1, size) as buffer:
            try:
                count = inflate_into(data, buffer)
            except cramjam.DecompressionError as error:
                if str(error) != _TOO_SMALL:
                    message = f"the batch cannot be inflated: {error}"
                    raise Unreadable(message, too_large=False) from error
                continue
            _LIMIT.inflated = _copied(buffer, count)
            return _LIMIT.inflated
    raise _too_large()


def _copied(buffer: mmap.mmap, count: int) -> bytes:
    if count <= INFLATED_ON_LOOP_BYTES:
        return buffer[:count]
    # `buffer[:count]` would keep the GIL for all of it.
    copied = bytes(count)
    source = (ctypes.c_char * count).from_buffer(buffer)
    ctypes.memmove(ctypes.c_char_p(copied), source, count)
    del source
    return copied


def _gzip(data: Any) -> bytes:
    return _inflated(bytes(data), cramjam.gzip.decompress_into, None)


def _zstd(data: Any) -> bytes:
    return _inflated(bytes(data), cramjam.zstd.decompress_into, _declared_by_zstd(data))


def _lz4(data: Any) -> bytes:
    return _inflated(bytes(data), cramjam.lz4.decompress_into, _declared_by_lz4(data))


def _snappy(data: Any) -> bytes:
    payload = bytes(data)
    try:
        if not payload.startswith(_XERIAL_HEAD):
            declared = cramjam.snappy.decompress_raw_len(payload)
            return _inflated(payload, cramjam.snappy.decompress_raw_into, declared)
        declared = sum(map(cramjam.snappy.decompress_raw_len, _blocks(payload)))
    except (cramjam.DecompressionError, struct.error) as error:
        message = f"the batch cannot be inflated: {error}"
        raise Unreadable(message, too_large=False) from error
    return _inflated(payload, _blocks_into, declared)


def _blocks(payload: bytes) -> Iterator[memoryview]:
    """Yield the blocks of a stream as Java's snappy library writes it."""
    view, at = memoryview(payload), len(_XERIAL_HEAD)
    while at < len(payload):
        (size,) = _XERIAL_BLOCK.unpack_from(payload, at)
        at += _XERIAL_BLOCK.size
        if not 0 <= size <= len(payload) - at:
            raise cramjam.DecompressionError(f"a block of {size} bytes ends beyond the batch")
        yield view[at : at + size]
        at += size


def _blocks_into(payload: bytes, buffer: Any) -> int:
    with memoryview(buffer) as room:
        at = 0
        for block in _blocks(payload):
            with room[at:] as rest:
                at += cramjam.snappy.decompress_raw_into(block, rest)
        return at


def _declared_by_zstd(data: Any) -> int | None:
    """Return the bytes in the first frame, where its header states them (RFC 8878 §3.1.1.1)."""
    head = bytes(data[:18])
    if head[:4] != _ZSTD_MAGIC or len(head) < 6:
        return None
    descriptor = head[4]
    single, flag = descriptor >> 5 & 1, descriptor >> 6
    at = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    size = (single, 2, 4, 8)[flag]
    if not size or len(head) < at + size:
        return None
    return int.from_bytes(head[at : at + size], "little") + (256 if size == 2 else 0)


def _declared_by_lz4(data: Any) -> int | None:
    head = bytes(data[:14])
    if head[:4] != _LZ4_MAGIC or len(head) < 14 or not head[4] & _LZ4_DECLARES:
        return None
    return int.from_bytes(head[6:14], "little")


def _replace_decoders() -> None:
    decoders = {
        "gzip_decode": _gzip,
        "snappy_decode": _snappy,
        "lz4_decode": _lz4,
        "zstd_decode": _zstd,
    }
    for batch in (
        default_records.DefaultRecordBatch,
        default_records._DefaultRecordBatchPy,
        legacy_records.LegacyRecordBatch,
        legacy_records._LegacyRecordBatchPy,
    ):
        known = vars(sys.modules[batch.__module__])
        known.update({name: decode for name, decode in decoders.items() if name in known})


_replace_decoders()
