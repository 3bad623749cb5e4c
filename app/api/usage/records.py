"""`GET /usage_records`: what was published, as it lies on the topic, over all workers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import date
from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import web

from app.api.answering.call import Call, Reply
from app.api.answering.csv_text import asks_for_csv, check_format, csv_answer, csv_lines
from app.api.answering.peers import listed_by_all
from app.api.answering.streams import streamed
from app.api.http import json_text
from app.api.http.errors import FieldErrors, invalid
from app.billing_periods.instants import parse_iso8601_ms
from app.bounds.turns import Work
from app.meter.listing import Listed
from app.meter.records import Bound, RecordPlace, RecordQuery
from app.wire.instant_records import INSTANT_TYPES
from app.wire.record_rows import COLUMNS, row_of

_CLOSING_TYPES: Final = frozenset(("usage.recorded", "usage.revised", "period.completed"))


async def index(call: Call) -> Any:
    """List published records by subscription, newest period, cell and revision."""
    query, page = record_query(call), call.page

    async def show(found: Listed[RecordPlace]) -> Reply | web.StreamResponse:
        meta = page.meta(found.total_count)
        if asks_for_csv(call):
            return await csv_answer(call, _csv(call, found.places), meta)
        return await streamed(call, _json(call, found.places, meta))

    find = partial(call.meter.published.list_records, call.organization_id, query)
    work, name = Work("request", "records", call.organization_id), query.external_subscription_id
    return await listed_by_all(call, work, name, page, find, RecordPlace, show)


async def _json(
    call: Call, places: Sequence[RecordPlace], meta: object
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of the answer: the bytes of the topic, side by side."""
    opening = b'{"usage_records":['
    async with aclosing(call.meter.published.read_records(call.organization_id, places)) as read:
        async for values in read:
            yield opening + b",".join(values)
            opening = b","
    yield (b"" if places else opening) + b'],"meta":' + json_text.encode(meta) + b"}"


async def _csv(call: Call, places: Sequence[RecordPlace]) -> AsyncGenerator[bytes, None]:
    yield csv_lines([COLUMNS])
    async with aclosing(call.meter.published.read_records(call.organization_id, places)) as read:
        async for values in read:
            yield csv_lines(row_of(msgspec.json.decode(value)) for value in values)


def record_query(call: Call) -> RecordQuery:
    """Read which records are asked for. Raises 422."""
    query, errors = call.query, FieldErrors()
    kind = query.one_of("type", _CLOSING_TYPES | INSTANT_TYPES, errors)
    revisions = query.flag("revisions")
    if kind in INSTANT_TYPES and not revisions:
        # Only the topic has them.
        errors["type"] = ["only_with_revisions"]
    check_format(call, errors)
    since, until = _bound(call, "from", errors), _bound(call, "to", errors)
    call.page.check_depth(errors)
    if errors:
        raise invalid(errors)
    return RecordQuery(
        external_customer_id=query.text("external_customer_id"),
        external_subscription_id=query.text("external_subscription_id"),
        metric_code=query.text("billable_metric_code"),
        type=kind,
        since=since,
        until=until,
        revisions=revisions,
    )


def _bound(call: Call, name: str, errors: FieldErrors) -> Bound | None:
    """Read an instant, or a date that stands for its start in each period's timezone."""
    text = call.query.text(name)
    if text is None:
        return None
    at_ms = parse_iso8601_ms(text)
    if at_ms is None:
        errors[name] = ["invalid_date"]
        return None
    return date.fromisoformat(text) if len(text) == len("2026-10-01") else at_ms
