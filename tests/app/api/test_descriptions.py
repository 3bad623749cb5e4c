"""OpenAPI and AsyncAPI as served."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from app.api.schemas import operations as schemas
from app.meter import evidence
from tests.app.api.conftest import Running
from tests.world import bodies


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return found + [inner for item in value.values() for inner in references(item)]
    if isinstance(value, list):
        return [inner for item in value for inner in references(item)]
    return []


def resolves(document: Any, reference: str) -> bool:
    place = document
    for part in reference.removeprefix("#/").split("/"):
        if part not in place:
            return False
        place = place[part]
    return True


@pytest.mark.parametrize(
    ("path", "key", "version"),
    [("/openapi.json", "openapi", "3.1.0"), ("/asyncapi.json", "asyncapi", "3.0.0")],
)
async def test_documents_hang_together(api: Running, path: str, key: str, version: str) -> None:
    document = (await api.call("GET", path, key=None)).body
    assert document[key] == version
    found = references(document)
    assert found
    assert [reference for reference in found if not resolves(document, reference)] == []
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_what_the_door_refuses_is_described(api: Running) -> None:
    document = (await api.call("GET", "/openapi.json", key=None)).body
    operations = {
        (path, method): set(operation["responses"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert all({"415", "421", "431"} <= told for told in operations.values())
    assert {"408", "411", "413"} <= operations["/api/v1/events", "post"]
    assert not {"408", "411"} & operations["/api/v1/events", "get"]


async def test_what_is_answered_without_a_body_is_described(api: Running) -> None:
    document = (await api.call("GET", "/openapi.json", key=None)).body
    told = document["paths"]["/api/v1/subscriptions/{external_id}/alerts"]["delete"]["responses"]
    assert told["200"] == {"description": "OK, without a body"}
    # It is never done, so nothing is said of how it would be answered.
    refused = document["paths"]["/api/v1/customers/{external_id}/portal_url"]["get"]["responses"]
    assert "200" not in refused


async def test_every_operation_is_named_once(api: Running) -> None:
    document = (await api.call("GET", "/openapi.json", key=None)).body
    names = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "channel", ["events-raw", "usage-records", "events-dead-letter", "meter-definitions"]
)
async def test_topics_are_described(api: Running, channel: str) -> None:
    document = (await api.call("GET", "/asyncapi.json", key=None)).body
    assert document["channels"][channel]["messages"]


async def test_answers_are_as_described(api: Running) -> None:
    document = (await api.call("GET", "/openapi.json", key=None)).body
    metric = bodies.metric("c", "count_agg")
    answer = await api.post("/billable_metrics", {"billable_metric": metric})
    schema = {"$ref": "#/components/schemas/MetricAnswer", "components": document["components"]}
    validator = Draft202012Validator(schema)
    validator.validate(answer)
    del answer["billable_metric"]["code"]
    assert not validator.is_valid(answer)


def test_lines_of_a_preview_are_described_whole() -> None:
    for described, told, more in (
        (schemas.PreviewLine, evidence.PreviewReport, {"peers", "error"}),
        (schemas.PreviewedCell, evidence.PreviewedCell, set()),
        (schemas.PreviewedFigures, evidence.FigureTexts, set()),
    ):
        fields = {field.name for field in msgspec.structs.fields(told)}
        assert set(described.model_fields) == fields | more
