"""Current and past usage of a subscription (metering-semantics §6)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from app.api.answering.call import Call
from app.api.answering.csv_text import asks_for_csv, csv_answer, csv_lines, csv_parts
from app.api.answering.peers import forward, owner_elsewhere
from app.api.answering.streams import parts, streamed
from app.api.definitions.subscriptions import subscriptions_of
from app.api.http import json_text
from app.api.http.errors import ApiError, forbidden, invalid, not_allowed, not_found, unavailable
from app.api.http.query import Query
from app.api.usage.usage_json import (
    UsageSelection,
    current_usage_stream,
    past_usage_stream,
    projecting_usage,
    select_charges,
)
from app.bounds.turns import Work
from app.definitions.aggregation_types import AGGREGATION_TYPES
from app.meter.errors import TooManyGroups
from app.meter.usage import PastPeriod, PeriodUsage, Regrouping
from app.numbers import is_white_space, natural
from app.wire.answer_rows import USAGE_COLUMNS, usage_rows

WAIT_FOR_TIMEOUT_S = 5.0


def selection(query: Query) -> UsageSelection:
    """Read which charges the query asks for; of several names for one thing the newest counts."""
    return UsageSelection(
        charge_id=query.text("charge_id", "filter_by_charge_id"),
        charge_code=query.text("charge_code", "filter_by_charge_code"),
        billable_metric_code=query.text("billable_metric_code", "filter_by_metric_code"),
    )


def regrouping(query: Query) -> Regrouping:
    """Read how the query asks to see them grouped; a blank text asks for the null group."""
    chosen = {
        key: frozenset("" if is_white_space(text) else text for text in texts)
        for key, texts in query.choices(("group", "filter_by_group")).items()
    }
    return Regrouping(chosen, skip_grouping=query.flag("skip_grouping"))


async def current(call: Call) -> Any:
    """Answer the period that holds now."""
    return await _running(call)


async def projected(call: Call) -> Any:
    """Answer the same with what it comes to if it goes on as it did so far."""
    return await _running(call, projects=True)


async def _running(call: Call, *, projects: bool = False) -> Any:
    """Answer the period that holds now.

    Errors come in Lago's order: customer, subscription, the rest.
    """
    external_subscription_id = _active_subscription(call)
    if (owner := owner_elsewhere(call, external_subscription_id)) is not None:
        return await forward(call, owner)
    await _wait_for(call, external_subscription_id)
    name = (call.organization_id, external_subscription_id)
    presented_by = call.query.listed("filter_by_presentation")
    usage = await call.meter.usage.current_usage(*name, call.now_ms, presented_by)
    if usage is None:
        raise _no_usage(call)
    wanted, regrouped = selection(call.query), regrouping(call.query)
    if not projects and call.query.flag("full_usage"):
        _check_full_usage(usage, wanted, regrouped)
        regrouped = msgspec.structs.replace(regrouped, full=True)
    if wanted.names_charges and not select_charges(usage, wanted):
        raise not_found("charge")
    if regrouped.asks():
        regrouped = msgspec.structs.replace(regrouped, presented_by=presented_by)
        chosen = msgspec.structs.replace(usage, charges=select_charges(usage, wanted))
        try:
            usage = await call.meter.usage.regrouped_usage(chosen, regrouped, call.now_ms)
        except TooManyGroups:
            raise invalid({"full_usage": ["too_many_groups"]}) from None
    work = Work("request", "current_usage", *name)
    if projects:
        made = await call.api.turns.run(work, projecting_usage(usage, call.now_ms, wanted))
        body = {"customer_projected_usage": made}
    else:
        body = {"customer_usage": current_usage_stream(usage, wanted)}
    return await streamed(call, parts(call.api.turns, work, body))


def _active_subscription(call: Call) -> str:
    """Return the subscription asked for, unless the definitions alone rule it out.

    One that was never created may still be read as if on the implicit plan, by the customer of
    the same id.
    """
    external_customer_id = call.parameters["external_id"]
    external_subscription_id = call.query.text("external_subscription_id")
    if external_subscription_id is None:
        raise _no_usage(call)
    known = subscriptions_of(call, external_subscription_id)
    if not known and external_subscription_id == external_customer_id:
        return external_subscription_id
    now_ms = call.now_ms
    if not any(
        subscription.external_customer_id == external_customer_id
        and subscription.status_at(now_ms) == "active"
        for subscription in known
    ):
        raise _no_usage(call)
    return external_subscription_id


def _no_usage(call: Call) -> ApiError:
    definitions = call.meter.definitions
    if definitions.customer(call.organization_id, call.parameters["external_id"]) is None:
        return not_found("customer")
    return not_allowed("no_active_subscription")


def _check_full_usage(usage: PeriodUsage, wanted: UsageSelection, regrouped: Regrouping) -> None:
    """Raise 405 unless some charges are asked for, none of which depends on the period's length."""
    chosen = select_charges(usage, wanted)
    if not (wanted.names_charges or regrouped.group) or any(
        in_force.charge.prorated or AGGREGATION_TYPES[in_force.metric.aggregation_type].over_time
        for in_force in chosen
    ):
        raise not_allowed("full_usage_not_allowed")


async def past(call: Call) -> Any:
    """List the ended periods, newest first."""
    external_subscription_id = call.query.text("external_subscription_id")
    if external_subscription_id is None:
        raise invalid({"external_subscription_id": ["value_is_mandatory"]})
    metric_code = call.query.text("billable_metric_code")
    if metric_code is not None:
        _check_metric(call, metric_code)
    if (owner := owner_elsewhere(call, external_subscription_id)) is not None:
        return await forward(call, owner)
    await _wait_for(call, external_subscription_id)
    name, as_csv = (call.organization_id, external_subscription_id), asks_for_csv(call)
    customer_id, page = call.parameters["external_id"], call.page
    periods = await call.meter.usage.past_periods(*name, customer_id)
    periods = periods[: call.query.positive("periods_count", max(len(periods), 1))]
    shown = periods[page.offset : page.offset + page.per_page]
    wanted = UsageSelection(billable_metric_code=metric_code)
    meta = page.meta(len(periods))
    if as_csv:
        return await csv_answer(call, _past_csv(call, name, shown, wanted), meta)
    return await streamed(call, _past_text(call, name, shown, wanted, meta))


async def _past_text(
    call: Call,
    name: tuple[str, str],
    periods: Sequence[PastPeriod],
    wanted: UsageSelection,
    meta: object,
) -> AsyncGenerator[bytes, None]:
    """Yield one period after the other; each is computed when it is written."""
    opening, work = b'{"usage_periods":[', Work("request", "past_usage", *name)
    for period in periods:
        usage = await call.meter.usage.period_usage(*name, period)
        yield opening
        async for part in parts(call.api.turns, work, past_usage_stream(usage, wanted)):
            yield part
        opening = b","
    yield (b"" if periods else opening) + b'],"meta":' + json_text.encode(meta) + b"}"


async def _past_csv(
    call: Call, name: tuple[str, str], periods: Sequence[PastPeriod], wanted: UsageSelection
) -> AsyncGenerator[bytes, None]:
    """Yield a row for each cell of one period after the other."""
    yield csv_lines([USAGE_COLUMNS])
    work, customer_id = Work("request", "past_usage", *name), call.parameters["external_id"]
    for period in periods:
        usage = await call.meter.usage.period_usage(*name, period)
        rows = usage_rows(customer_id, name[1], [past_usage_stream(usage, wanted)])
        async for part in csv_parts(call, work, (), rows):
            yield part


def _check_metric(call: Call, code: str) -> None:
    if call.meter.definitions.metric(call.organization_id, code) is None:
        raise not_found("billable_metric")


async def _wait_for(call: Call, external_subscription_id: str) -> None:
    """Wait until the record of `?wait_for=partition:offset` is folded; raise 503 after 5 s."""
    text = call.query.text("wait_for")
    if text is None:
        return
    partition, offset = map(natural, text.partition(":")[::2])
    if partition is None or offset is None:
        raise invalid({"wait_for": ["invalid_format"]})
    if partition >= call.meter.ingest.partitions:
        # Nobody would ever fold it.
        raise invalid({"wait_for": ["value_is_out_of_range"]})
    name = (call.organization_id, external_subscription_id)
    if not await call.meter.ingest.wait_for(*name, partition, offset, WAIT_FOR_TIMEOUT_S):
        raise unavailable("not_folded_yet")


async def unpriced(_: Call) -> Any:
    """Refuse with 403: estimates, invoices and portals are the business of whoever prices usage."""
    raise forbidden("feature_unavailable")
