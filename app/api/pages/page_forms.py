"""Metrics and plans on the page: lists, the form of a metric, its trial, preview and saving."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec

from app.api.answering.call import Call, Reply, rejected
from app.api.answering.peers import Outgoing, ask
from app.api.answering.router import Handler
from app.api.definitions import metrics, plans
from app.api.definitions.definitions_json import metric_json
from app.api.definitions.history import metric_ids
from app.api.events import not_counted
from app.api.http import json_text
from app.api.http.errors import ApiError, invalid, not_found
from app.api.pages import page
from app.api.pages.page_views import asked_for, carried, form, inside, json_of
from app.billing_periods.instants import parse_iso8601_ms
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import Metric
from app.definitions.outcome import Rejected
from app.expressions import EvaluationFailed, InvalidExpression, check_size, parse
from app.meter.errors import Unavailable
from app.meter.events import EventQuery, StoredEvent
from app.meter.evidence import PreviewedCell, PreviewReport
from app.numbers import plain
from app.page import definitions as definitions_html
from app.page import metric_form
from app.page.figures import address
from app.page.html import Html, el, markup
from app.page.metric_form import Filled
from app.page.not_counted import UncountedLine, counts_at_once
from app.page.previewed import Previewed, preview_part, saved_part

Json = dict[str, Any]

_CHANGES: Final = 200
"""Records of the definitions log that are looked at for the latest changes."""
_CHANGES_SHOWN: Final = 20
_LISTED: Final = "200"
"""Metrics and plans that the list shows."""
_EXAMPLES: Final = 10
_EXAMPLE_CHARACTERS: Final = 2_000
_MOST_CELLS: Final = 5_000
"""Changed figures that a preview keeps."""
RETARGETED: Final = {"HX-Retarget": "#metric", "HX-Reswap": "innerHTML"}


async def definitions(call: Call) -> Html | Reply:
    """List metrics and plans, with who uses them."""
    listed = await _listed(call, "billable_metrics", metrics.index)
    all_plans = await _listed(call, "plans", plans.index)
    uncounted = await _uncounted(call)
    return definitions_html.definitions_view(listed, all_plans, uncounted, carried(call))


async def changes(call: Call) -> Html | Reply:
    """List who changed what lately; it is read from the log, so not at every tick."""
    here = inside(call)
    since = max(here.meter.definitions.offset - _CHANGES, 0)
    found, _ = await here.meter.definer.changes(here.organization_id, since)
    return definitions_html.changes_part(list(reversed(found))[:_CHANGES_SHOWN])


async def _listed(call: Call, what: str, index: Handler) -> list[Json]:
    """Return the newest objects of a list of the API."""
    asked = asked_for(call, address("api", "v1", what, per_page=_LISTED))
    found: list[Json] = json_of(await index(asked))[what]
    return found


async def _uncounted(call: Call) -> UncountedLine:
    """Return how many events of each code no charge counted."""
    target = address("api", "v1", "events", "not_counted")
    answer = await not_counted.index(asked_for(call, target))
    counts: Counter[str] = Counter()
    for one in answer["not_counted"]:
        counts[one["code"]] += one["events_count"]
    return UncountedLine(counts, answer["since"])


async def plan(call: Call) -> Html | Reply:
    """Show a plan with its charges."""
    code = call.parameters["code"]
    asked = asked_for(call, address("api", "v1", "plans", code), code=code)
    return definitions_html.plan_view(json_of(await plans.show(asked))["plan"], carried(call))


# The form of a metric


async def new_metric(call: Call) -> Html | Reply:
    """Show the form of a metric that there is not yet."""
    code = call.query.text("code") or ""
    return metric_form.metric_view(Filled(name=code, code=code), carried(call), is_new=True)


async def metric(call: Call) -> Html | Reply:
    """Show the form of a metric that there is."""
    here = inside(call)
    known = here.meter.definitions
    found = known.metric(here.organization_id, call.parameters["code"])
    if found is None:
        raise not_found("billable_metric")
    using = known.families_using(found.id)
    charges = [
        {"plan": plan.code, "code": charge.code, "charge_model": charge.charge_model}
        for plan in map(known.plan_by_id, using)
        if plan is not None
        for charge in plan.charges
        if charge.metric_id == found.id
    ]
    answer = metric_json(known, found, here.now_ms)
    return metric_form.metric_view(
        _filled(found),
        carried(call),
        is_new=False,
        locked=bool(using),
        used=definitions_html.metric_used(found, answer, charges, carried(call)),
    )


def _filled(found: Metric) -> Filled:
    precision = found.rounding_precision
    return Filled(
        name=found.name,
        code=found.code,
        description=found.description or "",
        aggregation_type=found.aggregation_type,
        field_name=found.field_name or "",
        recurring=found.recurring,
        rounding_function=found.rounding_function or "",
        rounding_precision="" if precision is None else str(precision),
        expression=found.expression or "",
        filters=tuple((each.key, "\n".join(sorted(each.values))) for each in found.filters),
    )


async def _sent(call: Call) -> tuple[Filled, bool, bool]:
    """Return what the form holds, whether the metric is new, and whether a plan uses it."""
    page.writing_organization(call)
    filled, here = Filled.of_form(await form(call)), inside(call)
    known = here.meter.definitions
    found = known.metric(here.organization_id, filled.code)
    is_new = call.query.flag("new")
    return filled, is_new, not is_new and found is not None and bool(known.families_using(found.id))


async def add_filter(call: Call) -> Html | Reply:
    """Show the form with one filter more."""
    filled, is_new, locked = await _sent(call)
    more = filled._replace(filters=(*filled.filters, ("", "")))
    return metric_form.form(more, carried(call), is_new, locked, {})


async def try_expression(call: Call) -> Html | Reply:
    """Show what the expression gives for the example, or where it goes wrong."""
    fields = await form(call)
    text = (fields.get("expression") or [""])[-1]
    if not text.strip():
        return markup("Type an expression to try it on the example.")
    try:
        check_size(text)
        expression = parse(text)
    except InvalidExpression as error:
        return _wrong("The expression is wrong", error)
    try:
        event = msgspec.json.decode((fields.get("example") or ["{}"])[-1], type=_Example)
    except msgspec.MsgspecError as error:
        return _wrong("The example is no event", error)
    try:
        properties = {name: bytes(raw) for name, raw in event.properties.items()}
        as_lago = call.meter.definitions.settings_at().writes_as_lago
        value = expression.evaluate(event.code, call.now_ms, properties, as_lago=as_lago)
    except EvaluationFailed as error:
        return _wrong("It has no value for this event", error)
    shown = value if isinstance(value, str) else plain(value)
    return markup("The value is ", el("strong", shown[:1_000]), ".")


async def examples(call: Call) -> Html | Reply:
    """Show the newest events of the code to choose an example from."""
    filled, is_new, _ = await _sent(call)
    here = inside(call)
    query = EventQuery(code=filled.code)
    found = await here.meter.events.list_events(here.organization_id, query, 0, _EXAMPLES)
    texts: list[str] = []
    async for events in here.meter.events.read_events(found.places):
        texts += (_text_of(event) for event in events)
    return metric_form.examples_part(texts, _step(call, "example", is_new))


def _text_of(event: StoredEvent) -> str:
    shown = {"code": event.code, "properties": msgspec.Raw(event.properties)}
    return json_text.encode(shown).decode()[:_EXAMPLE_CHARACTERS]


def _step(call: Call, name: str, is_new: bool) -> str:
    new = "yes" if is_new else None
    return address("page", "metric", name, organization=carried(call), new=new)


async def example(call: Call) -> Html | Reply:
    """Show the event that was chosen, and try the expression on it."""
    text = ((await form(call)).get("chosen") or [""])[-1]
    source = _step(call, "try", call.query.flag("new"))
    return metric_form.example_field(text or "{}", source, at_once=True)


class _Example(msgspec.Struct):
    code: str = ""
    properties: dict[str, msgspec.Raw] = {}


def _wrong(what: str, error: Exception) -> Html:
    told = [str(error), *([str(error.__cause__)] if error.__cause__ else [])]
    return el("span", f"{what}: {' '.join(' '.join(told).split())[:500]}", class_="bad")


# What a change makes


async def preview(call: Call) -> Html | Reply:
    """Show what the change would make of usage, running and published."""
    filled, is_new, locked = await _sent(call)
    here = inside(call)
    body = filled.body(locked=locked)
    command = _command(here, filled.code, body, is_new)
    previewed = await preview_of(here, command, {"billable_metric": body})
    if isinstance(previewed, Rejected):
        return _refused(call, filled, is_new, locked, rejected(previewed))
    fresh = counts_at_once(await _uncounted(call), filled.code) if is_new else None
    return preview_part("metric", previewed, fresh, carried(call), is_new)


def _command(here: Call, code: str, body: Json, is_new: bool) -> Command:
    organization_id = here.organization_id
    if is_new:
        return commands.create_billable_metric(organization_id, body)
    return commands.update_billable_metric(organization_id, code, body)


def _refused(
    call: Call, filled: Filled, is_new: bool, locked: bool, error: ApiError
) -> Html | Reply:
    """Return the form again, with what is wrong at its fields."""
    errors = refusals(error, "metric")
    again = metric_form.form(filled, carried(call), is_new, locked, errors)
    return Reply(again.encode(), headers=RETARGETED)


def refusals(error: ApiError, what: str) -> Mapping[str, list[str]]:
    """Return what is wrong, by field."""
    details = error.body.get("error_details")
    return details if isinstance(details, dict) else {what: [str(error.body.get("code"))]}


async def preview_of(here: Call, command: Command, change: Json) -> Previewed | Rejected:
    """Return what all workers say of a change: a command, and the object that the API takes."""
    organization_id, until_ms = here.organization_id, here.now_ms + 1
    reports = await here.meter.evidence.preview(organization_id, [command], 0, until_ms)
    if isinstance(reports, Rejected):
        return reports
    cells: list[PreviewedCell] = []
    pairs, skipped, missing = 0, 0, list[str]()
    peers = here.meter.routing.peers()
    target = Outgoing("POST", "/api/v1/preview", json_text.encode({"changes": [change]}))
    others = [asyncio.ensure_future(_of_peer(here, peer, target)) for peer in peers]
    async with aclosing(reports):
        async for report in reports:
            cells += report.cells[: _MOST_CELLS - len(cells)]
            pairs, skipped = report.pairs, skipped + len(report.skipped)
    for peer, other in zip(peers, others, strict=True):
        told = await other
        if told is None:
            missing.append(peer)
            continue
        for report in told:
            cells += report.cells[: _MOST_CELLS - len(cells)]
            skipped += len(report.skipped)
        pairs += told[-1].pairs if told else 0
    cells.sort(key=lambda c: (c.external_customer_id, c.external_subscription_id, c.period_from))
    return Previewed(cells, pairs, skipped, missing)


async def _of_peer(here: Call, peer: str, target: Outgoing) -> Sequence[PreviewReport] | None:
    """Return the reports of another worker; None: it did not tell everything."""
    try:
        reply = await ask(here, peer, target)
        lines = reply.body.splitlines()[1:]
        reports = [msgspec.json.decode(line, type=PreviewReport) for line in lines]
    except (Unavailable, msgspec.MsgspecError):
        return None
    return reports if reply.status == 200 and reports and reports[-1].done else None


async def save(call: Call) -> Html | Reply:
    """Save the metric; if so asked let published periods follow it from a date on."""
    filled, is_new, locked = await _sent(call)
    here = inside(call)
    here.asker.require("POST", "billable_metric")
    body = filled.body(locked=locked)
    try:
        await here.define(_command(here, filled.code, body, is_new))
        revised = call.query.flag("revise")
        if revised:
            await revise(here, metric_ids=metric_ids(here, filled.code))
    except ApiError as error:
        if error.status == 422:
            return _refused(call, filled, is_new, locked, error)
        raise
    return saved_part("metric", filled.code, carried(call), revised)


async def revise(
    here: Call, *, metric_ids: Sequence[str] = (), charge_ids: Sequence[str] = ()
) -> None:
    """Let periods that start from the date given on follow what is defined now. Raises 422."""
    text = (await form(here)).get("from", [""])[-1]
    from_ms = parse_iso8601_ms(text) if text else 0
    if from_ms is None:
        raise invalid({"from": ["invalid_date"]})
    await here.define(
        commands.apply_history(
            here.organization_id,
            metric_ids=metric_ids,
            charge_ids=charge_ids,
            from_ms=from_ms,
            to_ms=here.now_ms,
        )
    )
