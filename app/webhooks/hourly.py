"""`events.errors`: once an hour, the events that no metric could count as they were sent.

The raw topic is read once more for it, so it is made only where `--events-errors` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from app.billing_periods.instants import iso_milliseconds
from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.judging import Judging
from app.definitions.model import Metric
from app.definitions.state import Definitions
from app.kafka.log_readers import LogRecord
from app.numbers import property_text
from app.webhooks.message import Message, body_of
from app.wire.decode import decode_record
from app.wire.events import Event
from app.wire.properties import read_properties

EVENTS_ERRORS: Final = "events.errors"
HOUR_MS: Final = 3_600_000
MOST: Final = 10_000
"""Transaction ids of one kind that are told of an hour."""

INVALID_CODE: Final = "invalid_code"
MISSING_PROPERTY: Final = "missing_aggregation_property"
MISSING_GROUP: Final = "missing_group_key"
INVALID_FILTER: Final = "invalid_filter_values"
KINDS: Final = (INVALID_CODE, MISSING_PROPERTY, MISSING_GROUP, INVALID_FILTER)


class Hour:
    """What is wrong with the events of one hour, by organization."""

    def __init__(self, definitions: Definitions, end_ms: int):
        self._definitions = definitions
        self._end_ms = end_ms
        self._judging = Judging.by(definitions)
        self._found: dict[str, dict[str, dict[str, None]]] = {}
        """Transaction ids by kind by organization, each once."""

    def take(self, records: list[LogRecord]) -> Steps[None]:
        """Judge the events of records by the definitions at the hour's end."""
        for count, record in enumerate(records, 1):
            for _, decoded in decode_record(record.value, record.headers):
                if isinstance(decoded, Event):
                    self._judge(decoded, record)
            if count % STEP_ITEMS == 0:
                yield

    def messages(self) -> Iterator[Message]:
        """Yield a message for each organization that sent such events."""
        at = iso_milliseconds(self._end_ms)
        for organization_id, kinds in self._found.items():
            shown = {kind: list(kinds[kind]) for kind in KINDS}
            body = body_of(organization_id, EVENTS_ERRORS, "events_errors", shown)
            identity = f"{organization_id}:{at}"
            yield Message(organization_id, EVENTS_ERRORS, identity, EVENTS_ERRORS, body)

    def _judge(self, event: Event, record: LogRecord) -> None:
        default = self._judging.default_organization_id
        organization_id = event.organization_id or default
        belief = self._judging.belief_at(record.timestamp_ms)
        believed = belief is None or belief.may_be_of(organization_id, default, record.headers)
        if organization_id is None or not believed or not self._is_wanted(organization_id):
            return
        metric = self._definitions.metric(organization_id, event.code, self._end_ms)
        for kind in (INVALID_CODE,) if metric is None else _wrong(metric, event):
            kinds = self._found.setdefault(organization_id, {each: {} for each in KINDS})
            if len(kinds[kind]) < MOST:
                kinds[kind][event.transaction_id] = None

    def _is_wanted(self, organization_id: str) -> bool:
        return bool(self._definitions.webhook_endpoints.wanting(organization_id, EVENTS_ERRORS))


def _wrong(metric: Metric, event: Event) -> Iterator[str]:
    """Yield what an event lacks for its metric."""
    properties = read_properties(event.properties)
    # An expression makes the property.
    if metric.field_name and not metric.expression:
        literal = properties.get(metric.field_name)
        if literal is None or bytes(literal) in (b"null", b'""'):
            yield MISSING_PROPERTY
    for each in metric.filters:
        literal = properties.get(each.key)
        if literal is not None and property_text(bytes(literal)) not in each.values:
            yield INVALID_FILTER
            return
