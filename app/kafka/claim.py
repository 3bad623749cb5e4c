"""What an application says in `meter-progress`: that the topics are its own."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from app.errors import StackError
from app.kafka.log_readers import newest_value
from app.kafka.names import TopicPartition
from app.kafka.topics import METER_PROGRESS
from app.settings import Settings

CLAIM_KEY: Final = b"application"
"""The key of the newest claim; those of reports are numbers of partitions."""


class TopicsTaken(StackError):
    """The topics are those of another application."""


class Claim(NamedTuple):
    """What the workers of an application tell all others."""

    application: str
    """METER_APPLICATION_ID."""
    former: str
    """The application whose producers are to be fenced yet; empty: none."""
    nonce: str
    """Tells this record from all others."""


def claim_in(value: bytes | None) -> tuple[Claim, str] | None:
    """Return a claim and its seal, which may be wrong; None: the record is none."""
    try:
        told = msgspec.json.decode(value or b"")
        claim = Claim(*(str(told[name]) for name in Claim._fields))
        return claim, str(told["seal"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        return None


async def claiming_application(settings: Settings) -> str | None:
    """Return the application whose topics these are; None: no worker has claimed them yet.

    Raises:
        KafkaError, OSError, TimeoutError: brokers do not answer.
    """
    tp = TopicPartition(settings.topic(METER_PROGRESS), 0)
    found = claim_in(await newest_value(settings, tp, CLAIM_KEY))
    return None if found is None else found[0].application
