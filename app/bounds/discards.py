"""Local state that was discarded, as it is not what its log says: it is made again from that.

A disk that goes bad shows here first: nothing else is lost by it than the time to read a log.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Literal, NamedTuple

from app.log import facts

log = logging.getLogger(__name__)

LocalState = Literal["days", "figures", "index", "ledger", "published"]
"""What local disk has of a partition."""

DiscardReason = Literal["damaged", "unreadable", "unfinished", "version", "machine", "another"]
"""Why it is discarded: its bytes are others than were written; the disk does not give them; the
process ended before it was whole; another program wrote it; the machine has started anew since, so
that a power cut may have torn it; it is of another cluster, partition or log."""


class Discarded(NamedTuple):
    """Why something was discarded."""

    reason: DiscardReason
    text: str


class Discards:
    """What a worker has discarded since it started."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[LocalState, DiscardReason]] = Counter()

    def tell(self, what: LocalState, number: int, why: Discarded) -> None:
        """Count what was discarded of a partition, and log it."""
        self.counts[what, why.reason] += 1
        text = "Local disk is not used for %s of partition %s, which its log makes again: %s: %s"
        extra = facts("note", partition=number)
        log.warning(text, what, number, why.reason, why.text, extra=extra)


def tell_nobody(_: Discarded) -> None:
    """Leave it to whoever reads the log again."""
