"""A law of terms that the subscribers of a plan share: they are those that each has alone."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.grid import INTERVALS
from app.definitions import commands
from app.definitions.alike_terms import AlikeTerms, Terms
from app.definitions.command import Command
from app.definitions.model import SettingsRecord, Subscription
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.definitions.terms import CommonTerms, subscription_terms
from app.definitions.timeline import Timeline
from app.definitions.versions import Versions
from tables.cells.days import Days
from tables.event_index.index import EventIndex
from tables.partition.at_hand import AtHand
from tables.partition.partition import Partition
from tables.partition.timelines import TimelineTable
from tests.laws.lives import ZONES
from tests.world.clock import ms
from tests.world.definitions_log import ORG, Log, subscription_body
from tests.world.profiles import examples

NAMES = ["sub_1", "sub_2", "sub_3"]
DAY_MS = 86_400_000
BEGAN = (
    "2016-02-29T12:00:00Z",
    "2019-02-28T23:30:00Z",
    "2019-08-31T12:00:00Z",
    "2024-01-31T01:00:00Z",
    "2024-01-16T23:00:00Z",
    "2024-02-20T01:00:00Z",
)
LIMITS = st.sampled_from([0, 4])
GRACE_DAYS = st.sampled_from([None, 0, 3])


def _of_organization(zone: str, days: int | None) -> Command:
    return commands.update_organization(
        ORG, {"timezone": zone, "billing_configuration": {"invoice_grace_period": days}}
    )


def _of_customer(zone: str | None, days: int | None) -> Command:
    said: dict[str, Any] = {"external_id": "cust_1", "timezone": zone}
    said["billing_configuration"] = {"invoice_grace_period": days}
    return commands.upsert_customer(ORG, said)


CHANGES = st.one_of(
    st.builds(
        lambda grace_s, grid_s, policy, limits: commands.set_settings(
            SettingsRecord(
                grace_s=grace_s, close_grid_s=grid_s, late_policy=policy, input_limits=limits
            )
        ),
        st.sampled_from([0, 90]),
        st.sampled_from([60, 3600]),
        st.sampled_from(["accept", "refuse"]),
        LIMITS,
    ),
    st.builds(_of_organization, st.sampled_from(ZONES), GRACE_DAYS),
    st.builds(_of_customer, st.sampled_from([None, *ZONES]), GRACE_DAYS),
    st.builds(
        lambda monthly, name: commands.update_plan(
            ORG, "plan_code", {"bill_charges_monthly": monthly, "name": name}
        ),
        st.booleans(),
        st.sampled_from(["one", "other"]),
    ),
    st.just(commands.delete_plan(ORG, "plan_code")),
    st.just(commands.delete_customer(ORG, "cust_1")),
    st.sampled_from(NAMES).map(
        lambda name: commands.create_subscription(ORG, subscription_body(external_id=name))
    ),
    st.sampled_from(NAMES).map(lambda name: commands.terminate_subscription(ORG, name)),
)


@given(st.lists(st.tuples(CHANGES, st.integers(0, 2)), max_size=12), st.booleans())
def test_shared_terms_are_those_of_each_alone(
    changes: list[tuple[Command, int]], monthly: bool
) -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan(interval="yearly", bill_charges_monthly=monthly)
    log.customer()
    log.subscribe()
    common = CommonTerms(log.definitions)
    for _ in log.append_all(changes):
        for name in NAMES:
            for versions in log.definitions.subscriptions(ORG, name):
                alone = common.of(versions)
                if alone is not None:
                    terms = subscription_terms(log.definitions, versions)
                    assert alone == terms
                    assert Timeline(alone).steady == Timeline(terms).steady


@pytest.mark.parametrize("is_moved", [False, True])
def test_shared_terms_are_steady_as_those_of_each_alone(is_moved: bool) -> None:
    """However often settings changed, no more than the first and the last ones are made."""
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    log.customer()
    log.subscribe()
    for number in range(9):
        log.now_ms += DAY_MS
        log.accept(commands.set_settings(SettingsRecord(max_groups=number + 1)))
    if is_moved:
        log.now_ms += DAY_MS
        log.accept(_of_organization("Asia/Tokyo", None))
    (versions,) = log.definitions.subscriptions(ORG, "sub_1")
    alone = CommonTerms(log.definitions).of(versions)
    assert isinstance(alone, AlikeTerms)
    timeline = Timeline(alone)
    assert (timeline.steady is None) == is_moved
    assert timeline.holding(log.now_ms + DAY_MS) is not None
    assert timeline.over_ms == NEVER_MS
    assert alone._made is None
    assert alone == subscription_terms(log.definitions, versions)


def test_most_share_theirs() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    common = CommonTerms(log.definitions)
    for name in NAMES:
        log.now_ms += 1
        log.customer(name)
        log.subscribe(external_id=name, external_customer_id=name)
        (versions,) = log.definitions.subscriptions(ORG, name)
        assert common.of(versions) is not None


@pytest.mark.parametrize("after_ms", [0, 1, 40 * DAY_MS])
def test_who_ended_shares_theirs_too(after_ms: int) -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    log.customer()
    log.subscribe()
    log.append(commands.set_settings(SettingsRecord(grace_s=90)))
    log.now_ms += after_ms
    log.accept(commands.terminate_subscription(ORG, "sub_1"))
    log.now_ms += DAY_MS
    log.append(commands.set_settings(SettingsRecord(grace_s=60)))
    (versions,) = log.definitions.subscriptions(ORG, "sub_1")
    alone = CommonTerms(log.definitions).of(versions)
    assert alone is not None
    assert alone == subscription_terms(log.definitions, versions)


def _subscribing(name: str, began: str, billing_time: str, ending: str | None) -> Command:
    told = {"external_id": name, "subscription_at": began, "billing_time": billing_time}
    return commands.create_subscription(ORG, subscription_body(**told, ending_at=ending))


LONG_LIVES = st.lists(
    st.tuples(
        st.one_of(
            st.builds(
                _subscribing,
                st.sampled_from(NAMES),
                st.sampled_from(BEGAN),
                st.sampled_from(["calendar", "anniversary"]),
                st.sampled_from([None, None, "2024-09-10T00:00:00Z"]),
            ),
            st.builds(
                lambda grace_s, limits: commands.set_settings(
                    SettingsRecord(grace_s=grace_s, daily_records=True, input_limits=limits)
                ),
                st.sampled_from([0, 86_400, 20 * 86_400]),
                LIMITS,
            ),
            st.builds(_of_organization, st.sampled_from(ZONES), GRACE_DAYS),
            st.builds(_of_customer, st.sampled_from([None, *ZONES]), GRACE_DAYS),
        ),
        st.sampled_from([0, 1, DAY_MS, 40 * DAY_MS]),
    ),
    max_size=8,
)


@examples(400)
@given(
    LONG_LIVES,
    st.lists(st.integers(0, 250), min_size=1, max_size=6),
    st.sampled_from([*INTERVALS, "yearly by months"]),
)
def test_what_is_due_next_is_told_as_by_a_timeline_of_its_own(
    changes: list[tuple[Command, int]], days: list[int], interval: str
) -> None:
    log = Log("2024-01-31T01:00:00Z")
    done_ms = [log.now_ms + day * DAY_MS for day in days]
    monthly = interval == "yearly by months"
    log.plan(interval="yearly" if monthly else interval, bill_charges_monthly=monthly)
    log.customer()
    common = CommonTerms(log.definitions)
    deque(log.append_all(changes), maxlen=0)
    for name in log.definitions.all_subscription_keys():
        for at_ms in done_ms:
            due_ms = common.next_due(name, at_ms)
            assert common.next_due((ORG, name[1]), at_ms) == due_ms
            if due_ms is not None:
                (versions,) = log.definitions.subscriptions(*name)
                alone = Timeline(_terms_alone(log.definitions, versions))
                dues_ms = [p.due_at_ms for p in alone.until(at_ms + 800 * DAY_MS)]
                to_come = (each for each in dues_ms if at_ms < each < NEVER_MS)
                assert due_ms == min(to_come, default=NEVER_MS)
                shared = common.shared(name)
                due = None if shared is None else shared.due_after(at_ms)
                if due is not None:
                    assert due.periods == alone.next_due(at_ms).periods
        for from_ms, until_ms in pairwise(sorted(done_ms)):
            table = TimelineTable(log.definitions, AtHand())
            cold = list(table.within(name, from_ms, until_ms, table.telling(name, from_ms)))
            all_alone = (
                Timeline(_terms_alone(log.definitions, versions))
                for versions in log.definitions.subscriptions(*name)
                if (newest := versions.at()) is not None and newest.canceled_at_ms is None
            )
            assert cold == [each for one in all_alone for each in one.within(from_ms, until_ms)]


def _terms_alone(
    definitions: Definitions, versions: Versions[Subscription], until_ms: int | None = None
) -> list[Terms]:
    """Return the terms of a subscription, each with a grid that begins with its anchor."""
    return [
        each._replace(
            grid=replace(each.grid, subscription_at_ms=each.subscription.subscription_at_ms)
        )
        for each in subscription_terms(definitions, versions, until_ms)
    ]


@examples(400)
@given(LONG_LIVES, st.sampled_from([-30, -1, 0, 20, 60]), st.sampled_from(["weekly", "monthly"]))
def test_days_are_shown_as_by_a_timeline_of_its_own(
    changes: list[tuple[Command, int]], hours: int, interval: str
) -> None:
    log = Log("2024-01-31T01:00:00Z")
    definitions = log.definitions
    log.accept(commands.set_settings(SettingsRecord(daily_records=True)))
    log.plan(interval=interval)
    log.customer()
    deque(log.append_all(changes), maxlen=0)
    partition = Partition(0, definitions, EventIndex())
    at_ms = log.now_ms + hours * 3_600_000
    for name in definitions.all_subscription_keys():
        partition.cuts.schedule_grid(name, at_ms)
        alone = [
            Timeline(_terms_alone(definitions, versions, at_ms))
            for versions in definitions.subscriptions(*name)
            if (one := versions.at(at_ms)) is not None and one.canceled_at_ms is None
        ]
        grids = definitions.close_grids_ms()
        cuts = {cut_ms for one in alone for cut_ms in Days(one, grids).cuts_after(at_ms)}
        assert set(partition.cuts.grid.of(name)) == cuts


def test_one_tells_for_all_who_are_alike_when_they_are_due() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    for name in NAMES:
        log.customer(name)
        log.subscribe(external_id=name, external_customer_id=name, billing_time="calendar")
    common = CommonTerms(log.definitions)
    log.now_ms += 70 * DAY_MS
    log.accept(commands.set_settings(SettingsRecord(grace_s=90, close_grid_s=60)))
    dues_ms = {common.next_due((ORG, name), log.now_ms) for name in NAMES}
    assert dues_ms == {ms("2024-05-01T00:02:00Z")}


def test_a_change_after_it_was_made_is_none_before_to_who_was_made_later() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    log.customer()
    log.subscribe(external_id="sub_1", billing_time="calendar", subscription_at=BEGAN[0])
    log.now_ms = ms("2024-04-15T00:00:00Z")
    log.accept(commands.set_settings(SettingsRecord(grace_s=40 * 86_400)))
    log.subscribe(external_id="sub_2", billing_time="calendar", subscription_at=BEGAN[0])
    common, done_ms = CommonTerms(log.definitions), log.now_ms + 2 * DAY_MS
    # As of who runs ever since, March would be due on 10 May.
    assert common.next_due((ORG, "sub_2"), done_ms) is None
    assert common.next_due((ORG, "sub_1"), done_ms) == ms("2024-06-10T00:00:00Z")


def test_what_changes_after_one_was_asked_for_is_told() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    log.customer()
    log.subscribe(external_id="sub_1", billing_time="calendar", subscription_at=BEGAN[0])
    common, name = CommonTerms(log.definitions), (ORG, "sub_1")
    log.now_ms += 70 * DAY_MS
    before_ms = common.next_due(name, log.now_ms)
    log.accept(commands.set_settings(SettingsRecord(grace_s=90, close_grid_s=60)))
    assert common.next_due(name, log.now_ms) != before_ms


def test_anniversaries_share_what_falls_on_the_same_days() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    log.customer()
    began = ("2019-02-28T12:00:00Z", "2024-01-31T01:00:00Z", "2023-02-28T18:00:00Z")
    for name, at in zip(NAMES, began, strict=True):
        log.subscribe(external_id=name, billing_time="anniversary", subscription_at=at)
    log.at("2024-06-15T00:00:00Z")
    common, names = CommonTerms(log.definitions), [(ORG, name) for name in NAMES]
    dues_ms = [common.next_due(name, log.now_ms) for name in names]
    assert dues_ms == [ms(f"2024-{day}T00:00:00Z") for day in ("06-28", "06-30", "06-28")]
    shared = [common.shared(name) for name in names]
    assert len({id(each.timeline) for each in shared if each is not None}) == 2
    # In the evening of a day in London it is the next one in Tokyo, whatever holds later.
    for zone in ("Asia/Tokyo", "UTC"):
        log.now_ms += 1
        log.accept(_of_organization(zone, None))
        shared = [common.shared(name) for name in names]
        assert len({id(each.timeline) for each in shared if each is not None}) == 3


def test_a_first_period_is_told_as_that_of_others_with_the_same_end() -> None:
    log = Log("2024-01-20T01:00:00Z")
    log.plan()
    log.customer()
    log.subscribe(billing_time="calendar", subscription_at="2024-01-16T01:00:00Z")
    common = CommonTerms(log.definitions)
    assert common.next_due((ORG, "sub_1"), log.now_ms) == ms("2024-02-01T00:00:00Z")
    assert common.next_due((ORG, "sub_1"), ms("2024-02-02T00:00:00Z")) == ms("2024-03-01")


def test_a_first_period_that_another_timezone_cuts_short_is_its_own() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    log.customer()
    log.accept(_of_organization("Pacific/Kiritimati", None))
    log.subscribe(billing_time="calendar", subscription_at="2024-02-01T00:30:00Z")
    log.at("2024-02-01T02:00:00Z")
    log.accept(_of_organization("Pacific/Midway", None))
    due_ms = TimelineTable(log.definitions, AtHand()).next_due((ORG, "sub_1"), log.now_ms)
    assert due_ms == ms("2024-02-01T11:00:00Z")


def test_what_was_over_before_it_was_made_is_due_after_that() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    log.customer()
    done_ms = log.now_ms
    log.at("2024-04-15T00:00:30Z")
    log.subscribe(billing_time="calendar", subscription_at="2024-01-16T01:00:00Z")
    table, name = TimelineTable(log.definitions, AtHand()), (ORG, "sub_1")
    # What others of the plan have due at the end of January is not due of it.
    assert table.due_alone(name, done_ms) is None
    assert table.next_due(name, done_ms) == ms("2024-04-15T00:01:00Z")


def test_customers_with_a_timezone_of_their_own_are_told_apart() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    for name, zone in zip(NAMES, (None, "Asia/Tokyo", None), strict=True):
        log.customer(name, timezone=zone)
        log.subscribe(external_id=name, external_customer_id=name, billing_time="calendar")
    log.at("2024-06-15T00:00:00Z")
    log.customer(NAMES[2], timezone="Asia/Tokyo")
    table = TimelineTable(log.definitions, AtHand())
    dues_ms = [table.next_due((ORG, name), log.now_ms) for name in NAMES]
    tokyo_ms = ms("2024-06-30T15:00:00Z")
    assert dues_ms == [ms("2024-07-01T00:00:00Z"), tokyo_ms, tokyo_ms]


def test_what_is_due_next_is_told_after_each_change() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    log.customer()
    log.subscribe(billing_time="calendar")
    log.at("2024-06-15T00:00:00Z")
    common, dues_ms = CommonTerms(log.definitions), []
    for grace_s in (60, 120):
        log.accept(commands.set_settings(SettingsRecord(grace_s=grace_s, close_grid_s=60)))
        dues_ms.append(common.next_due((ORG, "sub_1"), log.now_ms))
    assert dues_ms == [ms("2024-07-01T00:01:00Z"), ms("2024-07-01T00:02:00Z")]
