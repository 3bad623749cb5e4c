"""What seeds from `CHARGES_FROM` on have beside: charges and filters that are written one by one.

Those of a plan with children that follow, those of one subscription, and what a charge may have
that no other script has: filters by all values, wallets, other models. Each kind is a block of
steps in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import ALL_FILTER_VALUES, TARGET_WALLET_KEY
from tests.simulation.blocks import EXTERNAL_IDS, Blocks, defined
from tests.simulation.steps import Define, Event, Pass, Priced, Script, Step
from tests.world.clock import HOUR_MS
from tests.world.definitions import METRICS, ORG

CHARGES_FROM = 70_000_000
"""Seeds from here on have blocks of this module, and lose no records to retention."""

_PLAN = "plan"
_KEYS = [{"key": "g", "values": ["x", "y"]}, {"key": "u", "values": ["a", "b"]}]
_FEWER = (
    _KEYS[:1],
    _KEYS[1:],
    [{"key": "g", "values": ["y"]}, {"key": "u", "values": ["b"]}],
    [{"key": "g", "values": ["x", "y", "z"]}, {"key": "u", "values": ["a", "b", "c"]}],
)
_VALUES: tuple[dict[str, list[str]], ...] = (
    {"g": ["x"]},
    {"g": ["x", "y"]},
    {"g": [ALL_FILTER_VALUES]},
    {"u": ["a"]},
    {"g": ["y"], "u": ["a", "b"]},
    {"g": ["x"], "u": [ALL_FILTER_VALUES]},
)
_MODELS: dict[str, dict[str, Any]] = {
    "package": {"amount": "1", "package_size": 10, "free_units": 2},
    "volume": {"volume_ranges": [{"from_value": 0, "to_value": None, "per_unit_amount": "1"}]},
    "graduated_percentage": {
        "graduated_percentage_ranges": [{"from_value": 0, "to_value": None, "rate": "1"}]
    },
    "dynamic": {},
}


def with_charges(script: Script, seed: int, codes: Sequence[str]) -> Script:
    """The same with some blocks more."""
    blocks = _OfCharges(script, f"charges {seed}", codes)
    for add in blocks.choose.choices(_KINDS, k=blocks.choose.randint(1, 3)):
        add(blocks)
    return script._replace(steps=blocks.steps)


class _OfCharges(Blocks):
    """The blocks of this module."""

    def _one_by_one(self) -> None:
        """Filters of a charge of the plan come, change and go, and child plans follow by turns."""
        choose, code, name = self.choose, self.choose.choice(self.codes), self.name()
        block: list[Step] = [self.used(name, code), self._filtered(code, _KEYS)]
        if choose.random() < 0.6:
            block += [self._overridden(choose.choice(EXTERNAL_IDS)), self.used(name, code)]
        known: list[str] = []
        for _ in range(choose.randint(3, 7)):
            command = self._written(code, known)
            block += [defined(command), *self._some(code)]
        block += [self._filtered(code, choose.choice(_FEWER)), *self._some(code), self.pause()]
        self.spread([*block, *self._some(code)])

    def _written(self, code: str, known: list[str]) -> Command:
        """Return what makes a filter, or what changes or takes off one that is known."""
        choose, follows = self.choose, self.choose.random() < 0.5
        kind = choose.choice(("create", "create", "update", "delete")) if known else "create"
        if kind == "create":
            body = {**self._filter(), "cascade_updates": follows}
            made = commands.create_charge_filter(ORG, _PLAN, code, body)
            known.append(made.payload["filter"]["new_id"])
            return made
        place = choose.randrange(len(known))
        if kind == "update":
            body = {"properties": self.grouping(), "cascade_updates": follows}
            return commands.update_charge_filter(ORG, _PLAN, code, known[place], body)
        body = {"cascade_updates": follows}
        return commands.delete_charge_filter(ORG, _PLAN, code, known.pop(place), body)

    def _of_one(self) -> None:
        """A subscription has charges and filters of its own, and its plan changes, too."""
        choose, code, name = self.choose, self.choose.choice(self.codes), self.name()
        block: list[Step] = [self._filtered(code, _KEYS), self.used(name, code)]
        # Of one that is active, which nobody is before the script's first hour is over.
        block += [Pass(HOUR_MS), self.subscribed(name, _PLAN), self.used(name, code)]
        known: list[str] = []
        if choose.random() < 0.7:
            block += [defined(self._written(code, known)), *self._some(code, name)]
        named = commands.SubscriptionCharge(ORG, name, code)
        for _ in range(choose.randint(2, 5)):
            block += [defined(self._of_subscription(named, known)), *self._some(code, name)]
            if choose.random() < 0.5:
                block += [defined(self._of_plan(code, known)), *self._some(code)]
        if choose.random() < 0.4:
            block += [self.subscribed(name, "second"), self.used(name, code)]
        self.spread([*block, self.pause(), *self._some(code, name)])

    def _of_subscription(self, named: commands.SubscriptionCharge, known: list[str]) -> Command:
        choose = self.choose
        kind = choose.choice(("charge", "create", "update", "delete") if known else ("create",))
        if kind == "charge":
            body: dict[str, Any] = {"properties": self.grouping()}
            if choose.random() < 0.4:
                body["filters"] = [self._filter() for _ in range(choose.randint(0, 2))]
            return commands.update_subscription_charge(named, body)
        if kind == "create":
            made = commands.create_subscription_charge_filter(named, self._filter())
            known.append(made.payload["filter"]["new_id"])
            return made
        filter_id = choose.choice(known)
        if kind == "update":
            changed = {"properties": self.grouping()}
            return commands.update_subscription_charge_filter(named, filter_id, changed)
        return commands.delete_subscription_charge_filter(named, filter_id)

    def _of_plan(self, code: str, known: list[str]) -> Command:
        """Return a change of a charge of the plan, which child plans follow by turns."""
        choose = self.choose
        follows = {"cascade_updates": choose.random() < 0.7}
        kind = choose.choice(("filter", "filter", "charge", "created", "deleted"))
        if kind == "filter":
            return self._written(code, known)
        if kind == "charge":
            body: dict[str, Any] = {"properties": self.grouping(), **follows}
            if choose.random() < 0.4:
                body["filters"] = [self._filter() for _ in range(choose.randint(0, 3))]
            return commands.update_charge(ORG, _PLAN, code, body)
        if kind == "created":
            return self.charge(code, **follows)
        return commands.delete_charge(ORG, _PLAN, code, follows)

    def _plans(self) -> None:
        """A whole plan is changed, and its children follow."""
        choose, codes = self.choose, self.choose.sample(sorted(self.codes), 2)
        charges = self._charges()
        block: list[Step] = []
        for name in choose.sample(EXTERNAL_IDS, choose.randint(1, 2)):
            block += [self._overridden(name), self.used(name, codes[0])]
        for _ in range(choose.randint(1, 3)):
            kept = [self._changed(each) for each in charges if choose.random() < 0.8]
            body = {"charges": kept, "cascade_updates": choose.random() < 0.8}
            block += [defined(commands.update_plan(ORG, _PLAN, body))]
            block += [self.used(self.name(), code) for code in codes]
        self.spread([*block, self.pause(), self.used(self.name(), codes[0])])

    def _charges(self) -> list[dict[str, Any]]:
        """Return the charges with which the plan was made, with the ids that they got."""
        for step in self.steps:
            if isinstance(step, Define) and step.kind == "create_plan":
                plan = Command.decode(step.value).payload["plan"]
                if plan["code"] == _PLAN:
                    return [{**each, "id": each["new_id"]} for each in plan["charges"]]
        return []

    def _changed(self, charge: dict[str, Any]) -> dict[str, Any]:
        choose = self.choose
        if choose.random() < 0.5:
            return charge
        changed = {**charge, "properties": self.grouping()}
        if charge["billable_metric_code"] == "filtered":
            changed["filters"] = [self._filter() for _ in range(choose.randint(0, 3))]
        return changed

    def _models(self) -> None:
        """Charges of other models, with wallets and prices of events, come, change and go."""
        choose, code, name = self.choose, self.choose.choice(self.codes), self.name()
        model = choose.choice((*_MODELS, "standard"))
        wallets = choose.random() < 0.6
        properties = {**_MODELS.get(model, {}), **self.grouping()}
        more: dict[str, Any] = {"charge_model": model, "properties": properties}
        created = self.charge(code, **more, accepts_target_wallet=wallets)
        charge_code = created.payload["charge"]["code"]
        block: list[Step] = [self._priced(name, code), defined(created)]
        block += [self._priced(name, code) for _ in range(3)]
        known = self.used(name, code)
        block += [known, self.correction(known, 1), self.pause(), self._priced(name, code)]
        changed: dict[str, Any] = {"properties": {**properties, **self.grouping()}}
        if choose.random() < 0.6:
            changed["accepts_target_wallet"] = not wallets
        block.append(defined(commands.update_charge(ORG, _PLAN, charge_code, changed)))
        block += [self._priced(name, code), self.used(name, code)]
        if choose.random() < 0.5:
            block.append(defined(commands.delete_charge(ORG, _PLAN, charge_code)))
        self.spread([*block, self._priced(name, code)])

    def _priced(self, name: str, code: str) -> Step:
        """Return an event that may name a wallet and say what it costs."""
        choose = self.choose
        wallets: tuple[dict[str, str], ...] = (
            {},
            {TARGET_WALLET_KEY: "w"},
            {TARGET_WALLET_KEY: "v"},
        )
        event = self.used(name, code, **choose.choice(wallets))
        if choose.random() < 0.3:
            return event
        return Priced(event, choose.choice(("1.5", "0.10", "12", "-3", "0")))

    def _filter(self) -> dict[str, Any]:
        return {"values": self.choose.choice(_VALUES), "properties": self.grouping()}

    def _filtered(self, code: str, filters: Sequence[dict[str, Any]]) -> Step:
        """Return the change of a metric that gives it the keys and values of filters."""
        body = {"name": code, "code": code, **METRICS[code], "filters": filters}
        return defined(commands.update_billable_metric(ORG, code, body))

    def _overridden(self, name: str) -> Step:
        """Return the change that gives a subscription a child plan."""
        overrides: tuple[dict[str, Any], ...] = ({"amount_cents": 100}, {"charges": []})
        body = {"plan_overrides": self.choose.choice(overrides)}
        return defined(commands.update_subscription(ORG, name, body))

    def _some(self, code: str, name: str | None = None) -> list[Event]:
        """Return no event to two of a code."""
        choose = self.choose
        return [self.used(name or self.name(), code) for _ in range(choose.randint(0, 2))]


_KINDS: list[Callable[[_OfCharges], None]] = [
    _OfCharges._one_by_one,
    _OfCharges._of_one,
    _OfCharges._plans,
    _OfCharges._models,
]
