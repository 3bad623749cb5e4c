"""Dead letters as their topic has them: page by page, and one whole."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from app.api.answering.call import ORGANIZATION_HEADER, Call
from app.api.http.errors import invalid, not_found
from app.billing_periods.instants import iso_milliseconds
from app.meter.overview import DeadLetter, DeadLetterPage, DeadLetterQuery, DeadLetterView
from app.numbers import natural

Json = dict[str, Any]

_A_PAGE: Final = 50
NEWEST: Final = "newest"
"""Stands for the end of the topic where the next page begins."""


async def index(call: Call) -> Any:
    """List dead letters, newest first; `before` goes on where a page ends."""
    return await listed(call, whose(call))


async def listed(call: Call, organization_id: str | None) -> Any:
    """Answer the page that is asked for, of one organization or of all."""
    found = await page_of(call, organization_id)
    letters = [_view_json(one) for one in found.letters]
    return {"dead_letters": letters, "meta": {"before": cursor_text(found.before)}}


def whose(call: Call) -> str | None:
    """Return the organization whose letters are asked for; None: an operator's key names none."""
    identity = call.identity
    if identity is None or not identity.operates:
        return call.organization_id
    return call.request.headers.get(ORGANIZATION_HEADER) or call.query.text("organization")


async def page_of(call: Call, organization_id: str | None) -> DeadLetterPage:
    """Return the page that is asked for, read from the topic. Raises 422."""
    before = cursor(call.query.text("before"))
    query = DeadLetterQuery(
        organization_id=organization_id,
        code=call.query.text("code"),
        before=before,
        most=min(call.query.positive("per_page", _A_PAGE), _A_PAGE),
    )
    return await call.meter.repairs.letters_before(query)


def cursor_text(before: Mapping[int, int] | None) -> str | None:
    """Return what to ask for the next page with; None: there is none."""
    if before is None:
        return None
    return ",".join(f"{number}:{offset}" for number, offset in sorted(before.items()))


def cursor(text: str | None) -> dict[int, int]:
    """Return where a page begins, by partition. Raises 422."""
    found: dict[int, int] = {}
    if text is None or text == NEWEST:
        return found
    for part in text.split(","):
        number, offset = map(natural, part.partition(":")[::2])
        if number is None or offset is None:
            raise invalid({"before": ["value_is_invalid"]})
        found[number] = offset
    return found


async def show(call: Call) -> Any:
    """Answer one dead letter whole; bytes are in base64."""
    return await shown(call, whose(call))


async def shown(call: Call, organization_id: str | None) -> Any:
    """Answer the letter that the path names, one of an organization's or of all. Raises 404."""
    letter = await found_letter(call, organization_id)
    headers = [{"name": name, "value": _text(value)} for name, value in letter.headers]
    key = None if letter.key is None else _text(letter.key)
    whole = {"key": key, "headers": headers, "value": _text(letter.value)}
    return {"dead_letter": {**_view_json(letter.view), **whole}}


async def found_letter(call: Call, organization_id: str | None) -> DeadLetter:
    """Return the letter that the path names. Raises 404."""
    partition, offset = (natural(call.parameters[name]) for name in ("partition", "offset"))
    if partition is None or offset is None:
        raise not_found("dead_letter")
    letter = await call.meter.repairs.dead_letter(organization_id, partition, offset)
    if letter is None:
        raise not_found("dead_letter")
    return letter


def _view_json(view: DeadLetterView) -> Json:
    fields = msgspec.structs.asdict(view)
    return {**fields, "failed_at": iso_milliseconds(fields.pop("failed_at_ms"))}


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
