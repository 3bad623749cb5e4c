"""A law of copies: an event that is sent again counts as the earliest, in any order.

Whoever tells copies apart by their packed rows comes to what looking at each closely does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import chain

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival, CorrectionArrival, Run, runs_of
from app.wire.events import Correction
from tests.laws.test_input_limits import LIMITS, LONG
from tests.laws.test_straight import PLAIN, Close, with_ids_once
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SHORT_SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    definitions_of,
    lines,
    metric_body,
    plan_body,
    subscription_body,
)
from tests.world.events import event
from tests.world.partition import Live
from tests.world.profiles import dear

SEEDS = dear(60)
CODES = (*PLAIN, "visitors", "filtered", "sum", "spent", "passes")


class Counting(Live):
    """Counts the earlier copies that are taken by their rows."""

    led = 0

    def fold_straight(self, runs: list[Run]) -> list[Run]:
        straight = self.partition.fold_straight(runs)
        self.led += sum(each.replaced for each in straight.copies.duplicates())
        self.straight += straight.accepted
        return self._led(straight)


def defined(codes: Sequence[str], settings: SettingsRecord) -> list[CommandAt]:
    """Return definitions; alone, some have filters without groups, and a balance has groups."""
    if codes not in [("filtered",), ("balance",), ("unique",)]:
        return definitions_of(codes, settings)
    body, (code,), filters = plan_body(codes), codes, {}
    charge = body["charges"][0]
    if code == "balance":
        charge["properties"]["pricing_group_keys"] = ["g"]
    else:
        charge["properties"].pop("pricing_group_keys", None)
        charge["filters"] = [{"values": {"g": ["x"]}, "properties": {"amount": "1"}}]
        filters = {"filters": [{"key": "g", "values": ["x", "y"]}]}
    made: list[Command] = [commands.set_settings(settings)]
    made.append(commands.create_billable_metric(ORG, metric_body(code, **filters)))
    made.append(commands.create_plan(ORG, body))
    made.append(commands.create_subscription(ORG, subscription_body()))
    return lines((START_MS - HOUR_MS, command) for command in made)


def sent_again(choose: random.Random, codes: Sequence[str]) -> list[list[Arrival]]:
    """Return batches of events and copies of them, of two raw partitions, in any order."""
    made, offset = list[Arrival](), 0
    for number in range(60):
        at_ms = START_MS + number * 4 * HOUR_MS
        properties = {
            "v": choose.choice(["1", "2.5", "-1", "x"]),
            "u": choose.choice("abc"),
            "g": choose.choice("xy"),
            "operation_type": choose.choice(["add", "add", "remove"]),
        }
        back_ms = choose.choice([0, 0, 0, DAY_MS, WEEK_MS])
        dated_ms = max(START_MS, at_ms - back_ms)
        one = event(choose.choice(codes), f"t{number}", dated_ms, **properties)
        if choose.random() < 0.05:
            one = replace(one, timestamp_ms=None)
        for _ in range(choose.choice([1, 2, 2, 3])):
            later_ms = choose.choice([0, 0, 1, HOUR_MS, DAY_MS])
            partition = choose.choice([0, 1])
            rekeyed = offset if partition else -1
            made.append(Arrival(one, ORG, at_ms + later_ms, partition, offset, 0, rekeyed))
            offset += 1
    # Nearly in the order of their positions, as two logs are read.
    made.sort(key=lambda each: (each.append_time_ms + choose.randrange(2 * DAY_MS), each.position))
    batches = []
    while made:
        size = choose.randint(1, 9)
        batches.append(made[:size])
        made = made[size:]
    return batches


@pytest.mark.parametrize("codes", [CODES, *((code,) for code in CODES)], ids="-".join)
@pytest.mark.parametrize(
    "settings",
    [SETTINGS, replace(SHORT_SETTINGS, max_groups=1)],
    ids=["plain", "one group"],
)
def test_copies_told_by_their_rows_count_as_those_looked_at(
    codes: tuple[str, ...], settings: SettingsRecord
) -> None:
    led = 0
    for seed in range(SEEDS):
        choose, definitions = random.Random(seed), defined(codes, settings)
        straight, close = lives = Counting(definitions), Close(definitions)
        batches, once = sent_again(choose, codes), seed % 2 == 0
        if once:
            batches = [*chain.from_iterable(map(with_ids_once, batches))]
        for live in lives:
            live.define_all()
        for number, batch in enumerate(batches):
            to_come = [each.append_time_ms for some in batches[number + 1 :] for each in some]
            closes, restarts = choose.random() < 0.2, choose.random() < 0.05
            for live in lives:
                live.deliver(batch)
                if closes and to_come:
                    live.close_until(min(to_come) - 1)
                if restarts:
                    live.restart()
            assert straight.cells() == close.cells()
            assert not once or straight.members() == close.members()
        for live in lives:
            live.close_until(START_MS + 5 * WEEK_MS)
            live.flush()
        assert straight.values() == close.values()
        for arrival in straight.arrived():
            found, expected = (live.partition.index.find(arrival.identity) for live in lives)
            assert found == expected
        if once:
            assert straight.changelog.tables == close.changelog.tables
        led += straight.led
    # Of the newest value the position decides, and of what each event bills at once.
    assert led or codes in [("latest",), ("spent",), ("passes",)]


def sent(number: int, appended_ms: int, code: str = "count", **named: str) -> Arrival:
    """Return an event of the first moment, appended some time after it."""
    one = event(code, f"t{number}", START_MS, **{"u": "a", "v": "1", **named})
    return Arrival(one, ORG, START_MS + appended_ms, 0, appended_ms, 0)


def known(code: str = "count", settings: SettingsRecord = SETTINGS) -> Live:
    """Return a partition that knows two events, of which the second went straight."""
    live = Live(defined((code,), settings))
    live.define_all()
    live.deliver([sent(0, HOUR_MS, code)])
    live.deliver([sent(1, HOUR_MS + 1, code)])
    return live


def looked_at(live: Live, *batch: Arrival) -> list[Arrival]:
    """Fold a batch straight, then the rest; return what was in that."""
    runs = runs_of(batch)
    rest = [arrival for _, run in live.partition.fold_straight(runs).rest for arrival in run]
    for arrival in batch:
        live.keep(arrival)
    live.deliver(rest)
    return rest


def displaced(live: Live) -> None:
    """Have the cells wait for a refold."""
    live.partition.stale.displace([(ORG, SUBSCRIPTION, "count")])


def corrected(live: Live) -> None:
    """Correct the event."""
    corrected_of(live, "t1")


def corrected_of(live: Live, transaction_id: str) -> None:
    """Correct an event of the subscription."""
    cancel = Correction(ORG, SUBSCRIPTION, transaction_id, "cancel", None, "c", b"")
    live.partition.corrected.correct(CorrectionArrival(cancel, ORG, START_MS + DAY_MS, 0, 9, 0))


def told_of(live: Live) -> None:
    """Have changes of usage told from now on."""
    record = replace(SETTINGS, usage_changed=True)
    live.append(START_MS + DAY_MS, commands.set_settings(record))
    live.deliver([sent(2, DAY_MS + HOUR_MS)])


@pytest.mark.parametrize("otherwise", [None, displaced, corrected, told_of])
def test_an_earlier_copy_is_looked_at_unless_cells_are_at_rest_and_nobody_notes_more(
    otherwise: Callable[[Live], None] | None,
) -> None:
    live, earlier = known(), sent(1, HOUR_MS - 1)
    if otherwise is not None:
        otherwise(live)
    assert looked_at(live, earlier) == ([] if otherwise is None else [earlier])
    entry = live.partition.index.find(earlier.identity)
    assert entry is not None
    assert entry.position == earlier.position


def test_an_earlier_copy_is_not_looked_at_of_the_same_moment() -> None:
    """What changed is told then, of whichever of them."""
    live = Live(defined(("count",), replace(SETTINGS, usage_changed=True)))
    live.define_all()
    for number in range(2):
        live.deliver([sent(number, HOUR_MS + 1_000 + number)])
    assert looked_at(live, sent(0, HOUR_MS + 500)) == []
    entry = live.partition.event_ranges.find((ORG, SUBSCRIPTION), "count")
    assert entry is not None
    assert list(entry.touched) == [START_MS + HOUR_MS + 60_000]
    assert entry.first_ms == START_MS + HOUR_MS + 500


@pytest.mark.parametrize("other", ["t0", "t9"])
def test_an_earlier_copy_is_not_looked_at_for_a_correction_of_another(other: str) -> None:
    """One of an event that came, or of one that never does."""
    live, earlier = known(), sent(1, HOUR_MS - 1)
    corrected_of(live, other)
    assert looked_at(live, earlier) == []
    entry = live.partition.index.find(earlier.identity)
    assert entry is not None
    assert entry.position == earlier.position


@pytest.mark.parametrize("code", ["latest", "unique", "balance"])
def test_an_earlier_copy_is_looked_at_where_positions_may_decide(code: str) -> None:
    """Which value is the newest, which groups have a place, or what a member is."""
    live = known(code)
    later, earlier = (sent(2, appended_ms, code, g="x") for appended_ms in (2 * HOUR_MS, HOUR_MS))
    live.deliver([later])
    assert looked_at(live, earlier) == [earlier]


def test_an_earlier_copy_of_a_group_without_room_is_looked_at() -> None:
    live = Live(defined(["sum"], replace(SETTINGS, max_groups=1)))
    live.define_all()
    groups = "xxyx"
    batch = [sent(number, HOUR_MS + number, "sum", g=g) for number, g in enumerate(groups)]
    for arrival in batch:
        live.deliver([arrival])
    earlier = [sent(number, number, "sum", g=groups[number]) for number in (3, 2)]
    assert looked_at(live, earlier[0]) == []
    assert looked_at(live, earlier[1]) == earlier[1:]


def test_of_two_earlier_copies_in_one_batch_the_earliest_counts() -> None:
    live = known()
    batch = [sent(1, HOUR_MS - 2), sent(1, HOUR_MS - 1)]
    assert looked_at(live, *batch) == batch
    entry = live.partition.index.find(batch[0].identity)
    assert entry is not None
    assert entry.position == batch[0].position


def test_an_earlier_copy_without_a_time_of_its_own_is_dated_otherwise() -> None:
    live = known()
    later, earlier = (
        replace(each, event=replace(each.event, timestamp_ms=None))
        for each in (sent(2, 2 * HOUR_MS), sent(2, HOUR_MS))
    )
    live.deliver([later])
    assert looked_at(live, earlier) == [earlier]


def test_an_earlier_copy_of_one_that_came_late_is_looked_at() -> None:
    live = known()
    live.deliver([sent(2, WEEK_MS + HOUR_MS)])
    earlier = sent(2, 2 * HOUR_MS)
    assert looked_at(live, earlier) == [earlier]


def test_an_earlier_copy_of_one_that_was_too_long_is_looked_at() -> None:
    """Its member counts, for no limit was in force when it was appended."""
    live = known("visitors")
    live.append(START_MS + DAY_MS, LIMITS)
    live.deliver([sent(2, 2 * DAY_MS, "visitors", u=LONG)])
    live.deliver([sent(3, 2 * DAY_MS, "visitors", u="c")])
    earlier = sent(2, 2 * HOUR_MS, "visitors", u=LONG)
    assert looked_at(live, earlier) == [earlier]


def test_an_earlier_copy_extends_the_event_ranges() -> None:
    live = known()
    earlier = replace(sent(1, HOUR_MS - 1), raw_partition=1, rekeyed_offset=7)
    assert looked_at(live, earlier) == []
    noted = live.partition.event_ranges.find((ORG, SUBSCRIPTION), "count")
    assert noted is not None
    assert noted.rekeyed_first == 7
