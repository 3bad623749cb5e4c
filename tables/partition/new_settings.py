"""New settings: whom they send nowhere else, told without a route.

Most move when periods are due. A period that was fixed by then keeps its settings. Any other is due
after the settings, and after its end, under the old ones as under the new ones. If all events came
before that, they count in the same cells from the same cuts on. A limit of groups changes nothing
for who never had as many. Daily records begin with a period that ends after the settings, and end
with one that holds them: events of earlier ones go nowhere else.
"""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from app.definitions.model import SettingsRecord
from app.definitions.periods import NEVER_MS, ceil_to
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.presence import EventRanges
from tables.partition.packing import Packing
from tables.partition.route_table import RouteTable
from tables.partition.staleness import Staleness
from tables.partition.standing import Standing
from tables.partition.tables import Tables
from tables.routing.route import Route


class NewSettings:
    """What settings of one look change, and for whom."""

    def __init__(
        self,
        tables: Tables,
        standing: Standing,
        routes: RouteTable,
        packing: Packing,
        stale: Staleness,
    ):
        self._definitions = tables.definitions
        self._event_ranges = tables.event_ranges
        self._corrections = tables.corrections
        self._standing = standing
        self._routes = routes
        self._timelines = routes.timelines
        self._packing = packing
        self._stale = stale
        self._before_ms = -1
        self._revisions_ms: tuple[int, ...] = ()
        """Every time between two revisions that there was."""
        self._recurs: dict[tuple[str, str], bool] = {}
        """Whether a metric of an organization and code recurs, or did."""
        self._least_groups: int | None = None
        """The lowest of several limits of groups; None: they have one."""
        self._of_periods = False
        """Whether they change nothing of an event whose period runs on."""
        self._of_cuts = False
        """Whether they change when a cut is due."""
        self._of_implicit = False
        """Whether they change who has the implicit plan."""
        self._of_days: Literal["begin", "end"] | None = None
        """What they do to daily records; those that may do both let them begin."""

    def leave_most(self) -> bool:
        """Take what is looked at next; return whether `moving` tells of each whom it concerns."""
        definitions, before_ms = self._definitions, self._standing.separated_ms
        if before_ms is None or definitions.first_time_from(0) > before_ms:
            # The first settings of the log hold for what was before them, too.
            return False
        if self._standing.enters_history or self._standing.history_ms > before_ms:
            # A record of history covers what was due before it: of these it may be any period.
            return False
        known = [each for each in definitions.settings.entries() if each[2] is not None]
        records = [record for _, _, record in known if record is not None]
        old = definitions.settings_at(before_ms)
        later = [each for at_ms, _, each in known if each is not None and at_ms > before_ms]
        by_day = bool(definitions.settings.daily_ms())
        same, days = _all_cells(old, by_day=by_day), {each.daily_records for each in later}
        if any(_all_cells(each, by_day=by_day) != same for each in later):
            return False
        self._before_ms = before_ms
        self._revisions_ms = tuple({record.revise_every_s * 1000 for record in records})
        self._recurs.clear()
        limits = {old.max_groups, *(each.max_groups for each in later)}
        self._least_groups = min(limits) if len(limits) > 1 else None
        self._of_periods = all(_each_event(each) == _each_event(old) for each in later)
        self._of_cuts = any(_each_cut(each) != _each_cut(old) for each in later)
        self._of_implicit = any(each.implicit_plan != old.implicit_plan for each in later)
        self._of_days = None
        if days - {old.daily_records}:
            if self._standing.shown_until_ms is not None:
                # Periods are told under all definitions.
                return False
            self._of_days = "begin" if True in days else "end"
        return True

    def keep_cuts(self, name: SubscriptionKey) -> bool:
        """Return whether the next cut is due when it was, of one who has no event that moves."""
        # Of corrections that settings overtake others may be shown at it.
        return not (self._of_cuts or self._corrections.followed.has_any(name))

    def moving(self, name: SubscriptionKey) -> list[str] | None:
        """Return the codes whose events they may send elsewhere; None: any.

        Routes of others are compiled anew when they are taken next.
        """
        if name in self._stale.names or self._standing.is_unclear(name):
            return None
        known = self._event_ranges.codes.get(name)
        if known is None:
            return []
        if self._of_implicit and not self._has_plan(name):
            return None
        moving: list[str] = []
        organization_id, external_id = name
        for code in known.kept:
            ranges = known.find(code)
            route = self._routes.find((organization_id, external_id, code))
            if ranges is not None and self._may_move(name, code, ranges, route):
                moving.append(code)
            elif route is not None:
                self._routes.rest(route)
        return moving

    def _may_move(
        self, name: SubscriptionKey, code: str, ranges: EventRanges, route: Route | None
    ) -> bool:
        reach_ms, before_ms = ranges.appended_ms, self._before_ms
        recurs = self._recurs.get((name[0], code))
        if recurs is None:
            recurs = self._recurs[name[0], code] = self._definitions.recurs(name[0], code)
        if recurs:
            # Of a late event the cut of a later period may be the first.
            reach_ms = max(ceil_to(reach_ms, each) for each in self._revisions_ms)
        if reach_ms > before_ms and not (
            self._of_periods and route is not None and _ends_after(route, reach_ms, before_ms)
        ):
            return True
        if self._of_days is not None and not self._keeps_days(name, ranges.newest_ms, recurs):
            return True
        least = self._least_groups
        if least is None:
            return False
        if recurs and ranges.forgotten_ms >= 0:
            # Groups of what is forgotten may have a place without a cell.
            return True
        known = self._routes.by_key.get((*name, code))
        return _has_groups(known, least) if known else self._packing.has_cells(name, least)

    def _keeps_days(self, name: SubscriptionKey, newest_ms: int, recurs: bool) -> bool:
        """Return whether no event up to a time is of a period whose days are told otherwise."""
        shared = self._timelines.shared(name)
        period = None if shared is None else shared.holding(self._before_ms)
        if period is None or (recurs and self._of_days == "begin"):
            # A balance is carried into days that begin.
            return False
        return newest_ms < (period.start_ms if self._of_days == "begin" else period.end_ms)

    def _has_plan(self, name: SubscriptionKey) -> bool:
        """Return whether the implicit plan is none of theirs, before and now."""
        for versions in self._definitions.subscriptions(*name):
            known = versions.at(self._before_ms), versions.at()
            if all(each is not None and each.canceled_at_ms is None for each in known):
                return True
        return False


def _has_groups(route: Route, least: int) -> bool:
    """Return whether there may be as many groups of a charge, in one period if that is limited."""
    for span in route.spans:
        if span.fold.grouped:
            counts = [len(layer.cells) for layer in span.layers.values()]
            most = sum(counts) if span.fold.limits_history else max(counts, default=0)
            if most >= least:
                return True
    return False


def _ends_after(route: Route, reach_ms: int, before_ms: int) -> bool:
    """Return whether the period of now ends after all events, and those before it were fixed."""
    span = route.newest()
    layer = None if span is None else span.current
    period = None if layer is None else layer.period
    if span is None or period is None or period.end_ms < reach_ms or not span.timeline.published:
        return False
    timeline = span.timeline
    others = (each for each in route.timelines if each is not timeline)
    if any(each.next_due(before_ms).at_ms < NEVER_MS for each in others):
        return False
    if period is timeline.first:
        return True
    terms = timeline.terms[-1]
    over_ms = max(period.start_ms, terms.since_ms)
    return over_ms + terms.grace_ms + terms.close_grid_ms <= before_ms


def _each_event(settings: SettingsRecord) -> SettingsRecord:
    """Return settings without what is of a period, or of no cell: what a new event counts by."""
    return replace(
        settings,
        grace_s=0,
        late_window_s=0,
        late_policy="revise",
        close_elapsed=True,
        revise_every_s=0,
        max_groups=0,
        tzdata_version="",
        usage_changed=False,
        producer_trust="claimed",
        producers_may_correct=True,
        producers_may_admit=True,
    )


def _each_cut(settings: SettingsRecord) -> tuple[object, ...]:
    """Return what of settings decides when cuts are due."""
    return (
        settings.grace_s,
        settings.close_grid_s,
        settings.close_elapsed,
        settings.revise_every_s,
        settings.implicit_plan,
        settings.daily_records,
    )


def _all_cells(settings: SettingsRecord, *, by_day: bool) -> SettingsRecord:
    """Return settings without what changes cells of few; `by_day`: daily records are, or were."""
    settings = replace(
        _each_event(settings),
        max_groups=settings.max_groups,
        implicit_plan=False,
        # Ends of periods are of all cells.
        input_limits=settings.end_rules,
        daily_records=False,
    )
    # Days show events at grid cuts to come, and have limits of their own.
    return settings if by_day else replace(settings, close_grid_s=0, max_groups=0)
