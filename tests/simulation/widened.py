"""What some seeds have beside what every seed has: inputs that no script had had before.

Each kind is drawn for less than half of these seeds, and a third of them has few, so that there are
always scripts with little else than what they have anyway. It is a stream of its own that draws.

It has over 500 lines: a method for each kind, all drawn from that one stream in a fixed order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from app.billing_periods.instants import iso_milliseconds
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from tests.simulation.steps import (
    Ask,
    AtOnce,
    Binary,
    Correction,
    Define,
    Event,
    Number,
    Pass,
    Priced,
    Several,
    Step,
    pause,
)
from tests.world import bodies
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, plan_body, subscription_body


class Made(NamedTuple):
    """What the script has that may be changed."""

    codes: Sequence[str]
    charges: Sequence[dict[str, Any]]
    """Of the first plan."""
    partitions: int


def widened(
    base: Sequence[Step], steps: Sequence[Step], made: Made, seed: int
) -> tuple[list[Step], list[Step]]:
    """What the script begins with, and what follows, with whatever the seed adds."""
    widening = _Widening(base, steps, made, random.Random(f"widened {seed}"))
    most = widening.choose.choice((0.4, 1.0, 1.0))
    for share, add in _KINDS:
        if widening.choose.random() < share * most:
            add(widening)
    return widening.base, widening.steps


OTHER_CUSTOMER = "other"
THIRD_PLAN = "third"
CHEAPER_PLANS = ("plan", "second")
EXTERNAL_IDS = (SUBSCRIPTION, "sub-b", "sub-c", "sub-d")
TIMEZONES = (
    *("UTC", "Europe/Paris", "America/New_York", "America/Los_Angeles"),
    *("Asia/Tokyo", "Asia/Kolkata", "Pacific/Auckland"),
)

ONES = (
    *(Number("1"), Number("1.0"), Number("1.00"), Number("10e-1"), Number("0.1E1")),
    *("1", "1.0", "01", "10e-1"),
)
"""One value, spelled in many ways."""
GREATEST = (Number("21"), Number("21.0"), Number("2100e-2"), "21", "21.00")
"""Greater than what is sent otherwise."""
_TIED = ("max", "latest", "unique", "seats", "heads")
_SPELLINGS: tuple[tuple[str | Number, ...], ...] = (
    ONES,
    ONES,
    (Number("2"), Number("2.0"), "2", "2.00"),
    (Number("0"), Number("-0"), Number("0.0"), "0", "-0.0"),
    (Number("-1"), Number("-1.0"), "-1", Number("-10e-1")),
)


class _Widening:
    def __init__(
        self, base: Sequence[Step], steps: Sequence[Step], made: Made, choose: random.Random
    ):
        self.base = list(base)
        self.steps = list(steps)
        self.made = made
        self.choose = choose
        self.sent = 0
        self.has_third_plan = False

    def _spread(self, block: Sequence[Step]) -> None:
        """In this order, somewhere in the first two thirds; what is there comes in between."""
        at = self.choose.randrange(max(1, len(self.steps) * 2 // 3))
        for step in block:
            self.steps.insert(at, step)
            at += 1 + self.choose.choice((0, 0, 0, 1, 2, 4))

    def _pause(self) -> Step:
        # At the longest three days after a Monday, when many periods are in grace.
        return pause(self.choose, Pass(1, WEEK_MS))

    def _used(self, external_id: str | None = None) -> Event:
        """One more event of one of the metrics."""
        choose = self.choose
        self.sent += 1
        return Event(
            choose.choice(self.made.codes),
            f"w{self.sent}",
            choose.choice((0, None, choose.randint(0, 2 * DAY_MS), choose.randint(0, WEEK_MS))),
            external_id or choose.choice(EXTERNAL_IDS),
            {"v": str(choose.randint(-3, 9)), "u": choose.choice("abc"), "g": choose.choice("xyz")},
            choose.choice((None, choose.randrange(self.made.partitions))),
        )

    def _customers(self) -> None:
        choose = self.choose
        self.base.append(_defined(self._subscribe("sub-d", OTHER_CUSTOMER)))
        for _ in range(choose.choice((1, 1, 2))):
            customer = choose.choice(("customer", "customer", "customer", OTHER_CUSTOMER))
            block: list[Step] = []
            if choose.random() < 0.7:
                block += [_defined(self._customer(customer)), self._used(), self._pause()]
            block.append(_defined(commands.delete_customer(ORG, customer)))
            block += choose.choice(([], [self._pause()], [self._used(), self._pause()]))
            if choose.random() < 0.6:
                block.append(_defined(self._customer(customer)))
            else:
                block.append(_defined(self._subscribe(choose.choice(EXTERNAL_IDS), customer)))
            block += [self._used(), self._pause()]
            if choose.random() < 0.5:
                block.append(_defined(self._subscribe(choose.choice(EXTERNAL_IDS), customer)))
            if choose.random() < 0.4:
                block += [self._pause(), _defined(self._customer(customer))]
            self._spread([*block, self._used()])

    def _customer(self, external_id: str = "customer") -> Command:
        """With other terms: how long its periods are in grace, where it is midnight."""
        choose = self.choose
        body: dict[str, Any] = {"external_id": external_id}
        if choose.random() < 0.6:
            body["timezone"] = choose.choice((None, *TIMEZONES))
        if choose.random() < 0.8:
            body["billing_configuration"] = {
                "invoice_grace_period": choose.choice((0, 1, 3, 5, 9, None))
            }
        return commands.upsert_customer(ORG, body)

    def _subscribe(self, external_id: str, customer: str = "customer", **more: Any) -> Command:
        choose = self.choose
        body = subscription_body(
            external_id=external_id,
            external_customer_id=customer,
            plan_code=choose.choice(CHEAPER_PLANS),
            billing_time=choose.choice(("calendar", "anniversary")),
        )
        if choose.random() < 0.7:
            del body["subscription_at"]
        return commands.create_subscription(ORG, {**body, **more})

    def _settings(self) -> None:
        choose = self.choose
        (first, *_) = self.base
        assert isinstance(first, Define)
        record = msgspec.convert(Command.decode(first.value).payload, SettingsRecord)
        if choose.random() < 0.5:
            record = self._changed(record)
        if choose.random() < 0.4:
            # An older log, whose rules may be raised later.
            record = msgspec.structs.replace(record, fold_version=1)
        self.base[0] = _defined(commands.set_settings(record))
        count = choose.choice((1, 2, 2, 3, 4))
        places = sorted(choose.randrange(len(self.steps)) for _ in range(count))
        for number, place in enumerate(places):
            record = self._changed(record)
            if choose.random() < 0.5:
                record = msgspec.structs.replace(record, fold_version=2)
            self.steps.insert(place + number, _defined(commands.set_settings(record)))

    def _changed(self, record: SettingsRecord) -> SettingsRecord:
        """Some settings get another value; whose events are whose stays."""
        choose = self.choose
        names = {*choose.sample(sorted(_SETTINGS), choose.randint(1, 3))}
        if choose.random() < 0.4:
            names.add("revise_every_s")
        for name in sorted(names):
            others = [value for value in _SETTINGS[name] if value != getattr(record, name)]
            record = msgspec.structs.replace(record, **{name: choose.choice(others)})
        if record.revise_every_s % record.close_grid_s:
            record = msgspec.structs.replace(record, close_grid_s=60)
        return record

    def _trust(self) -> None:
        """For a while not everything is believed that producers say."""
        choose = self.choose
        at = choose.randrange(max(1, len(self.steps) // 2))
        kept = next(
            msgspec.convert(Command.decode(step.value).payload, SettingsRecord)
            for step in reversed([*self.base, *self.steps[:at]])
            if isinstance(step, Define) and step.kind == "settings"
        )
        changed = msgspec.structs.replace(
            kept,
            # Of events without a header `header` believes none.
            producer_trust=choose.choice(("claimed", "topic", "header")),
            producers_may_correct=choose.random() < 0.4,
            producers_may_admit=choose.random() < 0.4,
        )
        long = choose.randint(2, 1 + max(2, len(self.steps) // 3))
        self.steps.insert(at + long, _defined(commands.set_settings(kept)))
        self.steps.insert(at, _defined(commands.set_settings(changed)))
        if choose.random() < 0.5:
            # A minute is over as soon as anything happens.
            self.steps.insert(at + 1, Pass(choose.choice((59_000, 60_000, 61_000))))

    def _third_plan(self) -> None:
        """A plan that is dearer than the others, so that there are upgrades and downgrades."""
        if not self.has_third_plan:
            self.has_third_plan = True
            choose = self.choose
            codes = choose.sample(self.made.codes, choose.randint(2, len(self.made.codes)))
            body = plan_body(
                sorted(codes),
                name=THIRD_PLAN,
                code=THIRD_PLAN,
                amount_cents=100_000,
                interval=choose.choice(("weekly", "weekly", "monthly")),
            )
            self.base.append(_defined(commands.create_plan(ORG, body)))

    def _downgrades(self) -> None:
        """Planned, and then the customer moves to another timezone."""
        choose = self.choose
        self._third_plan()
        for number in range(choose.choice((1, 1, 2))):
            external_id = choose.choice((*EXTERNAL_IDS[:3], f"down-{number}"))
            block: list[Step] = [
                _defined(self._subscribe(external_id, **self._starting(), plan_code=THIRD_PLAN)),
                self._used(external_id),
                choose.choice((Pass(choose.randint(0, DAY_MS)), Pass(choose.randint(0, WEEK_MS)))),
                _defined(self._subscribe(external_id)),
                choose.choice((Pass(choose.randint(0, 2 * DAY_MS)), Pass(1, DAY_MS))),
                _defined(self._moved()),
                self._used(external_id),
            ]
            if choose.random() < 0.4:
                block += [self._pause(), _defined(self._moved()), self._used(external_id)]
            self._spread(block)

    def _boundaries(self) -> None:
        """Subscriptions that begin within hours of where a period does, in some timezone."""
        choose = self.choose
        if choose.random() < 0.2:
            # To when clocks change.
            self.steps.insert(0, Pass(choose.randint(60, 88) * DAY_MS))
        for number in range(choose.choice((1, 2))):
            external_id = f"edge-{number}"
            block: list[Step] = [_defined(self._subscribe(external_id, **self._starting()))]
            block += [self._used(external_id), self._pause(), self._used(external_id)]
            if choose.random() < 0.6:
                block += [_defined(self._moved()), self._used(external_id)]
            self._spread(block)

    def _starting(self) -> dict[str, str]:
        choose = self.choose
        day_ms = START_MS + choose.choice((-1, 0, 0, 1, 2, 3)) * WEEK_MS
        if choose.random() < 0.3:
            day_ms = START_MS + 31 * DAY_MS
        at_ms = day_ms + choose.choice((0, 1, -1, choose.randint(-14, 14) * HOUR_MS))
        return {"subscription_at": iso_milliseconds(at_ms)}

    def _moved(self) -> Command:
        body = {"external_id": "customer", "timezone": self.choose.choice(TIMEZONES)}
        return commands.upsert_customer(ORG, body)

    def _organizations(self) -> None:
        """What holds for customers that say nothing of timezone and grace, which some unsay."""
        choose = self.choose
        unsaid = {"timezone": None, "billing_configuration": {"invoice_grace_period": None}}
        for _ in range(choose.choice((1, 2, 3))):
            block: list[Step] = [self._used(), _defined(self._organization()), self._used()]
            if choose.random() < 0.5:
                body = {"external_id": "customer", **unsaid}
                block.insert(choose.randint(0, 2), _defined(commands.upsert_customer(ORG, body)))
            self._spread([*block, self._pause(), self._used()])

    def _organization(self) -> Command:
        choose = self.choose
        body: dict[str, Any] = {"timezone": choose.choice((None, *TIMEZONES))}
        if choose.random() < 0.6:
            body["billing_configuration"] = {"invoice_grace_period": choose.choice((0, 1, 4, None))}
        return commands.update_organization(ORG, body)

    def _overrides(self) -> None:
        """Subscriptions get terms of their own, which change, and leave them for another plan."""
        choose = self.choose
        self._third_plan()
        for _ in range(choose.choice((1, 2, 3))):
            name = choose.choice(EXTERNAL_IDS[:3])
            block: list[Step] = [self._used(name)]
            for _ in range(choose.choice((1, 1, 2))):
                body: dict[str, Any] = {"plan_overrides": self._overridden()}
                if choose.random() < 0.6:
                    made = commands.update_subscription(ORG, name, body)
                else:
                    made = self._subscribe(name, **body)
                block += [_defined(made), self._used(name), self._pause(), self._used(name)]
            if choose.random() < 0.5:
                other = choose.choice((*CHEAPER_PLANS, THIRD_PLAN))
                block += [_defined(self._subscribe(name, plan_code=other)), self._used(name)]
            self._spread(block)
        for _ in range(choose.choice((0, 1, 2))):
            name = choose.choice(EXTERNAL_IDS[:3])
            self._spread([self._used(name), _defined(self._own_charge(name)), self._used(name)])

    def _own_charge(self, external_id: str) -> Command:
        """A charge of one subscription changes, or of the plan, and children follow or not."""
        choose = self.choose
        code, body = choose.choice(self.made.codes), {"properties": self._grouping()}
        if choose.random() < 0.5:
            named = commands.SubscriptionCharge(ORG, external_id, code)
            return commands.update_subscription_charge(named, body)
        cascading = {"cascade_updates": choose.random() < 0.7}
        if choose.random() < 0.3:
            return commands.delete_charge(ORG, "plan", code, cascading)
        return commands.update_charge(ORG, "plan", code, {**body, **cascading})

    def _overridden(self) -> dict[str, Any]:
        choose = self.choose
        charges = [
            {"id": charge["new_id"], "properties": self._grouping()}
            for charge in self.made.charges
            if choose.random() < 0.5
        ]
        return choose.choice(
            (
                {},
                {"amount_cents": choose.choice((0, 1_000_000))},
                {"charges": charges},
                {"charges": []},
                {"amount_cents": 200_000, "charges": charges},
            )
        )

    def _at_once(self) -> None:
        """Several commands in one millisecond; an upgrade in the one at which a period ends."""
        choose = self.choose
        self._third_plan()
        for _ in range(choose.choice((1, 2, 3))):
            external_id = choose.choice(EXTERNAL_IDS[:3])
            made = [_defined(each) for each in choose.choice(_TOGETHER)(self, external_id)]
            elements: list[Event | Define] = [*made]
            for _ in range(choose.choice((0, 0, 1, 2))):
                elements.insert(choose.randint(0, len(elements)), self._used(external_id))
            grid_ms = choose.choice((1, WEEK_MS, WEEK_MS))
            past_ms = (START_MS + choose.choice(_MIDNIGHTS_MS)) % grid_ms
            together = AtOnce(tuple(elements), grid_ms, past_ms)
            self._spread([self._used(external_id), together, self._used(external_id)])

    def _upgrade(self, external_id: str, plan_code: str = THIRD_PLAN) -> Command:
        return self._subscribe(external_id, plan_code=plan_code)

    def _terminated(self, external_id: str) -> Command:
        invoice = self.choose.choice((None, None, "generate", "skip", "skip"))
        return commands.terminate_subscription(ORG, external_id, None, invoice)

    def _wished_ends(self) -> None:
        """Ends that are wished for, moved and taken back; plans that are deleted and made again."""
        choose = self.choose
        for external_id in choose.sample((*EXTERNAL_IDS[:3], "end-0", "end-1"), 2):
            ending = {"ending_at": self._day()}
            block: list[Step] = [_defined(self._subscribe(external_id, **ending))]
            block += [self._used(external_id), self._pause()]
            for _ in range(choose.choice((0, 1, 2))):
                changed = {"ending_at": choose.choice((None, self._day(), self._day()))}
                if choose.random() < 0.4:
                    changed["on_termination_invoice"] = choose.choice(("skip", "skip", None))
                block.append(_defined(commands.update_subscription(ORG, external_id, changed)))
                block += [self._used(external_id), self._pause()]
            if choose.random() < 0.3:
                block.append(_defined(commands.terminate_subscription(ORG, external_id, "pending")))
            self._spread(block)
        if choose.random() < 0.4:
            codes = choose.sample(self.made.codes, 2)
            again = commands.create_plan(ORG, plan_body(codes, name="second", code="second"))
            gone = _defined(commands.delete_plan(ORG, "second"))
            self._spread([gone, self._pause(), _defined(again), self._used()])

    def _day(self) -> str:
        at_ms = START_MS + self.choose.randint(1, 30) * DAY_MS
        return iso_milliseconds(at_ms + self.choose.choice((0, 0, 8 * HOUR_MS, DAY_MS - 1)))

    def _expressions(self) -> None:
        """A metric whose value is an expression, which changes, and a subscription to it."""
        choose = self.choose
        kind = choose.choice(("sum_agg", "max_agg", "unique_count_agg", "latest_agg"))
        body: dict[str, Any] = bodies.metric("made", kind)
        body["field_name"] = "made"
        body["recurring"] = kind in ("sum_agg", "unique_count_agg") and choose.random() < 0.5
        expressions = choose.sample(_EXPRESSIONS, 2)
        metric = commands.create_billable_metric(ORG, {**body, "expression": expressions[0]})
        plan = plan_body(["made"], name="made", code="made")
        plan["charges"][0]["properties"] = self._grouping()
        created = [
            metric,
            commands.create_plan(ORG, plan),
            self._subscribe("made", plan_code="made"),
        ]
        other = commands.update_billable_metric(ORG, "made", {**body, "expression": expressions[1]})
        self.base += map(_defined, created)
        self._spread([self._used("made")._replace(code="made") for _ in range(6)])
        self._spread([_defined(other), Ask(), self._used("made")._replace(code="made")])

    def _groups(self) -> None:
        """Charges get other groups and other filters, and usage is asked for at any time."""
        choose = self.choose
        for _ in range(choose.choice((1, 2, 3))):
            block: list[Step] = [self._used(SUBSCRIPTION), self._used(SUBSCRIPTION)]
            block += [_defined(self._regrouped()), Ask(), self._used(SUBSCRIPTION)]
            self._spread(block)

    def _regrouped(self) -> Command:
        choose = self.choose
        charges = []
        for charge in self.made.charges:
            kept = {key: value for key, value in charge.items() if key != "new_id"}
            kept["id"] = charge["new_id"]
            kept["properties"] = self._grouping()
            if choose.random() < 0.5:
                kept["filters"] = [
                    {"values": {key: [text]}, "properties": self._grouping()}
                    for key, text in choose.sample((("g", "x"), ("g", "y"), ("u", "a")), 2)
                ][: choose.randint(0, 2)]
            if choose.random() < 0.9:
                charges.append(kept)
        return commands.update_plan(ORG, "plan", {"charges": charges})

    def _grouping(self) -> dict[str, Any]:
        keys = self.choose.choice(([], ["g"], ["u"], ["g", "u"], ["u", "g"], ["operation_type"]))
        return {"amount": "1", "pricing_group_keys": keys} if keys else {"amount": "1"}

    def _questions(self) -> None:
        """Asked after about every other definition, and a few times more."""
        choose = self.choose
        asked: list[Step] = []
        for step in self.steps:
            asked.append(step)
            if isinstance(step, Define | AtOnce) and choose.random() < 0.5:
                asked.append(Ask())
        for _ in range(2):
            asked.insert(choose.randrange(len(asked)), Ask())
        self.steps = asked

    def _spellings(self) -> None:
        """Equal values in different texts; few values, so that they are often equal."""
        spelled: dict[str, dict[str, Any]] = {}

        def respelled(event: Event) -> Event:
            known = f"{event.transaction_id} {dict(event.properties)}"
            # The same again is the same again, but for some that are only equal as numbers.
            if known not in spelled or self.choose.random() < 0.15:
                spelled[known] = {**event.properties, **self._spelled()}
            return event._replace(properties=spelled[known])

        self.steps = [_with_events(step, respelled) for step in self.steps]
        for _ in range(self.choose.choice((1, 2))):
            self._ties()

    def _ties(self) -> None:
        """The greatest value several times, in several texts and on several partitions."""
        choose = self.choose
        code = choose.choice([c for c in self.made.codes if c in _TIED] or self.made.codes)
        external_id = choose.choice(EXTERNAL_IDS[:3])
        tied = [
            each._replace(
                code=code,
                lag_ms=0,
                place=choose.randrange(self.made.partitions),
                properties={**each.properties, "v": text, "u": text, "g": "x"},
            )
            for text in choose.sample(GREATEST, choose.randint(2, len(GREATEST)))
            for each in (self._used(external_id),)
        ]
        self._spread([AtOnce(tuple(tied))] if choose.random() < 0.5 else tied)

    def _spelled(self) -> dict[str, str | Number]:
        choose = self.choose
        properties: dict[str, str | Number] = {}
        if choose.random() < 0.8:
            properties["v"] = choose.choice(choose.choice(_SPELLINGS))
        for name in ("u", "g"):
            if choose.random() < 0.3:
                properties[name] = choose.choice(ONES)
        return properties

    def _prices(self) -> None:
        """Some events say what they cost, not always in a way that can be read."""
        choose = self.choose
        self.steps = [
            Priced(step, choose.choice(("1.5", "0.10", "12", "-3", "1e2", "0", "much")))
            if isinstance(step, Event) and choose.random() < 0.4
            else step
            for step in self.steps
        ]

    def _headers(self) -> None:
        """Some events are CloudEvents in binary mode, on any partition, with headers of null."""
        choose = self.choose
        for _ in range(choose.randint(2, 6)):
            self.steps.insert(choose.randrange(len(self.steps)), self._binary(self._used()))
        self.steps = [
            self._binary(step) if isinstance(step, Event) and choose.random() < 0.1 else step
            for step in self.steps
        ]

    def _binary(self, event: Event) -> Binary:
        choose = self.choose
        place = choose.choice((event.place, choose.randrange(self.made.partitions)))
        nulls = choose.sample(("ce_time", "ce_dataschema", "traceparent"), choose.randint(0, 3))
        return Binary(event._replace(place=place), tuple(sorted(nulls)))


def _defined(command: Command) -> Define:
    return Define(command.type, command.encode())


def _with_events(step: Step, change: Callable[[Event], Event]) -> Step:
    """The step with each of its events changed."""
    match step:
        case Event():
            return change(step)
        case Binary(event) | Priced(event):
            return step._replace(event=change(event))
        case Correction() if step.to is not None:
            return step._replace(to=change(step.to))
        case Several(elements):
            return Several(tuple(map(change, elements)))
        case AtOnce(elements):
            return step._replace(
                elements=tuple(change(e) if isinstance(e, Event) else e for e in elements)
            )
    return step


_KINDS: list[tuple[float, Callable[[_Widening], None]]] = [
    (0.45, _Widening._customers),
    (0.45, _Widening._settings),
    (0.3, _Widening._downgrades),
    (0.25, _Widening._boundaries),
    (0.35, _Widening._at_once),
    (0.25, _Widening._wished_ends),
    (0.25, _Widening._expressions),
    (0.3, _Widening._groups),
    (0.3, _Widening._headers),
    (0.2, _Widening._prices),
    (0.45, _Widening._spellings),
    (0.3, _Widening._questions),
    (0.4, _Widening._trust),
    (0.3, _Widening._organizations),
    (0.35, _Widening._overrides),
]
"""How often, and what. Events are respelled, and questions asked, when all others are there."""

_SETTINGS: dict[str, tuple[Any, ...]] = {
    "revise_every_s": (3_600, 1_800, 7_200, 21_600, 86_400, 3 * 86_400),
    "close_grid_s": (60, 1, 600, 1_800),
    "grace_s": (0, 5_400, 86_400, 3 * 86_400),
    "late_policy": ("revise", "refuse"),
    "late_window_s": (0, 3_600, 86_400, 3 * 86_400, 10 * 86_400, 40 * 86_400),
    "max_groups": (1, 2, 3, 10_000),
    "close_elapsed": (True, False),
    "implicit_plan": (True, False),
}
"""By name, values that make a difference within the weeks of a script."""

_EXPRESSIONS = (
    "event.properties.v * 2",
    "event.properties.v / 3",
    "round(event.properties.v, 1)",
    "concat(event.properties.u, event.properties.g)",
    "event.timestamp - 1704067200",
)

_TOGETHER: list[Callable[[_Widening, str], list[Command]]] = [
    lambda w, name: [w._upgrade(name)],
    lambda w, name: [w._upgrade(name)],
    lambda w, name: [w._upgrade(name), w._terminated(name)],
    lambda w, name: [w._upgrade(name, "second"), w._upgrade(name)],
    lambda w, name: [w._upgrade(name), w._upgrade(name, "plan")],
    lambda w, name: [w._terminated(name), w._subscribe(name)],
    lambda w, name: [w._customer(), w._moved()],
    lambda w, name: [commands.delete_customer(ORG, "customer"), w._customer()],
    lambda w, name: [w._upgrade(name), commands.delete_customer(ORG, "customer")],
]

_MIDNIGHTS_MS = (0, 0, 0, 0, 1, -1, -HOUR_MS, 5 * HOUR_MS, 8 * HOUR_MS, -9 * HOUR_MS)
"""Of a Monday, in UTC and some other timezones, seen from UTC."""
