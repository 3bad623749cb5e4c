"""What consumers of usage-records need: records as typed values, and what they have come to.

It imports pydantic alone. Installed it is `meterstream.records`:

    ledger = Ledger()
    for message in consumer:
        change = ledger.take(read(message.value))
        if change:
            ...  # change.old, change.new: what to invoice or to credit
    ledger.period(lago_subscription_id, start).complete
"""

from __future__ import annotations

from app.records.ledger import Change, InMemory, Ledger, PeriodState, Store
from app.records.models import (
    PeriodCompleted,
    Record,
    UnreadableRecord,
    UsageInstant,
    UsageRecord,
    read,
)

__all__ = [
    "Change",
    "InMemory",
    "Ledger",
    "PeriodCompleted",
    "PeriodState",
    "Record",
    "Store",
    "UnreadableRecord",
    "UsageInstant",
    "UsageRecord",
    "read",
]
