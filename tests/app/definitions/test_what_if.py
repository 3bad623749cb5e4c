"""A branch of the definitions goes its own way."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Applied, Rejected
from app.definitions.state import Definitions
from app.definitions.what_if import Branch, branch_with, changed_charges
from bench.growth.spent import steps_of
from tests.world import bodies
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    definitions_of,
    metric_body,
    subscription_body,
)

NOW_MS = START_MS + WEEK_MS


def defined() -> tuple[Definitions, list[dict[str, Any]]]:
    definitions = Definitions()
    base = definitions_of(["sum", "filtered"])
    for line in base:
        assert isinstance(
            apply(definitions, line.command.encode(), line.append_time_ms, line.offset), Applied
        )
    (plan,) = [line.command for line in base if line.command.type == "create_plan"]
    return definitions, plan.payload["plan"]["charges"]


def branched(definitions: Definitions, *changes: Command) -> Branch:
    branch = drained(branch_with(definitions, ORG, changes, START_MS, NOW_MS, NOW_MS))
    assert isinstance(branch, Branch)
    return branch


def everything(definitions: Definitions) -> dict[str, Any]:
    return deepcopy(vars(definitions))


def fewer_values() -> Command:
    body = metric_body("filtered", filters=[{"key": "g", "values": ["y"]}])
    return commands.update_billable_metric(ORG, "filtered", body)


def test_it_leaves_the_log_as_it_was() -> None:
    definitions, charges = defined()
    before = everything(definitions)
    kept = {key: value for key, value in charges[0].items() if key != "new_id"}
    plan = {"charges": [{**kept, "id": charges[0]["new_id"]}]}
    branch = branched(
        definitions,
        fewer_values(),
        commands.update_plan(ORG, "plan", plan),
        commands.create_billable_metric(ORG, {**metric_body("sum"), "code": "new"}),
        commands.delete_billable_metric(ORG, "sum"),
    )
    assert everything(definitions) == before
    assert branch.definitions.metric(ORG, "sum") is None
    assert branch.definitions.metric(ORG, "new") is not None
    assert definitions.metric(ORG, "new") is None


def test_anything_may_be_defined_in_it() -> None:
    definitions, _ = defined()
    before = everything(definitions)
    branch = definitions.copy()
    made = [
        commands.update_subscription(ORG, SUBSCRIPTION, {"ending_at": "2031-01-01T00:00:00Z"}),
        commands.create_subscription(ORG, {**subscription_body(), "external_id": "other"}),
        commands.upsert_customer(ORG, {"external_id": "customer", "timezone": "Asia/Tokyo"}),
        commands.set_settings(SettingsRecord(grace_s=7)),
        commands.terminate_subscription(ORG, SUBSCRIPTION),
        commands.delete_plan(ORG, "plan"),
    ]
    for command in made:
        assert isinstance(apply(branch, command.encode(), NOW_MS, branch.offset), Applied)
    assert everything(definitions) == before
    (versions,) = branch.subscriptions(ORG, SUBSCRIPTION)
    (known,) = definitions.subscriptions(ORG, SUBSCRIPTION)
    assert len(versions) > len(known)
    assert versions is branch.subscription_versions[next(known.all()).id]
    assert branch.subscriptions(ORG, "other")
    assert not definitions.subscriptions(ORG, "other")
    assert branch.settings_at().grace_s == 7


def test_a_changed_metric_is_named_with_every_metric_that_had_its_code() -> None:
    definitions, _ = defined()
    offset, at_ms = definitions.offset, START_MS
    deleted = commands.delete_billable_metric(ORG, "filtered")
    again = commands.create_billable_metric(ORG, metric_body("filtered"))
    for number, command in enumerate((deleted, again)):
        assert isinstance(apply(definitions, command.encode(), at_ms, offset + number), Applied)
    ids = {next(v.all()).id for v in definitions.metric_history(ORG, "filtered")}
    branch = branched(definitions, fewer_values())
    (record,) = branch.definitions.history_records
    assert len(ids) == 2
    assert (set(record.metric_ids), record.charge_ids) == (ids, ())
    assert (record.from_ms, record.to_ms) == (START_MS, NOW_MS)
    assert branch.codes == {"filtered"}


def test_a_changed_plan_is_named_by_the_charges_that_differ() -> None:
    definitions, charges = defined()
    kept = [
        {**{key: value for key, value in c.items() if key != "new_id"}, "id": c["new_id"]}
        for c in charges
    ]
    regrouped = {**kept[0], "properties": {"amount": "1", "pricing_group_keys": ["u"]}}
    branch = branched(
        definitions, commands.update_plan(ORG, "plan", {"charges": [regrouped, kept[1]]})
    )
    (record,) = branch.definitions.history_records
    assert (record.metric_ids, record.charge_ids) == ((), (charges[0]["new_id"],))
    assert branch.codes == {"sum"}
    old, new = definitions.plan(ORG, "plan"), branch.definitions.plan(ORG, "plan")
    assert old is not None
    assert new is not None
    assert changed_charges(old, new) == [charges[0]["new_id"]]
    assert changed_charges(old, old) == []


def test_of_a_changed_plan_no_other_is_looked_at() -> None:
    spent = []
    # What is found once for all is found in the first round.
    for others in (1, 1, 50):
        definitions, _ = defined()
        for number in range(others):
            body = bodies.plan(f"other_{number}", [bodies.charge("sum")])
            made = commands.create_plan(ORG, body).encode()
            assert isinstance(apply(definitions, made, START_MS, definitions.offset), Applied)
        change = commands.update_plan(ORG, "plan", {"charges": []})
        spent.append(steps_of(partial(branched, definitions, change)))
    assert spent[2] < 1.05 * spent[1]


def test_what_the_log_would_reject_is_rejected() -> None:
    definitions, _ = defined()
    unknown = commands.update_billable_metric(ORG, "none", metric_body("sum"))
    assert drained(branch_with(definitions, ORG, [unknown], 0, 1, NOW_MS)) == Rejected(
        404, "billable_metric_not_found"
    )
