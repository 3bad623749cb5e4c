"""`meter settings apply`: what differs, and appending it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.cli.settings_apply import differences, revisions_meet_seldom
from app.definitions.model import SettingsRecord
from app.kafka.topics import USAGE_DAILY, partition_count
from app.local_servers.ports import free_ports
from app.main import Worker
from app.settings import Settings
from tests.app.cli.conftest import Meter
from tests.world.waiting import eventually


def _environment(settings: Settings) -> dict[str, str]:
    """What makes the command line see this worker's own settings."""
    return {
        "METER_PROFILE": "test",
        "METER_KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "METER_TOPIC_PREFIX": settings.topic_prefix,
        "METER_IMPLICIT_PLAN": "true",
    }


@pytest.mark.servers
async def test_differences_are_printed_and_applied(worker: Worker, meter: Meter) -> None:
    ours = _environment(worker.settings)
    same = await meter("settings", "apply", **ours)
    assert (same.exit_code, same.stdout) == (
        0,
        "Nothing to change: the log has these settings.\n",
    ), same.output

    changes = {"METER_GRACE_S": "7200", "METER_LATE_POLICY": "refuse", "METER_DAILY_RECORDS": "1"}
    other = ours | changes
    printed = (
        "  late_policy: 'revise' -> 'refuse'\n  grace_s: 0 -> 7200\n"
        "  daily_records: False -> True\n"
    )
    dry = await meter("settings", "apply", "--dry-run", **other)
    assert dry.stdout == printed
    declined = await meter("settings", "apply", **other)
    assert declined.stdout.startswith(printed + "Append these")
    assert worker.engine.definitions.settings_at().grace_s == 0

    applied = await meter("settings", "apply", "--yes", "--json", **other)
    assert json.loads(applied.stdout) == {
        "applied": True,
        "changes": [
            {"setting": "late_policy", "before": "revise", "after": "refuse"},
            {"setting": "grace_s", "before": 0, "after": 7200},
            {"setting": "daily_records", "before": False, "after": True},
        ],
    }
    topic = worker.settings.topic(USAGE_DAILY)
    assert await partition_count(worker.settings, topic) == worker.settings.raw_partitions

    async def in_force() -> tuple[int, str]:
        settings = worker.engine.definitions.settings_at()
        return settings.grace_s, settings.late_policy

    await eventually(in_force, (7200, "refuse"))
    homeless = other | {"METER_HOME_PARTITIONER": "murmur2", "METER_DEFAULT_ORGANIZATION_ID": "b"}
    refused = await meter("settings", "apply", "--yes", **homeless)
    assert refused.exit_code == 1
    assert "set METER_HOME_PARTITIONER=crc32" in refused.stderr
    assert "default_organization_id cannot be changed once the log has it" in refused.stderr
    odd = await meter("settings", "apply", "--yes", **other, METER_REVISE_EVERY_S="3601")
    assert odd.exit_code == 1
    assert "set METER_REVISE_EVERY_S to a part of 3600" in odd.stderr
    again = await meter("settings", "apply", "--yes", "--json", **other)
    assert json.loads(again.stdout) == {"applied": False, "changes": []}


@pytest.mark.servers
async def test_a_log_that_is_not_there_is_told(worker: Worker, meter: Meter) -> None:
    elsewhere = _environment(worker.settings) | {"METER_TOPIC_PREFIX": "nobody-has-this-"}
    answer = await meter("settings", "apply", **elsewhere)
    assert answer.exit_code == 1
    assert "has no topic nobody-has-this-meter-definitions" in answer.stderr


def test_no_kafka_is_one_line() -> None:
    (port,) = free_ports(1)
    answer = CliRunner(env={"METER_KAFKA_PORT": str(port)}).invoke(cli, ["settings", "apply"])
    assert answer.exit_code == 3
    assert f"Kafka at 127.0.0.1:{port} does not answer" in answer.stderr


@pytest.mark.parametrize("asked", ["settings apply --yes", "topics create", "doctor"])
def test_with_given_brokers_the_profile_is_not_guessed(asked: str) -> None:
    """`meter worker` is production there, `meter up` local, and the two differ in the log."""
    environment = {"METER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "METER_PROFILE": None}
    answer = CliRunner(env=environment).invoke(cli, asked.split())
    assert answer.exit_code == 2
    assert "METER_PROFILE is not set" in answer.stderr


@pytest.mark.parametrize(
    ("after", "changes"),
    [
        pytest.param(SettingsRecord(), [], id="same"),
        pytest.param(
            SettingsRecord(close_elapsed=False),
            [{"setting": "close_elapsed", "before": True, "after": False}],
            id="one",
        ),
        pytest.param(
            SettingsRecord(default_organization_id="acme"),
            [{"setting": "default_organization_id", "before": None, "after": "acme"}],
            id="from-nothing",
        ),
    ],
)
def test_differences(after: SettingsRecord, changes: list[dict[str, object]]) -> None:
    assert differences(SettingsRecord(), after) == changes


@pytest.mark.parametrize(
    ("known_s", "wanted_s", "is_refused"),
    [
        pytest.param(set(), 3601, False, id="first"),
        pytest.param({3600, 3601}, 3601, False, id="held-before"),
        pytest.param({3600}, 86_400, False, id="multiple"),
        pytest.param({3600, 86_400}, 300, False, id="part"),
        pytest.param({7200, 10_800}, 21_600, False, id="multiple-of-both"),
        pytest.param({3600}, 3601, True, id="odd"),
        pytest.param({86_400}, 32 * 86_400, False, id="longer-than-a-month"),
        pytest.param({5 * 86_400}, 7 * 86_400, True, id="five-and-seven-days"),
    ],
)
def test_revisions_that_meet_seldom_are_refused(
    known_s: set[int], wanted_s: int, is_refused: bool
) -> None:
    assert bool(revisions_meet_seldom(known_s, wanted_s)) == is_refused
