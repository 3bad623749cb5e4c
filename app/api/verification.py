"""`POST /api/v1/verify`: one worker's share of a verification, line by line as it goes."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from app.api import json_text
from app.api.call import Call
from app.meter.errors import Unavailable


class _Wanted(msgspec.Struct):
    external_subscription_id: str | None = None
    repair: bool = False


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
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(call.request)
    await response.write(json_text.encode(first) + b"\n")
    if owner is None:
        await _report(call, response, organization_id, wanted)
    await response.write_eof()
    return response


async def _report(
    call: Call, response: web.StreamResponse, organization_id: str, wanted: _Wanted
) -> None:
    try:
        reports = call.meter.evidence.verify(
            organization_id, wanted.external_subscription_id, wanted.repair
        )
        async with aclosing(reports):
            async for report in reports:
                await response.write(msgspec.json.encode(report) + b"\n")
    except Unavailable as error:
        await response.write(json_text.encode({"error": error.reason}) + b"\n")
