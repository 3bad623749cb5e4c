"""CPU time per event of the fast decode path: `python -m bench.decode [--events N]`.

335-byte events in Lago's raw format, 1,000 subscriptions, 5 codes. The budget is 1.2 µs
per event with its routing fields; looking up a property comes on top and is printed beside it.
"""

import argparse
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec

from app.numbers import parse_value
from app.wire.decode import decode_record
from app.wire.events import Event
from app.wire.properties import read_properties

CODES = ("storage", "requests", "seats", "cpu", "payments")
EVENT_BYTES = 335
ROUNDS = 7
START_MS = 1_767_225_600_000


def make_events(count: int, seed: int = 1) -> list[bytes]:
    """Events of exactly `EVENT_BYTES`, in time order, a few milliseconds apart."""
    chance = random.Random(seed)
    return [_make_event(number, chance) for number in range(count)]


def _make_event(number: int, chance: random.Random) -> bytes:
    at_ms = START_MS + number * 7
    event: dict[str, Any] = {
        "organization_id": "6f0a7e1c-1a90-4a90-8a90-1a901a901a90",
        "external_customer_id": None,
        "external_subscription_id": f"sub_{chance.randrange(1000):04}",
        "transaction_id": f"{number:024x}",
        "timestamp": f"{at_ms / 1000}",
        "code": CODES[number % len(CODES)],
        "precise_total_amount_cents": "0.0",
        "properties": {"value": chance.randrange(100_000) / 100, "region": "eu", "note": ""},
        "ingested_at": at_ms // 1000,
    }
    missing = EVENT_BYTES - len(msgspec.json.encode(event))
    event["properties"]["note"] = "n" * missing
    return msgspec.json.encode(event)


def cpu_us(work: Callable[[], object], count: int) -> float:
    """Best CPU time of several rounds, in µs per event."""

    def once() -> int:
        start = time.process_time_ns()
        work()
        return time.process_time_ns() - start

    return min(once() for _ in range(ROUNDS)) / count / 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000, help="how many events to decode")
    count = parser.parse_args().events
    records = make_events(count)
    decoded = [item for record in records for _, item in decode_record(record)]
    events = [event for event in decoded if isinstance(event, Event)]
    assert len(events) == count
    assert all(len(record) == EVENT_BYTES for record in records)
    batches = [b"[" + b",".join(records[at : at + 100]) + b"]" for at in range(0, count, 100)]

    def decode_all() -> None:
        for record in records:
            decode_record(record)

    def decode_batches() -> None:
        for batch in batches:
            decode_record(batch)

    def look_up() -> None:
        for event in events:
            parse_value(read_properties(event.properties)["value"])

    print(f"one event a record  {cpu_us(decode_all, count):6.2f} us CPU per event")
    print(f"arrays of 100       {cpu_us(decode_batches, count):6.2f} us CPU per event")
    print(f"one numeric property{cpu_us(look_up, count):6.2f} us CPU per event")


if __name__ == "__main__":
    main()
