"""Set-aside records: places of the raw topic that no fold looks at (bounded-work §1.4).

The rule: *what a set_aside record of the definitions log names was never there*, in any cut and
under any definitions, whatever the append times are. Who appends one holds the fence of the home
partition and knows that the place is not folded there (`app.set_aside`); so no published byte can
have shown it, and live fold, refold, scans and the offline fold agree. A record is set aside as a
whole only if nothing of it goes to another home; else each element is, by its home.

`lift` takes a record off the list. The place stays empty: what lay there is appended anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from app.definitions.commands import Command
from app.definitions.decision import Decision, MalformedPayload, payload_text
from app.definitions.model import Lift, SetAside
from app.definitions.outcome import Rejected, not_found

if TYPE_CHECKING:
    from app.definitions.state import Definitions

SET_ASIDE: Final = "set_aside"
LIFT: Final = "lift"

_Place = tuple[int, int]
"""(first offset, offset after the last)"""


@dataclass
class Aside:
    """What is set aside of one raw partition."""

    _ranges: list[_Place] = field(default_factory=list)
    _elements: dict[int, set[int]] = field(default_factory=dict)

    def add(self, one: SetAside) -> None:
        """Pass over these, too."""
        if one.index is not None:
            self._elements.setdefault(one.offset, set()).add(one.index)
            return
        merged: list[_Place] = []
        for first, after in sorted([*self._ranges, (one.offset, one.offset + one.count)]):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(after, merged[-1][1]))
            else:
                merged.append((first, after))
        self._ranges = merged

    def touches(self, offset: int) -> bool:
        """Whether anything of a record is set aside."""
        return offset in self._elements or self.holds(offset)

    def holds(self, offset: int) -> bool:
        """Whether a record is set aside as a whole: not even its bytes are looked at."""
        return self.after(offset) > offset

    def holds_element(self, offset: int, index: int) -> bool:
        """Whether one element of a record is set aside on its own, wherever it was forwarded."""
        return index in self._elements.get(offset, ())

    def after(self, offset: int) -> int:
        """The first offset from this one on that is not set aside."""
        i = bisect_right(self._ranges, offset, key=lambda place: place[0]) - 1
        return max(offset, self._ranges[i][1]) if i >= 0 else offset


@dataclass
class SetAsides:
    """Everything that is set aside, by raw partition."""

    _by_partition: dict[int, Aside] = field(default_factory=dict)
    _listed: dict[str, SetAside] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """Records and elements on the list, by code."""

    def of(self, partition: int) -> Aside | None:
        """What is set aside of a partition; None, as nearly always: nothing."""
        return self._by_partition.get(partition)

    def add(self, one: SetAside) -> None:
        """Take a set-aside record over."""
        self._by_partition.setdefault(one.partition, Aside()).add(one)
        self.lift(one.id)
        self._listed[one.id] = one
        self.counts[one.code] += one.count

    def lift(self, identity: str) -> None:
        """Take one off the list."""
        one = self._listed.pop(identity, None)
        if one is not None:
            self.counts[one.code] -= one.count

    def listed(self) -> list[SetAside]:
        """Those that are not lifted, in the order of the log."""
        return list(self._listed.values())

    def find(self, identity: str) -> SetAside | None:
        """One that is not lifted."""
        return self._listed.get(identity)

    def foresee(self, values: Iterable[bytes | None]) -> None:
        """Know places before the log is applied to where they are named.

        For a fold that reads both logs by append time: a place was never there, not even for cuts
        before its record.
        """
        for value in values:
            if value is None or SET_ASIDE.encode() not in value:
                continue
            try:
                command = Command.decode(value)
                one = _of(command, -1) if command.type == SET_ASIDE else None
            except ValueError:
                continue
            if one is not None:
                self._by_partition.setdefault(one.partition, Aside()).add(one)


def set_aside(definitions: Definitions, command: Command, now_ms: int) -> Decision | Rejected:
    """Nothing is folded again: nothing of it was folded."""
    one = _of(command, now_ms)
    return Decision(one, None, (one,))


def lift(definitions: Definitions, command: Command, now_ms: int) -> Decision | Rejected:
    """Only the list changes."""
    one = definitions.set_asides.find(payload_text(command, "set_aside_id"))
    if one is None:
        return not_found(SET_ASIDE)
    return Decision(one, None, (Lift(id=one.id),))


def _of(command: Command, now_ms: int) -> SetAside:
    payload = command.payload
    try:
        one = msgspec.convert(
            {**payload, "id": command.id, "append_time_ms": now_ms}, SetAside, strict=True
        )
    except msgspec.ValidationError as error:
        raise MalformedPayload(str(error)) from error
    if min(one.partition, one.offset, one.index or 0) < 0 or one.count < 1:
        raise MalformedPayload("a place has no negative numbers, and at least one offset")
    if one.index is not None and one.count != 1:
        raise MalformedPayload("an index is of one record")
    return one
