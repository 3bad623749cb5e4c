"""Events and their corrections as raw records, folded offline."""

from __future__ import annotations

from typing import Any

import msgspec

from app.definitions.model import SettingsRecord
from app.meter.usage import PeriodUsage
from app.offline.fold import EventLine, OfflineMeter
from app.wire.refusals import RefusalCode
from tests.world.bodies import Json
from tests.world.clock import DAY_MS, START_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of, logged
from tests.world.events import raw

INSIDE_MS = START_MS + DAY_MS


def used(
    transaction_id: str, value: str, at_ms: int = INSIDE_MS, code: str = "sum", **more: Any
) -> Json:
    """Return the raw record of an event with this value, on the second day."""
    return raw(code, transaction_id, at_ms, v=value, **more)


def fold(
    *appended: tuple[int, Json], at_ms: int, settings: SettingsRecord = SETTINGS
) -> OfflineMeter:
    """Fold raw records, each at its append time, beside the usual definitions."""
    meter = OfflineMeter()
    definitions = logged(definitions_of(["sum", "max", "balance"], settings))
    events = [
        EventLine(append_time_ms, 0, offset, msgspec.json.encode(value))
        for offset, (append_time_ms, value) in enumerate(appended)
    ]
    meter.run(definitions, events, at_ms)
    assert {each.code for each in meter.refused} <= {RefusalCode.CONFLICTING_DUPLICATE}
    return meter


def units(usage: PeriodUsage | None, code: str = "sum") -> str:
    """Return the units of all charges of a metric."""
    assert usage is not None
    charges = {c.charge.id for c in usage.charges if c.metric.code == code}
    return str(sum(row.units for row in usage.rows if row.charge_id in charges))


def current(*values: Json, code: str = "sum") -> str:
    """Return the current units of records that come one after another."""
    appended = [(INSIDE_MS + i, value) for i, value in enumerate(values)]
    at_ms = INSIDE_MS + DAY_MS
    return units(fold(*appended, at_ms=at_ms).usage((ORG, SUBSCRIPTION), at_ms), code)
