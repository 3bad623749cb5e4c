"""What must hold after a seed: live equals offline, byte for byte, and nothing was lost.

Both are fed the same two logs. The offline fold is checked by `tests.simulation.recount`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, get_args

import msgspec

from app.billing_periods.instants import parse_iso8601_ms
from app.definitions.files import DefinitionLine
from app.definitions.indexes.set_asides import SetAsides
from app.definitions.judging import Judging
from app.definitions.log import apply
from app.definitions.set_asides import named_in
from app.definitions.state import Definitions
from app.kafka.topics import METER_DEFINITIONS
from app.meter.usage import PeriodUsage
from app.offline.fold import EventLine, OfflineMeter
from app.wire.arrivals import Arrival, SubscriptionKey, arrivals_of, index_of
from app.wire.decode import Headers
from app.wire.identity import event_id, same_body
from app.wire.instant_records import INSTANT_TYPES
from app.wire.refusals import Refusal, RefusalCode
from app.wire.usage_records import Topic
from tables.partition.intake import RefusedArrival
from tests.simulation.asking import REGROUPED, Answers, offline_usage_at
from tests.simulation.everywhere import passed_over
from tests.simulation.kafka import Broker, LogEntry
from tests.simulation.members import Everything, Forgotten, Members, members_of
from tests.simulation.rules import broken_rules
from tests.world.past import as_told

_CONFLICT = RefusalCode.CONFLICTING_DUPLICATE.value
_ASIDE = (RefusalCode.SET_ASIDE.value, RefusalCode.BEYOND_RETENTION.value)
_LATE = (RefusalCode.TOO_LATE.value, RefusalCode.PERIOD_CLOSED.value)

Place = tuple[int, int, int]
"""(raw partition, raw offset, array index)"""


class DeadLetter(NamedTuple):
    """Where something refused came from, and why."""

    place: Place
    code: str


@dataclass
class Outcome:
    """What is to be seen after a script was played."""

    broker: Broker
    partitions: int
    end_ms: int
    usage: dict[SubscriptionKey, PeriodUsage | None]
    members: dict[SubscriptionKey, tuple[Members, Forgotten]]
    """What the changelogs have, where no fault has torn them."""
    answers: Answers | None
    """Usage of past periods and in other groups, where the script asks for it."""
    violations: list[str]
    parked: Collection[SubscriptionKey] = ()
    """Whose figures stood as they were: only the logs as they once were tell others."""

    def _stands(self, record: Any) -> bool:
        """Whether what is told is of nobody whose figures stood as they were."""
        about = record.get("triggered_alert", record)
        return (record["organization_id"], about["external_subscription_id"]) not in self.parked

    @cached_property
    def records(self) -> list[bytes]:
        """Usage records up to the end, as they stand on the topic, repeats included."""
        return [
            value
            for number in range(self.partitions)
            for entry in self.broker.log("usage-records", number).entries
            if (value := entry.value) is not None and _closed_ms(value) <= self.end_ms
        ]

    def messages(self, topic: Topic) -> list[LogEntry]:
        """Everything that stands on another topic, up to the end, repeats included."""
        return [
            entry
            for number in range(self.partitions)
            for entry in self.broker.log(topic, number).entries
            if _ms_of(entry.headers) <= self.end_ms
        ]

    def _messages_differ(self, offline: OfflineMeter) -> Iterator[str]:
        for topic in get_args(Topic):
            if topic == "usage-records":
                continue
            ours: dict[bytes, bytes | None] = {}
            for entry in self.messages(topic):
                identity = _id_of(entry.headers)
                if ours.setdefault(identity, entry.value) != entry.value:
                    yield f"{topic}: two bodies under id {identity!r}"
            theirs = {_id_of(r.headers): r.value for r in offline.records if r.topic == topic}
            for identity in sorted(ours.keys() | theirs.keys()):
                told = ours.get(identity) or theirs.get(identity)
                if told is not None and not self._stands(msgspec.json.decode(told)):
                    continue
                if ours.get(identity) != theirs.get(identity):
                    yield f"{topic}: live {ours.get(identity)!r}, offline {theirs.get(identity)!r}"

    def raw(self) -> list[LogEntry]:
        """Everything on the raw topic."""
        return raw_of(self.broker, self.partitions)

    def check(self) -> list[str]:
        """Every violation."""
        found = list(self.violations)
        offline = self.offline()
        found += _one_body_an_id(self.records)
        theirs = _of_topic(offline, "usage-records")
        found += _same_records(self._of_others(self.records), self._of_others(theirs))
        found += _complete(self.records)
        found += self._messages_differ(offline)
        found += passed_over(offline, *self.lines, self.end_ms)
        found += self._usage_differs(offline)
        found += self._members_differ(offline)
        found += self._accounts(offline)
        published = [msgspec.json.decode(value) for value in self._of_others(self.records)]
        arrivals = arrivals_in(self.broker, self.partitions)
        arrivals = [arrival for arrival in arrivals if arrival.name not in self.parked]
        found += broken_rules(published, offline, arrivals)
        if self.answers is not None:
            found += self._answers_differ(self.answers, offline)
        return found

    @property
    def _has_lost_events(self) -> bool:
        """Whether retention took any, which who groups them otherwise would have to read."""
        return any(self.broker.log("events-raw", p).deleted for p in range(self.partitions))

    def _of_others(self, records: Iterable[bytes]) -> list[bytes]:
        return [value for value in records if self._stands(msgspec.json.decode(value))]

    def offline(self) -> OfflineMeter:
        """The offline fold of the same two logs."""
        meter = OfflineMeter()
        meter.run(*self.lines, self.end_ms)
        return meter

    @cached_property
    def lines(self) -> tuple[list[DefinitionLine], list[EventLine]]:
        """The two logs."""
        definitions = [
            DefinitionLine(entry.timestamp, entry.offset, entry.value)
            for entry in self.broker.log(METER_DEFINITIONS).entries
        ]
        events = [
            EventLine(entry.timestamp, entry.partition, entry.offset, entry.value, entry.headers)
            for entry in self.raw()
        ]
        return definitions, events

    def _usage_differs(self, offline: OfflineMeter) -> Iterator[str]:
        names = sorted(offline.definitions.all_subscription_keys())
        if names != sorted(self.usage):
            yield f"usage is of {sorted(self.usage)}, offline of {names}"
        for name in names:
            if name in self.parked:
                continue
            live, batch = self.usage.get(name), offline.usage(name, self.end_ms)
            if _comparable(live) != _comparable(batch):
                yield f"current usage of {name[1]}: live {_text(live)}, offline {_text(batch)}"

    def _answers_differ(self, live: Answers, offline: OfflineMeter) -> Iterator[str]:
        batch = offline_usage_at(offline, arrivals_in(self.broker, self.partitions), self.end_ms)
        defined = set(offline.definitions.all_subscription_keys())
        for asked in sorted(live.keys() | batch.keys()):
            # A worker lists few of the names that nothing defines, or none.
            is_unread = asked[1] in REGROUPED and self._has_lost_events
            if asked not in live and (asked[0] not in defined or is_unread):
                continue
            if asked[0] in self.parked:
                continue
            theirs = batch.get(asked)
            ours = as_told(live.get(asked), theirs)
            if _comparable(ours) != _comparable(theirs):
                yield f"asked for {asked}: live {_text(ours)}, offline {_text(theirs)}"

    def _members_differ(self, offline: OfflineMeter) -> Iterator[str]:
        """A wrong one shows in no figure before its next event; Redis is filled in with these."""
        at_hand = offline.partition.members.at_hand(Everything())
        kept = {
            (key, text): member
            for key, found in at_hand.items()
            for text, (member, _) in found.items()
        }
        for name, (ours, forgotten) in sorted(self.members.items()):
            if name in self.parked:
                continue
            theirs = members_of(offline.partition, name, kept, self.end_ms, forgotten)
            for one in sorted(ours.keys() | theirs.keys(), key=repr):
                if ours.get(one) != theirs.get(one):
                    yield f"member {one}: live {ours.get(one)}, offline {theirs.get(one)}"

    # Nothing is lost: every element is counted or said to be refused.

    def _accounts(self, offline: OfflineMeter) -> Iterator[str]:
        asides = set_asides_of(self.broker)
        letters: set[DeadLetter] = set()
        of_parked = {
            place
            for place, element in self._elements
            if isinstance(element, Arrival) and element.name in self.parked
        }
        for letter in self._dead_letters():
            partition, offset, index = letter.place
            aside = asides.of(partition) if letter.code in _ASIDE else None
            if aside is None or not (aside.holds(offset) or aside.holds_element(offset, index)):
                letters.add(letter)
        expected = set(self._refused(offline))
        disputed = self._disputed()
        late_repetitions = self._late_repetitions(expected, letters)
        late_repetitions |= of_parked
        for letter in sorted(expected - letters):
            if letter.place in late_repetitions:
                continue
            if letter.place not in disputed or letter.code != _CONFLICT:
                yield f"no dead letter {letter.code} of {letter.place}"
        for letter in sorted(letters - expected):
            if letter.place in late_repetitions:
                continue
            if letter.place not in disputed or letter.code != _CONFLICT:
                yield f"dead letter {letter.code} of {letter.place}, which is not refused"

    def _dead_letters(self) -> Iterator[DeadLetter]:
        for number in range(self.partitions):
            for entry in self.broker.log("events-dead-letter", number).entries:
                texts = {name: (value or b"").decode() for name, value in entry.headers}
                place = (
                    int(texts["meter-source-partition"]),
                    int(texts["meter-source-offset"]),
                    int(texts["meter-source-index"]),
                )
                yield DeadLetter(place, texts["meter-error-code"])

    def _refused(self, offline: OfflineMeter) -> Iterator[DeadLetter]:
        late = {
            _place(one.arrival): one.code
            for one in offline.refused
            if isinstance(one, RefusedArrival)
        }
        yield from (DeadLetter(place, code) for place, code in late.items())
        for place, element in self._elements:
            if isinstance(element, Refusal):
                yield DeadLetter(place, element.code)
        for arrivals in self._by_id(late).values():
            first = arrivals[0]
            for arrival in arrivals[1:]:
                if not same_body(first.event, arrival.event):
                    yield DeadLetter(_place(arrival), _CONFLICT)

    def _by_id(self, refused: Any = ()) -> dict[bytes, list[Arrival]]:
        """Arrivals of each id by position, those refused aside."""
        found: dict[bytes, list[Arrival]] = {}
        for place, element in self._elements:
            if isinstance(element, Arrival) and place not in refused:
                event = element.event
                identity = event_id(
                    element.organization_id, event.external_subscription_id, event.transaction_id
                )
                found.setdefault(identity, []).append(element)
        for arrivals in found.values():
            arrivals.sort(key=lambda arrival: arrival.position)
        return found

    def _disputed(self) -> set[Place]:
        """Events of ids that came three times: who is told of a conflict depends on the order.

        So are those that repeat one that is deleted: nobody knows its body.
        """
        logs = (self.broker.log("events-raw", number) for number in range(self.partitions))
        deleted = {(entry.partition, entry.offset) for log in logs for entry in log.deleted}
        return {
            _place(arrival)
            for arrivals in self._by_id().values()
            if len(arrivals) > 2 or _place(arrivals[0])[:2] in deleted
            for arrival in arrivals[1:]
        }

    def _late_repetitions(self, expected: set[DeadLetter], letters: set[DeadLetter]) -> set[Place]:
        """Events that are late by the log and repeat an id.

        A worker that has not applied the definition yet tells of the repetition instead, if there
        is something to tell: the same body again is nothing. It tells so, too, of what repeats an
        event that is late, and counts for that.
        """
        late = {letter.place for letter in expected if letter.code in _LATE}
        told = {letter.place for letter in letters if letter.code == _CONFLICT}
        return {
            place
            for first, *others in self._by_id().values()
            for place, other in ((_place(other), other) for other in others)
            if (place in told and late & {place, _place(first)})
            or (place in late and same_body(first.event, other.event))
        }

    @cached_property
    def _elements(self) -> list[tuple[Place, Any]]:
        return list(_elements_in(self.broker, self.partitions))


def _of_topic(offline: OfflineMeter, topic: Topic) -> list[bytes]:
    return [record.value for record in offline.records if record.topic == topic]


def _id_of(headers: Headers) -> bytes:
    return dict(headers)["ce_id"] or b""


def _ms_of(headers: Headers) -> int:
    at_ms = parse_iso8601_ms((dict(headers)["ce_time"] or b"").decode())
    assert at_ms is not None
    return at_ms


def raw_of(broker: Broker, partitions: int) -> list[LogEntry]:
    """Everything that ever was on the raw topic."""
    logs = (broker.log("events-raw", number) for number in range(partitions))
    return [entry for log in logs for entry in (*log.deleted, *log.entries)]


def set_asides_of(broker: Broker) -> SetAsides:
    """What the definitions log sets aside."""
    found = SetAsides()
    found.foresee(named_in(entry.value for entry in broker.log(METER_DEFINITIONS).entries))
    return found


def _definitions_of(broker: Broker) -> Definitions:
    definitions = Definitions()
    for entry in broker.log(METER_DEFINITIONS).entries:
        apply(definitions, entry.value, entry.timestamp, entry.offset)
    return definitions


def _elements_in(broker: Broker, partitions: int) -> Iterator[tuple[Place, Any]]:
    """Everything on the raw topic that is not set aside, element by element."""
    asides, judging = set_asides_of(broker), Judging.by(_definitions_of(broker))
    reached_ms: Counter[int] = Counter()
    for entry in raw_of(broker, partitions):
        number = entry.partition
        reached_ms[number] = max(reached_ms[number], entry.timestamp)
        for element in arrivals_of(
            entry.value,
            entry.headers,
            reached_ms[number],
            number,
            entry.offset,
            judging,
            asides.of(number),
        ):
            yield (number, entry.offset, index_of(element)), element


def arrivals_in(broker: Broker, partitions: int) -> list[Arrival]:
    """Every event on the raw topic that is not set aside."""
    elements = _elements_in(broker, partitions)
    return [element for _, element in elements if isinstance(element, Arrival)]


def _place(arrival: Arrival) -> Place:
    return arrival.raw_partition, arrival.raw_offset, arrival.array_index


def _one_body_an_id(records: list[bytes]) -> Iterator[str]:
    bodies: dict[str, bytes] = {}
    for value in records:
        identity = msgspec.json.decode(value)["id"]
        if bodies.setdefault(identity, value) != value:
            yield f"two bodies under id {identity}: {bodies[identity]!r} and {value!r}"


def _same_records(live: list[bytes], offline: list[bytes]) -> Iterator[str]:
    ours = {record["id"]: record for record in map(msgspec.json.decode, live)}
    theirs = {record["id"]: record for record in map(msgspec.json.decode, offline)}
    for identity in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(identity), theirs.get(identity)
        if one is None or other is None:
            who = "only live" if other is None else "only offline"
            yield f"{who}: {_brief(one or other)}"
        elif one != other:
            fields = [name for name in one if one[name] != other.get(name)]
            told = ", ".join(f"{name} {one[name]!r} != {other.get(name)!r}" for name in fields)
            yield f"live != offline: {_brief(one)}: {told}"
    if set(live) != set(offline) and ours == theirs:
        yield "the bytes of live and offline records differ in their order or spelling"


def _brief(record: Any) -> str:
    metric = (record.get("billable_metric") or {}).get("code")
    names = ("external_subscription_id", "revision", "units", "events_count", "closed_at")
    told = " ".join(f"{name}={record.get(name)}" for name in names)
    return f"{record['type']} {metric} from {record['period']['from']} {told}"


def _complete(records: list[bytes]) -> Iterator[str]:
    """A consumer that keeps the newest revisions holds what period.completed says."""
    newest: dict[str, dict[str, Any]] = {}
    for value in records:
        record = msgspec.json.decode(value)
        if record["type"] in INSTANT_TYPES:
            continue
        known = newest.get(record["cell_id"])
        if known is None or known["revision"] < record["revision"]:
            newest[record["cell_id"]] = record
    cells: dict[tuple[str, str], list[int]] = {}
    for record in newest.values():
        if record["type"] != "period.completed":
            cells.setdefault(_period(record), []).append(int(record["digest"], 16))
    for record in newest.values():
        if record["type"] == "period.completed":
            held = cells.pop(_period(record), [])
            told = (record["records_count"], int(record["digest"], 16))
            if told != (len(held), sum(held) % (1 << 128)):
                yield f"{_period(record)} is not what period.completed says: {told}"
    for period in cells:
        yield f"{period} has records and no period.completed"


def _period(record: dict[str, Any]) -> tuple[str, str]:
    return record["lago_subscription_id"], record["period"]["from"]


def _closed_ms(value: bytes) -> int:
    closed_ms = parse_iso8601_ms(msgspec.json.decode(value)["closed_at"])
    assert closed_ms is not None
    return closed_ms


def _comparable(usage: PeriodUsage | None) -> Any:
    if usage is None:
        return None
    charges = [(one.charge.id, one.metric.id) for one in usage.charges]
    rows = sorted((row for row in usage.rows), key=repr)
    rows = [row for row in rows if row.events_count or row.units or row.total_aggregated_units]
    return usage.subscription.id, usage.from_ms, usage.end_ms, usage.timezone, charges, rows


def _text(usage: PeriodUsage | None) -> str:
    return repr(_comparable(usage))
