"""Set-aside records: places of the raw topic that no fold looks at (bounded-work §1.4).

The rule: *what a set_aside record of the definitions log names was never there*. It holds in any
cut and under any definitions, whatever the append times are. The worker that appends one holds the
fence of the home partition and knows that the place is not folded there (`app.runtime.set_aside`).
So no published byte can have shown it, and live fold, refold, scans and the offline fold agree. A
record is set aside as a whole only if nothing of it goes to another home. Otherwise each home sets
its own elements aside.

`lift` takes a record off the list. The place stays empty: its content is appended anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from app.definitions.command import Command
from app.definitions.decision import Decision, MalformedPayload, payload_text
from app.definitions.model import Lift, SetAside
from app.definitions.outcome import Rejection, not_found
from app.definitions.state import Definitions

SET_ASIDE: Final = "set_aside"
LIFT: Final = "lift"


def named_in(values: Iterable[bytes | None]) -> Iterator[SetAside]:
    """Yield what the records of a log set aside, before they are applied.

    For a fold that reads both logs by append time: a place was never there, not even for cuts
    before its record.
    """
    for value in values:
        if value is None or SET_ASIDE.encode() not in value:
            continue
        try:
            command = Command.decode(value)
            if command.type == SET_ASIDE:
                yield _of(command, -1)
        except ValueError:
            continue


def set_aside(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Keep what is set aside; nothing is folded again, for nothing of it was folded."""
    one = _of(command, now_ms)
    return Decision(one, None, (one,))


def lift(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Take one off the list; nothing else changes."""
    one = definitions.set_asides.find(payload_text(command, "set_aside_id"))
    if one is None:
        raise Rejection(not_found(SET_ASIDE))
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
