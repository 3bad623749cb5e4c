"""`POST /api/v1/preview`: one worker's share of a preview, line by line as it goes."""

from __future__ import annotations

from typing import Any

from app.api.answering.call import Call, rejected
from app.api.answering.streams import lines
from app.api.definitions.history import instant
from app.api.http.errors import invalid
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.outcome import Rejected

_INVALID = ["value_is_invalid"]


async def preview(call: Call) -> Any:
    """Answer JSON lines: first who else owns something, then reports, the last one `done`.

    `changes`: objects as the API takes them, of metrics and plans; those whose code exists are
    updated, others created. Periods published are those that start in [from, to).
    """
    body = await call.json()
    given = body if isinstance(body, dict) else {}
    changes = given.get("changes")
    if not isinstance(changes, list) or not changes:
        raise invalid({"changes": _INVALID})
    made = [_command(call, change) for change in changes]
    from_ms, to_ms = _instant(given, "from", 0), _instant(given, "to", call.now_ms + 1)
    reports = await call.meter.evidence.preview(call.organization_id, made, from_ms, to_ms)
    if isinstance(reports, Rejected):
        raise rejected(reports)
    return await lines(call, {"peers": list(call.meter.routing.peers())}, reports)


def _command(call: Call, change: object) -> Command:
    """Return what the API would append for a metric or a plan."""
    organization_id, definitions = call.organization_id, call.meter.definitions
    fields = change if isinstance(change, dict) else {}
    for root, find, update, create in (
        (
            "billable_metric",
            definitions.metric,
            commands.update_billable_metric,
            commands.create_billable_metric,
        ),
        ("plan", definitions.plan, commands.update_plan, commands.create_plan),
    ):
        body = fields.get(root)
        code = body.get("code") if isinstance(body, dict) else None
        if isinstance(code, str) and code:
            if find(organization_id, code) is None:
                return create(organization_id, body)
            return update(organization_id, code, body)
    raise invalid({"changes": _INVALID})


def _instant(given: dict[str, Any], field: str, absent_ms: int) -> int:
    at_ms = instant(given, field, absent_ms)
    if at_ms is None:
        raise invalid({field: _INVALID})
    return at_ms
