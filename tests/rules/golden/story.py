"""What the golden log tells: half a year of three customers, two organizations and all rules.

`definitions` and `events` make the two committed files. They draw from one seed, so that they make
the same bytes again. Change them only to add a rule, and write log and digests anew then.
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from app.billing_periods.instants import iso_milliseconds
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.files import definition_line
from app.definitions.model import SettingsRecord
from app.kafka.log_readers import LogRecord
from app.offline.export import event_line
from app.wire.arrivals import ADMIT_HEADER
from tests.world import bodies
from tests.world.clock import ms

ORG = "org"
RIVAL = "rival"
"""An organization that has a subscription of the same external id."""
SEED = 20_240_101
EVENTS = 640
BEGIN_MS = ms("2024-01-01")
LAST_MS = ms("2024-06-28")
END_MS = ms("2024-07-05")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PARTITIONS = 2

Json = dict[str, Any]

METRICS: dict[str, Json] = {
    "calls": {"aggregation_type": "count_agg"},
    "traffic": {
        "aggregation_type": "sum_agg",
        "field_name": "v",
        "rounding_function": "ceil",
        "rounding_precision": 1,
        "filters": [
            {"key": "region", "values": ["eu", "us"]},
            {"key": "tier", "values": ["a", "b"]},
        ],
    },
    "balance": {
        "aggregation_type": "sum_agg",
        "field_name": "v",
        "recurring": True,
        "rounding_function": "floor",
    },
    "peak": {"aggregation_type": "max_agg", "field_name": "v"},
    "gauge": {"aggregation_type": "latest_agg", "field_name": "v"},
    "users": {"aggregation_type": "unique_count_agg", "field_name": "u"},
    "seats": {"aggregation_type": "unique_count_agg", "field_name": "u", "recurring": True},
    "level": {
        "aggregation_type": "weighted_sum_agg",
        "field_name": "v",
        "weighted_interval": "seconds",
        "recurring": True,
    },
    "average": {
        "aggregation_type": "weighted_sum_agg",
        "field_name": "v",
        "weighted_interval": "seconds",
        "rounding_function": "round",
        "rounding_precision": 3,
    },
    "thirds": {
        "aggregation_type": "sum_agg",
        "field_name": "third",
        "expression": "event.properties.n / 3",
        "rounding_function": "floor",
        "rounding_precision": 2,
    },
}
CODES = tuple(METRICS)
SETTINGS = SettingsRecord(
    late_window_s=30 * 86_400,
    max_groups=3,
    default_organization_id=ORG,
    input_limits=1,
    fold_version=1,
)
"""An older log keeps its rules and its records."""
NAMES = ("s-paris", "s-la", "s-kolkata", "s-utc", "s-utc", "s-end", "s-late", "s-nobody")
"""Whom events name; the last one has no subscription."""
BROKEN = (
    b"{",
    b"\xff\xfe",
    b"[1, [2]]",
    b'{"transaction_id":"p1","external_subscription_id":"s-utc"}',
    b'{"transaction_id":"p2","external_subscription_id":"s-utc","code":"calls","timestamp":"soon"}',
    b'{"transaction_id":"p3","external_subscription_id":"s-utc","code":"calls","timestamp":"9e9"}',
    b'{"transaction_id":"%s","external_subscription_id":"s-utc","code":"calls"}' % (b"long" * 280),
    b'{"transaction_id":"t1","external_subscription_id":"s-utc","operation":"undo"}',
)
"""Records that nothing can be made of, by turns."""


def definitions() -> bytes:
    """Return the definitions log as a file."""
    lines = [
        definition_line(command, ms(at), offset) for offset, (at, command) in enumerate(_commands())
    ]
    return with_own_ids(b"".join(lines))


def events() -> bytes:
    """Return the log of events as a file."""
    return b"".join(line + b"\n" for line in _Writer(random.Random(SEED)).lines())


_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def with_own_ids(log: bytes) -> bytes:
    """Put ids of the seed in place of those that commands draw."""
    choose, ids = random.Random(SEED), dict[bytes, bytes]()

    def own(found: re.Match[bytes]) -> bytes:
        if found[0] not in ids:
            made = uuid.UUID(int=choose.getrandbits(128), version=4)
            ids[found[0]] = str(made).encode()
        return ids[found[0]]

    return _UUID.sub(own, log)


def _commands() -> Iterator[tuple[str, Command]]:
    """Yield every definition with the time of its append."""
    metrics = {code: _metric(code) for code in CODES}
    basic = commands.create_plan(ORG, bodies.plan("basic", _basic_charges(), amount_cents=1000))
    kept = {
        each["code"]: {**each, "id": each["new_id"]} for each in basic.payload["plan"]["charges"]
    }
    yield "2023-12-01", commands.set_settings(SETTINGS)
    yield from (("2023-12-01", metric) for metric in metrics.values())
    yield "2023-12-01", basic
    yield from (("2023-12-01", plan) for plan in _other_plans())
    yield from _subscribers()
    yield from _rival()
    # An upgrade takes place at once, a downgrade at the end of the period.
    yield "2024-02-10T14:00:00Z", _subscribe("s-utc", "customer", "pro", at=None)
    yield "2024-02-15T09:30:00Z", commands.update_plan(ORG, "basic", {"charges": _changed(kept)})
    yield "2024-02-20T10:00:00Z", _subscribe("s-late", "customer", "basic", at="2024-01-03")
    yield "2024-02-25T11:11:11Z", _update("traffic", filters=[METRICS["traffic"]["filters"][0]])
    yield "2024-03-05T08:00:00Z", _subscribe("s-utc", "customer", "weekly", at=None)
    later = msgspec.structs.replace(
        SETTINGS, max_groups=2, revise_every_s=1_800, implicit_plan=True, grace_s=5_400
    )
    yield "2024-03-10T12:00:00Z", commands.set_settings(later)
    yield "2024-03-12T03:00:00Z", _customer("paris", "Asia/Tokyo", grace_days=1)
    yield "2024-03-20T16:20:00Z", _update("thirds", expression="event.properties.n * 3 / 7")
    yield (
        "2024-03-20T16:20:00Z",
        commands.apply_history(
            ORG,
            metric_ids=[metrics[code].payload["id"] for code in ("thirds", "traffic", "calls")],
            from_ms=BEGIN_MS,
            to_ms=ms("2024-03-02"),
        ),
    )
    yield "2024-04-01T10:00:00Z", commands.delete_billable_metric(ORG, "gauge")
    yield "2024-04-08T10:00:00Z", _metric("gauge", rounding_function="round")
    yield "2024-04-09T10:00:00Z", _plan_with_gauge(kept)
    for partition, offset, index in ((0, 20, None), (1, 30, None), (0, 40, 0)):
        aside = commands.set_aside(
            partition, offset, index=index, code="set_aside", message="as the golden log asks"
        )
        yield "2024-04-10T10:00:00Z", aside
    yield "2024-04-11T10:00:00Z", commands.lift(aside.id)
    yield (
        "2024-04-15T00:00:00Z",
        commands.set_settings(msgspec.structs.replace(later, late_policy="refuse")),
    )
    yield (
        "2024-05-01T09:00:00Z",
        commands.apply_history(
            ORG,
            charge_ids=[kept[code]["id"] for code in ("calls", "users", "seats")],
            from_ms=0,
            to_ms=END_MS,
        ),
    )
    yield "2024-05-10T10:00:00Z", commands.terminate_subscription(ORG, "s-utc")
    yield "2024-05-10T12:00:00Z", commands.delete_customer(ORG, "la")
    yield "2024-05-12T10:00:00Z", commands.create_plan(ORG, bodies.plan("basic", []))
    yield "2024-05-20T10:00:00Z", _subscribe("s-utc", "customer", "basic", at=None)
    yield "2024-05-25T00:00:00Z", commands.set_settings(later)
    yield "2024-06-01T10:00:00Z", commands.delete_plan(ORG, "weekly")
    yield (
        "2024-06-15T00:00:00Z",
        commands.set_settings(
            msgspec.structs.replace(later, producer_trust="topic", producers_may_correct=False)
        ),
    )


def _basic_charges() -> list[Json]:
    return [
        _charge("calls", ["g"]),
        _charge(
            "traffic",
            filters=[
                {"values": {"region": ["eu"]}, "properties": _properties(["g"])},
                {"values": {"region": ["us"], "tier": ["a", "b"]}, "properties": _properties()},
            ],
        ),
        _charge("balance", prorated=True),
        _charge("peak", ["g"]),
        _charge("gauge"),
        _charge("users", ["g"]),
        _charge("seats", prorated=True),
        _charge("level", ["g"]),
        _charge("average"),
        _charge("thirds"),
    ]


def _other_plans() -> list[Command]:
    codes = ("calls", "traffic", "balance", "users", "seats", "level", "thirds")
    pro = [_charge(code, accepts_target_wallet=code == "traffic") for code in codes]
    weekly = [_charge("calls"), _charge("peak"), _charge("level", ["g"]), _charge("users", ["g"])]
    yearly = [_charge("calls", ["g", "region"]), _charge("balance"), _charge("seats")]
    made = [
        bodies.plan("pro", pro, amount_cents=5000),
        bodies.plan("weekly", weekly, interval="weekly", amount_cents=10),
        bodies.plan("yearly", yearly, interval="yearly", bill_charges_monthly=True),
        bodies.plan("quarterly", yearly, interval="quarterly"),
    ]
    return [commands.create_plan(ORG, plan) for plan in made]


def _subscribers() -> Iterator[tuple[str, Command]]:
    yield "2023-12-02", _customer("paris", "Europe/Paris", grace_days=2)
    yield "2023-12-02", _customer("la", "America/Los_Angeles")
    yield "2023-12-02", _customer("kolkata", "Asia/Kolkata", grace_days=0)
    yield (
        "2023-12-03",
        _subscribe(
            "s-paris", "paris", "basic", at="2023-12-15T09:30:00Z", billing_time="anniversary"
        ),
    )
    yield "2023-12-03", _subscribe("s-la", "la", "weekly", at="2023-12-04")
    yield "2023-12-03", _subscribe("s-kolkata", "kolkata", "yearly", at="2023-11-03")
    yield "2023-12-03", _subscribe("s-utc", "customer", "basic", at="2024-01-01")
    ending = _subscribe("s-end", "la", "pro", at="2024-01-10", ending_at="2024-04-20T12:00:00Z")
    yield "2023-12-03", ending


def _rival() -> Iterator[tuple[str, Command]]:
    """Yield another organization that has the same names."""
    metric = commands.create_billable_metric(
        RIVAL, {"name": "calls", "code": "calls", **METRICS["calls"]}
    )
    plan = commands.create_plan(
        RIVAL, bodies.plan("basic", [_charge("calls")], interval="quarterly")
    )
    subscription = {
        "external_customer_id": "customer",
        "plan_code": "basic",
        "external_id": "s-utc",
        "subscription_at": "2023-12-20T00:00:00Z",
    }
    yield "2023-12-05", metric
    yield "2023-12-05", plan
    yield "2023-12-05", commands.create_subscription(RIVAL, subscription)


def _metric(code: str, **changes: Any) -> Command:
    body = {"name": code, "code": code, **METRICS[code], **changes}
    return commands.create_billable_metric(ORG, body)


def _update(code: str, **changes: Any) -> Command:
    body = {"name": code, "code": code, **METRICS[code], **changes}
    return commands.update_billable_metric(ORG, code, body)


def _properties(group_keys: Sequence[str] = ()) -> Json:
    keys = {"pricing_group_keys": list(group_keys)} if group_keys else {}
    return {"amount": "1", **keys}


def _charge(metric: str, group_keys: Sequence[str] = (), **more: Any) -> Json:
    return {**bodies.charge(metric, properties=_properties(group_keys)), "code": metric, **more}


def _changed(kept: dict[str, Json]) -> list[Json]:
    """Return the charges without one, with one more, and in other groups."""
    left = [each for code, each in kept.items() if code != "peak"]
    regrouped = {**kept["calls"], "properties": _properties(["g", "u"])}
    more = _charge("traffic", ["tier"], code="traffic-by-tier")
    return [regrouped, *(each for each in left if each["code"] != "calls"), more]


def _plan_with_gauge(kept: dict[str, Json]) -> Command:
    left = [each for each in _changed(kept) if each["code"] not in ("gauge", "traffic")]
    # The metric has lost a filter, and so must the charge.
    buckets = [{"values": {"region": ["eu"]}, "properties": _properties(["g"])}]
    more = [{**kept["traffic"], "filters": buckets}, _charge("gauge", ["g"])]
    return commands.update_plan(ORG, "basic", {"charges": [*left, *more]})


def _customer(external_id: str, timezone: str, grace_days: int | None = None) -> Command:
    body: Json = {"external_id": external_id, "timezone": timezone}
    if grace_days is not None:
        body["billing_configuration"] = {"invoice_grace_period": grace_days}
    return commands.upsert_customer(ORG, body)


def _subscribe(external_id: str, customer: str, plan: str, at: str | None, **more: Any) -> Command:
    body: Json = {
        "external_customer_id": customer,
        "plan_code": plan,
        "external_id": external_id,
        "billing_time": "calendar",
        **more,
    }
    if at is not None:
        body["subscription_at"] = iso_milliseconds(ms(at))
    return commands.create_subscription(ORG, body)


class _Writer:
    """Draws the raw records, in the order of their append times."""

    def __init__(self, choose: random.Random):
        self.choose = choose
        self.offsets = [0] * PARTITIONS
        self.sent: list[Json] = []
        self.corrections = 0
        self.broken = 0

    def lines(self) -> Iterator[bytes]:
        """Yield each record as a line of the file."""
        choose = self.choose
        for at_ms in sorted(choose.randrange(BEGIN_MS, LAST_MS) for _ in range(EVENTS)):
            value, headers = self._record(at_ms)
            partition = choose.choice((0, 0, 1))
            record = LogRecord(None, value, headers, at_ms, self.offsets[partition])
            self.offsets[partition] += choose.choice((1, 1, 1, 2))
            yield event_line(partition, record)

    def _record(self, at_ms: int) -> tuple[bytes, list[tuple[str, bytes | None]]]:
        choose, drawn = self.choose, self.choose.random()
        if drawn < 0.03:
            self.broken += 1
            return BROKEN[self.broken % len(BROKEN)], []
        if drawn < 0.06:
            return msgspec.json.encode([self._event(at_ms) for _ in range(3)]), []
        if drawn < 0.08:
            return self._binary(at_ms)
        if drawn < 0.11 and self.sent:
            return msgspec.json.encode(self._again()), []
        if drawn < 0.20 and self.sent:
            return msgspec.json.encode(self._correction(at_ms)), []
        if drawn < 0.22:
            late = self._event(at_ms, lag_ms=choose.randint(30, 80) * DAY_MS)
            return msgspec.json.encode(late), [(ADMIT_HEADER, b"true")]
        return msgspec.json.encode(self._event(at_ms)), []

    def _event(self, at_ms: int, lag_ms: int | None = None) -> Json:
        choose = self.choose
        lag_ms = self._lag_ms() if lag_ms is None else lag_ms
        event: Json = {
            "organization_id": ORG,
            "external_subscription_id": choose.choice(NAMES),
            "transaction_id": f"t{len(self.sent)}",
            "code": choose.choice((*CODES, *CODES, "thirds", "unheard-of")),
            "timestamp": f"{(at_ms - lag_ms) // 1000}.{(at_ms - lag_ms) % 1000:03d}",
            "properties": self._properties(),
        }
        drawn = choose.random()
        if drawn < 0.1:
            del event["organization_id"]
        elif drawn < 0.16:
            event |= {"organization_id": RIVAL, "external_subscription_id": "s-utc"}
            event["code"] = "calls"
        elif drawn < 0.2:
            del event["timestamp"]
        self.sent.append(event)
        return event

    def _lag_ms(self) -> int:
        choose = self.choose
        return choose.choice(
            (
                0,
                choose.randint(0, HOUR_MS),
                choose.randint(0, HOUR_MS),
                choose.randint(0, 3 * DAY_MS),
                choose.randint(0, 3 * DAY_MS),
                choose.randint(0, 15 * DAY_MS),
                choose.randint(0, 70 * DAY_MS),
                -choose.randint(0, 9 * DAY_MS),
            )
        )

    def _properties(self) -> Json:
        choose = self.choose
        properties: Json = {
            "v": choose.choice((choose.randint(-40, 90), f"{choose.randint(-900, 4000) / 100}")),
            "n": choose.randint(-20, 60),
            "u": choose.choice("abcde"),
            "operation_type": choose.choice(("add", "add", "remove")),
        }
        for key, values in (("g", "vwxyz"), ("tier", "abc"), ("region", ("eu", "us", "asia"))):
            if choose.random() < 0.7:
                properties[key] = choose.choice(values)
        if choose.random() < 0.2:
            properties["target_wallet_code"] = choose.choice(("main", "other"))
        if choose.random() < 0.04:
            properties["v"] = choose.choice(("many", None, "1e3", 2.50))
        return properties

    def _again(self) -> Json:
        """Return an event that was sent before: the same, or with another value."""
        known = self.choose.choice(self.sent)
        if self.choose.random() < 0.5:
            return known
        return {**known, "properties": {**known["properties"], "v": "7.77"}}

    def _correction(self, at_ms: int) -> Json:
        """Return a correction of an event, sometimes of one that is yet to come."""
        choose = self.choose
        self.corrections += 1
        known = choose.choice(self.sent)
        if choose.random() < 0.15:
            known = {**known, "transaction_id": f"t{len(self.sent) + choose.randint(0, 3)}"}
        names = ("organization_id", "external_subscription_id", "transaction_id")
        correction: Json = {name: known[name] for name in names if name in known}
        # Now and then the id of the correction before: that one holds.
        number = self.corrections - (choose.random() < 0.1)
        correction |= {"operation": "cancel", "correction_id": f"c{number}"}
        if choose.random() < 0.6:
            to = {**known, "properties": self._properties()}
            if choose.random() < 0.4:
                to["code"] = choose.choice(CODES)
            if choose.random() < 0.3:
                to["timestamp"] = f"{(at_ms - self._lag_ms()) // 1000}"
            correction |= {"operation": "amend", "event": to}
        return correction

    def _binary(self, at_ms: int) -> tuple[bytes, list[tuple[str, bytes | None]]]:
        """Return an event as CloudEvents has it in binary mode."""
        event = self._event(at_ms)
        attributes = {
            "ce_specversion": "1.0",
            "ce_source": "/golden",
            "ce_organizationid": ORG,
            "ce_id": event["transaction_id"],
            "ce_type": event["code"],
            "ce_subject": event["external_subscription_id"],
            "ce_time": iso_milliseconds(at_ms),
        }
        headers: list[tuple[str, bytes | None]] = [
            (name, text.encode()) for name, text in attributes.items()
        ]
        return msgspec.json.encode(event["properties"]), [*headers, ("traceparent", None)]
