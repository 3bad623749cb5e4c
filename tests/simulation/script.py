"""What a seed decides: a list of steps (`steps.py`), as values."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from app.definitions import commands
from app.definitions.alerts import TYPES as ALERT_TYPES
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from tests.simulation.corners import CORNERS_FROM, with_corners
from tests.simulation.daily import with_daily
from tests.simulation.forgetting import with_forgetting
from tests.simulation.further import with_further
from tests.simulation.of_charges import CHARGES_FROM, with_charges
from tests.simulation.own_ids import with_own_ids
from tests.simulation.retention import RETENTION_FROM, with_retention
from tests.simulation.second import SECOND_FROM, with_second
from tests.simulation.steps import (
    CRASH,
    REBALANCE,
    TORN,
    Aside,
    AtOnce,
    Correction,
    Define,
    Event,
    Fault,
    Pass,
    Poison,
    Script,
    Several,
    Step,
    pause,
)
from tests.simulation.widened import Made, widened
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    METRICS,
    ORG,
    SUBSCRIPTION,
    metric_body,
    plan_body,
    subscription_body,
)

__all__ = [
    "CRASH",
    "REBALANCE",
    "TORN",
    "AtOnce",
    "Correction",
    "Define",
    "Event",
    "Fault",
    "Pass",
    "Poison",
    "Script",
    "Several",
    "Step",
    "script_of",
    "with_own_ids",
]

EXTERNAL_IDS = (SUBSCRIPTION, "sub-b", "sub-c")
SECOND_PLAN = "second"


WIDENED_FROM = 1_000_000
"""Seeds from here on are widened (`widened.py`). Those before were played in runs that are told of
(bench/simulation.md), and some are kept because they found something: their scripts stay."""

ASIDE_FROM = 2_000_000
"""Seeds from here on also set records aside, as soon as those are appended."""

ALERTS_FROM = 3_000_000
"""Seeds from here on also have alerts, which come, change and go."""

DAILY_FROM = 4_000_000
"""Seeds from here on have daily records, and every other one has alerts, too."""

CHANGED_FROM = 5_000_000
"""Seeds from here on also tell whose usage has changed, off and on."""

FORGETTING_FROM = 6_000_000
"""Seeds from here on have periods that are final soon; every other one is widened as well."""

TOGETHER_FROM = 7_000_000
"""Seeds from here on have that beside alerts, daily records, usage-changed or what is set aside."""

FURTHER_FROM = 10_000_000
"""Seeds from here on have blocks of `further.py`, and any of the others together."""


def script_of(seed: int, *, events: int = 40, faults: int = 20) -> Script:
    """The script of a seed."""
    choose = random.Random(seed)
    widens = seed >= WIDENED_FROM and (seed < FORGETTING_FROM or seed % 2 == 1)
    writer = _Writer(choose, widened_by=seed if widens else None)
    script = writer.script(choose.randint(events // 2, events), faults)
    if seed >= FURTHER_FROM:
        script = with_further(script, seed, writer.codes)
        script = with_charges(script, seed, writer.codes) if seed >= CHARGES_FROM else script
        script = with_corners(script, seed, writer.codes) if seed >= CORNERS_FROM else script
        script = _with_all(script, seed, writer.codes)
        script = with_second(script, seed) if seed >= SECOND_FROM else script
        loses = RETENTION_FROM <= seed < CHARGES_FROM
        return with_retention(script, seed) if loses else script
    if seed >= TOGETHER_FROM:
        script = _beside(script, seed, writer.codes)
    if seed >= FORGETTING_FROM:
        return with_own_ids(with_forgetting(script, seed), random.Random(f"final ids {seed}"))
    if seed >= CHANGED_FROM:
        return _with_changed(script, seed)
    if seed >= DAILY_FROM:
        script = with_daily(script, seed)
        if seed % 2:
            return _with_alerts(script, seed, writer.codes)
        return with_own_ids(script, random.Random(f"daily ids {seed}"))
    if seed >= ALERTS_FROM:
        return _with_alerts(script, seed, writer.codes)
    return _with_asides(script, seed) if seed >= ASIDE_FROM else script


def _beside(script: Script, seed: int, codes: Sequence[str]) -> Script:
    """What every other seed has alone."""
    match seed // 2 % 4:
        case 0:
            return _with_alerts(script, seed, codes)
        case 1:
            return _with_alerts(with_daily(script, seed), seed, codes)
        case 2:
            return _with_changed(script, seed)
        case _:
            return _with_asides(script, seed)


def _with_all(script: Script, seed: int, codes: Sequence[str]) -> Script:
    """What others have by turns, any of it together."""
    choose = random.Random(f"all {seed}")
    if choose.random() < 0.4:
        script = with_forgetting(script, seed)
    if choose.random() < 0.6:
        script = with_daily(script, seed)
    if choose.random() < 0.6:
        script = _with_changed(script, seed)
    if choose.random() < 0.3:
        script = _with_asides(script, seed)
    if choose.random() < 0.6:
        script = _with_alerts(script, seed, codes)
    return with_own_ids(script, choose)


def _with_alerts(script: Script, seed: int, codes: Sequence[str]) -> Script:
    """Some alerts stand from the beginning; others come, change or go somewhere."""
    choose = random.Random(f"alerts {seed}")
    steps = list(script.steps)
    subscribed = [at for at, step in enumerate(steps) if _is_of(step, "create_subscription")]
    begin = subscribed[min(1, len(subscribed) - 1)] + 1
    for _ in range(choose.randint(3, 9)):
        at = choose.randrange(begin, len(steps) // 2 + begin)
        steps.insert(at, _defined(_new_alert(choose, codes)))
    for _ in range(choose.randint(0, 6)):
        steps.insert(choose.randrange(begin, len(steps)), _defined(_alert(choose, codes)))
    return with_own_ids(script._replace(steps=steps), choose)


def _with_changed(script: Script, seed: int) -> Script:
    """Most settings records have usage_changed on; some more switch it off, or on again."""
    choose, ids = random.Random(f"changed {seed}"), random.Random(f"changed ids {seed}")
    known, settings = list[Step](), SettingsRecord()
    for step in script.steps:
        if isinstance(step, Define) and step.kind == "settings":
            settings = msgspec.convert(Command.decode(step.value).payload, SettingsRecord)
            step = _telling(settings, ids, tells=choose.random() < 0.8)
        known.append(step)
        if choose.random() < 0.02:
            known.append(_telling(settings, ids, tells=choose.random() < 0.6))
    return script._replace(steps=known)


def _telling(settings: SettingsRecord, ids: random.Random, *, tells: bool) -> Step:
    record = msgspec.structs.replace(settings, usage_changed=tells)
    made: list[Step] = [_defined(commands.set_settings(record))]
    return with_own_ids(Script(1, 1, made), ids).steps[0]


def _is_of(step: Step, kind: str) -> bool:
    return isinstance(step, Define) and step.kind == kind


def _alert(choose: random.Random, codes: Sequence[str]) -> Command:
    external_id, code = choose.choice(EXTERNAL_IDS), choose.choice("ab")
    drawn = choose.random()
    if drawn < 0.2:
        return commands.delete_alert(ORG, external_id, code)
    if drawn < 0.5:
        body: dict[str, Any] = {"thresholds": _thresholds(choose)}
        if choose.random() < 0.5:
            body["billable_metric_code"] = choose.choice(codes)
        return commands.update_alert(ORG, external_id, code, body)
    return _new_alert(choose, codes)


def _new_alert(choose: random.Random, codes: Sequence[str]) -> Command:
    body = {
        "alert_type": choose.choice(ALERT_TYPES),
        "code": choose.choice("abcdefg"),
        "billable_metric_code": choose.choice(codes),
        "thresholds": _thresholds(choose),
    }
    return commands.create_alert(ORG, choose.choice((SUBSCRIPTION, *EXTERNAL_IDS)), body)


def _thresholds(choose: random.Random) -> list[dict[str, Any]]:
    once = choose.sample(range(1, 9), choose.randint(0, 3))
    steps = [choose.choice(("0.5", "2", "3"))] if not once or choose.random() < 0.6 else []
    return [
        *({"code": None, "value": str(value), "recurring": False} for value in once),
        *({"code": "step", "value": value, "recurring": True} for value in steps),
    ]


def _defined(command: Command) -> Define:
    return Define(command.type, command.encode())


def _with_asides(script: Script, seed: int) -> Script:
    """After every few inputs some of the newest records go, often while nothing is delivered."""
    choose = random.Random(f"aside {seed}")
    steps: list[Step] = []
    for step in script.steps:
        aside = isinstance(step, Event | Several | Correction) and choose.random() < 0.3
        if aside and choose.random() < 0.5:
            steps.append(Fault.SLOW)
        steps.append(step)
        if aside:
            place = choose.randrange(script.partitions)
            steps.append(Aside(place, choose.choice((1, 1, 2, 4))))
    return script._replace(steps=steps)


class _Writer:
    def __init__(self, choose: random.Random, widened_by: int | None):
        self.choose = choose
        self.widened_by = widened_by
        self.codes = sorted(choose.sample(sorted(METRICS), choose.randint(3, 6)))
        self.partitions = choose.choice((1, 2, 3))
        self.refuses = choose.random() < 0.25
        self.published: list[Event] = []
        self.charges: list[dict[str, Any]] = []
        self.metric_ids: list[str] = []
        self.charge_ids: list[str] = []
        self.corrections = 0

    def script(self, events: int, faults: int) -> Script:
        choose = self.choose
        base = self._base()
        late = [base.pop() for _ in range(choose.choice((0, 0, 0, 1, 2, 4)))][::-1]
        steps: list[Step] = [self._input() for _ in range(events)]
        steps += [self._definition() for _ in range(choose.choice((0, 2, 4, 8)))]
        steps += [self._pause() for _ in range(events // 2)]
        steps += choose.choices(list(Fault), k=faults)
        choose.shuffle(steps)
        at = choose.randrange(len(steps))
        steps[at:at] = late
        for _ in range(choose.choice((0, 1, 1, 2))):
            at = choose.randrange(len(steps) // 3, len(steps))
            steps[at:at] = self._rewriting()
        rest_ms = choose.choice((HOUR_MS, DAY_MS, 9 * DAY_MS))
        workers = choose.choice((1, 2, 3))
        if self.widened_by is not None:
            made = Made(self.codes, self.charges, self.partitions)
            base, steps = widened(base, steps, made, self.widened_by)
        return with_own_ids(Script(self.partitions, workers, [*base, *steps], rest_ms), choose)

    def _base(self) -> list[Step]:
        choose, codes = self.choose, self.codes
        settings = SettingsRecord(
            late_window_s=choose.choice((40, 40, 10, 3)) * 86_400,
            late_policy="refuse" if self.refuses else "revise",
            grace_s=choose.choice((0, 0, 86_400, 5_400)),
            close_elapsed=choose.choice((True, True, False)),
            implicit_plan=choose.choice((False, True)),
            max_groups=choose.choice((10_000, 1, 2)),
            default_organization_id=ORG,
        )
        plan = commands.create_plan(ORG, plan_body(codes, presents=True))
        self.charges = plan.payload["plan"]["charges"]
        second = plan_body(
            codes[1:],
            name=SECOND_PLAN,
            code=SECOND_PLAN,
            amount_cents=choose.choice((0, 500)),
            interval=choose.choice(("weekly", "monthly")),
        )
        made = [commands.set_settings(settings)]
        made += [self._named(metric_body(code)) for code in codes]
        plans = [plan, commands.create_plan(ORG, second)]
        self.charge_ids = [
            charge["new_id"] for each in plans for charge in each.payload["plan"]["charges"]
        ]
        made += plans
        made += [self._customer(), self._subscribe(EXTERNAL_IDS[1]), self._subscribe(SUBSCRIPTION)]
        return [Define(command.type, command.encode()) for command in made]

    def _definition(self) -> Step:
        command = self.choose.choice(_DEFINITIONS)(self)
        return Define(command.type, command.encode())

    def _customer(self) -> Command:
        choose = self.choose
        body: dict[str, Any] = {
            "external_id": "customer",
            "timezone": choose.choice(("UTC", "UTC", "Europe/Paris", "America/Los_Angeles")),
        }
        if choose.random() < 0.5:
            body["billing_configuration"] = {"invoice_grace_period": choose.randint(0, 5)}
        return commands.upsert_customer(ORG, body)

    def _subscribe(self, external_id: str | None = None) -> Command:
        choose = self.choose
        body = subscription_body(
            external_id=external_id or choose.choice(EXTERNAL_IDS),
            plan_code="plan" if external_id else choose.choice(("plan", SECOND_PLAN)),
            billing_time=choose.choice(("calendar", "calendar", "anniversary")),
        )
        if not external_id and choose.random() < 0.5:
            del body["subscription_at"]
        return commands.create_subscription(ORG, body)

    def _terminate(self) -> Command:
        return commands.terminate_subscription(ORG, self.choose.choice(EXTERNAL_IDS))

    def _delete_metric(self) -> Command:
        return commands.delete_billable_metric(ORG, self.choose.choice(self.codes))

    def _create_metric(self) -> Command:
        return self._named(metric_body(self.choose.choice(self.codes)))

    def _named(self, body: dict[str, Any]) -> Command:
        command = commands.create_billable_metric(ORG, body)
        self.metric_ids.append(command.payload["id"])
        return command

    def _edit_metric(self) -> Command:
        code = self.choose.choice(self.codes)
        changes: dict[str, Any] = {"name": f"{code} renamed"}
        if code == "filtered":
            values = self.choose.choice((["x"], ["x", "y"], ["y"]))
            changes["filters"] = [{"key": "g", "values": values}]
        elif self.choose.random() < 0.5:
            changes["rounding_function"] = self.choose.choice(("round", "ceil", "floor"))
        return commands.update_billable_metric(ORG, code, metric_body(code, **changes))

    def _plan(self) -> Command:
        """Some charges go, one comes, groups change."""
        choose = self.choose
        grouping = choose.choice(({}, {"pricing_group_keys": ["g"]}))
        kept = [
            {
                **{key: value for key, value in charge.items() if key != "new_id"},
                "id": charge["new_id"],
                "properties": {"amount": "1", **grouping},
            }
            for charge in self.charges
            if choose.random() < 0.75
        ]
        new = plan_body([choose.choice(self.codes)])["charges"]
        return commands.update_plan(ORG, "plan", {"charges": [*kept, *new]})

    def _rewriting(self) -> list[Step]:
        """A change with the history record that lets published periods have it."""
        edits = [self._plan(), self._edit_metric()][: self.choose.randint(1, 2)]
        return [Define(each.type, each.encode()) for each in (*edits, self._history())]

    def _history(self) -> Command:
        """Of some metrics or charges, over everything or some weeks."""
        choose = self.choose
        if choose.random() < 0.5:
            return commands.apply_history(
                ORG, metric_ids=self.metric_ids, from_ms=0, to_ms=START_MS + 100 * WEEK_MS
            )
        from_ms = START_MS + choose.choice((0, 0, 1, 2, 4)) * WEEK_MS
        return commands.apply_history(
            ORG,
            metric_ids=choose.sample(self.metric_ids, choose.randint(0, 3)),
            charge_ids=choose.sample(self.charge_ids, choose.randint(0, 2)),
            from_ms=from_ms,
            to_ms=from_ms + choose.choice((1, 2, 3, 100)) * WEEK_MS,
        )

    def _input(self) -> Step:
        drawn = self.choose.random()
        if self.published and drawn < 0.14:
            return self._correction()
        if drawn < 0.17:
            return Poison(self.choose.choice(_POISON), self.choose.randrange(self.partitions))
        if drawn < 0.22:
            return Several(tuple(self._event() for _ in range(self.choose.randint(0, 3))))
        return self._event()

    def _event(self) -> Event:
        choose = self.choose
        if self.published and choose.random() < 0.12:
            known = choose.choice(self.published)
            # Again, or the same id with another body; elsewhere or at home.
            changed = choose.choice(({}, {"v": "7"}))
            event = known._replace(properties={**known.properties, **changed}, place=self._place())
        else:
            event = Event(
                choose.choice(self.codes),
                f"t{len(self.published)}",
                self._lag_ms(),
                choose.choice((SUBSCRIPTION, *EXTERNAL_IDS)),
                self._properties(),
                self._place(),
                choose.random() < 0.05,
            )
        self.published.append(event)
        return event

    def _correction(self) -> Correction:
        choose = self.choose
        self.corrections += 1
        of = choose.choice(self.published)
        to = None
        if choose.random() < 0.6:
            to = of._replace(
                code=choose.choice((of.code, choose.choice(self.codes))),
                lag_ms=choose.choice((of.lag_ms, self._lag_ms())),
                properties=self._properties(),
            )
        number = choose.randint(max(1, self.corrections - 1), self.corrections)
        return Correction(of.transaction_id, f"c{number}", of.external_id, to, self._place())

    def _properties(self) -> dict[str, Any]:
        choose = self.choose
        properties: dict[str, Any] = {
            "v": f"{choose.randint(-900, 2_000) / 100:.2f}",
            "u": choose.choice("abc"),
            "operation_type": choose.choice(("add", "add", "remove")),
        }
        if choose.random() < 0.6:
            properties["g"] = choose.choice("xyz")
        if choose.random() < 0.05:
            properties["v"] = choose.choice(("many", None, "1e3"))
        return properties

    def _lag_ms(self) -> int | None:
        choose = self.choose
        return choose.choice(
            (
                0,
                None,
                choose.randint(0, HOUR_MS),
                choose.randint(-DAY_MS, 3 * DAY_MS),
                choose.randint(0, 3 * WEEK_MS),
                choose.randint(0, 60 * DAY_MS),
                WEEK_MS,
            )
        )

    def _place(self) -> int | None:
        return self.choose.choice((None, None, self.choose.randrange(self.partitions)))

    def _pause(self) -> Step:
        return pause(self.choose, Pass(DAY_MS, WEEK_MS))


_DEFINITIONS: list[Callable[[_Writer], Command]] = [
    _Writer._customer,
    _Writer._subscribe,
    _Writer._subscribe,
    _Writer._terminate,
    _Writer._delete_metric,
    _Writer._create_metric,
    _Writer._create_metric,
    _Writer._edit_metric,
    _Writer._plan,
    _Writer._plan,
    _Writer._history,
    _Writer._history,
    _Writer._history,
]

_POISON = (
    b"{",
    b"\xff\xfe",
    b"[1, [2]]",
    b'{"transaction_id":"p1","external_subscription_id":"sub"}',
    b'{"transaction_id":"p2","external_subscription_id":"sub","code":"sum","timestamp":"soon"}',
    b'{"transaction_id":"p3","external_subscription_id":"sub","code":"sum","timestamp":"9e9"}',
    b'{"transaction_id":"p4","external_subscription_id":"sub","code":"sum","timestamp":"4e9"}',
    b'{"transaction_id":"p5","external_subscription_id":"b","code":"sum","timestamp":"4102444800"}',
)
