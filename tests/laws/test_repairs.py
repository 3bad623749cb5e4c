"""A law of repairs: cells, records and reasons are those of a refold of everything."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal

import pytest
from msgspec.structs import replace

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction, Event
from app.wire.identity import event_id
from tables.closing.close import next_cut
from tables.partition.refold import Refold
from tables.partition.repair import Repair
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    GRACE_SETTINGS,
    IN_ADVANCE,
    METRICS,
    ORG,
    SETTINGS,
    SHORT_SETTINGS,
    SUBSCRIPTION,
    definitions_of,
)
from tests.world.events import arrived, event
from tests.world.profiles import count, sized
from tests.world.repaired import NAME, Repaired

CODES = tuple(code for code in METRICS if code not in IN_ADVANCE)
NUMBERS = ("1", "2.50", "2.5", "-1", "0", "0.0", "7", "1e2")
AMOUNTS = tuple(map(Decimal, ("1", "2.50", "-1", "0")))
SEEDS = sized(count(24), 8)


class Log:
    """Random events and corrections, each with its append time."""

    def __init__(self, seed: int, codes: tuple[str, ...]):
        self.choose = random.Random(seed)
        self.codes = codes
        self.now_ms = START_MS
        self._offset = 0

    def event(self, transaction_id: str) -> Event:
        """Return an event of one of few values, dated before now."""
        choose = self.choose
        back_ms = choose.choice([0, HOUR_MS, DAY_MS, WEEK_MS])
        properties = {
            "v": choose.choice(NUMBERS),
            "g": choose.choice("xyz"),
            "u": choose.choice("ab"),
            "operation_type": choose.choice(["add", "add", "remove"]),
        }
        at_ms = max(START_MS, self.now_ms - choose.randrange(back_ms + 1))
        made = event(choose.choice(self.codes), transaction_id, at_ms, **properties)
        if choose.random() < 0.2:
            made = replace(made, precise_total_amount_cents=choose.choice(AMOUNTS))
        return replace(made, timestamp_ms=None) if choose.random() < 0.1 else made

    def next(self) -> Arrival | CorrectionArrival:
        """Return what is appended next."""
        choose = self.choose
        self.now_ms += choose.choice([0, 1, 60_000, HOUR_MS, DAY_MS])
        self._offset += 1
        name = f"t{choose.randrange(12)}"
        place = (self.now_ms, 0, self._offset, 0)
        if choose.random() < 0.5:
            return Arrival(self.event(name), ORG, *place)
        amends = choose.random() < 0.6
        correction = Correction(
            ORG,
            SUBSCRIPTION,
            name,
            "amend" if amends else "cancel",
            self.event(name) if amends else None,
            f"c{self._offset if choose.random() < 0.9 else choose.randrange(5)}",
            b"",
        )
        return CorrectionArrival(correction, ORG, *place)


def play(seed: int, codes: tuple[str, ...], settings: SettingsRecord) -> Counter[str]:
    """Play one log twice; return how many events were repaired, and what was left to refolds."""
    # What presents no rows is revised by the cells that changed.
    definitions = definitions_of(codes, settings, presents=seed % 2 == 0)
    twins = [Repaired(definitions, repairs=repairs) for repairs in (True, False)]
    log = Log(seed, codes)
    for _ in range(40):
        appended = log.next()
        for live in twins:
            live.close_until(log.now_ms - 1)
            live.define_until(log.now_ms)
            if isinstance(appended, Arrival):
                live.deliver([appended])
                live.mend()
            else:
                live.correct(appended)
        cuts = {next_cut(live.partition, NAME) for live in twins}
        # A refold may look for a cut that then finds nothing, and wait with corrections for it.
        if len(cuts) == 1:
            same(*twins)
    for live in twins:
        live.close_until(log.now_ms + 3 * WEEK_MS)
    same(*twins)
    assert twins[0].values() == twins[1].values()
    return twins[0].outcomes


def same(one: Repaired, other: Repaired) -> None:
    """Compare cells, and what the cuts to come revise."""
    assert one.cells() == other.cells()
    assert one.revised() == other.revised()


@pytest.mark.parametrize(
    "settings",
    [SETTINGS, GRACE_SETTINGS, SHORT_SETTINGS, replace(SETTINGS, max_groups=2)],
    ids=["plain", "grace", "short", "two groups"],
)
def test_a_repair_comes_to_what_a_refold_does(settings: SettingsRecord) -> None:
    outcomes = Counter[str]()
    for seed in range(SEEDS):
        outcomes += play(seed, CODES, settings)
    assert outcomes["repaired"] >= SEEDS


@pytest.mark.parametrize("code", IN_ADVANCE)
def test_a_repair_beside_what_is_billed_at_once_comes_to_what_a_refold_does(code: str) -> None:
    """Events of the others are taken out and in; its own call for a refold."""
    outcomes = Counter[str]()
    for seed in range(SEEDS // 2):
        outcomes += play(seed, ("count", "sum", "balance", code), SHORT_SETTINGS)
    assert outcomes["repaired"] >= SEEDS // 2
    assert outcomes["left"]


def test_a_repair_claims_no_place_for_a_group_that_a_refold_gives_another() -> None:
    """An event that an amend made uncountable is cancelled, and one group has room."""
    for seed in (6, 76, *range(SEEDS // 3)):
        play(seed, ("sum",), replace(SHORT_SETTINGS, max_groups=1))


@pytest.mark.parametrize("code", CODES)
def test_a_repair_of_one_metric_comes_to_what_a_refold_does(code: str) -> None:
    for seed in range(SEEDS // 3):
        play(seed, (code,), SETTINGS)


def test_counts_and_sums_need_no_refold() -> None:
    """In a period that is open, and in one that was published."""
    live = Repaired(definitions_of(["count", "balance", "filtered"]), repairs=True)
    numbers = [*range(9)]
    for number in numbers:
        code = ("count", "balance", "filtered")[number % 3]
        at_ms = START_MS + number * DAY_MS
        live.close_until(at_ms - 1)
        live.deliver([Arrival(event(code, f"t{number}", at_ms, v="2.5"), ORG, at_ms, 0, number, 0)])
    for number in numbers:
        at_ms = START_MS + 10 * DAY_MS + number * HOUR_MS + 1
        live.close_until(at_ms - 1)
        amended = event("balance", f"t{number}", START_MS + DAY_MS, v="0.25")
        named = (ORG, SUBSCRIPTION, f"t{number}")
        told = (
            Correction(*named, "amend", amended, f"c{number}", b"")
            if number % 2
            else Correction(*named, "cancel", None, f"c{number}", b"")
        )
        live.correct(CorrectionArrival(told, ORG, at_ms, 0, 100 + number, 0))
    assert live.outcomes == {"repaired": len(numbers)}
    cells = live.cells()
    live.refold_all()
    assert live.cells() == cells


@pytest.mark.parametrize(
    ("code", "first", "second", "left"),
    [
        ("max", (2, "9"), (2, "8"), 1),
        ("max", (2, "3.0"), (1, "3"), 0),
        ("latest", (2, "1"), (1, "1"), 1),
        ("latest", (3, "1"), (3, "-2"), 0),
        ("average", (2, "1"), (1, "1"), 1),
        ("level", (3, "1"), (3, "-2"), 0),
        ("level", (4, "1"), (3, "1"), 1),
    ],
)
def test_what_holds_needs_no_refold_where_it_holds_once_amended(
    code: str, first: tuple[int, str], second: tuple[int, str], left: int
) -> None:
    """The last of three events is the greatest and the newest. Amends: day and value."""
    definitions = definitions_of([code])
    twins = [Repaired(definitions, repairs=repairs) for repairs in (True, False)]
    appended: list[Arrival | CorrectionArrival] = []
    for number in range(3):
        at_ms = START_MS + number * DAY_MS
        one = event(code, f"t{number}", at_ms, v=str(number + 1))
        appended.append(Arrival(one, ORG, at_ms, 0, number, 0))
    for number, (day, value) in enumerate((first, second), 3):
        amended = event(code, "t2", START_MS + day * DAY_MS, v=value)
        told = Correction(ORG, SUBSCRIPTION, "t2", "amend", amended, f"c{number}", b"")
        at_ms = START_MS + number * DAY_MS + 1
        appended.append(CorrectionArrival(told, ORG, at_ms, 0, number, 0))
    for each in appended:
        for live in twins:
            live.close_until(each.append_time_ms - 1)
            if isinstance(each, Arrival):
                live.deliver([each])
            else:
                live.correct(each)
        same(*twins)
    assert (twins[0].outcomes["repaired"], twins[0].outcomes["left"]) == (2 - left, left)


def amend(of: str, value: str, correction_id: str) -> Correction:
    """Return a correction that gives an event of two another value."""
    event_now = event("sum", of, START_MS, v=value)
    return Correction(ORG, SUBSCRIPTION, of, "amend", event_now, correction_id, b"")


def corrected_during_a_refold(
    first: CorrectionArrival, second: CorrectionArrival, fed: int
) -> tuple[Repaired, Repaired]:
    """Return a partition that took the second while a refold fed, and one that has only events."""
    definitions = definitions_of(["sum"])
    live, alone = (Repaired(definitions, repairs=repairs) for repairs in (True, False))
    for number in range(2):
        at_ms = START_MS + number * DAY_MS
        arrival = Arrival(event("sum", f"t{number}", at_ms, v="3"), ORG, at_ms, 0, number, 0)
        live.deliver([arrival])
        alone.deliver([arrival])
    live.partition.corrected.correct(first)
    meter_keys = live.partition.event_ranges.meter_keys_of(NAME)
    refold = Refold(live.partition, meter_keys, {NAME: next_cut(live.partition, NAME)})
    arrived = list(live.arrived())
    refold.feed(arrived[:fed])
    live.partition.corrected.correct(second)
    refold.feed(arrived[fed:])
    assert refold.swap()
    live.mend()
    return live, alone


@pytest.mark.parametrize("fed", [0, 1, 2], ids="{} fed before".format)
def test_a_correction_that_comes_during_a_refold_is_put_in_force_once(fed: int) -> None:
    cancel = Correction(ORG, SUBSCRIPTION, "t0", "cancel", None, "c0", b"")
    at_ms = START_MS + 2 * DAY_MS
    first = CorrectionArrival(cancel, ORG, at_ms, 0, 2, 0)
    second = CorrectionArrival(amend("t1", "2", "c1"), ORG, at_ms, 0, 3, 0)
    live, alone = corrected_during_a_refold(first, second, fed)
    assert live.outcomes == {"repaired": 1}
    alone.correct(first)
    alone.correct(second)
    same(live, alone)


@pytest.mark.parametrize("of", ["t0", "t1"], ids="of {}".format)
@pytest.mark.parametrize("fed", [0, 1, 2], ids="{} fed before".format)
def test_a_correction_whose_place_is_taken_during_a_refold_counts_nowhere(
    fed: int, of: str
) -> None:
    """An earlier one came under its correction_id, about the same event or another."""
    at_ms = START_MS + 2 * DAY_MS
    later = CorrectionArrival(amend("t0", "7", "c"), ORG, at_ms, 0, 2, 0)
    earlier = CorrectionArrival(amend(of, "1", "c"), ORG, at_ms - 1, 1, 2, 0)
    live, alone = corrected_during_a_refold(later, earlier, fed)
    alone.correct(earlier)
    same(live, alone)


def test_an_event_that_nobody_knows_is_passed_over() -> None:
    identity = event_id(*NAME, "t")
    live = Repaired(definitions_of(["sum"]), repairs=True)
    job = Repair(live.partition, NAME, next_cut(live.partition, NAME))
    assert drained(job.repairing({identity: None})) == set()


@pytest.mark.parametrize("codes", [CODES, ("count", "sum", "balance"), ("heads",)], ids=len)
def test_an_earlier_copy_comes_to_what_a_refold_does(codes: tuple[str, ...]) -> None:
    moved = 0
    for seed in range(2 * SEEDS):
        definitions = definitions_of(codes, SHORT_SETTINGS, presents=seed % 2 == 0)
        twins = [Repaired(definitions, repairs=True) for _ in range(3)]
        _, closely, refolding = (live.partition.earlier_copies for live in twins)
        # As if each had to be looked at, and as if only a refold could tell.
        for some in (closely, refolding):
            setattr(some, "_leads", lambda *_: False)  # noqa: B010
        setattr(refolding, "_moved", lambda *_: False)  # noqa: B010
        log = Log(seed, codes)
        sent: list[Event] = []
        closed_ms = START_MS
        for number in range(30):
            log.now_ms += log.choose.choice([1, 60_000, HOUR_MS, DAY_MS])
            again = sent and log.choose.random() < 0.5
            one = log.choose.choice(sent) if again else log.event(f"t{number}")
            if sent and not again and log.choose.random() < 0.2:
                # At the time of another.
                one = replace(one, timestamp_ms=log.choose.choice(sent).timestamp_ms)
            sent.append(one)
            came_ms = log.choose.randint(closed_ms + 1, log.now_ms + 1) if again else log.now_ms + 1
            for live in twins:
                live.define_until(log.now_ms)
                live.deliver([Arrival(one, ORG, came_ms, 1, number, 0, number)])
            for other in twins[1:]:
                assert twins[0].cells() == other.cells()
                assert twins[0].members() == other.members()
            if log.choose.random() < 0.1:
                closed_ms = log.now_ms + 1
                for live in twins:
                    live.close_until(closed_ms)
        for live in twins:
            live.close_until(log.now_ms + 3 * WEEK_MS)
        for other in twins[1:]:
            assert twins[0].cells() == other.cells()
            assert twins[0].members() == other.members()
            assert twins[0].values() == other.values()
        moved += twins[1].partition.work.counts["duplicate", "cells"]
    assert moved


def test_an_amend_to_a_code_without_events_finds_the_definitions_of_now() -> None:
    """Though somebody has looked where events of it would go under those of before."""
    definitions = definitions_of(("count", "max"), SETTINGS)
    end_ms = START_MS + WEEK_MS

    def told(*, looks: bool) -> list[bytes]:
        live = Repaired(definitions, repairs=True)
        live.deliver([arrived("count", 0, START_MS + HOUR_MS)])
        if looks:
            live.partition.packing.route_of((*NAME, "max"))
        live.append(START_MS + HOUR_MS, commands.set_settings(replace(SETTINGS, grace_s=90)))
        moved = event("max", "t0", START_MS + HOUR_MS, v="1")
        amend = Correction(*NAME, "t0", "amend", moved, "c", b"")
        live.correct(CorrectionArrival(amend, ORG, START_MS + 2 * HOUR_MS, 0, 1, 0))
        live.deliver([arrived("max", 2, end_ms - 1, end_ms + 60_000, v="5")])
        live.close_until(end_ms + DAY_MS)
        return live.values()

    assert told(looks=True) == told(looks=False)
