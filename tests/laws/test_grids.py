"""The law of cuts when the time between two revisions changes: each period keeps the one it had.

Its cuts are on that grid whatever the settings say when something is appended, and each of them
shows every correction appended until then: what an event was goes when what it became comes.
"""

from __future__ import annotations

from math import lcm
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.instants import iso_seconds
from app.definitions import commands
from app.definitions.files import DefinitionLine
from app.definitions.model import SettingsRecord
from app.definitions.periods import Period, ceil_to
from app.offline.fold import EventLine, OfflineMeter
from app.wire.arrivals import Arrival
from tests.laws.test_cuts import assert_cut, newest_at
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import METRICS, ORG, SUBSCRIPTION, definitions_of
from tests.world.events import DECIMALS, amend, cancel, event, raw
from tests.world.profiles import examples

MINUTE_MS = 60_000
END_MS = START_MS + 7 * WEEK_MS
GRIDS_S = (1_800, 3_600, 7_200, 86_400)
SETTINGS = SettingsRecord(close_grid_s=60)
TRANSACTION_IDS = "abcd"


class Told(NamedTuple):
    """A record of the raw topic: an event, or what a correction makes of it (None: nothing)."""

    appended_ms: int
    transaction_id: str
    timestamp_ms: int
    properties: dict[str, Any] | None
    corrects: bool


MOMENTS = st.builds(
    lambda day, hour, minute: START_MS + day * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS,
    st.integers(7, 32),
    st.sampled_from([0, 9, 10, 23]),
    st.sampled_from([0, 1, 29, 45]),
)


@st.composite
def stories(draw: st.DrawFn, *, late: bool) -> list[Told]:
    """Some events of the first weeks, each corrected up to three times in the weeks after."""
    told: list[Told] = []
    for identity in TRANSACTION_IDS:
        at_ms = START_MS + draw(st.integers(0, 20)) * DAY_MS + HOUR_MS
        appended_ms = draw(MOMENTS) if late and draw(st.booleans()) else at_ms
        told.append(Told(appended_ms, identity, at_ms, draw(_properties()), False))
        for corrected_ms in draw(st.lists(MOMENTS, max_size=3)):
            if corrected_ms > appended_ms:
                moved_ms = draw(st.sampled_from([at_ms, at_ms, START_MS + WEEK_MS + HOUR_MS]))
                properties = draw(st.none() | _properties())
                told.append(Told(corrected_ms, identity, moved_ms, properties, True))
    return sorted(told, key=lambda one: one.appended_ms)


@st.composite
def _properties(draw: st.DrawFn) -> dict[str, Any]:
    operation = draw(st.sampled_from(["add", "remove", "add"]))
    return {"v": draw(DECIMALS), "u": draw(st.sampled_from("ab")), "operation_type": operation}


def folded(
    code: str,
    told: list[Told],
    grids: list[tuple[int, int]],
    settings: SettingsRecord = SETTINGS,
) -> OfflineMeter:
    base = definitions_of([code], settings, presents=True)
    defined = [(d.append_time_ms, d.command) for d in base]
    defined += [
        (at_ms, commands.set_settings(msgspec.structs.replace(settings, revise_every_s=grid_s)))
        for at_ms, grid_s in grids
    ]
    meter = OfflineMeter()
    meter.run(
        [DefinitionLine(at_ms, i, each.encode()) for i, (at_ms, each) in enumerate(defined)],
        [
            EventLine(one.appended_ms, 0, offset, msgspec.json.encode(_value(code, one, offset)))
            for offset, one in enumerate(told)
        ],
        END_MS,
    )
    assert not meter.refused
    return meter


def _value(code: str, one: Told, offset: int) -> dict[str, Any]:
    if one.properties is None:
        return cancel(one.transaction_id, f"c{offset}")
    sent = raw(code, one.transaction_id, one.timestamp_ms, **one.properties)
    return amend(sent, f"c{offset}") if one.corrects else sent


def counted(code: str, told: list[Told], at_ms: int) -> list[Arrival]:
    """Every event as the corrections appended until then have it."""
    firsts: dict[str, tuple[int, int, int, int]] = {}
    newest: dict[str, Told] = {}
    for offset, one in enumerate(told):
        if one.appended_ms <= at_ms:
            firsts.setdefault(one.transaction_id, (one.appended_ms, 0, offset, 0))
            newest[one.transaction_id] = one
    return [
        Arrival(event(code, identity, one.timestamp_ms, **one.properties), ORG, *firsts[identity])
        for identity, one in newest.items()
        if one.properties is not None
    ]


def own_cuts(period: Period, told: list[Told]) -> list[int]:
    """When it is due, and the first revision after everything that was told, and one more."""
    every_ms = period.revise_every_ms
    cuts = {ceil_to(one.appended_ms, every_ms) + i * every_ms for one in told for i in (0, 1)}
    return sorted({period.due_at_ms, *(cut for cut in cuts if cut > period.due_at_ms)})


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 25 * 24).map(lambda hours: START_MS + hours * HOUR_MS),
        st.sampled_from(GRIDS_S),
    ),
    min_size=1,
    max_size=3,
).map(sorted)


CODES = st.sampled_from(["count", "max", "latest", "average", "balance", "seats", "level"])


@pytest.mark.parametrize("late", [False, True], ids=["on time", "late"])
@examples(120)
@given(CODES, CHANGES, st.data())
def test_every_cut_of_a_period_shows_what_was_corrected_until_then(
    late: bool, code: str, grids: list[tuple[int, int]], data: st.DataObject
) -> None:
    told = data.draw(stories(late=late))
    meter = folded(code, told, grids)
    published = newest_at([msgspec.json.decode(record.value) for record in meter.records])
    ((_, timeline),) = meter.partition.timelines.of((ORG, SUBSCRIPTION))
    periods = [p for p in timeline.until(END_MS) if p.due_at_ms <= END_MS]
    recurring = METRICS[code].get("recurring")
    together_ms = lcm(*(period.revise_every_ms for period in periods))
    for period in periods:
        for cut_ms in own_cuts(period, told):
            # A late event of a balance shows in later periods when it does in its own.
            if cut_ms <= END_MS and not (late and recurring and cut_ms % together_ms):
                assert_cut(code, counted(code, told, cut_ms), period, cut_ms, published, cut_ms)
        own = [at_ms for at_ms, *_ in published.get((iso_seconds(period.start_ms), None), [])]
        assert recurring or all(
            at_ms == period.due_at_ms or at_ms % period.revise_every_ms == 0 for at_ms in own
        )


WINDOWS_S = (0, 1_800, 86_400 + 60, 4 * 86_400)


@examples(160)
@given(
    st.sampled_from(["balance", "seats", "heads", "level"]),
    stories(late=True),
    st.sampled_from(WINDOWS_S),
)
def test_a_balance_shows_what_came_after_its_window_only_with_a_correction(
    code: str, told: list[Told], window_s: int
) -> None:
    settings = msgspec.structs.replace(SETTINGS, late_window_s=window_s)
    meter = folded(code, told, [], settings)
    published = newest_at([msgspec.json.decode(record.value) for record in meter.records])
    ((_, timeline),) = meter.partition.timelines.of((ORG, SUBSCRIPTION))
    for period in [p for p in timeline.until(END_MS) if p.due_at_ms <= END_MS]:
        for cut_ms in [cut for cut in own_cuts(period, told) if cut <= END_MS]:
            open_ms = min(cut_ms, period.due_at_ms + window_s * 1000)
            until_ms = max([open_ms, *(at for at in corrected(period, told) if at <= cut_ms)])
            events = counted(code, told, until_ms)
            assert_cut(code, events, period, cut_ms, published, until_ms)


def corrected(period: Period, told: list[Told]) -> list[int]:
    """Cuts that show a correction of an event of the period, or of before it."""
    newest: dict[str, Told] = {}
    cuts = []
    for one in told:
        versions = [one, newest.get(one.transaction_id)]
        newest[one.transaction_id] = one
        if one.corrects and any(
            v is not None and v.properties is not None and v.timestamp_ms < period.end_ms
            for v in versions
        ):
            cuts.append(ceil_to(one.appended_ms, period.revise_every_ms))
    return cuts
