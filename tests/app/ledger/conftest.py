"""Worlds whose ledgers close, merge and compress their files at other sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.ledger import ledger as module
from tests.app.ledger.world import World


@pytest.fixture(params=[(3, 0, 1), (50, 0, 700), (50, 3, 10**6), (50, 256, 700), (10**6, 256, 700)])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """Make one whose files are closed after so many chunks, and merged if they have more blocks.

    So many bytes of chunks, and one chunk at least, are compressed together.
    """
    chunks, blocks, slab_bytes = request.param
    monkeypatch.setattr(module, "MERGED_CHUNKS", chunks)
    monkeypatch.setattr(module, "FEW_BLOCKS", blocks)
    monkeypatch.setattr("app.ledger.blocks._SLAB_BYTES", slab_bytes)
    return World(tmp_path)
