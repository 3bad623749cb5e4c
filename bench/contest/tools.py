"""What the other contestants need: an environment of their own, jars, a compiled class.

Nothing of it is a dependency of the product. It lies under `.meter/bench` and is made once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import jgo

from app.local_servers.java import KAFKA_VERSION
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".meter" / "bench"
PACKAGES = ("quixstreams==3.28.1", "duckdb==2.0.0")
STREAMS = f"org.apache.kafka:kafka-streams:{KAFKA_VERSION}"
SOURCE = Path(__file__).with_name("Streams.java")
HEAP = "1g"


class Missing(Exception):
    """This machine lacks what a contestant needs; the message says what."""


@cache
def peer_python() -> Path:
    """Return a Python that has Quix Streams and DuckDB.

    Raises:
        Missing: they could not be installed.
    """
    python, stamp = PLACE / "venv" / "bin" / "python", PLACE / "venv" / "installed"
    if stamp.exists() and stamp.read_text() == repr(PACKAGES):
        return python
    try:
        _run(sys.executable, "-m", "venv", "--clear", str(PLACE / "venv"))
        _run(str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *PACKAGES)
    except Missing as error:
        raise Missing(f"{' and '.join(PACKAGES)} could not be installed ({error})") from error
    stamp.write_text(repr(PACKAGES))
    return python


@cache
def streams_command() -> list[str]:
    """Return the command that runs `Streams.java`, compiled.

    Raises:
        Missing: there is no compiler, or Kafka Streams could not be fetched.
    """
    java, compiler = shutil.which("java"), shutil.which("javac")
    if java is None or compiler is None:
        raise Missing("there is no JDK: java and javac are wanted on PATH")
    jars = os.pathsep.join(map(str, _streams_jars()))
    classes = PLACE / "classes"
    classes.mkdir(parents=True, exist_ok=True)
    _run(compiler, "-cp", jars, "-d", str(classes), str(SOURCE))
    return [java, f"-Xmx{HEAP}", "-cp", os.pathsep.join((jars, str(classes))), "Streams"]


def _streams_jars() -> list[Path]:
    known = PLACE / f"kafka-streams-{KAFKA_VERSION}.jars"
    jars = [Path(line) for line in known.read_text().splitlines()] if known.exists() else []
    if jars and all(jar.exists() for jar in jars):
        return jars
    mirror = Settings(profile="test").maven_url
    try:
        built = jgo.build(
            STREAMS, update=True, repositories={"central": mirror} if mirror else None
        )
    except Exception as error:  # jgo, requests and the file system each have their own
        raise Missing(f"{STREAMS} could not be fetched ({error})") from error
    PLACE.mkdir(parents=True, exist_ok=True)
    known.write_text("".join(f"{jar}\n" for jar in built.all_jars))
    return list(built.all_jars)


def _run(*command: str) -> None:
    PLACE.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise Missing(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise Missing(f"{Path(command[0]).name}: {said[-1]}")
