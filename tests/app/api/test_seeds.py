"""What exists already works unchanged: the seed's requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api.conftest import Running
from tests.world.seeds import metric_bodies


@pytest.mark.parametrize(
    "body", [pytest.param(body, id=body["billable_metric"]["code"]) for body in metric_bodies()]
)
async def test_the_seeds_requests(api: Running, body: dict[str, Any]) -> None:
    sent = body["billable_metric"]
    made = (await api.must("POST", "/api/v1/billable_metrics", body))["billable_metric"]
    for key in ("name", "code", "description", "aggregation_type", "field_name", "recurring"):
        assert made[key] == sent[key]
    group = sent.get("group")
    filters = [{"key": group["key"], "values": sorted(group["value"])}] if group else []
    assert made["filters"] == filters
    assert "group" not in made
