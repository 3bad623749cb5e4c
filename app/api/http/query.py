"""Query strings, as Rails and the public clients write them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from app.api.http.errors import FieldErrors, invalid
from app.billing_periods.instants import parse_iso8601_ms
from app.numbers import natural

_FALSE = frozenset({"false", "f", "0", "off", "no"})
_TRUE = frozenset({"true", "t", "1", "on", "yes"})
_DIGITS: Final = 9
_LARGEST: Final = 10**_DIGITS - 1
_LEADING_DIGITS = re.compile("[0-9]+")
_MEMBER = re.compile(r"(?P<name>[^\[\]]+)\[(?P<key>.*)\]", re.DOTALL)


class Query:
    """The parameters of one request. One given empty counts as absent, unless it is a member."""

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self._given: list[tuple[str, str]] = parse_qsl(
            raw, keep_blank_values=True, errors="replace"
        )
        self._pairs = [pair for pair in self._given if pair[1]]

    def text(self, *names: str) -> str | None:
        """Return the value of the first name that is present; of several the last, as in Rails."""
        for name in names:
            values = [value for key, value in self._pairs if key == name]
            if values:
                return values[-1]
        return None

    def texts(self, name: str, *, bare: bool = True) -> list[str]:
        """Return the values of `name[]`, and of `name` if `bare`, in the order of the query."""
        names = (name, f"{name}[]") if bare else (f"{name}[]",)
        return [value for key, value in self._pairs if key in names]

    def listed(self, name: str) -> frozenset[str] | None:
        """Read a JSON list of texts in `name`, or `name` and `name[]` repeated; None: not given."""
        texts = self.texts(name)
        if len(texts) == 1 and texts[0].startswith("["):
            items = _decoded(texts[0])
            if isinstance(items, list):
                return frozenset(item for item in items if isinstance(item, str))
        return frozenset(texts) if texts else None

    def to_depth(self, name: str, depth: int) -> str:
        """Return the query string for the same listing up to a depth, which has this name."""
        kept = [pair for pair in self._pairs if pair[0] not in ("page", "per_page")]
        return urlencode([*kept, ("page", 1), ("per_page", 1), (name, depth)])

    def one_of(self, name: str, known: Collection[str], errors: FieldErrors) -> Any:
        """Return the text if it is a known one; note any other. None: there is none."""
        text = self.text(name)
        if text is not None and text not in known:
            errors[name] = ["value_is_invalid"]
            return None
        return text

    def instant_ms(self, name: str, default_ms: int, errors: FieldErrors) -> int:
        """Return an instant of ISO 8601, the default where there is none; note what is none."""
        text = self.text(name)
        at_ms = default_ms if text is None else parse_iso8601_ms(text)
        if at_ms is None:
            errors[name] = ["invalid_date"]
            return default_ms
        return at_ms

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a boolean of any usual spelling, Python's `True` and `False` included."""
        word = (self.text(name) or "").lower()
        if word in _TRUE:
            return True
        return False if word in _FALSE else default

    def checked_flag(self, name: str, errors: FieldErrors) -> bool | None:
        """Return a boolean, None where it is not given; note what is none."""
        word = (self.text(name) or "").lower()
        if word and word not in _TRUE | _FALSE:
            errors[name] = ["value_is_invalid"]
        return None if not word else word in _TRUE

    def natural(self, name: str, default: int, errors: FieldErrors) -> int:
        """Return a number from 0 on, the default where there is none; note what is none."""
        text = self.text(name)
        if text is None:
            return default
        number = natural(text)
        if number is None:
            errors[name] = ["value_is_invalid"]
            return default
        return number

    def positive(self, name: str, default: int) -> int:
        """Return the number a text begins with, from 1 to `_LARGEST`; the default for no digit."""
        found = _LEADING_DIGITS.match(self.text(name) or "")
        if found is None:
            return default
        digits = found[0].lstrip("0")
        return max(int(digits or "0"), 1) if len(digits) <= _DIGITS else _LARGEST

    def mapping(self, names: Sequence[str]) -> dict[str, str]:
        """Read `name[key]=value`, or a JSON object in `name`, of the first of the names present.

        Null is the text "". A text that is no such object is refused: it would choose everything.
        """
        for name in names:
            found = self.members(name) or {
                key: _text(item) for key, item in self._object(name).items()
            }
            if found:
                return found
        return {}

    def choices(self, names: Sequence[str]) -> dict[str, frozenset[str]]:
        """Read `name[key]=value`, with `[]` for several, or a JSON object of texts or lists.

        Of the first of the names present; null and an empty list are the text "". A text that is
        no such object is refused: it would choose everything.
        """
        for name in names:
            found: dict[str, set[str]] = {}
            for key, value in self._given:
                match = _MEMBER.fullmatch(key.removesuffix("[]"))
                if match and match["name"] == name:
                    found.setdefault(match["key"], set()).add(value)
            if not found:
                found = {key: _texts(item) for key, item in self._object(name).items()}
            if found:
                return {key: frozenset(texts) for key, texts in found.items()}
        return {}

    def members(self, name: str) -> dict[str, str]:
        """Read `name[key]=value`; here an empty value is one."""
        matches = ((_MEMBER.fullmatch(key), value) for key, value in self._given)
        return {match["key"]: value for match, value in matches if match and match["name"] == name}

    def _object(self, name: str) -> dict[str, Any]:
        text = self.text(name)
        found = {} if text is None else _decoded(text)
        if not isinstance(found, dict):
            raise invalid({name: ["value_is_invalid"]})
        return found


def _decoded(text: str) -> Any:
    """Return what a text says as JSON; None where it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _texts(value: Any) -> set[str]:
    return {_text(item) for item in (value if isinstance(value, list) and value else [value])}


def _text(item: Any) -> str:
    if item is None or item == []:
        return ""
    return str(item).lower() if isinstance(item, bool) else str(item)
