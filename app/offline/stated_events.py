"""The events of a statement, one by one: what counted, what did not, and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from app.billing_periods.instants import iso_milliseconds, parse_iso8601_ms
from app.definitions.judging import Judging
from app.offline.fold import EventLine, OfflineMeter
from app.offline.stated import StatedFigure
from app.wire.arrivals import Arrival, arrivals_of
from app.wire.record_rows import pairs_text
from tables.reading.tracing import Traced, Tracer, verdict

COLUMNS: Final = (
    "counted",
    "status",
    "reason",
    "transaction_id",
    "timestamp",
    "code",
    "value",
    "charge_code",
    "filters",
    "grouped_by",
    "counts_from_cut",
    "append_time",
    "position",
)


def events_csv(
    meter: OfflineMeter, wanted: StatedFigure, records: Sequence[bytes], events: Iterable[EventLine]
) -> bytes:
    """Return the events of a figure, as the fold of its logs judged them."""
    rows = io.StringIO()
    csv.writer(rows).writerows([COLUMNS, *_rows(meter, wanted, records, events)])
    return rows.getvalue().encode()


def _rows(
    meter: OfflineMeter, wanted: StatedFigure, chosen: Sequence[bytes], events: Iterable[EventLine]
) -> Iterator[tuple[str, ...]]:
    """Yield a row for each event of the figure and charge that looked at it."""
    state = meter.partition
    code, period = wanted.metric_code, msgspec.json.decode(chosen[0])["period"]
    start_ms, to_ms = parse_iso8601_ms(period["from"]) or 0, parse_iso8601_ms(period["to"]) or 0
    tracer, judging = Tracer(state, (*wanted.name, code)), Judging.by(meter.definitions)
    for line in events:
        place = (line.append_time_ms, line.partition, line.offset)
        for arrival in arrivals_of(line.value, line.headers, *place, judging):
            if not isinstance(arrival, Arrival) or arrival.name != wanted.name:
                continue
            standing = verdict(state, arrival)
            counted = standing.counted or arrival
            if counted.event.code != code:
                continue
            traced: list[Traced | None] = []
            if standing.counted is not None:
                traced += tracer.trace(standing.counted, standing.corrected_ms)
            traced = [one for one in traced if _is_of(one, wanted, start_ms)]
            is_within = start_ms <= counted.timestamp_ms <= to_ms + 999
            if not traced and (standing.counted is not None or not is_within):
                continue
            for one in traced or [None]:
                yield _row(arrival, counted, standing.standing, standing.reason, one)


def _is_of(traced: Traced | None, wanted: StatedFigure, start_ms: int) -> bool:
    if traced is None:
        return False
    charge, layer = traced.span.fold.charge, traced.layer
    carried = traced.span.fold.metric.recurring and layer.start_ms <= start_ms + 999
    return wanted.charge_code in (None, charge.code) and (
        carried or start_ms <= layer.start_ms <= start_ms + 999
    )


def _row(
    arrival: Arrival, counted: Arrival, standing: str, reason: str | None, traced: Traced | None
) -> tuple[str, ...]:
    counts = traced is not None and traced.reason is None
    status = "counted" if counts else "ignored" if standing == "taken" else standing
    place = f"{arrival.raw_partition}:{arrival.raw_offset}:{arrival.array_index}"
    about: tuple[str, ...] = ("", "", "", "", "")
    if traced is not None:
        charge = traced.span.fold.charge
        bucket = next((one for one in charge.filters if one.id == traced.filter_id), None)
        groups = dict(zip(charge.group_keys(bucket), traced.groups, strict=False))
        values = None if bucket is None else {k: list(v) for k, v in bucket.values.items()}
        cut = iso_milliseconds(traced.cut_ms) if counts and traced.cut_ms else ""
        shown = (traced.value, charge.code, pairs_text(values), pairs_text(groups), cut)
        about = shown if counts else ("", charge.code, "", "", "")
    return (
        "yes" if counts else "no",
        status,
        (None if traced is None else traced.reason) or reason or "",
        arrival.event.transaction_id,
        iso_milliseconds(counted.timestamp_ms),
        counted.event.code,
        *about,
        iso_milliseconds(arrival.append_time_ms),
        place,
    )
