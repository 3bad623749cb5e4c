"""Raw lookup: single events, read again from where they lie in the raw topic."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from app.bounds.turns import STEP_ITEMS, Steps, Turns, Work
from app.bounds.work_done import Operation
from app.definitions.judging import Judging
from app.definitions.state import Definitions
from app.kafka.log_readers import LogRecord, RecordReader
from app.settings import Settings
from app.wire.arrivals import Arrived, arriving
from app.wire.refusals import Refusal

RawPlace = tuple[int, int, int]
"""(raw partition, offset, array index)"""

_FOR_QUERIES = Work("request", "events read again")
_WORK: dict[Operation, Work] = {
    "duplicate": Work("duplicates", "events read again"),
    "correction": Work("refold", "events read again"),
}


class TooManyBytes(Exception):
    """What is wanted at once is more than may be in memory together."""


class RawLookup:
    """Finds elements of raw records."""

    def __init__(
        self,
        settings: Settings,
        definitions: Definitions,
        turns: Turns,
        records: RecordReader,
        for_folding: RecordReader,
    ):
        """Read `records` for queries; what a partition waits for does not wait for those."""
        self._topic = settings.topic(settings.raw_topic)
        self._definitions = definitions
        self._turns = turns
        self._records, self._for_folding = records, for_folding

    async def find(self, partition: int, offset: int, index: int) -> Arrived | None:
        """Return one element of one raw record; None when the log has it no longer."""
        place = (partition, offset, index)
        return (await self.find_many([place])).get(place)

    async def find_many(
        self,
        places: Iterable[RawPlace],
        operation: Operation = "query",
        most_bytes: int | None = None,
    ) -> dict[RawPlace, Arrived]:
        """Return elements of raw records, without those that the log has no longer.

        `operation`: what they are read for. Raises TooManyBytes once the records with them have
        more than `most_bytes`; None: they may have as many as they like.
        """
        # Whoever names a place has it of what was taken.
        judging = Judging.by(self._definitions).of_forwards()
        wanted: dict[int, dict[int, set[int]]] = {}
        for partition, offset, index in places:
            wanted.setdefault(partition, {}).setdefault(offset, set()).add(index)
        found: dict[RawPlace, Arrived] = {}
        reader = self._records if operation == "query" else self._for_folding
        work = _WORK.get(operation, _FOR_QUERIES)
        size = 0
        for partition, indexes in wanted.items():
            left = sorted(indexes)
            while left:
                records, left = await reader.read_some(self._topic, partition, left, operation)
                size += sum(len(record.value or b"") for record in records.values())
                if most_bytes is not None and size > most_bytes:
                    raise TooManyBytes
                steps = _elements(partition, records, indexes, judging, found)
                await self._turns.run(work, steps)
        return found


def _elements(
    partition: int,
    records: Mapping[int, LogRecord],
    indexes: Mapping[int, Collection[int]],
    judging: Judging,
    found: dict[RawPlace, Arrived],
) -> Steps[None]:
    """Note the wanted elements of records; each of these may have thousands."""
    for offset, record in records.items():
        place, wanted = (record.timestamp_ms, partition, offset), indexes[offset]
        elements = arriving(record.value, record.headers, *place, judging)
        for number, arrived in enumerate(elements, 1):
            if not isinstance(arrived, Refusal) and arrived.array_index in wanted:
                found[partition, offset, arrived.array_index] = arrived
            if number % STEP_ITEMS == 0:
                yield
        yield
