"""Retained: whether a definition could be carried out with the events that the logs still have.

Pure. It is asked before the definition is appended; afterwards what needs more stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

from app.bounds.turns import Steps
from app.definitions.outcome import Impact
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.wire.arrivals import MeterKey
from tables.changelogged.members import Members
from tables.changelogged.presence import LogsKept
from tables.event_index.index import EventIndex
from tables.partition.left_out import read_from
from tables.partition.partition import Partition

APPLIED_WITHIN_MS = 10_000
"""Before a definition is applied events that come are folded without it. Whose last one came so
shortly before is taken to send more until then, which could not be read again."""


def may_need(state: Partition, impact: Impact) -> bool:
    """Return whether a definition may concern events; of one subscription that is known at once."""
    organization_id, external_id = impact.organization_id, impact.external_subscription_id
    if organization_id is None or external_id is None:
        return True
    return bool(state.event_ranges.codes_of((organization_id, external_id)))


def needs_deleted(
    state: Partition,
    impact: Impact,
    after: Callable[[], Steps[Definitions]],
    kept: LogsKept,
) -> Steps[bool]:
    """Return whether a definition sends events elsewhere that the logs have no longer.

    `after`: the definitions with it, made when they are needed.
    """
    then: Partition | None = None
    for meter_key in state.redirection.meter_keys_of(impact, NEVER_MS):
        yield
        if not state.event_ranges.names_lacking([meter_key], kept):
            continue
        if then is None:
            definitions = yield from after()
            then = Partition(state.number, definitions, EventIndex(), Members(capacity=None))
        if _lacks_some(state, meter_key, then, kept):
            return True
    return False


def _lacks_some(state: Partition, meter_key: MeterKey, then: Partition, kept: LogsKept) -> bool:
    """Return whether events count otherwise under another partition's definitions and are gone."""
    event_ranges = state.event_ranges.find(meter_key[:2], meter_key[2])
    if event_ranges is None:
        return False
    reach = event_ranges.newest_ms, event_ranges.appended_ms
    history_ms = state.standing.history_ms
    now, new = state.routes.compile(meter_key), then.routes.compile(meter_key, None, history_ms)
    if new.leads_like(now, *(each_ms + APPLIED_WITHIN_MS for each_ms in reach)):
        return False
    # What is forgotten stays so where it can.
    appended_ms = read_from(state, meter_key, state.views.route_of(meter_key), new, None)
    return kept.lacks(event_ranges, appended_ms)
