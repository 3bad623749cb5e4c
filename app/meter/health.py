"""What may be wrong with a worker, as codes of a closed list (bounded-work §3)."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Code = Literal[
    "starting",
    "restoring",
    "stopping",
    "offsets_lost",
    "disk_full",
    "kafka_unreachable",
    "kafka_slow",
    "kafka_refuses_writes",
    "open_transaction",
    "redis_unreachable",
    "redis_full",
    "redis_evicts",
    "disk_low",
    "flush_stale",
    "peer_unreachable",
    "settings_differ",
    "set_aside",
]

UNREADY: Final[frozenset[Code]] = frozenset(
    ("starting", "restoring", "stopping", "offsets_lost", "disk_full")
)
"""What another worker would do better."""

OF_KAFKA: Final[frozenset[Code]] = frozenset(
    ("kafka_unreachable", "kafka_slow", "kafka_refuses_writes", "open_transaction")
)
OF_REDIS: Final[frozenset[Code]] = frozenset(("redis_unreachable", "redis_full", "redis_evicts"))


class Reason(NamedTuple):
    """One thing that is not as it should be."""

    code: Code
    since_ms: int
    message: str
