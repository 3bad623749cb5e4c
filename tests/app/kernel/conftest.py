"""A kernel that is compiled of the sources as they are, whatever lies in the tree."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from app import kernel as in_use
from tests.app.kernel.runs import compiled_into, loaded


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the kernel, or take the one in use where that is made of the same sources."""
    directory = tmp_path_factory.mktemp("kernel")
    loaded_from = getattr(in_use.chosen, "__file__", None)
    if in_use.described == "compiled" and loaded_from is not None:
        shutil.copy(loaded_from, directory)
    path = compiled_into(directory)
    if path is None:
        pytest.skip("no compiler, or METER_KERNEL=python")
    return path


@pytest.fixture(scope="module")
def kernel(compiled: Path) -> Any:
    return loaded(compiled)
