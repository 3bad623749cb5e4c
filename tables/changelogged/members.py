"""Members of unique counts that are at hand: a cache in front of the members store.

A *set* is all properties of one unique-count cell (per period, or over all history when recurring).
Its members live in the store (an exact Redis hash); here are those seen lately and those changed
since the last flush. A set begun here is known in full, so that its new members cost no look-up.
Each is the bytes that the store has, or will have: as objects it takes four times as much.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from operator import itemgetter
from typing import Final

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.kernel import take_operations
from app.wire.arrivals import Position
from tables.changelogged.checksum import ChangelogSum, Rows
from tables.changelogged.operations import NamedRow, Operations
from tables.unique_count import ALONE, UNKNOWN, Member, MemberOperation, is_full

SetKey = bytes
MemberKey = tuple[SetKey, str]
"""(set, property text)"""
Found = tuple[str, bool, int, Position]
"""An operation: the property's text, whether it adds it, its timestamp_ms and its position."""
AtHand = Mapping[str, tuple[Member, bool]]
"""Property text → (member, whether the store still lacks this version of it), of one set."""

MemberRow = bytes
"""A member at hand: its bytes, b"" without an operation, and what memory alone knows behind them.

Nothing stands there where all operations are alone. Else there are the `others_until_ms` of each,
packed, their size in a byte and a zero; no size: all of them are unknown.
"""

MEMBERS_AT_HAND: Final = 500_000
"""Members that a worker keeps at hand, of all its partitions: some 80 MB.

Those that the store lacks yet are at hand besides.
"""

_EVERY_PERIOD = -2
_NOTHING_KNOWN = bytes(2)
_MOST_TOLD = 255

_encode = msgspec.msgpack.Encoder().encode


def set_key(
    subscription_id: str,
    charge_id: str,
    span_start_ms: int,
    generation: int,
    period_ms: int | None,
    filter_id: str | None,
    groups: tuple[str | None, ...],
) -> SetKey:
    """Return the key of a set; `period_ms` None: a recurring metric's set over all periods."""
    period = _EVERY_PERIOD if period_ms is None else period_ms
    return msgspec.msgpack.encode(
        (subscription_id, charge_id, span_start_ms, generation, period, filter_id, groups)
    )


def member_changelog_key(name: MemberKey) -> bytes:
    """Return the key of a member in its changelog."""
    return _encode(name)


def pack_member(member: Member) -> bytes:
    """Return a member's bytes for the store and its changelog."""
    return _encode([*map(_told_to_all, member)])


unpack_member = msgspec.msgpack.Decoder(Member).decode
"""Returns the member that `pack_member` wrote."""

_told_to_all, _known_of = itemgetter(slice(5)), itemgetter(5)
_decode_known = msgspec.msgpack.Decoder(list[int]).decode


def row_of(member: Member) -> MemberRow:
    """Return a member as it is at hand."""
    if not member:
        return b""
    packed, known = pack_member(member), [*map(_known_of, member)]
    if known.count(ALONE) == len(known):
        return packed
    if known.count(UNKNOWN) == len(known) or len(told := _encode(known)) > _MOST_TOLD:
        return packed + _NOTHING_KNOWN
    return packed + told + bytes((len(told), 0))


def _member_of(row: MemberRow) -> Member:
    packed = _published(row)
    if packed is None:
        return ()
    member = unpack_member(packed)
    if row.endswith(_NOTHING_KNOWN):
        return member
    told = [ALONE] * len(member) if packed is row else _decode_known(row[len(packed) : -2])
    return tuple(MemberOperation(*o[:5], known) for o, known in zip(member, told, strict=True))


@lru_cache(maxsize=1024)
def head_of(period_ms: int, cut_ms: int) -> bytes:
    """Return how a member begins that has one operation, which is of a period and cut."""
    return b"\x91\x95" + _encode(period_ms) + _encode(cut_ms)


ToldMembers = tuple[list[tuple[MemberKey, MemberRow]], Sequence[SetKey], Sequence[NamedRow]]
"""Members, sets that are whole, and rows of operations."""


class NotAtHand(LookupError):
    """The store was not asked for a member, or has it, and it was let go here meanwhile."""


class Members:
    """Cache and overlay of one partition's members."""

    def __init__(
        self, capacity: int | None = MEMBERS_AT_HAND, operations: Operations | None = None
    ):
        self.capacity = capacity
        """Number of members kept; None: all of them, because there is no store."""
        self.operations = operations or Operations()
        """Operations of properties paid in advance that have many, each in a row."""
        self._sets: dict[SetKey, dict[str, MemberRow]] = {}
        self._count = 0
        """How many members are here."""
        self.complete: set[SetKey] = set()
        """Sets whose members are all here."""
        self.leaving: dict[SetKey, int] = {}
        """Sets that nothing is folded into any more, and where in the store each is read on."""
        self.sum = ChangelogSum()
        """Sum of the member changelog, up to the changes that were taken."""
        self._dirty: defaultdict[SetKey, dict[str, MemberRow]] = defaultdict(dict)
        """Changed members, each as it was at the last flush."""
        self.pending = 0
        """How many have changed since the last flush."""
        self._unwritten: dict[MemberKey, None] = {}
        self._keeps_all = False

    def keep_all(self) -> None:
        """Let no member go until `keep_few`: who looked what is missing asks after a flush."""
        self._keeps_all = True

    def keep_few(self) -> None:
        """Let members go that are stored, as far as they are too many."""
        self._keeps_all = False

    def keep_at_most(self, capacity: int) -> None:
        """Keep no more members at hand, from the next that are stored on."""
        self.capacity = capacity

    def create_empty(self, key: SetKey) -> None:
        """Begin a set that is empty in the store: all its members are here."""
        self.complete.add(key)

    def is_missing(self, name: MemberKey) -> bool:
        """Return True if the store must be asked before the member can be folded."""
        key, text = name
        return (
            text not in self._sets.get(key, ())
            and key not in self.complete
            and self.capacity is not None
        )

    def fill(self, name: MemberKey, packed: bytes | None) -> None:
        """Take over the store's answer; None: the store has no such member."""
        key, text = name
        rows = self._rows_of(key)
        if text not in rows:
            rows[text] = packed + _NOTHING_KNOWN if packed else b""
            self._count += 1

    def _rows_of(self, key: SetKey) -> dict[str, MemberRow]:
        rows = self._sets.get(key)
        if rows is None:
            rows = self._sets[key] = {}
        return rows

    def get(self, name: MemberKey) -> Member:
        """Return the member; () when it never had an operation.

        Raises:
            NotAtHand: the store was not asked for it. A worker that ends is better than one that
                takes it for new and counts it twice.
        """
        key, text = name
        row = self._sets.get(key, _NO_ROWS).get(text)
        return _member_of(self._absent(key, text) if row is None else row)

    def _absent(self, key: SetKey, text: str) -> MemberRow:
        if self.is_missing((key, text)):
            raise NotAtHand(f"member {(key, text)} was not looked up before it was folded")
        return b""

    def put(self, name: MemberKey, member: Member) -> None:
        """Keep a changed member; () removes it."""
        self._put(name, row_of(member))

    def _put(self, name: MemberKey, row: MemberRow) -> None:
        key, text = name
        rows, dirty = self._rows_of(key), self._dirty[key]
        if text not in dirty:
            dirty[text] = rows.get(text, b"")
            self.pending += 1
        self._count += text not in rows
        rows[text] = row

    def spill(self, name: MemberKey, member: Member, operation: MemberOperation) -> bool:
        """Give each operation of a member its own row, if one more has no room in it."""
        if name in self.operations or not is_full(member, operation):
            return False
        for known in member:
            self.operations.add(name, known)
        return True

    def keep_apart(self, name: MemberKey, operation: MemberOperation) -> bool:
        """Keep an operation in a row of its own, if those before it are kept so."""
        if name not in self.operations:
            return False
        self.operations.add(name, operation)
        return True

    def at_hand(self, keys: Container[SetKey]) -> dict[SetKey, AtHand]:
        """Return the members of some sets that are at hand."""
        found: dict[SetKey, AtHand] = {}
        for key, rows in self._sets.items():
            if key in keys:
                dirty, unwritten = self._dirty.get(key, ()), self._unwritten
                found[key] = {
                    text: (_stored(row), text in dirty or (key, text) in unwritten)
                    for text, row in rows.items()
                }
        return found

    def take_simple(
        self, key: SetKey, period_ms: int, cut_ms: int, found: Sequence[Found]
    ) -> tuple[int, list[tuple[MemberKey, MemberOperation]]]:
        """Take operations, without proration, of members that have none or one just like them.

        Return by how much they change the number of active properties where they count, and those
        whose members are less simple; nothing is done with these.
        """
        is_whole = key in self.complete or self.capacity is None
        absent = None if is_whole else partial(self._absent, key)
        rows, dirty = self._rows_of(key), self._dirty[key]
        before, pending = len(rows), len(dirty)
        change, others = take_operations(rows, dirty, absent, head_of(period_ms, cut_ms), found)
        self._count += len(rows) - before
        self.pending += len(dirty) - pending
        return change, [
            ((key, text), MemberOperation(period_ms, cut_ms, timestamp_ms, position, adds))
            for text, adds, timestamp_ms, position in others
        ]

    def leave(self, keys: Iterable[SetKey]) -> None:
        """Have sets emptied that nothing is folded into any more; `emptying` does it."""
        found = list(keys)
        for key in found:
            self.leaving.setdefault(key, 0)
            self.complete.discard(key)
        self.operations.drop(found)

    def emptying(self, stored: Mapping[SetKey, tuple[int, Mapping[str, bytes]]]) -> Steps[None]:
        """Remove members of some of the sets that leave, in steps.

        `stored`: members that the store has of a set, from the place on that `leaving` has for it,
        and where it is to be read on, 0: these are the last. Those that the store lacks yet go as
        well: they are looked for among all that changed since it was written last.
        """
        for names in batches([*self._changed_names(), *self._unwritten], STEP_ITEMS):
            for name in names:
                if name[0] in stored:
                    self._remove(name)
            yield
        found = ((key, text, m) for key, (_, kept) in stored.items() for text, m in kept.items())
        for count, (key, text, packed) in enumerate(found, 1):
            self.fill((key, text), packed)
            self._remove((key, text))
            if count % STEP_ITEMS == 0:
                yield
        for key, (cursor, _) in stored.items():
            if cursor or self.leaving[key]:
                # Of a large one it is only known that it is empty when it is looked at once more.
                self.leaving[key] = cursor
            else:
                del self.leaving[key]

    def _remove(self, name: MemberKey) -> None:
        """Remove a member, unless it is gone or not at hand."""
        if self._sets.get(name[0], _NO_ROWS).get(name[1]):
            self._put(name, b"")

    def _named_rows(self) -> Iterator[tuple[MemberKey, MemberRow]]:
        for key, rows in self._sets.items():
            for text, row in rows.items():
                yield (key, text), row

    def _changed_names(self) -> Iterator[MemberKey]:
        return ((key, text) for key, dirty in self._dirty.items() for text in dirty)

    def replacing(self, others: Members) -> Steps[None]:
        """Take over the members that a refold made, in steps."""
        for count, (name, row) in enumerate(others._named_rows(), 1):
            self._put(name, row)
            if count % STEP_ITEMS == 0:
                yield
        yield from self.operations.replacing(others.operations)
        self.complete |= others.complete

    def told(self) -> Iterator[ToldMembers]:
        """Yield by small parts what a refold made, for another process to take over."""
        for members in batches(list(self._named_rows()), STEP_ITEMS):
            yield list(members), [], []
        for sets in batches(list(self.complete), STEP_ITEMS):
            yield [], sets, []
        for rows in self.operations.told():
            yield [], [], rows

    def take_over(self, told: ToldMembers) -> None:
        """Take over what a refold made in another process."""
        members, sets, rows = told
        for name, row in members:
            self._put(name, row)
        self.complete.update(sets)
        self.operations.take_over(rows)

    def taking_changes(self) -> Steps[tuple[dict[MemberKey, bytes | None], Rows]]:
        """Return the changes since the last call (None: removed), and their changelog records.

        Members stay until `written`.
        """
        members, rows = dict[MemberKey, bytes | None](), dict[bytes, bytes | None]()
        for names in batches(list(self._changed_names()), STEP_ITEMS):
            self.sum = self.sum.after(self._changed(names, members, rows))
            yield
        self._unwritten.update(dict.fromkeys(members))
        self._dirty.clear()
        self.pending = 0
        return members, rows

    def _changed(
        self,
        names: Iterable[MemberKey],
        members: dict[MemberKey, bytes | None],
        rows: dict[bytes, bytes | None],
    ) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
        """Note how members are now; yield keys and values of their records, before and now."""
        for name in names:
            before, row = self._dirty[name[0]][name[1]], self._sets[name[0]][name[1]]
            key, now = _encode(name), _published(row)
            members[name] = rows[key] = now
            yield key, _published(before), now

    def written(self, names: list[MemberKey]) -> None:
        """Note that the store has these members, so that they may be forgotten here."""
        for name in names:
            key, text = name
            if text in self._dirty.get(key, ()):
                continue
            self._unwritten.pop(name, None)
            if self._sets.get(key, _NO_ROWS).get(text) == b"":
                # Of a set that leaves.
                self._forget(key, [text])
        if not self._unwritten:
            # A dict gives no room back else.
            self._unwritten.clear()
        self._evict()

    def _forget(self, key: SetKey, texts: list[str]) -> None:
        rows = self._sets[key]
        for text in texts:
            del rows[text]
        self._count -= len(texts)
        if not rows:
            del self._sets[key]

    def _evict(self) -> None:
        if self._keeps_all or self.capacity is None or self._count <= self.capacity:
            return
        unwritten = self._unwritten
        for key, rows in list(self._sets.items()):
            dirty = self._dirty.get(key, ())
            gone = [text for text in rows if text not in dirty and (key, text) not in unwritten]
            if gone:
                # It would take a member that it loses for new.
                self.complete.discard(key)
                self._forget(key, gone)
            if self._count <= self.capacity // 2:
                break


def _published(row: MemberRow) -> bytes | None:
    """Return what the store and the changelog have; None: nothing."""
    if not row:
        return None
    # A member ends with whether its last operation adds, which is no zero.
    return row if row[-1] else row[: -2 - row[-2]]


def _stored(row: MemberRow) -> Member:
    """Return a member as the store has it."""
    packed = _published(row)
    return unpack_member(packed) if packed else ()


_NO_ROWS: Mapping[str, MemberRow] = {}
