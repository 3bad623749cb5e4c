"""Records of the definitions log, as they are listed."""

from __future__ import annotations

import msgspec


class DefinitionChange(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the definitions log, accepted or not, and whose key it came with."""

    offset: int
    append_time_ms: int
    organization_id: str
    type: str
    object: str | None
    """Code or external id; None where the record names none."""
    changed_by: str | None
