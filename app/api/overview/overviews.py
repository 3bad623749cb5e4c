"""Overviews of the live page: one a second and organization, whoever looks at it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from app.api.http.errors import too_many_requests
from app.api.overview.overview_json import SentOverview
from app.bounds.limits import OVERVIEW_EVERY_S, OVERVIEWS_WAITING
from app.meter.overview import OverviewQuery


class Made(NamedTuple):
    """An overview, and when it was made."""

    shown: SentOverview
    made_s: float


class _Organization:
    """Overviews of one organization, or of all."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.waiting: Counter[OverviewQuery] = Counter()
        self.made: dict[OverviewQuery, Made] = {}

    def fresh(self, query: OverviewQuery) -> Made | None:
        """Return the overview if it is new enough, else None."""
        now_s = time.monotonic()
        self.made = {
            key: made for key, made in self.made.items() if now_s - made.made_s < OVERVIEW_EVERY_S
        }
        return self.made.get(query)

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits, or asked a moment ago."""
        newest_s = max((each.made_s for each in self.made.values()), default=-OVERVIEW_EVERY_S)
        return bool(self.waiting) or time.monotonic() - newest_s < OVERVIEW_EVERY_S


class Overviews:
    """Shares each overview with all who ask for the same."""

    def __init__(self) -> None:
        self._organizations: dict[str | None, _Organization] = {}

    async def of(
        self, query: OverviewQuery, make: Callable[[], Awaitable[SentOverview]]
    ) -> SentOverview:
        """Return the overview of a moment ago, or a new one when it is time for it.

        Raises 429 when too many other searches wait.
        """
        organization = self._asked(query.organization_id)
        made = organization.fresh(query)
        if made is not None:
            return made.shown
        waiting = organization.waiting
        if query not in waiting and len(waiting) >= OVERVIEWS_WAITING:
            raise too_many_requests(1)
        waiting[query] += 1
        try:
            async with organization.turn:
                made = organization.fresh(query)
                if made is None:
                    newest_s = max((each.made_s for each in organization.made.values()), default=0)
                    await asyncio.sleep(newest_s + OVERVIEW_EVERY_S - time.monotonic())
                    made = organization.made[query] = Made(await make(), time.monotonic())
                return made.shown
        finally:
            waiting[query] -= 1
            if not waiting[query]:
                del waiting[query]

    def _asked(self, organization_id: str | None) -> _Organization:
        """Return the overviews of an organization, and forget those that nobody asks for."""
        known = self._organizations
        found = known.setdefault(organization_id, _Organization())
        # Whoever is asked for stands last.
        del known[organization_id]
        while known and not known[first := next(iter(known))].is_asked:
            del known[first]
        known[organization_id] = found
        return found
