"""Checks of vectors about charges paid in advance: what each event bills, and what usage shows."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from app.definitions import commands
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Rejected
from app.definitions.state import Definitions
from app.numbers import ZERO
from app.wire.arrivals import Arrival
from tables.aggregation import Groups
from tables.cells.figures import window_of
from tables.instants.chain import NO_FIGURE, Chain, Figure, in_advance_units
from tables.instants.deciding import counted_in, decided
from tables.instants.sweep import Sweep
from tests.conformance.comparison import Comparison, Difference
from tests.conformance.files import Vector
from tests.conformance.scenario import (
    ORGANIZATION,
    Folded,
    arrivals,
    charge_of,
    fold,
    is_left_out,
    metric_of,
)
from tests.world import bodies

CellName = tuple[str | None, Groups]


def _figures(folded: Folded) -> tuple[list[Figure], dict[CellName, Chain]]:
    """Return the figure of each event dated in the period, in order of position, and the chains.

    One that is not selected, or comes again, gives no record.
    """
    span, period, members, sent, taken = folded[:5]
    sweep, charge = Sweep(members), span.fold.charge
    # Of those with one id the first stays.
    first = {arrival.identity: arrival.position for arrival in reversed(taken)}
    chains: dict[CellName, Chain] = {}
    figures: list[Figure] = []
    for arrival in sent:
        counted = None
        if first.get(arrival.identity) == arrival.position:
            counted = counted_in(span, arrival, blank_after_ms=-1)
        if counted is not None and not is_left_out(charge, counted.filter_id):
            name = counted.filter_id, counted.groups
            chain = chains.get(name, Chain())
            chains[name], figure = decided(counted._replace(period=period), chain, sweep)
            figures.append(figure)
        elif span.timeline.holding(arrival.timestamp_ms) is not None:
            figures.append(NO_FIGURE)
    return figures, chains


def units_in_advance(
    folded: Folded, filter_id: str | None, groups: Groups, total: Decimal
) -> Decimal:
    """Return `in_advance_units` of a cell."""
    metric, prorates = folded.span.fold.metric, folded.span.fold.charge.prorated
    chain = _figures(folded)[1].get((filter_id, groups), Chain())
    rounding = (metric.rounding_function, metric.rounding_precision)
    return in_advance_units(total, chain, window_of(folded.period), rounding, prorates=prorates)


def check_event_units(vector: Vector) -> Iterator[Difference]:
    """Compare what each event dated in the period bills, and what Lago's fee shows."""
    figures, _ = _figures(fold(vector, vector.json["period"], arrivals(vector)))
    compare = Comparison(vector.json.get("compare") or {})
    found = {
        "event_units": [figure.billed for figure in figures],
        "fee_units": [figure.applied_units for figure in figures],
    }
    for name, wanted in vector.json["expect"].items():
        got = found.get(name)
        if got is None or len(got) != len(wanted):
            yield Difference(name, str(wanted), str(got))
            continue
        for place, (expected, units) in enumerate(zip(wanted, got, strict=True)):
            if expected is not None:
                yield from compare.number("units", expected, {"units": units}, f"{name}[{place}]")


def check_positions(vector: Vector) -> Iterator[Difference]:
    """Compare the places of events in the order of their cell."""
    taken = fold(vector, vector.json["period"], arrivals(vector)).taken

    def place(arrival: Arrival) -> object:
        return arrival.timestamp_ms, arrival.position

    ordered = sorted(taken, key=place)  # type: ignore[arg-type]
    got = [str(ordered.index(arrival) + 1) for arrival in taken]
    # Texts or numbers.
    wanted = list(map(str, vector.json["expect"]["positions"]))
    if got != wanted:
        yield Difference("positions", str(wanted), str(got))


def check_support(vector: Vector) -> Iterator[Difference]:
    """Compare whether a charge of the aggregation can be paid in advance, or be shown."""
    wanted = vector.json["expect"]["error"]
    if vector.json.get("context") == "current_usage":
        folded = fold(vector, None, arrivals(vector))
        shown = folded.span.figures(folded.period, None, ())
        got = None if shown.units == ZERO else f"{shown.units} units"
    else:
        got = "not_implemented" if _is_refused(vector) else None
    if got != wanted:
        yield Difference("error", str(wanted), str(got))


def _is_refused(vector: Vector) -> bool:
    """Return whether a plan with the charge is refused."""
    metric, charge = metric_of(vector.json), charge_of(vector.json)
    body = bodies.metric(
        metric.code,
        metric.aggregation_type,
        field_name=metric.field_name,
        recurring=metric.recurring,
        weighted_interval=metric.weighted_interval,
    )
    charged = bodies.charge(metric.code, pay_in_advance=True, prorated=charge.prorated)
    definitions = Definitions()
    for offset, command in enumerate(
        (
            commands.set_settings(SettingsRecord()),
            commands.create_billable_metric(ORGANIZATION, body),
            commands.create_plan(ORGANIZATION, bodies.plan("plan", [charged])),
        )
    ):
        outcome = apply(definitions, command.encode(), 0, offset)
    return isinstance(outcome, Rejected)
