"""The compose file and the Dockerfile agree with the program they start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api.http.hosts import require_guarded
from app.local_servers.java import KAFKA_VERSION
from app.local_servers.kafka import PROPERTIES
from app.settings import LOCAL_ORGANIZATION_ID, Settings, unknown_variables

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    composed = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    found: dict[str, Any] = composed["services"]
    return found


def test_the_services_are_there(services: dict[str, Any]) -> None:
    assert set(services) == {"kafka", "redis", "webhooks", "worker"}


def test_images_are_official_and_pinned(services: dict[str, Any]) -> None:
    assert services["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert re.fullmatch(r"redis:\d+(-alpine)?", services["redis"]["image"])
    assert (REPOSITORY / services["worker"]["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("service", ["kafka", "redis"])
def test_the_worker_waits_for_healthy_servers(services: dict[str, Any], service: str) -> None:
    assert services[service]["healthcheck"]["test"]
    assert services["worker"]["depends_on"][service] == {"condition": "service_healthy"}


@pytest.mark.parametrize("service", ["kafka", "redis", "webhooks", "worker"])
def test_what_a_service_holds_survives(services: dict[str, Any], service: str) -> None:
    assert services[service]["volumes"]


def test_worker_environment_is_made_of_settings(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = services["worker"]["environment"]
    assert unknown_variables(environment) == []
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.profile == "local"
    assert settings.http_host == "0.0.0.0"
    monkeypatch.setenv("METER_API_KEYS", "o:some key")
    require_guarded(Settings())
    (bootstrap,) = settings.kafka_bootstrap_servers
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"INSIDE://{bootstrap}" in advertised.split(",")
    assert settings.redis_url == "redis://redis:6379/0"
    assert services["worker"]["ports"] == [f"127.0.0.1:{settings.http_port}:{settings.http_port}"]


def test_webhooks_are_signed_with_the_key_that_the_worker_shows(
    services: dict[str, Any],
) -> None:
    worker, webhooks = services["worker"], services["webhooks"]
    assert webhooks["command"] == ["webhooks"]
    assert unknown_variables(webhooks["environment"]) == []
    name = "METER_WEBHOOK_PRIVATE_KEY_FILE"
    assert "worker:/var/lib/worker:ro" in webhooks["volumes"]
    shown, used = worker["environment"][name], webhooks["environment"][name]
    assert shown.replace("/meterstream/", "/worker/") == used
    assert f"openssl genrsa -out {Path(shown).name}" in worker["command"][0]
    for setting in ("METER_KAFKA_BOOTSTRAP_SERVERS", "METER_ADVERTISED_URL", "METER_PROFILE"):
        assert webhooks["environment"][setting] == worker["environment"][setting]
    assert "ports" not in webhooks


@pytest.mark.parametrize("service", ["kafka", "worker"])
def test_only_this_machine_reaches_a_port(services: dict[str, Any], service: str) -> None:
    assert services[service]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in services[service]["ports"])


def test_the_first_start_makes_a_key_that_stays(services: dict[str, Any], tmp_path: Path) -> None:
    worker = services["worker"]
    told = tmp_path / "meter"
    told.write_text('#!/bin/sh\necho "$METER_API_KEYS" "$@"\n')
    told.chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    (script,) = worker["command"]
    first, second = (
        subprocess.run(
            [*worker["entrypoint"], script.replace("$$", "$")],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    )
    assert first == second
    assert re.fullmatch(rf"{LOCAL_ORGANIZATION_ID}:[0-9a-f]{{64}} worker\n", first)
    assert (tmp_path / "api-key").stat().st_mode & 0o077 == 0


def test_kafka_is_set_up_like_the_embedded_one(services: dict[str, Any]) -> None:
    environment = services["kafka"]["environment"]
    shared = [
        key
        for key in PROPERTIES
        if key.endswith((".replication.factor", ".min.isr")) or key.startswith("auto.create")
    ]
    assert len(shared) == 6
    for key in shared:
        assert environment[f"KAFKA_{key.upper().replace('.', '_')}"] == PROPERTIES[key], key


def test_dockerfile_is_pinned_and_not_root() -> None:
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text()
    assert "--constraint constraints.txt" in dockerfile
    users = re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)
    assert users
    assert users[-1] not in ("0", "root")
    names = re.findall(r"METER_[A-Z_]+", dockerfile)
    assert unknown_variables(dict.fromkeys(names, "")) == []


def test_dockerfile_copies_only_what_the_context_lets_in() -> None:
    let_in = re.findall(r"^!(\S+)", (REPOSITORY / ".dockerignore").read_text(), re.MULTILINE)
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text()
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied <= set(let_in)
    assert all((REPOSITORY / source).exists() for source in copied)
