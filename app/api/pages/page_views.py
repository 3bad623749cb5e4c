"""Fragments of the page: what its views show, as HTML made on the worker that knows it.

A fragment has a tag of its content. A tab that shows it already gets 304.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from yarl import URL

from app.api.answering.call import Call, Reply
from app.api.answering.peers import forward, owner_elsewhere, value_of
from app.api.answering.router import Handler
from app.api.answering.streams import parts_of
from app.api.definitions.subscriptions import subscriptions_of
from app.api.events import dead_letters, not_counted, replays
from app.api.http import json_text
from app.api.http.errors import ApiError, bad_request, invalid, not_found
from app.api.overview.overview_json import tag_of
from app.api.pages import page
from app.api.usage import records, series
from app.billing_periods.instants import iso_milliseconds
from app.bounds.turns import Work
from app.meter.errors import Unavailable
from app.meter.overview import DeadLetterQuery
from app.meter.usage import PastPeriod, PeriodUsage
from app.page import dead_letters as letters_html
from app.page import not_counted as not_counted_html
from app.page import published as published_html
from app.page import replays as replays_html
from app.page import series as series_html
from app.page import subscription as subscription_html
from app.page.downloads import ROWS
from app.page.figures import address
from app.page.html import Html
from app.page.messages import choose_organization, refusal
from app.page.overview import Look, overview_view
from app.wire.record_rows import COLUMNS, row_of

PTAG: Final = "HX-PTag"
_HOURS_MS: Final = 60 * 86_400_000
"""The end of a closed period that is shown by the hour: no answer has more than 1,500 windows."""
_HTML: Final = "text/html; charset=utf-8"
_ASKED_AGAIN: Final = (401, 429, 503)
"""Statuses that the shell tells in words."""
_LINES: Final = 200
_FIELDS: Final = 1_000
_RECORDS: Final = 200
_LETTERS_NUMBERED: Final = 1_000
_KINDS: Final = 100
"""What was not counted, by reason and code: a row with its samples takes 0.2 ms."""

Render = Callable[[Call], Coroutine[Any, Any, Html | Reply]]


def fragment(render: Render) -> Handler:
    """Return the handler of a fragment: what is refused is told in words as well."""

    async def handler(call: Call) -> Reply:
        status = 200
        try:
            made = await render(call)
        except ApiError as error:
            if error.status in _ASKED_AGAIN:
                raise
            made, status = refusal(error.status, error.body), error.status
        if isinstance(made, Reply):
            if made.status in _ASKED_AGAIN:
                raise Unavailable(f"a worker answered {made.status}")
            body, status = made.body, made.status
        else:
            body = made.encode()
        tag = tag_of(body)
        headers = {PTAG: tag, **(made.headers if isinstance(made, Reply) else {})}
        if status == 200 and call.request.headers.get(PTAG) == tag:
            return Reply(b"", status=304, headers=headers)
        return Reply(body, status, headers, _HTML)

    return handler


def only_organization(call: Call) -> str | None:
    """Return the only organization that there is, as definitions say; None: there are others."""
    known = call.meter.definitions.organizations(2)
    return known[0] if len(known) == 1 else None


def _shown(call: Call) -> str | None:
    """Return the organization that is shown; None: an operator has to choose one first."""
    return page.page_organization(call, call.request.method) or only_organization(call)


def inside(call: Call) -> Call:
    """Return the call as one of the organization that is shown. Raises 422 if none is chosen."""
    organization_id = _shown(call)
    if organization_id is None:
        raise invalid({"organization_id": ["value_is_mandatory"]})
    return call.within(organization_id)


def of_one(render: Render) -> Handler:
    """Return the handler of a fragment that shows one organization."""

    async def rendered(call: Call) -> Html | Reply:
        if _shown(call) is None:
            known = call.meter.definitions.organizations(page.MAX_ORGANIZATIONS)
            return choose_organization(
                known, call.request.rel_url.raw_path.removeprefix("/page/view")
            )
        return await render(call)

    return fragment(rendered)


def carried(call: Call) -> str | None:
    """Return the organization that addresses name; None: there is no other to ask for."""
    organization_id = inside(call).organization_id
    named = call.asker.operates and organization_id != only_organization(call)
    return organization_id if named else None


def asked_for(call: Call, target: str, **parameters: str) -> Call:
    """Return a call of the API, of the organization that is shown."""
    request = call.request.clone(rel_url=URL(target, encoded=True))
    return replace(inside(call), request=request, parameters=parameters)


def at_owner(render: Callable[[Call, str], Coroutine[Any, Any, Html | Reply]]) -> Render:
    """Return what renders a view of the subscription that is named, on the worker that has it."""

    async def rendered(call: Call) -> Html | Reply:
        name = call.parameters.get("external_id") or named(call)
        owner = owner_elsewhere(inside(call), name)
        return await (render(call, name) if owner is None else forward(call, owner))

    return rendered


# Overview


async def overview(call: Call) -> Html | Reply:
    """Show health, subscriptions, what waits and what was not counted."""
    look = Look(
        search=(call.query.text("search") or "").strip(),
        organization=call.query.text("organization"),
        operates=call.asker.operates,
        only=only_organization(call) if call.asker.operates else None,
        sort=call.query.text("sort") or "",
    )
    made = await page.shown(call, look.search, _LINES)
    known = made.fragments.get(look)
    if known is None:
        html = overview_view(made.overview, look).encode()
        known = made.fragments[look] = tag_of(html), html
    return Reply(known[1])


# A subscription


async def subscription(call: Call, name: str) -> Html | Reply:
    """Show a period of a subscription."""
    here = inside(call)
    about = about_of(call, name)
    closed = await here.meter.usage.past_periods(here.organization_id, name, about.customer)
    window = call.query.text("window") or "day"
    wanted = subscription_html.PageChoice(
        call.query.text("period"),
        call.query.text("charge"),
        call.query.text("metric"),
        window if window in subscription_html.WINDOWS else "day",
    )
    usage = await _usage(here, name, closed, wanted.period)
    return subscription_html.subscription_view(about, usage, closed, wanted)


def about_of(call: Call, name: str) -> subscription_html.About:
    here, definitions = inside(call), call.meter.definitions
    organization_id, now_ms = here.organization_id, call.now_ms
    known = subscriptions_of(here, name)
    if not known:
        return _implicit(call, name)
    now = next((s for s in known if s.status_at(now_ms) == "active"), known[0])
    customer = definitions.customer(organization_id, now.external_customer_id)
    plan = definitions.plan_by_id(now.plan_id)
    return subscription_html.About(
        name,
        carried(call),
        now.external_customer_id,
        "deleted" if plan is None else f"{plan.name} ({plan.interval})",
        definitions.timezone_of(organization_id, customer),
        now.status_at(now_ms),
        now.started_at_ms,
    )


def _implicit(call: Call, name: str) -> subscription_html.About:
    """Return what is said of a subscription that nobody created, but that may have events."""
    definitions, organization_id = call.meter.definitions, inside(call).organization_id
    customer = definitions.customer(organization_id, name)
    zone = definitions.timezone_of(organization_id, customer)
    plan = "the implicit one, which is not billed"
    return subscription_html.About(name, carried(call), name, plan, zone, "never created", None)


async def _usage(
    here: Call, name: str, closed: list[PastPeriod], begins: str | None
) -> PeriodUsage | None:
    usage, organization_id = here.meter.usage, here.organization_id
    if not begins:
        found = await usage.current_usage(organization_id, name, here.now_ms)
        if found is None and not subscriptions_of(here, name):
            raise not_found("subscription")
        return found
    for past in closed:
        if subscription_html.begins_on(past) == begins:
            return await usage.period_usage(organization_id, name, past)
    raise not_found("usage_period")


async def past(call: Call, name: str) -> Html | Reply:
    """Show closed periods of a subscription."""
    here, about = inside(call), about_of(call, name)
    size, number = subscription_html.PERIODS_OF_A_PAGE, call.query.positive("page", 1)
    closed = await here.meter.usage.past_periods(here.organization_id, name, about.customer)
    shown = closed[(number - 1) * size : number * size]
    usages = [
        await here.meter.usage.period_usage(here.organization_id, name, each) for each in shown
    ]
    return subscription_html.past_part(about, usages, number, len(closed) > number * size)


async def usage_series(call: Call, name: str) -> Reply:
    """Show usage of a metric over time."""
    about, window = about_of(call, name), call.query.text("window") or "day"
    target = address(
        "api",
        "v1",
        "customers",
        about.customer,
        "usage",
        "series",
        external_subscription_id=name,
        billable_metric_code=call.query.text("metric"),
        window=window,
        **await _of_period(call, name, about.customer),
    )
    query = series.series_query(asked_for(call, target, external_id=about.customer))
    organization_id = inside(call).organization_id
    found = await call.meter.evidence.series(organization_id, query)
    work = Work("request", "series", organization_id, name)
    made = map(str.encode, series_html.series_part(found, window, query.timezone))
    return Reply(b"".join([part async for part in parts_of(call.api.turns, work, made)]))


async def _of_period(call: Call, name: str, customer: str) -> dict[str, str]:
    """Return the bounds of the closed period that is shown; none: the latest windows are."""
    here, begins = inside(call), call.query.text("period")
    if not begins:
        return {}
    for past in await here.meter.usage.past_periods(here.organization_id, name, customer):
        if subscription_html.begins_on(past) == begins:
            from_ms, to_ms = past.period.start_ms, past.period.to_ms
            if call.query.text("window") == "hour":
                from_ms = max(from_ms, to_ms - _HOURS_MS)
            return {"from": iso_milliseconds(from_ms), "to": iso_milliseconds(to_ms)}
    return {}


async def published(call: Call, name: str) -> Html | Reply:
    """Show what was published of a period."""
    here, period = inside(call), call.query.text("period") or ""
    query = records.record_query(asked_for(call, _records_of(name, period)))
    found = await here.meter.published.list_records(here.organization_id, query, 0, _RECORDS)
    rows: list[dict[str, str]] = []
    read = here.meter.published.read_records(here.organization_id, found.places)
    async with aclosing(read):
        async for some in read:
            rows += (dict(zip(COLUMNS, row_of(msgspec.json.decode(v)), strict=True)) for v in some)
    return published_html.records_part(about_of(call, name), rows, found.total_count, period)


def _records_of(name: str, period: str, **more: str) -> str:
    """Return where the API lists the records of the period that begins on a date."""
    asked = {"external_subscription_id": name, "revisions": "true", **more}
    return address(
        "api", "v1", "usage_records", **asked, **{"from": period, "to": _day_after(period)}
    )


def _day_after(text: str) -> str | None:
    try:
        return (date.fromisoformat(text) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        return None


async def records_csv(call: Call) -> Any:
    """Answer what was published of a period as CSV."""
    target = _records_of(
        named(call),
        call.query.text("period") or "",
        format="csv",
        per_page=str(ROWS),
        page=call.query.text("page") or "1",
    )
    return await records.index(asked_for(call, target))


def named(call: Call) -> str:
    name = call.query.text("subscription")
    if name is None:
        raise not_found("subscription")
    return name


def json_of(answer: Any) -> Any:
    """Return an answer of the API as JSON, wherever it was made."""
    if isinstance(answer, Reply):
        if 400 <= answer.status < 500:
            raise not_found("event")
        return value_of(answer)
    return json_text.decode(json_text.encode(answer))


# What was not counted, and what was refused


async def not_counted_events(call: Call) -> Html | Reply:
    """Show what no charge counted."""
    reason, code = call.query.text("reason"), call.query.text("code")
    target = address("api", "v1", "events", "not_counted", reason=reason, code=code)
    answer = await not_counted.index(asked_for(call, target))
    found = answer["not_counted"]
    shown = json_of({**answer, "not_counted": found[:_KINDS]})
    return not_counted_html.not_counted_view(shown, len(found), reason, code, carried(call))


async def letters(call: Call) -> Html | Reply:
    """Show the newest dead letters; an operator sees those of every organization."""
    organization_id = page.page_organization(call, "GET")
    code, chosen = call.query.text("code"), call.query.text("organization")
    if call.query.text("before") is None:
        newest = call.meter.repairs.dead_letters(organization_id)
        begun = None
        stopped = dead_letters.cursor_text(dead_letters.cursor(call.query.text("from")))
        if code and stopped:
            begun = replays_html.stopped_part(code, stopped, chosen)
        older = dead_letters.NEWEST
        return letters_html.letters_view(newest, code, chosen, older, begun=begun)
    found = await dead_letters.page_of(call, organization_id)
    older = dead_letters.cursor_text(found.before) or ""
    return letters_html.letters_view(found.letters, code, chosen, older, of_topic=True)


async def letter(call: Call) -> Html | Reply:
    """Show a dead letter whole."""
    organization_id = page.page_organization(call, "GET")
    found = await dead_letters.found_letter(call, organization_id)
    return letters_html.letter_view(found, call.query.text("organization"))


async def ask_replay(call: Call) -> Html | Reply:
    """Ask whether all letters of a code are to be replayed, and say how many there are."""
    organization_id = page.page_organization(call, "GET")
    code = call.query.text("code") or ""
    query = DeadLetterQuery(
        organization_id=organization_id, code=code, most=_LETTERS_NUMBERED, to_replay=True
    )
    found = await call.meter.repairs.letters_before(query)
    number, are_all = len(found.letters), found.before is None
    chosen = call.query.text("organization")
    return replays_html.question_part(code, number, chosen, are_all=are_all)


async def replay_letters(call: Call) -> Html | Reply:
    """Replay the letters that are marked, or a page of a code; show what became of each."""
    organization_id = page.writing_organization(call)
    chosen, fields = call.query.text("organization"), await form(call)
    code = fields.get("code", [""])[0]
    if not code:
        places = [replays.place_of(text) for text in fields.get("place", [])]
        outcomes = await replays.replayed(call, organization_id, places[: replays.AT_ONCE])
        return replays_html.outcomes_part(outcomes, chosen)
    before = dead_letters.cursor(fields.get("before", [None])[0])
    made = await replays.step(
        call, organization_id, replays.ReplayRequest(code=code, before=before)
    )
    sums = replays_html.sums_of(fields.get("sum", []))
    rest = dead_letters.cursor_text(made.before)
    return replays_html.step_part(made.outcomes, code, sums, rest, chosen)


async def form(call: Call) -> dict[str, list[str]]:
    """Return the fields of a form that was sent."""
    text = (await call.body()).decode("utf-8", "replace")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError as error:
        raise bad_request(f"a form has at most {_FIELDS} fields") from error
