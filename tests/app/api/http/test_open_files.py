"""The limit of open files."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.api.http.open_files import most_connections


def _raised(soft: int, hard: int) -> subprocess.CompletedProcess[str]:
    script = (
        "import resource; from app.api.http.open_files import raise_limit\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_the_soft_limit_becomes_the_hard_one() -> None:
    assert _raised(256, 2_048).stdout.split() == ["2048", "2048"]


def test_too_few_are_refused_by_name() -> None:
    refused = _raised(256, 1_023)
    assert refused.returncode != 0
    assert "Only 1023 files" in refused.stderr
    assert "ulimit -n" in refused.stderr


@pytest.mark.parametrize(("limit", "most"), [(1_024, 256), (2_048, 768), (65_536, 1_024)])
def test_connections_leave_files_for_the_rest(limit: int, most: int) -> None:
    assert most_connections(limit) == most
