"""Worlds have few cells; it is noted which of them change, as of many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="package")
def all_noted() -> Iterator[None]:
    """Note which cells change of layers with however few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tables.cells.cell.FEW_CELLS", 0)
        yield
