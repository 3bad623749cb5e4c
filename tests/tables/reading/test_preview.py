"""Previews of published periods: what they are compared with is what was published of them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, drained
from app.definitions import commands
from app.definitions.outcome import Rejected
from app.definitions.what_if import Branch, branch_with
from app.offline.fold import OfflineMeter
from app.wire.arrivals import CorrectionArrival
from app.wire.events import Correction
from tables.reading.preview import Preview, PreviewScope
from tests.tables.closing.test_forgetting import NAME, live
from tests.world.begun import begun
from tests.world.bodies import charge
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS, ms
from tests.world.definitions import ORG, SHORT_SETTINGS, SUBSCRIPTION, definitions_of, metric_body
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.story import Story

AT = "2024-05-20"
SCOPE = PreviewScope(0, ms("2024-06-01"), ms(AT))


def previewed(told: Story, **properties: Any) -> list[tuple[str, str | None, str | None]]:
    """(month, units now, units then) of each cell that would differ."""
    meter = told.meter(AT)
    (plan,) = [versions.at() for versions in meter.definitions.plan_versions.values()]
    assert plan is not None
    changed = charge("m", id=plan.charges[0].id, properties={"amount": "2", **properties})
    command = commands.update_plan(ORG, "plan", {"charges": [changed]})
    branch = drained(
        branch_with(meter.definitions, ORG, [command], SCOPE.from_ms, SCOPE.to_ms, ms(AT))
    )
    assert not isinstance(branch, Rejected)
    job = begun(Preview(meter.partition, branch, [(ORG, SUBSCRIPTION)], SCOPE))
    while True:
        job.refold.feed(told.arrivals())
        if drained(job.refold.admitted()):
            break
    found = [
        (
            cell.period_from[:7],
            None if cell.before is None else cell.before.units,
            None if cell.after is None else cell.after.units,
        )
        for of_one in filter(None, job.differences())
        for cell in of_one
    ]
    return sorted(found, key=lambda each: each[0])


def late_balance(**metric: Any) -> Story:
    """January and February are final when the second event comes; March is not."""
    told = Story(close_grid_s=60).metric("m", "sum_agg", **metric).plan({}).subscribe()
    told.send("2024-01-02", v="5")
    return told.send("2024-01-05", appended="2024-04-20T10:15:00", v="3")


def test_a_balance_is_compared_with_what_was_published_of_it() -> None:
    """A record of history has a period show everything, also where the change moves nothing."""
    told = late_balance(recurring=True)
    assert previewed(told) == [("2024-01", "5.0", "8.0"), ("2024-02", "5.0", "8.0")]


def test_what_was_published_goes_where_other_keys_group() -> None:
    told = late_balance(recurring=True)
    found = previewed(told, pricing_group_keys=["g"])
    now = [each for each in found if each[1] is not None]
    assert [each[:2] for each in now] == [
        ("2024-01", "5.0"),
        ("2024-02", "5.0"),
        ("2024-03", "8.0"),
        ("2024-04", "8.0"),
        ("2024-05", "8.0"),
    ]
    assert {each[2] for each in found if each[1] is None} == {"8.0"}


@pytest.mark.parametrize("recurring", [True, False])
def test_what_the_change_moves_is_all_that_differs_without_late_events(*, recurring: bool) -> None:
    told = Story(close_grid_s=60).metric("m", "sum_agg", recurring=recurring).plan({}).subscribe()
    told.send("2024-01-02", v="5")
    assert previewed(told) == []


def regrouping(meter: OfflineMeter, code: str) -> Branch:
    """A branch in which the charge of a plan has other groups."""
    plan = meter.definitions.plan(ORG, code)
    assert plan is not None
    properties = {"amount": "1", "pricing_group_keys": ["g"]}
    changed = charge("m", id=plan.charges[0].id, properties=properties)
    command = commands.update_plan(ORG, code, {"charges": [changed]})
    branch = drained(
        branch_with(meter.definitions, ORG, [command], SCOPE.from_ms, SCOPE.to_ms, ms(AT))
    )
    assert not isinstance(branch, Rejected)
    return branch


def differing(told: Story, meter: OfflineMeter, branch: Branch) -> tuple[list[str], int]:
    """Months of the cells that would differ, and since when what is read was appended."""
    job = begun(Preview(meter.partition, branch, [(ORG, SUBSCRIPTION)], SCOPE))
    since_ms = job.refold.appended_from_ms or 0
    job.refold.feed([each for each in told.arrivals() if each.append_time_ms >= since_ms])
    assert drained(job.refold.admitted())
    found = (cell for of_one in filter(None, job.differences()) for cell in of_one)
    return [cell.period_from[:7] for cell in found], since_ms


def test_what_is_looked_at_begins_with_the_plan_that_is_changed() -> None:
    """An external id of years may have the plan since a month; others never had it."""
    told = Story(close_grid_s=60).metric("m", "sum_agg").plan({})
    told.plan({}, code="next").plan({}, code="never").subscribe()
    for day in ("2024-01-10", "2024-02-10", "2024-03-05"):
        told.send(day, v="5", g="x")
    told.define("2024-03-10", commands.terminate_subscription(ORG, SUBSCRIPTION))
    told.subscribe("2024-03-11", plan_code="next", subscription_at="2024-03-11T00:00:00Z")
    for day in ("2024-03-20", "2024-05-10"):
        told.send(day, v="5", g="x")
    meter, months, since_ms = told.meter(AT), list[list[str]](), list[int]()
    for code in ("plan", "next", "never"):
        branch = regrouping(meter, code)
        found, read_ms = differing(told, meter, branch)
        assert found == differing(told, meter, branch._replace(plan_ids=None))[0]
        months.append(found)
        since_ms.append(read_ms)
    assert months == [
        ["2024-01"] * 2 + ["2024-02"] * 2 + ["2024-03"] * 2,
        ["2024-03"] * 2 + ["2024-05"] * 2,
        [],
    ]
    assert since_ms[0] < ms("2024-01-01")
    assert ms("2024-03-05") < since_ms[1] < ms("2024-03-20")
    assert since_ms[2] > ms(AT)


def test_who_has_terms_of_its_own_is_looked_at_with_the_plan_that_they_are_of() -> None:
    told = Story(close_grid_s=60).metric("m", "sum_agg").plan({}).plan({}, code="other")
    told.subscribe(plan_overrides={"name": "own"}).send("2024-02-10", v="5", g="x")
    meter = told.meter(AT)
    plan_ids = meter.definitions.subscription_index.plan_ids_of((ORG, SUBSCRIPTION))
    branches = (regrouping(meter, code) for code in ("plan", "other"))
    concerned = [each.changes_any(plan_ids, meter.definitions) for each in branches]
    assert concerned == [True, False]


def test_nothing_is_said_of_who_is_corrected_meanwhile_for_the_first_time() -> None:
    """The correction may date an event to where figures are compared, from where none was read."""
    one = live(3, "filtered")
    week_ms = START_MS + 3 * WEEK_MS
    now_ms = week_ms + HOUR_MS
    scope = PreviewScope(now_ms, now_ms + 1, now_ms)
    body = metric_body("filtered", filters=[{"key": "g", "values": ["x"]}])
    command = commands.update_billable_metric(ORG, "filtered", body)
    branch = drained(
        branch_with(one.definitions, ORG, [command], scope.from_ms, scope.to_ms, now_ms)
    )
    assert not isinstance(branch, Rejected)
    job = begun(Preview(one.partition, branch, [NAME], scope))
    late = arrived("filtered", 9, week_ms - HOUR_MS, now_ms, v="3", g="x", u="a")
    amended = replace(late.event, timestamp_ms=week_ms)
    amend = Correction(*NAME, late.event.transaction_id, "amend", amended, "c", b"")
    one.partition.corrected.correct(CorrectionArrival(amend, ORG, now_ms, 0, 8, 0))
    one.deliver([late])
    job.refold.feed(one.arrived())
    assert drained(job.refold.admitted())
    assert (any(job.differences()), job.skipped) == (False, [(*NAME, "filtered")])


@pytest.mark.parametrize(
    ("code", "weeks", "steps"), [("sum", 0, 8), ("sum", 3, 17), ("balance", 3, 20)]
)
def test_many_groups_of_a_period_are_compared_by_steps(code: str, weeks: int, steps: int) -> None:
    """One of 30,000 groups held the loop for half a second."""
    groups, now_ms = 3 * STEP_ITEMS, START_MS + weeks * WEEK_MS + HOUR_MS
    definitions = definitions_of([code], SHORT_SETTINGS)
    (plan,) = [line.command for line in definitions if line.command.type == "create_plan"]
    (made,) = plan.payload["plan"]["charges"]
    made["properties"] = {"amount": "1", "pricing_group_keys": ["g"]}
    one = Live(definitions)
    one.define_all()
    one.deliver([arrived(code, n, START_MS, v="1.5", g=f"g{n}") for n in range(groups)])
    one.close_until(now_ms)
    one.partition.checkpoint.append_time_ms = now_ms
    kept = {key: value for key, value in made.items() if key != "new_id"}
    kept |= {"id": made["new_id"], "properties": {"amount": "1"}}
    command = commands.update_plan(ORG, "plan", {"charges": [kept]})
    scope = PreviewScope(START_MS, START_MS + 1, START_MS + HOUR_MS)
    branch = drained(
        branch_with(one.definitions, ORG, [command], scope.from_ms, scope.to_ms, now_ms)
    )
    assert not isinstance(branch, Rejected)
    job = begun(Preview(one.partition, branch, [NAME], scope))
    job.refold.feed(one.arrived())
    assert drained(job.refold.admitted())
    (*taken, found) = job.differences()
    assert found is not None
    units = [(each.before and each.before.units, each.after and each.after.units) for each in found]
    assert sorted(units, key=str) == [("1.5", None)] * groups + [(None, "288.0")]
    assert taken == [None] * steps
