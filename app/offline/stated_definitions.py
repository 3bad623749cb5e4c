"""The definitions that a stated figure follows from: nothing of other customers.

Every other definition stands as omitted, with offset and time. Nothing that is published says who
changed a definition: that is not told either. What is set aside is not among the events, and so
needs no definition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from app.definitions.command import Command, UnreadableCommand
from app.definitions.decision import Change, Decision, Deletion
from app.definitions.files import DefinitionLine
from app.definitions.log import apply, decide
from app.definitions.model import (
    Alert,
    Customer,
    Lift,
    Metric,
    Plan,
    SetAside,
    Subscription,
    WebhookEndpoint,
)
from app.definitions.state import Definitions
from app.offline.stated import OMITTED, StatedFigure

_Name = tuple[type, str]
"""What a definition is of: a type, and what tells its objects apart."""
_OF_ALL: _Name = (object, "")
"""Settings and the like, which concern every figure."""


def shown(
    definitions: Iterable[DefinitionLine], wanted: StatedFigure, cut_ms: int
) -> list[DefinitionLine]:
    """Return what was defined until a cut; of what the figure does not need only that it was."""
    known = Definitions()
    told: list[tuple[DefinitionLine, Command, frozenset[_Name]]] = []
    for line in definitions:
        if line.append_time_ms > cut_ms:
            continue
        try:
            command = Command.decode(line.value or b"")
        except UnreadableCommand:
            continue
        told.append((line, command, frozenset(_changed(known, command, line, wanted))))
        apply(known, line.value, line.append_time_ms, line.offset)
    needed = {_OF_ALL, *_needed(known, wanted)}
    return [
        line._replace(value=_told(command, names.isdisjoint(needed)).encode())
        for line, command, names in told
    ]


def _told(command: Command, is_omitted: bool) -> Command:
    if is_omitted:
        return Command(type=OMITTED, id="", organization_id="", payload={})
    return replace(command, changed_by=None)


def _changed(
    known: Definitions, command: Command, line: DefinitionLine, wanted: StatedFigure
) -> Iterator[_Name]:
    """Yield what a command changes; nothing for one that is rejected, or of others."""
    if command.organization_id not in ("", wanted.organization_id):
        return
    decision = decide(known, command, line.append_time_ms)
    if isinstance(decision, Decision):
        for change in decision.changes:
            yield _name(change)


def _name(change: Change) -> _Name:
    one = change.object if isinstance(change, Deletion) else change
    match one:
        case Customer() | Subscription():
            return type(one), one.external_id
        case Metric() | Plan() | Alert() | WebhookEndpoint() | SetAside() | Lift():
            return type(one), one.id
    return _OF_ALL


def _needed(known: Definitions, wanted: StatedFigure) -> Iterator[_Name]:
    """Yield the subscription, and the customers, plans and metrics that it ever had."""
    yield Subscription, wanted.external_subscription_id
    plan_ids: list[str] = []
    for versions in known.subscriptions(*wanted.name):
        for subscription in versions.all():
            yield Customer, subscription.external_customer_id
            plan_ids.append(subscription.plan_id)
    metric_ids: set[str] = set()
    for plan_id in plan_ids:
        yield Plan, plan_id
        for plan in known.plan_versions[plan_id].kept_whole():
            metric_ids.update(charge.metric_id for charge in plan.charges)
            if plan.parent_id is not None and plan.parent_id not in plan_ids:
                plan_ids.append(plan.parent_id)
    for metric_id, of_metric in known.metric_versions.items():
        codes = {metric.code for metric in of_metric.all()}
        if metric_id in metric_ids or wanted.metric_code in codes:
            yield Metric, metric_id
