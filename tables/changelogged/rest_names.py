"""Names of the rest: which may have events that are noted in the common entry of event ranges.

It tells for certain who has none there, so nobody has to search the logs for these. What it says
others may have is to be looked for.
"""

from __future__ import annotations

from typing import Final

from app.wire.arrivals import SubscriptionKey
from tables.changelogged.noted_names import NotedNames

_BITS: Final = 1 << 23
"""1 MiB once there is one name: of a million names it takes one in fifty others for one of them."""
_PROBES: Final = 4


class RestNames:
    """External subscriptions, and codes of organizations: any number in as many bytes."""

    def __init__(self, *, is_whole: bool = True) -> None:
        """Begin without any. `is_whole`: False if there are some that are not known."""
        self._noted: NotedNames | None = None
        self.is_whole = is_whole
        """Whether all were added, or the logs were read from the first event on; else any may be
        one."""

    def add(self, name: SubscriptionKey, code: str) -> None:
        """Add an external subscription, and the code of its organization."""
        if self._noted is None:
            self._noted = NotedNames(_BITS, _PROBES)
        self._noted.note(name)
        self._noted.note(_of_code(name[0], code))

    def may_have(self, name: SubscriptionKey) -> bool:
        """Return False if no event of an external subscription is noted in the common entry."""
        return self._may_be_noted(name)

    def may_have_code(self, organization_id: str, code: str) -> bool:
        """Return False if no event of a code is noted there in an organization."""
        return self._may_be_noted(_of_code(organization_id, code))

    def _may_be_noted(self, key: tuple[str | None, ...]) -> bool:
        if not self.is_whole:
            return True
        return self._noted is not None and self._noted.may_have(key)


def _of_code(organization_id: str, code: str) -> tuple[str | None, ...]:
    """Return a key that no external id of the same text has."""
    return organization_id, None, code
