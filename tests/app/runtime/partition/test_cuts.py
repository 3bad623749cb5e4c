"""When the closer of a partition looks: not again and again while nothing is due."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.runtime.partition.cuts import Cuts
from app.runtime.partition.owned import OwnedPartition
from app.runtime.progress import Progress
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tests.app.runtime.alone import NoProducer, context_of
from tests.world import bodies, definitions_log
from tests.world.clock import START_MS, WEEK_MS, ManualClock, ms
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.partition import Live

END_MS = START_MS + WEEK_MS
NAME = (ORG, SUBSCRIPTION)


def cuts_of(now_ms: int, **settings: object) -> Cuts:
    """Return the cuts of a partition whose subscription has periods of a week."""
    live = Live(definitions_of(("count",), SettingsRecord(grace_s=0)))
    live.define_all()
    context = context_of(live.definitions, ManualClock(now_ms), **settings)
    return OwnedPartition(live.partition, NoProducer(), context).cuts


@pytest.mark.parametrize(
    ("before_ms", "pause_s"),
    [(100_000, 30.0), (700, 0.7), (20, 0.1), (-5, 0.1)],
    ids=["far", "near", "at once", "past"],
)
def test_a_closer_sleeps_until_the_next_cut_or_for_half_a_minute(
    before_ms: int, pause_s: float
) -> None:
    cuts = cuts_of(END_MS - before_ms)
    cuts.reschedule([NAME])
    assert cuts.pause_s() == pause_s


def test_a_closer_looks_often_while_something_holds_a_cut_back() -> None:
    cuts = cuts_of(END_MS - 10_000)
    cuts.hold_back(END_MS, "raw_behind", "why", END_MS)
    assert cuts.pause_s() == 0.1


def test_a_cut_that_is_announced_wakes_a_closer_that_waits_for_a_later_one() -> None:
    cuts = cuts_of(START_MS)
    assert cuts.pause_s() == 30.0
    cuts.reschedule([NAME])
    assert cuts.woken.is_set()
    cuts.woken.clear()
    cuts.pause_s()
    cuts.reschedule([NAME])
    assert not cuts.woken.is_set()


def test_a_closer_is_woken_when_its_cut_is_past_or_what_holds_it_back_may_be_gone() -> None:
    cuts = cuts_of(START_MS)
    cuts.reschedule([NAME])
    cuts.pause_s()
    cuts.woken.clear()
    cuts.look()
    cuts.look_again()
    cuts.look_at(END_MS)
    assert not cuts.woken.is_set()
    cuts.look_at(END_MS + 1)
    assert cuts.woken.is_set()
    cuts.woken.clear()
    cuts.hold_back(END_MS, "definitions_behind", "why", END_MS)
    cuts.look_at(END_MS + 1)
    assert not cuts.woken.is_set()
    cuts.look_again()
    assert cuts.woken.is_set()


def test_a_report_wakes_a_closer_once_all_are_past_its_cut() -> None:
    """While one lags, those of the others come all the time."""
    cuts = cuts_of(START_MS, raw_partitions=3)
    progress = cuts._context.progress
    cuts.hold_back(END_MS, "peer_silent", "why", END_MS)
    assert cuts.pause_s() == 1.0
    for partition, at_ms in ((2, END_MS + 1), (0, END_MS + 1), (1, END_MS), (0, END_MS + 9)):
        progress.note(Progress(partition, at_ms, END_MS, 1, "", 0))
        cuts.look_again()
        assert not cuts.woken.is_set()
    progress.note(Progress(1, END_MS + 1, END_MS, 1, "", 0))
    cuts.look_again()
    assert cuts.woken.is_set()


def alerted(count: int) -> Partition:
    """Subscriptions of a plan; the first has an alert, and loses it, with more defined beside."""
    log, org = definitions_log.Log(), definitions_log.ORG
    log.metric("calls", aggregation_type="count_agg", field_name=None)
    log.plan(charges=[bodies.charge(billable_metric_code="calls")])
    for number in range(2):
        log.subscribe(external_id=f"s{number}", subscription_at="2024-01-01")
    log.at("2024-01-31T12:00:30Z")
    alert: dict[str, Any] = {"alert_type": "billable_metric_current_usage_units", "code": "a"}
    alert |= {"billable_metric_code": "calls", "thresholds": [{"value": "5"}]}
    for number in range(2):
        log.accept(commands.create_alert(org, f"s{number}", alert))
    log.now_ms += 1
    log.accept(commands.delete_alert(org, "s0", "a"))
    for number in range(count):
        log.now_ms += 1
        log.customer(f"c{number}")
    partition = Partition(0, log.definitions, EventIndex())
    partition.checkpoint.cut_ms = ms("2024-01-31T12:00:00Z")
    return partition


def test_a_restart_announces_what_alerts_wait_for_by_small_steps() -> None:
    """Of very many definitions of one cut the first tells of it, for each subscription once."""
    partition = alerted(100)
    cuts = partition.cuts
    steps = cuts.untold_ms()
    next(steps)
    next(steps)
    assert len(drained(cuts.untold_ms())) == 1
    (late,) = partition.definitions.subscriptions(definitions_log.ORG, "s1")
    partition.packing.late.update(each.id for each in late.all())
    context = context_of(partition.definitions)
    restored = OwnedPartition(partition, NoProducer(), context).cuts
    known = [len(cuts.grid.at(ms("2024-01-31T12:01:00Z"))) for _ in restored.scheduling()]
    assert known[-1] == 2
    assert not partition.packing.late
    assert {after - before for before, after in pairwise([0, *known])} <= {0, 1}
