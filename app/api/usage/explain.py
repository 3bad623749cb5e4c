"""`GET …/usage/explain`: the events behind a figure, and the figure computed from them anew."""

from __future__ import annotations

from itertools import chain
from typing import Any, get_args

from msgspec.structs import asdict

from app.api.answering.call import Call
from app.api.answering.csv_text import asks_for_csv, csv_answer, csv_parts
from app.api.answering.peers import forward, owner_elsewhere
from app.api.answering.streams import parts, streamed
from app.api.definitions.subscriptions import subscriptions_of
from app.api.events.trace import fate_json
from app.api.http.errors import FieldErrors, invalid, not_found
from app.api.http.query import Query
from app.api.usage.usage_json import as_of_json
from app.billing_periods.instants import iso_milliseconds, iso_seconds
from app.bounds.turns import Work
from app.meter.errors import NoSuchRevision
from app.meter.evidence import (
    NOT_SEARCHABLE,
    EventFate,
    ExplainedCell,
    ExplainQuery,
    Explanation,
    PendingFigures,
    Status,
)
from app.numbers import is_white_space, plain
from app.wire.answer_rows import EXPLAINED_COLUMNS, event_rows
from app.wire.refusals import check_range

Json = dict[str, Any]


async def show(call: Call) -> Any:
    """Explain one metric of one subscription in the period that holds `at`, by default now."""
    query = explain_query(call)
    check_customer(call, query.external_subscription_id)
    if (owner := owner_elsewhere(call, query.external_subscription_id)) is not None:
        return await forward(call, owner)
    as_csv = asks_for_csv(call)
    explanation = await explained(call, query)
    meta = call.page.meta(explanation.listed_count)
    work = Work("request", "explain", call.organization_id, query.external_subscription_id)
    if as_csv:
        events = map(_event, explanation.events)
        rows = chain.from_iterable(event_rows(each, EXPLAINED_COLUMNS) for each in events)
        return await csv_answer(call, csv_parts(call, work, EXPLAINED_COLUMNS, rows), meta)
    body = {"explanation": explanation_json(explanation, query), "meta": meta}
    return await streamed(call, parts(call.api.turns, work, body))


async def explained(call: Call, query: ExplainQuery) -> Explanation:
    """Return the explanation. Raises 404, 422."""
    check_metric(call, query.metric_code)
    try:
        explanation = await call.meter.evidence.explain(call.organization_id, query)
    except NoSuchRevision:
        raise invalid({"since_revision": ["not_published"]}) from None
    if explanation is None:
        raise not_found("usage_period")
    check_shown(call, query.metric_code, shows=bool(explanation.cells or explanation.counts))
    return explanation


def check_metric(call: Call, code: str) -> None:
    """Raise 404 if no metric ever had the code; one that is deleted may have counted."""
    if not call.meter.definitions.metric_history(call.organization_id, code):
        raise not_found("billable_metric")


def check_shown(call: Call, code: str, *, shows: bool) -> None:
    """Raise 404 if nothing is there of a metric that is deleted: as in Lago there is none."""
    if not shows and call.meter.definitions.metric(call.organization_id, code) is None:
        raise not_found("billable_metric")


def explain_query(call: Call) -> ExplainQuery:
    """Read what is to be explained. Raises 422."""
    errors: FieldErrors = {}
    external_subscription_id, code = named(call, errors)
    now_ms = call.now_ms
    at_ms = call.query.instant_ms("at", now_ms, errors)
    if check_range(at_ms, now_ms) is not None:
        # No event is dated so late, and every period before it would have to be made.
        errors["at"] = ["value_is_out_of_range"]
    since = call.query.text("since_revision")
    if since is not None and not (since.isascii() and since.isdecimal() and len(since) <= 9):
        errors["since_revision"] = ["value_is_invalid"]
    status: Status | None = call.query.one_of("status", get_args(Status), errors)
    breakdown = call.query.one_of("breakdown", ("days",), errors)
    reason = call.query.text("reason")
    if reason in NOT_SEARCHABLE:
        errors["reason"] = ["not_searchable"]
    page = call.page
    page.check_depth(errors)
    if errors:
        raise invalid(errors)
    return ExplainQuery(
        external_subscription_id=external_subscription_id,
        metric_code=code,
        at_ms=at_ms,
        charge_id=call.query.text("charge_id"),
        charge_code=call.query.text("charge_code"),
        group=wanted_group(call.query),
        offset=page.offset,
        limit=page.per_page,
        per_event=call.query.flag("per_event"),
        days=breakdown is not None,
        since_revision=None if since is None else int(since),
        status=status,
        reason=reason,
    )


def wanted_group(query: Query) -> dict[str, str]:
    """Read the values of the groups that are asked about; a blank text is the null group."""
    texts = query.mapping(("group",))
    return {key: "" if is_white_space(text) else text for key, text in texts.items()}


def named(call: Call, errors: FieldErrors) -> tuple[str, str]:
    """Return the subscription and the metric that are asked about; note those that are missing."""
    found = []
    for field in ("external_subscription_id", "billable_metric_code"):
        text = call.query.text(field)
        if text is None:
            errors[field] = ["value_is_mandatory"]
        found.append(text or "")
    return found[0], found[1]


def check_customer(call: Call, external_subscription_id: str) -> None:
    """Raise 404 unless the customer has the subscription.

    One never created is that of the customer of the same id.
    """
    external_customer_id = call.parameters["external_id"]
    known = subscriptions_of(call, external_subscription_id)
    if not known and external_subscription_id == external_customer_id:
        return
    if any(one.external_customer_id == external_customer_id for one in known):
        return
    if call.meter.definitions.customer(call.organization_id, external_customer_id) is None:
        raise not_found("customer")
    raise not_found("subscription")


def explanation_json(explanation: Explanation, query: ExplainQuery) -> Json:
    """Return the `explanation` object, its lists to be streamed."""
    return {
        "external_subscription_id": explanation.external_subscription_id,
        "billable_metric_code": explanation.metric_code,
        "from_datetime": iso_seconds(explanation.from_ms),
        "to_datetime": iso_seconds(explanation.to_ms),
        "timezone": explanation.timezone,
        "equal": explanation.equal,
        "since": None
        if explanation.since_ms is None
        else {"revision": query.since_revision, "cut": iso_milliseconds(explanation.since_ms)},
        "cells": (_cell(cell) | _lists(cell, query) for cell in explanation.cells),
        "counts": dict(explanation.counts),
        "events": (_event(fate) for fate in explanation.events),
        "as_of": as_of_json(explanation.as_of),
        "stale": explanation.stale,
    }


def _event(fate: EventFate) -> Json:
    """Return an event with the revision that has it, or the cut that will."""
    shown = fate_json(fate) | {"change": fate.change}
    for charge, outcome in zip(shown["charges"], fate.charges, strict=True):
        charge["revision"] = outcome.revision
        charge["cut"] = None if outcome.shown_ms is None else iso_milliseconds(outcome.shown_ms)
    return shown


def _cell(cell: ExplainedCell) -> Json:
    filters = cell.filter_values
    return {
        "lago_charge_id": cell.charge_id,
        "charge_code": cell.charge_code,
        "filters": None if filters is None else {key: list(of) for key, of in filters.items()},
        "grouped_by": dict(cell.grouped_by) or None,
        "live": asdict(cell.live),
        "recomputed": asdict(cell.recomputed),
        "equal": cell.equal,
        "published": None
        if cell.published is None
        else {"revision": cell.revision, **asdict(cell.published)},
        "pending": None if cell.pending is None else _pending(cell.pending),
    }


def _pending(pending: PendingFigures) -> Json:
    return {
        "cut": iso_milliseconds(pending.cut_ms),
        "events": pending.events,
        "delta_units": plain(pending.delta_units),
        "reasons": [pending.reason],
    }


def _lists(cell: ExplainedCell, query: ExplainQuery) -> Json:
    """Return what is added to a cell because the query asks for it."""
    added: Json = {}
    if query.per_event:
        lists = cell.per_event
        added["per_event"] = None if lists is None else asdict(lists)
    if query.days:
        for name, rows in (("days", cell.days), ("breakdown", cell.breakdown)):
            added[name] = None if rows is None else [asdict(row) for row in rows]
    return added
