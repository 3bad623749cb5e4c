"""Operations on members of unique counts, in Python, as the kernel takes them.

A member with one operation is `head`, which tells its period and cut, then event time, position and
whether it adds, as MessagePack. Behind it stands what is known of others of its time: nothing where
there are none, else the last append time of them in an array, the size of that, and a zero.
As bytes, event times and positions sort as they are, for none is below 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

Operation = tuple[str, bool, int, tuple[int, int, int, int]]
"""(text, whether it adds, event time, position)"""

_ADDS, _REMOVES = b"\xc3", b"\xc2"
_ONE = b"\x91"
"""Begins an array of one."""

_encode = msgspec.msgpack.Encoder().encode


def _member_end(row: bytes) -> int:
    """Return where a member ends, and what is known of it begins."""
    # A member ends with whether its last operation adds, which is no zero.
    return len(row) - 2 - row[-2] if row[-1:] == b"\0" else len(row)


def _integer_end(packed: bytes, start: int) -> int:
    """Return where an integer from 0 on ends."""
    kind = packed[start]
    return start + 1 + (1 << (kind & 3) if kind >= 0x80 else 0)


def take_operations(
    rows: dict[str, bytes],
    dirty: dict[str, bytes],
    absent: Callable[[str], Any] | None,
    head: bytes,
    found: Sequence[Operation],
) -> tuple[int, list[Operation]]:
    """Take operations of members of a set that have none, or one just like them.

    `rows` has members by text. `absent` tells of any other; None: it has no operation. `dirty` has
    changed members as they were before. Return by how much the number of active ones changes, and
    the operations whose members are less simple; nothing is done with these.
    """
    change, others = 0, list[Operation]()
    for operation in found:
        text, adds, timestamp_ms, position = operation
        known = rows.get(text)
        if known is None:
            known = b"" if absent is None else absent(text)
        time, place, kind = _encode(timestamp_ms), _encode(position), _ADDS if adds else _REMOVES
        row, start, end = head + time + place + kind, len(head), _member_end(known)
        if not known:
            change += adds
        elif not known.startswith(head) or known[end - 1 : end] != kind:
            others.append(operation)
            continue
        elif known[start : end - 1] >= time + place:
            if known.startswith(time, start) and known[:end] != row:
                others.append(operation)
            continue
        elif known.startswith(time, start):
            at = start + len(time) + 1
            told = _ONE + known[at : _integer_end(known, at)]
            row += told + bytes((len(told), 0))
        dirty.setdefault(text, known)
        rows[text] = row
    return change, others
