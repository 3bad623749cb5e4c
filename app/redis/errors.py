"""What may go wrong with the members in Redis, and what of it passes."""

from __future__ import annotations

from typing import Final

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisUnreachable
from redis.exceptions import TimeoutError as RedisTimeout

from app.kafka.transactions import Fenced

_AWAY: Final = (
    RedisUnreachable,
    RedisTimeout,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    MasterDownError,
    MasterNotFoundError,
    ClusterDownError,
    ClusterError,
)
_NOT_WRITABLE: Final = ("-OOM ", "-READONLY ", "MISCONF ", "NOREPLICAS ")
"""As errors of scripts have them: no memory, a replica now, no disk, too few replicas."""


class StaleEpoch(Fenced):
    """A newer owner of the partition writes these members."""


class MembersLost(Exception):
    """Redis does not hold what was written to it."""


class MembersSilent(Exception):
    """Redis does not answer just now, or is being filled in."""


def is_away(error: RedisError) -> bool:
    """Return True if Redis may take the same call later, once somebody or time has helped it."""
    return isinstance(error, _AWAY) or any(code in str(error) for code in _NOT_WRITABLE)
