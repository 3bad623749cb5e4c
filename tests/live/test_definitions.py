"""What the door of the definitions lets through, on a real log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import DECIDE
from app.definitions.outcome import Applied, Rejected
from app.kafka.topics import METER_DEFINITIONS
from app.main import Worker
from app.meter.errors import TooOften
from app.queries.gateway import Gateway
from tests.world.definitions_log import ORG, metric_body, plan_body, subscription_body
from tests.world.topics import no_topics
from tests.world.waiting import until

pytestmark = pytest.mark.servers


async def define(worker: Worker, command: Command) -> Applied | Rejected:
    return await Gateway(worker.engine, no_topics).definer.define(command)


async def accept(worker: Worker, command: Command) -> None:
    outcome = await define(worker, command)
    assert isinstance(outcome, Applied), outcome


async def appended(worker: Worker) -> int:
    """How many definitions of anybody lie in the log; ticks aside, which come by themselves."""
    await worker.engine.followed.caught_up()
    return worker.engine.definitions.records_applied


async def test_what_changes_nothing_or_is_refused_is_not_appended(worker: Worker) -> None:
    await accept(worker, commands.create_billable_metric(ORG, metric_body()))
    await accept(worker, commands.create_plan(ORG, plan_body()))
    await accept(worker, commands.create_subscription(ORG, subscription_body(name="a")))
    before = await appended(worker)
    for same in (
        commands.update_billable_metric(ORG, "storage", metric_body()),
        commands.update_plan(ORG, "plan_code", plan_body()),
        commands.create_subscription(ORG, subscription_body()),
        commands.update_subscription(ORG, "sub_1", {"name": "a"}),
        commands.upsert_customer(ORG, {"external_id": "cust_1"}),
    ):
        await accept(worker, same)
    for refused in (
        commands.create_billable_metric(ORG, metric_body(name="x" * 256, code="b")),
        commands.create_billable_metric(ORG, metric_body(code="")),
        commands.delete_plan(ORG, "unknown"),
    ):
        assert isinstance(await define(worker, refused), Rejected)
    assert await appended(worker) == before
    await accept(worker, commands.update_subscription(ORG, "sub_1", {"name": "b"}))
    assert await appended(worker) == before + 1
    assert worker.engine.followed.awaited == {}


async def test_what_another_worker_has_appended_is_looked_at_first(worker: Worker) -> None:
    """It is in the log, but not applied here when the request comes."""
    engine, plan = worker.engine, commands.create_plan(ORG, plan_body())
    topic = engine.settings.topic(METER_DEFINITIONS)
    sending = asyncio.create_task(engine.append(topic, None, plan.encode(), 0))
    (first, _) = await asyncio.gather(
        define(worker, commands.create_subscription(ORG, subscription_body())), sending
    )
    if isinstance(first, Rejected):  # The request came before it was in the log.
        first = await define(worker, commands.create_subscription(ORG, subscription_body()))
    assert isinstance(first, Applied)


async def test_what_cannot_be_applied_is_refused_and_stands_nowhere(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(DECIDE, "create_plan", fails)
    before = await appended(worker)
    refused = await define(worker, commands.create_plan(ORG, plan_body()))
    assert refused == Rejected(422, "validation_errors", {"base": ["cannot_be_applied"]})
    assert await appended(worker) == before
    # Another program has appended it all the same: every worker passes it over.
    engine = worker.engine
    value = commands.create_plan(ORG, plan_body()).encode()
    sent = await engine.append(engine.settings.topic(METER_DEFINITIONS), None, value, 0)
    await until(lambda: engine.definitions.offset > sent.offset)
    assert engine.definitions.plans(ORG) == []
    assert engine.failure is None
    await accept(worker, commands.create_billable_metric(ORG, metric_body()))


async def test_quotas_are_kept(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = worker.engine
    few = {"quota_metrics": 1, "quota_plan_changes_a_minute": 2, "quota_corrections_a_minute": 1}
    few |= {"quota_elapsed": 100, "quota_elapsed_a_day": 150}
    monkeypatch.setattr(engine, "settings", engine.settings.model_copy(update=few))
    await accept(worker, commands.create_billable_metric(ORG, metric_body()))
    full = await define(worker, commands.create_billable_metric(ORG, metric_body("b")))
    assert full == Rejected(422, "validation_errors", {"billable_metrics": ["limit_is_1"]})
    await accept(worker, commands.create_plan(ORG, plan_body(interval="yearly")))
    with pytest.raises(TooOften) as too_often:
        await define(worker, commands.update_plan(ORG, "plan_code", {"name": "b"}))
    assert 1 <= too_often.value.retry_after_s <= 60
    await accept(worker, commands.create_plan("other", plan_body(interval="weekly")))

    def since(name: str, date: str) -> Command:
        body = subscription_body(external_id=name, subscription_at=date)
        return commands.create_subscription("other", body)

    early = await define(worker, since("a", "1970-01-01"))
    out_of_range = {"subscription_at": ["value_is_out_of_range"]}
    assert early == Rejected(422, "validation_errors", out_of_range)
    weeks_ago = engine.clock.now_ms() - 90 * 7 * 86_400_000
    date = datetime.fromtimestamp(weeks_ago / 1000, UTC).date().isoformat()
    await accept(worker, since("b", date))
    with pytest.raises(TooOften):
        await define(worker, since("c", date))


async def test_a_definition_makes_a_flush_at_its_home_alone(worker: Worker) -> None:
    """Each is a transaction, and most definitions are of one customer or subscription."""
    engine, owned = worker.engine, worker.engine.owned

    def flushes() -> dict[int, int]:
        return {number: one.commits.flush for number, one in owned.items()}

    await accept(worker, commands.create_plan(ORG, plan_body()))
    await until(lambda: len(owned) == engine.settings.raw_partitions and all(flushes().values()))
    await until(lambda: all(one.next_flush.is_empty() for one in owned.values()))
    before, home = flushes(), engine.homes.of(ORG, "sub_1")
    names = [f"sub_{number}" for number in range(1, 40)]
    first, *others = [name for name in names if engine.homes.of(ORG, name) == home]
    for number in range(5):
        customer = {"external_id": f"cust_{number}"}
        await accept(worker, commands.upsert_customer(ORG, customer))
    await accept(worker, commands.create_subscription(ORG, subscription_body(external_id=first)))
    # It brings a cut, which is told.
    await until(lambda: flushes()[home] > before[home])
    await until(lambda: owned[home].next_flush.is_empty())
    known = flushes()[home]
    for name in others[:2]:
        await accept(worker, commands.create_subscription(ORG, subscription_body(external_id=name)))
    await until(lambda: owned[home].state.standing.behind_since_ms is None)
    assert owned[home].next_flush.is_empty()
    assert flushes()[home] == known
    assert {number for number, each in flushes().items() if each != before[number]} == {home}
    assert all(one.refold_queue.is_told_more for one in owned.values())
