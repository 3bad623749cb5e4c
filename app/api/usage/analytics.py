"""`GET /analytics/usage`: what days, weeks or months added, from the daily records of all."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from heapq import merge
from itertools import groupby
from typing import Any, get_args
from urllib.parse import urlencode

from app.api.answering.call import Call
from app.api.answering.peers import Outgoing, ask_places, forward, owner_elsewhere
from app.api.answering.streams import parts, streamed
from app.api.http.errors import FieldErrors, forbidden, invalid
from app.bounds.turns import Work
from app.meter.usage import AnalyticsQuery, AnalyticsRow, Granularity
from app.numbers import EXACT, plain
from tables.reading.analytics import window_start

Json = dict[str, Any]

MOST_WINDOWS = 366
DEFAULT_DAYS = 30

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CHOICES = (
    "currency",
    "external_customer_id",
    "external_subscription_id",
    "plan_code",
    "billable_metric_code",
)


async def usage(call: Call) -> Any:
    """Answer one row for each window, metric and currency that some day added to."""
    if not call.meter.definitions.settings_at().daily_records:
        raise forbidden("feature_unavailable")
    query = _query(call)
    external_id = query.external_subscription_id
    if external_id is not None and (owner := owner_elsewhere(call, external_id)) is not None:
        return await forward(call, owner)
    rows = await call.meter.usage.analytics(call.organization_id, query)
    work, of_all = Work("request", "analytics", call.organization_id), [iter(rows)]
    body: Json = {"usages": (_json(call, query, row) for row in _added(of_all))}
    if external_id is None and call.forwarded:
        body = {"places": (row for row in rows), "total_count": len(rows)}
    elif external_id is None:
        asked = Outgoing("GET", f"/api/v1/analytics/usage?{_text_of(query)}")
        of_all += (await ask_places(call, asked, AnalyticsRow, work))[0]
    return await streamed(call, parts(call.api.turns, work, body))


def _added(of_all: Sequence[Iterator[AnalyticsRow]]) -> Iterator[AnalyticsRow]:
    """Add up the rows of workers, each in order, one at a time: there may be very many."""
    for (start, code, currency), rows in groupby(merge(*of_all), key=lambda row: row[:3]):
        units = reduce(EXACT.add, (row.units for row in rows))
        yield AnalyticsRow(start, code, currency, units)


def _query(call: Call) -> AnalyticsQuery:
    errors: FieldErrors = {}
    known = get_args(Granularity)
    granularity: Granularity = call.query.one_of("time_granularity", known, errors) or "daily"
    today = datetime.fromtimestamp(call.now_ms / 1000, UTC).date()
    to_date = _day(call, "to_date", today, errors)
    first = to_date - timedelta(days=min(DEFAULT_DAYS, to_date.toordinal()) - 1)
    from_date = _day(call, "from_date", first, errors)
    if not errors and _windows(from_date, to_date, granularity) > MOST_WINDOWS:
        errors["from_date"] = ["range_too_wide"]
    recurring = call.query.checked_flag("is_billable_metric_recurring", errors)
    if errors:
        raise invalid(errors)
    chosen = {name: call.query.text(name) for name in _CHOICES}
    return AnalyticsQuery(
        granularity=granularity,
        from_date=from_date,
        to_date=to_date,
        recurring=recurring,
        **chosen,
    )


def _day(call: Call, name: str, default: date, errors: FieldErrors) -> date:
    text = call.query.text(name)
    if text is None:
        return default
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    errors[name] = ["invalid_date"]
    return default


def _windows(first: date, last: date, granularity: Granularity) -> int:
    """Return how many windows a range meets."""
    start, end = (window_start(day, granularity) for day in (first, last))
    if granularity == "monthly":
        return (end.year - start.year) * 12 + end.month - start.month + 1
    return (end - start).days // (7 if granularity == "weekly" else 1) + 1


def _text_of(query: AnalyticsQuery) -> str:
    """Return the query as another worker is asked: its clock may show another day."""
    asked: dict[str, str] = {
        "time_granularity": query.granularity,
        "from_date": query.from_date.isoformat(),
        "to_date": query.to_date.isoformat(),
    }
    asked |= {name: text for name in _CHOICES if (text := getattr(query, name)) is not None}
    if query.recurring is not None:
        asked["is_billable_metric_recurring"] = str(query.recurring).lower()
    return urlencode(asked)


def _json(call: Call, query: AnalyticsQuery, row: AnalyticsRow) -> Json:
    metric = call.meter.definitions.metric(call.organization_id, row.code)
    return {
        "organization_id": call.organization_id,
        "start_of_period_dt": row.start.isoformat(),
        "end_of_period_dt": _last_day(row.start, query.granularity).isoformat(),
        "amount_currency": row.currency,
        "amount_cents": 0,
        "billable_metric_code": row.code,
        "units": plain(row.units),
        "is_billable_metric_deleted": metric is None,
    }


def _last_day(start: date, granularity: Granularity) -> date:
    if granularity == "weekly":
        return start + timedelta(days=6)
    if granularity == "monthly":
        return start.replace(day=monthrange(start.year, start.month)[1])
    return start
