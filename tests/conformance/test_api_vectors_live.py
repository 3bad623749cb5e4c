"""api.json against a running worker: every vector in an empty organization of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from tests.conformance.directory import Outcome
from tests.conformance.files import OWN, VECTORS
from tests.conformance.live_api import check_api_live
from tests.conformance.live_worker import Servers

FILES = [VECTORS / "api.json", OWN / "api.json"]

NOT_RUN = {
    "plan-index-includes-pending-deletion": (
        "decided otherwise: a plan is deleted at once, and is never pending"
    ),
    "projected-usage-closed": "decided otherwise: projected usage needs no licence",
    "subscription-terminate": (
        "the record contract decides otherwise: terminated_at prints with milliseconds"
    ),
}


@pytest.fixture(scope="module")
async def servers(local_kafka: LocalKafka, local_redis: LocalRedis) -> Servers:
    return Servers(local_kafka.bootstrap_servers, local_kafka.directory, local_redis.url)


@pytest.fixture(scope="module")
async def outcomes(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    """Of all vectors, from one worker for each file."""
    directory = tmp_path_factory.mktemp("api")
    checked = [await check_api_live(path, servers, directory) for path in FILES]
    return {outcome.vector_id: outcome for file in checked for outcome in file.outcomes}


def vector_ids() -> list[Any]:
    return [vector["id"] for path in FILES for vector in json.loads(path.read_text())]


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.parametrize("vector_id", vector_ids())
def test_vector(vector_id: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[vector_id]
    assert outcome.skipped == NOT_RUN.get(vector_id)
    assert outcome.differences == []


@pytest.mark.servers
@pytest.mark.slow
async def test_differences_are_found(servers: Servers, tmp_path: Path) -> None:
    clocked = {
        "id": "late",
        "setup": [{"state": "clock frozen at 2024-02-29T12:00:00Z"}],
        "request": {"method": "GET", "path": "/api/v1/organizations"},
        "expect": {"status": 201, "body_contains": {"organization": {"lago_id": "api-1"}}},
    }
    failing = {
        **clocked,
        "id": "setup",
        "setup": [{"request": {"method": "GET", "path": "/api/v1/none"}, "expect_status": 200}],
    }
    unknown = {**clocked, "id": "state", "setup": [{"state": "the moon is full"}]}
    path = tmp_path / "api.json"
    path.write_text(json.dumps([clocked, failing, unknown]))
    late, setup, state = (await check_api_live(path, servers, tmp_path)).outcomes
    # The first runs last but for those at the usual time; its organization is its place's.
    assert [difference.got.partition(":")[0] for difference in late.differences] == [
        "status",
        "body.organization.lago_id",
    ]
    assert [difference.field for difference in setup.differences] == ["setup"]
    assert state.skipped == "no way to arrange: the moon is full"
