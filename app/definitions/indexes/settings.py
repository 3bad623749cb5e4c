"""The settings records of the log, of all organizations."""

from __future__ import annotations

from app.definitions.model import SettingsRecord
from app.definitions.timeline import NEVER_MS
from app.definitions.versions import Versions


class SettingsVersions(Versions[SettingsRecord]):
    """The settings records, each in force from its append time on."""

    __slots__ = ()

    def daily_ms(self, until_ms: int | None = None) -> tuple[tuple[int, int], ...]:
        """Return from when until when there are daily records: pairs of append times.

        Under records appended until `until_ms` (None: all). The last pair may have no end yet.
        """
        found: list[tuple[int, int]] = []
        since_ms = -2
        for at_ms, record in zip(self.changes, self.all(), strict=True):
            if until_ms is not None and at_ms > until_ms:
                break
            if record.daily_records and since_ms == -2:
                since_ms = at_ms
            elif not record.daily_records and since_ms != -2:
                found.append((since_ms, at_ms))
                since_ms = -2
        return tuple(found) if since_ms == -2 else (*found, (since_ms, NEVER_MS))

    def commit(self, record: SettingsRecord, now_ms: int, offset: int) -> None:
        """Take the next one over."""
        if offset == 0:
            # The first in the log, so in force for what was appended before it as well.
            now_ms = -1
        elif not self:
            self.push(-1, -1, SettingsRecord())
        self.push(now_ms, offset, record)
