"""`POST /events/verdicts`: what became of events that a producer sent, by their ids."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from app.api.answering.call import Call
from app.api.answering.peers import Outgoing, ask, owner_elsewhere, value_of
from app.api.events.trace import fate_json
from app.api.http import json_text
from app.api.http.errors import invalid
from app.bounds.limits import COMPARED_BYTES
from app.bounds.turns import Steps, Work
from app.meter.evidence import KnownEvent
from app.wire.refusals import ElementRefused
from app.wire.timestamps import parse_timestamp

Json = dict[str, Any]

_WORDS = {"ignored": "not_counted", "duplicate": "missing"}
"""How a producer calls what a trace calls otherwise. Of an index entry there is no duplicate."""


class AskedEvent(msgspec.Struct):
    """An event as its producer knows it; what is not given is not compared."""

    transaction_id: str
    external_subscription_id: str
    code: str | None = None
    timestamp: msgspec.Raw = msgspec.Raw(b"")
    properties: msgspec.Raw = msgspec.Raw(b"")


class _Body(msgspec.Struct):
    events: list[AskedEvent]


async def create(call: Call) -> Any:
    """Answer, in the order asked, what became of up to `max_batch` events."""
    return {"verdicts": await verdicts_on(call, await _asked(call))}


async def verdicts_on(call: Call, asked: list[AskedEvent]) -> list[Json]:
    """Return the verdicts on events, in the order asked."""
    by_owner: defaultdict[str | None, list[int]] = defaultdict(list)
    for index, one in enumerate(asked):
        by_owner[owner_elsewhere(call, one.external_subscription_id)].append(index)
    verdicts: list[Any] = [None] * len(asked)

    async def fill(owner: str | None, indexes: list[int]) -> None:
        wanted = [asked[index] for index in indexes]
        answers = await (_here(call, wanted) if owner is None else _there(call, owner, wanted))
        for index, answer in zip(indexes, answers, strict=True):
            verdicts[index] = answer

    await asyncio.gather(*(fill(owner, indexes) for owner, indexes in by_owner.items()))
    return verdicts


async def _asked(call: Call) -> list[AskedEvent]:
    # What is no JSON at all is told so.
    if not await call.json():
        raise invalid({"events": ["no_events"]})
    try:
        asked = msgspec.json.decode(await call.body(), type=_Body).events
    except msgspec.ValidationError as error:
        raise invalid({"events": ["value_is_invalid"]}) from error
    if not asked:
        raise invalid({"events": ["no_events"]})
    if len(asked) > call.api.max_batch:
        raise invalid({"events": ["too_many_events"]})
    return asked


async def _here(call: Call, asked: list[AskedEvent]) -> list[Json]:
    identities = [(one.external_subscription_id, one.transaction_id) for one in asked]
    known = await call.meter.evidence.verdicts(call.organization_id, identities)
    work = Work("request", "verdicts", call.organization_id)
    return await call.api.turns.run(work, _verdicts(asked, known))


def _verdicts(asked: Sequence[AskedEvent], known: Sequence[KnownEvent | None]) -> Steps[list[Json]]:
    verdicts = []
    for one, found in zip(asked, known, strict=True):
        verdicts.append(_verdict(one, found))
        yield
    return verdicts


async def _there(call: Call, owner: str, asked: list[AskedEvent]) -> list[Json]:
    body = json_text.encode({"events": [_again(one) for one in asked]})
    reply = await ask(call, owner, Outgoing("POST", "/api/v1/events/verdicts", body))
    found: list[Json] = value_of(reply)["verdicts"]
    return found


def _again(one: AskedEvent) -> Json:
    given = msgspec.structs.asdict(one)
    return {name: value for name, value in given.items() if value not in (None, b"")}


def _verdict(asked: AskedEvent, known: KnownEvent | None) -> Json:
    identity = {
        "transaction_id": asked.transaction_id,
        "external_subscription_id": asked.external_subscription_id,
    }
    if known is None:
        return {**identity, "verdict": "missing", "reason": None, "differs": [], "event": None}
    fate = known.fate
    differs = [] if fate.amended else _differing(asked, known)
    return {
        **identity,
        "verdict": "differs" if differs else _WORDS.get(fate.status, fate.status),
        "reason": fate.reason,
        "differs": differs,
        "event": fate_json(fate),
    }


def _differing(asked: AskedEvent, known: KnownEvent) -> list[str]:
    """Return the fields that came otherwise than they are given."""
    fate, differs = known.fate, list[str]()
    if asked.code not in (None, fate.code):
        differs.append("code")
    if bytes(asked.timestamp) not in (b"", b"null") and (
        _timestamp_ms(bytes(asked.timestamp)) != fate.timestamp_ms
    ):
        differs.append("timestamp")
    if bytes(asked.properties) not in (b"", b"null"):
        is_long = max(len(asked.properties), len(known.properties)) > COMPARED_BYTES
        decode = _apart if is_long else _exact
        given, came = _object(bytes(asked.properties), decode), _object(known.properties, decode)
        differs += [f"properties.{key}" for key in given if given[key] != came.get(key)]
    return differs


def _timestamp_ms(literal: bytes) -> int | None:
    try:
        return parse_timestamp(literal.decode().strip('"'))
    except (ElementRefused, UnicodeDecodeError):
        return None


def _object(text: bytes, decode: Callable[[bytes], Any]) -> Json:
    """Return a JSON object; anything else has nothing to compare."""
    try:
        found = decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


_exact = msgspec.json.Decoder(float_hook=Decimal).decode
"""Values that say the same are equal, however they are written."""

_apart = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""Values are equal when their bytes are: of long properties more would hold the loop."""
