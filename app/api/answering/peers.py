"""Asking the worker that owns a subscription, or all workers, in the name of the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import ClientError
from yarl import URL

from app.api.answering.call import ORGANIZATION_HEADER, Call, Reply
from app.api.http import json_text
from app.api.http.pagination import PageRequest, merged
from app.bounds import limits
from app.bounds.turns import Work
from app.meter.errors import Unavailable
from app.meter.listing import Listed, Place

PEER_TIMEOUT_S = 10.0
LOOP_GUARD = "Meter-Forwarded"
"""Present on a request that came from another worker: it is answered here or not at all."""

_DEPTH = "depth"
"""How many places one worker asks another for."""

_FORWARDED_HEADERS = ("Accept", "Content-Type")
_RETURNED_HEADERS = ("Meter-Duplicate", "Meter-Next-Page", "Meter-Position", "Retry-After")


@dataclass(frozen=True)
class Outgoing:
    """A request to another worker."""

    method: str
    target: str
    """Path and query, encoded."""
    body: bytes = b""


def owner_elsewhere(call: Call, external_subscription_id: str) -> str | None:
    """Return the base URL of the worker to ask about a subscription, None for this one."""
    owner = call.meter.routing.owner(call.organization_id, external_subscription_id)
    if owner is not None and call.forwarded:
        raise Unavailable("another worker believed this one to be the owner")
    return owner


async def forward(call: Call, base_url: str) -> Reply:
    """Forward this very request to the owner and return the owner's answer."""
    target = call.request.rel_url.raw_path_qs
    return await ask(call, base_url, Outgoing(call.request.method, target, await call.body()))


async def ask(call: Call, base_url: str, outgoing: Outgoing) -> Reply:
    """Return another worker's answer; raise Unavailable when it does not give one."""
    headers = {
        name: call.request.headers[name]
        for name in _FORWARDED_HEADERS
        if name in call.request.headers
    }
    url = URL(base_url.rstrip("/") + outgoing.target, encoded=True)
    try:
        async with call.api.session.request(
            outgoing.method,
            url,
            data=outgoing.body or None,
            headers={**headers, **_who_asks(call, outgoing)},
            allow_redirects=False,
        ) as response:
            return Reply(
                await response.read(),
                response.status,
                {k: response.headers[k] for k in _RETURNED_HEADERS if k in response.headers},
                response.headers.get("Content-Type", "application/json"),
            )
    except (ClientError, TimeoutError, ValueError) as error:
        raise Unavailable(f"{base_url} does not answer") from error


def _who_asks(call: Call, outgoing: Outgoing) -> dict[str, str]:
    """Return headers that say who asks, never the caller's key.

    Whoever can write to the topic of progress says which worker is asked.

    What the page asks openly is asked openly of the others too.
    """
    identity = call.asker
    told = {LOOP_GUARD: call.api.peers.made(identity, outgoing.method, outgoing.target)}
    if identity.operates and ORGANIZATION_HEADER in call.request.headers:
        told[ORGANIZATION_HEADER] = call.request.headers[ORGANIZATION_HEADER]
    return told


async def ask_all(call: Call, outgoing: Outgoing) -> list[Reply]:
    """Return the answers of all other workers; none for a request that is itself forwarded."""
    peers: Sequence[str] = () if call.forwarded else call.meter.routing.peers()
    return list(await asyncio.gather(*(ask(call, peer, outgoing) for peer in peers)))


async def ask_reachable(call: Call, outgoing: Outgoing) -> list[Reply]:
    """Do the same as `ask_all`, without the workers that do not answer."""
    try:
        peers: Sequence[str] = () if call.forwarded else call.meter.routing.peers()
    except Unavailable:
        return []
    replies = await asyncio.gather(*(_ask_or_none(call, peer, outgoing) for peer in peers))
    return [reply for reply in replies if reply is not None]


async def _ask_or_none(call: Call, base_url: str, outgoing: Outgoing) -> Reply | None:
    try:
        return await ask(call, base_url, outgoing)
    except Unavailable:
        return None


def value_of(reply: Reply) -> Any:
    """Return a peer's JSON answer; raise Unavailable when it is an error."""
    _require_answer(reply)
    return json_text.decode(reply.body)


class _Places(msgspec.Struct):
    """What one worker says to another that merges."""

    places: list[msgspec.Raw]
    total_count: int


async def ask_places(
    call: Call, outgoing: Outgoing, kind: type[Place], work: Work
) -> tuple[list[Iterator[Place]], int]:
    """Return the places that each of all other workers lists, and how many all of them have.

    There may be a hundred thousand, so each is decoded when it is asked for.
    """
    listed: list[Iterator[Place]] = []
    total_count, decode = 0, msgspec.json.Decoder(kind).decode
    for reply in await ask_all(call, outgoing):
        _require_answer(reply)
        await call.api.turns.wait(work)
        told = json_text.decode_as(reply.body, _Places)
        listed.append(map(decode, told.places))
        total_count += told.total_count
    return listed, total_count


async def listed_by_all(
    call: Call,
    work: Work,
    external_subscription_id: str | None,
    page: PageRequest,
    find: Callable[[int, int], Awaitable[Listed[Place]]],
    kind: type[Place],
    show: Callable[[Listed[Place]], Awaitable[Any]],
) -> Any:
    """Answer a page of a listing, of the one worker that has a subscription or of all.

    `find` returns the places that are listed here, from an offset on, so many.
    """
    if external_subscription_id is not None:
        if (owner := owner_elsewhere(call, external_subscription_id)) is not None:
            return await forward(call, owner)
    elif call.forwarded:
        asked = call.query.positive(_DEPTH, limits.LISTED_DEPTH)
        return msgspec.structs.asdict(await find(0, min(asked, limits.LISTED_DEPTH)))
    if external_subscription_id is not None or not call.meter.routing.peers():
        return await show(await find(page.offset, page.per_page))
    # Merge where the first ones of every worker lie, up to the end of the page.
    depth, path = page.offset + page.per_page, call.request.rel_url.raw_path
    here = await find(0, depth)
    outgoing = Outgoing("GET", f"{path}?{call.query.to_depth(_DEPTH, depth)}")
    others, count = await ask_places(call, outgoing, kind, work)
    places = await call.api.turns.run(work, merged([here.places, *others], page))
    return await show(Listed(places, here.total_count + count))


def _require_answer(reply: Reply) -> None:
    if reply.status != 200:
        raise Unavailable(f"a worker answered {reply.status}")
