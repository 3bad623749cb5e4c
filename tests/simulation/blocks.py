"""Blocks of steps that are put into a script, beside all that it has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from app.definitions import commands
from app.definitions.command import Command
from tests.simulation.steps import Correction, Define, Event, Pass, Script, Step, pause
from tests.world.clock import DAY_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, subscription_body

EXTERNAL_IDS = (SUBSCRIPTION, "sub-b", "sub-c")


class Blocks:
    """A script to which blocks are added."""

    def __init__(self, script: Script, named: str, codes: Sequence[str]):
        """Draw from a stream of its own, which `named` tells: a kind and a seed."""
        self.steps = list(script.steps)
        self.partitions = script.partitions
        self.choose = random.Random(named)
        self.codes = codes
        self._kind, _ = named.split()
        self._sent = 0
        self._made = 0

    def spread(self, block: Sequence[Step]) -> None:
        """Put steps in this order somewhere in the first two thirds of the script."""
        begin = next(
            (at for at, step in enumerate(self.steps) if not isinstance(step, Define)),
            len(self.steps),
        )
        at = begin + self.choose.randrange(max(1, (len(self.steps) - begin) * 2 // 3))
        for step in block:
            self.steps.insert(at, step)
            at += 1 + self.choose.choice((0, 0, 0, 1, 2, 4))

    def used(self, external_id: str, code: str | None = None, **properties: str) -> Event:
        """Return an event of a subscription, of some code if none is given."""
        choose = self.choose
        self._sent += 1
        drawn = {"v": str(choose.randint(-3, 9)), "u": choose.choice("abc")}
        return Event(
            code or choose.choice(self.codes),
            f"{self._kind}-{self._sent}",
            choose.choice((0, None, choose.randint(0, 2 * DAY_MS), choose.randint(0, 3 * WEEK_MS))),
            external_id,
            {**drawn, "g": choose.choice("xyz"), **properties},
            choose.choice((None, choose.randrange(self.partitions))),
        )

    def pause(self) -> Step:
        """Return a step in which time passes."""
        return pause(self.choose, Pass(1, WEEK_MS))

    def name(self) -> str:
        """Return the external id of one of the subscriptions."""
        return self.choose.choice(EXTERNAL_IDS)

    def grouping(self) -> dict[str, Any]:
        """Return properties of a charge that groups by some keys, or by none."""
        keys = self.choose.choice(([], ["g"], ["u"], ["g", "u"]))
        return {"amount": "1", "pricing_group_keys": keys} if keys else {"amount": "1"}

    def subscribed(self, external_id: str, plan_code: str, **more: Any) -> Step:
        """Return the definition of a subscription."""
        body = subscription_body(external_id=external_id, plan_code=plan_code, **more)
        body["billing_time"] = self.choose.choice(("calendar", "anniversary"))
        if "subscription_at" not in more and self.choose.random() < 0.7:
            del body["subscription_at"]
        return defined(commands.create_subscription(ORG, body))

    def charge(self, code: str, **more: Any) -> Command:
        """Return the command that adds a charge of a metric to the first plan."""
        self._made += 1
        body = {
            "billable_metric_code": code,
            "code": f"{code}-{self._made}",
            "charge_model": "standard",
            "properties": self.grouping(),
        }
        return commands.create_charge(ORG, "plan", {**body, **more})

    def correction(self, known: Event, number: int) -> Correction:
        """Return a correction of an event, under an id of its own for each number."""
        choose, to = self.choose, None
        if choose.random() < 0.6:
            to = known._replace(
                code=choose.choice((known.code, known.code, choose.choice(self.codes))),
                lag_ms=choose.choice((known.lag_ms, 0, choose.randint(0, 4 * WEEK_MS))),
                properties={**known.properties, "v": str(choose.randint(-9, 9))},
            )
        place = choose.choice((None, choose.randrange(self.partitions)))
        named = f"{known.transaction_id}-{number}"
        return Correction(known.transaction_id, named, known.external_id, to, place)


def defined(command: Command) -> Define:
    """Return the step that appends a command to the definitions log."""
    return Define(command.type, command.encode())
