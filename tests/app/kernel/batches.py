"""Batches that a kernel splits, and events that it notes of them."""

from __future__ import annotations

from typing import Any, cast

from app.definitions.judging import Judging
from app.kafka.parts import Fetched
from app.wire.arrivals import PLAINLY, Arrival, arrivals_of, plain_arrival
from tests.app.kernel.runs import plain_body
from tests.world.batches import packed_batch, record_bytes

RECORDS_AT = 61


def split(kernel: Any, data: bytes, count: int, base: int = 0, from_offset: int = 0) -> Any:
    """Return the records of a batch of so many."""
    whole = data, RECORDS_AT, len(data), count
    return kernel.split(*whole, base, base + count, from_offset, 0, -1, Fetched)


def noted(kernel: Any, values: list[bytes], *, default: str | None = "d") -> dict[Any, Any]:
    """Return the runs of what is plain among some values; the others are passed over."""
    payload = b"".join(record_bytes(n, value) for n, value in enumerate(values))
    records = split(kernel, packed_batch(payload, len(values), "none"), len(values))
    runs: dict[Any, Any] = {}
    place, ends = 0, (0, 0, 7, 7, 3, 0)
    while place < len(values):
        place, *_ = kernel.arrive_many(records, place, 1 << 40, *ends, default, runs, PLAINLY)
        place += 1
    return runs


def expected_of(values: list[bytes], default: str | None = "d") -> dict[Any, list[Arrival]]:
    runs: dict[Any, list[Arrival]] = {}
    for offset, value in enumerate(values):
        arrival = plain_arrival(value, 7, 3, offset, default)
        # The kernel takes bytes of ASCII alone, of names that are short.
        if arrival is not None:
            runs.setdefault(arrival.meter_key, []).append(arrival)
    return runs


def events(kernel: Any, count: int) -> tuple[Any, list[Arrival]]:
    """Return events of one key as the kernel keeps them, and as arrivals."""
    values = [plain_body(n) for n in range(count)]
    (run,), (expected,) = noted(kernel, values).values(), expected_of(values).values()
    return run, expected


def named_by_headers(number: int) -> list[tuple[str, bytes | None]]:
    """Return the headers of a CloudEvent of binary mode, as most are."""
    texts = {"id": b"t%d" % number, "source": b"x", "organizationid": b"o", "specversion": b"1.0"}
    texts |= {"type": b"c", "subject": b"s", "time": b"2026-01-01T00:00:0%dZ" % number}
    return [(f"ce_{name}", text) for name, text in texts.items()]


def binary(kernel: Any, count: int) -> tuple[Any, list[Arrival]]:
    """Return the same of CloudEvents in binary mode."""
    sent = [
        (b' {"v":"%d","w":[1]}\n' % number, named_by_headers(number)) for number in range(count)
    ]
    payload = b"".join(
        record_bytes(n, value, [(name.encode(), text) for name, text in headers])
        for n, (value, headers) in enumerate(sent)
    )
    records = split(kernel, packed_batch(payload, count, "none"), count)
    runs: dict[Any, Any] = {}
    told = 0, 0, 7, 7, 3, 0, None, runs, PLAINLY
    assert kernel.arrive_many(records, 0, 1 << 40, *told)[1::4] == (count, False)
    expected = [
        each
        for offset, (value, headers) in enumerate(sent)
        for each in arrivals_of(value, headers, 7, 3, offset, Judging())
    ]
    (run,) = runs.values()
    return run, cast(list[Arrival], expected)
