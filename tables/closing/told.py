"""What records tell of a final period, so that its cells may go.

What records do not tell is kept beside their figures before: rows by presentation keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from app.bounds.turns import Steps
from app.definitions.model import Charge, Subscription
from app.definitions.periods import Period
from app.meter.usage import ChargeInForce
from app.numbers import plain
from tables.breakdown_fold import charge_presented
from tables.cells.cell import Cell, Layer, Span
from tables.closing.billing import ends_unpublished, may_be_carried_on
from tables.closing.presented import keeping_rows, keeps_rows
from tables.daily_fold import charge_told
from tables.entries_fold import asks, charge_named
from tables.partition.partition import Partition
from tables.routing.period_charges import PeriodCharge, PeriodCharges
from tables.routing.route import Route

_PERIODS_A_STEP: Final = 100


def keeping_all_rows(partition: Partition, route: Route, known_ms: int) -> Steps[None]:
    """Have what is published of periods that became final since `known_ms` keep its rows.

    They are those by presentation keys.
    """
    for span in route.spans:
        if not span.fold.prices or not span.timeline.published:
            continue
        for count, period in enumerate(_became_final(partition, span, known_ms), 1):
            if count % _PERIODS_A_STEP == 0:
                yield
            if not span.fold.metric.recurring and period.start_ms not in span.layers:
                continue
            telling = _telling(partition, span, period)
            if telling is not None and telling.in_force.charge.presents:
                about = partition, span.name, span.key.subscription_id
                in_force = ChargeInForce(*telling.in_force[:2])
                yield from keeping_rows(*about, in_force, period)


def is_told(partition: Partition, span: Span, layer: Layer, period: Period) -> bool:
    """Return whether the records of a period say all that anybody may ask of its cells."""
    recurring = span.fold.metric.recurring
    published = partition.published.find((span.key.subscription_id, period.start_ms))
    telling = _telling(partition, span, period)
    if published is None or published.revision < 0 or telling is None:
        return False
    subscription, charges, (charge, metric, *_) = telling
    goes_without = may_be_carried_on(subscription, charge, period)
    goes_without = goes_without or ends_unpublished(subscription, charge, metric, period)

    def tells(cell: Cell) -> bool:
        if not span.fold.prices:
            # Its records have lists of it, and its charge has counted the same events.
            return cell.late is None
        known = published.cells.get(charges.name_of(charge, cell.filter_id, cell.groups))
        told = 0 if known is None else int.from_bytes(known.digest, "big")
        amount = None if known is None else known.precise_total_amount_cents
        if known is not None and not keeps_rows(charge, period, known):
            return False
        if recurring:
            # It tells what all periods until then come to, without what came when it was over.
            return cell.late is None and (known is not None or goes_without)
        precise = None if cell.state.precise is None else plain(cell.state.precise)
        if cell.late is None and (cell.state.digest, precise) == (told, amount):
            return True
        # Operations that leave nothing active have no record, or one without events.
        shows_nothing = known is None or known.shows_nothing
        figures = span.figures(period, cell.filter_id, cell.groups)
        return cell.late is None and shows_nothing and not figures.counts

    return all(map(tells, layer.cells.values()))


def shows_before(partition: Partition, span: Span, known_ms: int) -> bool:
    """Return whether a period that became final since `known_ms` may be asked for more than told.

    What recurs is shown there with all that lies before: it need have no event of its own.
    """
    if not (span.fold.metric.recurring and span.fold.forgets and span.timeline.published):
        return False
    return any(
        (telling := _telling(partition, span, period)) is None
        or not _keeps_all_rows(partition, span, period, telling.in_force.charge)
        for period in _became_final(partition, span, known_ms)
    )


def _became_final(partition: Partition, span: Span, known_ms: int) -> Iterator[Period]:
    """Yield the periods of a span that became final since `known_ms`, with or without events."""
    settled_ms = partition.cuts.settled_ms
    for period in span.timeline.due_after(known_ms - span.timeline.open_for_ms):
        if period.start_ms >= min(span.end_ms, settled_ms):
            break
        if period.start_ms >= span.key.start_ms and known_ms < period.final_ms <= settled_ms:
            yield period


def _keeps_all_rows(partition: Partition, span: Span, period: Period, charge: Charge) -> bool:
    """Return whether what is published of a charge tells all rows by presentation keys."""
    published = partition.published.find((span.key.subscription_id, period.start_ms))
    if published is None or not charge.presents:
        return True
    cells = published.cells
    return all(keeps_rows(charge, period, cells[name]) for name in cells if name[0] == charge.id)


class _Telling(NamedTuple):
    """What tells of a span in a period."""

    subscription: Subscription
    charges: PeriodCharges
    in_force: PeriodCharge
    """The charge that it folds."""


def _telling(partition: Partition, span: Span, period: Period) -> _Telling | None:
    """Return who has a period, its charges and the one of a span.

    None: more may be asked than told.
    """
    subscription = partition.definitions.subscription_by_id(
        span.key.subscription_id, period.fixed_at_ms
    )
    if subscription is None:
        return None
    charges = partition.routes.charges_of(subscription, period)
    charge_id = charge_named(charge_told(charge_presented(span.key.charge_id)))
    found = next((one for one in charges.in_force if one.charge.id == charge_id), None)
    if found is None:
        return None
    # Later periods of what recurs may list the events of all before.
    lists = found.metric.recurring and asks(found.charge, found.metric)
    return None if lists else _Telling(subscription, charges, found)
