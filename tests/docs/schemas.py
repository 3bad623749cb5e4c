"""The JSON Schemas of `docs/schemas`, made of the models that the API describes itself by.

`python -m tests.docs.schemas` writes them anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.api import record_schemas
from app.api.descriptions import asyncapi_document, openapi_document
from app.api.endpoints.table import DESCRIBED

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


Json = dict[str, Any]


def documents() -> dict[str, Json]:
    """Return every file by its name."""
    return {
        **{f"{_kebab(model.__name__)}.json": _schema(model) for model in _models()},
        "openapi.json": {**openapi_document(DESCRIBED), "servers": _OVER_HTTP},
        "asyncapi.json": {**asyncapi_document(), "servers": _OF_KAFKA},
    }


def text_of(document: Json) -> str:
    """Return a file's text."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _models() -> list[type[BaseModel]]:
    """Return the models of messages: those that a channel of the topics carries."""
    carried = asyncapi_document()["components"]["messages"]
    return [getattr(record_schemas, name) for name in carried]


def _schema(model: type[BaseModel]) -> Json:
    name = f"urn:meterstream:schema:{_kebab(model.__name__)}"
    return {"$schema": DIALECT, "$id": name, **model.model_json_schema()}


def _kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


_OVER_HTTP = [
    {
        "url": "{scheme}://{host}",
        "description": "Any worker answers for all.",
        "variables": {
            "scheme": {"enum": ["http", "https"], "default": "http"},
            "host": {"default": "127.0.0.1:8080"},
        },
    }
]
_OF_KAFKA = {
    "brokers": {
        "host": "{host}",
        "protocol": "kafka",
        "description": "Read with isolation.level=read_committed.",
        "variables": {"host": {"default": "127.0.0.1:9092"}},
    }
}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file_name, document in documents().items():
        (FOLDER / file_name).write_text(text_of(document))
