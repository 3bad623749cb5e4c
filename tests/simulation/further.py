"""What seeds from `FURTHER_FROM` on have beside: definitions that no other script has.

Each kind is a block of steps in this order, somewhere in the first two thirds of a script. It is a
stream of its own that draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from app.billing_periods.instants import iso_milliseconds
from app.bounds.limits import INPUT_LIMITS, VALUE_BYTES
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from tests.simulation.blocks import EXTERNAL_IDS, Blocks, defined
from tests.simulation.steps import Define, Event, Script, Step
from tests.world import bodies
from tests.world.clock import DAY_MS, HOUR_MS, START_MS
from tests.world.definitions import METRICS, ORG, plan_body

PLANS = ("plan", "second")


def with_further(script: Script, seed: int, codes: Sequence[str]) -> Script:
    """The same with some blocks more."""
    script = script._replace(steps=[_accepted(step) for step in script.steps])
    further = _Further(script, f"further {seed}", codes)
    for add in further.choose.choices(_KINDS, k=further.choose.randint(1, 4)):
        add(further)
    return script._replace(steps=further.steps)


def _accepted(step: Step) -> Step:
    """A plan that gets a charge under the code of one that stays is refused."""
    if not isinstance(step, Define) or step.kind != "update_plan":
        return step
    command = Command.decode(step.value)
    charges = command.payload["plan"].get("charges") or ()
    known = {charge["code"] for charge in charges if "id" in charge}
    for charge in charges:
        if "id" not in charge and charge.get("code") in known:
            charge["code"] += "-again"
    return defined(command)


class _Further(Blocks):
    """The blocks of this module."""

    def _plan_again(self) -> None:
        """A plan is deleted with its children, and comes again under its code."""
        choose, code = self.choose, self.choose.choice(PLANS)
        block: list[Step] = []
        for name in choose.sample(EXTERNAL_IDS, choose.randint(1, 3)):
            overrides: tuple[dict[str, Any], ...] = ({"amount_cents": 100}, {"charges": []})
            body = {"plan_overrides": choose.choice(overrides)}
            if choose.random() < 0.6:
                block.append(defined(commands.update_subscription(ORG, name, body)))
            else:
                block.append(self.subscribed(name, code, **body))
            block.append(self.used(name))
        block += [choose.choice((self.pause(), self.used(self.name())))]
        block.append(defined(commands.delete_plan(ORG, code)))
        block += choose.choice(([], [self.used(self.name()), self.pause()]))
        codes = choose.sample(sorted(self.codes), choose.randint(1, len(self.codes)))
        interval = choose.choice(("weekly", "monthly"))
        more: dict[str, Any] = {"interval": interval, "amount_cents": choose.choice((0, 900))}
        again = plan_body(codes, name=code, code=code, **more)
        block.append(defined(commands.create_plan(ORG, again)))
        name = self.name()
        block += [self.subscribed(name, code), self.used(name), self.pause(), self.used(name)]
        self.spread(block)

    def _starts(self) -> None:
        """A start to come is moved, or taken back; events come before it."""
        choose, name = self.choose, self.choose.choice((*EXTERNAL_IDS, "later"))
        block: list[Step] = [self.subscribed(name, "plan", subscription_at=self._day())]
        for _ in range(choose.choice((1, 2))):
            moved = {"subscription_at": self._day()}
            block += [self.used(name), choose.choice((self.pause(), self.used(name)))]
            block.append(defined(commands.update_subscription(ORG, name, moved, "pending")))
        if choose.random() < 0.3:
            block.append(defined(commands.terminate_subscription(ORG, name, "pending")))
            block.append(self.subscribed(name, choose.choice(PLANS)))
        self.spread([*block, self.used(name), self.pause(), self.used(name)])

    def _day(self) -> str:
        day_ms = START_MS + self.choose.randint(-2, 40) * DAY_MS
        return iso_milliseconds(day_ms + self.choose.choice((0, 0, 1, -1, 8 * HOUR_MS)))

    def _renamed(self) -> None:
        """A metric that no plan uses changes its code; another one takes the old code."""
        choose, name = self.choose, self.name()
        kind = choose.choice(sorted({m["aggregation_type"] for m in METRICS.values()}))
        field_name = "u" if kind == "unique_count_agg" else "v"
        body: dict[str, Any] = {**bodies.metric("old", kind), "field_name": field_name}
        body["recurring"] = kind in ("unique_count_agg", "sum_agg") and choose.random() < 0.5
        made = commands.create_billable_metric(ORG, body)
        renamed = commands.update_billable_metric(ORG, "old", {**body, "code": "new"})
        block: list[Step] = [defined(made), self.used(name, "old"), self.used(name, "new")]
        charge = self.charge("new")
        block += [defined(renamed), self.used(name, "new")]
        block += [defined(charge), self.used(name, "new")]
        other = commands.create_billable_metric(ORG, bodies.metric("old", "count_agg"))
        block += [defined(other), self.used(name, "old")]
        block += [defined(self.charge("old")), self.pause(), self.used(name, "old")]
        if choose.random() < 0.5:
            gone = commands.delete_charge(ORG, "plan", charge.payload["charge"]["code"])
            block += [defined(gone), self.used(name, "new")]
            back = commands.update_billable_metric(ORG, "new", {**body, "code": "back"})
            block += [defined(back), self.used(name, "back"), defined(self.charge("back"))]
        self.spread(block)

    def _in_advance(self) -> None:
        """Charges that bill each event come in the middle of a period, change, and go."""
        choose = self.choose
        for _ in range(choose.choice((1, 2))):
            code, name = choose.choice(self.codes), self.name()
            prorated = code in ("balance", "seats", "heads") and choose.random() < 0.5
            created = self.charge(code, pay_in_advance=True, prorated=prorated)
            charge_code = created.payload["charge"]["code"]
            block: list[Step] = [self.used(name, code), defined(created)]
            block += [self.used(name, code) for _ in range(3)]
            known = block[-1]
            assert isinstance(known, Event)
            block.append(self.correction(known, 1))
            block += [self.pause(), self.used(name, code)]
            changed = {"properties": self.grouping()}
            block.append(defined(commands.update_charge(ORG, "plan", charge_code, changed)))
            block += [self.used(name, code), self.correction(known, 2), self.used(name, code)]
            if choose.random() < 0.5:
                block.append(defined(commands.delete_charge(ORG, "plan", charge_code)))
            self.spread([*block, self.used(name, code)])

    def _intervals(self) -> None:
        """Long plans that bill by month, and a plan whose interval changes."""
        choose, codes = self.choose, sorted(self.codes)
        interval = choose.choice(("quarterly", "semiannual", "yearly"))
        long = plan_body(codes, name="long", code="long", interval=interval)
        long["bill_charges_monthly"] = choose.random() < 0.7
        starts = choose.choice((-60, -31, -1, 0, 29, 30))
        began = iso_milliseconds(START_MS + starts * DAY_MS)
        block: list[Step] = [
            defined(commands.create_plan(ORG, long)),
            self.subscribed("long", "long", subscription_at=began),
            self.used("long"),
            self.pause(),
            self.used("long"),
        ]
        for code in choose.sample(("plan", "second", "long"), choose.randint(1, 2)):
            other = choose.choice(("weekly", "monthly", "quarterly", "yearly"))
            changed = {"interval": other, "bill_charges_monthly": choose.random() < 0.5}
            block += [defined(commands.update_plan(ORG, code, changed)), self.used("long")]
            block += [self.used(self.name()), self.pause(), self.used("long")]
        self.spread(block)

    def _filters(self) -> None:
        """A metric in use gets filters, a charge of it as well; values go again."""
        choose, code, name = self.choose, self.choose.choice(self.codes), self.name()
        known = METRICS[code]
        kept = {"name": code, "code": code, **known}
        both = [{"key": "g", "values": ["x", "y"]}, {"key": "u", "values": ["a", "b"]}]
        block: list[Step] = [
            self.used(name, code),
            defined(commands.update_billable_metric(ORG, code, {**kept, "filters": both})),
        ]
        for _ in range(choose.randint(1, 3)):
            values = choose.choice(({"g": ["x"]}, {"u": ["a", "b"]}, {"g": ["y"], "u": ["a"]}))
            body: dict[str, Any] = {"values": values, "properties": self.grouping()}
            body["cascade_updates"] = choose.random() < 0.5
            block += [
                defined(commands.create_charge_filter(ORG, "plan", code, body)),
                self.used(name, code, g="x"),
                self.used(name, code, u="a"),
            ]
        block.append(self.pause())
        less = choose.choice(([], both[:1], both[1:], [{"key": "g", "values": ["y"]}]))
        fewer = commands.update_billable_metric(ORG, code, {**kept, "filters": less})
        self.spread([*block, defined(fewer), self.used(name, code), self.used(name, code)])

    def _corrected(self) -> None:
        """One event is corrected again and again, in several periods; copies come in between."""
        choose, name = self.choose, self.name()
        known = self.used(name)
        block: list[Step] = [known]
        for number in range(choose.randint(2, 5)):
            block.append(self.correction(known, number))
            if choose.random() < 0.4:
                block.append(self.pause())
            if choose.random() < 0.3:
                block.append(known._replace(place=choose.randrange(self.partitions)))
        if choose.random() < 0.3:
            block = [block[1], block[0], *block[2:]]
        self.spread(block)

    def _limits(self) -> None:
        """Limits of input come into force; values beyond them were sent before, and are after."""
        name = self.name()
        before = self.choose.randrange(max(1, len(self.steps) // 2))
        newest = next(
            each
            for each in reversed(self.steps[: before + 1])
            if isinstance(each, Define) and each.kind == "settings"
        )
        record = msgspec.convert(Command.decode(newest.value).payload, SettingsRecord)
        limited = msgspec.structs.replace(record, input_limits=INPUT_LIMITS)
        long = {"v": "1" * 30 + "." + "1" * 30, "u": "u" * (VALUE_BYTES + 1)}
        sent = [self.used(name, **long), self.used(name, g="g" * (VALUE_BYTES + 1))]
        again = [each._replace(transaction_id=f"{each.transaction_id}-b") for each in sent]
        block: list[Step] = [*sent, defined(commands.set_settings(limited)), *again, self.pause()]
        self.spread([*block, self.used(name, **long)])

    def _alerts(self) -> None:
        """Alerts come together and go together, of somebody who changes the plan."""
        choose, name = self.choose, self.name()
        codes = choose.sample(sorted(self.codes), min(2, len(self.codes)))
        made = [
            {
                "alert_type": choose.choice(_ALERTS),
                "code": f"both-{number}",
                "billable_metric_code": code,
                "thresholds": [{"code": None, "value": "1", "recurring": choose.random() < 0.5}],
            }
            for number, code in enumerate(codes)
        ]
        block: list[Step] = [defined(commands.create_alerts(ORG, name, made))]
        block += [self.used(name, codes[0]), self.used(name, codes[-1]), self.pause()]
        block += [self.subscribed(name, choose.choice(PLANS)), self.used(name, codes[0])]
        block += [self.pause(), defined(commands.delete_alerts(ORG, name)), self.used(name)]
        self.spread(block)


_ALERTS = ("billable_metric_current_usage_units", "billable_metric_lifetime_usage_units")
_KINDS: list[Callable[[_Further], None]] = [
    _Further._plan_again,
    _Further._starts,
    _Further._renamed,
    _Further._in_advance,
    _Further._intervals,
    _Further._filters,
    _Further._corrected,
    _Further._limits,
    _Further._alerts,
]
