"""What is asked about leaves the tables as they are."""

from __future__ import annotations

from app.meter.evidence import ExplainQuery
from app.queries.explain import _Selection
from tables.reading.tracing import Tracer
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live


def test_a_question_about_a_later_period_makes_no_timeline_longer() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    live.deliver([arrived("count", 0, START_MS, transaction_id="t")])
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
