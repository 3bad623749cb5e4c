"""A definitions log in memory: commands go in with a time, answers come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply, decide
from app.definitions.model import Customer, Metric, Plan, Subscription
from app.definitions.outcome import Applied, Rejected
from app.definitions.state import Definitions
from tests.world import bodies
from tests.world.clock import ms

ORG = "6f0a2f0e-5b0e-4d3e-9a53-2f1d3c6b7a10"
START = "2024-01-31T01:00:00Z"


def refusal(definitions: Definitions, command: Command, at_ms: int) -> Rejected | None:
    """Return what would be wrong with a command if it were applied next, at this append time."""
    decision = decide(definitions, command, at_ms)
    return decision if isinstance(decision, Rejected) else None


class Log:
    """Appends commands to a state, as the broker and a worker would."""

    def __init__(self, start: str = START) -> None:
        self.definitions = Definitions()
        self.now_ms = ms(start)
        self.records: list[tuple[bytes | None, int, int]] = []

    def at(self, text: str) -> Log:
        """Let it be this moment."""
        self.now_ms = ms(text)
        return self

    def append(self, command: Command) -> Applied | Rejected:
        """Append a command now."""
        outcome = self.append_bytes(command.encode())
        assert outcome is not None
        return outcome

    def append_all(self, commands_later: Iterable[tuple[Command, int]]) -> Iterator[None]:
        """Append commands, each so many ms later than the one before; yield after each."""
        for command, later_ms in commands_later:
            self.now_ms += later_ms
            self.append(command)
            yield

    def append_bytes(self, value: bytes | None) -> Applied | Rejected | None:
        """Append any record now; None is a tick."""
        record = (value, self.now_ms, len(self.records))
        self.records.append(record)
        return apply(self.definitions, *record)

    def accept(self, command: Command) -> Any:
        """Append a command that has to be accepted; its object."""
        outcome = self.append(command)
        assert isinstance(outcome, Applied), outcome
        return outcome.object

    def refuse(self, command: Command) -> Rejected:
        """Append a command that has to be refused; it must leave no trace but its offset."""
        dry = refusal(self.definitions, command, self.now_ms)
        outcome = self.append(command)
        assert isinstance(outcome, Rejected), outcome
        assert outcome == dry
        return outcome

    def metric(self, code: str = "storage", **changes: Any) -> Metric:
        created = self.accept(commands.create_billable_metric(ORG, metric_body(code, **changes)))
        assert isinstance(created, Metric)
        return created

    def plan(self, code: str = "plan_code", **changes: Any) -> Plan:
        created = self.accept(commands.create_plan(ORG, plan_body(code, **changes)))
        assert isinstance(created, Plan)
        return created

    def customer(self, external_id: str = "cust_1", **changes: Any) -> Customer:
        body = {"external_id": external_id, **changes}
        created = self.accept(commands.upsert_customer(ORG, body))
        assert isinstance(created, Customer)
        return created

    def subscribe(self, **changes: Any) -> Subscription:
        body = subscription_body(**changes)
        created = self.accept(commands.create_subscription(ORG, body))
        assert isinstance(created, Subscription)
        return created

    def newest(self, subscription: Subscription) -> Subscription:
        """The subscription as it is now."""
        found = self.definitions.subscription_by_id(subscription.id)
        assert found is not None
        return found


def metric_body(code: str = "storage", **changes: Any) -> dict[str, Any]:
    body = {"name": "Storage", "code": code, "aggregation_type": "sum_agg", "field_name": "gb"}
    return {**body, **changes}


def plan_body(code: str = "plan_code", **changes: Any) -> dict[str, Any]:
    body = bodies.plan(code, name="P1", amount_cents=100)
    return {**body, **changes}


def subscription_body(**changes: Any) -> dict[str, Any]:
    body = {"external_customer_id": "cust_1", "plan_code": "plan_code", "external_id": "sub_1"}
    return {**body, **changes}
