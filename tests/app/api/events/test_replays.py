"""`POST /api/v1/dead_letters/replay`: a body of another shape is told by its field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api.conftest import Running


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"places": "0/1"}, "$.places"),
        ({"places": [7]}, "$.places[0]"),
        ({"code": 7}, "$.code"),
        ({"all": "yes"}, "$.all"),
    ],
)
async def test_the_field_of_another_shape_is_named(
    api: Running, body: dict[str, Any], field: str
) -> None:
    answer = await api.call("POST", "/api/v1/dead_letters/replay", body)
    assert answer.status == 400
    assert "the body is not of the expected shape: Expected `" in answer.body["error"]
    assert answer.body["error"].endswith(f"`{field}`")
