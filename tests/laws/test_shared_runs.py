"""A law of spans that the subscribers of a plan share: they are those that each has alone."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from hypothesis import event, given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.definitions.terms import CommonTerms, subscription_timeline
from tables.routing.plan import ChargeFolds, SpanPlan, Under, plan_spans
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    CommandAt,
    changing_definitions,
    definitions_of,
    lines,
    subscription_body,
)
from tests.world.profiles import examples

CODES = ("sum", "seats", "heads", "filtered")
BEGINS_MS = st.sampled_from([0, 1, HOUR_MS, 3 * DAY_MS, WEEK_MS, 9 * DAY_MS, 3 * WEEK_MS + 1])


@st.composite
def subscribing(draw: st.DrawFn, number: int) -> tuple[int, Command]:
    """A subscription that begins before, when or after it is made."""
    at_ms = START_MS + draw(BEGINS_MS)
    begins_ms = at_ms + draw(st.sampled_from([-40 * DAY_MS, -DAY_MS, 0, 0, 0, DAY_MS]))
    body = subscription_body(
        external_id=f"s{number}",
        subscription_at=datetime.fromtimestamp(begins_ms // 1000, UTC).isoformat(),
        billing_time=draw(st.sampled_from(["calendar", "anniversary"])),
    )
    return at_ms, commands.create_subscription(ORG, body)


@st.composite
def history(draw: st.DrawFn, metric_ids: list[str]) -> tuple[int, Command]:
    """A history record of some weeks that are over, or not yet."""
    at_ms = START_MS + draw(st.integers(0, 6 * WEEK_MS))
    from_ms = START_MS + draw(st.integers(-1, 5)) * WEEK_MS
    to_ms = from_ms + draw(st.integers(1, 3)) * WEEK_MS
    ids = [draw(st.sampled_from(metric_ids))]
    return at_ms, commands.apply_history(ORG, metric_ids=ids, from_ms=from_ms, to_ms=to_ms)


@st.composite
def logs(draw: st.DrawFn) -> list[CommandAt]:
    """Definitions of several who have a plan, and what changes of it for all of them."""
    made = draw(changing_definitions(CODES, of_all=True))
    told = [(line.append_time_ms, line.command) for line in made]
    metric_ids = [c.payload["id"] for _, c in told if c.type == "create_billable_metric"]
    more = [draw(subscribing(number)) for number in range(draw(st.integers(1, 4)))]
    days = st.booleans().map(
        lambda daily: commands.set_settings(SettingsRecord(daily_records=daily, grace_s=60))
    )
    more += draw(
        st.lists(st.tuples(st.integers(0, 6 * WEEK_MS).map(START_MS.__add__), days), max_size=2)
    )
    if metric_ids:
        more += draw(st.lists(history(metric_ids), max_size=3))
    return lines(sorted([*told, *more], key=lambda each: each[0]))


def spans(planned: list[SpanPlan]) -> set[tuple[object, ...]]:
    return {(each.key, id(each.fold), each.end_ms) for each in planned}


def defined(log: list[CommandAt]) -> Definitions:
    """Definitions of which some may be refused."""
    definitions = Definitions()
    for line in log:
        apply(definitions, line.command.encode(), line.append_time_ms, line.offset)
    return definitions


@examples(300)
@given(logs())
def test_shared_spans_are_those_of_each_alone(log: list[CommandAt]) -> None:
    definitions, folds = defined(log), ChargeFolds()
    common = CommonTerms(definitions)
    records = definitions.history_of(ORG, START_MS + 10 * WEEK_MS)
    for name in definitions.all_subscription_keys():
        share = partial(common.shared, name)
        for versions in definitions.subscriptions(*name) if share() is not None else ():
            timeline = subscription_timeline(definitions, versions)
            for code in CODES:
                args = definitions, versions, timeline, code, folds, Under(None, records)
                told = plan_spans(*args, share)
                event(f"{len(told)} spans, shared")
                assert spans(told) == spans(plan_spans(*args))


def test_days_that_end_before_it_begins_are_none_of_its_own() -> None:
    told = [(line.append_time_ms, line.command) for line in definitions_of(["sum"])]
    for at_ms, daily in ((START_MS + 1, True), (START_MS + DAY_MS, False)):
        told.append((at_ms, commands.set_settings(SettingsRecord(daily_records=daily))))
    body = subscription_body(external_id="later", subscription_at="2024-01-04T00:00:00Z")
    told.append((START_MS + 3 * DAY_MS, commands.create_subscription(ORG, body)))
    # Its timezone moves, or it would not be asked what it shares.
    moved = commands.update_organization(ORG, {"timezone": "Europe/Paris"})
    told.append((START_MS + 9 * DAY_MS, moved))
    definitions = defined(lines(told))
    name = (ORG, "later")
    (versions,) = definitions.subscriptions(*name)
    timeline = subscription_timeline(definitions, versions)
    shared = CommonTerms(definitions).shared(name)
    assert shared is not None
    args = definitions, versions, timeline, "sum", ChargeFolds(), Under()
    (one,) = plan_spans(*args, lambda _: shared)
    assert not one.fold.by_day
    assert one.key.start_ms == START_MS + 3 * DAY_MS
