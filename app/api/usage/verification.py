"""`POST /api/v1/verify`: one worker's share of a verification, line by line as it goes."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.answering.call import Call
from app.api.answering.streams import lines
from app.api.http import json_text


class _Wanted(msgspec.Struct):
    external_subscription_id: str | None = None
    repair: bool = False
    figures_only: bool = False


async def verify(call: Call) -> Any:
    """Answer JSON lines: first who else owns something, then reports, the last one `done`.

    Of a subscription that another worker owns only the first line comes, naming it.
    """
    wanted = json_text.decode_as(await call.body() or b"{}", _Wanted)
    if wanted.repair:
        call.asker.require("POST", "verification")
    name, organization_id = wanted.external_subscription_id, call.organization_id
    owner = None if name is None else call.meter.routing.owner(organization_id, name)
    first = {"peers": list(call.meter.routing.peers()), "owner": owner}
    reports = None
    if owner is None:
        reports = call.meter.evidence.verify(
            organization_id, name, wanted.repair, wanted.figures_only
        )
    return await lines(call, first, reports)
