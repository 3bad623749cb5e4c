"""What an event costs by how its producer spells it, and by how much a producer is believed.

The core alone, as `bench.pairs` has it: 1,000 subscriptions of five metrics, five events of each at
once. Records are decoded as a worker does; fetching them is not in it.

    python -m bench.spellings [--rounds N] [KIND ...]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from app.bounds.turns import drained
from app.definitions.indexes.set_asides import SetAsides
from app.definitions.judging import ORGANIZATION_HEADER, Belief, Judging
from app.kafka.names import TP
from app.kafka.parts import Fetched
from app.kafka.record_batch import RecordBatch
from app.kernel import split
from app.runtime.partition.portion import Portion
from app.settings import LOCAL_ORGANIZATION_ID
from app.wire.arrivals import MeterKey, Run
from bench.pairs import PORTION_EVENTS, RECORDS_AT, Load, tell_kinds

PAIRS = 5_000
ELEMENTS = 100
"""Events of an array."""
ARRAYS = f"arrays of {ELEMENTS}"
LATER_MS = 1 << 50
"""Later than all events."""

Json = dict[str, Any]
Headers = list[tuple[str, bytes]]
Spelled = tuple[bytes, Headers]
Spell = Callable[[Json], Spelled]

encode = msgspec.json.encode


def _with(spell: Callable[[Json], bytes] = encode, **properties: Any) -> Spell:
    return lambda event: (spell(event | {"properties": event["properties"] | properties}), [])


def _dumped(event: Json) -> bytes:
    """Spell it as producers in Python do."""
    return json.dumps(event).encode()


def _utc(event: Json) -> str:
    at = datetime.fromtimestamp(float(event["timestamp"]), UTC)
    return at.isoformat(timespec="milliseconds")


def _of_berlin(event: Json) -> str:
    at = datetime.fromtimestamp(float(event["timestamp"]), timezone(timedelta(hours=1)))
    return at.isoformat(timespec="milliseconds")


def _attributes(event: Json) -> dict[str, str]:
    """Return the attributes of a CloudEvent."""
    return {
        "specversion": "1.0",
        "source": "bench",
        "organizationid": event["organization_id"],
        "id": event["transaction_id"],
        "type": event["code"],
        "subject": event["external_subscription_id"],
        "time": _utc(event).replace("+00:00", "Z"),
    }


def _binary(event: Json) -> Spelled:
    headers = [(f"ce_{name}", text.encode()) for name, text in _attributes(event).items()]
    return encode(event["properties"]), [*headers, ("content-type", b"application/json")]


def _vouched(event: Json) -> Spelled:
    return encode(event), [(ORGANIZATION_HEADER, event["organization_id"].encode())]


def _member(event: Json) -> Spelled:
    user = int(event["properties"]["user"][1:])
    return encode(event | {"properties": event["properties"] | {"user": user}}), []


SPELLINGS: dict[str, Spell] = {
    "Lago's own": lambda event: (encode(event), []),
    "beside a trace header": lambda event: (encode(event), [("traceparent", b"00-0af7651916cd")]),
    "indented": lambda event: (json.dumps(event, indent=1).encode(), []),
    "other scripts": _with(name="Zoë, 東京"),
    "escapes": _with(_dumped, name='Zoë: "1/2"\n'),
    "a number with an exponent": _with(_dumped, share=1e-05),
    "members that are numbers": _member,
    "a time with an offset": lambda event: (encode(event | {"timestamp": _utc(event)}), []),
    "a time of another zone": lambda event: (
        encode(event | {"timestamp": _of_berlin(event)}),
        [],
    ),
    "a time that is a fraction": lambda event: (
        encode(event | {"timestamp": float(event["timestamp"]) + 0.000123}),
        [],
    ),
    "CloudEvents": lambda event: (encode(_attributes(event) | {"data": event["properties"]}), []),
    "CloudEvents, binary mode": _binary,
    ARRAYS: lambda event: (encode(event), []),
    "trust topic": lambda event: (encode(event), []),
    "trust header": _vouched,
}
TRUSTED = {
    "trust topic": Belief(-1, "topic", may_correct=True, may_admit=True),
    "trust header": Belief(-1, "header", may_correct=True, may_admit=True),
}
"""How much is believed, where that is not everything."""


class SpelledLoad(Load):
    """A partition that takes events of another spelling."""

    def __init__(self, spelling: str):
        super().__init__(PAIRS)
        self._spell = SPELLINGS[spelling]
        beliefs = [TRUSTED[spelling]] if spelling in TRUSTED else []
        self._judging = Judging(LOCAL_ORGANIZATION_ID, known_before_ms=LATER_MS, beliefs=beliefs)
        self._elements = ELEMENTS if spelling == ARRAYS else 1
        self._records: dict[int, tuple[bytes, int]] = {}
        """Batches of what comes, by first event: bytes, and the number of records."""
        self._shared: Any = SimpleNamespace(
            settings=SimpleNamespace(test_clock=True),
            homes=SimpleNamespace(of_all=lambda names: [0] * len(names)),
            definitions=SimpleNamespace(set_asides=SetAsides()),
        )

    def values(self, count: int) -> list[bytes]:
        """Return the next events as Lago's own producer would write them."""
        first, values = self.taken, super().values(count)
        self._batches.clear()
        for start in range(0, count, PORTION_EVENTS):
            part = values[start : start + PORTION_EVENTS]
            spelled = [self._spell(msgspec.json.decode(value)) for value in part]
            if self._elements > 1:
                places = range(0, len(part), self._elements)
                parts = [spelled[at : at + self._elements] for at in places]
                spelled = [(b"[%s]" % b",".join(body for body, _ in some), []) for some in parts]
            batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 40)
            for number, (value, headers) in enumerate(spelled):
                batch.append(number, timestamp=0, key=None, value=value, headers=headers)
            self._records[first + start] = bytes(batch.build()), len(spelled)
        return values

    def _decoded(self, values: list[bytes]) -> dict[MeterKey, Any]:
        first, at_ms = self.taken, self._now_ms(self.taken)
        self.taken += len(values)
        data, count = self._records.pop(first)
        offsets = count, first, first + count, first
        records = split(data, RECORDS_AT, len(data), *offsets, 0, at_ms, Fetched)
        if records is None:
            raise SystemExit("It measures the compiled kernel: run make setup")
        batch = RecordBatch([records], TP("events", 0), first, first + count, 0)
        portion = Portion(batch, first, at_ms)
        found = dict(self._runs_of(portion))
        while not portion.whole:
            # Of records that are decoded step by step it takes fewer at once.
            portion = Portion(batch, portion.next_offset, at_ms)
            for key, run in self._runs_of(portion):
                found[key] = [*found.get(key, ()), *run]
        return found

    def _runs_of(self, portion: Portion) -> list[Run]:
        drained(portion.decode(self._shared, 0, self._judging))
        if portion.refused or portion.waits_past_ms is not None:
            raise AssertionError("all of it is taken")
        return portion.runs(self._shared.homes, 0)


def main() -> None:
    """Measure each spelling, or those that are named."""
    tell_kinds(__doc__, {name: partial(SpelledLoad, name) for name in SPELLINGS})


if __name__ == "__main__":
    main()
