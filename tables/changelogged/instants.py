"""Instants: what charges paid in advance have billed, and the events that they have yet to bill.

An event waits until its grid cut. Then it has a *figure* in every cell that it counts in, and the
*chain* of the cell goes on from there. Both stay for good: an event may be corrected at any age.
Figures rest in a log of their own, which lies on local disk, and so do chains that nothing moves
any more. A program of before knows no such log: while one has a partition all are in the changelog.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice

import msgspec
import xxhash
from msgspec.structs import replace

from app.billing_periods.day_count import DAY_MS
from app.bounds.turns import Steps
from app.wire.arrivals import Arrival, Position, SubscriptionKey
from tables.changelogged.checksum import Change, Changelogged
from tables.changelogged.operations import ROW_PREFIX, Operations
from tables.event_index.row_log import FlushedRows, RowLog
from tables.event_index.rows import ID_BYTES

CellId = str
CHAIN_AT_HAND_MS = 40 * DAY_MS
"""A chain rests when nothing was decided of it for so long: a month has been closed then."""
MOST_LAID_DOWN = 1_000
"""How many rows of the changelog one flush lays down at most."""
CHAINS_LOOKED_AT = 16
"""How many chains a flush passes over that do not rest yet."""


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

    def __init__(self, at_rest: RowLog | None = None) -> None:
        """Begin with what rests; None: with nothing, and without local disk."""
        super().__init__()
        self.undecided: dict[SubscriptionKey, dict[Position, Arrival]] = {}
        """Events that wait for their grid cut, as they came."""
        self.corrected: dict[SubscriptionKey, set[bytes]] = {}
        """Events with a correction that waits for its cut."""
        self.at_rest = RowLog() if at_rest is None else at_rest
        """Figures by event id, and chains by a hash of the cell's id."""
        self.rests = not self.at_rest.is_empty
        """Whether figures and chains may rest."""
        self._chains: dict[bytes, bytes] = {}
        """Chains by key, as the changelog has them; the next to be looked at first."""
        self._figures: dict[bytes, bytes] = {}
        """Figures of the changelog, by key."""
        self._rested: set[int] = set()
        """Days (ms) on which periods begin of which chains rest: others are looked for nowhere."""
        self._newest_ms: int | None = None
        """The newest grid cut that decided anything since this was made."""
        # A table that is let go of goes at once, without the collector.
        itself = weakref.proxy(self)
        self.operations = Operations(lambda *row: itself._put(*row))
        """Operations of properties that have many; members keep those of the others."""

    def decided(self) -> InstantTable:
        """Return a table with the same chains and figures, of which nothing waits; for reading."""
        table = InstantTable(self.at_rest)
        table._chains, table._figures = self._chains, self._figures
        table._rested = self._rested
        return table

    def let_rest(self) -> None:
        """Let figures and chains rest from now on: every owner reads state without them."""
        self.rests = True

    def may_be_decided(self, cut_ms: int, folded_ms: int) -> bool:
        """Return whether some events of a grid cut may be decided already; note that it is taken.

        `folded_ms`: append time that is folded. Before a restart any cut until then may have been
        begun, and another one before it may have to be taken first now.
        """
        newest_ms = max(folded_ms, cut_ms) if self._newest_ms is None else self._newest_ms
        self._newest_ms = max(cut_ms, newest_ms)
        return cut_ms <= newest_ms

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

    def chain(self, cell_id: CellId, start_ms: int | None = None) -> StoredChain | None:
        """Return the chain of a cell; None before its first event is decided.

        `start_ms`: where the period of the cell begins, for who knows it.
        """
        packed = self._chains.get(_chain_key(cell_id))
        if (
            packed is None
            and self._rested
            and (start_ms is None or _day_of(start_ms) in self._rested)
        ):
            packed = self.at_rest.get(_rest_id(_chain_key(cell_id)))
        return None if packed is None else _decode_chain(packed)

    def put_chain(self, cell_id: CellId, chain: StoredChain) -> None:
        """Put a chain in place of the one before."""
        key, value = _chain_key(cell_id), _encode(chain)
        self._put(key, self._chains.pop(key, None), value)
        self._chains[key] = value

    def look_up(self, identities: Sequence[bytes]) -> None:
        """Have the figures of some events at hand."""
        self.at_rest.look_up(identities)

    def figures(self, identity: bytes) -> list[StoredFigure]:
        """Return the newest figures of an event, one a cell."""
        row = self._figures.get(_FIGURE + identity) or self.at_rest.get(identity)
        return [] if row is None else _decode_figures(row)

    def put_figures(self, identity: bytes, figures: Iterable[StoredFigure]) -> None:
        """Put the figures of an event in place of those before."""
        key, value = _FIGURE + identity, _encode(list(figures))
        before = self._figures.get(key)
        if self.rests and before is None:
            self.at_rest.put(identity, value)
        else:
            self._put(key, before, value)
            self._figures[key] = value

    @property
    def pending(self) -> int:
        """How many have changed since the last flush."""
        return super().pending + self.at_rest.pending

    def laying_down(self, cut_ms: int) -> Steps[list[FlushedRows]]:
        """Lay down what may rest, by small steps; return the records that the log has of it.

        Cuts are taken up to `cut_ms`.
        """
        if self.rests:
            for key in list(islice(self._figures, MOST_LAID_DOWN)):
                self._lay_down(key, self._figures.pop(key))
            self._lay_chains_down(cut_ms - CHAIN_AT_HAND_MS)
            yield
        return (yield from self.at_rest.taking())

    def _lay_chains_down(self, until_ms: int) -> None:
        passed = 0
        for key in list(islice(self._chains, MOST_LAID_DOWN)):
            value = self._chains.pop(key)
            chain = _decode_chain(value)
            if chain.decided_ms < until_ms:
                self._lay_down(key, value)
                day_ms = _day_of(chain.start_ms)
                if day_ms not in self._rested:
                    self._rested.add(day_ms)
                    self._put(_RESTED + _encode(day_ms), None, _NOTHING)
                continue
            # It comes again when all others were looked at.
            self._chains[key] = value
            passed += 1
            if passed == CHAINS_LOOKED_AT:
                break

    def _lay_down(self, key: bytes, value: bytes) -> None:
        self.at_rest.put(_rest_id(key), value)
        self._put(key, value, None)

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
        elif kind == _RESTED:
            self._rested.add(_day_of(_decode_start(key[1:])))
        else:
            self._figures[key] = value

    def close(self) -> None:
        """Let go of local disk."""
        self.at_rest.close()


_EVENT, _CHAIN, _FIGURE, _RESTED = b"e", b"c", b"f", b"r"
_NOTHING = b"\xc0"
_encode = msgspec.msgpack.encode
_decode_chain = msgspec.msgpack.Decoder(StoredChain).decode
_decode_figures = msgspec.msgpack.Decoder(list[StoredFigure]).decode
_decode_start = msgspec.msgpack.Decoder(int).decode
_decode_arrival = msgspec.msgpack.Decoder(Arrival).decode


def _event_key(name: SubscriptionKey, position: Position) -> bytes:
    return _EVENT + _encode((name, position))


def _day_of(start_ms: int) -> int:
    """Return when the day of a start began, ms: they are few, however many subscriptions begin."""
    return start_ms - start_ms % DAY_MS


def _chain_key(cell_id: CellId) -> bytes:
    return _CHAIN + cell_id.encode()


def _rest_id(key: bytes) -> bytes:
    """Return the id that a figure or a chain rests under."""
    return key[1:] if key[:1] == _FIGURE else xxhash.xxh3_128_digest(key)[:ID_BYTES]
