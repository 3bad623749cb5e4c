"""`meter topics create`: the topics of a worker, made before it starts."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.kafka.topics import topic_specs
from app.local_servers.ports import free_ports
from app.settings import Settings


@pytest.mark.servers
def test_missing_topics_are_made_once(settings: Settings) -> None:
    ours = {
        "METER_PROFILE": "test",
        "METER_KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "METER_TOPIC_PREFIX": f"{settings.topic_prefix}made-",
    }
    number = len(topic_specs(settings))
    made = CliRunner(env=ours).invoke(cli, ["topics", "create"])
    assert made.exit_code == 0, made.output
    assert f"{settings.topic_prefix}made-events-raw is made\n" in made.stdout
    assert f"{number} made, 0 were there." in made.stdout
    again = CliRunner(env=ours).invoke(cli, ["topics", "create"])
    assert (again.exit_code, again.stdout) == (0, f"0 made, {number} were there.\n")


def test_no_kafka_cannot_be_found_out() -> None:
    (port,) = free_ports(1)
    answer = CliRunner(env={"METER_KAFKA_PORT": str(port)}).invoke(cli, ["topics", "create"])
    assert (answer.exit_code, answer.stdout) == (3, "")
