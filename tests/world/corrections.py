"""Events and their corrections as raw records, folded offline."""

from __future__ import annotations

from typing import Any

import msgspec

from app.definitions.model import SettingsRecord
from app.meter.usage import PeriodUsage
from app.offline.fold import DefinitionLine, EventLine, OfflineMeter
from tests.world.clock import DAY_MS, START_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of

INSIDE_MS = START_MS + DAY_MS


def raw_event(
    transaction_id: str,
    value: str,
    at_ms: int = INSIDE_MS,
    code: str = "sum",
    group: str | None = None,
) -> dict[str, Any]:
    return {
        "organization_id": ORG,
        "external_subscription_id": SUBSCRIPTION,
        "transaction_id": transaction_id,
        "code": code,
        "timestamp": f"{at_ms / 1000:.3f}",
        "properties": {"v": value} if group is None else {"v": value, "g": group},
    }


def cancel(transaction_id: str, correction_id: str = "c1") -> dict[str, Any]:
    return {
        "organization_id": ORG,
        "external_subscription_id": SUBSCRIPTION,
        "transaction_id": transaction_id,
        "operation": "cancel",
        "correction_id": correction_id,
    }


def amend(to: dict[str, Any], correction_id: str = "c2") -> dict[str, Any]:
    return {
        **cancel(to["transaction_id"], correction_id),
        "operation": "amend",
        "event": to,
    }


def fold(
    *appended: tuple[int, dict[str, Any]], at_ms: int, settings: SettingsRecord = SETTINGS
) -> OfflineMeter:
    meter = OfflineMeter()
    definitions = [
        DefinitionLine(d.append_time_ms, d.offset, d.command.encode())
        for d in definitions_of(["sum", "max", "balance"], settings)
    ]
    events = [
        EventLine(append_time_ms, 0, offset, msgspec.json.encode(value))
        for offset, (append_time_ms, value) in enumerate(appended)
    ]
    meter.run(definitions, events, at_ms)
    assert not meter.refused
    return meter


def units(usage: PeriodUsage | None, code: str = "sum") -> str:
    assert usage is not None
    charges = {c.charge.id for c in usage.charges if c.metric.code == code}
    return str(sum(row.units for row in usage.rows if row.charge_id in charges))


def current(*values: dict[str, Any], code: str = "sum") -> str:
    appended = [(INSIDE_MS + i, value) for i, value in enumerate(values)]
    at_ms = INSIDE_MS + DAY_MS
    return units(fold(*appended, at_ms=at_ms).usage((ORG, SUBSCRIPTION), at_ms), code)
