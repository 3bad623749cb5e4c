"""Authentication, permissions, error bodies, health and metrics over real HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from app.bounds.limits import BODY_BYTES
from app.meter.health import Reason
from tests.app.api.conftest import Running
from tests.app.api.ledger import ORGANIZATION
from tests.world.waiting import PATIENCE_S

UNAUTHORIZED = {"status": 401, "error": "Unauthorized"}
METRIC = {"name": "n", "code": "c", "aggregation_type": "count_agg"}
EVENT = {"transaction_id": "t", "external_subscription_id": "s", "code": "c"}


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "full", "Bearer nope", "Bearer full2", "Bearer ful", "Bearer Full"],
)
async def test_unknown_keys(api: Running, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await api.call("GET", "/api/v1/plans", key=None, headers=headers)
    assert (answer.status, answer.body) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("authorization", ["Bearer full", "Token full", "x   full", "a full b"])
async def test_only_the_second_word_counts(api: Running, authorization: str) -> None:
    headers = {"Authorization": authorization}
    assert (await api.call("GET", "/api/v1/plans", key=None, headers=headers)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "resource"),
    [
        ("POST", "/api/v1/billable_metrics", "billable_metric"),
        ("PUT", "/api/v1/plans/p", "plan"),
        ("DELETE", "/api/v1/customers/c", "customer"),
        ("POST", "/api/v1/events", "event"),
        ("POST", "/api/v1/events/batch", "event"),
        ("POST", "/api/v1/subscriptions", "subscription"),
    ],
)
async def test_a_reading_key_does_not_write(
    api: Running, method: str, path: str, resource: str
) -> None:
    answer = await api.call(method, path, {}, key="reader")
    code = f"write_action_not_allowed_for_{resource}"
    assert answer.body == {"status": 403, "error": "Forbidden", "code": code}
    assert (await api.call("GET", "/api/v1/plans", key="reader")).status == 200


async def test_a_key_sees_only_its_organization(api: Running) -> None:
    await api.must("POST", "/api/v1/billable_metrics", {"billable_metric": METRIC})
    await api.must("POST", "/api/v1/events", {"event": EVENT})
    for path in ("billable_metrics/c", "events/t"):
        assert (await api.call("GET", f"/api/v1/{path}", key="other")).status == 404
    for path in ("billable_metrics", "events", "customers", "plans", "subscriptions"):
        answer = await api.call("GET", f"/api/v1/{path}", key="other")
        assert answer.body["meta"]["total_count"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        pytest.param(
            "GET",
            "/unknown",
            None,
            {"status": 404, "error": "Not Found", "code": "resource_not_found"},
            id="unknown-route",
        ),
        pytest.param(
            "DELETE",
            "/api/v1/events",
            None,
            {"status": 405, "error": "Method Not Allowed", "code": "method_not_allowed"},
            id="wrong-method",
        ),
        pytest.param(
            "POST",
            "/api/v1/plans",
            b"{nope",
            {"status": 400, "error": "BadRequest: the body is not JSON"},
            id="no-json",
        ),
        pytest.param(
            "POST",
            "/api/v1/plans",
            b"",
            {
                "status": 400,
                "error": "BadRequest: param is missing or the value is empty or invalid: plan",
            },
            id="no-body",
        ),
        pytest.param(
            "PUT",
            "/api/v1/billable_metrics/c",
            b'{"billable_metric": {}}',
            {
                "status": 400,
                "error": "BadRequest: param is missing or the value is empty or invalid: "
                "billable_metric",
            },
            id="empty-root",
        ),
        pytest.param(
            "POST",
            "/api/v1/events",
            b"[1]",
            {
                "status": 400,
                "error": "BadRequest: param is missing or the value is empty or invalid: event",
            },
            id="no-object",
        ),
        pytest.param(
            "POST",
            "/api/v1/events/estimate_instant_fees",
            b"{}",
            {"status": 403, "error": "Forbidden", "code": "feature_unavailable"},
            id="estimates",
        ),
        pytest.param(
            "GET",
            "/api/v1/subscriptions/none/lifetime_usage",
            None,
            {"status": 404, "error": "Not Found", "code": "lifetime_usage_not_found"},
            id="lifetime-usage",
        ),
    ],
)
async def test_error_bodies(
    api: Running, method: str, path: str, body: Any, expected: dict[str, Any]
) -> None:
    answer = await api.call(method, path, body)
    assert (answer.status, answer.body) == (expected["status"], expected)


async def test_wrong_method_names_the_right_ones(api: Running) -> None:
    answer = await api.call("PUT", "/api/v1/events")
    assert answer.headers["Allow"] == "GET, POST"


async def test_a_body_over_the_limit(api: Running) -> None:
    answer = await api.call("POST", "/api/v1/events", b" " * (BODY_BYTES + 1))
    assert (answer.status, answer.body["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\r\n\r\n", id="tls"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="version"),
        pytest.param(b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", id="nul-in-path"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", id="length"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", id="long-header"),
    ],
)
async def test_what_is_no_http_gets_json(api: Running, request_bytes: bytes) -> None:
    port = int(api.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes)
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = 431 if len(request_bytes) > 16_384 else 400
    assert f" {status} ".encode() in head.splitlines()[0] + b" "
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize("path", ["*", "http://elsewhere/api/v1/plans"])
async def test_odd_targets_get_json(api: Running, path: str) -> None:
    port = int(api.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"OPTIONS {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), PATIENCE_S)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert json.loads(body)["status"] in (404, 405), head


async def test_a_defect_is_json_too(api: Running, caplog: pytest.LogCaptureFixture) -> None:
    del api.meter.clock
    answer = await api.call("GET", "/api/v1/plans", key="full")
    assert answer.status == 200
    answer = await api.call("POST", "/api/v1/plans", {"plan": {"name": "x"}})
    assert answer.body == {
        "status": 500,
        "error": "Internal Server Error",
        "code": "internal_error",
    }
    assert "Defect" in caplog.text


async def test_health_and_metrics(api: Running) -> None:
    assert (await api.call("GET", "/health/live", key=None)).body == {"status": "live"}
    assert (await api.call("GET", "/health/ready", key=None)).body == {"status": "ready"}
    await api.call("GET", "/api/v1/plans/some-id")
    metrics = await api.call("GET", "/metrics", key=None)
    labels = 'method="GET",path="/api/v1/plans/{code}",status="404"'
    counted = f"meter_http_request_seconds_count{{{labels}}} 1.0"
    assert counted in metrics.text
    assert "some-id" not in metrics.text
    assert "meter_things_total 1.0" in metrics.text
    assert metrics.headers["Content-Type"].startswith("text/plain")


async def test_restoring_is_not_ready_and_says_when_to_come_back(api: Running) -> None:
    api.meter.restoring = True
    ready = await api.call("GET", "/health/ready", key=None)
    assert (ready.status, ready.body["status"]) == (503, "not_ready")
    (reason,) = ready.body["reasons"]
    assert (reason["code"], reason["message"]) == ("restoring", "partition 0 is being restored")
    assert (await api.call("GET", "/health/live", key=None)).status == 200
    answer = await api.call("POST", "/api/v1/events", {"event": EVENT})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.body["error"] == "Service Unavailable"
    assert api.meter.taken == {}


async def test_what_all_workers_share_leaves_this_one_ready(api: Running) -> None:
    api.meter.reasons = [Reason("kafka_unreachable", 0, "away"), Reason("disk_low", 0, "low")]
    path = "/health/ready"
    told = await api.call("GET", path, key=None)
    assert (told.status, told.body["status"]) == (200, "degraded")
    assert told.body["reasons"][0] == {
        "code": "kafka_unreachable",
        "since": "1970-01-01T00:00:00Z",
        "message": "away",
    }
    assert (await api.call("GET", f"{path}?require=redis", key=None)).status == 200
    assert (await api.call("GET", f"{path}?require=redis,kafka", key=None)).status == 503
    mistaken = await api.call("GET", f"{path}?require=reddis", key=None)
    assert (mistaken.status, list(mistaken.body["error_details"])) == (422, ["require"])
    api.meter.reasons = [Reason("disk_full", 0, "full")]
    assert (await api.call("GET", path, key=None)).status == 503
    api.meter.reasons = []
    assert (await api.call("GET", path, key=None)).body == {"status": "ready"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "billable_metrics", None),
        ("GET", "billable_metrics/c", None),
        ("POST", "billable_metrics", {"billable_metric": METRIC}),
        ("GET", "subscriptions", None),
        ("GET", "customers/c", None),
        ("GET", "customers/c/current_usage?external_subscription_id=s", None),
        ("GET", "customers/c/past_usage?external_subscription_id=s&billable_metric_code=c", None),
        (
            "GET",
            "customers/c/usage/explain?external_subscription_id=s&billable_metric_code=c",
            None,
        ),
        ("GET", "events", None),
        ("GET", "events/t", None),
        ("GET", "events/t/trace", None),
        ("POST", "events", {"event": EVENT}),
        ("POST", "events/batch", {"events": [EVENT]}),
        ("POST", "verify", {}),
    ],
)
async def test_nothing_is_known_before_the_definitions_are_read(
    api: Running, method: str, path: str, body: Any
) -> None:
    api.meter.opened = False
    answer = await api.call(method, f"/api/v1/{path}", body)
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "1"), answer.text
    assert answer.body["code"] == "temporarily_unavailable"
    assert (await api.call("GET", "/api/page/overview")).status == 503
    for health in ("live", "ready"):
        assert (await api.call("GET", f"/health/{health}", key=None)).status == 200


async def test_organization_of_a_key(api: Running) -> None:
    before = (await api.must("GET", "/api/v1/organizations"))["organization"]
    assert (before["lago_id"], before["created_at"]) == (ORGANIZATION, "1970-01-01T00:00:00Z")
    await api.must("POST", "/api/v1/billable_metrics", {"billable_metric": METRIC})
    after = (await api.must("GET", "/api/v1/organizations"))["organization"]
    assert after["created_at"] == "2024-03-15T12:00:00Z"
