"""Vectors of two logs: every record, refusal and figure that they come to, in the offline fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from app.api.usage.usage_json import current_usage_json
from app.definitions.model import SettingsRecord
from app.offline.fold import EventLine, OfflineMeter
from app.wire.refusals import Refusal
from tables.partition.intake import RefusedArrival
from tests.conformance.comparison import Difference
from tests.conformance.files import Json, Literals, Vector
from tests.conformance.request_log import RequestLog
from tests.conformance.scenario import ORGANIZATION, instant_ms

_USUAL = {
    "close_grid_s": 1,
    "revise_every_s": 3600,
    "late_window_s": 3_456_000,
    "late_policy": "revise",
    "grace_s": 0,
    "close_elapsed": True,
    "fold_version": 2,
}
_COMPLETION = "period.completed"
_NOTHING = object()


def check_late_vector(vector: Vector) -> list[Difference]:
    """What differs from what the two logs of a vector are expected to come to."""
    return list(_differences(vector))


def _differences(vector: Vector) -> Iterator[Difference]:
    at_ms = instant_ms(vector.json["at"])
    meter = folded(vector, at_ms)
    records = [_read(record.value) for record in meter.records]
    read: Mapping[str, Callable[[], Sequence[Json]]] = {
        "records": lambda: [r for r in records if r["type"] != _COMPLETION],
        "completions": lambda: [r for r in records if r["type"] == _COMPLETION],
        "refused": lambda: [_refused(one) for one in meter.refused],
        "usage": lambda: _usage(meter, at_ms),
    }
    for name, wanted in vector.json["expect"].items():
        if name not in read:
            yield Difference(name, str(wanted), "nothing that is compared here")
            continue
        found = read[name]()
        if name in ("records", "completions"):
            yield from _order(name, wanted, found)
        only = {one["code"] for one in wanted} if name == "usage" else None
        yield from _matched(name, wanted, [r for r in found if only is None or r["code"] in only])


def folded(vector: Vector, at_ms: int) -> OfflineMeter:
    """Both logs of a vector, folded up to a moment."""
    requests = [(instant_ms(d["_append_time"]), d) for d in vector.json["definitions"]]
    settings = msgspec.convert({**_USUAL, **vector.json.get("settings", {})}, SettingsRecord)
    log = RequestLog(ORGANIZATION, settings, min((at for at, _ in requests), default=0))
    log.send(requests)
    meter = OfflineMeter()
    meter.run(log.lines, _events(vector.events), at_ms)
    return meter


def _events(events: Sequence[Literals]) -> Iterator[EventLine]:
    for offset, event in enumerate(events):
        value = {name: literal for name, literal in event.items() if name != "_append_time"}
        record = msgspec.json.encode({"organization_id": ORGANIZATION, **value})
        appended_ms = instant_ms(msgspec.json.decode(event["_append_time"], type=str))
        yield EventLine(appended_ms, 0, offset, record)


def _read(value: bytes) -> Json:
    """A record as it stands, with the names that vectors use beside its own."""
    record = msgspec.json.decode(value)
    period, metric = record["period"], record.get("billable_metric") or {}
    return {"code": metric.get("code"), **period, **record}


def _refused(one: RefusedArrival | Refusal) -> Json:
    if isinstance(one, RefusedArrival):
        return {"transaction_id": one.arrival.event.transaction_id, "code": str(one.code)}
    refused = msgspec.json.decode(one.value)
    return {"transaction_id": refused.get("transaction_id"), "code": str(one.code)}


def _usage(meter: OfflineMeter, at_ms: int) -> list[Json]:
    return [
        {**charge, "code": charge["billable_metric"]["code"]}
        for name in sorted(meter.definitions.all_subscription_keys())
        if (usage := meter.usage(name, at_ms)) is not None
        for charge in current_usage_json(usage)["charges_usage"]
    ]


def _order(name: str, wanted: Sequence[Json], found: Sequence[Json]) -> Iterator[Difference]:
    """Records come by cut and by period start; within one cut of a period in any order."""
    if any("closed_at" not in one for one in wanted):
        return
    expected, got = ([(r["closed_at"], r["from"]) for r in listed] for listed in (wanted, found))
    if expected != got:
        yield Difference(f"{name} by (closed_at, from)", str(expected), str(got))


def _matched(name: str, wanted: Sequence[Json], found: Iterable[Json]) -> Iterator[Difference]:
    left = list(found)
    for number, expected in enumerate(wanted):
        place = f"{name}[{number}]"
        for one in left:
            if not any(_differing(expected, one)):
                left.remove(one)
                break
        else:
            nearest = min(left, key=lambda one: len(list(_differing(expected, one))), default=None)
            if nearest is None:
                yield Difference(place, str(dict(expected)), "nothing")
                continue
            left.remove(nearest)
            for key in _differing(expected, nearest):
                yield Difference(f"{place}.{key}", str(expected[key]), str(nearest.get(key)))
    for one in left:
        keys = wanted[0].keys() if wanted else one.keys()
        yield Difference(name, "nothing more", str({key: one.get(key) for key in keys}))


def _differing(expected: Json, one: Json) -> Iterator[str]:
    return (key for key in expected if not _equal(expected[key], one.get(key, _NOTHING), key))


def _equal(wanted: Any, got: Any, key: str) -> bool:
    if key.endswith("units") and isinstance(wanted, str) and isinstance(got, str):
        try:
            return Decimal(wanted) == Decimal(got)
        except InvalidOperation:
            return False
    return bool(wanted == got)
