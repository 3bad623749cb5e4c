"""What Lago sells apart or prices, and this product answers with a clear no."""

from __future__ import annotations

import pytest

from tests.app.api.conftest import Running

V1 = "/api/v1"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/events_enriched", "endpoint_not_available"),
        ("GET", "/customers/c/portal_url", "feature_unavailable"),
        ("GET", "/analytics/usage", "feature_unavailable"),
        ("POST", "/events/estimate_fees", "feature_unavailable"),
        ("POST", "/events/estimate_instant_fees", "feature_unavailable"),
        ("POST", "/events/batch_estimate_instant_fees", "feature_unavailable"),
        ("PUT", "/subscriptions/s/lifetime_usage", "feature_unavailable"),
    ],
)
async def test_forbidden(api: Running, method: str, path: str, code: str) -> None:
    answer = await api.call(method, V1 + path, {} if method != "GET" else None)
    assert answer.status == 403
    assert answer.body == {"status": 403, "error": "Forbidden", "code": code}
