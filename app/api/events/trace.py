"""`GET /events/{transaction_id}/trace`: whether an event counted, for each charge, and why not."""

from __future__ import annotations

from typing import Any

from app.api.answering.call import Call
from app.api.answering.peers import Outgoing, ask_all, forward, owner_elsewhere, value_of
from app.api.http import json_text
from app.api.http.errors import not_found
from app.billing_periods.instants import iso_milliseconds
from app.meter.evidence import ChargeOutcome, EventFate, EventInstant, Place

Json = dict[str, Any]


async def show(call: Call) -> Any:
    """Answer the arrivals of an event id in order of position, on whichever worker they are."""
    transaction_id = call.parameters["transaction_id"]
    external_subscription_id = call.query.text("external_subscription_id")
    if external_subscription_id is not None and (
        owner := owner_elsewhere(call, external_subscription_id)
    ):
        return await forward(call, owner)
    fates = await call.meter.evidence.trace(
        call.organization_id, transaction_id, external_subscription_id
    )
    arrivals = [fate_json(fate) for fate in fates]
    if external_subscription_id is None:
        for reply in await ask_all(call, Outgoing("GET", call.request.rel_url.raw_path_qs)):
            if reply.status != 404:
                value_of(reply)
                arrivals += json_text.decode(reply.body)["trace"]["arrivals"]
    if not arrivals:
        raise not_found("event")
    return {"trace": {"transaction_id": transaction_id, "arrivals": arrivals}}


def fate_json(fate: EventFate) -> Json:
    """Return one arrival and what became of it."""
    return {
        "transaction_id": fate.transaction_id,
        "external_subscription_id": fate.external_subscription_id,
        "code": fate.code,
        "timestamp": iso_milliseconds(fate.timestamp_ms),
        "position": _place(fate.place),
        "rekeyed_offset": fate.rekeyed_offset,
        "status": fate.status,
        "reason": fate.reason,
        "amended": fate.amended,
        "corrected_by": None if fate.corrected_by is None else _place(fate.corrected_by),
        "duplicate_of": None if fate.duplicate_of is None else _place(fate.duplicate_of),
        "charges": [_outcome(outcome) for outcome in fate.charges],
        "instants": [_instant(instant) for instant in fate.instants],
    }


def _instant(instant: EventInstant) -> Json:
    return {
        "instant_id": instant.instant_id,
        "id": instant.record_id,
        "cell_id": instant.cell_id,
        "lago_charge_id": instant.charge_id,
        "revision": instant.revision,
        "units": instant.units,
        "prorated_units": instant.prorated_units,
        "events_count": int(instant.counts),
        "closed_at": iso_milliseconds(instant.cut_ms),
    }


def _place(place: Place) -> Json:
    return {
        "append_time": iso_milliseconds(place.append_time_ms),
        "partition": place.partition,
        "offset": place.offset,
        "index": place.index,
    }


def _outcome(outcome: ChargeOutcome) -> Json:
    filters = outcome.filter_values
    return {
        "lago_charge_id": outcome.charge_id,
        "charge_code": outcome.charge_code,
        "billable_metric_code": outcome.metric_code,
        "counted": outcome.reason is None,
        "reason": outcome.reason,
        "period": None
        if outcome.from_ms is None or outcome.to_ms is None
        else {"from": iso_milliseconds(outcome.from_ms), "until": iso_milliseconds(outcome.to_ms)},
        "filters": None if filters is None else {key: list(of) for key, of in filters.items()},
        "grouped_by": dict(outcome.grouped_by) or None,
        "value": outcome.value,
        "counts_from_cut": None if outcome.cut_ms is None else iso_milliseconds(outcome.cut_ms),
    }
