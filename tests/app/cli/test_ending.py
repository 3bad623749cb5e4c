"""A command ends by one line where a file takes no more, or nobody reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

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


def _ended(
    words: list[str], output: int | IO[bytes], unbuffered: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a command that prints to `output`."""
    return subprocess.run(
        [*_METER, *words],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=_environment(unbuffered),
    )


@pytest.mark.parametrize("words", [*WORDS, *AT_THE_START])
@pytest.mark.parametrize("unbuffered", _UNBUFFERED)
def test_a_full_disk_is_one_line(words: list[str], unbuffered: str | None) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = _ended(words, full, unbuffered)
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
        ended = _ended(words, writing, unbuffered)
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


_INTERRUPTED_AT = """
import os, signal, sys

# A shell has what it starts in the background ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == %r:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["limits"]
from app.cli.entry import meter
meter()
"""


@pytest.mark.parametrize("module", ["click", "app.cli.main", "app.cli.limits", "ast"])
def test_ctrl_c_is_one_line_from_the_first_import_on(module: str) -> None:
    code = _INTERRUPTED_AT % module
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "Interrupted.\n")


def _write_to(path: Path, buffering: int) -> None:
    with path.open("wb", buffering=buffering) as file, named_in_failures(file):
        file.write(b"x")


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_write_that_fails_names_its_file(buffering: int) -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        _write_to(Path("/dev/full"), buffering)
