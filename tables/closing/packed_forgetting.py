"""Cells of final periods that go while they are packed, for records tell all that is asked of them.

By the time that a period is final nearly all subscriptions rest again. Where packed cells and what
was published do not tell, and of what recurs, routes do (`Forgetting`).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from app.definitions.model import Subscription
from app.definitions.periods import NEVER_MS, Period
from app.definitions.terms import Shared
from app.numbers import plain
from app.wire.arrivals import SubscriptionKey
from tables.cells.forgotten import gone_ms
from tables.cells.keys import CellKey
from tables.changelogged.members import SetKey, set_key
from tables.changelogged.packed_rows import Packed
from tables.charge import ChargeFold
from tables.closing.period_at_cut import CELLS_A_STEP
from tables.daily_fold import charge_told
from tables.partition.filling import decode_cell, decode_key, states_of
from tables.partition.partition import Partition
from tables.routing.period_charges import PeriodCharges


class Final(msgspec.Struct):
    """What of an external subscription may go."""

    codes: dict[str, int]
    """By code, until when periods are final whose cells are gone then."""
    cells: dict[bytes, SetKey | None]
    """Keys of cells, each with the set of members that has to be empty before."""
    later_ms: int = NEVER_MS
    """When the next period is final of those that were due."""


class _CellPlace(NamedTuple):
    """Where a packed cell belongs."""

    key: CellKey
    period: Period
    charges: PeriodCharges
    fold: ChargeFold
    by_day: bool
    """Whether it tells days, which no record of its period does."""


def final_of(partition: Partition, name: SubscriptionKey) -> Final | None:
    """Return what may go of one who is packed; None: routes tell."""
    alone = partition.timelines.alone(name)
    # Routes tell of more, by steps.
    many = partition.packing.has_cells(name, CELLS_A_STEP + 1)
    if alone is None or many or partition.routes.is_at_hand(name):
        return None
    cells = partition.packing.read(name)
    final, known_ms = Final({}, {}), dict[str, int]()
    settled_ms, done_ms = partition.cuts.settled_ms, partition.checkpoint.cut_ms
    for cell in cells:
        place = _place_of(partition, *alone, decode_key(cell[0]))
        if place is None or len(cells) >= place.period.max_groups:
            return None
        period, code = place.period, place.fold.metric.code
        if code not in known_ms:
            if not _is_told_by_cells(partition, name, code):
                return None
            known_ms[code] = partition.event_ranges.forgotten_ms(name, code)
        later_ms = gone_ms(partition.definitions, period, settled_ms, by_day=place.by_day)
        if later_ms > settled_ms:
            if period.final_ms <= settled_ms:
                # A day of it is shown yet, and all cells of a code go together.
                return None
            if period.due_at_ms <= done_ms:
                final.later_ms = min(final.later_ms, later_ms)
            continue
        if known_ms[code] < period.final_ms:
            if not _is_told(partition, place, cell):
                return None
            final.codes[code] = max(final.codes.get(code, known_ms[code]), period.final_ms)
        final.cells[cell[0]] = _members_of(place, cell) if place.fold.unique else None
    return final


def _place_of(
    partition: Partition, subscription: Subscription, shared: Shared, key: CellKey
) -> _CellPlace | None:
    """Return where a cell belongs; None: it may be shown with others, or recur."""
    period = shared.holding(key.layer_ms)
    if period is None or (key.subscription_id, key.layer_ms) != (subscription.id, period.start_ms):
        return None
    charges = partition.routes.charges_of(subscription, period)
    charge_id = charge_told(key.charge_id)
    one = charges.last(charge_id)
    if one is None or one.gone or one.charge.presents:
        return None
    fold = partition.routes.fold_of(one.charge, one.metric, period.timezone)
    return _CellPlace(key, period, charges, fold, by_day=charge_id != key.charge_id)


def _is_told_by_cells(partition: Partition, name: SubscriptionKey, code: str) -> bool:
    """Return whether no other cell of a code may hold back those of a final period."""
    meter_key, stale = (*name, code), partition.stale
    if meter_key in stale.displaced_keys or meter_key in stale.orphaned_keys:
        return False
    return not partition.definitions.recurs(name[0], code)


def _is_told(partition: Partition, place: _CellPlace, cell: Packed) -> bool:
    """Return whether the newest record of a cell tells it, as `forgetting` has it."""
    key, period, charges, fold, by_day = place
    published = partition.published.find((key.subscription_id, period.start_ms))
    states = states_of(decode_cell(cell[1]), fold.aggregation)
    if published is None or published.revision < 0 or states is None or len(states) > 1:
        return False
    if by_day:
        return True
    name = charges.name_of(fold.charge, key.filter_id, key.groups)
    known, ((_, state),) = published.cells.get(name), states
    precise = None if state.precise is None else plain(state.precise)
    digest = state.digest.to_bytes(16, "big")
    return known is not None and (digest, precise) == (
        known.digest,
        known.precise_total_amount_cents,
    )


def _members_of(place: _CellPlace, cell: Packed) -> SetKey:
    """Return the set that the members of a cell are in."""
    key = place.key
    span_key = key.subscription_id, key.charge_id, key.span_start_ms
    generation = decode_cell(cell[1]).generation
    return set_key(*span_key, generation, key.layer_ms, key.filter_id, key.groups)
