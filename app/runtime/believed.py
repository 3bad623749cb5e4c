"""Append raw records for whoever was let in here, so that folds believe them (bounded-work §4).

Where a gateway's header decides whose a record is, this is the gateway. Where producers may not
correct or admit, a grant record of the same bytes comes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from app.definitions import commands
from app.definitions.judging import GRANTED_HEADER, ORGANIZATION_HEADER, Judging
from app.definitions.state import Definitions
from app.kafka.names import RecordMetadata
from app.kafka.topics import METER_DEFINITIONS
from app.meter.errors import NotAllowed, Unavailable
from app.settings import Settings
from app.wire.decode import Headers
from app.wire.grants import digest_of

Append = Callable[[str, bytes | None, bytes | None, int, Headers], Awaitable[RecordMetadata]]
"""(topic, key, value, partition, headers)"""

_TRIES: Final = 10
_PAUSE_S: Final = 0.5


async def append_believed(
    settings: Settings,
    definitions: Definitions,
    append: Append,
    organization_id: str | None,
    key: bytes | None,
    value: bytes | None,
    partition: int,
    headers: Headers = (),
    *,
    granted_by: str | None = "",
) -> RecordMetadata:
    """Append a record to the raw topic; `granted_by`, not empty: it is to correct, or be admitted.

    Raises:
        NotAllowed: nothing in this topic is this organization's.
        Unavailable: what is granted would be stamped before its grant, again and again.
    """
    judging = Judging.by(definitions)
    # The newest may not hold yet, and be in force when the record is stamped.
    near = judging.beliefs[-2:]
    default = judging.default_organization_id
    if near and near[-1].producer_trust == "topic" and organization_id not in (None, default):
        raise NotAllowed
    kept = [header for header in headers if header[0] != GRANTED_HEADER]
    if organization_id is not None and any(each.producer_trust == "header" for each in near):
        kept = [header for header in kept if header[0] != ORGANIZATION_HEADER]
        kept.append((ORGANIZATION_HEADER, organization_id.encode()))
    raw, granted_ms = settings.topic(settings.raw_topic), -1
    if granted_by != "" and not all(each.may_correct and each.may_admit for each in near):
        command = commands.grant(organization_id or "", digest_of(value, kept))
        command = msgspec.structs.replace(command, changed_by=granted_by)
        topic = settings.topic(METER_DEFINITIONS)
        grant = await append(topic, None, command.encode(), 0, ())
        granted_ms = max(grant.timestamp, definitions.append_time_ms)
        kept.append((GRANTED_HEADER, str(grant.offset).encode()))
    for _ in range(_TRIES):
        sent = await append(raw, key, value, partition, kept)
        # Brokers' clocks differ: where this one is behind, the grant came after it.
        if sent.timestamp >= granted_ms:
            return sent
        await asyncio.sleep(_PAUSE_S)
    raise Unavailable("the clocks of two brokers differ by seconds")
