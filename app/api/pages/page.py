"""The page: its shell and files, its overview and dead letters as JSON."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from app import page as page_files
from app.api.answering.call import ORGANIZATION_HEADER, Call, Reply
from app.api.answering.peers import Outgoing, ask_reachable
from app.api.events import dead_letters, replays
from app.api.http.errors import forbidden, not_found
from app.api.overview.overview_json import SentOverview, merged, overview_json
from app.meter.overview import OverviewQuery
from app.page.figures import address

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
MAX_ORGANIZATIONS = 1_000
"""Organizations in the page's picker; a user can type the id of any other."""


@cache
def _page_file(name: str) -> bytes | None:
    file = files(page_files).joinpath("static", *name.split("/"))
    return file.read_bytes() if file.is_file() else None


async def shell(_: Call) -> Any:
    """Answer what every view of the page is shown in; it holds no figures."""
    return _static("index.html")


async def asset(call: Call) -> Any:
    """Answer a file of the page."""
    return _static(call.parameters["name"])


def _static(name: str) -> Reply:
    content_type = _CONTENT_TYPES.get(name.rpartition(".")[2])
    plain = name.removeprefix("vendor/").replace("-", "").replace(".", "").isalnum()
    content = _page_file(name) if content_type and plain else None
    if content is None or content_type is None:
        raise not_found("resource")
    return Reply(content, headers=_KEPT_BUT_ASKED_FOR, content_type=content_type)


def page_organization(call: Call, method: str) -> str | None:
    """Return the organization that the page may show; None: all, if an operator names none."""
    call.asker.require(method, "page")
    if not call.asker.operates:
        return call.asker.organization_id
    named = call.query.text("organization_id", "organization")
    return call.request.headers.get(ORGANIZATION_HEADER) or named


async def overview(call: Call) -> Any:
    """Answer the figures of the page, from all workers that can be reached."""
    limit = min(call.query.positive("limit", 200), _MAX_LINES)
    made = await shown(call, call.query.text("search") or "", limit)
    headers = {"ETag": made.tag}
    if call.request.headers.get("If-None-Match") == made.tag:
        return Reply(b"", status=304, headers=headers)
    return Reply(made.body, headers=headers)


async def shown(call: Call, search: str, limit: int) -> SentOverview:
    """Return the overview that all who look at the same are shown."""
    query = OverviewQuery(
        organization_id=page_organization(call, "GET"), search=search.strip(), limit=limit
    )

    async def make() -> SentOverview:
        here = overview_json(await call.meter.overviews.overview(query))
        asked = address(
            "api",
            "page",
            "overview",
            search=query.search,
            limit=str(limit),
            organization_id=query.organization_id,
        )
        replies = await ask_reachable(call, Outgoing("GET", asked))
        # Rates are added up and shown, so numbers are read as such, not kept as spelled.
        elsewhere = [msgspec.json.decode(reply.body) for reply in replies if reply.status == 200]
        return SentOverview(merged([here, *elsewhere], query.limit))

    shared = call.api.own_overviews if call.forwarded else call.api.overviews
    return await shared.of(query, make)


async def organizations(call: Call) -> Any:
    """Answer the organizations that an operator may choose; none for any other key."""
    call.asker.require("GET", "page")
    known = call.meter.definitions
    found = known.organizations(MAX_ORGANIZATIONS) if call.asker.operates else []
    return {"organizations": found}


async def letters(call: Call) -> Any:
    """List dead letters, those of nobody too for whoever may see all."""
    return await dead_letters.listed(call, page_organization(call, "GET"))


async def letter(call: Call) -> Any:
    """Answer one dead letter whole."""
    return await dead_letters.shown(call, page_organization(call, "GET"))


def writing_organization(call: Call) -> str | None:
    """Return the organization that the page may write for; None: any. Raises 403."""
    if PAGE_HEADER not in call.request.headers:
        raise forbidden("page_header_missing")
    return page_organization(call, "POST")


async def replay(call: Call) -> Any:
    """Replay dead letters; answer JSON lines, one a letter."""
    return await replays.answered(call, writing_organization(call))
