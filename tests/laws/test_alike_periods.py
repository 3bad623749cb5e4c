"""A law of periods that are passed over: who looks at all of them finds the same."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from app.billing_periods.instants import iso_seconds
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Applied
from app.definitions.terms import CommonTerms, subscription_terms
from app.definitions.timeline import Timeline
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.routing.plan import ChargeFolds, CodeCharges, PlanCharges, SpanPlan, Under, plan_spans
from tables.routing.route import Route
from tests.laws.lives import DAY_MS, ZONES
from tests.world.bodies import charge
from tests.world.clock import ms
from tests.world.definitions_log import ORG, Log
from tests.world.profiles import count

BEGAN = "2022-03-15T12:00:00Z"
INTERVALS = ("weekly", "weekly", "monthly", "quarterly")
SEEDS = count(200)
CALLS = (ORG, "sub_1", "calls")


class Life:
    """A subscription of some years, with definitions that change now and then."""

    def __init__(self, seed: int):
        self.choose = Random(seed)
        self._revise_s = (3_600,) if seed % 2 else (3_600, 86_400)
        self.log = Log("2019-01-01T00:00:00Z")
        self._settings: dict[str, Any] = {}
        self.log.accept(self._other_settings())
        self._recurs = recurring = self.choose.random() < 0.5
        self.metric = self.log.metric("calls", recurring=recurring)
        self.log.metric("other")
        self.log.plan(interval=self.choose.choice(INTERVALS), charges=self._charges())
        self.log.customer()
        self.log.now_ms = ms(BEGAN) + self.choose.randrange(-300, 300) * DAY_MS
        self._change_for_a_while()
        self.log.subscribe(subscription_at=BEGAN)
        self._change_for_a_while()

    def _change_for_a_while(self) -> None:
        for _ in range(self.choose.randrange(8)):
            days = self.choose.choice((0.1, 3, 40, 300)) * self.choose.random()
            self.log.now_ms += int(days * DAY_MS)
            self.log.append(self.change())

    def _charges(self) -> list[dict[str, Any]]:
        codes = self.choose.choice((["calls"], ["other"], ["calls", "other"]))
        prorated = self._recurs and self.choose.random() < 0.3
        return [charge(code, prorated=prorated and code == "calls") for code in codes]

    def _other_settings(self) -> Command:
        choose = self.choose
        changed = {
            "close_elapsed": choose.random() < 0.5,
            "grace_s": choose.choice((0, 90, 9 * 86_400)),
            "late_window_s": choose.choice((0, 3_600, 40 * 86_400)),
            "revise_every_s": choose.choice(self._revise_s),
            "daily_records": choose.random() < 0.5,
            "max_groups": choose.choice((10, 100)),
        }
        self._settings |= {name: value for name, value in changed.items() if choose.random() < 0.5}
        return commands.set_settings(SettingsRecord(**self._settings))

    def change(self) -> Command:
        choose, kind = self.choose, self.choose.randrange(8)
        if kind == 0:
            return commands.upsert_customer(
                ORG, {"external_id": "cust_1", "timezone": choose.choice(ZONES)}
            )
        if kind == 1:
            rounding = choose.choice(("round", "ceil", "floor"))
            return commands.update_billable_metric(ORG, "calls", {"rounding_function": rounding})
        if kind == 2:
            return commands.update_plan(ORG, "plan_code", {"charges": self._charges()})
        if kind == 3:
            from_ms = ms(BEGAN) + choose.randrange(900) * DAY_MS
            return commands.apply_history(
                ORG,
                metric_ids=[self.metric.id],
                from_ms=from_ms,
                to_ms=from_ms + choose.choice((1, 30, 3_000)) * DAY_MS,
            )
        if kind == 4:
            return commands.update_plan(ORG, "plan_code", {"interval": choose.choice(INTERVALS)})
        return self._other_settings()


def _told(spans: list[SpanPlan]) -> list[tuple[str, int, int, int]]:
    return [(each.key.charge_id, each.key.start_ms, each.end_ms, id(each.fold)) for each in spans]


def check_spans(
    life: Life, external_id: str, folds: ChargeFolds, until_ms: int | None, history_ms: int
) -> None:
    definitions = life.log.definitions
    (subscription,) = definitions.subscriptions(ORG, external_id)
    newest = subscription.at(None)
    assert newest is not None
    history = definitions.history_of(ORG, history_ms)
    terms = subscription_terms(definitions, subscription, until_ms)
    args = definitions, subscription, Timeline(terms), "calls", folds, Under(until_ms, history)
    spans = plan_spans(*args)
    shared = None if until_ms is not None else CommonTerms(definitions).shared((ORG, external_id))
    assert sorted(_told(plan_spans(*args, lambda _: shared))) == sorted(_told(spans))
    plan = definitions.plan_of(newest.id)
    whole = PlanCharges(definitions, plan)
    charges = CodeCharges(whole, "calls", ChargeFolds(), until_ms, history)
    for period in Timeline(terms).until(life.log.now_ms + 400 * DAY_MS):
        planned = {
            span.key.charge_id: span.fold.key
            for span in spans
            if span.key.start_ms <= period.start_ms < span.end_ms
        }
        assert planned == {name: f.key for name, f in charges.folds_in(period).items()}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_spans_are_those_of_all_periods(seed: int) -> None:
    life = Life(seed)
    (subscription,) = life.log.definitions.subscriptions(ORG, "sub_1")
    moments = [at_ms for _, at_ms, _ in life.log.records if at_ms >= subscription.changes[0]]
    for until_ms in moments:
        check_spans(life, "sub_1", ChargeFolds(), until_ms, until_ms)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_spans_are_so_where_subscriptions_share_their_folds(seed: int) -> None:
    life, folds, names = Life(seed), ChargeFolds(), ["sub_1"]
    for number in range(4):
        names.append(f"more_{number}")
        began = life.choose.choice((BEGAN, iso_seconds(life.log.now_ms)))
        life.log.subscribe(external_id=names[-1], subscription_at=began)
        for external_id in life.choose.sample(names, len(names)):
            check_spans(life, external_id, folds, None, life.log.now_ms)
        life.log.now_ms += life.choose.randrange(60) * DAY_MS
        life.log.append(life.change())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_leads_alike_is_told_without_periods_that_are_fixed(seed: int) -> None:
    life = Life(seed)
    routes = Partition(0, life.log.definitions, EventIndex()).routes
    for _, at_ms, _ in life.log.records:
        one, other = (routes.compile(CALLS, until, until) for until in (at_ms - 1, None))
        for _ in range(8):
            newest_ms = life.log.now_ms - int(life.choose.random() ** 3 * 900 * DAY_MS)
            reach = newest_ms, newest_ms + life.choose.randrange(60) * DAY_MS
            of_all = one._shape(*reach, {}) == other._shape(*reach, {})
            alike = one.leads_like(other, *reach)
            # Where revisions come as often throughout, it is told exactly.
            assert alike == of_all if seed % 2 else alike >= of_all


class Anew(Life):
    """A subscription that also ends and begins anew, now and then."""

    def change(self) -> Command:
        kind = self.choose.randrange(6)
        if kind == 0:
            return commands.terminate_subscription(ORG, "sub_1")
        if kind == 1:
            told = {"external_customer_id": "cust_1", "plan_code": "plan_code"}
            if self.choose.random() < 0.5:
                # It may be ended before.
                ends_ms = self.log.now_ms + self.choose.randrange(2, 300) * DAY_MS
                told["ending_at"] = iso_seconds(ends_ms)
            return commands.create_subscription(ORG, {**told, "external_id": "sub_1"})
        return super().change()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_who_ended_and_began_anew_is_routed_as_if_all_were_looked_at_again(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.definitions.indexes.subscriptions._FEW", 1)
    life = Anew(seed)
    definitions, name = life.log.definitions, CALLS[:2]
    kept = Partition(0, definitions, EventIndex())
    for _ in range(16):
        before, before_ms = kept.routes.compile(CALLS), life.log.now_ms
        life.log.now_ms += int(30 * DAY_MS * life.choose.random())
        outcome = life.log.append(life.change())
        if isinstance(outcome, Applied) and outcome.impact is not None:
            kept.routes.tell(outcome.impact)
        found = Partition(0, definitions, EventIndex())
        ours, theirs = (each.routes.compile(CALLS) for each in (kept, found))
        for one, other in zip(kept.timelines.of(name), found.timelines.of(name), strict=True):
            assert one[0] is other[0]
            assert one[1].terms == other[1].terms
        assert _spans_of(ours) == _spans_of(theirs)
        for _ in range(4):
            newest_ms = life.log.now_ms - int(life.choose.random() ** 3 * 900 * DAY_MS)
            reach = newest_ms, newest_ms + life.choose.randrange(60) * DAY_MS
            of_all = before._shape(*reach, {}) == theirs._shape(*reach, {})
            alike = before.leads_like(ours, *reach)
            assert alike == of_all if seed % 2 else alike >= of_all
            # Who is compared at rest, without those that were fixed.
            pair = kept.redirection._compared(name, before_ms)
            untils_ms = before_ms, None
            was, now = (
                kept.routes.compile(CALLS, until_ms, timelines=timelines)
                for until_ms, timelines in zip(untils_ms, pair, strict=True)
            )
            assert was.leads_like(now, *reach) == alike


def _spans_of(route: Route) -> list[tuple[object, ...]]:
    return [(span.key, span.fold.key, span.end_ms, span.timeline.terms) for span in route.spans]
