"""Index: a part of the definitions that takes changes over, and that can go on in two ways."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from copy import copy
from typing import Any, Self, TypeAlias, TypeVar

from app.definitions.active_counts import ActiveCounts
from app.definitions.indexes.packed import PackedVersions
from app.definitions.model import Customer, Metric, Organization, Plan, SetAside, Subscription
from app.definitions.texts import differ_in_texts_only
from app.definitions.versions import Versions

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


class Overlay(MutableMapping[K, V]):
    """As another mapping is, until it is changed."""

    def __init__(self, under: Mapping[K, V], copied: Callable[[V], V]):
        self._under = under
        self._copied = copied
        self._own: dict[K, V] = {}
        self._gone: set[K] = set()

    def __getitem__(self, key: K) -> V:
        if key not in self._own:
            if key in self._gone:
                raise KeyError(key)
            self._own[key] = self._copied(self._under[key])
        return self._own[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._own[key] = value

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self._own.pop(key, None)
        self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        return key in self._own or (key in self._under and key not in self._gone)

    def __iter__(self) -> Iterator[K]:
        yield from (key for key in self._under if key in self)
        yield from (key for key in self._own if key not in self._under)

    def __len__(self) -> int:
        return sum(1 for _ in self)


Defined = TypeVar("Defined", Metric, Plan, Customer, Organization, Subscription)
CodeKey: TypeAlias = tuple[str, str]
"""(organization id, code or external id)."""

_COPIED = (Versions, ActiveCounts, dict, list, set, array)
_NEVER_CHANGED = (int, str, type(None), SetAside)


class Index:
    """Objects of one type, by everything that they are looked up by."""

    def copy(self) -> Self:
        """Return a copy that goes its own way, whatever the index holds.

        It costs what is touched: a mapping copies only what is looked at.
        Raises `TypeError` for what it cannot tell apart, so that nothing is shared in silence.
        """
        branch = copy(self)
        for name, held in vars(self).items():
            layered = isinstance(held, Mapping) and not isinstance(held, Counter)
            setattr(branch, name, Overlay(held, _apart) if layered else _apart(held))
        return branch


def _apart(held: Any) -> Any:
    if isinstance(held, _COPIED):
        return copy(held)
    if isinstance(held, Index):
        return held.copy()
    if isinstance(held, _NEVER_CHANGED):
        return held
    raise TypeError(f"a {type(held).__name__} in an index has no copy that goes its own way")


def push(
    versions_of: MutableMapping[K, Versions[Defined]],
    key: K,
    now_ms: int,
    offset: int,
    new: Defined,
) -> Defined | None:
    """Add a version, or put it in place of one that has other texts only; return the one before."""
    versions = versions_of.get(key)
    if versions is None:
        if isinstance(versions_of, PackedVersions):
            versions_of.begin(key, now_ms, offset, new)
        else:
            versions_of[key] = Versions(now_ms, offset, new)
        return None
    old = versions.at()
    if old is not None and differ_in_texts_only(old, new):
        versions.replace_newest(new)
    else:
        versions.push(now_ms, offset, new)
    # What is kept packed is packed anew.
    versions_of[key] = versions
    return old


def newest(versions: Versions[T]) -> T:
    """Return the newest version of an object that is not deleted."""
    found = versions.at()
    if found is None:
        raise LookupError("the object is deleted")
    return found
