"""Due times: whom settings send nowhere else that only move when periods are due.

No route is compiled for it. A period that was fixed by then keeps its settings. Any other is due
after the settings, and after its end, under the old ones as under the new ones. If all events came
before that, they count in the same cells from the same cuts on.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from msgspec.structs import replace

from app.definitions.model import SettingsRecord
from app.definitions.outcome import Impact
from app.definitions.timeline import ceil_to
from app.wire.arrivals import SubscriptionKey
from tables.partition.route_table import RouteTable
from tables.partition.staleness import Staleness
from tables.partition.standing import Standing
from tables.partition.tables import Tables
from tables.routing.route import Route


class DueTimes:
    """Settings of one look that move nothing but due times."""

    def __init__(self, tables: Tables, standing: Standing, routes: RouteTable, stale: Staleness):
        self._definitions = tables.definitions
        self._event_ranges = tables.event_ranges
        self._standing = standing
        self._routes = routes
        self._stale = stale
        self._before_ms = -1
        self._revisions_ms: tuple[int, ...] = ()
        """Every time between two revisions that there was."""
        self._recurs: dict[tuple[str, str], bool] = {}
        """Whether a metric of an organization and code recurs, or did."""

    def are_all(self, impacts: Iterable[Impact]) -> bool:
        """Return whether definitions that are looked at together change nothing else."""
        definitions, before_ms = self._definitions, self._standing.separated_ms
        if before_ms is None or not all(impact.of_settings for impact in impacts):
            return False
        if definitions.history.records or definitions.first_time_from(0) > before_ms:
            # A record of history covers periods by when they are due. The first settings of the log
            # hold for what was before them, too.
            return False
        known = list(definitions.settings.entries())
        records = [record for _, _, record in known if record is not None]
        if len({record.max_groups for record in records}) > 1:
            # What a recurring metric carries has the limit of the period that is due first.
            return False
        later = [_but_due_times(each) for at_ms, _, each in known if each and at_ms > before_ms]
        old = _but_due_times(definitions.settings_at(before_ms))
        self._before_ms = before_ms
        self._revisions_ms = tuple({record.revise_every_s * 1000 for record in records})
        self._recurs.clear()
        return all(each == old for each in later)

    def moving(self, name: SubscriptionKey) -> Container[str] | None:
        """Return the codes whose events they may send elsewhere; None: any.

        Routes of others are compiled anew when they are taken next.
        """
        if name in self._stale.names or self._standing.is_unclear(name):
            return None
        moving: list[str] = []
        organization_id, external_id = name
        routes, before_ms = self._routes, self._before_ms
        for code, ranges in self._event_ranges.codes_of(name).items():
            reach_ms = ranges.appended_ms
            if self._does_recur(organization_id, code):
                # Of a late event the cut of a later period may be the first.
                reach_ms = max(ceil_to(reach_ms, each) for each in self._revisions_ms)
            route = routes.find((organization_id, external_id, code))
            if reach_ms > before_ms and (
                route is None or not _ends_after(route, reach_ms, before_ms)
            ):
                moving.append(code)
            elif route is not None:
                routes.rest(route)
        return moving

    def _does_recur(self, organization_id: str, code: str) -> bool:
        """Return whether a metric of the code recurs, or did."""
        recurs = self._recurs.get((organization_id, code))
        if recurs is None:
            recurs = self._definitions.recurs(organization_id, code)
            self._recurs[organization_id, code] = recurs
        return recurs


def _ends_after(route: Route, reach_ms: int, before_ms: int) -> bool:
    """Return whether the period of now ends after all events, and those before it were fixed."""
    if len(route.timelines) != 1 or not route.spans:
        return False
    timeline, layer = route.timelines[0], route.spans[0].current
    period = None if layer is None else layer.period
    if period is None or period.end_ms < reach_ms or not timeline.published:
        return False
    if period is timeline.first:
        return True
    terms = timeline.terms[-1]
    over_ms = max(period.start_ms, terms.since_ms)
    return over_ms + terms.grace_ms + terms.close_grid_ms <= before_ms


def _but_due_times(settings: SettingsRecord) -> SettingsRecord:
    """Return settings without what moves due times alone."""
    return replace(settings, grace_s=0, late_window_s=0, late_policy="revise", close_elapsed=True)
