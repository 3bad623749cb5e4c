"""Judging: what the definitions say of raw records beside their bytes (bounded-work §1.3, §4).

Kafka tells a consumer nothing of who wrote. How much is believed of what a record says is a
setting. A change holds for records appended `TRUST_AFTER_MS` after it: the definitions of a
record's own time are seldom known yet when it is folded, those of an hour before nearly always.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from app.bounds.limits import TRUST_AFTER_MS
from app.definitions.indexes.grants import Grants
from app.definitions.model import ProducerTrust, SettingsRecord
from app.definitions.state import Definitions
from app.definitions.timeline import NEVER_MS
from app.definitions.versions import Versions

ORGANIZATION_HEADER: Final = "meter-organization"
"""Of a raw record: whose it is, by a gateway that strips what clients send under this name."""

GRANTED_HEADER: Final = "meter-granted"
"""Of a raw record: the offset of the grant record in the definitions."""

_Headers = Sequence[tuple[str, bytes | None]]


class Belief(NamedTuple):
    """How much is believed of what raw records say."""

    after_ms: int
    """Of those appended later."""
    producer_trust: ProducerTrust
    may_correct: bool
    may_admit: bool

    def is_like(self, other: Belief | None) -> bool:
        """Whether another says the same; None: everything is believed."""
        return self[1:] == (_EVERYTHING if other is None else other)[1:]

    def may_be_of(
        self, organization_id: str | None, default: str | None, headers: _Headers
    ) -> bool:
        """Whether a record may be of an organization."""
        return self.producer_trust == "claimed" or organization_id == self.vouched(default, headers)

    def vouched(self, default: str | None, headers: _Headers) -> str | None:
        """Whose a record can only be, whatever it says; None: nobody's. Not for `claimed`."""
        if self.producer_trust == "topic":
            return default
        named = [text for name, text in headers if name == ORGANIZATION_HEADER]
        # Of two somebody has not stripped one.
        text = named[0] if len(named) == 1 else None
        return text.decode(errors="replace") if text else None


_EVERYTHING: Final = Belief(-1, "claimed", True, True)


class Judging(NamedTuple):
    """What decides of a raw record beside its bytes; by default nothing does."""

    default_organization_id: str | None = None
    """The organization of events that name none."""
    limited_after_ms: int = NEVER_MS
    """What is appended later keeps to the limits of `app.bounds.limits`."""
    known_before_ms: int = NEVER_MS
    """Definitions appended before are all known, so whether there are limits by then."""
    beliefs: Sequence[Belief] = ()
    """How much is believed, as that changed; none: everything."""
    grants: Grants = Grants()
    next_grant: int = 0
    """The definitions are applied up to this offset, those of known times aside."""

    @staticmethod
    def by(definitions: Definitions) -> Judging:
        """As they stand now."""
        return Judging(
            definitions.settings_at().default_organization_id,
            definitions.limited_after_ms(),
            definitions.append_time_ms,
            _beliefs(definitions.settings),
            definitions.grants,
            definitions.offset,
        )

    def belief_at(self, append_time_ms: int) -> Belief | None:
        """How much is believed of a record appended then; None: everything."""
        for belief in reversed(self.beliefs):
            if append_time_ms > belief.after_ms:
                return None if belief.is_like(None) else belief
        return None

    def waits_past_ms(self, append_time_ms: int, headers: _Headers) -> int | None:
        """The definitions past which it is known what a record may do; None: it is known.

        Whether a limit holds for it is another question.
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
        """Of records appended until then it is known how much is believed."""
        return self.known_before_ms + TRUST_AFTER_MS

    def of_forwards(self) -> Judging:
        """The same of what an owner has forwarded, and so has believed."""
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
    """The offset of the grant that a raw record names; None: none that can be read."""
    for name, text in headers:
        if name == GRANTED_HEADER:
            return int(text) if text is not None and text.isdigit() and len(text) < 19 else None
    return None
