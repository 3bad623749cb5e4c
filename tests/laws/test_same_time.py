"""A law of one millisecond: a correction of the time of its event is as if it had come with it.

Whichever of the two lies first, and whichever is read first.
"""

from __future__ import annotations

import random

import msgspec
import pytest
from msgspec.structs import replace

from app.billing_periods.instants import iso_milliseconds
from app.definitions.judging import Judging
from app.offline.fold import EventLine, OfflineMeter
from app.wire.arrivals import Arrival, CorrectionArrival, arrivals_of
from tests.world.bodies import Json
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    IN_ADVANCE,
    METRICS,
    SHORT_SETTINGS,
    CommandAt,
    definitions_of,
    logged,
)
from tests.world.events import amend, cancel, raw
from tests.world.profiles import count, sized
from tests.world.repaired import Repaired

SETTINGS = replace(SHORT_SETTINGS, usage_changed=True, daily_records=True)
END_MS = START_MS + 6 * WEEK_MS
SEEDS = sized(count(12), 4)
_DUE_MS = START_MS + WEEK_MS + 120_000


class Log:
    """Two raw partitions, on which nearly all is appended at a few times."""

    def __init__(self, seed: int, codes: tuple[str, ...]):
        self.choose = random.Random(seed)
        self.codes = codes
        times = [
            START_MS + DAY_MS + HOUR_MS,
            START_MS + 2 * DAY_MS,
            _DUE_MS,
            _DUE_MS + HOUR_MS,
            _DUE_MS + 5 * DAY_MS + 1,
        ]
        self.times = [each + more for each in times for more in (0, 0, 1)]
        self.lines = [
            EventLine(at_ms, partition, offset, msgspec.json.encode(self._value(at_ms, offset)))
            for partition in (0, 1)
            for offset, at_ms in enumerate(sorted(self.choose.choices(self.times, k=14)))
        ]

    def _value(self, at_ms: int, offset: int) -> Json:
        choose = self.choose
        used = self._used(at_ms)
        if choose.random() < 0.5:
            return used
        correction_id = f"c{at_ms}-{offset}-{choose.randrange(3)}"
        if choose.random() < 0.5:
            return cancel(used["transaction_id"], correction_id)
        return amend(used, correction_id)

    def _used(self, at_ms: int) -> Json:
        choose = self.choose
        dated_ms = max(START_MS, at_ms - choose.choice([0, HOUR_MS, DAY_MS, WEEK_MS]))
        return raw(
            choose.choice(self.codes),
            f"t{choose.randrange(6)}",
            choose.choice([dated_ms, dated_ms, None]),
            v=choose.choice(["1", "2.5", "-1", "7"]),
            g=choose.choice("xyz"),
            u=choose.choice("ab"),
            operation_type=choose.choice(["add", "add", "remove"]),
        )


def offline(definitions: list[CommandAt], lines: list[EventLine]) -> list[bytes]:
    meter = OfflineMeter()
    meter.run(logged(definitions), lines, END_MS)
    return sorted(record.value for record in meter.records)


def live(
    definitions: list[CommandAt], lines: list[EventLine], choose: random.Random
) -> list[bytes]:
    """Read both partitions side by side in any order, but for cuts; refold all now and then."""
    partition = Repaired(definitions, repairs=choose.random() < 0.7)
    logs = [[line for line in lines if line.partition == number] for number in (0, 1)]
    while any(logs):
        at_ms = min(log[0].append_time_ms for log in logs if log)
        partition.close_until(at_ms - 1)
        until_ms = at_ms + choose.choice([0, 1, HOUR_MS])
        near = [log for log in logs if log and log[0].append_time_ms <= until_ms]
        line = choose.choice(near).pop(0)
        for arrived in arrivals_of(
            line.value, (), line.append_time_ms, line.partition, line.offset, Judging()
        ):
            if isinstance(arrived, Arrival):
                partition.deliver([arrived])
                partition.mend()
            elif isinstance(arrived, CorrectionArrival):
                partition.correct(arrived)
        if choose.random() < 0.1:
            partition.refold_all()
            partition.mend()
    partition.close_until(END_MS)
    return partition.values()


@pytest.mark.parametrize("codes", [tuple(METRICS), ("sum",), ("max",), ("seats",), ("balance",)])
def test_any_delivery_comes_to_what_the_offline_fold_does(codes: tuple[str, ...]) -> None:
    definitions = definitions_of(codes, SETTINGS, presents=True)
    for seed in range(SEEDS):
        lines = Log(seed, codes).lines
        told = offline(definitions, lines)
        for number in range(3):
            choose = random.Random(f"{seed} {number}")
            assert live(definitions, lines, choose) == told, (seed, number)


@pytest.mark.parametrize("first", [0, 1], ids=["event", "correction"])
@pytest.mark.parametrize("code", ["sum", "passes"])
def test_a_cut_shows_no_event_that_is_cancelled_in_its_millisecond(code: str, first: int) -> None:
    """In time or late, whether a period bills it or each event; one that is amended shows once."""
    definitions = definitions_of((code,), SETTINGS)
    late_ms, amended_ms = _DUE_MS + HOUR_MS - 1, _DUE_MS + 2 * HOUR_MS - 1
    appended = [
        (at_ms, value)
        for at_ms, name in ((START_MS + DAY_MS, "a"), (late_ms, "b"))
        for value in (raw(code, name, START_MS + DAY_MS, v="5", u="a"), cancel(name, name))
    ]
    appended.append((amended_ms, raw(code, "c", START_MS + DAY_MS, v="5", u="a")))
    appended.append((amended_ms, amend(raw(code, "c", START_MS + DAY_MS, v="7", u="b"))))
    for at in range(0, len(appended), 2):
        appended[at : at + 2] = appended[at + first], appended[at + 1 - first]
    lines = [EventLine(ms, 0, n, msgspec.json.encode(v)) for n, (ms, v) in enumerate(appended)]
    told = [msgspec.json.decode(value) for value in offline(definitions, lines)]
    shown = sorted(
        (each["type"], each["events_count"])
        for each in told
        if each["type"] in ("usage.recorded", "usage.revised", "usage.instant")
    )
    at_once = [("usage.instant", 1)] if code in IN_ADVANCE else []
    assert shown == [*at_once, ("usage.recorded", 1)]
    assert [each["as_of"] for each in told if each["type"] == "usage.changed"] == [
        iso_milliseconds(amended_ms + 1)
    ]
