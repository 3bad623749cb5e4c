"""What definitions are told as, at once and when their time has come."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
import pytest

from app.bounds.turns import STEP_ITEMS, drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.decision import Decision
from app.definitions.log import decide
from app.definitions.model import Subscription
from app.webhooks import telling
from app.webhooks.instants import Agenda, Instant, instants_of
from app.webhooks.message import Message, body_of
from app.webhooks.telling import instant_messages, messages, told_of
from tests.world.clock import ms
from tests.world.definitions_log import ORG, Log, metric_body, plan_body, subscription_body

DAY_MS = 86_400_000


def tell(log: Log, command: Command) -> list[Message]:
    """Apply a command that is accepted; its messages."""
    decision = decide(log.definitions, command, log.now_ms)
    assert isinstance(decision, Decision), decision
    told = drained(told_of(log.definitions, decision.changes, log.now_ms))
    log.accept(command)
    made = messages(log.definitions, told, command.id, log.now_ms)
    return [message for message in made if message is not None]


def told_log() -> Log:
    """A log of an organization that wants to be told everything."""
    log = Log()
    log.accept(commands.create_webhook_endpoint(ORG, {"webhook_url": "http://a"}))
    return log


def next_of(agenda: Agenda, until_ms: int) -> Instant | None:
    """The next that happens by an instant."""
    return next((each for each in agenda.take(until_ms) if each is not None), None)


def types(made: list[Message]) -> list[str]:
    return [message.webhook_type for message in made]


def shown(message: Message) -> Any:
    body = msgspec.json.decode(message.body)
    assert (body["webhook_type"], body["organization_id"]) == (message.webhook_type, ORG)
    assert list(body) == ["webhook_type", "object_type", "organization_id", body["object_type"]]
    return body[body["object_type"]]


def subscribe(log: Log, **changes: Any) -> list[Message]:
    return tell(log, commands.create_subscription(ORG, subscription_body(**changes)))


def only(log: Log) -> Subscription:
    (versions,) = log.definitions.subscriptions(ORG, "sub_1")
    subscription = versions.at()
    assert subscription is not None
    return subscription


def test_metrics_plans_and_customers_are_told_as_the_api_shows_them() -> None:
    log = told_log()
    (made,) = tell(log, commands.create_billable_metric(ORG, metric_body("storage")))
    assert (made.webhook_type, shown(made)["code"]) == ("billable_metric.created", "storage")
    charge = {"billable_metric_code": "storage", "charge_model": "standard", "code": "c"}
    charge["properties"] = {"amount": "1"}  # type: ignore[assignment]
    (made,) = tell(log, commands.create_plan(ORG, plan_body()))
    assert (made.webhook_type, shown(made)["code"]) == ("plan.created", "plan_code")
    (made,) = tell(log, commands.create_charge(ORG, "plan_code", charge))
    assert made.webhook_type == "plan.updated"
    assert shown(made)["charges"][0]["code"] == "c"
    customer = commands.upsert_customer(ORG, {"external_id": "c", "name": "n"})
    assert types(tell(log, customer)) == ["customer.created"]
    assert tell(log, commands.upsert_customer(ORG, {"external_id": "c", "name": "n"})) == []
    (made,) = tell(log, commands.upsert_customer(ORG, {"external_id": "c", "name": "m"}))
    assert (made.webhook_type, shown(made)["name"]) == ("customer.updated", "m")
    deleted = tell(log, commands.delete_plan(ORG, "plan_code"))
    assert types(deleted) == ["plan.deleted"]
    assert shown(deleted[0])["pending_deletion"] is True
    assert types(tell(log, commands.delete_billable_metric(ORG, "storage"))) == [
        "billable_metric.deleted"
    ]


def test_a_subscription_is_told_with_its_plan_and_customer() -> None:
    log = told_log()
    log.plan()
    customer, started = subscribe(log)
    assert types([customer, started]) == ["customer.created", "subscription.started"]
    told = shown(started)
    assert (told["status"], told["plan"]["code"]) == ("active", "plan_code")
    assert told["customer"]["external_id"] == "cust_1"
    assert started.lane == "sub_1"
    changed = tell(log, commands.update_subscription(ORG, "sub_1", {"name": "n"}))
    assert types(changed) == ["subscription.updated"]
    (ended,) = tell(log, commands.terminate_subscription(ORG, "sub_1"))
    assert (ended.webhook_type, shown(ended)["status"]) == ("subscription.terminated", "terminated")


def test_terms_of_its_own_are_told_with_the_subscription_alone() -> None:
    log = told_log()
    log.plan()
    log.subscribe()
    body = {"plan_overrides": {"name": "its own"}}
    (made,) = tell(log, commands.update_subscription(ORG, "sub_1", body))
    assert made.webhook_type == "subscription.updated"
    assert shown(made)["plan"]["name"] == "its own"


def test_an_upgrade_tells_of_the_end_and_then_of_the_start() -> None:
    log = told_log()
    log.plan()
    log.plan("dear", amount_cents=500)
    log.subscribe()
    made = subscribe(log, plan_code="dear")
    assert types(made) == ["subscription.terminated", "subscription.started"]
    assert [shown(each)["plan_code"] for each in made] == ["plan_code", "dear"]


def test_a_downgrade_is_an_update_now_and_an_end_and_a_start_later() -> None:
    log = told_log()
    log.plan("dear", amount_cents=500)
    log.plan()
    log.subscribe(plan_code="dear")
    assert types(subscribe(log)) == ["subscription.updated"]
    agenda = Agenda(log.definitions)
    drained(agenda.fill(log.now_ms))
    at_ms = ms("2024-02-01")
    assert next_of(agenda, at_ms - 1) is None
    due = [next_of(agenda, at_ms), next_of(agenda, at_ms)]
    assert [each and each.webhook_type for each in due] == [
        "subscription.terminated",
        "subscription.started",
    ]
    assert next_of(agenda, at_ms) is None


def test_of_very_many_that_a_record_ends_a_message_is_made_when_it_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = told_log()
    log.plan()
    for number in range(9):
        log.subscribe(external_id=f"sub_{number}")
    command = commands.delete_plan(ORG, "plan_code")
    decision = decide(log.definitions, command, log.now_ms)
    assert isinstance(decision, Decision), decision
    told = drained(told_of(log.definitions, decision.changes, log.now_ms))
    log.accept(command)
    made: list[str] = []

    def noted(organization_id: str, webhook_type: str, *shown: Any) -> bytes:
        made.append(webhook_type)
        return body_of(organization_id, webhook_type, *shown)

    monkeypatch.setattr(telling, "body_of", noted)
    sent = 0
    for message in messages(log.definitions, told, command.id, log.now_ms):
        sent += message is not None
        assert len(made) == sent
    assert sorted(made) == ["plan.deleted", *["subscription.terminated"] * 9]


def test_a_pending_one_is_told_when_it_starts_or_is_canceled() -> None:
    log = told_log()
    log.plan()
    log.customer()
    assert subscribe(log, subscription_at="2024-03-01T00:00:00Z") == []
    pending = only(log)
    start = Instant(ms("2024-03-01"), True, "subscription.started", pending.id)
    assert list(instants_of(pending)) == [start]
    made, _ = instant_messages(log.definitions, (start,), start.at_ms)
    assert made is not None
    assert made.id == f"{pending.id}:2024-03-01T00:00:00.000Z"
    assert shown(made)["status"] == "active"
    canceled = tell(log, commands.terminate_subscription(ORG, "sub_1", "pending"))
    assert types(canceled) == ["subscription.canceled"]
    assert list(instants_of(only(log))) == []


def test_alerts_come_45_and_15_dates_before_the_end() -> None:
    log = Log()
    log.plan()
    log.subscribe(ending_at="2024-04-30T18:00:00Z")
    found = [each for each in instants_of(only(log)) if each.webhook_type.endswith("_alert")]
    assert [each.at_ms for each in found] == [ms("2024-03-16"), ms("2024-04-15")]
    log.accept(commands.update_subscription(ORG, "sub_1", {"ending_at": "2024-03-01T00:00:00Z"}))
    found = [each for each in instants_of(only(log)) if each.webhook_type.endswith("_alert")]
    assert [each.at_ms for each in found] == [ms("2024-02-15")]


def test_what_no_longer_holds_is_not_told() -> None:
    log = Log()
    log.plan()
    log.subscribe(ending_at="2024-04-30T00:00:00Z")
    agenda = Agenda(log.definitions)
    drained(agenda.fill(log.now_ms))
    log.accept(commands.update_subscription(ORG, "sub_1", {"ending_at": None}))
    assert next_of(agenda, ms("2025-01-01")) is None


def test_what_a_record_told_is_told_by_no_instant() -> None:
    log = Log()
    log.plan()
    log.subscribe()
    log.subscribe(external_id="later", subscription_at="2024-02-05T00:00:00Z")
    started_ms = log.now_ms
    log.at("2024-02-05T00:00:00.300Z")
    log.accept(commands.update_subscription(ORG, "later", {"ending_at": "2024-03-01T00:00:00Z"}))
    agenda = Agenda(log.definitions)
    drained(agenda.fill(started_ms - 500))
    found = next_of(agenda, log.now_ms)
    assert found is not None
    assert (found.at_ms, found.webhook_type) == (ms("2024-02-05"), "subscription.started")
    assert next_of(agenda, log.now_ms) is None


def test_one_instant_noted_twice_is_told_once() -> None:
    log = Log()
    log.plan()
    log.subscribe(ending_at="2024-02-05T00:00:00Z")
    agenda = Agenda(log.definitions)
    drained(agenda.fill(log.now_ms))
    drained(agenda.fill(log.now_ms))
    assert next_of(agenda, ms("2025-01-01")) is not None
    assert next_of(agenda, ms("2025-01-01")) is None


def test_all_that_happens_at_one_instant_is_taken_together() -> None:
    log = Log()
    log.plan()
    for name in ("a", "b", "c"):
        log.subscribe(external_id=name, ending_at="2024-02-05T00:00:00Z")
    log.subscribe(external_id="later", ending_at="2024-02-06T00:00:00Z")
    agenda = Agenda(log.definitions)
    drained(agenda.fill(log.now_ms))
    ends_ms, later_ms = ms("2024-02-05"), ms("2024-02-06")
    assert agenda.next_ms(ends_ms - 1) is None
    assert agenda.next_ms(later_ms) == ends_ms
    assert [each and each.at_ms for each in agenda.take(ends_ms)] == [ends_ms] * 3
    assert agenda.next_ms(later_ms) == later_ms


def test_what_no_endpoint_wants_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    body = {"webhook_url": "http://a", "event_types": ["subscription.terminated"]}
    log.accept(commands.create_webhook_endpoint(ORG, body))
    log.plan()
    made: list[str] = []

    def noted(organization_id: str, webhook_type: str, *shown: Any) -> bytes:
        made.append(webhook_type)
        return body_of(organization_id, webhook_type, *shown)

    monkeypatch.setattr(telling, "body_of", noted)
    assert subscribe(log, ending_at="2024-04-30T00:00:00Z") == []
    told = [
        each.webhook_type
        for each in instant_messages(log.definitions, instants_of(only(log)), log.now_ms)
        if each is not None
    ]
    assert told == made == ["subscription.terminated"]


def test_of_a_long_history_it_is_looked_in_steps_for_what_a_record_told() -> None:
    log = Log()
    log.plan()
    log.subscribe()
    for day in ["2024-03-01", "2024-03-02"] * STEP_ITEMS + ["2024-02-05"]:
        body = {"ending_at": f"{day}T00:00:00Z"}
        log.accept(commands.update_subscription(ORG, "sub_1", body))
    agenda = Agenda(log.definitions)
    assert sum(1 for _ in agenda.fill(log.now_ms)) == 2
    assert agenda.next_ms(ms("2025-01-01")) == ms("2024-02-05")


def test_objects_of_one_type_in_one_record_have_keys_of_their_own() -> None:
    log = told_log()
    log.plan()
    for name in ("a", "b", "c"):
        log.subscribe(external_id=name)
    command = commands.delete_plan(ORG, "plan_code")
    made = tell(log, command)
    assert sorted(types(made)) == ["plan.deleted", *["subscription.terminated"] * 3]
    ended = [each for each in made if each.webhook_type == "subscription.terminated"]
    assert ended[0].id == command.id
    assert len({each.unique_key("e") for each in made}) == 4


def test_the_unique_key_is_made_of_type_id_and_endpoint() -> None:
    message = Message(ORG, "plan.created", "i", "", b"")
    namespace = uuid5(NAMESPACE_URL, "meterstream:webhooks")
    assert message.unique_key("e") == str(uuid5(namespace, "plan.created:i:e"))
    assert message.unique_key("f") != message.unique_key("e")
