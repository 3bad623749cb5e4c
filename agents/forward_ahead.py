"""Forward ahead: while a partition's fold stands or is late, events of others go to their homes."""

from __future__ import annotations

from app.runtime.partition.ahead import Ahead
from app.runtime.partition.owned import OwnedPartition


async def forward_ahead(owned: OwnedPartition, ahead: Ahead) -> None:
    """Forward whenever others need what the fold has not come to, until cancelled."""
    await ahead.go(owned)
