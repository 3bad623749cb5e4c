"""What anybody sends stays within its bytes, and the kernel within the memory that it was given."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.app.kernel.runs import ROOT
from tests.app.kernel.sanitized import KERNEL, NOTHING

PLAYED = tuple(
    f"tests/{name}.py"
    for name in ("app/kernel/test_records", "app/kernel/test_arriving", "fuzz/test_targets")
)
"""What reads what others write."""


@pytest.mark.slow
@pytest.mark.skipif(KERNEL in os.environ, reason="it is played by itself")
def test_no_access_is_out_of_bounds() -> None:
    words = [sys.executable, "-m", "tests.app.kernel.sanitized", "--hypothesis-profile=check"]
    ended = subprocess.run(
        [*words, "-k", "kernel or records or batches", *PLAYED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode == NOTHING:
        pytest.skip(ended.stderr.strip())
    assert ended.returncode == pytest.ExitCode.OK, ended.stdout + ended.stderr
