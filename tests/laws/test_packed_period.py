"""A period closes from packed cells as from cells that are at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.billing_periods.instants import iso_milliseconds
from app.bounds.turns import drained
from app.definitions import commands
from app.wire.arrivals import Arrival, SubscriptionKey
from app.wire.usage_records import cell_id
from tables.cells.keys import CellKey
from tables.closing.close import closing, next_cut
from tests.laws.test_partition import GRACES, few, in_order, same
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    changing_definitions,
    definitions_of,
    subscription_body,
)
from tests.world.events import arrivals, arrived
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)
ALONE = ("count", "sum", "max", "latest", "unique", "filtered", "average")
"""Metrics whose cells tell a period without any others."""
CARRIED = ("balance", "heads", "level", "prepaid", "seats")
"""Metrics of whose cells a period shows those of all periods before, too."""


def cold(definitions: Sequence[CommandAt], events: Iterable[Arrival]) -> Live:
    """Both logs by append time, and nothing at hand when a cut is taken."""
    live = Live(definitions)

    def close_until(at_ms: int) -> None:
        live.define_until(at_ms)
        live.flush()
        live.partition.packing.pack(NAME)
        live.close_until(at_ms)

    for arrival in sorted(events, key=lambda each: each.position):
        close_until(arrival.append_time_ms - 1)
        live.define_until(arrival.append_time_ms)
        live.deliver([arrival])
    live.define_all()
    close_until(START_MS + 10 * WEEK_MS)
    return live


@pytest.mark.parametrize("carries", [False, True], ids=["alone", "carried"])
@few
@given(st.data())
def test_cuts_of_who_is_packed_are_those_of_who_is_at_hand(
    carries: bool, data: st.DataObject
) -> None:
    codes: tuple[str, ...] = ALONE
    if carries:
        some = data.draw(st.lists(st.sampled_from(CARRIED), min_size=1, max_size=2, unique=True))
        codes = ("count", "passes", *some)
    match data.draw(st.integers(0, 3)):
        case 0:
            definitions = definitions_of(codes, data.draw(GRACES))
        case 1:
            definitions = data.draw(changing_definitions(codes, presents=False))
        case _:
            definitions = data.draw(changing_definitions(codes, presents=False, of_all=True))
    events = data.draw(arrivals(codes))
    same(in_order(definitions, events), cold(definitions, events))


def closed(live: Live, *stray: CellKey, name: SubscriptionKey = NAME) -> list[dict[str, Any]]:
    """Records of the next cut of one who was packed before; `stray`: cells like its first."""
    live.flush()
    partition = live.partition
    partition.packing.pack(name)
    for key in stray:
        value = next(iter(live.changelog.cells.values()))
        partition.packing.load_cell(msgspec.msgpack.encode(key), value)
    drained(partition.packing.packing_loaded())
    assert partition.packing.is_packed(name)
    cut_ms = next_cut(partition, name)
    live.define_until(cut_ms)
    found = [record for record in closing(partition, name, cut_ms) if record is not None]
    return [msgspec.json.decode(record.value) for record in found]


def units(records: Iterable[dict[str, Any]]) -> list[str]:
    """Return the units of cells."""
    return sorted(each["units"] for each in records if each["type"] == "usage.recorded")


def test_a_period_closes_and_nothing_is_unpacked() -> None:
    live = Live(definitions_of(ALONE))
    live.define_all()
    filtered = arrived("filtered", 5, START_MS, v="6", u="a", operation_type="remove")
    grouped = [arrived("sum", i, START_MS + i, v=str(i), g=f"g{i}") for i in (1, 2, 3)]
    next_week = arrived("sum", 4, START_MS + WEEK_MS, v="7", g="g1")
    live.deliver([*grouped, next_week, filtered, arrived("max", 6, START_MS, v="9")])
    records = closed(live)
    assert units(records) == ["1.0", "2.0", "3.0", "6.0", "9.0"]
    grouped_by = [each["grouped_by"] for each in records if "grouped_by" in each]
    assert {"operation_type": "remove"} in grouped_by
    assert {"g": "g3"} in grouped_by
    packing = live.partition.packing
    assert packing.is_packed(NAME)
    assert not live.partition.routes.by_key
    assert not packing.as_packed


def test_cells_of_who_began_within_a_period_are_named_by_that() -> None:
    live, later, began_ms = Live(definitions_of(["count"])), (ORG, "later"), START_MS + 2 * DAY_MS
    live.define_all()
    body = subscription_body(external_id="later", subscription_at=iso_milliseconds(began_ms))
    live.append(began_ms, commands.create_subscription(ORG, body))
    live.deliver(
        [arrived("count", 0, began_ms), arrived("count", 1, began_ms, external_id="later")]
    )
    for name, start_ms in ((NAME, START_MS), (later, began_ms)):
        cell, _ = closed(live, name=name)
        (versions,) = live.definitions.subscriptions(*name)
        subscription = versions.only()
        assert subscription is not None
        charge_id = cell["lago_charge_id"]
        assert cell["cell_id"] == cell_id(subscription, charge_id, None, (), start_ms)
        assert (*name, "count") not in live.partition.routes.by_key


def test_what_comes_late_in_a_watched_period_is_in_it() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    alert = {
        "alert_type": "billable_metric_current_usage_units",
        "code": "many",
        "billable_metric_code": "count",
        "thresholds": [{"value": "100"}],
    }
    live.append(START_MS, commands.create_alert(ORG, SUBSCRIPTION, alert))
    due_ms = START_MS + WEEK_MS
    live.deliver([arrived("count", 0, START_MS + HOUR_MS)])
    live.close_until(due_ms - 1)
    live.deliver([arrived("count", 1, due_ms - 1)])
    assert units(closed(live)) == ["2.0"]


def test_what_comes_after_a_period_is_due_is_not_in_it() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    live.deliver([arrived("count", 0, START_MS)])
    live.deliver([arrived("count", 1, START_MS, START_MS + WEEK_MS + 1)])
    assert units(closed(live)) == ["1.0"]


def test_a_balance_of_who_shares_periods_is_told_as_it_lies() -> None:
    live = Live(definitions_of(["heads", "prepaid"]))
    live.define_all()
    live.close_until(START_MS + WEEK_MS)
    events = [arrived("heads", 0, START_MS + WEEK_MS, u="a")]
    events.append(arrived("prepaid", 1, START_MS + WEEK_MS, v="3"))
    live.deliver(events)
    for _ in range(3):
        assert units(closed(live)) == ["1.0", "3.0"]
        assert not live.partition.routes.by_key
        live.close_until(next_cut(live.partition, NAME))


def test_a_balance_leaves_out_what_is_dated_in_a_period_to_come() -> None:
    live = Live(definitions_of(["heads"]))
    live.define_all()
    second_ms = START_MS + WEEK_MS
    live.close_until(second_ms)
    live.deliver([arrived("heads", 0, second_ms, u="a")])
    live.deliver([arrived("heads", 1, second_ms + WEEK_MS, second_ms + 1, u="b")])
    for balance in ("1.0", "2.0"):
        assert units(closed(live)) == [balance]
        assert not live.partition.routes.by_key
        live.close_until(next_cut(live.partition, NAME))


@pytest.mark.parametrize(("fold_version", "billed"), [(1, "5.0"), (2, "0.0")])
def test_a_share_below_zero_bills_nothing(fold_version: int, billed: str) -> None:
    live = Live(definitions_of(["balance"], replace(SETTINGS, fold_version=fold_version)))
    live.define_all()
    live.close_until(START_MS + WEEK_MS)
    last_ms = START_MS + 2 * WEEK_MS - HOUR_MS
    events = (START_MS + WEEK_MS, "-5"), (last_ms, "10")
    live.deliver([arrived("balance", i, at_ms, v=v) for i, (at_ms, v) in enumerate(events)])
    assert units(closed(live)) == [billed]
    assert not live.partition.routes.by_key


def test_a_level_of_before_the_first_period_is_in_it() -> None:
    live = Live(definitions_of(["level"]))
    live.define_all()
    live.deliver([arrived("level", 0, START_MS - HOUR_MS, v="5")])
    assert units(closed(live)) == ["5.0"]


def test_a_zero_follows_a_balance_whose_cell_is_gone() -> None:
    live = Live(definitions_of(["balance", "count"]))
    live.define_all()
    live.deliver([arrived("balance", 0, START_MS, v="5")])
    live.deliver([arrived("count", i, START_MS + i * WEEK_MS) for i in (1, 2)])
    live.close_until(START_MS + WEEK_MS + HOUR_MS)
    live.flush()
    packing = live.partition.packing
    packing.pack(NAME)
    (first_part,) = [each for each, piece in packing.pieces(NAME) if piece is not None]
    (plan,) = live.definitions.plan_versions.values()
    balance = next(iter(plan.all())).charges[0].id
    for key, value in packing._packed.drain(first_part):
        if msgspec.msgpack.decode(key, type=CellKey).charge_id != balance:
            packing._packed.add_cell(key, value)
    assert units(closed(live)) == ["0.0", "1.0"]


@pytest.mark.parametrize(("code", "earlier_ms"), [("count", 0), ("heads", WEEK_MS)])
def test_a_cell_of_no_span_is_found(code: str, earlier_ms: int) -> None:
    live = Live(definitions_of([code]))
    live.define_all()
    # From its second period on it shares them.
    live.close_until(START_MS + WEEK_MS)
    live.deliver([arrived(code, 0, START_MS + WEEK_MS, u="a")])
    live.flush()
    (key,) = live.changelog.cells
    name = msgspec.msgpack.decode(key, type=CellKey)
    later_ms, layer_ms = name.span_start_ms + 1, name.layer_ms - earlier_ms
    stray = name._replace(span_start_ms=later_ms, layer_ms=layer_ms)
    assert units(closed(live, stray)) == ["1.0"]
    assert live.partition.stale.orphaned_keys == {(*NAME, code)}


def test_what_recurs_is_shown_by_the_span_that_holds_the_period() -> None:
    live = Live(definitions_of(["heads"]))
    live.define_all()
    live.deliver([arrived("heads", 0, START_MS, u="a", g="x")])
    live.close_until(START_MS + WEEK_MS + HOUR_MS)
    grouped = {"properties": {"amount": "1", "pricing_group_keys": ["g"]}}
    live.append(START_MS + WEEK_MS + HOUR_MS, commands.update_charge(ORG, "plan", "heads", grouped))
    events = [("b", "x"), ("c", "y")]
    at_ms = START_MS + WEEK_MS + 2 * HOUR_MS
    live.deliver([arrived("heads", i, at_ms, u=u, g=g) for i, (u, g) in enumerate(events, 1)])
    live.close_until(at_ms)
    live.flush()
    starts_ms = {
        msgspec.msgpack.decode(key, type=CellKey).span_start_ms for key in live.changelog.cells
    }
    assert starts_ms == {START_MS, START_MS + WEEK_MS}
    for _ in range(2):
        records = closed(live)
        assert units(records) == ["1.0", "2.0"]
        assert not live.partition.routes.by_key
        live.close_until(next_cut(live.partition, NAME))
