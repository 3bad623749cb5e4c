"""From a raw record to arrivals: decoded, and given their position and organization."""

from __future__ import annotations

from collections.abc import Sequence

from app.wire.events import Correction, decode_plain
from app.wire.records import Headers, decode_record
from app.wire.refusals import OUT_OF_RANGE_MESSAGE, Refusal, RefusalCode, check_range
from tables.corrections import CorrectionArrival
from tables.fold import Arrival

Arrived = Arrival | CorrectionArrival | Refusal

ADMIT_HEADER = "meter-admit"

_UNKNOWN_ORGANIZATION = (
    "organization_id is missing; send it with the event or set default_organization_id"
)


def arrivals_of(
    value: bytes | None,
    headers: Headers,
    append_time_ms: int,
    partition: int,
    offset: int,
    default_organization_id: str | None,
) -> Sequence[Arrived]:
    """Everything in one record of the raw topic, in its order."""
    if not headers and value is not None:
        arrival = plain_arrival(value, append_time_ms, partition, offset, default_organization_id)
        if arrival is not None:
            return (arrival,)
    admitted = any(name == ADMIT_HEADER and text == b"true" for name, text in headers)
    found: list[Arrived] = []
    for index, decoded in decode_record(value, headers):
        if isinstance(decoded, Refusal):
            found.append(decoded)
            continue
        organization_id = decoded.organization_id or default_organization_id
        if organization_id is None:
            code = RefusalCode.UNKNOWN_ORGANIZATION
            found.append(Refusal(code, _UNKNOWN_ORGANIZATION, decoded.body, index))
            continue
        origin = (organization_id, append_time_ms, partition, offset, index)
        if isinstance(decoded, Correction):
            found.append(_correction(decoded, origin))
        else:
            found.append(_new(Arrival, (decoded, *origin, -1, admitted)))
    return found


def plain_arrival(
    value: bytes,
    append_time_ms: int,
    partition: int,
    offset: int,
    default_organization_id: str | None,
) -> Arrival | None:
    """The event of an ordinary record without headers; None when it is anything else."""
    event = decode_plain(value)
    if event is None:
        return None
    organization_id = event.organization_id or default_organization_id
    if organization_id is None:
        return None
    return _new(Arrival, (event, organization_id, append_time_ms, partition, offset, 0, -1, False))


def _correction(
    correction: Correction, origin: tuple[str, int, int, int, int]
) -> CorrectionArrival | Refusal:
    """A correction with its position; an amend must keep to the range that events have."""
    event, append_time_ms = correction.event, origin[1]
    if event is not None and event.organization_id not in (None, origin[0]):
        message = "an amend keeps organization_id"
        return Refusal(RefusalCode.INVALID_CORRECTION, message, correction.body, origin[-1])
    if event is not None and event.timestamp_ms is not None:
        refusal = check_range(event.timestamp_ms, append_time_ms)
        if refusal is not None:
            code = RefusalCode.INVALID_CORRECTION
            return Refusal(code, f"event: {OUT_OF_RANGE_MESSAGE}", correction.body, origin[-1])
    return CorrectionArrival(correction, *origin)


# Plain __new__: the generated one costs three times as much, on every event.
_new = tuple.__new__
