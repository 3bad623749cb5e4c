"""Conflicts: repeated ids whose bodies are not those of the events that they repeat."""

from __future__ import annotations

from app.bounds.turns import Steps
from app.wire.arrivals import Arrival, Arrived
from app.wire.identity import comparing_bodies
from app.wire.refusals import RefusalCode, quoted
from tables.partition.copies import Duplicate
from tables.partition.intake import RefusedArrival


def judging(duplicate: Duplicate, first: Arrived | None) -> Steps[RefusedArrival | None]:
    """Return the refusal of a repeated id with another body; None: the bodies are the same.

    `first`: the event that was known; None: the log has it no longer.
    """
    arrival = duplicate.arrival
    if isinstance(first, Arrival) and (yield from comparing_bodies(first.event, arrival.event)):
        return None
    loser = first if duplicate.replaced and isinstance(first, Arrival) else arrival
    told = "was sent before with another body; the first one counts"
    if first is None:
        told = (
            "was sent before; the first one counts. It is deleted from the raw topic, so "
            "nobody can tell whether its body is the same"
        )
    named = f"transaction_id {quoted(arrival.event.transaction_id)}"
    message = f"{named} {told}. Send a correction to change it"
    return RefusedArrival(loser, RefusalCode.CONFLICTING_DUPLICATE, message)
