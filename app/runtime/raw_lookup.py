"""Raw lookup: single events, read again from where they lie in the raw topic."""

from __future__ import annotations

from collections.abc import Iterable

from app.bounds.work_done import Operation
from app.definitions.judging import Judging
from app.definitions.state import Definitions
from app.kafka.log_readers import RecordReader
from app.settings import Settings
from app.wire.arrivals import Arrived, arrivals_of

RawPlace = tuple[int, int, int]
"""(raw partition, offset, array index)"""


class RawLookup:
    """Finds elements of raw records."""

    def __init__(self, settings: Settings, definitions: Definitions, records: RecordReader):
        self._topic = settings.topic(settings.raw_topic)
        self._definitions = definitions
        self._records = records

    async def find(self, partition: int, offset: int, index: int) -> Arrived | None:
        """Return one element of one raw record; None when the log has it no longer."""
        place = (partition, offset, index)
        return (await self.find_many([place])).get(place)

    async def find_many(
        self, places: Iterable[RawPlace], operation: Operation = "query"
    ) -> dict[RawPlace, Arrived]:
        """Return elements of raw records, without those that the log has no longer.

        `operation`: what they are read for.
        """
        # Whoever names a place has it of what was taken.
        judging = Judging.by(self._definitions).of_forwards()
        wanted: dict[int, dict[int, set[int]]] = {}
        for partition, offset, index in places:
            wanted.setdefault(partition, {}).setdefault(offset, set()).add(index)
        found: dict[RawPlace, Arrived] = {}
        for partition, indexes in wanted.items():
            records = await self._records.read_many(self._topic, partition, indexes, operation)
            for offset, record in records.items():
                place = (record.timestamp_ms, partition, offset)
                for arrived in arrivals_of(record.value, record.headers, *place, judging):
                    at = getattr(arrived, "array_index", None)
                    if at is not None and at in indexes[offset]:
                        found[partition, offset, at] = arrived
        return found
