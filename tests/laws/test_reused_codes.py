"""A metric is deleted, made anew under its code, and charged again: what counts when.

Worked out from records-and-cuts §2, §4 and §7: a period keeps the definitions of its due time, and
nothing appended up to the deletion of an earlier metric of the code ever counts.
"""

from __future__ import annotations

import json
from random import Random
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.instants import iso_milliseconds, iso_seconds
from app.definitions import commands
from tests.world import bodies
from tests.world.bodies import charge
from tests.world.clock import ms
from tests.world.definitions import ORG
from tests.world.profiles import examples
from tests.world.story import Story

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
START_MS = ms("2024-01-01")
"""A Monday: weeks of the calendar start with it."""
WEEKS = [(START_MS + k * 7 * DAY_MS, START_MS + (k + 1) * 7 * DAY_MS) for k in range(4)]
END_MS = WEEKS[-1][1] + 5 * DAY_MS
DUE_MS = [end_ms for _, end_ms in WEEKS]

Line = tuple[str, str, str, int, str]
"""(closed_at, period start, type, revision, units or records_count)"""


class Definition(NamedTuple):
    """What is in force from a moment on."""

    since_ms: int
    charged: bool
    counts_after_ms: int


class Tale:
    """Definitions and events at random."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.story = Story(close_grid_s=60).metric("m", "count_agg").plan({}, interval="weekly")
        self.story.subscribe()
        self.history = [Definition(0, True, -1)]
        for _ in range(random.randint(1, 6)):
            self._redefine()
        moments = [*DUE_MS, *(definition.since_ms for definition in self.history[1:])]
        appended = sorted(
            random.choice(
                [
                    random.randint(START_MS, END_MS),
                    random.choice(moments) + random.choice([-1, 0, 1]),
                ]
            )
            for _ in range(random.randint(1, 12))
        )
        self.events = [(at_ms, self._dated()) for at_ms in appended if START_MS < at_ms <= END_MS]
        for at_ms, dated_ms in self.events:
            self.story.send(iso_milliseconds(dated_ms), appended=iso_milliseconds(at_ms))

    def _dated(self) -> int:
        start_ms, end_ms = self.random.choice(WEEKS)
        return self.random.randint(start_ms, end_ms - 1)

    def _redefine(self) -> None:
        last = self.history[-1]
        next_ms = max(last.since_ms, START_MS)
        next_ms += self.random.choice(
            [1, self.random.randint(1, 10 * DAY_MS), max(1, self.random.choice(DUE_MS) - next_ms)]
        )
        at_ms, alive = min(next_ms, END_MS), self.story_has_metric
        if not alive:
            metric = bodies.metric("m", "count_agg")
            command = commands.create_billable_metric(ORG, metric)
            new = last._replace(since_ms=at_ms)
        elif self.random.random() < 1 / 2:
            command = commands.delete_billable_metric(ORG, "m")
            new = Definition(at_ms, charged=False, counts_after_ms=at_ms)
        else:
            charges = [] if last.charged else [charge()]
            command = commands.update_plan(ORG, "plan", {"charges": charges})
            new = last._replace(since_ms=at_ms, charged=not last.charged)
        self.story.define(iso_milliseconds(at_ms), command)
        self.history.append(new)

    @property
    def story_has_metric(self) -> bool:
        kinds = [json.loads(line.value or b"{}")["type"] for line in self.story.definitions]
        return kinds.count("create_billable_metric") > kinds.count("delete_billable_metric")

    def expected(self) -> list[Line]:
        """Every record of the four weeks."""
        return [line for week, due_ms in zip(WEEKS, DUE_MS, strict=True)
                for line in self._of_week(*week, due_ms)]  # fmt: skip

    def _of_week(self, start_ms: int, end_ms: int, due_ms: int) -> list[Line]:
        rules = [definition for definition in self.history if definition.since_ms <= due_ms][-1]
        counting = [
            at_ms
            for at_ms, dated_ms in self.events
            if rules.charged and at_ms > rules.counts_after_ms and start_ms <= dated_ms < end_ms
        ]
        late = {-(-at_ms // HOUR_MS) * HOUR_MS for at_ms, _ in self.events if at_ms > due_ms}
        lines: list[Line] = []
        shown = revision = completion = 0
        for cut_ms in sorted(cut_ms for cut_ms in late | {due_ms} if cut_ms <= END_MS):
            number = sum(at_ms <= cut_ms for at_ms in counting)
            told = (iso_milliseconds(cut_ms), iso_seconds(start_ms))
            if number != shown:
                lines.append((*told, "cell", revision, f"{number}.0"))
                revision += 1
            if number != shown or cut_ms == due_ms:
                lines.append((*told, "period.completed", completion, str(int(number > 0))))
                completion += 1
            shown = number
        return lines

    def published(self) -> list[Line]:
        found: list[Line] = []
        weeks = {iso_seconds(start_ms) for start_ms, _ in WEEKS}
        for written in self.story.meter(iso_milliseconds(END_MS)).records:
            record = json.loads(written.value)
            done = record["type"] == "period.completed"
            if record["period"]["from"] in weeks:
                found.append(
                    (
                        record["closed_at"],
                        record["period"]["from"],
                        "period.completed" if done else "cell",
                        record["revision"],
                        str(record["records_count"]) if done else record["units"],
                    )
                )
        return found


@examples(100)
@given(st.integers(0, 2**32))
def test_a_code_is_used_again(seed: int) -> None:
    tale = Tale(Random(seed))
    assert sorted(tale.published()) == sorted(tale.expected())
