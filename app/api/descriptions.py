"""`/openapi.json` and `/asyncapi.json`, generated from the same models.

Each is made once a process, by a thread, when somebody asks for it: it takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.api import record_schemas
from app.api.answering.call import Call
from app.api.answering.router import Endpoint, Parameter
from app.api.http.bodies import WITH_BODY
from app.api.http.errors import REASONS
from app.api.schemas.base import Error

Json = dict[str, Any]

_TITLE = "Meterstream"
_JSON = "application/json"
_LINES = "application/x-ndjson"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OF_ANY_HEAD = (415, 421, 431)
"""Answered before it is known what is asked for."""


async def openapi(call: Call) -> Any:
    """Answer OpenAPI 3.1 of the REST API."""
    return await asyncio.to_thread(call.api.openapi)


async def asyncapi(_: Call) -> Any:
    """Answer AsyncAPI 3 of the topics."""
    return await asyncio.to_thread(asyncapi_document)


@cache
def _version() -> str:
    try:
        return version("meterstream")
    except PackageNotFoundError:
        return "0"


def openapi_document(endpoints: Sequence[Endpoint]) -> Json:
    """Return the description of these endpoints."""
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    models = [model for e in endpoints for model in (e.request, e.response) if model is not None]
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": _DIALECT,
        "info": {
            "title": _TITLE,
            "version": _version(),
            "description": "Usage metering with Lago's objects, routes and codes.",
        },
        "paths": paths,
        "components": {
            "schemas": _definitions([*models, Error], "#/components/schemas/{model}"),
            "securitySchemes": {"api_key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"api_key": []}],
    }


def _definitions(models: Iterable[type[BaseModel]], template: str) -> Json:
    wanted = list(dict.fromkeys(models))
    _, document = models_json_schema(
        [(model, "validation") for model in wanted], ref_template=template
    )
    definitions: Json = document["$defs"]
    return definitions


def _operation(endpoint: Endpoint) -> Json:
    operation: Json = {
        "operationId": f"{endpoint.method.lower()}_{_words(endpoint.path)}",
        "summary": endpoint.summary,
        "tags": [endpoint.resource],
        "responses": _responses(endpoint),
    }
    parameters = [_path_parameter(name) for name in endpoint.path_parameters]
    parameters += [_query_parameter(parameter) for parameter in endpoint.query]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.request is not None:
        operation["requestBody"] = {"required": True, "content": _content(endpoint.request)}
    if endpoint.public:
        operation["security"] = []
    return operation


def _words(path: str) -> str:
    words = (word.strip("{}") for word in path.split("/"))
    return "_".join(word for word in words if word not in ("", "api", "v1"))


def _path_parameter(name: str) -> Json:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameter(parameter: Parameter) -> Json:
    described: Json = {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.description,
        "schema": parameter.schema,
    }
    if parameter.schema.get("type") == "object":
        described |= {"style": "deepObject", "explode": True}
    return described


def _responses(endpoint: Endpoint) -> Json:
    responses: Json = {}
    if endpoint.response is not None:
        content = _content(endpoint.response, _LINES if endpoint.by_lines else _JSON)
        if any("csv" in parameter.schema.get("enum", ()) for parameter in endpoint.query):
            content["text/csv"] = {"schema": {"type": "string"}}
        responses["200"] = {"description": "OK", "content": content}
    elif endpoint.without_body:
        responses["200"] = {"description": "OK, without a body"}
    statuses = {*endpoint.errors, *_OF_ANY_HEAD}
    if endpoint.method in WITH_BODY:
        statuses |= {411, 413}
    if endpoint.request is not None:
        statuses |= {400, 408}
    if not endpoint.public:
        statuses |= {401, 403, 429, 503}
    for status in sorted(statuses):
        described = {"description": REASONS[status], "content": _content(Error)}
        responses[str(status)] = described
    return responses


def _content(model: type[BaseModel], content_type: str = _JSON) -> Json:
    return {content_type: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


class _Channel(NamedTuple):
    """A topic, without the prefix that a deployment may put before its name."""

    name: str
    text: str
    models: Sequence[type[BaseModel]]
    action: str = "send"
    content_type: str = _JSON


_CHANNELS = (
    _Channel(
        "events-raw",
        "Product events, keyed `<organization_id>-<external_subscription_id>`.",
        (record_schemas.RawEvent, record_schemas.CloudEvent, record_schemas.Correction),
        action="receive",
    ),
    _Channel(
        "usage-records",
        "Usage of closed periods, keyed like the events; the highest revision of a cell counts.",
        (record_schemas.UsageRecord, record_schemas.PeriodCompleted, record_schemas.InstantRecord),
    ),
    _Channel(
        "usage-alerts",
        "Alerts whose thresholds the usage of a metric has crossed, keyed like the events.",
        (record_schemas.AlertTriggered,),
    ),
    _Channel(
        "usage-daily",
        "With daily_records: what a cell has after each local day, keyed like the events.",
        (record_schemas.DailyRecord,),
    ),
    _Channel(
        "usage-changed",
        "Whose usage has changed, keyed like the events; only with the setting `usage_changed`.",
        (record_schemas.UsageChanged,),
    ),
    _Channel(
        "events-dead-letter",
        "Refused events: the original bytes, with the reason in headers.",
        (record_schemas.DeadLetterHeaders,),
        content_type="application/octet-stream",
    ),
    _Channel(
        "meter-definitions",
        "Metrics, plans, customers, subscriptions and settings, in order, for ever.",
        (record_schemas.Definition,),
    ),
)


@cache
def asyncapi_document() -> Json:
    """Describe the topics, without the prefix that a deployment may put before names."""
    messages = {
        model.__name__: _message(model, channel.content_type)
        for channel in _CHANNELS
        for model in channel.models
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": _TITLE, "version": _version()},
        "defaultContentType": _JSON,
        "channels": {each.name: _channel(each) for each in _CHANNELS},
        "operations": {
            f"{each.action}-{each.name}": {
                "action": each.action,
                "channel": {"$ref": f"#/channels/{each.name}"},
                "summary": each.text,
            }
            for each in _CHANNELS
        },
        "components": {
            "messages": messages,
            "schemas": _definitions(
                [model for each in _CHANNELS for model in each.models],
                "#/components/schemas/{model}",
            ),
        },
    }


def _channel(channel: _Channel) -> Json:
    names = [model.__name__ for model in channel.models]
    return {
        "address": channel.name,
        "description": channel.text,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }


def _message(model: type[BaseModel], content_type: str) -> Json:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    part = "headers" if model is record_schemas.DeadLetterHeaders else "payload"
    return {"name": model.__name__, "contentType": content_type, part: schema}
