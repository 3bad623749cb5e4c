"""Kept parts: what a new version of an object has in common with the one before, held once."""

from __future__ import annotations

from operator import is_
from typing import Any, Final, TypeVar

import msgspec

from app.definitions.model import Charge, ChargeFilter, Plan

Whole = TypeVar("Whole", Plan, Charge, ChargeFilter)

spelled: Final = msgspec.json.Encoder(decimal_format="number").encode


def with_kept_parts(new: Whole, old: Whole) -> Whole:
    """Return a new version with the parts of the old one wherever both are spelled alike.

    Where all are, it is the old one itself.
    """
    kept, is_same = {}, True
    for field in new.__struct_fields__:
        now, before = getattr(new, field), getattr(old, field)
        if now is not before:
            if _is_alike(now, before):
                kept[field] = before
            else:
                is_same = False
    if is_same:
        return old
    return msgspec.structs.replace(new, **kept) if kept else new


def are_spelled_alike(now: object, before: object) -> bool:
    """Return whether two are equal, in the order of their keys and the digits of their numbers."""
    return now == before and spelled(now) == spelled(before)


def _is_alike(now: object, before: Any) -> bool:
    """Return whether a part is as it was; parts that are objects are held once already."""
    if isinstance(now, tuple):
        return len(now) == len(before) and all(map(is_, now, before))
    return are_spelled_alike(now, before)
