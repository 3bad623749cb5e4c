"""What cells of many subscriptions have in common is made once, and little of it is kept."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from app.billing_periods.instants import iso_milliseconds
from app.definitions import commands
from app.wire.usage_records import cell_id
from tables.closing.at_cut import AtCut
from tables.closing.close import close_subscription, let_go, next_cut
from tables.closing.revision import CellsAlike
from tables.routing import period_charges
from tables.routing.period_charges import PeriodCharges
from tests.world.bodies import Json
from tests.world.calls import calls_of
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS, ms
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    definitions_of,
    lines,
    subscription_body,
)
from tests.world.events import arrived
from tests.world.partition import Live

MANY = 60
CODES = ["count", "sum"]


def live_of(*, apart_ms: int) -> Live:
    """Many subscriptions with events of each code; the next one begins so much later."""
    made = [(START_MS - HOUR_MS, one.command) for one in definitions_of(CODES)]
    for number in range(MANY):
        begun = iso_milliseconds(START_MS + number * apart_ms)
        body = subscription_body(external_id=f"s{number}", subscription_at=begun)
        made.append((START_MS - HOUR_MS, commands.create_subscription(ORG, body)))
    live = Live(lines(made))
    live.define_all()
    events = [(code, number) for number in range(MANY) for code in CODES]
    live.deliver(
        [
            arrived(code, offset, START_MS + HOUR_MS, external_id=f"s{number}", v=1)
            for offset, (code, number) in enumerate(events)
        ]
    )
    live.flush()
    return live


def close_all(live: Live, *, packed: bool) -> list[Json]:
    """Close all at their first cut; return the records of their cells."""
    partition, told = live.partition, list[Json]()
    names = [(ORG, f"s{number}") for number in range(MANY)]
    (cut_ms,) = {next_cut(partition, name) for name in names}
    for name in names:
        if packed:
            partition.packing.pack(name)
        records = close_subscription(partition, name, cut_ms)
        told += [body for record in records if "units" in (body := json.loads(record.value))]
        let_go(partition, name, cut_ms, was_at_hand=not packed)
    return told


@pytest.mark.parametrize("packed", [False, True], ids=["at-hand", "packed"])
def test_a_cell_that_all_have_is_made_once(packed: bool) -> None:
    live, told = live_of(apart_ms=0), list[Json]()
    calls = calls_of(lambda: told.extend(close_all(live, packed=packed)))
    assert len(told) == MANY * len(CODES)
    assert calls["ClosingCell.of"] == len(CODES)


def test_cuts_whose_records_have_other_schemas_have_other_cells() -> None:
    live = Live(definitions_of(CODES, replace(SETTINGS, fold_version=1)))
    live.define_all()
    later_ms = START_MS + 2 * WEEK_MS
    live.append(later_ms, commands.set_settings(SETTINGS))
    partition, name = live.partition, (ORG, SUBSCRIPTION)
    ((versions, timeline),) = partition.timelines.of(name)
    subscription, period = next(versions.all()), timeline.first
    assert period is not None
    charges = partition.routes.charges_of(subscription, period)
    first, second, third = (
        CellsAlike.of(charges, AtCut(partition, name, subscription, period, None, cut_ms))
        for cut_ms in (later_ms - 2, later_ms - 1, later_ms + 1)
    )
    assert first is second
    assert third is not second


@pytest.mark.parametrize("packed", [False, True], ids=["at-hand", "packed"])
def test_of_periods_that_begin_apart_little_is_kept(
    packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[PeriodCharges]()
    begin = PeriodCharges.__init__

    def noting(self: PeriodCharges, *of: object) -> None:
        begin(self, *of)  # type: ignore[arg-type]
        made.append(self)

    monkeypatch.setattr(PeriodCharges, "__init__", noting)
    live = live_of(apart_ms=1_000)
    told = close_all(live, packed=packed)
    assert len(told) == MANY * len(CODES)
    for body in told:
        name = ORG, body["external_subscription_id"]
        (versions,) = live.partition.definitions.subscriptions(*name)
        place = body["lago_charge_id"], body["lago_charge_filter_id"]
        groups, start_ms = (body["grouped_by"] or {}).items(), ms(body["period"]["from"])
        identity = cell_id(next(versions.all()), *place, tuple(groups), start_ms)
        assert body["cell_id"] == identity
    assert made
    for charges in made:
        kept = [*charges._told, *charges._alike]
        assert len(kept) <= period_charges._MOST_ALIKE
