"""A small world for laws: one plan with a charge of every kind, and a partition that folds it.

`Live` feeds a `Partition` the way a worker does, in whatever order a law asks for. It keeps all
arrivals, so that refolds can read them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import msgspec
from hypothesis import strategies as st

from app.billing_periods.instants import parse_iso8601_ms
from app.definitions import commands
from app.definitions.commands import Command
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Applied
from app.definitions.state import Definitions
from app.definitions.timeline import NEVER_MS
from app.wire.arrivals import Arrival, MeterKey, runs_of
from app.wire.decode import decode_record
from app.wire.events import Event
from app.wire.usage_records import PublishedRecord
from tables.changelogged.checkpoint import Checkpoint
from tables.changelogged.members import MemberKey, SetKey
from tables.closing.close import close_subscription, entering_history, next_cut, settle
from tables.event_index.index import EventIndex
from tables.partition.intake import WaitForDefinitions
from tables.partition.partition import Partition
from tables.partition.redirection import refolds_of
from tables.partition.refold import Refold, cells_of
from tables.partition.snapshot import Changes
from tables.partition.tables import Carried
from tables.registry import AGGREGATIONS

Key = TypeVar("Key", bytes, MemberKey)

ORG = "org"
SUBSCRIPTION = "sub"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS


def ms(text: str) -> int:
    at_ms = parse_iso8601_ms(text)
    assert at_ms is not None
    return at_ms


START_MS = ms("2024-01-01T00:00:00Z")
"""A Monday, so that weekly calendar periods start with it."""

SETTINGS = SettingsRecord(close_grid_s=60, revise_every_s=3600)
GRACE_SETTINGS = SettingsRecord(close_grid_s=60, revise_every_s=3600, grace_s=90)
"""Periods are due two minutes after their end, between two cuts of revisions."""

METRICS: dict[str, dict[str, Any]] = {
    "count": {"aggregation_type": "count_agg"},
    "sum": {"aggregation_type": "sum_agg", "field_name": "v"},
    "balance": {"aggregation_type": "sum_agg", "field_name": "v", "recurring": True},
    "max": {"aggregation_type": "max_agg", "field_name": "v"},
    "latest": {"aggregation_type": "latest_agg", "field_name": "v"},
    "unique": {"aggregation_type": "unique_count_agg", "field_name": "u"},
    "seats": {"aggregation_type": "unique_count_agg", "field_name": "u", "recurring": True},
    "heads": {"aggregation_type": "unique_count_agg", "field_name": "u", "recurring": True},
    "level": {"aggregation_type": "weighted_sum_agg", "field_name": "v", "recurring": True},
    "filtered": {
        "aggregation_type": "sum_agg",
        "field_name": "v",
        "filters": [{"key": "g", "values": ["x", "y"]}, {"key": "u", "values": ["a", "b"]}],
    },
    "average": {"aggregation_type": "weighted_sum_agg", "field_name": "v"},
}
# A new type is in every law as soon as it is registered.
METRICS |= {
    name.removesuffix("_agg"): {
        "aggregation_type": name,
        "field_name": "u" if each.reads == "operation" else "v",
    }
    for name, each in AGGREGATIONS.items()
    if name not in {metric["aggregation_type"] for metric in METRICS.values()}
}
PRORATED = ("balance", "seats")


class CommandAt(NamedTuple):
    """A command on the definitions log."""

    append_time_ms: int
    offset: int
    command: Command


def metric_body(code: str, **changes: Any) -> dict[str, Any]:
    return {"name": code, "code": code, **METRICS[code], **changes}


def plan_body(codes: Iterable[str], **changes: Any) -> dict[str, Any]:
    charges = []
    for code in codes:
        charge: dict[str, Any] = {
            "billable_metric_code": code,
            "code": code,
            "charge_model": "standard",
            "properties": {"amount": "1"},
            "prorated": code in PRORATED,
        }
        if code in ("sum", "unique"):
            charge["properties"]["pricing_group_keys"] = ["g"]
        if code == "filtered":
            charge["filters"] = [
                {"values": {"g": ["x"]}, "properties": {"amount": "1"}},
                {
                    "values": {"u": ["a"]},
                    "properties": {"amount": "1", "pricing_group_keys": ["operation_type"]},
                },
            ]
        charges.append(charge)
    return {
        "name": "plan",
        "code": "plan",
        "interval": "weekly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": charges,
        **changes,
    }


def subscription_body(**changes: Any) -> dict[str, Any]:
    return {
        "external_customer_id": "customer",
        "plan_code": "plan",
        "external_id": SUBSCRIPTION,
        "billing_time": "calendar",
        "subscription_at": "2024-01-01T00:00:00Z",
        **changes,
    }


def lines(commands_at: Iterable[tuple[int, Command]]) -> list[CommandAt]:
    return [
        CommandAt(at_ms, offset, command) for offset, (at_ms, command) in enumerate(commands_at)
    ]


def definitions_of(codes: Sequence[str], settings: SettingsRecord = SETTINGS) -> list[CommandAt]:
    """Settings, metrics, a weekly plan and a subscription from START on."""
    made: list[Command] = [commands.set_settings(settings)]
    made += [commands.create_billable_metric(ORG, metric_body(code)) for code in codes]
    made.append(commands.create_plan(ORG, plan_body(codes)))
    made.append(commands.upsert_customer(ORG, {"external_id": "customer"}))
    made.append(commands.create_subscription(ORG, subscription_body()))
    return lines((START_MS - HOUR_MS, command) for command in made)


class Made(NamedTuple):
    """What there is to be changed."""

    charges: list[dict[str, Any]]
    metric_ids: list[str]


@st.composite
def changing_definitions(draw: st.DrawFn, codes: Sequence[str]) -> list[CommandAt]:
    """The usual definitions, some of them late, and what may be changed of them later."""
    base = definitions_of(codes)
    late = draw(st.sampled_from([0, 0, 1, 2]))
    kept, delayed = base[: len(base) - late], base[len(base) - late :]
    (plan,) = [line.command for line in base if line.command.type == "create_plan"]
    metrics = [line.command for line in base if line.command.type == "create_billable_metric"]
    metric_ids = [command.payload["id"] for command in metrics]
    changeable = Made(plan.payload["plan"]["charges"], metric_ids)
    changes = draw(st.lists(_change(codes, changeable), max_size=4))
    made = [(line.append_time_ms, line.command) for line in kept]
    then_ms = draw(st.integers(START_MS, START_MS + 2 * WEEK_MS))
    made += [(then_ms, line.command) for line in delayed]
    return lines([*made, *sorted(changes, key=lambda change: max(change[0], then_ms))])


@st.composite
def _change(draw: st.DrawFn, codes: Sequence[str], made: Made) -> tuple[int, Command]:
    # Of those on whole days several are of the same millisecond.
    days = st.integers(0, WEEKS * 7).map(lambda day: day * DAY_MS)
    at_ms = START_MS + draw(days | st.integers(0, WEEKS * WEEK_MS))
    code = draw(st.sampled_from(codes))
    kind = draw(st.sampled_from(_CHANGES))
    return at_ms, kind(draw, code, made)


def _filters(draw: st.DrawFn, code: str, made: Made) -> Command:
    """Charges whose filters name a value that is gone lose them."""
    values = draw(st.sampled_from([["x"], ["x", "y"], ["y"]]))
    body = metric_body("filtered", filters=[{"key": "g", "values": values}])
    return commands.update_billable_metric(ORG, "filtered", body)


def _delete_metric(draw: st.DrawFn, code: str, made: Made) -> Command:
    return commands.delete_billable_metric(ORG, code)


def _create_metric(draw: st.DrawFn, code: str, made: Made) -> Command:
    return commands.create_billable_metric(ORG, metric_body(code))


def _customer(draw: st.DrawFn, code: str, made: Made) -> Command:
    timezone = draw(st.sampled_from(["UTC", "Europe/Paris", "America/Los_Angeles"]))
    grace = {"invoice_grace_period": draw(st.integers(0, 9))}
    body = {"external_id": "customer", "timezone": timezone, "billing_configuration": grace}
    return commands.upsert_customer(ORG, body)


def _plan(draw: st.DrawFn, code: str, made: Made) -> Command:
    """Some charges go, one comes, groups change."""
    kept = [
        {
            **{key: value for key, value in charge.items() if key != "new_id"},
            "id": charge["new_id"],
            "properties": {"amount": "1", **draw(st.sampled_from(_GROUPINGS))},
        }
        for charge in made.charges
        if draw(st.integers(0, 3))
    ]
    new = plan_body([code])["charges"]
    return commands.update_plan(ORG, "plan", {"charges": [*kept, *new]})


_GROUPINGS: list[dict[str, Any]] = [{}, {"pricing_group_keys": ["g"]}]


def _one_charge(draw: st.DrawFn, code: str, made: Made) -> Command:
    """One charge comes, goes or is grouped anew, or a filter of it comes."""
    properties = {"amount": "1", **draw(st.sampled_from(_GROUPINGS))}
    match draw(st.integers(0, 3)):
        case 0:
            (new,) = plan_body([code])["charges"]
            new |= {"code": f"{code}-{draw(st.integers(1, 2))}", "properties": properties}
            return commands.create_charge(ORG, "plan", new)
        case 1:
            return commands.update_charge(ORG, "plan", code, {"properties": properties})
        case 2:
            values = {"g": [draw(st.sampled_from(["x", "y"]))]}
            return commands.create_charge_filter(ORG, "plan", code, {"values": values})
        case _:
            return commands.delete_charge(ORG, "plan", code)


def _subscribe(draw: st.DrawFn, code: str, made: Made) -> Command:
    return commands.create_subscription(ORG, subscription_body())


def _terminate(draw: st.DrawFn, code: str, made: Made) -> Command:
    return commands.terminate_subscription(ORG, SUBSCRIPTION)


def _history(draw: st.DrawFn, code: str, made: Made) -> Command:
    """Of some metrics or charges, over some of the first weeks."""
    from_ms = START_MS + draw(st.integers(0, 2)) * WEEK_MS
    charge_ids = [charge["new_id"] for charge in made.charges]
    return commands.apply_history(
        ORG,
        metric_ids=draw(st.lists(st.sampled_from(made.metric_ids), max_size=3)),
        charge_ids=draw(st.lists(st.sampled_from(charge_ids), max_size=2)),
        from_ms=from_ms,
        to_ms=from_ms + draw(st.integers(1, 3)) * WEEK_MS,
    )


_CHANGES = [
    _filters,
    _delete_metric,
    _create_metric,
    _customer,
    _customer,
    _plan,
    _plan,
    _one_charge,
    _one_charge,
    _subscribe,
]
_CHANGES += [_terminate, _history, _history]


class Changelog:
    """Everything that flushes wrote, compacted."""

    def __init__(self) -> None:
        self.cells: dict[bytes, bytes] = {}
        self.members: dict[MemberKey, bytes] = {}
        self.store: dict[MemberKey, bytes] = {}
        """Redis, which drops whole sets; filled in anew it has the members of the changelog."""
        self.tables: dict[str, dict[bytes, bytes]] = {
            "presence": {},
            "published": {},
            "corrections": {},
        }
        self.index_rows = b""
        self.record = b""

    def take(self, partition: Partition) -> Changes:
        """Apply one flush, and return what it has."""
        gone = set(partition.members.take_dropped())
        self.store = {n: v for n, v in self.store.items() if n[0] not in gone}
        changes = partition.take_changes()
        _compact(self.cells, changes.cells)
        _compact(self.store, changes.members)
        _compact(self.members, changes.members)
        self.tables["presence"].update(changes.event_ranges)
        self.tables["published"].update(changes.published)
        self.tables["corrections"].update(changes.corrections)
        self.index_rows += changes.index_rows
        partition.index.seal_flush(partition.checkpoint.flush)
        self.record = msgspec.msgpack.encode(partition.checkpoint)
        return changes

    def stored_sets(self) -> set[SetKey]:
        """Sets that the store has members of."""
        return {key for key, _ in self.store}

    def restored(self, definitions: Definitions) -> Partition:
        """A partition as a worker restores it."""
        checkpoint = msgspec.msgpack.decode(self.record, type=Checkpoint)
        partition = Partition(0, definitions, EventIndex(), carried=Carried(checkpoint))
        partition.index.load(self.index_rows)
        for key, value in self.tables["presence"].items():
            partition.event_ranges.load(key, value)
        for key, value in self.tables["published"].items():
            partition.published.load(key, value)
        for key, value in self.tables["corrections"].items():
            partition.corrections.load(key, value)
        for key, value in self.cells.items():
            partition.packing.load_cell(key, value)
        assert partition.restored()
        assert partition.index.length == partition.checkpoint.index_length
        return partition


def _compact(kept: dict[Key, bytes], changes: Iterable[tuple[Key, bytes | None]]) -> None:
    for key, value in changes:
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value


class Live:
    """A partition with everything that was delivered to it."""

    def __init__(self, definitions: Sequence[CommandAt] = ()):
        self.definitions = Definitions()
        self.partition = Partition(0, self.definitions, EventIndex())
        self.records: list[PublishedRecord] = []
        self.accepted = 0
        self.changelog = Changelog()
        self._to_define = list(definitions)
        self._arrived: dict[tuple[int, ...], Arrival] = {}

    def define(self, count: int = 1) -> None:
        """Apply the next definitions."""
        for _ in range(min(count, len(self._to_define))):
            line = self._to_define.pop(0)
            applied = apply(
                self.definitions, line.command.encode(), line.append_time_ms, line.offset
            )
            if isinstance(applied, Applied) and applied.impact is not None:
                self.partition.redefinition.tell(applied.impact)
                self.refold(refolds_of(self.partition.redefinition.renewing()))

    def append(self, at_ms: int, command: Command) -> None:
        """One more definition, applied at once."""
        assert not self._to_define
        self._to_define.append(CommandAt(at_ms, self.definitions.offset, command))
        self.define()

    def define_all(self) -> None:
        self.define(len(self._to_define))

    def define_until(self, at_ms: int) -> None:
        """Apply what was appended until then, and let the log have reached it."""
        while self._to_define and self._to_define[0].append_time_ms <= at_ms:
            self.define()
        self.definitions.append_time_ms = max(self.definitions.append_time_ms, at_ms)

    def deliver(self, arrivals: Sequence[Arrival]) -> None:
        """Fold one slice, and refold what an earlier copy of an event asks for."""
        for arrival in arrivals:
            self._arrived[arrival.position] = arrival
        runs = runs_of(arrivals)
        for name in self.partition.missing_members(runs):
            stored = self.changelog.store.get(name)
            assert stored == self.changelog.members.get(name)
            self.partition.members.fill(name, stored)
        try:
            self.accepted += self.partition.fold(runs).accepted
        except WaitForDefinitions as wait:
            self.define_until(wait.past_ms + 1)
            self.accepted += self.partition.fold(runs).accepted
        self.refold(self.partition.stale.take_displaced_keys())

    def keep(self, arrival: Arrival) -> None:
        """Let the log have it, whoever folds it."""
        self._arrived[arrival.position] = arrival

    def arrived(self) -> list[Arrival]:
        """Everything in the log, in the order in which it was first delivered."""
        return list(self._arrived.values())

    def flush(self) -> None:
        """Write what changed since the last flush."""
        self.changelog.take(self.partition)

    def restart(self) -> None:
        """Flush, and go on with a partition restored from what was ever written."""
        self.flush()
        self.partition = self.changelog.restored(self.definitions)

    def refold(self, meter_keys: Iterable[MeterKey]) -> None:
        """Refold meter keys from everything delivered so far."""
        meter_keys = set(meter_keys)
        if meter_keys:
            refold, swapped = Refold(self.partition, meter_keys), False
            while not swapped:
                refold.feed(list(self._arrived.values()))
                swapped = refold.swap()

    def refold_all(self) -> None:
        self.refold(
            (*name, code)
            for name, codes in self.partition.event_ranges.codes.items()
            for code in codes
        )

    def close_until(self, at_ms: int) -> None:
        """Publish every cut up to a time; everything up to it must have been delivered."""
        self.define_until(at_ms)
        names = sorted(self.definitions.all_subscription_keys())
        while True:
            cut_ms = min((next_cut(self.partition, name) for name in names), default=NEVER_MS)
            history_ms = self.partition.standing.next_history_ms()
            if min(cut_ms, history_ms) > at_ms:
                break
            if history_ms <= cut_ms:
                self.refold(refolds_of(entering_history(self.partition)))
                continue
            for name in names:
                if next_cut(self.partition, name) == cut_ms:
                    self.records += close_subscription(self.partition, name, cut_ms)
            settle(self.partition, cut_ms)

    def cells(self) -> dict[Any, Any]:
        """Every cell as packed for the changelog, but for the refold that made it."""
        found: dict[Any, Any] = {}
        for name, codes in self.partition.event_ranges.codes.items():
            for code in codes:
                for span, packed in cells_of(
                    self.partition.packing.route_of((*name, code))
                ).items():
                    for key, value in packed.items():
                        found[span, key] = msgspec.msgpack.decode(value)[:2]
        return found

    def bodies(self) -> list[dict[str, Any]]:
        """Published records as JSON."""
        return [msgspec.json.decode(record.value) for record in self.records]

    def values(self) -> list[bytes]:
        """Published records as bytes, in an order of their own."""
        return sorted(record.value for record in self.records)


def event(
    code: str,
    transaction_id: str,
    timestamp_ms: int | None,
    external_id: str = SUBSCRIPTION,
    **properties: Any,
) -> Event:
    body: dict[str, Any] = {
        "organization_id": ORG,
        "external_subscription_id": external_id,
        "transaction_id": transaction_id,
        "code": code,
        "properties": properties,
    }
    if timestamp_ms is not None:
        body["timestamp"] = f"{timestamp_ms // 1000}.{timestamp_ms % 1000:03d}"
    ((_, decoded),) = decode_record(msgspec.json.encode(body))
    assert isinstance(decoded, Event), decoded
    return decoded


_MINUTES_MS = [0, 60_000, 120_000, 120_001]
_TIMES_OF_DAY_MS = [0, 0, 1, 8 * HOUR_MS, DAY_MS - 1]
_STEPS_MS = st.one_of(
    st.sampled_from([0, 1, HOUR_MS, DAY_MS, 3 * DAY_MS, WEEK_MS, WEEK_MS + 60_000]),
    st.integers(0, WEEK_MS),
)
"""From one append to the next."""

DECIMALS = st.decimals(min_value=-20, max_value=20, places=2).map(str)
WEEKS = 4


@st.composite
def arrivals(
    draw: st.DrawFn,
    codes: Sequence[str],
    *,
    max_events: int = 12,
    ids: int = 40,
    external_ids: Sequence[str] = (SUBSCRIPTION,),
) -> list[Arrival]:
    """Events of two raw partitions in position order: some late, some early, some repeated."""
    size = draw(st.integers(0, max_events))
    append_time_ms = START_MS
    offsets = [0, 0]
    rekeyed = 0
    made: list[Arrival] = []
    for _ in range(size):
        reached_ms = append_time_ms
        append_time_ms += draw(_STEPS_MS)
        if draw(st.integers(0, 2)) == 0:
            # In the minutes of grace after a period, where a late event meets a due time.
            week_ms = (append_time_ms - START_MS) // WEEK_MS * WEEK_MS + WEEK_MS
            append_time_ms = START_MS + week_ms + draw(st.sampled_from(_MINUTES_MS))
        append_time_ms = max(reached_ms, min(append_time_ms, START_MS + WEEKS * WEEK_MS + HOUR_MS))
        code = draw(st.sampled_from(codes))
        # At midnights often: where periods begin, and unique counts count days.
        day = draw(st.integers(-4, (append_time_ms - START_MS) // DAY_MS + 3))
        timestamp_ms = START_MS + day * DAY_MS + draw(st.sampled_from(_TIMES_OF_DAY_MS))
        properties: dict[str, Any] = {"v": draw(DECIMALS), "u": draw(st.sampled_from("abc"))}
        properties["operation_type"] = draw(st.sampled_from(["add", "remove", "add"]))
        if draw(st.booleans()):
            properties["g"] = draw(st.sampled_from(["x", "y", " "]))
        partition = draw(st.sampled_from([0, 0, 1]))
        identity = f"t{draw(st.integers(0, ids))}"
        made.append(
            Arrival(
                event(
                    code,
                    identity,
                    timestamp_ms,
                    draw(st.sampled_from(external_ids)),
                    **properties,
                ),
                ORG,
                append_time_ms,
                partition,
                offsets[partition],
                0,
                rekeyed if partition else -1,
            )
        )
        offsets[partition] += 1
        rekeyed += partition
    return made


@st.composite
def slices(
    draw: st.DrawFn, events: Sequence[Arrival], *, shuffle: bool = True
) -> list[list[Arrival]]:
    """Any order of delivery, in any batches."""
    shuffled = draw(st.permutations(events)) if shuffle else list(events)
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=3)))
    bounds = [0, *cuts, len(events)]
    return [list(shuffled[a:b]) for a, b in pairwise(bounds)]
