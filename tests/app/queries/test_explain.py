"""What is asked about leaves the tables as they are."""

from __future__ import annotations

from app.meter.evidence import ExplainQuery
from app.queries.explain import _Selection
from app.wire.arrivals import Arrival
from tables.reading.tracing import Tracer
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import event
from tests.world.partition import Live


def test_a_question_about_a_later_period_makes_no_timeline_longer() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    live.deliver([Arrival(event("count", "t", START_MS), ORG, START_MS, 0, 0, 0)])
    ((_, timeline),) = live.partition.timelines.of((ORG, SUBSCRIPTION))
    known = len(timeline._periods)
    for code in ("count", "of no charge"):
        tracer = Tracer(live.partition, (ORG, SUBSCRIPTION, code))
        query = ExplainQuery(
            external_subscription_id=SUBSCRIPTION,
            metric_code=code,
            at_ms=START_MS + 500 * WEEK_MS + 1,
        )
        period = _Selection(tracer, query).period
        assert period is not None
        assert period.start_ms == START_MS + 500 * WEEK_MS
        assert len(timeline._periods) == known
