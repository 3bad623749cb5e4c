"""A partition that takes events, and the ledger that it keeps of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from app.ledger.ledger import LedgerRoom, Place
from app.ledger.rows import KeyRanges, rows_of
from app.wire.arrivals import (
    Arrival,
    Arrived,
    CorrectionArrival,
    SubscriptionKey,
    plain_arrival,
    runs_of,
)
from app.wire.events import Correction, Event

NAMES = [("org", f"sub-{number}") for number in range(5)] + [("other", "sub-0")]
CODES = ["calls", "gb"]
GB = 1024**3
HERE, ELSEWHERE = 0, 1
"""The partition, and one that forwards to it."""


@dataclass
class Checkpoint:
    """Where the live fold stands."""

    raw_next: int = 0
    rekeyed_next: int = 0
    append_time_ms: int = -1
    index_epoch: int = 1


@dataclass
class World:
    """A partition that takes events, and its ledger."""

    directory: Path
    disk_bytes: int = GB
    choose: random.Random = field(default_factory=lambda: random.Random(7))
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    taken: list[Arrival | CorrectionArrival] = field(default_factory=list)
    """All of it, the logs in other words."""
    elsewhere: int = 0

    def __post_init__(self) -> None:
        self.room = LedgerRoom(self.directory, self.disk_bytes)
        self.restart()

    def restart(self) -> None:
        """Begin with what local disk has, as after a kill."""

        async def find(places: Sequence[Place]) -> Mapping[Place, Arrived]:
            taken = {
                (row.raw_partition, row.raw_offset, row.array_index): row for row in self.taken
            }
            return {place: taken[place] for place in places if place in taken}

        self.ledger = self.room.of(HERE, self.checkpoint, find)

    def plain(self, name: SubscriptionKey, code: str) -> Arrival:
        """Append a plain event at home and take it."""
        number, checkpoint = len(self.taken), self.checkpoint
        organization = f'"organization_id":"{name[0]}",' if number % 2 else ""
        body = (
            f'{{{organization}"transaction_id":"t{number}","external_subscription_id":"{name[1]}",'
            f'"code":"{code}","timestamp":"{number}.5","precise_total_amount_cents":"1.10",'
            f'"properties":{{"gb":1e{number % 3}}}}}'
        ).encode()
        checkpoint.append_time_ms = 10**12 + number
        found = plain_arrival(body, checkpoint.append_time_ms, HERE, checkpoint.raw_next, name[0])
        assert found is not None
        # Offsets have gaps: markers, and events of other homes.
        checkpoint.raw_next += self.choose.randrange(1, 4)
        self.taken.append(found)
        return found

    def forwarded(self, name: SubscriptionKey, code: str) -> Arrival:
        """Take an event that came by events-rekeyed."""
        number, checkpoint = len(self.taken), self.checkpoint
        event = Event(
            None, name[1], f"t{number}", code, None, Decimal("1E+3"), b'{"gb":1.10}', b"{}", b"env"
        )
        self.elsewhere += 1
        place = (10**12 + number, ELSEWHERE, self.elsewhere, number % 3, checkpoint.rekeyed_next)
        checkpoint.rekeyed_next += self.choose.randrange(1, 3)
        arrival = Arrival(event, name[0], *place, admitted=number % 2 == 0)
        self.taken.append(arrival)
        return arrival

    def corrected(self, name: SubscriptionKey) -> CorrectionArrival:
        """Take a correction at home."""
        number, checkpoint = len(self.taken), self.checkpoint
        told = Correction(None, name[1], "t0", "cancel", None, f"c{number}", b"{}")
        arrival = CorrectionArrival(told, name[0], 10**12, HERE, checkpoint.raw_next, 0)
        checkpoint.raw_next += 1
        self.taken.append(arrival)
        return arrival

    def corrected_elsewhere(self, name: SubscriptionKey) -> CorrectionArrival:
        """Take a correction that came by events-rekeyed."""
        self.elsewhere += 1
        arrival = self.corrected(name)
        self.checkpoint.raw_next -= 1
        self.checkpoint.rekeyed_next += 1
        arrival = arrival._replace(raw_partition=ELSEWHERE, raw_offset=self.elsewhere)
        self.taken[-1] = arrival
        return arrival

    def portion(self, events: int) -> None:
        """Take some events, as a portion of a batch."""
        draw = self.choose
        plain = [self.plain(draw.choice(NAMES), draw.choice(CODES)) for _ in range(events)]
        self.ledger.note(runs_of(plain), plain=True)
        odd = [self.forwarded(draw.choice(NAMES), draw.choice(CODES)) for _ in range(events // 4)]
        self.ledger.note(runs_of(odd), plain=False)
        if events % 3 == 0:
            self.ledger.note_corrections([self.corrected(draw.choice(NAMES))])

    async def flush(self) -> None:
        """Pack and commit what was taken, and wait until it is written."""
        self.ledger.pack()
        self.ledger.commit()
        await self.ledger.rest()

    async def check(
        self, names: Sequence[SubscriptionKey], codes: Sequence[str] | None = None
    ) -> int:
        """Compare what is covered with what was taken there; return how many rows that were."""
        found: list[Arrival | CorrectionArrival] = []
        spans = []
        for part in await self.ledger.locate(KeyRanges.of(names, codes)):
            chunks = await self.ledger.read(part)
            if chunks is None:
                continue
            spans += part.spans
            for chunk in chunks:
                found += rows_of(chunk, HERE)

        def covered(row: Arrival | CorrectionArrival) -> bool:
            if row.raw_partition == HERE:
                return any(span.raw_from <= row.raw_offset < span.raw_until for span in spans)
            assert isinstance(row, Arrival)
            at = row.rekeyed_offset
            return any(span.rekeyed_from <= at < span.rekeyed_until for span in spans)

        wanted = [
            row
            for row in self.taken
            if row.name in names
            and (codes is None or isinstance(row, CorrectionArrival) or row.event.code in codes)
            and covered(row)
        ]
        assert not any(a.overlaps(b) for n, a in enumerate(spans) for b in spans[:n])
        assert sorted(map(repr, found)) == sorted(map(repr, wanted))
        return len(found)

    def files(self) -> list[Path]:
        """Return what lies on local disk."""
        return sorted(path for path in self.directory.rglob("*") if path.is_file())
