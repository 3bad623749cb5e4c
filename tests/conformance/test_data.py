"""The data of the conformance suite: every file is of a known format, every id is there once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.directory import vector_files
from tests.conformance.files import OWN, VECTORS

README = (VECTORS / "README.md").read_text()
FOLDERS = [VECTORS, OWN]


def ids_of(path: Path) -> list[str]:
    return [vector["id"] for vector in json.loads(path.read_text())]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_is_run(folder: Path) -> None:
    found = set(folder.rglob("*")) - {folder / "aggregation", folder / "README.md"}
    assert found == set(vector_files(folder))
    assert all(ids_of(path) for path in found)


def test_no_id_is_there_twice() -> None:
    paths = [path for folder in FOLDERS for path in vector_files(folder)]
    ids = Counter(name for path in paths for name in ids_of(path))
    assert [name for name, times in ids.items() if times > 1] == []


def test_the_readme_names_every_file_and_mode() -> None:
    files = {path.name for path in VECTORS.glob("*.json")}
    modes = {
        vector["mode"]
        for path in VECTORS.glob("aggregation/*.json")
        for vector in json.loads(path.read_text())
        if "mode" in vector
    }
    assert {word for word in files | modes if f"`{word}`" not in README} == set()
