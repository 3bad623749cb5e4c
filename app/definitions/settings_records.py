"""Settings and history records of the log (records-and-cuts §7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.bounds.limits import INPUT_LIMITS
from app.definitions.command import Command
from app.definitions.decision import Decision
from app.definitions.fields import FIXED, INVALID, MANDATORY, OUT_OF_RANGE
from app.definitions.model import FOLD_VERSION, MAX_WAIT_S, HistoryRecord, SettingsRecord
from app.definitions.outcome import Impact, Rejection, invalid
from app.definitions.state import Definitions

_AT_LEAST = {
    "close_grid_s": 1,
    "revise_every_s": 1,
    "late_window_s": 0,
    "grace_s": 0,
    "max_groups": 1,
    "fold_version": 1,
    "input_limits": 0,
}

_WAITS = ("close_grid_s", "revise_every_s", "late_window_s", "grace_s")
"""Settings of at most `MAX_WAIT_S`."""

_OF_NO_CELL = ("usage_changed", "producer_trust", "producers_may_correct", "producers_may_admit")
"""Settings that leave each cell as it is: what is told of it, and what later raw records may do."""

FIXED_SETTINGS = ("home_partitioner", "default_organization_id")
"""Settings that decide an event's organization and home; only the first record gives them.

With another value, events already folded would belong to others when they are read again.
"""


def set_settings(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Put the settings that shape bytes in place of the earlier ones."""
    try:
        record = msgspec.convert(command.payload, SettingsRecord)
    except msgspec.ValidationError as error:
        raise Rejection(invalid({"settings": [INVALID]})) from error
    errors = {
        field: [OUT_OF_RANGE]
        for field, least in _AT_LEAST.items()
        if getattr(record, field) < least
    }
    errors |= {field: [OUT_OF_RANGE] for field in _WAITS if getattr(record, field) > MAX_WAIT_S}
    if record.input_limits > INPUT_LIMITS:
        errors["input_limits"] = [OUT_OF_RANGE]
    if record.fold_version > FOLD_VERSION:
        errors["fold_version"] = [OUT_OF_RANGE]
    if not errors and record.revise_every_s % record.close_grid_s:
        errors["close_grid_s"] = [INVALID]
    if record.producer_trust == "topic" and record.default_organization_id is None:
        errors["default_organization_id"] = [MANDATORY]
    earlier = definitions.settings.at()
    if earlier is not None:
        errors |= {field: [FIXED] for field in changed_fixed_settings(earlier, record)}
    if errors:
        raise Rejection(invalid(errors))
    return Decision(record, _impact(definitions.settings_at(), record), (record,))


def _impact(before: SettingsRecord, after: SettingsRecord) -> Impact | None:
    if after == before:
        return None
    told = {field: getattr(after, field) for field in _OF_NO_CELL}
    same = msgspec.structs.replace(before, **told) == after
    return Impact(None, codes=frozenset()) if same else Impact(None, of_settings=True)


def changed_fixed_settings(before: SettingsRecord, after: SettingsRecord) -> list[str]:
    """Return settings that differ and that only the first record of the log can give.

    Limits that once held are never lifted: one moment then says which records keep to them. Nor
    does an earlier version of the rules come back.
    """
    changed = [name for name in FIXED_SETTINGS if getattr(before, name) != getattr(after, name)]
    rising = ("fold_version", "input_limits")
    return [*changed, *(name for name in rising if getattr(after, name) < getattr(before, name))]


def apply_history(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Keep the request as it is; what it names need not be in force any more."""
    payload = command.payload
    try:
        record = HistoryRecord(
            organization_id=command.organization_id,
            metric_ids=msgspec.convert(payload.get("billable_metric_ids", []), tuple[str, ...]),
            charge_ids=msgspec.convert(payload.get("charge_ids", []), tuple[str, ...]),
            from_ms=_instant(payload, "from_ms"),
            to_ms=_instant(payload, "to_ms"),
            append_time_ms=now_ms,
            offset=definitions.decided_offset,
        )
    except msgspec.ValidationError as error:
        raise Rejection(invalid({"history": [INVALID]})) from error
    if not (record.metric_ids or record.charge_ids) or record.from_ms >= record.to_ms:
        raise Rejection(invalid({"history": [INVALID]}))
    # Nothing changes yet: partitions put it in force once they have published every cut before it.
    return Decision(record, None, (record,))


def _instant(payload: Mapping[str, Any], key: str) -> int:
    return msgspec.convert(payload.get(key), int)
