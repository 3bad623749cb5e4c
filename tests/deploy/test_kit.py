"""Dashboard, unit and compose file agree with what a worker is, tells and can be set."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api.http.hosts import require_guarded, require_peer_secret
from app.local_servers.java import KAFKA_VERSION
from app.settings import Settings, unknown_variables
from tests.deploy.metrics import Told, series_of_a_worker, unknown_in

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/meterstream.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
COMPOSE = ROOT / "deploy/compose/production.yaml"
UNIT = ROOT / "deploy/systemd/meterstream@.service"
WEBHOOKS_UNIT = ROOT / "deploy/systemd/meterstream-webhooks.service"
UNITS = (UNIT, WEBHOOKS_UNIT)
WORKERS = ("worker-1", "worker-2")
BROKERS = ("kafka-1", "kafka-2", "kafka-3")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    return series_of_a_worker(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_a_panel_asks_for_what_workers_tell(panel: dict[str, Any], known: dict[str, Told]) -> None:
    for target in panel["targets"]:
        assert unknown_in(target["expr"], known) == []
        shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        told = [each for name, each in known.items() if re.search(rf"\b{name}\b", target["expr"])]
        assert set(shown) <= set.union(*(each.labels for each in told))


def test_the_dashboard_has_all_its_parts_and_no_panel_over_another() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [
        "Health", "Flow", "Closing", "Not counted", "Exactness", "Cost", "Kafka and Redis",
    ]  # fmt: skip
    places = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", UNITS, ids=[path.stem for path in UNITS])
def test_a_unit_restarts_its_process_and_lets_it_do_little(path: Path) -> None:
    unit = path.read_text()
    for line in (
        "Restart=always", "LimitNOFILE=65536",
        f"StateDirectory=meterstream/{'webhooks' if path == WEBHOOKS_UNIT else '%i'}",
        "EnvironmentFile=/etc/meterstream/worker.env", "NoNewPrivileges=yes",
        "ProtectSystem=strict", "DynamicUser=yes", "TimeoutStopSec=60",
    ):  # fmt: skip
        assert f"\n{line}\n" in unit
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(unit)
    assert parser.sections() == ["Unit", "Service", "Install"]
    named = dict.fromkeys(re.findall(r"^Environment=(METER_\w+)=", unit, re.MULTILINE), "")
    assert named
    assert unknown_variables(named) == []


def test_the_unit_of_webhooks_confines_them_as_it_does_workers() -> None:
    ours, workers = (path.read_text().partition("\nCapabilityBoundingSet=") for path in UNITS)
    assert ours[2] == workers[2]
    assert "ExecStart=/opt/meterstream/bin/meter webhooks\n" in WEBHOOKS_UNIT.read_text()


def test_webhooks_leave_the_port_alone_that_workers_of_the_machine_have_for_health() -> None:
    """Both read worker.env; image, chart and compose file have each in a place of its own."""
    (admin,) = re.findall(r"METER_ADMIN_PORT=(\d+)", (ROOT / "deploy/Dockerfile").read_text())
    (port,) = re.findall(r"\nEnvironment=METER_WEBHOOKS_PORT=(\d+)", WEBHOOKS_UNIT.read_text())
    assert port not in (admin, str(Settings.model_fields["http_port"].default))


@pytest.mark.parametrize("unit", UNITS, ids=[path.stem for path in UNITS])
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not here")
    # As it would be where the program is installed.
    (tmp_path / unit.name).write_text(
        unit.read_text().replace("/opt/meterstream/bin/meter", shutil.which("true") or "")
    )
    ran = subprocess.run(
        [tool, "verify", "--man=no", str(tmp_path / unit.name)], capture_output=True, text=True
    )
    assert [line for line in ran.stderr.splitlines() if unit.name in line] == []


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_of_production_may_start(
    name: str, composed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = composed["services"][name]
    assert unknown_variables(service["environment"]) == []
    (script,) = service["command"]
    monkeypatch.setenv("METER_API_KEYS", f"00000000-0000-4000-8000-000000000001:{'ab' * 32}")
    monkeypatch.setenv("METER_PEER_SECRET", "cd" * 32)
    assert set(re.findall(r"export (METER_\w+)=", script)) == {
        "METER_API_KEYS",
        "METER_PEER_SECRET",
    }
    for variable, value in service["environment"].items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    require_guarded(settings)
    require_peer_secret(settings)
    assert settings.profile == "production"
    assert settings.group_instance_id == name
    assert settings.advertised_url == f"http://{name}:8080"
    assert [server.partition(":")[0] for server in settings.kafka_bootstrap_servers] == [*BROKERS]
    (network,) = composed["networks"]["meter"]["ipam"]["config"]
    assert [*settings.trusted_proxies] == [ip_network(network["subnet"])]


def test_webhooks_of_production_sign_with_the_key_that_the_workers_show(
    composed: dict[str, Any],
) -> None:
    services = composed["services"]
    webhooks = services["webhooks"]
    assert webhooks["command"] == ["exec meter webhooks"]
    assert unknown_variables(webhooks["environment"]) == []
    name = "METER_WEBHOOK_PRIVATE_KEY_FILE"
    key = webhooks["environment"][name]
    assert f"openssl genrsa -out {key} 2048" in services["keys"]["command"][0]
    for each in (*WORKERS, "webhooks"):
        assert services[each]["environment"][name] == key
        assert "secrets:/secrets:ro" in services[each]["volumes"]
    assert "METER_GROUP_INSTANCE_ID" not in webhooks["environment"]
    assert "ports" not in webhooks


def test_brokers_keep_three_copies_and_redis_forgets_nothing(composed: dict[str, Any]) -> None:
    services = composed["services"]
    for number, name in enumerate(BROKERS, 1):
        environment = services[name]["environment"]
        assert services[name]["image"] == f"apache/kafka:{KAFKA_VERSION}"
        assert environment["KAFKA_NODE_ID"] == str(number)
        assert environment["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{name}:9092"
        assert environment["KAFKA_DEFAULT_REPLICATION_FACTOR"] == "3"
        assert environment["KAFKA_MIN_INSYNC_REPLICAS"] == "2"
        assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    redis = " ".join(services["redis"]["command"])
    assert "--appendonly yes" in redis
    assert "--maxmemory-policy noeviction" in redis


def test_what_production_names_is_there_and_only_this_machine_reaches_it(
    composed: dict[str, Any],
) -> None:
    mounted = set()
    for name, service in composed["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert set(service.get("depends_on", {})) <= set(composed["services"])
        assert {each["source"] for each in service.get("configs", [])} <= set(composed["configs"])
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            mounted.add(source)
            assert source in composed["volumes"] or (COMPOSE.parent / source).resolve().is_file()
        if "build" in service:
            context = (COMPOSE.parent / service["build"]["context"]).resolve()
            assert (context / service["build"]["dockerfile"]).is_file()
        else:
            assert re.fullmatch(r"[a-z/]+:v?\d[\w.-]*", service["image"]), service["image"]
    assert set(composed["volumes"]) <= mounted


def test_prometheus_and_grafana_read_what_is_shipped(composed: dict[str, Any]) -> None:
    configs = {name: yaml.safe_load(each["content"]) for name, each in composed["configs"].items()}
    scraped = {
        job["job_name"]: targets["targets"]
        for job in configs["prometheus"]["scrape_configs"]
        for targets in job["static_configs"]
    }
    assert scraped == {
        "meterstream": [f"{name}:8081" for name in WORKERS],
        "meterstream-webhooks": ["webhooks:8081"],
    }
    (source,) = configs["datasource"]["datasources"]
    used = {panel["datasource"]["uid"] for panel in PANELS}
    assert used == {source["uid"]}


def test_keys_are_made_once(composed: dict[str, Any], tmp_path: Path) -> None:
    (script,) = composed["services"]["keys"]["command"]
    script = script.replace("$$", "$").replace("/secrets", str(tmp_path / "secrets"))
    script = script.replace("chown -R 10001", "true")
    (tmp_path / "secrets").mkdir()
    # The image has a `python`; many machines have none but by its version.
    (tmp_path / "python").symlink_to(sys.executable)
    path = f"{tmp_path}:{os.environ['PATH']}"
    made = []
    for _ in range(2):
        subprocess.run(["/bin/sh", "-ec", script], check=True, env={**os.environ, "PATH": path})
        made.append({path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()})
    assert made[0] == made[1]
    assert "BEGIN PRIVATE KEY" in made[0].pop("webhook-key.pem")
    assert made[0].keys() == {"api-key", "peer-secret"}
    assert all(re.fullmatch(r"[0-9a-f]{64}\n", key) for key in made[0].values())
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0


def test_docker_compose_reads_the_file() -> None:
    tool = shutil.which("docker")
    if tool is None or subprocess.run([tool, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not here")
    ran = subprocess.run(
        [tool, "compose", "-f", str(COMPOSE), "config", "--quiet"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
