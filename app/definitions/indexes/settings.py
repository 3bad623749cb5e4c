"""The settings records of the log, of all organizations."""

from __future__ import annotations

from app.definitions.model import SettingsRecord
from app.definitions.versions import Versions


class SettingsVersions(Versions[SettingsRecord]):
    """The settings records, each in force from its append time on."""

    __slots__ = ()

    def commit(self, record: SettingsRecord, now_ms: int, offset: int) -> None:
        """Take the next one over."""
        if offset == 0:
            # The first in the log, so in force for what was appended before it as well.
            now_ms = -1
        elif not self:
            self.push(-1, -1, SettingsRecord())
        self.push(now_ms, offset, record)
