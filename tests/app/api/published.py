"""Published records in memory: the bytes of the golden log, found as a worker finds them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import msgspec

from app.meter.listing import Listed
from app.meter.records import RecordPlace, RecordQuery


class PublishedValues:
    """`app.meter.interface.Published` over a list."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.asked: list[RecordQuery] = []

    async def list_records(
        self, organization_id: str, query: RecordQuery, offset: int, limit: int
    ) -> Listed[RecordPlace]:
        self.asked.append(query)
        places = []
        for number, value in enumerate(self.values):
            record = msgspec.json.decode(value)
            name = record["external_subscription_id"]
            if record["organization_id"] == organization_id and (
                query.external_subscription_id in (None, name)
            ):
                order = (name, 0, record["cell_id"], record["revision"])
                places.append(RecordPlace(*order, 0, record["id"], 0, number))
        places.sort()
        return Listed(places[offset : offset + limit], len(places))

    async def read_records(
        self, organization_id: str, places: Sequence[RecordPlace]
    ) -> AsyncGenerator[Sequence[bytes], None]:
        for place in places:
            yield [self.values[place.offset]]
