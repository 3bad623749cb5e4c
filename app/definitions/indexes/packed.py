"""Packed: versions of very many objects, as bytes while nobody looks at them.

Nearly all subscriptions and customers are asked for seldom, and change once or never.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, MutableMapping
from typing import Any, Final, Generic, TypeAlias, TypeVar
from weakref import ref

from app.bounds.at_hand import keep
from app.definitions.indexes.forms import D, Form, Row
from app.definitions.indexes.places import Places
from app.definitions.indexes.rows import CompactRows, Keep
from app.definitions.versions import Coming, Versions

K = TypeVar("K", bound=Hashable)

_Rest: TypeAlias = bytes | tuple[bytes, Coming, bytes] | Versions[D]
"""Versions; or versions, and one more that is promised (empty: an end); or many as they are."""

_MOST_PACKED: Final = 4
"""Each change packs all versions anew, so what changes often is left as it is."""

_LEAST_SWEPT: Final = 64
"""How many that nobody holds any more are looked for, at least."""
_MOST_AT_HAND: Final = 16
"""An operation asks for a few objects, several times each."""


class PackedVersions(MutableMapping[K, Versions[D]], Generic[K, D]):
    """Versions by key, in the order in which the keys came; none ever goes.

    All who were given the versions of a key hold the same ones. Whoever changes them sets them
    again: what is packed does not change by itself.
    """

    def __init__(self, form: Form[D], key: Callable[[D], K], keep: Keep = bytes):
        """Pack objects by a form; `keep` takes over the bytes of many at once."""
        self._form = form
        self._key = key
        self._rows = CompactRows(keep)
        self._others: dict[int, _Rest[D]] = {}
        """All that is not among the rows, by number: it is promised one more, or is too long."""
        self.noted = bytearray()
        """By number, what somebody noted who looked at it; 0: nothing, since it changed last."""
        self._places = Places()
        self._held: dict[int, ref[Versions[D]]] = {}
        """All that somebody holds, by number of the row, and some that nobody does any more."""
        self._most_held = _LEAST_SWEPT
        self._at_hand: dict[K, Versions[D]] = {}
        """Some that were asked for last."""
        self._missed: K | None = None
        """What was asked for last and is not there: whoever makes it asks more than once."""
        self._last: K | None = None
        """Key of the last row."""
        self._last_number = -1

    def number_of(self, key: K) -> int | None:
        """Return the number of a key in the order in which they came; None: it did not come."""
        if key == self._last:
            return self._last_number
        for number in () if key == self._missed else self._places.find(hash(key)):
            if self.key_of(number) == key:
                return number
        self._missed = key
        return None

    def key_of(self, number: int) -> K:
        """Return the key that has a number."""
        one = self.numbered(number).last_before_deletion()
        if one is None:
            raise LookupError("what has a key was there once")
        return self._key(one)

    def numbered(self, number: int) -> Versions[D]:
        """Return the versions of the key that has a number."""
        held = self._held.get(number)
        if held is not None and (versions := held()) is not None:
            return versions
        row = self._rows.get(number)
        if row is not None:
            versions = self._form.unpacked(row)
        else:
            other = self._others[number]
            if isinstance(other, Versions):
                return other
            if isinstance(other, bytes):
                versions = self._form.unpacked(other)
            else:
                versions = self._promised(number, *other)
        one = versions.only() or versions.last_before_deletion()
        if one is None:
            raise LookupError("what has a key was there once")
        if len(self._held) >= self._most_held:
            self._sweep()
        self._held[number] = ref(versions)
        return self._hand(self._key(one), versions)

    def newest(self, number: int) -> D | None:
        """Return the newest version of the key that has a number, without keeping it at hand."""
        if number not in self._held:
            row = self._rows.get(number)
            if row is not None:
                return self._form.newest(row)
        return self.numbered(number).at()

    def packed_row(self, number: int) -> Row | None:
        """Return bytes of the key that has a number, with all its versions; None: it has others.

        Nothing is kept at hand, for whoever asks of very many.
        """
        return self._rows.get(number)

    def single_of(self, key: K) -> D | None:
        """Return the object of a key that never changed; None: it did, or did not come."""
        for number in self._places.find(hash(key)):
            row = self._rows.get(number)
            single = None if row is None else self._form.single(row)
            if single is not None and self._key(single[2]) == key:
                return single[2]
        return None

    def row(self, number: int) -> Row:
        """Return bytes of the key that has a number: of its first version at least."""
        row = self._rows.get(number)
        if row is not None:
            return row
        other = self._others[number]
        if isinstance(other, Versions):
            return self._form.packed(-1, -1, next(other.all()))
        return other if isinstance(other, bytes) else other[0]

    def __getitem__(self, key: K) -> Versions[D]:
        # Most are asked for several times, and this for every event of a new meter key.
        found: Versions[D] | None = self._at_hand.get(key)
        if found is None and (found := self.get(key)) is None:
            raise KeyError(key)
        return found

    def get(self, key: K, default: Any = None) -> Any:
        """Return the versions of a key."""
        found = self._at_hand.get(key)
        if found is None and (number := self.number_of(key)) is not None:
            # Whoever looked whether it has the key has it at hand since.
            found = self._at_hand.get(key)
            if found is None:
                found = self._hand(key, self.numbered(number))
        return default if found is None else found

    def __setitem__(self, key: K, versions: Versions[D]) -> None:
        number = self.number_of(key)
        if number is None:
            number = self._append(key, self._packed(versions))
        else:
            self._replace(number, self._packed(versions))
        self._held[number] = ref(self._hand(key, versions))

    def begin(self, key: K, append_time_ms: int, offset: int, one: D) -> None:
        """Set one version of a key that is not there: most have no other, and nobody looks."""
        self._append(key, self._form.packed(append_time_ms, offset, one))

    def __delitem__(self, key: K) -> None:
        raise TypeError("what was defined stays")

    def __contains__(self, key: object) -> bool:
        return key in self._at_hand or self.number_of(key) is not None  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[K]:
        return map(self.key_of, range(len(self)))

    def __len__(self) -> int:
        return self._last_number + 1

    def _append(self, key: K, rest: _Rest[D]) -> int:
        number = self._last_number + 1
        self._places.add(hash(key), number)
        self.noted.append(0)
        if not self._rows.append(rest if isinstance(rest, bytes) else None):
            self._others[number] = rest
        self._last, self._last_number, self._missed = key, number, None
        return number

    def _replace(self, number: int, rest: _Rest[D]) -> None:
        self.noted[number] = 0
        if self._rows.replace(number, rest if isinstance(rest, bytes) else None):
            self._others.pop(number, None)
        else:
            self._others[number] = rest

    def _hand(self, key: K, versions: Versions[D]) -> Versions[D]:
        """Keep versions at hand, and return them."""
        return keep(self._at_hand, key, versions, _MOST_AT_HAND)

    def _sweep(self) -> None:
        """Forget what nobody holds any more; it comes again after as many as are held."""
        self._held = {number: held for number, held in self._held.items() if held() is not None}
        self._most_held = 2 * len(self._held) + _LEAST_SWEPT

    def _packed(self, versions: Versions[D]) -> _Rest[D]:
        single = versions.single()
        if single is not None:
            return self._form.packed(*single)
        if len(versions) > _MOST_PACKED:
            return versions
        promised = versions.promised
        row = self._form.packed_all(versions.entries())
        if promised is None:
            return row
        coming, one = promised
        if one is None:
            return row, coming, b""
        return row, coming, self._form.packed(coming.append_time_ms, coming.offset, one)

    def _promised(self, number: int, row: bytes, coming: Coming, promised: bytes) -> Versions[D]:
        versions = self._form.unpacked(row)
        versions.promise(coming, self._form.unpacked(promised).only() if promised else None)
        if coming.is_here:
            self._replace(number, self._packed(versions))
        return versions


def with_numbers(versions: MutableMapping[K, Versions[D]]) -> PackedVersions[K, D]:
    """Return versions that have numbers. Raises TypeError: they are of a branch."""
    if not isinstance(versions, PackedVersions):
        raise TypeError("what a branch has made has no number")
    return versions
