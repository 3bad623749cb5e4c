"""The form of a plan on the page: shown, with one charge more, previewed and saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.api.answering.call import Call, Reply, rejected
from app.api.http.errors import ApiError, not_found
from app.api.pages import page
from app.api.pages.page_forms import RETARGETED, preview_of, refusals, revise
from app.api.pages.page_views import carried, form, inside
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import Plan
from app.definitions.outcome import Rejected
from app.page import plan_form
from app.page.html import Html
from app.page.plan_form import FilledCharge, FilledPlan
from app.page.previewed import preview_part, saved_part

Json = dict[str, Any]

_CODES = 1_000
"""Metrics that the form offers; any other can be typed."""


async def new_plan(call: Call) -> Html | Reply:
    """Show the form of a plan that there is not yet."""
    return plan_form.plan_form_view(FilledPlan(), _codes(call), carried(call), is_new=True)


async def edited_plan(call: Call) -> Html | Reply:
    """Show the form of a plan that there is."""
    found = _plan(call, call.parameters["code"])
    if found is None:
        raise not_found("plan")
    if len(found.charges) > plan_form.LARGEST:
        return plan_form.too_large(found.code, len(found.charges))
    codes = _codes_by_id(call)
    charges = (FilledCharge.of_charge(one, codes.get(one.metric_id, "")) for one in found.charges)
    filled = FilledPlan(
        name=found.name,
        code=found.code,
        interval=found.interval,
        amount_currency=found.amount_currency,
        charges=tuple(charges),
    )
    return plan_form.plan_form_view(filled, _codes(call), carried(call), is_new=False)


async def add_charge(call: Call) -> Html | Reply:
    """Show the form with one charge more."""
    filled, is_new = await _sent(call)
    more = filled._replace(charges=(*filled.charges, FilledCharge()))
    return plan_form.form(more, carried(call), {}, is_new=is_new)


async def preview(call: Call) -> Html | Reply:
    """Show what the change would make of usage, running and published."""
    filled, is_new = await _sent(call)
    here = inside(call)
    body, command = _change(call, filled, is_new)
    previewed = await preview_of(here, command, {"plan": body})
    if isinstance(previewed, Rejected):
        return _refused(call, filled, is_new, rejected(previewed))
    return preview_part("plan", previewed, None, carried(call), is_new)


async def save(call: Call) -> Html | Reply:
    """Save the plan; if so asked let published periods follow it from a date on."""
    filled, is_new = await _sent(call)
    here = inside(call)
    here.asker.require("POST", "plan")
    try:
        plan = await here.define(_change(call, filled, is_new)[1])
        revised = call.query.flag("revise")
        if revised:
            await revise(here, charge_ids=[charge.id for charge in plan.charges])
    except ApiError as error:
        if error.status in (404, 422):
            return _refused(call, filled, is_new, error)
        raise
    return saved_part("plan", filled.code, carried(call), revised)


async def _sent(call: Call) -> tuple[FilledPlan, bool]:
    """Return what the form holds, and whether the plan is new."""
    page.writing_organization(call)
    return FilledPlan.of_form(await form(call)), call.query.flag("new")


def _change(call: Call, filled: FilledPlan, is_new: bool) -> tuple[Json, Command]:
    """Return the object that the API takes, and its command."""
    organization_id = inside(call).organization_id
    found = None if is_new else _plan(call, filled.code)
    old = {} if found is None else {charge.id: charge for charge in found.charges}
    body = filled.body(old, is_new=is_new)
    if is_new:
        return body, commands.create_plan(organization_id, body)
    return body, commands.update_plan(organization_id, filled.code, body)


def _plan(call: Call, code: str) -> Plan | None:
    here = inside(call)
    return here.meter.definitions.plan(here.organization_id, code)


def _refused(call: Call, filled: FilledPlan, is_new: bool, error: ApiError) -> Reply:
    """Return the form again, with what is wrong."""
    again = plan_form.form(filled, carried(call), refusals(error, "plan"), is_new=is_new)
    return Reply(again.encode(), headers=RETARGETED | {"HX-Retarget": "#plan"})


def _codes(call: Call) -> list[str]:
    return sorted(_codes_by_id(call).values())[:_CODES]


def _codes_by_id(call: Call) -> Mapping[str, str]:
    here = inside(call)
    metrics = here.meter.definitions.metrics(here.organization_id)
    return {one.id: one.code for one in metrics}
