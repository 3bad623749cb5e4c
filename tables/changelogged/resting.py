"""Resting: event ranges of external subscriptions as bytes, and as objects while they change.

Nearly all of a million rest. As bytes, with all codes of an external subscription in one row, they
take about a fourth of what objects take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from app.bounds.at_hand import keep
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.named_rows import NamedRows
from tables.changelogged.presence import EventRanges, Kept, written

_decode = msgspec.msgpack.Decoder(tuple[int, str, dict[int, Kept]]).decode
_MOST_LOOKED_AT: Final = 16
"""Whoever looks at an external subscription asks for it several times."""
_MOST_MISSED: Final = 1_024
"""The first events of a slice are looked for all together, and then added."""
_NOT_WRITTEN: Final = b""
"""Stands for the value of an entry that no flush has written yet."""


class Codes(Mapping[str, EventRanges]):
    """Event ranges of an external subscription by code; an entry is made once it is asked for."""

    __slots__ = ("_entries", "kept", "name", "number")

    def __init__(self, name: SubscriptionKey, number: int, kept: dict[str, Kept]):
        self.name = name
        self.number = number
        """Number of its row."""
        self.kept = kept
        """What the changelog has of each code, as it rests."""
        self._entries: dict[str, EventRanges] = {}

    def put(self, code: str, entry: EventRanges) -> None:
        """Keep the entry of one more code, which a flush is to write."""
        self.kept[code] = _NOT_WRITTEN
        self._entries[code] = entry

    def find(self, code: str) -> EventRanges | None:
        """Return the entry of a code; None: no event of it ever came."""
        entry = self._entries.get(code)
        if entry is None and (kept := self.kept.get(code)) is not None:
            entry = self._entries[code] = EventRanges.unpacked(kept)
        return entry

    def written(self, code: str, kept: Kept) -> bytes | None:
        """Take in what a flush writes of a code; return what the changelog had; None: nothing."""
        before = self.kept.get(code)
        self.kept[code] = kept
        return None if before is None or before == _NOT_WRITTEN else written(before)

    @property
    def may_rest(self) -> bool:
        """Whether the changelog has all of it as it is."""
        return all(entry.written for entry in self._entries.values())

    def __getitem__(self, code: str) -> EventRanges:
        entry = self.find(code)
        if entry is None:
            raise KeyError(code)
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __contains__(self, code: object) -> bool:
        return code in self.kept

    def __len__(self) -> int:
        return len(self.kept)


class RestingRanges(NamedRows):
    """Event ranges by external subscription.

    Whoever changes entries asks for them by `awake`: all such hold the same ones until `rest`.
    Those that `get` returns of others are to be read, and soon.
    """

    def __init__(self) -> None:
        super().__init__()
        self._awake: dict[SubscriptionKey, Codes] = {}
        self._looked_at: dict[SubscriptionKey, Codes] = {}
        """Some that were asked for last."""
        self._missed: set[SubscriptionKey] = set()
        """Some that were asked for and did not come: whoever adds one asks more than once."""

    @property
    def count_awake(self) -> int:
        """How many are objects to be changed."""
        return len(self._awake)

    def get(self, name: SubscriptionKey) -> Codes | None:
        """Return the event ranges of an external subscription; None: no event of it ever came."""
        codes = self._awake.get(name)
        if codes is not None:
            return codes
        codes = self._looked_at.get(name)
        if codes is not None:
            return codes
        number = -1 if name in self._missed else self.find(name)
        if number < 0:
            if len(self._missed) >= _MOST_MISSED:
                self._missed.clear()
            self._missed.add(name)
            return None
        codes = self._made(number)
        return keep(self._looked_at, codes.name, codes, _MOST_LOOKED_AT)

    def awake(self, name: SubscriptionKey) -> Codes:
        """Return the event ranges of an external subscription to be changed."""
        codes = self._awake.get(name)
        if codes is None:
            codes = None if name in self._missed else self.get(name)
            if codes is None:
                self._missed.discard(name)
                codes = Codes(name, self.add(name, {}), {})
            else:
                self._looked_at.pop(name, None)
            self._awake[name] = codes
        return codes

    def is_awake(self, name: SubscriptionKey) -> bool:
        """Return whether the event ranges of an external subscription are objects to be changed."""
        return name in self._awake

    def rest(self, name: SubscriptionKey) -> bool:
        """Keep bytes of an external subscription; return False if a flush has to see it first."""
        codes = self._awake.get(name)
        if codes is None:
            return True
        if not codes.may_rest:
            return False
        del self._awake[name]
        # By no step of ours for each code.
        numbers = map(self.numbers.__getitem__, codes.kept)
        self.replace(codes.number, name, dict(zip(numbers, codes.kept.values(), strict=True)))
        return True

    def rest_all(self) -> None:
        """Keep bytes of all."""
        for name in list(self._awake):
            self.rest(name)
        # A dict gives no room back.
        self._awake = self._awake.copy()

    def items(self) -> Iterator[tuple[SubscriptionKey, Codes]]:
        """Yield all with their codes, to be read; what comes meanwhile is not among them."""
        return map(self.item, range(len(self)))

    def item(self, number: int) -> tuple[SubscriptionKey, Codes]:
        """Return an external subscription by its number, with its codes, to be read."""
        made = self._made(number)
        return made.name, self._awake.get(made.name, made)

    def __getitem__(self, name: SubscriptionKey) -> Codes:
        codes = self.get(name)
        if codes is None:
            raise KeyError(name)
        return codes

    def __contains__(self, name: SubscriptionKey) -> bool:
        return self.get(name) is not None

    def _made(self, number: int) -> Codes:
        organization, external_id, values = _decode(self.rows[number])
        texts = self.texts
        # By no step of ours for each code.
        codes = map(texts.__getitem__, values)
        by_code = dict(zip(codes, values.values(), strict=True))
        return Codes((texts[organization], external_id), number, by_code)
