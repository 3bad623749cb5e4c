"""What records have come to: the newest of each cell, and which periods are complete.

Both rules of consumers are here: the highest revision of a cell counts, and a period is complete
when its cells and their digests are those of its newest `period.completed`. Records may come in
any order and more than once.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Context, Decimal
from typing import Annotated, NamedTuple, Protocol

from pydantic import BaseModel, Discriminator, TypeAdapter

from app.records.models import PeriodCompleted, Record, UsageInstant, UsageRecord

_MODULUS = 1 << 128
_EXACT = Context(prec=200)
"""No figure has so many digits. Plain subtraction would round to 28."""
_RECORDS: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Discriminator("type")])


class Store(Protocol):
    """Where a ledger keeps its entries.

    What one `take` puts belongs together. A store that outlives the process takes part in the
    transaction that keeps what was made of the change: then a crash between them loses neither.
    """

    def get(self, key: str) -> bytes | None:
        """Return what was put under a key; None: nothing yet."""

    def put(self, key: str, value: bytes) -> None:
        """Keep a value under a key, in place of the one before."""


class InMemory(dict[str, bytes]):
    """A store for who reads the topic from its beginning each time."""

    def put(self, key: str, value: bytes) -> None:
        """Keep a value under a key."""
        self[key] = value


class Change(NamedTuple):
    """What a record changed: what to invoice or to credit."""

    old: Record | None
    """The newest before, of the same cell; None: there was none."""
    new: Record

    @property
    def delta_units(self) -> Decimal:
        """What the units grew by; below 0 is to be credited, and a completion has none."""
        return _EXACT.subtract(_units(self.new), _units(self.old))

    @property
    def to_bill(self) -> Decimal:
        """What there is more to bill than before; below 0 is to be credited.

        Prorated where the charge is, and nothing of what was paid in advance. A dynamic charge
        bills its amount instead.
        """
        return _EXACT.subtract(_quantity(self.new), _quantity(self.old))


class _Sum(BaseModel):
    """What is held of a period: its cells by count and digest, and how it was completed."""

    records: int = 0
    digest: str = "0"
    completed: PeriodCompleted | None = None


class PeriodState(NamedTuple):
    """How much of a period is there."""

    records: int
    """Cells whose record was taken."""
    completed: PeriodCompleted | None
    """The newest completion; None: the period is not closed, as far as was read."""
    complete: bool
    """Whether all records of the newest completion are there, and none of a later cut."""


class Ledger:
    """Takes records; the store keeps the newest of each cell and a sum for each period."""

    def __init__(self, store: Store | None = None) -> None:
        self._store: Store = InMemory() if store is None else store

    def take(self, record: Record | None) -> Change | None:
        """Return what a record changes; None: it was seen, is older, or its type is unknown."""
        if record is None:
            return None
        key = _key(record)
        kept = self._store.get(key)
        old = None if kept is None else _RECORDS.validate_json(kept)
        if old is not None and old.revision >= record.revision:
            return None
        if not isinstance(record, UsageInstant):
            self._add(old, record)
        self._store.put(key, _RECORDS.dump_json(record, by_alias=True))
        return Change(old, record)

    def newest(self, cell_id: str) -> Record | None:
        """Return the newest record of a cell, or of an instant by its `instant_id`."""
        kept = self._store.get(f"record {cell_id}")
        return None if kept is None else _RECORDS.validate_json(kept)

    def period(self, lago_subscription_id: str, start: datetime) -> PeriodState:
        """Return how much is there of the period that starts then."""
        held = self._held(_period_key(lago_subscription_id, start))
        return PeriodState(
            held.records,
            held.completed,
            held.completed is not None
            and held.completed.records_count == held.records
            and int(held.completed.digest, 16) == int(held.digest, 16),
        )

    def period_of(self, record: Record) -> PeriodState:
        """Return how much is there of the period of a record."""
        return self.period(record.lago_subscription_id, record.period.from_)

    def _held(self, key: str) -> _Sum:
        kept = self._store.get(key)
        return _Sum() if kept is None else _Sum.model_validate_json(kept)

    def _add(self, old: Record | None, record: UsageRecord | PeriodCompleted) -> None:
        key = _period_key(record.lago_subscription_id, record.period.from_)
        held = self._held(key)
        if isinstance(record, PeriodCompleted):
            held.completed = record
        else:
            before = 0 if not isinstance(old, UsageRecord) else int(old.digest, 16)
            held.records += old is None
            total = int(held.digest, 16) - before + int(record.digest, 16)
            held.digest = f"{total % _MODULUS:032x}"
        self._store.put(key, held.model_dump_json(by_alias=True).encode())


def _key(record: Record) -> str:
    return f"record {record.instant_id if isinstance(record, UsageInstant) else record.cell_id}"


def _period_key(lago_subscription_id: str, start: datetime) -> str:
    return f"period {lago_subscription_id} {start.timestamp():.3f}"


def _units(record: Record | None) -> Decimal:
    if record is None or isinstance(record, PeriodCompleted):
        return Decimal(0)
    return record.units


def _quantity(record: Record | None) -> Decimal:
    if record is None or isinstance(record, PeriodCompleted):
        return Decimal(0)
    if isinstance(record, UsageRecord) and record.billing == "none":
        return Decimal(0)
    return record.units if record.prorated_units is None else record.prorated_units
