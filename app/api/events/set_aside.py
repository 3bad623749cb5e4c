"""`/api/v1/set_aside`: which raw records no fold looks at; more of them, and fewer."""

from __future__ import annotations

from typing import Any

from app.api.answering.call import Call
from app.api.http.errors import coded, forbidden, invalid, not_found
from app.billing_periods.instants import iso_milliseconds
from app.definitions.model import SetAside
from app.meter.errors import NotSetAside

LONGEST_REASON = 1_000
"""Characters."""


def _require_operator(call: Call) -> None:
    """Raise 403 unless the key is an operator's or the page is open.

    Set-aside records may belong to any organization.
    """
    operates = call.identity is not None and call.identity.operates
    if not (operates or call.api.open_page):
        raise forbidden("operator_access_required")


async def index(call: Call) -> Any:
    """List what is set aside and not lifted."""
    _require_operator(call)
    return {"set_aside": [shown(one) for one in call.meter.definitions.set_asides.listed()]}


async def create(call: Call) -> Any:
    """Set aside raw records that are not folded yet, deleted ones too."""
    _require_operator(call)
    body = await call.root("set_aside")
    places = {name: _number(body.get(name)) for name in ("partition", "from", "to")}
    errors = {name: ["value_is_invalid"] for name, value in places.items() if value < 0}
    reason = body.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        errors["reason"] = ["value_is_mandatory"]
    elif len(reason) > LONGEST_REASON:
        errors["reason"] = ["value_is_too_long"]
    if errors:
        raise invalid(errors)
    try:
        made = await call.meter.repairs.set_aside(
            places["partition"], places["from"], places["to"] + 1, str(reason)
        )
    except NotSetAside as error:
        raise coded(422, "cannot_be_set_aside", {"set_aside": [str(error)]}) from error
    return {"set_aside": [shown(one) for one in made]}


async def lift(call: Call) -> Any:
    """Append what is set aside anew, and take it off the list."""
    _require_operator(call)
    one = call.meter.definitions.set_asides.find(call.parameters["lago_id"])
    if one is None:
        raise not_found("set_aside")
    return {"set_aside": {**shown(one), "appended": await call.meter.repairs.lift(one)}}


def _number(value: object) -> int:
    """Return a whole number; -1 when it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def shown(one: SetAside) -> dict[str, Any]:
    """Return what the API tells of it; `to` is the last offset."""
    return {
        "lago_id": one.id,
        "partition": one.partition,
        "from": one.offset,
        "to": one.offset + one.count - 1,
        "index": one.index,
        "code": one.code,
        "message": one.message,
        "set_aside_at": iso_milliseconds(one.append_time_ms),
    }
