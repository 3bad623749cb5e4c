"""Every aggregation vector that has a plan's period, through REST, Kafka, usage and records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from tests.conformance.directory import Outcome
from tests.conformance.files import OWN, VECTORS, read_vectors
from tests.conformance.live import check_aggregations_live
from tests.conformance.live_script import script_of
from tests.conformance.live_worker import Servers
from tests.conformance.scenario import CannotRun

ONLY_OFFLINE = (
    "mode ",
    "ignore_filters ",
    "group_values ",
    "carry ",
    "neither usage nor records show",
    "no period",
    "no plan has this period",
    "its subscription is upgraded",
    "it ends with a whole day, as only a plan change does",
    "an event at its termination",
    "the API lets only charges of recurring metrics be prorated",
)
"""How the reasons begin for which a vector is not run here."""

MARCH: dict[str, Any] = {
    "id": "v",
    "metric": {"code": "m", "aggregation_type": "sum_agg", "field_name": "v"},
    "subscription": {"external_id": "sub_1", "started_at": "2024-03-01T00:00:00Z"},
    "period": {"from": "2024-03-01T00:00:00Z", "to": "2024-03-31T23:59:59.999Z"},
    "events": [
        {"transaction_id": "a", "timestamp": "2024-03-02T00:00:00Z", "properties": {"v": 1.5}},
        {"transaction_id": "b", "timestamp": "2024-03-03T00:00:00Z", "properties": {"v": -4}},
    ],
    "expect": {"units": "-2.5", "events_count": 2},
}


def files() -> list[Path]:
    return [path for place in (VECTORS, OWN) for path in sorted(place.glob("aggregation/*.json"))]


@pytest.fixture(scope="module")
async def servers(local_kafka: LocalKafka, local_redis: LocalRedis) -> Servers:
    return Servers(local_kafka.bootstrap_servers, local_kafka.directory, local_redis.url)


@pytest.fixture(scope="module")
async def outcomes(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    """Of all vectors, from one worker."""
    directory = tmp_path_factory.mktemp("vectors")
    checked = await check_aggregations_live(files(), servers, directory)
    return {outcome.vector_id: outcome for file in checked for outcome in file.outcomes}


def only_offline() -> dict[str, str]:
    """Return why, by its id, each vector is not run here."""
    reasons = {}
    for path in files():
        for vector in read_vectors(path):
            try:
                script_of(vector)
            except CannotRun as error:
                reasons[vector.id] = str(error)
    return reasons


LEFT_OUT = only_offline()


def vector_ids() -> list[str]:
    found = (vector.id for path in files() for vector in read_vectors(path))
    return [vector_id for vector_id in found if vector_id not in LEFT_OUT]


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.timeout(600)
@pytest.mark.parametrize("vector_id", vector_ids())
def test_vector(vector_id: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[vector_id]
    assert (outcome.skipped, outcome.differences) == (None, [])


def test_what_is_left_out_can_only_be_folded_offline() -> None:
    assert [reason for reason in LEFT_OUT.values() if not reason.startswith(ONLY_OFFLINE)] == []


def written(tmp_path: Path, vectors: Sequence[Any]) -> Path:
    path = tmp_path / "aggregation" / "mine.json"
    path.parent.mkdir()
    path.write_text(json.dumps(vectors))
    return path


def grouped(*groups: Any) -> dict[str, Any]:
    events = [
        {**event, "properties": {**event["properties"], "g": group}}
        for event, group in zip(MARCH["events"], ("x", None), strict=True)
    ]
    charge = {"grouped_by": ["g"]}
    return {**MARCH, "charge": charge, "events": events, "expect": {"groups": list(groups)}}


WRONG = [
    pytest.param({**MARCH, "expect": {"units": "1.5"}}, "units", id="clamped-units"),
    pytest.param({**MARCH, "expect": {"events_count": 3}}, "events_count", id="count"),
    pytest.param(
        grouped({"grouped_by": {"g": "x"}, "units": "1"}, {"grouped_by": {"g": None}}),
        "{'g': 'x'} units",
        id="group",
    ),
    pytest.param(
        grouped({"grouped_by": {"g": None}, "units": "0"}), "None {'g': 'x'}", id="unexpected-group"
    ),
    pytest.param(
        {
            **MARCH,
            "metric": {**MARCH["metric"], "filters": [{"key": "v", "values": ["1.5", "2"]}]},
            "charge": {"filters": [{"values": {"v": ["1.5"]}}]},
            "expect": {"filters": [{"values": {"v": ["1.5"]}, "units": "1"}, {"values": None}]},
        },
        "{'v': ['1.5']} units",
        id="filter",
    ),
    pytest.param(
        {
            **{key: value for key, value in MARCH.items() if key not in ("period", "expect")},
            "checkpoints": [
                {"at": "2024-03-02T00:00:00Z", "period": MARCH["period"], "expect": {"units": "2"}},
                {"at": "2024-03-04T00:00:00Z", "period": MARCH["period"], "expect": {"units": "0"}},
            ],
        },
        "checkpoints[0].usage units",
        id="checkpoint",
    ),
]


@pytest.mark.slow
@pytest.mark.servers
async def test_differences_are_found_wherever_figures_are(servers: Servers, tmp_path: Path) -> None:
    vectors = [case.values[0] for case in WRONG]
    (checked,) = await check_aggregations_live([written(tmp_path, vectors)], servers, tmp_path)
    for case, outcome in zip(WRONG, checked.outcomes, strict=True):
        fields = {difference.field for difference in outcome.differences}
        named = case.values[1]
        everywhere = {f"{place} {named}" for place in ("usage", "records", "past usage")}
        assert fields == ({named} if case.id == "checkpoint" else everywhere), case.id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"mode": "rounding"}, "mode rounding folds nothing", id="mode"),
        pytest.param({"expect": {"error": "e"}}, "neither usage nor records", id="not-shown"),
        pytest.param({"carry": "none"}, "carry asks for", id="carry"),
        pytest.param({"period": None}, "no period", id="no-period"),
        pytest.param({"subscription": {}}, "its subscription has no start", id="no-start"),
        pytest.param(
            {"subscription": {**MARCH["subscription"], "upgraded": True}}, "upgraded", id="upgrade"
        ),
        pytest.param({"charge": {"prorated": True}}, "recurring metrics", id="prorated"),
        pytest.param(
            {"period": {**MARCH["period"], "duration_days": 30}}, "no plan", id="duration"
        ),
        pytest.param(
            {"period": {"from": "2024-03-02T00:00:00Z", "to": "2024-03-31T23:59:59.999Z"}},
            "no plan has this period",
            id="start",
        ),
        pytest.param(
            {"period": {**MARCH["period"], "to": "2024-03-03T00:00:00Z"}},
            "an event at its termination",
            id="event-at-the-end",
        ),
        pytest.param(
            {
                "metric": {"code": "m", "aggregation_type": "weighted_sum_agg", "field_name": "v"},
                "period": {**MARCH["period"], "to": "2024-03-20T23:59:59.999Z"},
            },
            "as only a plan change does",
            id="weighted-whole-day",
        ),
        pytest.param(
            {
                "checkpoints": [
                    {"at": at, "period": MARCH["period"], "expect": {"units": "0"}}
                    for at in ("2024-03-04T00:00:00Z", "2024-03-02T00:00:00Z")
                ]
            },
            "not in the order of time",
            id="checkpoints-back-in-time",
        ),
    ],
)
def test_what_cannot_run_live(change: Any, reason: str, tmp_path: Path) -> None:
    (vector,) = read_vectors(written(tmp_path, [{**MARCH, **change}]))
    with pytest.raises(CannotRun, match=reason):
        script_of(vector)


def test_the_steps_of_a_vector(tmp_path: Path) -> None:
    """A vector that a termination ends: defined, sent at its times, read before the end."""
    change = {"period": {**MARCH["period"], "to": "2024-03-20T12:00:00Z"}}
    (vector,) = read_vectors(written(tmp_path, [{**MARCH, **change}]))
    script = script_of(vector)
    start_ms, day_ms = 1_709_251_200_000, 86_400_000
    end_ms = start_ms + 19 * day_ms + day_ms // 2
    assert script.plan[:3] == ("monthly", "calendar", start_ms)
    assert script.plan.terminated_at_ms == end_ms
    assert [step[:2] for step in script.steps] == [
        (start_ms, "define"),
        (start_ms + day_ms, "event"),
        (start_ms + 2 * day_ms, "event"),
        (end_ms - 1, "read"),
        (end_ms, "terminate"),
    ]
