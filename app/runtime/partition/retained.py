"""Retained: whether a correction could be put in force with the events that the logs still have."""

from __future__ import annotations

from msgspec.structs import replace

from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import Arrival, CorrectionArrival, MeterKey
from app.wire.identity import event_id
from tables.partition.left_out import read_from


async def reads_beyond_retention(owned: OwnedPartition, correction: CorrectionArrival) -> bool:
    """Return whether a correction needs events read again that are deleted.

    Its own is read in any case, and of the others those that are not forgotten.
    """
    body, state, shared = correction.correction, owned.state, owned.shared
    entry = state.index.find(event_id(*correction.name, body.transaction_id))
    if entry is None:
        return False
    meter_keys = state.event_ranges.meter_keys_of(correction.name)
    kept = await shared.offsets.kept(owned.number)
    if not state.event_ranges.names_lacking(meter_keys, kept):
        return False
    place = entry[1:4]
    original = (await shared.raw_lookup.find_many({place}, "correction")).get(place)
    if not isinstance(original, Arrival):
        return True
    amended = () if body.event is None else (replace(original, event=body.event),)
    dated_ms = min(each.timestamp_ms for each in (original, *amended))
    appended: dict[MeterKey, int] = {}
    for meter_key in meter_keys:
        route = state.views.route_of(meter_key)
        from_ms = read_from(state, meter_key, route, route, dated_ms)
        if from_ms is not None:
            appended[meter_key] = from_ms
    return bool(state.event_ranges.names_lacking(meter_keys, kept, appended))
