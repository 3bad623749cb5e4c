"""Operations on members of unique counts, in Python, as the kernel takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Name = tuple[bytes, str]
"""(set, text)"""


def take_operations(
    cache: dict[Name, Any],
    dirty: dict[Name, Any],
    absent: Callable[[Name], Any] | None,
    key: bytes,
    period_ms: int,
    cut_ms: int,
    lone: type[Any],
    tied: type[Any],
    kind: type[Any],
    found: Sequence[tuple[str, bool, int, tuple[int, int, int, int]]],
) -> tuple[int, list[tuple[Name, Any]]]:
    """Take operations of members of a set that have none, or one just like them.

    `found`: (text, whether it adds, event time, position) of each. `kind` is a tuple of period,
    cut, event time, position and whether it adds; `lone` one that has its time for itself, and
    `tied` one that shares it: no other lies behind its `others_until`. A member has such, and
    `cache` has members by name. `absent` tells of any other; None: it has no operation. `dirty` has
    changed members as they were before. Return by how much the number of active ones changes, and
    (name, operation) of those that are less simple; nothing is done with these.
    """
    change, others = 0, list[tuple[Name, Any]]()
    for text, adds, timestamp_ms, position in found:
        name = (key, text)
        operation = (period_ms, cut_ms, timestamp_ms, position, adds)
        known = cache.get(name)
        others_until = None
        if known is None:
            known = () if absent is None else absent(name)
        if not known:
            change += adds
        elif len(known) > 1:
            others.append((name, _new(kind, operation)))
            continue
        else:
            known_period_ms, known_cut_ms, known_ms, known_position, known_adds = known[0]
            if (known_period_ms, known_cut_ms, known_adds) != (period_ms, cut_ms, adds):
                others.append((name, _new(kind, operation)))
                continue
            if known_ms > timestamp_ms:
                continue
            if known_ms == timestamp_ms:
                if known_position >= position:
                    if type(known[0]) is not kind and known_position != position:
                        others.append((name, _new(kind, operation)))
                    continue
                others_until = known_position
        if name not in dirty:
            dirty[name] = known
        kept = _new(lone if others_until is None else tied, operation)
        if others_until is not None:
            kept.others_until = others_until
        cache[name] = (kept,)
    return change, others


# Plain __new__: the generated one costs three times as much, on every event.
_new = tuple.__new__
