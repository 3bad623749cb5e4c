"""From a raw record to arrivals: decoded, and given their position and organization."""

from __future__ import annotations

from collections.abc import Sequence

from app.wire.events import Correction, Event, decode_plain
from app.wire.records import Headers, decode_record
from app.wire.refusals import Refusal, RefusalCode
from tables.fold import Arrival

Arrived = Arrival | Refusal | Correction

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
        # The ordinary record, without the detours that the others need.
        event = decode_plain(value)
        if event is not None:
            organization_id = event.organization_id or default_organization_id
            if organization_id is not None:
                place = (append_time_ms, partition, offset, 0, -1, False)
                return (_new(Arrival, (event, organization_id, *place)),)
    admitted = any(name == ADMIT_HEADER and text == b"true" for name, text in headers)
    found: list[Arrived] = []
    for index, decoded in decode_record(value, headers):
        if not isinstance(decoded, Event):
            found.append(decoded)
            continue
        organization_id = decoded.organization_id or default_organization_id
        if organization_id is None:
            code = RefusalCode.UNKNOWN_ORGANIZATION
            found.append(Refusal(code, _UNKNOWN_ORGANIZATION, decoded.body, index))
            continue
        place = (append_time_ms, partition, offset, index, -1, admitted)
        found.append(_new(Arrival, (decoded, organization_id, *place)))
    return found


# Plain __new__: the generated one costs three times as much, on every event.
_new = tuple.__new__
