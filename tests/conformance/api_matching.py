"""Where an answer differs from what a vector expects of it: partial matches and operators."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "array": list,
    "object": dict,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def differences(expected: Any, actual: Any, place: str) -> list[str]:
    """Where `actual` does not contain what is expected; objects may have more keys.

    Of an object with operators each of them has to hold, and its other keys as well.
    """
    return _differences(expected, actual, place, exact=False)


def _differences(expected: Any, actual: Any, place: str, *, exact: bool) -> list[str]:
    if isinstance(expected, dict):
        operators = {key: value for key, value in expected.items() if key.startswith("$")}
        keys = {key: value for key, value in expected.items() if key not in operators}
        found = [
            line
            for name, argument in operators.items()
            for line in _operator(name, argument, actual, place)
        ]
        if keys or not operators:
            found += _object(keys, actual, place, exact=exact)
        return found
    if isinstance(expected, list):
        return _list(expected, actual, place, exact=exact)
    return _equal(expected, actual, place)


def _equal(expected: Any, actual: Any, place: str) -> list[str]:
    # Python holds True equal to 1; JSON does not.
    same_kind = isinstance(expected, bool) == isinstance(actual, bool)
    if same_kind and expected == actual:
        return []
    return [f"{place}: {actual!r}, expected {expected!r}"]


def _object(expected: Mapping[str, Any], actual: Any, place: str, *, exact: bool) -> list[str]:
    if not isinstance(actual, dict):
        return [f"{place}: {actual!r}, expected an object"]
    found = []
    for key, wanted in expected.items():
        inner = f"{place}.{key}"
        if wanted in ({"$absent": True}, {"$present": False}):
            found += [f"{inner}: present"] if key in actual else []
        elif key not in actual:
            found.append(f"{inner}: absent")
        else:
            found += _differences(wanted, actual[key], inner, exact=exact)
    if exact:
        found += [f"{place}.{key}: present, not expected" for key in actual.keys() - expected]
    return found


def _list(expected: Sequence[Any], actual: Any, place: str, *, exact: bool) -> list[str]:
    if not isinstance(actual, list) or len(actual) != len(expected):
        return [f"{place}: {actual!r}, expected a list of {len(expected)}"]
    found = []
    for index, (wanted, item) in enumerate(zip(expected, actual, strict=True)):
        found += _differences(wanted, item, f"{place}[{index}]", exact=exact)
    return found


def _operator(name: str, argument: Any, actual: Any, place: str) -> list[str]:
    if name == "$exact":
        return _differences(argument, actual, place, exact=True)
    holds = _OPERATORS.get(name)
    if holds is None:
        return [f"{place}: unknown operator {name}"]
    if name == "$type" and argument not in _TYPES:
        return [f"{place}: unknown type {argument!r}"]
    return [] if holds(argument, actual) else [f"{place}: {actual!r}, expected {name} {argument!r}"]


def _contains(wanted: Sequence[Any], actual: Any) -> bool:
    """Whether every wanted item has an item of its own."""
    return isinstance(actual, list) and _pair(list(wanted), actual)


def _pair(wanted: list[Any], left: list[Any]) -> bool:
    if not wanted:
        return True
    first, *rest = wanted
    return any(
        _pair(rest, left[:index] + left[index + 1 :])
        for index, candidate in enumerate(left)
        if not differences(first, candidate, "")
    )


def _is_type(name: str, actual: Any) -> bool:
    if isinstance(actual, bool):
        return name == "boolean"
    return isinstance(actual, _TYPES[name])


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$regex": lambda pattern, actual: isinstance(actual, str) and bool(re.search(pattern, actual)),
    "$type": _is_type,
    "$present": lambda wanted, actual: bool(wanted),
    "$absent": lambda wanted, actual: not wanted,
    "$count": lambda count, actual: isinstance(actual, list) and len(actual) == count,
    "$contains": _contains,
    "$set": lambda wanted, actual: (
        isinstance(actual, list) and len(actual) == len(wanted) and _contains(wanted, actual)
    ),
    "$any": lambda wanted, actual: bool(wanted),
}
