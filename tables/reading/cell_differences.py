"""Cells of a meter key that differ from those of a refold, and how. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from app.billing_periods.instants import iso_seconds
from app.bounds.turns import STEP_ITEMS, Steps
from app.meter.evidence import Difference, FigureTexts
from app.numbers import plain
from app.wire.arrivals import MeterKey
from tables.cells.cell import Cell, Span
from tables.cells.figures import CellFigures
from tables.cells.keys import CellKey
from tables.routing.route import Route


def differences_of(
    number: int,
    meter_key: MeterKey,
    ours: Mapping[CellKey, Cell],
    theirs: Mapping[CellKey, Cell],
    next_cut_ms: int,
) -> Steps[list[Difference]]:
    """Return how live cells differ from refolded ones, in more than what the next cut merges.

    `number`: of the partition.
    """
    found: list[Difference] = []
    for cells in (ours, theirs):
        for count, key in enumerate(cells, 1):
            if count % STEP_ITEMS == 0:
                yield
            if cells is theirs and key in ours:
                continue
            one, other = ours.get(key), theirs.get(key)
            if _packed(one) != _packed(other) and (
                _at_cut(one, next_cut_ms) != _at_cut(other, next_cut_ms)
            ):
                found.append(_difference(number, meter_key, key, one, other))
    return found


def cells_of(route: Route) -> Steps[dict[CellKey, Cell]]:
    """Return the cells of a route that hold anything."""
    found: dict[CellKey, Cell] = {}
    for one in in_cells(route.spans):
        if one is None:
            yield
            continue
        span, cell = one
        if not cell.blank(span.fold.aggregation):
            found[cell.key] = cell
    return found


def in_cells(spans: Iterable[Span]) -> Iterator[tuple[Span, Cell] | None]:
    """Yield all cells of spans; None where a step ends, after which there may be others."""
    cells = (
        (span, cell)
        for span in spans
        for layer in list(span.layers.values())
        for cell in list(layer.cells.values())
    )
    for count, one in enumerate(cells, 1):
        yield one
        if count % STEP_ITEMS == 0:
            yield None


def _packed(cell: Cell | None) -> bytes | None:
    """Return a cell's bytes as in the changelog, without generation and first position."""
    if cell is None:
        return None
    return msgspec.msgpack.encode(msgspec.msgpack.decode(cell.packed())[:2])


def _at_cut(cell: Cell | None, next_cut_ms: int) -> tuple[object, dict[int, object]] | None:
    """Return the packed cell with everything that the next cut shows merged into one state.

    After corrections a refold may have merged them already: no cut shows them apart. None for one
    that only keeps a place, whether it asks for a cut or not.
    """
    if cell is None:
        return None
    aggregation = cell.layer.span.fold.aggregation
    state, later = aggregation.unpack(aggregation.pack(cell.state)), dict[int, object]()
    nothing = aggregation.initialize()
    for cut_ms, late in sorted((cell.late or {}).items()):
        if late == nothing:
            continue
        if cut_ms <= next_cut_ms:
            aggregation.merge(state, aggregation.unpack(aggregation.pack(late)))
        else:
            later[cut_ms] = aggregation.pack(late)
    return (aggregation.pack(state), later) if later or state != nothing else None


def _difference(
    number: int, meter_key: MeterKey, key: CellKey, ours: Cell | None, theirs: Cell | None
) -> Difference:
    some = ours or theirs
    period = some.layer.period if some is not None else None
    return Difference(
        kind="cell",
        partition=number,
        external_subscription_id=meter_key[1],
        metric_code=meter_key[2],
        period_from=None if period is None else iso_seconds(period.start_ms),
        charge_id=key.charge_id,
        filter_id=key.filter_id,
        groups=key.groups,
        live=_shown(ours),
        refolded=_shown(theirs),
    )


def _shown(cell: Cell | None) -> dict[str, str]:
    """Return figures of a cell's period, and the state itself, which may differ without showing."""
    if cell is None:
        return {}
    layer, span = cell.layer, cell.layer.span
    shown = {"state": _state_text(cell, span)}
    if layer.period is not None:
        figures = span.figures(layer.period, cell.filter_id, cell.groups)
        texts = msgspec.structs.asdict(figure_texts(figures))
        shown |= {name: str(text) for name, text in texts.items() if text is not None}
    return shown


def _state_text(cell: Cell, span: Span) -> str:
    states = {0: cell.state, **(cell.late or {})}
    return "; ".join(
        f"{cut_ms}: {' '.join(map(_text, span.fold.aggregation.pack(state)))}"
        for cut_ms, state in sorted(states.items())
    )


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def figure_texts(figures: CellFigures) -> FigureTexts:
    """Return figures as they are printed in records."""
    prorated, precise = figures.prorated_units, figures.precise_total_amount_cents
    return FigureTexts(
        units=plain(figures.units),
        prorated_units=None if prorated is None else plain(prorated),
        total_aggregated_units=plain(figures.total_aggregated_units),
        precise_total_amount_cents=None if precise is None else plain(precise),
        events_count=figures.events_count,
        digest=f"{figures.digest:032x}",
    )
