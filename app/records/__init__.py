"""For consumers of `usage-records`: records as typed values, and a ledger with their two rules.

It imports nothing of ours, and pydantic alone; nothing of ours imports it.

Installed it is `meterstream.records`:

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
