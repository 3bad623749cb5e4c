"""Members of unique counts that are at hand: a cache in front of the members store.

A *set* is all properties of one unique-count cell (per period, or over all history when recurring).
Its members live in the store (an exact Redis hash); here are those seen lately and those changed
since the last flush. A set begun here is known in full, so that its new members cost no look-up.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.kernel import take_operations
from app.wire.arrivals import Position
from tables.changelogged.checksum import ChangelogSum, Rows
from tables.changelogged.operations import NamedRow, Operations
from tables.unique_count import LoneOperation, Member, MemberOperation, TiedOperation, is_full

SetKey = bytes
MemberKey = tuple[SetKey, str]
"""(set, property text)"""
Found = tuple[str, bool, int, Position]
"""An operation: the property's text, whether it adds it, its timestamp_ms and its position."""
AtHand = Mapping[str, tuple[Member, bool]]
"""Property text → (member, whether the store still lacks this version of it), of one set."""

_EVERY_PERIOD = -2

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
    return _encode(member)


_Operations = tuple[tuple[int, int, int, tuple[int, int, int, int], bool], ...]


def unpack_member(packed: bytes) -> Member:
    """Return the member that `pack_member` wrote."""
    operations = msgspec.msgpack.decode(packed, type=_Operations)
    return tuple(MemberOperation(*operation) for operation in operations)


ToldMembers = tuple[list[tuple[MemberKey, bytes]], Sequence[SetKey], Sequence[NamedRow]]
"""Members, sets that are whole, and rows of operations."""


class Members:
    """Cache and overlay of one partition's members."""

    def __init__(self, capacity: int | None = 500_000, operations: Operations | None = None):
        self.capacity = capacity
        """Number of members kept; None: all of them, because there is no store."""
        self.operations = operations or Operations()
        """Operations of properties paid in advance that have many, each in a row."""
        self._cache: dict[MemberKey, Member] = {}
        self.complete: set[SetKey] = set()
        """Sets whose members are all here."""
        self.leaving: dict[SetKey, int] = {}
        """Sets that nothing is folded into any more, and where in the store each is read on."""
        self.sum = ChangelogSum()
        """Sum of the member changelog, up to the changes that were taken."""
        self._dirty: dict[MemberKey, Member] = {}
        """Changed members, each as the changelog has it; (): it has none."""
        self._unwritten: dict[MemberKey, None] = {}

    def create_empty(self, key: SetKey) -> None:
        """Begin a set that is empty in the store: all its members are here."""
        self.complete.add(key)

    def is_complete(self, key: SetKey) -> bool:
        """Return True if all members of a set are here."""
        return key in self.complete

    def is_missing(self, name: MemberKey) -> bool:
        """Return True if the store must be asked before the member can be folded."""
        return (
            name not in self._cache and name[0] not in self.complete and self.capacity is not None
        )

    def fill(self, name: MemberKey, packed: bytes | None) -> None:
        """Take over the store's answer; None: the store has no such member."""
        self._cache.setdefault(name, unpack_member(packed) if packed else ())

    def get(self, name: MemberKey) -> Member:
        """Return the member; () when it never had an operation.

        Raises:
            LookupError: the store was not asked for it. A worker that ends is better than one that
                takes it for new and counts it twice.
        """
        member = self._cache.get(name)
        return self._absent(name) if member is None else member

    def _absent(self, name: MemberKey) -> Member:
        if self.is_missing(name):
            raise LookupError(f"member {name} was not looked up before it was folded")
        return ()

    def put(self, name: MemberKey, member: Member) -> None:
        """Keep a changed member; () removes it."""
        self._dirty.setdefault(name, self._cache.get(name, ()))
        self._cache[name] = member

    def spill(self, name: MemberKey, operation: MemberOperation) -> bool:
        """Give each operation of a member its own row, if one more has no room in it."""
        if name in self.operations or not is_full(self.get(name), operation):
            return False
        for known in self.get(name):
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
        pending = self._dirty.keys() | self._unwritten.keys()
        found: dict[SetKey, dict[str, tuple[Member, bool]]] = {}
        for name, member in self._cache.items():
            if name[0] in keys:
                found.setdefault(name[0], {})[name[1]] = (member, name in pending)
        return {**found}

    def take_simple(
        self, key: SetKey, period_ms: int, cut_ms: int, found: Sequence[Found]
    ) -> tuple[int, list[tuple[MemberKey, MemberOperation]]]:
        """Take operations, without proration, of members that have none or one just like them.

        Return by how much they change the number of active properties where they count, and those
        whose members are less simple; nothing is done with these.
        """
        is_whole = key in self.complete or self.capacity is None
        kinds = LoneOperation, TiedOperation, MemberOperation
        words = (None if is_whole else self._absent, key, period_ms, cut_ms, *kinds, found)
        taken: tuple[int, list[tuple[MemberKey, MemberOperation]]]
        taken = take_operations(self._cache, self._dirty, *words)
        return taken

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
        for names in batches([*self._dirty, *self._unwritten], STEP_ITEMS):
            for name in names:
                if name[0] in stored and self._cache.get(name):
                    self.put(name, ())
            yield
        found = ((key, text, m) for key, (_, kept) in stored.items() for text, m in kept.items())
        for count, (key, text, packed) in enumerate(found, 1):
            self.fill((key, text), packed)
            if self._cache[key, text]:
                self.put((key, text), ())
            if count % STEP_ITEMS == 0:
                yield
        for key, (cursor, _) in stored.items():
            if cursor or self.leaving[key]:
                # Of a large one it is only known that it is empty when it is looked at once more.
                self.leaving[key] = cursor
            else:
                del self.leaving[key]

    def replacing(self, others: Members) -> Steps[None]:
        """Take over the members that a refold made, in steps."""
        for count, (name, member) in enumerate(others._cache.items(), 1):
            self.put(name, member)
            if count % STEP_ITEMS == 0:
                yield
        yield from self.operations.replacing(others.operations)
        self.complete |= others.complete

    def told(self) -> Iterator[ToldMembers]:
        """Yield by small parts what a refold made, for another process to take over."""
        for first in batches(list(self._cache.items()), STEP_ITEMS):
            yield [(name, pack_member(member)) for name, member in first], [], []
        for sets in batches(list(self.complete), STEP_ITEMS):
            yield [], sets, []
        for rows in self.operations.told():
            yield [], [], rows

    def take_over(self, told: ToldMembers) -> None:
        """Take over what a refold made in another process."""
        members, sets, rows = told
        for name, packed in members:
            self.put(name, unpack_member(packed))
        self.complete.update(sets)
        self.operations.take_over(rows)

    @property
    def pending(self) -> int:
        """How many have changed since the last flush."""
        return len(self._dirty)

    def taking_changes(self) -> Steps[tuple[dict[MemberKey, bytes | None], Rows]]:
        """Return the changes since the last call (None: removed), and their changelog records.

        Members stay until `written`.
        """
        members, rows = dict[MemberKey, bytes | None](), dict[bytes, bytes | None]()
        for names in batches(list(self._dirty), STEP_ITEMS):
            self.sum = self.sum.after(self._changed(names, members, rows))
            yield
        self._unwritten.update(dict.fromkeys(members))
        self._dirty.clear()
        return members, rows

    def _changed(
        self,
        names: Iterable[MemberKey],
        members: dict[MemberKey, bytes | None],
        rows: dict[bytes, bytes | None],
    ) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
        """Note how members are now; yield keys and values of their records, before and now."""
        cache, dirty = self._cache, self._dirty
        for name in names:
            before, member, key = dirty[name], cache[name], _encode(name)
            members[name] = rows[key] = now = _encode(member) if member else None
            yield key, _encode(before) if before else None, now

    def written(self, names: list[MemberKey]) -> None:
        """Note that the store has these members, so that they may be forgotten here."""
        for name in names:
            if name not in self._dirty:
                self._unwritten.pop(name, None)
                if self._cache.get(name) == ():
                    # Of a set that leaves.
                    del self._cache[name]
        self._evict()

    def _evict(self) -> None:
        if self.capacity is None or len(self._cache) <= self.capacity:
            return
        # A whole set that loses a member would take it for new, so none stays whole.
        self.complete.clear()
        keep = self._dirty.keys() | self._unwritten.keys()
        excess = len(self._cache) - self.capacity // 2
        for name in [name for name in self._cache if name not in keep][:excess]:
            del self._cache[name]
