"""`GET …/usage/series`: usage of one metric by minute, hour, day or month in any timezone."""

from __future__ import annotations

from itertools import chain
from typing import Any, get_args

from app.api.answering.call import Call
from app.api.answering.csv_text import asks_for_csv, csv_answer, csv_parts
from app.api.answering.peers import forward, owner_elsewhere
from app.api.answering.streams import parts, streamed
from app.api.http.errors import FieldErrors, invalid
from app.api.usage.explain import check_customer, check_metric, check_shown, named
from app.api.usage.usage_json import as_of_json
from app.billing_periods.instants import iso_milliseconds
from app.billing_periods.timezones import is_timezone
from app.bounds.turns import Work
from app.meter.evidence import ChargeUsageSeries, SeriesQuery, UsageSeries, WindowName, WindowUsage
from app.numbers import plain
from app.wire.answer_rows import SERIES_COLUMNS, series_rows
from tables.reading.series import TooManyWindows, windows

Json = dict[str, Any]

MOST_WINDOWS = 1_500

_BACK_MS: dict[WindowName, int] = {
    "minute": 3_600_000,
    "hour": 86_400_000,
    "day": 30 * 86_400_000,
    "month": 365 * 86_400_000,
}
"""How far a series reaches back when it is not said."""


async def show(call: Call) -> Any:
    """Answer each window that the range meets, the first and last in full, used or not."""
    query = series_query(call)
    check_customer(call, query.external_subscription_id)
    if (owner := owner_elsewhere(call, query.external_subscription_id)) is not None:
        return await forward(call, owner)
    as_csv = asks_for_csv(call)
    check_metric(call, query.metric_code)
    series = await call.meter.evidence.series(call.organization_id, query)
    values = chain.from_iterable(charge.values for charge in series.charges)
    shows = any(value.units or value.events_count for value in values)
    check_shown(call, query.metric_code, shows=shows)
    shown = series_json(series, call.query.text("window") or "day", query.timezone)
    work = Work("request", "series", call.organization_id, query.external_subscription_id)
    if as_csv:
        return await csv_answer(call, csv_parts(call, work, SERIES_COLUMNS, series_rows(shown)))
    return await streamed(call, parts(call.api.turns, work, {"usage_series": shown}))


def series_query(call: Call) -> SeriesQuery:
    """Read what is wanted over time. Raises 422."""
    errors: FieldErrors = {}
    external_subscription_id, code = named(call, errors)
    name: WindowName = call.query.one_of("window", get_args(WindowName), errors) or "day"
    timezone = call.query.text("timezone") or _customer_timezone(call)
    if not is_timezone(timezone):
        errors["timezone"] = ["value_is_invalid"]
    until_ms = call.query.instant_ms("to", call.now_ms, errors)
    from_ms = call.query.instant_ms("from", max(0, until_ms - _BACK_MS[name]), errors)
    if not errors and from_ms >= until_ms:
        errors["from"] = ["must_be_before_to"]
    if errors:
        raise invalid(errors)
    try:
        wanted = windows(name, timezone, from_ms, until_ms, MOST_WINDOWS)
    except TooManyWindows as error:
        raise invalid({"window": [f"more_than_{MOST_WINDOWS}_windows"]}) from error
    except OverflowError as error:
        raise invalid({"to": ["value_is_out_of_range"]}) from error
    return SeriesQuery(
        external_subscription_id=external_subscription_id,
        metric_code=code,
        windows=tuple((window.start_ms, window.end_ms) for window in wanted),
        timezone=timezone,
    )


def _customer_timezone(call: Call) -> str:
    customer = call.meter.definitions.customer(call.organization_id, call.parameters["external_id"])
    return call.meter.definitions.timezone_of(call.organization_id, customer)


def series_json(series: UsageSeries, window: str, timezone: str) -> Json:
    """Return the `usage_series` object, its lists to be streamed."""
    return {
        "external_subscription_id": series.external_subscription_id,
        "billable_metric_code": series.metric_code,
        "aggregation_type": series.aggregation_type,
        "window": window,
        "timezone": timezone,
        "charges": (_charge(charge) for charge in series.charges),
        "as_of": as_of_json(series.as_of),
    }


def _charge(charge: ChargeUsageSeries) -> Json:
    return {
        "lago_charge_id": charge.charge_id,
        "charge_code": charge.charge_code,
        "values": (_value(value) for value in charge.values),
    }


def _value(value: WindowUsage) -> Json:
    return {
        "from": iso_milliseconds(value.from_ms),
        "until": iso_milliseconds(value.to_ms),
        "units": plain(value.units),
        "total_aggregated_units": plain(value.total_aggregated_units),
        "events_count": value.events_count,
    }
