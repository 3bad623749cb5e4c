"""The directory of one event index on local disk: its manifest and the segments that count.

Local disk is a cache of the index log. Nothing is synced: what a power cut tears is noticed by
checksum when the directory is opened, thrown away and read again from the log.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import xxhash

from app.bounds.discards import Discarded, DiscardReason
from tables.event_index.merge import FileSegmentWriter
from tables.event_index.rows import ROW, ROW_BYTES, DamagedSegmentError, Ids, ids_of
from tables.event_index.segments import (
    BLOCK_BYTES,
    FILTER_SUFFIX,
    ROWS_SUFFIX,
    FenceBuilder,
    Segment,
    SegmentRecord,
    disk_segment,
    file_name,
)

FORMAT_VERSION = 3
MANIFEST_NAME = "manifest.json"

_READ_BLOCKS = 256


class _Manifest(msgspec.Struct, frozen=True):
    format_version: int
    identity: str
    next_number: int
    segments: list[SegmentRecord]


class _SignedManifest(msgspec.Struct, frozen=True):
    digest: str
    manifest: msgspec.Raw


class _NotOurs(DamagedSegmentError):
    """A directory is whole, but not what is needed."""

    def __init__(self, reason: DiscardReason, text: str) -> None:
        super().__init__(text)
        self.reason: DiscardReason = reason


class SegmentDirectory:
    """The files of one event index: which segments count, and a check that they are whole."""

    def __init__(self, path: Path, identity: str) -> None:
        """Take `identity`: what the directory must have been written for, else it is discarded."""
        self.path = path
        self._identity = identity
        self._next_number = 0
        path.mkdir(parents=True, exist_ok=True)

    def open(self) -> tuple[list[Segment], Discarded | None]:
        """Return the segments, oldest first, and why the directory was discarded if it was."""
        segments: list[Segment] = []
        try:
            manifest = self._read_manifest()
            for record in manifest.segments if manifest else []:
                segments.append(self._open_segment(record, segments))
        except (DamagedSegmentError, OSError, ValueError, msgspec.DecodeError) as error:
            for segment in segments:
                segment.close()
            self.discard()
            return [], Discarded(_reason_of(error), str(error))
        if manifest is not None:
            self._next_number = manifest.next_number
        self._remove_all_but(segments)
        return segments, None

    def writer(self, row_count: int, *, resident: bool) -> FileSegmentWriter:
        """Make a writer for a new segment of at most that many rows."""
        number = self._next_number
        self._next_number += 1
        return FileSegmentWriter(self.path, number, row_count, resident=resident)

    def commit(self, segments: Sequence[Segment]) -> None:
        """Let exactly these count from now on, in one atomic step."""
        records = [segment.record for segment in segments if segment.record is not None]
        manifest = msgspec.json.encode(
            _Manifest(FORMAT_VERSION, self._identity, self._next_number, records)
        )
        signed = _SignedManifest(xxhash.xxh3_128_hexdigest(manifest), msgspec.Raw(manifest))
        draft = self.path / (MANIFEST_NAME + ".tmp")
        draft.write_bytes(msgspec.json.encode(signed))
        draft.replace(self.path / MANIFEST_NAME)

    def remove(self, segment: Segment) -> None:
        """Delete the files of a segment that no longer counts."""
        segment.close()
        if segment.record is not None:
            for suffix in (ROWS_SUFFIX, FILTER_SUFFIX):
                (self.path / file_name(segment.record.number, suffix)).unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget everything; the manifest goes first, so that a crash in between is harmless."""
        (self.path / MANIFEST_NAME).unlink(missing_ok=True)
        self._remove_all_but([])

    def _read_manifest(self) -> _Manifest | None:
        path = self.path / MANIFEST_NAME
        if not path.exists():
            return None
        signed = msgspec.json.decode(path.read_bytes(), type=_SignedManifest)
        if xxhash.xxh3_128_hexdigest(bytes(signed.manifest)) != signed.digest:
            raise DamagedSegmentError("the manifest of the event index is damaged")
        manifest = msgspec.json.decode(signed.manifest, type=_Manifest)
        if manifest.format_version != FORMAT_VERSION:
            raise _NotOurs(
                "version",
                f"the event index has format {manifest.format_version}, not {FORMAT_VERSION}",
            )
        if manifest.identity != self._identity:
            raise _NotOurs(
                "another",
                f"the event index belongs to {manifest.identity!r}, not {self._identity!r}",
            )
        return manifest

    def _open_segment(self, record: SegmentRecord, before: Sequence[Segment]) -> Segment:
        expected_first = before[-1].end_row if before else 0
        if record.first_row != expected_first:
            raise DamagedSegmentError("the segments of the event index leave a gap")
        fences = self._verified_fences(record)
        self._verify_filter(record)
        return disk_segment(self.path, record, fences, None)

    def _verified_fences(self, record: SegmentRecord) -> Ids:
        digest = xxhash.xxh3_128()
        fences = FenceBuilder()
        with (self.path / file_name(record.number, ROWS_SUFFIX)).open("rb", buffering=0) as file:
            while packed := _read_exactly(file.fileno(), _READ_BLOCKS * BLOCK_BYTES):
                digest.update(packed)
                if len(packed) % ROW_BYTES:
                    raise DamagedSegmentError("a segment of the event index ends within a row")
                fences.add(ids_of(np.frombuffer(packed, ROW)))
        if fences.row_count != record.row_count or digest.hexdigest() != record.rows_digest:
            raise DamagedSegmentError("a segment of the event index is damaged")
        return fences.finish()

    def _verify_filter(self, record: SegmentRecord) -> None:
        digest = xxhash.xxh3_128()
        path = self.path / file_name(record.number, FILTER_SUFFIX)
        with path.open("rb", buffering=0) as file:
            while packed := _read_exactly(file.fileno(), _READ_BLOCKS * BLOCK_BYTES):
                digest.update(packed)
        if digest.hexdigest() != record.filter_digest:
            raise DamagedSegmentError("a filter of the event index is damaged")

    def _remove_all_but(self, segments: Sequence[Segment]) -> None:
        kept = {
            file_name(segment.record.number, suffix)
            for segment in segments
            if segment.record is not None
            for suffix in (ROWS_SUFFIX, FILTER_SUFFIX)
        }
        for path in self.path.iterdir():
            ours = path.suffix in (ROWS_SUFFIX, FILTER_SUFFIX, ".tmp")
            if ours and path.name not in kept:
                path.unlink()


def _reason_of(error: Exception) -> DiscardReason:
    if isinstance(error, _NotOurs):
        return error.reason
    return "unreadable" if isinstance(error, OSError) else "damaged"


def _read_exactly(descriptor: int, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end of the file."""
    parts = []
    while size and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
