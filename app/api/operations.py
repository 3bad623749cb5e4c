"""Answer operators and tools: health, metrics, the page, the descriptions."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import page as page_files
from app.api import json_text
from app.api.call import ORGANIZATION_HEADER, Call, Reply
from app.api.errors import bad_request, forbidden, not_found
from app.api.overview_json import merged, overview_json, reason_json, tag_of
from app.api.peers import Outgoing, ask_reachable
from app.meter.health import OF_KAFKA, OF_REDIS, UNREADY
from app.meter.overview import OverviewQuery

PAGE_HEADER = "Meter-Page"
"""A header that no other site's form can send: the page's writes need it."""

_CONTENT_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml; charset=utf-8",
}
_KEPT_BUT_ASKED_FOR = {"Cache-Control": "no-cache"}
_MAX_LINES = 1_000
_MAX_ORGANIZATIONS = 1_000
"""Organizations in the page's picker; a user can type the id of any other."""


async def live(_: Call) -> Any:
    """Answer 200: the process runs and its event loop turns."""
    return {"status": "live"}


async def ready(call: Call) -> Any:
    """Answer 200 if this worker should get traffic, 503 while another one would do better.

    Trouble of all workers, such as absent brokers, gives 200 and `degraded`: with 503 a balancer
    would have no worker left. A monitor that wants 503 asks with `?require=kafka,redis`.
    """
    reasons = call.api.meter.health()
    required = {word for text in call.query.texts("require") for word in text.split(",")}
    wanted = UNREADY.union(
        *(codes for name, codes in (("kafka", OF_KAFKA), ("redis", OF_REDIS)) if name in required)
    )
    unready = any(reason.code in wanted for reason in reasons)
    status = "not_ready" if unready else "degraded" if reasons else "ready"
    told: dict[str, Any] = {"status": status}
    if reasons:
        told["reasons"] = [reason_json(reason) for reason in reasons]
    return Reply(json_text.encode(told), status=503 if unready else 200)


async def metrics(call: Call) -> Any:
    """Answer the metrics as Prometheus text."""
    return Reply(generate_latest(call.api.registry), content_type=CONTENT_TYPE_LATEST)


@cache
def _page_file(name: str) -> bytes | None:
    file = files(page_files).joinpath(name)
    return file.read_bytes() if file.is_file() else None


async def page(_: Call) -> Any:
    """Answer the live usage page."""
    return _static("index.html")


async def page_asset(call: Call) -> Any:
    """Answer a file of the page."""
    return _static(call.parameters["name"])


def _static(name: str) -> Reply:
    content_type = _CONTENT_TYPES.get(name.rpartition(".")[2])
    content = _page_file(name) if content_type and "/" not in name and "\0" not in name else None
    if content is None or content_type is None:
        raise not_found("resource")
    return Reply(content, headers=_KEPT_BUT_ASKED_FOR, content_type=content_type)


def _page_organization(call: Call, method: str) -> str | None:
    """Return the organization that the page may show; None: all, if an operator names none."""
    call.asker.require(method, "page")
    if not call.asker.operates:
        return call.asker.organization_id
    return call.request.headers.get(ORGANIZATION_HEADER) or call.query.text("organization_id")


async def overview(call: Call) -> Any:
    """Answer the figures of the page, from all workers that can be reached."""
    query = OverviewQuery(
        organization_id=_page_organization(call, "GET"),
        search=(call.query.text("search") or "").strip(),
        limit=min(call.query.positive("limit", 200), _MAX_LINES),
    )

    async def make() -> tuple[str, bytes]:
        here = overview_json(await call.meter.overviews.overview(query))
        replies = await ask_reachable(call, Outgoing("GET", call.request.rel_url.raw_path_qs))
        elsewhere = [json_text.decode(reply.body) for reply in replies if reply.status == 200]
        shown = merged([here, *elsewhere], query.limit)
        return tag_of(shown), json_text.encode(shown)

    made = await call.api.overviews.of(query, make)
    headers = {"ETag": made.tag}
    if call.request.headers.get("If-None-Match") == made.tag:
        return Reply(b"", status=304, headers=headers)
    return Reply(made.body, headers=headers)


async def organizations(call: Call) -> Any:
    """Answer the organizations that an operator may choose; none for any other key."""
    call.asker.require("GET", "page")
    known = call.meter.definitions.organizations() if call.asker.operates else []
    return {"organizations": known[:_MAX_ORGANIZATIONS]}


class _DeadLetter(msgspec.Struct):
    partition: int
    offset: int


async def replay(call: Call) -> Any:
    """Append a dead letter's event anew; it counts at the next cut."""
    if PAGE_HEADER not in call.request.headers:
        raise forbidden("page_header_missing")
    organization_id = _page_organization(call, "POST")
    letter = json_text.decode_as(await call.body(), _DeadLetter)
    if letter.partition < 0 or letter.offset < 0:
        raise bad_request("partition and offset are never negative")
    place = (letter.partition, letter.offset)
    if not await call.meter.repairs.replay(organization_id, *place, call.key_name):
        raise not_found("dead_letter")
    return {"replayed": True}
