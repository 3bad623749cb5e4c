"""Compare published messages to those that a fold of both logs makes, by id. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from app.billing_periods.instants import parse_iso8601_ms
from app.definitions.periods import NEVER_MS
from app.meter.evidence import Difference
from app.wire.arrivals import SubscriptionKey
from app.wire.usage_records import PublishedRecord, Topic

MOST_NAMED = 1_000
"""Differences that are named; nobody reads more."""

Headers = Iterable[tuple[str, bytes | None]]


class MessagePlace(NamedTuple):
    """Where a published message stands."""

    topic: Topic
    partition: int
    offset: int


class _Expected(NamedTuple):
    place: MessagePlace
    digest: bytes
    name: SubscriptionKey


class Differing(NamedTuple):
    """A message that is not as the logs make it."""

    topic: Topic
    record_id: str
    name: SubscriptionKey
    published: MessagePlace | None
    """None: it is missing."""
    folded: bytes | None
    """None: the logs make none, or it stands there twice."""
    first: MessagePlace | None = None
    """Where it stood before, if it stands there twice."""

    def difference(self, number: int, value: bytes | None) -> Difference:
        """Return what to tell of it; `value`: as published."""
        live, refolded = _texts(value), _texts(self.folded)
        metric_code = (live or refolded).pop("metric_code", "")
        refolded.pop("metric_code", None)
        if live and refolded:
            names = [name for name in {**live, **refolded} if live.get(name) != refolded.get(name)]
            # The same fields in another order are other bytes, too.
            live = {name: live[name] for name in names if name in live} or {"bytes": "differ"}
            refolded = {name: refolded[name] for name in names if name in refolded}
        if self.published is not None:
            live["place"] = f"{self.published.partition}:{self.published.offset}"
        if self.first is not None:
            live["first_place"] = f"{self.first.partition}:{self.first.offset}"
        return Difference(
            kind="record",
            partition=number,
            external_subscription_id=self.name[1],
            metric_code=metric_code,
            topic=self.topic,
            record_id=self.record_id,
            live=live,
            refolded=refolded,
        )


class Comparison:
    """What is published of some subscriptions, up to the last cut of the partition of each."""

    def __init__(
        self,
        cut_of: Callable[[SubscriptionKey], int | None],
        home_of: Callable[[SubscriptionKey], int],
    ):
        """Take when the last cut of a subscription was (None: it is not compared), and its home."""
        self._cut_of, self._home_of = cut_of, home_of
        self._found: dict[tuple[Topic, str], _Expected] = {}
        self._kept_since_ms: dict[tuple[Topic, int], int] = {}
        self.compared: Counter[Topic] = Counter()
        """Number of messages that both have, by topic."""
        self.differing: list[Differing] = []

    def find(
        self, place: MessagePlace, headers: Headers, value: bytes, *, first_kept: bool
    ) -> None:
        """Note a published message. `first_kept`: retention has taken those before it."""
        told = _told(headers)
        if first_kept:
            self._kept_since_ms[place.topic, place.partition] = told.at_ms
        cut_ms = self._cut_of(told.name)
        if cut_ms is None or told.at_ms > cut_ms:
            return
        key = (place.topic, told.record_id)
        known = self._found.get(key)
        if known is not None:
            self._note(Differing(*key, told.name, place, None, known.place))
            return
        self._found[key] = _Expected(place, _digest(value), told.name)

    def keeps_nothing(self, topic: Topic, partition: int) -> None:
        """Note that retention has taken every message of a partition: none is missing."""
        self._kept_since_ms[topic, partition] = NEVER_MS

    def expect(self, record: PublishedRecord) -> None:
        """Compare a message that the logs make."""
        told = _told(record.headers)
        cut_ms = self._cut_of(told.name)
        if cut_ms is None or told.at_ms > cut_ms:
            return
        key = (record.topic, told.record_id)
        found = self._found.pop(key, None)
        if found is None:
            # Of the oldest cut that is kept retention may have taken a part.
            kept = record.topic, self._home_of(told.name)
            if told.at_ms > self._kept_since_ms.get(kept, -1):
                self._note(Differing(*key, told.name, None, record.value))
            return
        self.compared[record.topic] += 1
        if found.digest != _digest(record.value):
            self._note(Differing(*key, told.name, found.place, record.value))

    def end(self) -> None:
        """Note what is published and no log accounts for."""
        for (topic, record_id), found in self._found.items():
            self._note(Differing(topic, record_id, found.name, found.place, None))
        self._found.clear()

    def _note(self, differing: Differing) -> None:
        if len(self.differing) < MOST_NAMED:
            self.differing.append(differing)


class _HeaderFacts(NamedTuple):
    record_id: str
    name: SubscriptionKey
    at_ms: int


def _told(headers: Headers) -> _HeaderFacts:
    """Return what the CloudEvents headers of a message say."""
    texts = {key: (text or b"").decode(errors="replace") for key, text in headers}
    organization_id = texts.get("ce_source", "").removeprefix("/organizations/")
    at_ms = parse_iso8601_ms(texts.get("ce_time", ""))
    name = (organization_id, texts.get("ce_subject", ""))
    return _HeaderFacts(texts.get("ce_id", ""), name, -1 if at_ms is None else at_ms)


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()


def _texts(value: bytes | None) -> dict[str, str]:
    """Return the fields of a message as texts, those of an alert without its envelope."""
    if value is None:
        return {}
    try:
        body: Mapping[str, Any] = msgspec.json.decode(value, type=dict[str, Any])
    except msgspec.DecodeError:
        return {"bytes": value[:100].decode(errors="replace")}
    body = body.get("triggered_alert", body)
    texts = {name: _text(field) for name, field in body.items()}
    metric = body.get("billable_metric") or {}
    code = body.get("billable_metric_code") or (metric.get("code") if metric else None)
    return {**texts, "metric_code": str(code or "")}


def _text(field: object) -> str:
    return field if isinstance(field, str) else msgspec.json.encode(field).decode()
