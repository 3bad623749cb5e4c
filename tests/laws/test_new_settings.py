"""A law of new settings: whoever leaves most alone comes to what one who looks at all does."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival
from tables.closing.close import next_cut
from tables.partition.new_settings import NewSettings
from tests.laws.test_groups import CODES, definitions_of
from tests.laws.test_looking_later import Later
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, CommandAt, subscription_body
from tests.world.events import event
from tests.world.profiles import count, dear

SEEDS = dear(80)
UNKNOWN = "unknown"
"""An external id without a subscription."""
NAMES = ((ORG, SUBSCRIPTION), (ORG, UNKNOWN))
CHANGES: dict[str, tuple[Any, ...]] = {
    "grace_s": (0, 90, 86_400),
    "late_window_s": (3_600, 86_400, 40 * 86_400),
    "late_policy": ("revise", "refuse"),
    "close_elapsed": (True, False),
    "revise_every_s": (3_600, 7_200, 86_400),
    "close_grid_s": (60, 1_800),
    "max_groups": (1, 2, 3, 4, 50),
    "implicit_plan": (True, False),
    "input_limits": (1, 2, 3, 4, 5),
    "usage_changed": (True, False),
    "tzdata_version": ("2024a", "2025a"),
    "daily_records": (True, False),
}
WATCHING = commands.create_alert(
    ORG,
    SUBSCRIPTION,
    {
        "alert_type": "billable_metric_lifetime_usage_units",
        "code": "watching",
        "billable_metric_code": "sum",
        "thresholds": [{"code": "t", "value": "1"}],
    },
)
RARE = ("daily_records", "input_limits")


class Leaving(Later):
    """Counts how often somebody was left alone."""

    def __init__(self, definitions: list[CommandAt]):
        super().__init__(definitions)
        self.left = Counter[str]()
        settings, moving = self.partition.redirection.new_settings, NewSettings.moving

        def counted(name: tuple[str, str]) -> Any:
            codes = moving(settings, name)
            self.left["left" if codes == [] else "looked at"] += 1
            return codes

        vars(settings)["moving"] = counted


class Thorough(Later):
    """Looks at everybody."""

    def __init__(self, definitions: list[CommandAt]):
        super().__init__(definitions)
        vars(self.partition.redirection.new_settings)["leave_most"] = lambda: False
        vars(self.partition.history)["_leaves"] = lambda *args: False


def other_settings(choose: Random, now: SettingsRecord) -> SettingsRecord:
    """Change one or two settings, rarely by day or within limits."""
    fields = choose.sample(sorted(CHANGES), choose.choice((1, 1, 2)))
    kept = [each for each in fields if each not in RARE or choose.random() < 0.15]
    return replace(now, **{each: choose.choice(CHANGES[each]) for each in kept})


def other_definition(choose: Random, ids: dict[str, str]) -> list[Command]:
    """An edit of a charge or of the customer, a history record over the charge, or both."""
    code = choose.choice(sorted(ids))
    groups = choose.choice(([], ["g"], ["u"]))
    properties = {"properties": {"amount": "1", "pricing_group_keys": groups}}
    edit = commands.update_charge(ORG, "plan", code, properties)
    if choose.random() < 0.2:
        grace = {"invoice_grace_period": choose.choice((0, 2))}
        body = {"external_id": "customer", "billing_configuration": grace}
        edit = commands.upsert_customer(ORG, body)
    from_ms = START_MS + choose.randrange(4) * WEEK_MS
    history = commands.apply_history(
        ORG, metric_ids=[ids[code]], from_ms=from_ms, to_ms=from_ms + 2 * WEEK_MS
    )
    return choose.choice(([edit], [history], [edit, history]))


def arrived(choose: Random, number: int, now_ms: int, append_time_ms: int) -> Arrival:
    """An event of now, or of some time in the weeks before."""
    at_ms = now_ms - choose.choice((0, HOUR_MS, choose.randrange(2 * WEEK_MS)))
    identity = choose.choice((SUBSCRIPTION, SUBSCRIPTION, UNKNOWN))
    long = "z" * 300 if choose.random() < 0.1 else choose.choice("vwxyz")
    made = event(
        choose.choice(CODES),
        f"t{number}",
        max(START_MS - DAY_MS, at_ms),
        identity,
        v=str(choose.randrange(9)),
        u=choose.choice("ab"),
        g=long,
        n=str(choose.randrange(4)),
    )
    return Arrival(made, ORG, append_time_ms, 0, number, 0)


def play(twins: tuple[Leaving, Thorough], seed: int) -> None:
    choose, now_ms, settings = Random(seed), START_MS, SETTINGS
    for live in twins:
        live.define_all()
        live.look_to_the_end()
    found = twins[0].definitions
    ids = {metric.code: metric.id for metric in found.metrics(ORG) if metric.code in CODES[:5]}
    for number in range(70):
        now_ms += choose.choice((1, 60_000, HOUR_MS // 2, 6 * HOUR_MS, DAY_MS))
        told: list[Command] = []
        if choose.random() < 0.3:
            settings = other_settings(choose, settings)
            told.append(commands.set_settings(settings))
        if choose.random() < 0.12:
            told += other_definition(choose, ids)
        if choose.random() < 0.06:
            anew = subscription_body(subscription_at=None)
            told.append(commands.terminate_subscription(ORG, SUBSCRIPTION))
            told.append(commands.create_subscription(ORG, anew))
        events = [
            arrived(choose, 4 * number + n, now_ms, now_ms + len(told))
            for n in range(choose.randrange(4))
        ]
        flushes, looks, waits = choose.random() < 0.3, choose.randrange(6), choose.random() < 0.3
        packed = [name for name in NAMES if choose.random() < 0.2]
        for live in twins:
            if not waits:
                live.look_to_the_end()
                live.close_until(now_ms - 1)
            for n, command in enumerate(told):
                live._to_define.append(CommandAt(now_ms + n, live.definitions.offset, command))
                live.define()
            live.deliver(events)
            live.look(looks)
            if flushes:
                live.flush()
            for name in packed:
                live.partition.packing.pack(name)
        now_ms += len(told)
    for live in twins:
        live.look_to_the_end()
        live.close_until(now_ms + 4 * WEEK_MS)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_who_is_left_alone_has_the_same(seed: int) -> None:
    definitions = definitions_of(3)
    if seed % 3 == 0:
        definitions.append(CommandAt(START_MS, len(definitions), WATCHING))
    leaving, thorough = Leaving(definitions), Thorough(definitions)
    play((leaving, thorough), seed)
    assert leaving.values() == thorough.values()
    assert leaving.cells() == thorough.cells()
    # Members that were never folded anew keep operations that decide nothing any more.
    leaving.refold_all()
    thorough.refold_all()
    assert leaving.cells() == thorough.cells()
    assert leaving.members() == thorough.members()


@pytest.mark.parametrize("seed", range(count(200)))
def test_no_next_cut_moves_of_who_is_left_alone(seed: int) -> None:
    choose, live = Random(seed), Later(definitions_of(3))
    live.define_all()
    live.look_to_the_end()
    now_ms, settings = START_MS, SETTINGS
    for number in range(12):
        ends_ms = START_MS + choose.randrange(3) * WEEK_MS
        near_ms = choose.choice((-1, 0, 1, 30_000, 60_000, 90_000, HOUR_MS, DAY_MS))
        now_ms = max(now_ms + 1, choose.choice((now_ms, ends_ms + near_ms)))
        live.close_until(now_ms - 1)
        if choose.random() < 0.5:
            live.deliver([arrived(choose, number, now_ms, now_ms)])
        if choose.random() < 0.1:
            live.append(now_ms, commands.terminate_subscription(ORG, SUBSCRIPTION))
            live.look_to_the_end()
        before_ms = [next_cut(live.partition, name) for name in NAMES]
        settings = other_settings(choose, settings)
        live.append(now_ms + 1, commands.set_settings(settings))
        steps = [each for each in live.partition.redefinition.renewing() if each is not None]
        moved = {renewed.name for renewed in steps if renewed.cut_moved}
        live.refold({key for renewed in steps for key in renewed.refold})
        for name, cut_ms in zip(NAMES, before_ms, strict=True):
            assert name in moved or next_cut(live.partition, name) == cut_ms
