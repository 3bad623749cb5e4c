"""Billable metrics (metering-semantics §1.4)."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.answering.call import Call
from app.api.definitions.definitions_json import metric_json
from app.api.http import json_text
from app.api.http.errors import forbidden, invalid, not_found
from app.bounds.limits import EXPRESSION_ANSWER_BYTES
from app.definitions import commands
from app.definitions.aggregation_types import NOT_FOR_SALE
from app.definitions.model import Metric
from app.expressions import EvaluationFailed, InvalidExpression, check_size, parse
from app.numbers import plain
from app.wire.refusals import ElementRefused
from app.wire.timestamps import JsonNumber, parse_timestamp

_ROOT = "billable_metric"


def _json(call: Call, metric: Metric) -> dict[str, Any]:
    return metric_json(call.meter.definitions, metric, call.now_ms)


def _root(call: Call, metric: Metric) -> dict[str, Any]:
    return {_ROOT: _json(call, metric)}


async def create(call: Call) -> Any:
    command = commands.create_billable_metric(call.organization_id, await call.root(_ROOT))
    return _root(call, await call.define(command))


async def update(call: Call) -> Any:
    """Change a metric; one in use is refused a custom aggregation too, as in Lago."""
    code, body = call.parameters["code"], await call.root(_ROOT)
    known = call.meter.definitions.metric(call.organization_id, code)
    if known is not None and body.get("aggregation_type") == NOT_FOR_SALE:
        raise forbidden("feature_unavailable")
    command = commands.update_billable_metric(call.organization_id, code, body)
    return _root(call, await call.define(command))


async def delete(call: Call) -> Any:
    command = commands.delete_billable_metric(call.organization_id, call.parameters["code"])
    return _root(call, await call.define(command))


async def show(call: Call) -> Any:
    metric = call.meter.definitions.metric(call.organization_id, call.parameters["code"])
    if metric is None:
        raise not_found(_ROOT)
    return _root(call, metric)


async def index(call: Call) -> Any:
    metrics = call.meter.definitions.metrics(call.organization_id)
    return await call.listing("billable_metrics", metrics, lambda metric: _json(call, metric))


class _ExampleEvent(msgspec.Struct):
    code: Any = None
    timestamp: msgspec.Raw = msgspec.Raw(b"null")
    properties: dict[str, msgspec.Raw] | None = None


class _Example(msgspec.Struct):
    event: _ExampleEvent | None = None


async def evaluate_expression(call: Call) -> Any:
    """Answer what an expression gives for an example event; nothing is stored."""
    body = await call.json()
    text = body.get("expression") if isinstance(body, dict) else None
    if text is None or not str(text).strip():
        raise invalid({"expression": ["value_is_mandatory"]})
    try:
        check_size(str(text))
        expression = parse(str(text))
    except InvalidExpression as error:
        raise invalid({"expression": ["invalid_expression"]}) from error
    event = await _example_event(call)
    try:
        value = expression.evaluate(
            str(event.code or ""),
            _timestamp_ms(bytes(event.timestamp), call.now_ms),
            {name: bytes(raw) for name, raw in (event.properties or {}).items()},
            as_lago=call.meter.definitions.settings_at().writes_as_lago,
        )
    except (EvaluationFailed, ElementRefused) as error:
        raise invalid({"event": ["invalid_event"]}) from error
    answer = {"expression_result": {"value": value if isinstance(value, str) else plain(value)}}
    if len(json_text.encode(answer)) > EXPRESSION_ANSWER_BYTES:
        raise invalid({"event": ["invalid_event"]})
    return answer


async def _example_event(call: Call) -> _ExampleEvent:
    try:
        example = msgspec.json.decode(await call.body(), type=_Example)
    except msgspec.ValidationError as error:
        raise invalid({"event": ["invalid_event"]}) from error
    return example.event or _ExampleEvent()


def _timestamp_ms(literal: bytes, now_ms: int) -> int:
    if literal == b"null":
        return now_ms
    value = json_text.decode(literal)
    return parse_timestamp(value if isinstance(value, str) else JsonNumber(literal.decode()))
