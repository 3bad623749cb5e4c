"""Views that read events again: what makes a figure, what became of an event; its correction."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final

import msgspec

from app.api.answering.call import Call, Reply
from app.api.definitions.subscriptions import subscriptions_of
from app.api.events import corrections, trace
from app.api.events.event_reads import show as show_event
from app.api.events.verdicts import AskedEvent, verdicts_on
from app.api.http.errors import ApiError, not_found
from app.api.overview.overview_json import tag_of
from app.api.pages import page
from app.api.pages.page_views import (
    PTAG,
    Render,
    about_of,
    asked_for,
    carried,
    form,
    inside,
    json_of,
    named,
)
from app.api.usage.explain import explain_query, explained
from app.api.usage.explain import show as show_explanation
from app.meter.events import RawPosition
from app.page import corrections as corrections_html
from app.page import explain as explain_html
from app.page.downloads import ROWS
from app.page.figures import address
from app.page.html import Html

Json = dict[str, Any]

_OUTCOME_S: Final = 5.0
"""Seconds that what came of a correction is waited for."""
_AGAIN_S: Final = 0.25


def once(render: Render) -> Render:
    """Return what renders a view whose making reads events again: at no tick of a tab that has it.

    Its tag is of its address, so a tab that shows it is told that nothing has changed.
    """

    async def rendered(call: Call) -> Html | Reply:
        about = f"{inside(call).organization_id} {call.request.rel_url.raw_path_qs}"
        headers = {PTAG: tag_of(about.encode())}
        if call.request.headers.get(PTAG) == headers[PTAG]:
            return Reply(b"", status=304, headers=headers)
        made = await render(call)
        if isinstance(made, Reply):
            return (
                replace(made, headers={**made.headers, **headers}) if made.status == 200 else made
            )
        return Reply(made.encode(), headers=headers)

    return rendered


async def explain(call: Call, name: str) -> Html | Reply:
    """Show the events behind a figure."""
    code = call.parameters["code"]
    query = explain_query(asked_for(call, _explanation(call, name, name, code, per_page="50")))
    here = inside(call)
    found = await explained(here, query)
    if not (found.cells or found.counts or subscriptions_of(here, name)):
        # What nobody defined is not called empty.
        raise not_found("subscription")
    page_number = call.query.positive("page", 1)
    return explain_html.explain_view(found, query, carried(call), page_number)


def _explanation(call: Call, customer: str, name: str, code: str, **more: str) -> str:
    """Return where the API explains what the page is asked for."""
    groups = call.query.mapping(("group",))
    return address(
        "api",
        "v1",
        "customers",
        customer,
        "usage",
        "explain",
        external_subscription_id=name,
        billable_metric_code=code,
        at=call.query.text("at"),
        charge_code=call.query.text("charge"),
        since_revision=call.query.text("since_revision"),
        status=call.query.text("status"),
        reason=call.query.text("reason"),
        page=call.query.text("page"),
        **more,
        **{f"group[{key}]": value for key, value in groups.items()},
    )


async def explain_csv(call: Call) -> Any:
    """Answer the events behind a figure as CSV."""
    name, customer = named(call), about_of(call, named(call)).customer
    size = str(ROWS)
    code = call.query.text("code") or ""
    target = _explanation(call, customer, name, code, per_page=size, format="csv")
    return await show_explanation(asked_for(call, target, external_id=customer))


async def event(call: Call) -> Html | Reply:
    """Show what became of an event."""
    transaction_id = call.parameters["transaction_id"]
    subscription_id = call.query.text("subscription")
    path = ("api", "v1", "events", transaction_id)
    target = address(*path, "trace", external_subscription_id=subscription_id)
    asked = asked_for(call, target, transaction_id=transaction_id)
    found = json_of(await trace.show(asked))["trace"]
    asked = asked_for(call, address(*path), transaction_id=transaction_id)
    try:
        stored = json_of(await show_event(asked))["event"]
    except ApiError:
        stored = None
    return explain_html.event_view(found, stored, carried(call))


# A correction


async def correct(call: Call) -> Html | Reply:
    """Cancel or amend an event; say what came of it."""
    page.writing_organization(call)
    here, fields = inside(call), await form(call)

    def given(name: str) -> str:
        return fields.get(name, [""])[0]

    asked = AskedEvent(given("transaction_id"), given("subscription"))
    correction = corrections.Fields(
        asked.external_subscription_id, asked.transaction_id, given("operation")
    )
    if correction.operation == "amend":
        try:
            msgspec.json.decode(given("event"), type=dict[str, msgspec.Raw])
        except msgspec.DecodeError:
            return corrections_html.refused_part({"error_details": {"event": ["no JSON object"]}})
        correction.event = msgspec.Raw(given("event").encode())
    try:
        _, position = await corrections.append(here, correction)
    except ApiError as error:
        if error.status != 422:
            raise
        return corrections_html.refused_part(error.body)
    arrival = await _corrected(here, correction.operation, asked, position)
    again = address(
        "events",
        asked.transaction_id,
        subscription=asked.external_subscription_id,
        organization=carried(call),
    )
    return corrections_html.corrected_part(correction.operation, arrival, again)


async def _corrected(
    call: Call, operation: str, asked: AskedEvent, position: RawPosition
) -> Json | None:
    """Return an event as its correction left it; None: that is not known yet."""
    clock = asyncio.get_running_loop().time
    until_s = clock() + _OUTCOME_S
    while True:
        (verdict,) = await verdicts_on(call, [asked])
        arrival: Json | None = verdict["event"]
        if arrival is not None and _is_done(operation, arrival, position):
            return arrival
        if clock() > until_s:
            return None
        await asyncio.sleep(_AGAIN_S)


def _is_done(operation: str, arrival: Json, position: RawPosition) -> bool:
    if operation == "cancel":
        return bool(arrival["status"] == "cancelled")
    by = arrival["corrected_by"]
    return by is not None and (by["partition"], by["offset"]) == (
        position.partition,
        position.offset,
    )
