"""A kernel that is compiled of the sources as they are, whatever lies in the tree."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.app.kernel.runs import ROOT, loaded


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the kernel, or take the tree's where that is made of the same sources."""
    found = importlib.util.spec_from_file_location("backend", ROOT / "deploy/build_backend.py")
    assert found is not None
    assert found.loader is not None
    backend = importlib.util.module_from_spec(found)
    found.loader.exec_module(backend)
    directory = tmp_path_factory.mktemp("kernel")
    if (there := backend.KERNEL / backend.COMPILED).exists():
        shutil.copy(there, directory)
    path: Path | None = backend.compile_kernel(directory)
    if path is None:
        pytest.skip("no compiler, or METER_KERNEL=python")
    return path


@pytest.fixture(scope="module")
def kernel(compiled: Path) -> Any:
    return loaded(compiled)
