"""`GET /api/v1/definitions/changes`: who changed which definition, and when."""

from __future__ import annotations

from typing import Any

from app.api.answering.call import ORGANIZATION_HEADER, Call
from app.api.http.errors import FieldErrors, invalid
from app.billing_periods.instants import iso_milliseconds
from app.meter.changes import DefinitionChange


async def changes(call: Call) -> Any:
    """Answer the changes in the order of the log; an operator sees those of all. Raises 422."""
    organization_id: str | None = None
    if not call.asker.operates or ORGANIZATION_HEADER in call.request.headers:
        organization_id = call.organization_id
    errors: FieldErrors = {}
    since = call.query.natural("since", 0, errors)
    if errors:
        raise invalid(errors)
    found, next_since = await call.meter.definer.changes(organization_id, since)
    return {"changes": [_told(each) for each in found], "meta": {"next_since": next_since}}


def _told(change: DefinitionChange) -> dict[str, Any]:
    return {
        "offset": change.offset,
        "changed_at": iso_milliseconds(change.append_time_ms),
        "organization_id": change.organization_id or None,
        "type": change.type,
        "object": change.object,
        "changed_by": change.changed_by,
    }
