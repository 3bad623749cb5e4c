"""Judging: what the definitions say of raw records beside their bytes (bounded-work §1.3, §4).

Kafka does not tell a consumer who wrote a record. A setting says how much of a record is believed.
A change holds for records appended `TRUST_AFTER_MS` after it. When a record is folded, the
definitions of its own time are seldom known yet; those of an hour before nearly always are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from app.bounds.limits import TRUST_AFTER_MS
from app.definitions.indexes.grants import Grants
from app.definitions.model import ProducerTrust, SettingsRecord
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.definitions.versions import Versions

ORGANIZATION_HEADER: Final = "meter-organization"
"""Header with a raw record's organization; a gateway sets it and strips that of clients."""

GRANTED_HEADER: Final = "meter-granted"
"""Header with the offset of a raw record's grant in the definitions log."""

_Headers = Sequence[tuple[str, bytes | None]]


class Belief(NamedTuple):
    """How much is believed of what raw records say."""

    after_ms: int
    """Append time in ms after which the belief holds."""
    producer_trust: ProducerTrust
    may_correct: bool
    may_admit: bool

    def is_like(self, other: Belief | None) -> bool:
        """Return True if another belief allows the same; None: everything is believed."""
        return self[1:] == (_EVERYTHING if other is None else other)[1:]

    def may_be_of(
        self, organization_id: str | None, default: str | None, headers: _Headers
    ) -> bool:
        """Return True if a record may belong to an organization."""
        return self.producer_trust == "claimed" or organization_id == self.vouched(default, headers)

    def vouched(self, default: str | None, headers: _Headers) -> str | None:
        """Return the only organization a record may have, or None; not for trust `claimed`."""
        if self.producer_trust == "topic":
            return default
        named = [text for name, text in headers if name == ORGANIZATION_HEADER]
        # If there are two, one was not stripped by the gateway, so neither is believed.
        text = named[0] if len(named) == 1 else None
        return text.decode(errors="replace") if text else None


_EVERYTHING: Final = Belief(-1, "claimed", True, True)


class Judging(NamedTuple):
    """Definitions that decide what a raw record may do; by default it may do everything."""

    default_organization_id: str | None = None
    """The organization of events that name none."""
    limited_after_ms: int = NEVER_MS
    """Append time in ms after which raw records keep to the limits of `app.bounds.limits`."""
    known_before_ms: int = NEVER_MS
    """Append time in ms before which all definitions are known, limits included."""
    beliefs: Sequence[Belief] = ()
    """Beliefs in order of time; empty: everything is believed."""
    grants: Grants = Grants()
    next_grant: int = 0
    """First offset of the definitions not applied yet: a grant from there on is unknown."""

    @staticmethod
    def by(definitions: Definitions) -> Judging:
        """Return the judging by the definitions as they stand now."""
        return Judging(
            definitions.settings_at().default_organization_id,
            definitions.limited_after_ms(),
            definitions.append_time_ms,
            _beliefs(definitions.settings),
            definitions.grants,
            definitions.offset,
        )

    def belief_at(self, append_time_ms: int) -> Belief | None:
        """Return how much is believed of a record appended then; None: everything."""
        for belief in reversed(self.beliefs):
            if append_time_ms > belief.after_ms:
                return None if belief.is_like(None) else belief
        return None

    def trust_from(self, append_time_ms: int) -> ProducerTrust | None:
        """Return whose records appended from a time on may be, as far as known; None: it varies."""
        if not self.beliefs:
            return "claimed"
        newest = self.beliefs[-1]
        return newest.producer_trust if append_time_ms > newest.after_ms else None

    def waits_past_ms(self, append_time_ms: int, headers: _Headers) -> int | None:
        """Return the append time in ms that definitions must pass before a record is judged.

        None: the record can be judged now. Limits are not considered here.
        """
        if append_time_ms > self.believed_until_ms:
            return append_time_ms - TRUST_AFTER_MS - 1
        if headers and self.beliefs and append_time_ms >= self.known_before_ms:
            granted = granted_offset(headers)
            if granted is not None and granted >= self.next_grant:
                return append_time_ms
        return None

    @property
    def believed_until_ms(self) -> int:
        """Last append time in ms for which it is known how much is believed."""
        return self.known_before_ms + TRUST_AFTER_MS

    def of_forwards(self) -> Judging:
        """Return the judging of forwarded events, which their owner has believed already."""
        return self._replace(beliefs=())


def _beliefs(settings: Versions[SettingsRecord]) -> list[Belief]:
    """Return how much is believed of what raw records say, as it changed."""
    found: list[Belief] = []
    for at_ms, record in zip(settings.changes, settings.all(), strict=True):
        belief = Belief(
            # The first record holds for what was appended before it as well.
            at_ms if at_ms < 0 else at_ms + TRUST_AFTER_MS,
            record.producer_trust,
            record.producers_may_correct,
            record.producers_may_admit,
        )
        if not belief.is_like(found[-1] if found else None):
            found.append(belief)
    return found


def granted_offset(headers: _Headers) -> int | None:
    """Return the offset of the grant that a raw record names; None: no readable one."""
    for name, text in headers:
        if name == GRANTED_HEADER:
            return int(text) if text is not None and text.isdigit() and len(text) < 19 else None
    return None
