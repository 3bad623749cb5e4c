"""From a raw record to arrivals: decoded, and given their position and organization."""

from __future__ import annotations

from collections.abc import Iterator

from app.wire.events import Correction, Event
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
) -> Iterator[Arrived]:
    """Everything in one record of the raw topic, in its order."""
    admitted = any(name == ADMIT_HEADER and text == b"true" for name, text in headers)
    for index, decoded in decode_record(value, headers):
        if not isinstance(decoded, Event):
            yield decoded
            continue
        organization_id = decoded.organization_id or default_organization_id
        if organization_id is None:
            yield Refusal(
                RefusalCode.UNKNOWN_ORGANIZATION, _UNKNOWN_ORGANIZATION, decoded.body, index
            )
            continue
        yield Arrival(
            decoded,
            organization_id,
            append_time_ms,
            partition,
            offset,
            index,
            admitted=admitted,
        )
