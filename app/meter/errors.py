"""Errors of a meter that gives no answer."""

from __future__ import annotations


class BeyondRetention(Exception):
    """Events that are needed again are deleted from the raw topic."""


class NotAllowed(Exception):
    """Nothing in the raw topic is this organization's (`producer_trust`)."""


class NotSetAside(Exception):
    """Nothing was set aside; the message says why, and what to do instead."""


class Unavailable(Exception):
    """The owner is unknown, restoring or unreachable, or brokers take nothing; nothing is answered.

    Nor is what waits for a refold and has no older figure.

    Nothing was written either, unless a broker had the record and could not say so in time.
    """


class TooOften(Exception):
    """The organization has used up what it may do in this minute or day; nothing was written."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class NoSuchRevision(Exception):
    """Nothing that is asked about was published in that revision."""


class TimeBudgetExceeded(Exception):
    """A scan took longer than its time budget."""


class TooManyScans(Exception):
    """Too many scans wait already; the caller must ask again later."""


class TooManyGroups(Exception):
    """All periods together have more groups than one answer shows."""
