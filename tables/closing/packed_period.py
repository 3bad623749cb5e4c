"""Cells of a period that ends, shown from the bytes they are packed in.

Most cells of a large worker wait, packed, for the end of their period, which changes none of them.
Making routes, spans and cells of them takes more than all else that the cut does. Where figures
hang on more than the cells of the period itself, routes tell them (`PeriodAtCut.closings`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from app.definitions.by_identity import ByIdentity
from app.definitions.model import Charge, Metric
from app.definitions.timeline import NEVER_MS, Period
from tables.aggregation import Groups
from tables.cells.figures import figures_of
from tables.changelogged.packed_rows import PackedHere
from tables.changelogged.published_period import PublishedCellKey
from tables.charge import ChargeFold
from tables.closing.beside import ToldOfAll, told_of
from tables.closing.period_before import PeriodBefore
from tables.closing.revision import Closing
from tables.partition.packing import decode_cell, states_of
from tables.routing.period_charges import PeriodCharges


def closings_of(
    charges: PeriodCharges, period: Period, cells: Iterable[PackedHere], before: PeriodBefore
) -> list[Closing] | None:
    """Return the cells of a period of which nothing is published yet; None: routes tell them.

    `cells`: all of the subscription. `before`: the period before.
    """
    for charge, metric, *_ in charges.recurring:
        if any(before.closed(charge, told_of(charge, metric).filters)):
            return None
    found: dict[tuple[str, str | None, Groups], Closing] = {}
    for cell in cells:
        period_charge = charges.last(cell.charge_id)
        if period_charge is None or period_charge.gone:
            # It is shown with another, or of a charge that the period does not have.
            continue
        alone = _alone_of.of(period_charge.charge, period_charge.metric)
        if alone is None:
            return None
        if cell.layer_ms != period.start_ms:
            continue
        fold, (keys, _, filters) = alone
        charge_filter = None
        if cell.filter_id is not None:
            charge_filter = filters.get(cell.filter_id)
            if charge_filter is None:
                return None
            keys = period_charge.charge.group_keys(charge_filter)
        states = states_of(decode_cell(cell.value), fold.aggregation)
        place = cell.charge_id, cell.filter_id, cell.groups
        if states is None or len(states) > 1 or place in found:
            # It is of no span that there is, or another cut adds to it.
            return None
        name: PublishedCellKey = charges.name_under(*place, keys)
        groups = cell.groups
        grouped_by = tuple(zip(keys, groups, strict=False)) if groups else ()
        figures = figures_of(fold, states[0][1], None, period)
        found[place] = Closing(name, period_charge, charge_filter, grouped_by, figures)
    return list(found.values())


class _Alone(NamedTuple):
    """A charge whose cells tell a period without any others."""

    fold: ChargeFold
    told: ToldOfAll


def _alone(charge: Charge, metric: Metric) -> _Alone | None:
    """Return how the cells of a charge are shown; None: others tell what they come to, too."""
    told = told_of(charge, metric)
    if metric.recurring or charge.prorated or charge.is_billed_at_once(metric) or told.has_more:
        return None
    # Figures hang on the timezone where a charge is prorated, and on limits nowhere.
    return _Alone(ChargeFold(charge, metric, "", NEVER_MS), told)


_alone_of = ByIdentity(_alone)
