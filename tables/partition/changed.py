"""Changed: whose usage events and corrections have changed, until usage-changed tells it.

A message needs no figure, only which codes of which subscriptions were touched between two moments
T. An event touches its code once the first one is found that counts, so a batch costs little. What
is noted lies with the event ranges of a code, and a refold of the code notes it anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.outcome import Impact
from app.definitions.periods import NEVER_MS, ceil_to
from app.kernel import reach_of
from app.wire.arrivals import Arrival, MeterKey
from tables.cells.cell import Span
from tables.changelogged.correction_rows import StoredCorrection
from tables.changelogged.corrections import CorrectionTable
from tables.changelogged.presence import EventRanges, Touched
from tables.partition.route_table import RouteTable
from tables.partition.tables import Tables
from tables.routing.route import Route

LEAST_S = 10
"""Least time between two moments."""


class Changed:
    """What the next messages of usage-changed tell of one partition."""

    def __init__(self, tables: Tables, routes: RouteTable):
        self._definitions = tables.definitions
        self._checkpoint = tables.checkpoint
        self._event_ranges = tables.event_ranges
        self._routes = routes
        self._touched: dict[int, dict[MeterKey, None]] = {}
        """By moment, meter keys whose event ranges say that something counts."""
        self._impacts: dict[int, dict[Impact, int]] = {}
        """By moment, definitions that may refold cells, with the append time of the first."""
        self._newest_ms, self._newest = -1, dict[Impact, None]()
        """Definitions of the millisecond that was told of last."""
        self._as_of: dict[tuple[MeterKey, int], Route] = {}
        """Routes as of moments that definitions were appended after."""
        self._settings = -1
        self._notes = False
        self._asked_until_ms = -1
        """What `_asked_ms` told last."""
        self._stretched = (0, -1, 0)
        """What `_stretch` told last, while `_stretched_at` holds: settings, and what is told."""
        self._stretched_at = (-1, -1)

    @property
    def notes(self) -> bool:
        """Whether anybody asks whose usage has changed, or is yet to be told what did."""
        settings = self._definitions.settings
        if len(settings.changes) != self._settings:
            self._settings = len(settings.changes)
            self._asked_until_ms = self._asked_ms()
            self._notes = self._asked_until_ms > self.done_ms
            self._event_ranges.begins_ms = NEVER_MS if self._notes else 0
        return self._notes

    def _asked_ms(self) -> int:
        """Return the last moment that anybody asks for; NEVER_MS: there is none, -1: nobody did."""
        asked_ms = -1
        settings = self._definitions.settings
        for at_ms, record in zip(settings.changes, settings.all(), strict=True):
            if record.usage_changed:
                asked_ms = NEVER_MS
            elif asked_ms == NEVER_MS:
                asked_ms = self.moment_of(at_ms - 1)
        return asked_ms

    @property
    def done_ms(self) -> int:
        """Every moment up to it is told."""
        return max(self._checkpoint.cut_ms, self._checkpoint.changed_ms)

    def is_told(self, at_ms: int) -> bool:
        """Return whether the settings of a moment ask for messages."""
        return self._definitions.settings_at(at_ms).usage_changed

    def every_ms(self, at_ms: int) -> int:
        """Return the time between two moments: close_grid_s, as often as makes `LEAST_S`."""
        return ceil_to(LEAST_S * 1000, self._definitions.grid_ms(at_ms))

    @property
    def told_until_ms(self) -> int:
        """What was appended until then is told, or there is nothing to tell of it."""
        grids = self._definitions.close_grids_ms()
        longest_ms = max(ceil_to(LEAST_S * 1000, each_ms) for _, each_ms in grids)
        return self.done_ms - longest_ms

    def moment_of(self, append_time_ms: int) -> int:
        """Return the moment that tells what was appended then."""
        return ceil_to(append_time_ms, self.every_ms(append_time_ms))

    def note_run(self, route: Route, run: Sequence[Arrival], entry: EventRanges) -> None:
        """Note new events of a route in their entry, which the next flush writes if it changes."""
        if entry is self._event_ranges.rest or self._is_noted(route, run, entry):
            return
        self._event_ranges.mark(route.meter_key, entry)
        first_ms, last_ms, spans = 0, -1, list[Span]()
        touched = entry.own_touched()
        for arrival in run:
            at_ms = arrival.append_time_ms
            if not first_ms <= at_ms <= last_ms:
                # Most events of a run are told at one moment.
                entry.first_ms = min(entry.first_ms, at_ms)
                first_ms, last_ms, moment_ms = self._stretch(at_ms)
                spans = self._asked(route, moment_ms, touched) if moment_ms else []
            if spans and _touch(touched, moment_ms, spans, arrival):
                spans = self._asked(route, moment_ms, touched)
        self._keep(route.meter_key, touched)

    def _is_noted(self, route: Route, run: Sequence[Arrival], entry: EventRanges) -> bool:
        """Return whether all is noted of the moment that tells events, as of most it is."""
        _, earliest_ms, latest_ms, *_ = reach_of(run)
        _, last_ms, moment_ms = self._stretch(earliest_ms)
        if latest_ms > last_ms or earliest_ms < entry.first_ms:
            return False
        if not moment_ms:
            return True
        known = entry.touched.get(moment_ms)
        if known is None or self._definitions.has_commands_after(moment_ms):
            return False
        return all(span.key.subscription_id in known for span in route.spans)

    def are_alike(self, since_ms: int, until_ms: int) -> bool:
        """Return whether one moment tells all that was appended between two times, or none does."""
        _, last_ms, _ = self._stretch(since_ms)
        return until_ms <= last_ms

    def note_corrected(self, route: Route, arrival: Arrival) -> None:
        """Note a new event that a correction before it has made so."""
        if self.notes:
            _, external_id, code = route.meter_key
            entry = self._event_ranges.of((route.organization_id, external_id), code)
            self.note_run(route, (arrival,), entry)

    def note(self, route: Route, arrival: Arrival, at_ms: int, touched: Touched) -> None:
        """Note an event that came, or was corrected, at a time."""
        _, _, moment_ms = self._stretch(at_ms)
        if moment_ms:
            _touch(touched, moment_ms, self._asked(route, moment_ms, touched), arrival)

    def note_step(self, route: Route, arrival: Arrival, at_ms: int, entry: EventRanges) -> None:
        """Note an event as a correction has it from a time on, or had it until then."""
        entry.first_ms = min(entry.first_ms, at_ms)
        touched = entry.own_touched()
        self.note(route, arrival, at_ms, touched)
        self._keep(route.meter_key, touched)

    def replace(self, meter_key: MeterKey, first_ms: int, touched: Touched) -> None:
        """Put what a refold has found in place of what was noted of a meter key."""
        organization_id, external_id, code = meter_key
        entry = self._event_ranges.find((organization_id, external_id), code)
        if entry is not None and (entry.first_ms, entry.touched) != (first_ms, touched):
            entry = self._event_ranges.of((organization_id, external_id), code)
            entry.first_ms, entry.touched = first_ms, touched
            self._keep(meter_key, touched)

    def _stretch(self, at_ms: int) -> tuple[int, int, int]:
        """Return since and until when one moment tells all, and that moment; 0: none does."""
        changes, done_ms = self._definitions.settings.changes, self.done_ms
        if self._stretched_at == (len(changes), done_ms):
            first_ms, last_ms, moment_ms = self._stretched
            if first_ms <= at_ms <= last_ms:
                return self._stretched
        following = bisect_right(changes, at_ms)
        moment_ms = self.moment_of(at_ms)
        last_ms = moment_ms if following == len(changes) else min(moment_ms, changes[following] - 1)
        told = moment_ms > done_ms and self.is_told(at_ms)
        self._stretched = at_ms, last_ms, moment_ms if told else 0
        self._stretched_at = len(changes), done_ms
        return self._stretched

    def _asked(self, route: Route, moment_ms: int, touched: Touched) -> list[Span]:
        """Return the spans in which no event of a moment is known to count."""
        if self._definitions.has_commands_after(moment_ms):
            name = (route.meter_key, moment_ms)
            if name not in self._as_of:
                self._as_of[name] = self._routes.compile(*name, moment_ms)
            route = self._as_of[name]
        known = touched.get(moment_ms, ())
        return [
            span
            for span in route.spans
            if span.fold.prices
            and span.timeline.published
            and span.key.subscription_id not in known
        ]

    def _keep(self, meter_key: MeterKey, touched: Touched) -> None:
        done_ms = self.done_ms
        for moment_ms in list(touched):
            if moment_ms <= done_ms:
                del touched[moment_ms]
            else:
                self._touched.setdefault(moment_ms, {})[meter_key] = None

    def loaded(self) -> Steps[None]:
        """Know again, after a restore, what is to be told, by small steps."""
        loaded = self._event_ranges.touched_when_loaded
        for count, (meter_key, touched) in enumerate(loaded.items() if self.notes else (), 1):
            self._keep(meter_key, touched)
            if count % STEP_ITEMS == 0:
                yield
        loaded.clear()

    def tell(self, impact: Impact, at_ms: int) -> None:
        """Note a definition that may refold cells."""
        self._as_of.clear()
        if at_ms != self._newest_ms:
            self._newest_ms, self._newest = at_ms, {}
        self._newest[impact] = None
        told = [impact]
        if impact.organization_id is None:
            # Settings hold for all definitions of their millisecond.
            self._take_back(at_ms)
            told = list(self._newest)
            asked_ms = self._asked_ms()
            if self.done_ms < asked_ms < NEVER_MS:
                # It is taken whether anything changes or not: then nobody notes events any more.
                self._touched.setdefault(asked_ms, {})
        if self.notes and self.is_told(at_ms):
            moment_ms = self.moment_of(at_ms)
            if moment_ms > self.done_ms:
                for each in told:
                    self._impacts.setdefault(moment_ms, {}).setdefault(each, at_ms)

    def _take_back(self, at_ms: int) -> None:
        """Drop what is noted of the definitions of one millisecond alone."""
        for moment_ms, impacts in list(self._impacts.items()):
            kept = {impact: first_ms for impact, first_ms in impacts.items() if first_ms != at_ms}
            if kept:
                self._impacts[moment_ms] = kept
            else:
                del self._impacts[moment_ms]

    @property
    def next_offset(self) -> int:
        """Offset of the first definition that may have to be told of yet."""
        return self._definitions.last_offset_at(self.told_until_ms) + 1

    def telling_again(self, impacts: Iterable[tuple[int, int, Impact]]) -> Steps[None]:
        """Note, after a restore, definitions by offset and append time, one at a step."""
        for _, at_ms, impact in impacts:
            self.tell(impact, at_ms)
            yield

    def missed(self, at_ms: int) -> Iterator[MeterKey | None]:
        """Yield meter keys with events that settings came too late for; None: a step.

        Settings that ask for the same messages at the same moments come too late for none.
        """
        if self.notes and self._asks_otherwise(at_ms):
            for name, codes in self._event_ranges.codes.items():
                yield None
                for code, entry in list(codes.items()):
                    if entry.appended_ms >= at_ms:
                        yield *name, code

    def _asks_otherwise(self, at_ms: int) -> bool:
        """Return whether settings since a time ask otherwise than those before, or the defaults.

        By what decides which moment tells an event, if any does.
        """
        entries = self._definitions.settings.entries()
        known = [(known_ms, one) for known_ms, _, one in entries if one is not None]
        asked = {
            (one.usage_changed, one.close_grid_s) for known_ms, one in known if known_ms >= at_ms
        }
        before = [one for known_ms, one in known if known_ms < at_ms]
        return bool(asked - {(before[-1].usage_changed, before[-1].close_grid_s)})

    def next_ms(self) -> int:
        """Return the next moment with something to tell; NEVER_MS: there is none."""
        return min(chain(self._touched, self._impacts), default=NEVER_MS)

    def touched_at(self, moment_ms: int) -> list[MeterKey]:
        """Return meter keys with something that counts."""
        return list(self._touched.get(moment_ms, ()))

    def impacts_at(self, moment_ms: int) -> list[Impact]:
        """Return definitions that may have refolded cells."""
        return list(self._impacts.get(moment_ms, ()))

    def told(self, moment_ms: int) -> None:
        """Be done with a moment."""
        self._checkpoint.changed_ms = max(self._checkpoint.changed_ms, moment_ms)
        if self._asked_until_ms < NEVER_MS:
            # It may have been the last one that anybody asked for.
            self._settings = -1
        self._touched.pop(moment_ms, None)
        self._impacts.pop(moment_ms, None)
        for name in [name for name in self._as_of if name[1] <= moment_ms]:
            del self._as_of[name]


class Anew:
    """What a refold notes of the events that it is fed."""

    def __init__(self, changed: Changed, corrections: CorrectionTable):
        self._changed = changed
        self._corrections = corrections
        self._after_ms = changed.told_until_ms
        self._first_ms: dict[MeterKey, int] = {}
        self._touched: dict[MeterKey, Touched] = {}

    def note(self, arrival: Arrival, identity: bytes, routes: Mapping[MeterKey, Route]) -> None:
        """Note an event as it came and as corrections have it."""
        history = self._corrections.history(identity)
        for code, at_ms in codes_of(arrival, history).items():
            meter_key = (*arrival.name, code)
            if meter_key in routes:
                self._first_ms[meter_key] = min(at_ms, self._first_ms.get(meter_key, NEVER_MS))
        for at_ms, version in steps_of(arrival, history):
            meter_key = version.meter_key
            route = routes.get(meter_key)
            if route is not None and at_ms > self._after_ms:
                touched = self._touched.setdefault(meter_key, {})
                self._changed.note(route, version, at_ms, touched)

    def keep(self, meter_key: MeterKey) -> None:
        """Put what is noted of a meter key in place of what was."""
        first_ms = self._first_ms.get(meter_key, NEVER_MS)
        self._changed.replace(meter_key, first_ms, self._touched.get(meter_key, {}))


def _touch(touched: Touched, moment_ms: int, spans: Iterable[Span], arrival: Arrival) -> bool:
    """Note the subscriptions in which an event counts; return whether there are any."""
    found = {span.key.subscription_id for span in spans if counts_in(span, arrival)}
    if found:
        touched[moment_ms] = sorted(found.union(touched.get(moment_ms, ())))
    return bool(found)


def counts_in(span: Span, arrival: Arrival) -> bool:
    """Return whether an event counts in a span, the limit of groups aside."""
    fold = span.fold
    if arrival.append_time_ms <= fold.counts_after_ms:
        return False
    if span.layer_at(arrival.timestamp_ms) is None:
        return False
    return fold.cell_of_event(arrival) is not None


def codes_of(arrival: Arrival, history: Iterable[StoredCorrection]) -> dict[str, int]:
    """Return the codes that an event came with or was given, by the time that each had it from on.

    It is of them whether it ever counted there or not.
    """
    codes = {arrival.event.code: arrival.append_time_ms}
    for stored in history:
        if stored.event is not None:
            at_ms = max(arrival.append_time_ms, stored.append_time_ms)
            codes[stored.event.code] = min(at_ms, codes.get(stored.event.code, NEVER_MS))
    return codes


def versions_of(arrival: Arrival, history: Iterable[StoredCorrection]) -> Iterator[Arrival]:
    """Yield an event as it came and as each correction has it, whether it ever counted so."""
    yield arrival
    yield from filter(None, (_amended(arrival, stored) for stored in history))


def _amended(arrival: Arrival, stored: StoredCorrection) -> Arrival | None:
    """Return an event as a correction has it; None: it is cancelled."""
    event = stored.event
    return None if event is None else replace(arrival, event=event)


def steps_of(
    arrival: Arrival, history: Iterable[StoredCorrection]
) -> Iterator[tuple[int, Arrival]]:
    """Yield an event as it came and, for each later correction, as it was before and after it.

    Each with the append time of what made it so.
    """
    at_ms = arrival.append_time_ms
    counted: Arrival | None = arrival
    later = []
    for stored in history:
        if stored.append_time_ms > at_ms:
            later.append(stored)
        else:
            counted = _amended(arrival, stored)
    if counted is not None:
        yield at_ms, counted
    for stored in later:
        if counted is not None:
            yield stored.append_time_ms, counted
        counted = _amended(arrival, stored)
        if counted is not None:
            yield stored.append_time_ms, counted
