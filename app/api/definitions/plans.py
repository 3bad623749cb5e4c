"""Plans (metering-semantics §7.1)."""

from __future__ import annotations

from typing import Any

from app.api.answering.call import Call
from app.api.definitions.definitions_json import plan_json
from app.api.http.errors import not_found
from app.bounds.turns import Work
from app.definitions import commands
from app.definitions.model import Plan

_ROOT = "plan"


async def _json(call: Call, plan: Plan) -> dict[str, Any]:
    work = Work("request", "customers of a plan", call.organization_id)
    steps = plan_json(call.meter.definitions, plan, call.now_ms)
    return await call.api.turns.run(work, steps)


async def _root(call: Call, plan: Plan) -> dict[str, Any]:
    return {_ROOT: await _json(call, plan)}


async def create(call: Call) -> Any:
    command = commands.create_plan(call.organization_id, await call.root(_ROOT))
    return await _root(call, await call.define(command))


async def update(call: Call) -> Any:
    command = commands.update_plan(
        call.organization_id, call.parameters["code"], await call.root(_ROOT)
    )
    return await _root(call, await call.define(command))


async def delete(call: Call) -> Any:
    command = commands.delete_plan(call.organization_id, call.parameters["code"])
    return await _root(call, await call.define(command))


async def show(call: Call) -> Any:
    plan = call.meter.definitions.plan(call.organization_id, call.parameters["code"])
    if plan is None:
        raise not_found(_ROOT)
    return await _root(call, plan)


async def index(call: Call) -> Any:
    plans = call.meter.definitions.plans(call.organization_id)
    answer = await call.listing("plans", plans, lambda plan: plan)
    return {**answer, "plans": [await _json(call, plan) for plan in answer["plans"]]}
