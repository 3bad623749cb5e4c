"""Whatever code an object has, its path leads to it (bounded-work L36)."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.app.api.conftest import Running

METRIC = {"name": "n", "aggregation_type": "count_agg"}


@pytest.mark.parametrize(
    "code",
    ["a\nb", "\n", "a/b", "/", "a/", "//", "a%2Fb", "a?b", "a#b", "a b", " a", ".", "..", "a\\b",
     "evaluate_expression", "\x7f", "\t", "ü", "\u2028", "+", "a;b", "%", "a\r\nb"],
)  # fmt: skip
async def test_any_code_is_reachable_or_refused(api: Running, code: str) -> None:
    created = await api.call(
        "POST", "/api/v1/billable_metrics", {"billable_metric": {**METRIC, "code": code}}
    )
    if created.status == 422:
        assert "code" in created.body["error_details"]
        return
    assert created.status == 200
    stored = created.body["billable_metric"]["code"]
    shown = await api.call("GET", f"/api/v1/billable_metrics/{quote(stored, safe='')}")
    assert (shown.status, shown.body) == (200, created.body)
    gone = await api.call("DELETE", f"/api/v1/billable_metrics/{quote(stored, safe='')}")
    assert gone.status == 200
