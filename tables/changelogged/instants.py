"""Instants: what charges paid in advance have billed, and the events that they have yet to bill.

An event waits until its grid cut. Then it has a *figure* in every cell that it counts in, and the
*chain* of the cell goes on from there. Both stay for good: an event may be corrected at any age.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from app.definitions.indexes.rows import Keep
from app.wire.arrivals import Arrival, Position, SubscriptionKey
from tables.changelogged.checksum import Change, Changelogged
from tables.changelogged.operations import ROW_PREFIX, Operations
from tables.changelogged.shelved_rows import ShelvedRows

CellId = str


class StoredChain(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The chain of a cell, and which cell it is."""

    subscription_id: str
    charge_id: str
    filter_id: str | None
    grouped_by: tuple[tuple[str, str | None], ...]
    start_ms: int
    current: Decimal
    peak: Decimal
    billed: Decimal
    decided_ms: int
    """The newest cut that decided anything of it."""


class StoredFigure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest figure of one event in one cell."""

    cell_id: CellId
    transaction_id: str
    timestamp_ms: int
    part: Decimal
    units: Decimal
    prorated_units: Decimal | None
    revision: int
    counts: bool
    """False once a correction took the event out of the cell."""
    decided_ms: int
    """The cut that decided it."""


class InstantTable(Changelogged):
    """Figures and chains of one partition, and its events without a figure."""

    def __init__(self, keep: Keep = bytes) -> None:
        """Begin with nothing; `keep` takes over figures, of which each event brings more."""
        super().__init__()
        self.undecided: dict[SubscriptionKey, dict[Position, Arrival]] = {}
        """Events that wait for their grid cut, as they came."""
        self.corrected: dict[SubscriptionKey, set[bytes]] = {}
        """Events with a correction that waits for its cut."""
        self._chains: dict[bytes, bytes] = {}
        self._figures = ShelvedRows(keep)
        # A table that is let go of goes at once, without the collector.
        itself = weakref.proxy(self)
        self.operations = Operations(lambda *row: itself._put(*row))
        """Operations of properties that have many; members keep those of the others."""

    def decided(self) -> InstantTable:
        """Return a table with the same chains and figures, of which nothing waits; for reading."""
        table = InstantTable()
        table._chains, table._figures = self._chains, self._figures
        return table

    def add(self, arrivals: Iterable[Arrival]) -> set[SubscriptionKey]:
        """Keep events until their cut; return whose they are, those aside that are kept already."""
        names, changes = set[SubscriptionKey](), list[Change]()
        for arrival in arrivals:
            name, position = arrival.name, arrival.position
            waiting = self.undecided.setdefault(name, {})
            if position not in waiting:
                kept = replace(arrival, event=replace(arrival.event, body=b""))
                waiting[position] = kept
                names.add(name)
                changes.append((_event_key(name, position), None, _encode(kept)))
        self._put_all(changes)
        return names

    def drop(self, decided: Iterable[tuple[SubscriptionKey, Position]]) -> None:
        """Forget events: they are decided."""
        changes = list[Change]()
        for name, position in decided:
            waiting = self.undecided[name]
            changes.append((_event_key(name, position), _encode(waiting.pop(position)), None))
            if not waiting:
                del self.undecided[name]
        self._put_all(changes)

    def names(self) -> set[SubscriptionKey]:
        """Return external subscriptions of which anything waits for a cut."""
        return self.undecided.keys() | self.corrected.keys()

    def waits(self, name: SubscriptionKey) -> bool:
        """Return whether anything of an external subscription waits for a cut."""
        return name in self.undecided or name in self.corrected

    def correct(self, name: SubscriptionKey, identity: bytes) -> None:
        """Have a correction of an event decided at its cut."""
        self.corrected.setdefault(name, set()).add(identity)

    def forget_corrections(self, name: SubscriptionKey, identities: set[bytes]) -> None:
        """Forget events whose corrections are decided."""
        self.corrected[name] -= identities
        if not self.corrected[name]:
            del self.corrected[name]

    def chain(self, cell_id: CellId) -> StoredChain | None:
        """Return the chain of a cell; None before its first event is decided."""
        packed = self._chains.get(_chain_key(cell_id))
        return None if packed is None else _decode_chain(packed)

    def put_chain(self, cell_id: CellId, chain: StoredChain) -> None:
        """Put a chain in place of the one before."""
        key, value = _chain_key(cell_id), _encode(chain)
        self._put(key, self._chains.get(key), value)
        self._chains[key] = value

    def figures(self, identity: bytes) -> list[StoredFigure]:
        """Return the newest figures of an event, one a cell."""
        row = self._figures.get(identity)
        return [] if row is None else _decode_figures(memoryview(row)[len(identity) :])

    def put_figures(self, identity: bytes, figures: Iterable[StoredFigure]) -> None:
        """Put the figures of an event in place of those before."""
        value = _encode(list(figures))
        row = self._figures.put(identity, identity + value)
        before = None if row is None else bytes(row[len(identity) :])
        self._put(_FIGURE + identity, before, value)

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        self.sum = self.sum.replaced(key, None, value)
        kind = key[:1]
        if kind == _EVENT:
            arrival = _decode_arrival(value)
            self.undecided.setdefault(arrival.name, {})[arrival.position] = arrival
        elif kind == _CHAIN:
            self._chains[key] = value
        elif kind == ROW_PREFIX:
            self.operations.load(key, value)
        else:
            self._figures.put(key[1:], key[1:] + value)


_EVENT, _CHAIN, _FIGURE = b"e", b"c", b"f"
_encode = msgspec.msgpack.encode
_decode_chain = msgspec.msgpack.Decoder(StoredChain).decode
_decode_figures = msgspec.msgpack.Decoder(list[StoredFigure]).decode
_decode_arrival = msgspec.msgpack.Decoder(Arrival).decode


def _event_key(name: SubscriptionKey, position: Position) -> bytes:
    return _EVENT + _encode((name, position))


def _chain_key(cell_id: CellId) -> bytes:
    return _CHAIN + cell_id.encode()
