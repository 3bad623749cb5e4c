"""A command ends by one line where a file takes no more, or nobody reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.ending import named_in_failures

_METER = [sys.executable, "-c", "from app.cli.main import cli; cli(prog_name='meter')"]
_UNBUFFERED = [None, "1"]
"""What is printed is kept for a while, or written at once."""

WORDS = [["limits"], ["settings", "-o", "table"]]
AT_THE_START = [["--help"]]


def _environment(unbuffered: str | None) -> dict[str, str]:
    rest = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return rest if unbuffered is None else {**rest, "PYTHONUNBUFFERED": unbuffered}


@pytest.mark.parametrize("words", [*WORDS, *AT_THE_START])
@pytest.mark.parametrize("unbuffered", _UNBUFFERED)
def test_a_full_disk_is_one_line(words: list[str], unbuffered: str | None) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*_METER, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=_environment(unbuffered),
        )
    assert ended.returncode == 3, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("Error: standard output")
    assert line.endswith(": No space left on device")


@pytest.mark.parametrize("words", [*WORDS, *AT_THE_START])
@pytest.mark.parametrize("unbuffered", _UNBUFFERED)
def test_whoever_reads_no_more_is_told_nothing(words: list[str], unbuffered: str | None) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [*_METER, *words],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=_environment(unbuffered),
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


def _write_to(path: Path) -> None:
    with path.open("wb", buffering=0) as file, named_in_failures(file):
        file.write(b"x")


def test_a_write_that_fails_names_its_file() -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        _write_to(Path("/dev/full"))
