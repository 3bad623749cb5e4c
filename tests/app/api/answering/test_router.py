"""Paths without a parameter are found at once, and each is found as if all were tried."""

from __future__ import annotations

import pytest

from app.api.answering.router import Endpoint, Router
from app.api.endpoints.table import ENDPOINTS
from app.api.http.errors import ApiError

PLAIN = [each for each in ENDPOINTS if not each.path_parameters]


def test_a_path_without_parameter_is_found_without_trying_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There are very many endpoints, and each that is tried takes some tenth of a microsecond."""
    router = Router(ENDPOINTS)
    tried = [router._tried(each.method, each.path) for each in PLAIN]

    def untried(*_: object) -> None:
        raise AssertionError("it is tried")

    monkeypatch.setattr(Endpoint, "match", untried)
    assert [router.find(each.method, each.path) for each in PLAIN] == tried
    assert [found for found, _ in tried] == PLAIN


def test_other_spellings_and_methods_are_tried() -> None:
    router = Router(ENDPOINTS)
    found, parameters = router.find("HEAD", "/api/v1/plans/")
    assert (found.route, parameters) == ("GET /api/v1/plans", {})
    with pytest.raises(ApiError) as refused:
        router.find("PATCH", "/api/v1/plans")
    assert refused.value.status == 405
    with pytest.raises(ApiError) as refused:
        router.find("GET", "/api/v1/customers/c/wallets")
    assert refused.value.status == 404
