"""The worked example of CONTRIBUTING.md is applied to a copy of the repository and tested there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from app.definitions.aggregation_types import AGGREGATION_TYPES
from tests.world.profiles import CHECK

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
COPIED = ("app", "agents", "tables", "tests")

LAWS = (
    "tests/laws/test_registry.py",
    "tests/laws/test_aggregations.py",
    "tests/laws/test_cuts.py",
    "tests/laws/test_partition.py",
    "tests/semantics/test_minimum.py",
)
"""Laws over the registry, and the story of the new type."""

RUN = (
    "test_registry.py::test_the_api_asks_for_what_the_class_uses[min_agg]",
    "test_aggregations.py::test_packing_round_trip[min_agg]",
    "test_cuts.py::test_published_at_a_cut_is_the_fold_of_the_prefix[min]",
    "test_partition.py::test_order_and_batches_of_delivery[all]",
    "test_minimum.py::test_the_least_value_of_a_period_counts[the least]",
)
"""Some of the tests that must have been among them."""

_BLOCK = re.compile(
    r"^#### `(?P<path>[\w/.]+)`\n\n```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A code block of the page, with the path that its heading names."""

    path: str
    language: str
    text: str

    @property
    def changes(self) -> Iterator[tuple[str, str]]:
        """Yield (lines before, lines after) for each place that a diff shows."""
        for place in self.text.split("@@\n"):
            lines = place.splitlines(keepends=True)
            assert {line[0] for line in lines} <= {" ", "+", "-"}, place
            yield (
                "".join(line[1:] for line in lines if line[0] != "+"),
                "".join(line[1:] for line in lines if line[0] != "-"),
            )

    def apply(self, root: Path) -> None:
        """Write a new file, or change an old one at places that are there once."""
        path = root / self.path
        if self.language == "python":
            assert not path.exists(), self.path
            path.write_text(self.text)
            return
        text = path.read_text()
        for before, after in self.changes:
            assert text.count(before) == 1, f"{self.path} does not have this once:\n{before}"
            text = text.replace(before, after)
        path.write_text(text)


BLOCKS = [Block(*found) for found in _BLOCK.findall(PAGE)]
REGISTRATION = ("app/definitions/aggregation_types.py", "tables/registry.py")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy what the example changes and its tests need."""
    root = tmp_path / "copy"
    for folder in COPIED:
        # With the bytecode, or each run in the copy compiles all of it anew.
        shutil.copytree(ROOT / folder, root / folder)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module in the copy."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=root, capture_output=True, text=True, check=False
    )


def test_each_block_has_its_path() -> None:
    assert len(BLOCKS) == PAGE.count("\n#### ") == 5
    assert {block.language for block in BLOCKS} == {"python", "diff"}


def test_the_example_is_not_in_the_product() -> None:
    assert "min_agg" not in AGGREGATION_TYPES


def test_the_worked_example_works_to_the_letter(copy: Path) -> None:
    for block in BLOCKS:
        block.apply(copy)
    # The laws play all they have elsewhere: here they show that they take the new type in.
    profile = f"--hypothesis-profile={CHECK}"
    some = ("-k", "min or registry or order_and_batches")
    tests = run(copy, "pytest", "-v", profile, *LAWS, *some)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    for law in RUN:
        assert f"{law} PASSED" in tests.stdout
    changed = [block.path for block in BLOCKS]
    style = run(copy, "ruff", "check", *changed)
    assert style.returncode == 0, style.stdout
    form = run(copy, "ruff", "format", "--check", *changed)
    assert form.returncode == 0, form.stdout


@pytest.mark.slow
@pytest.mark.parametrize("missing", REGISTRATION)
def test_without_a_registration_the_laws_fail(copy: Path, missing: str) -> None:
    for block in BLOCKS:
        if block.path != missing:
            block.apply(copy)
    tests = run(copy, "pytest", "-q", *LAWS[:1], *LAWS[-1:])
    assert tests.returncode == 1, tests.stdout + tests.stderr
    assert "test_what_the_api_accepts_is_what_can_be_folded" in tests.stdout
    assert "test_the_least_value_of_a_period_counts" in tests.stdout
