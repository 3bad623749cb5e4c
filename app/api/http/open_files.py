"""How many files this process may have open, and how many of them connections get."""

from __future__ import annotations

import logging
import resource

from app.bounds.limits import CONNECTIONS, FILES_KEPT, FILES_LEAST, FILES_MOST
from app.errors import StackError

log = logging.getLogger(__name__)


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns what it is then.

    Raises:
        StackError: it is too low to work with.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MOST if hard == resource.RLIM_INFINITY else min(hard, FILES_MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError) as error:
            # A system may have a lower one that it does not tell.
            log.warning("The limit of open files stays at %d: %s", soft, error)
    limit = FILES_MOST if soft == resource.RLIM_INFINITY else soft
    if limit < FILES_LEAST:
        raise StackError(
            f"Only {limit} files may be open in this process, at least {FILES_LEAST} are needed. "
            f"Raise the limit: `ulimit -n {FILES_MOST}`, LimitNOFILE= of systemd, "
            "`ulimits` of Docker."
        )
    return limit


def most_connections(limit: int) -> int:
    """Return how many clients may connect under a limit of open files: each may need two."""
    return min(CONNECTIONS, (limit - FILES_KEPT) // 2)
