"""A definition is tried on a branch, by steps, before it is appended: are its events there?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.bounds.turns import Steps
from app.definitions import commands
from app.definitions.log import apply, applying, decide
from app.definitions.outcome import Applied, Impact
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.meter.errors import BeyondRetention, Unavailable
from app.queries.gateway import Gateway
from app.runtime.homes import HomePartitions
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import runs_of
from tables.changelogged.presence import NOTED_TO_MS, LogsKept
from tables.partition.retained import APPLIED_WITHIN_MS
from tests.app.runtime.partition.test_owned import AT_MS, owned_of, sent
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.definitions_log import metric_body
from tests.world.topics import no_topics

ENDED_MS = START_MS + 2 * NOTED_TO_MS - 1
"""Of the minute of the events: those that lead straight are not looked at one by one."""
DELETE = commands.delete_plan(ORG, "plan")


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("log", "subscriptions"):
        monkeypatch.setattr(f"app.definitions.{module}.STEP_ITEMS", 1)


async def with_event(
    at_ms: int, raw_since_ms: int = NEVER_MS, asked: list[int] | None = None
) -> tuple[Gateway, OwnedPartition]:
    """A partition with two events that the log has no longer, and a gateway over it.

    `raw_since_ms`: append time of the first record that it has. `asked`: gets the partitions whose
    logs are asked for.
    """
    asked = [] if asked is None else asked
    owned = owned_of("count")
    for number, each_ms in enumerate((at_ms - 1, at_ms), 1):
        runs = runs_of([sent("ab"[number - 1], each_ms)])
        await owned.fold(runs, raw_next=number, append_time_ms=each_ms)

    async def kept_of(numbers: Any) -> dict[int, LogsKept]:
        asked.extend(numbers)
        return dict.fromkeys(numbers, LogsKept(100, 0, raw_since_ms))

    engine = SimpleNamespace(
        definitions=owned.state.definitions,
        owned={0: owned},
        homes=owned.shared.homes,
        shared=owned.shared,
        brokers=owned.shared.brokers,
        clock=SimpleNamespace(now_ms=lambda: ENDED_MS),
        offsets=SimpleNamespace(kept_of=kept_of),
        settings=owned.shared.settings,
        append=None,
    )
    return Gateway(cast(Any, engine), no_topics), owned


def impact_of(owned: OwnedPartition) -> Impact:
    decision = decide(owned.state.definitions, DELETE, ENDED_MS)
    impact = getattr(decision, "impact", None)
    assert isinstance(impact, Impact)
    return impact


async def test_a_plan_is_not_deleted_under_events_after_its_end_that_are_gone() -> None:
    gateway, owned = await with_event(START_MS + WEEK_MS)
    with pytest.raises(BeyondRetention):
        await gateway.definer._require_retained(DELETE, impact_of(owned))


@pytest.mark.parametrize("before_ms", [0, 9 * DAY_MS])
async def test_of_what_is_forgotten_nothing_has_to_be_there(before_ms: int) -> None:
    """The log begins so long before the first events that are not forgotten."""
    at_ms = START_MS + WEEK_MS
    gateway, owned = await with_event(at_ms, at_ms - before_ms)
    owned.state.event_ranges.note_forgotten((ORG, SUBSCRIPTION, "count"), START_MS)
    requiring = gateway.definer._require_retained(DELETE, impact_of(owned))
    if before_ms:
        await requiring
    else:
        with pytest.raises(BeyondRetention):
            await requiring


async def test_events_before_its_end_stay_where_they_are() -> None:
    """They are of its minute. Whose last one came a moment ago is taken to send more."""
    gateway, owned = await with_event(ENDED_MS - APPLIED_WITHIN_MS - 1)
    await gateway.definer._require_retained(DELETE, impact_of(owned))
    gateway, owned = await with_event(ENDED_MS - APPLIED_WITHIN_MS)
    with pytest.raises(BeyondRetention):
        await gateway.definer._require_retained(DELETE, impact_of(owned))


@pytest.mark.parametrize("times", [1, 1_000], ids=["once", "all the time"])
async def test_what_is_defined_meanwhile_is_in_what_it_is_tried_on(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    gateway, owned = await with_event(START_MS + WEEK_MS)
    impact, definitions, defined = impact_of(owned), owned.state.definitions, 0

    def tried(branch: Definitions, value: bytes, *where: int) -> Steps[Any]:
        """Another worker's definition comes after each step of ours."""
        nonlocal defined
        steps = applying(branch, value, *where)
        while branch is not definitions:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            if defined < times:
                defined += 1
                made = commands.create_billable_metric(ORG, metric_body(f"m{defined}"))
                outcome = apply(definitions, made.encode(), AT_MS, definitions.offset)
                assert isinstance(outcome, Applied)
            yield
        return (yield from steps)

    monkeypatch.setattr("app.queries.definer.applying", tried)
    error = BeyondRetention if times == 1 else Unavailable
    with pytest.raises(error):
        await gateway.definer._require_retained(DELETE, impact)
    assert defined == (1 if times == 1 else 3)


async def test_only_the_logs_of_its_home_are_asked_for_a_subscription() -> None:
    """Where they begin is asked of the brokers, with each definition that may change usage."""
    asked: list[int] = []
    gateway, owned = await with_event(AT_MS, asked=asked)
    engine = cast(Any, gateway.definer._engine)
    engine.owned = dict.fromkeys(range(4), owned)
    engine.homes = HomePartitions(engine.definitions, 4)
    home = engine.homes.of(ORG, SUBSCRIPTION)
    await gateway.definer._require_retained(DELETE, Impact(ORG, SUBSCRIPTION))
    assert asked == [home]
    # Nor are they where it has no event there: nothing of it can be gone.
    await gateway.definer._require_retained(DELETE, Impact(ORG, "new"))
    del engine.owned[home]
    await gateway.definer._require_retained(DELETE, Impact(ORG, SUBSCRIPTION))
    assert asked == [home]
    # Of another one any may have events.
    await gateway.definer._require_retained(DELETE, Impact(ORG, plan_id="other"))
    assert sorted(asked[1:]) == sorted(engine.owned)
