"""What seeds from `CORNERS_FROM` on have beside: times, renames and deaths that no script has else.

Clocks that change at midnight or by half an hour, corrections of the very millisecond of their
events, codes that change hands, metrics that change their type, history of charges that came later,
periods that end within a day and take nothing more, and workers that die within a cut. Each kind is
a block of steps in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from app.billing_periods.instants import iso_milliseconds
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from tests.simulation.blocks import EXTERNAL_IDS, Blocks, defined
from tests.simulation.steps import AtOnce, Correction, Define, Dies, Event, Pass, Script, Step
from tests.world import bodies
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS, ms
from tests.world.definitions import METRICS, ORG

CORNERS_FROM = 80_000_000
"""Seeds from here on have blocks of this module."""

_CHANGES = (
    ("Asia/Almaty", "2024-02-29T18:00Z"),
    ("America/Havana", "2024-03-10T05:00Z"),
    ("America/Asuncion", "2024-03-24T03:00Z"),
    ("Asia/Beirut", "2024-03-30T22:00Z"),
    ("America/Nuuk", "2024-03-31T01:00Z"),
    ("Australia/Lord_Howe", "2024-04-06T15:00Z"),
    ("Pacific/Chatham", "2024-04-06T14:00Z"),
    ("America/Santiago", "2024-04-07T03:00Z"),
    ("Africa/Cairo", "2024-04-25T22:00Z"),
)
"""When clocks change: at midnight, by half an hour, or at an odd offset."""
_NOBODY = "nobody"
"""Without a subscription: of the implicit plan, if there is one."""
_KINDS_OF_METRIC = ("count_agg", "sum_agg", "max_agg", "latest_agg", "unique_count_agg")


def with_corners(script: Script, seed: int, codes: Sequence[str]) -> Script:
    """The same with some blocks more."""
    blocks = _Corners(script, f"corners {seed}", codes)
    for add in blocks.choose.sample(_KINDS, blocks.choose.randint(1, 3)):
        add(blocks)
    return script._replace(steps=blocks.steps)


class _Corners(Blocks):
    """The blocks of this module."""

    def _midnights(self) -> None:
        """Somebody lives, or moves, where clocks change, from the eve of that on."""
        choose = self.choose
        timezone, text = choose.choice(_CHANGES)
        eve_ms = ms(text) - START_MS - choose.randint(1, 30) * HOUR_MS
        first = next(at for at, step in enumerate(self.steps) if not isinstance(step, Define))
        moved = defined(_customer(timezone))
        self.steps[first:first] = [Pass(eve_ms), *choose.choice(([moved], []))]
        block: list[Step] = [self.subscribed(choose.choice((*EXTERNAL_IDS, "eve")), "plan"), moved]
        for _ in range(choose.randint(3, 6)):
            block += [self.used(choose.choice((*EXTERNAL_IDS, "eve")))]
            block += [choose.choice((Pass(1, HOUR_MS), Pass(7 * HOUR_MS), Pass(1, DAY_MS)))]
        if choose.random() < 0.6:
            other, _ = choose.choice(_CHANGES)
            block += [defined(_customer(choose.choice((other, "UTC", None)))), self.used("eve")]
        # Around the change itself, whatever else the script has.
        self.steps[first + 2 : first + 2] = block

    def _of_one_time(self) -> None:
        """Events and corrections of them are appended in one millisecond, in any order."""
        choose = self.choose
        for number in range(choose.choice((1, 2, 3))):
            name = self.name()
            known = self.used(name)
            elements: list[Event | Correction | Define] = [known]
            elements += [self.correction(known, number) for _ in range(choose.choice((1, 1, 2)))]
            if choose.random() < 0.4:
                elements.append(known._replace(place=choose.randrange(self.partitions)))
            if choose.random() < 0.4:
                elements.append(self.used(name, known.code))
            if choose.random() < 0.3:
                elements.append(defined(_customer(choose.choice(("UTC", "Asia/Tokyo")))))
            choose.shuffle(elements)
            grid_ms = choose.choice((1, HOUR_MS, DAY_MS, WEEK_MS))
            together = AtOnce(tuple(elements), grid_ms, choose.choice((0, 1)) % grid_ms)
            block: list[Step] = [self.used(name, known.code), self.pause(), together]
            if choose.random() < 0.4:
                block += [self.pause(), self.correction(known, 10 + number)]
            self.spread([*block, self.used(name, known.code)])

    def _swapped(self) -> None:
        """Metrics that no charge has take each other's code, at once or while events come."""
        choose, one, two = self.choose, *(self._body(code) for code in ("left", "right"))
        made = [commands.create_billable_metric(ORG, each) for each in (one, two)]
        name = choose.choice((_NOBODY, _NOBODY, self.name()))
        block: list[Step] = [*map(defined, made)]
        block += [self.used(name, choose.choice(("left", "right"))) for _ in range(3)]
        renames = [("left", one, "third"), ("right", two, "left"), ("third", one, "right")]
        moves = [
            defined(commands.update_billable_metric(ORG, code, {**body, "code": to}))
            for code, body, to in renames[: choose.choice((1, 2, 3, 3))]
        ]
        used = [self.used(name, code) for code in choose.choices(("left", "right", "third"), k=4)]
        if choose.random() < 0.5:
            block.append(AtOnce((*moves, *used[:2])))
        else:
            for move in moves:
                block += [move, self.used(name, choose.choice(("left", "right", "third")))]
        block += [*used[2:], self.pause()]
        if choose.random() < 0.5:
            block.append(defined(self.charge(choose.choice(("left", "right")))))
        self.spread([*block, self.used(name, "left"), self.used(name, "right")])

    def _body(self, code: str) -> dict[str, Any]:
        kind = self.choose.choice(_KINDS_OF_METRIC)
        body: dict[str, Any] = {**bodies.metric(code, kind)}
        body["field_name"] = "u" if kind == "unique_count_agg" else "v"
        recurs = kind in ("unique_count_agg", "sum_agg") and self.choose.random() < 0.4
        return {**body, "recurring": recurs}

    def _types(self) -> None:
        """A metric changes its type and whether it recurs, then gets a charge, and history."""
        choose, name = self.choose, self.choose.choice((_NOBODY, self.name()))
        made = commands.create_billable_metric(ORG, self._body("free"))
        block: list[Step] = [defined(made), self.used(name, "free"), self.used(name, "free")]
        for _ in range(choose.choice((1, 2))):
            changed = commands.update_billable_metric(ORG, "free", self._body("free"))
            block += [defined(changed), self.used(name, "free")]
        block += [self.pause(), defined(self.charge("free")), self.used(self.name(), "free")]
        block += [self.pause(), defined(self._history([made.payload["id"]]))]
        self.spread([*block, self.used(self.name(), "free"), self.used(name, "free")])

    def _history(self, metric_ids: Sequence[str] = (), charge_ids: Sequence[str] = ()) -> Command:
        from_ms = START_MS + self.choose.choice((-4, 0, 0, 1)) * WEEK_MS
        to_ms = START_MS + self.choose.choice((1, 2, 5, 12)) * WEEK_MS
        return commands.apply_history(
            ORG, metric_ids=metric_ids, charge_ids=charge_ids, from_ms=from_ms, to_ms=to_ms
        )

    def _told_later(self) -> None:
        """Charges come after their periods are published, and history makes these have them."""
        choose, code, name = self.choose, self.choose.choice(self.codes), self.name()
        advance = choose.random() < 0.4
        prorated = code in ("balance", "seats", "heads") and choose.random() < 0.5
        made = self.charge(code, pay_in_advance=advance, prorated=prorated)
        block: list[Step] = [self.used(name, code), Pass(1, WEEK_MS), self.used(name, code)]
        block += [defined(made), self.used(name, code), self.pause()]
        block.append(defined(self._history(charge_ids=[_id_of(made)])))
        known = self.used(name, code)
        block += [known, self.pause(), self.correction(known, 1)]
        if choose.random() < 0.5:
            gone = commands.delete_charge(ORG, "plan", made.payload["charge"]["code"])
            block += [defined(gone), defined(self._history(charge_ids=[_id_of(made)]))]
        self.spread([*block, self.pause(), self.used(name, code)])

    def _ends(self) -> None:
        """Periods end within a day and take nothing more; balances go on."""
        choose = self.choose
        balances = [c for c in self.codes if METRICS[c].get("recurring")] or [self.codes[0]]
        name, code = choose.choice((*EXTERNAL_IDS, "noon")), choose.choice(balances)
        half_days_ms = DAY_MS // 2 + choose.choice((0, 1, 3 * HOUR_MS))
        ending = iso_milliseconds(START_MS + choose.randint(3, 30) * DAY_MS + half_days_ms)
        block: list[Step] = [self._refusing(), self.subscribed(name, "plan", ending_at=ending)]
        block += [self.used(name, code), Pass(1, WEEK_MS), self.used(name, code)]
        for _ in range(choose.choice((2, 3))):
            late = self.used(name, code)._replace(lag_ms=choose.randint(0, 12) * HOUR_MS)
            block += [Pass(choose.randint(1, 15) * HOUR_MS), late]
        if choose.random() < 0.5:
            ended = commands.terminate_subscription(ORG, name)
            block += [defined(ended), Pass(2 * HOUR_MS), late._replace(transaction_id="noon")]
            block += [self.subscribed(name, "second"), self.used(name, code)]
        self.spread([*block, self.pause(), self.used(name, code)])

    def _refusing(self) -> Step:
        """Return the change of the settings that has what is late refused, or soon too late."""
        first = next(s for s in self.steps if isinstance(s, Define) and s.kind == "settings")
        record = msgspec.convert(Command.decode(first.value).payload, SettingsRecord)
        changed: dict[str, Any] = self.choose.choice(
            ({"late_policy": "refuse"}, {"late_window_s": 3_600}, {"late_window_s": 0})
        )
        return defined(commands.set_settings(msgspec.structs.replace(record, **changed)))

    def _months(self) -> None:
        """Somebody began on the last day of a month; months pass, and the plan changes."""
        choose, name = self.choose, "aged"
        began = choose.choice(("2023-10-31", "2023-12-30", "2024-01-29", "2024-01-31"))
        block: list[Step] = [self.subscribed(name, "plan", subscription_at=f"{began}T12:00:00Z")]
        for _ in range(2):
            interval = choose.choice(("monthly", "quarterly", "semiannual", "weekly", "yearly"))
            changed = {"interval": interval, "bill_charges_monthly": choose.random() < 0.5}
            block += [defined(commands.update_plan(ORG, "plan", changed)), self.used(name)]
            block += [Pass(choose.choice((28, 29, 30, 31)) * DAY_MS), self.used(name)]
        self.spread([*block, self.pause(), self.used(name)])

    def _deaths(self) -> None:
        """Workers die between the flushes of one cut, as a period ends."""
        for _ in range(self.choose.choice((1, 2, 3))):
            block: list[Step] = [self.used(self.name()), self.used(self.name())]
            block += [Dies("between-cut-flushes"), Pass(1, WEEK_MS), Pass(1, DAY_MS)]
            self.spread([*block, self.used(self.name())])


def _id_of(made: Command) -> str:
    identity: str = made.payload["charge"]["new_id"]
    return identity


def _customer(timezone: str | None) -> Command:
    return commands.upsert_customer(ORG, {"external_id": "customer", "timezone": timezone})


_KINDS: list[Callable[[_Corners], None]] = [
    _Corners._midnights,
    _Corners._of_one_time,
    _Corners._swapped,
    _Corners._types,
    _Corners._told_later,
    _Corners._ends,
    _Corners._months,
    _Corners._deaths,
]
