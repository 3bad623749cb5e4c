"""Retained: whether a definition could be carried out with the events that the logs still have.

Pure. It is asked before the definition is appended; afterwards what needs more stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

from app.bounds.turns import Steps
from app.definitions.outcome import Touch
from app.definitions.state import Definitions
from tables.changelogged.members import Members
from tables.changelogged.presence import Pair
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition


def needs_deleted(
    table: Partition,
    touch: Touch,
    after: Callable[[], Steps[Definitions]],
    log_starts: tuple[int, int],
) -> Steps[bool]:
    """Whether a definition sends events elsewhere that lie before where the logs begin.

    `after`: the definitions with it, made when they are needed.
    """
    then: Partition | None = None
    for pair in table.redirection.pairs_of(touch):
        yield
        if not table.presence.names_before([pair], *log_starts):
            continue
        if then is None:
            definitions = yield from after()
            then = Partition(table.number, definitions, EventIndex(), Members(capacity=None))
        if _goes_elsewhere(table, pair, then):
            return True
    return False


def _goes_elsewhere(table: Partition, pair: Pair, then: Partition) -> bool:
    """Whether events of a pair count otherwise under the definitions of another partition."""
    presence = table.presence.find(pair[:2], pair[2])
    if presence is None:
        return False
    reach, history_ms = (presence.newest_ms, presence.appended_ms), table.standing.history_ms
    now = table.routes.compile(pair).shape(*reach)
    return then.routes.compile(pair, None, history_ms).shape(*reach) != now
