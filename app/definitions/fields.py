"""Reading values of any JSON type out of a body, collecting Lago's error codes by field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from app.billing_periods.timezones import is_timezone
from app.definitions.outcome import Rejection, invalid

Choice = TypeVar("Choice", bound=str)
_T = TypeVar("_T")

MANDATORY = "value_is_mandatory"
INVALID = "value_is_invalid"
OUT_OF_RANGE = "value_is_out_of_range"
TAKEN = "value_already_exist"
FIXED = "value_cannot_be_changed"

_INTEGER = re.compile(r"-?[0-9]{1,40}", re.ASCII)
_TRUE = ("true", "1")
_FALSE = ("false", "0")


def scalar_text(value: object) -> str | None:
    """Return the text of a string or a number (Lago keeps numbers as texts); None for all else."""
    if isinstance(value, str):
        return value
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return str(value)
    return None


def is_blank(value: object) -> bool:
    """Return whether a value is null, white space, or an empty list or object."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | Mapping) and not value)


def integer(value: object) -> int | None:
    """Return a whole number, also spelled as a text or with a zero fraction; None for all else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = scalar_text(value)
    if text is None:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    number = None if isinstance(value, str) else decimal(value)
    if number is None or number.adjusted() > 40 or number != number.to_integral_value():
        return None
    return int(number)


def decimal(value: object) -> Decimal | None:
    """Return a finite number, also spelled as a text; None for anything else."""
    text = scalar_text(value)
    if text is None:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


class Fields:
    """One body being read; `errors` maps each refused field to its codes."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self.errors: dict[str, list[str]] = {}

    def fail(self, field: str, code: str) -> None:
        """Refuse a field."""
        codes = self.errors.setdefault(field, [])
        if code not in codes:
            codes.append(code)

    def take_errors(self, part: Fields) -> None:
        """Refuse whatever fields were refused of a part of the body that was read by itself."""
        for field, codes in part.errors.items():
            for code in codes:
                self.fail(field, code)

    def require_valid(self) -> None:
        """Raise Rejection if any field was refused."""
        if self.errors:
            raise Rejection(invalid(self.errors))

    def timezone(self, default: _T) -> str | _T:
        """Return a timezone, the default where there is none; refuse what is none."""
        value = self.get("timezone")
        if is_blank(value):
            return default
        if not isinstance(value, str) or not is_timezone(value):
            self.fail("timezone", "invalid_timezone")
            return default
        return value

    def has(self, field: str) -> bool:
        """Return whether the body names a field, null or not."""
        return field in self._body

    def get(self, field: str) -> Any:
        """Return the value as it stands, None when absent."""
        return self._body.get(field)

    def text(self, field: str) -> str | None:
        """Read an optional text; null stays null."""
        value = self._body.get(field)
        text = scalar_text(value)
        if text is None and value is not None:
            self.fail(field, INVALID)
        return text

    def texts(self, among: Iterable[str]) -> dict[str, str | None]:
        """Read the optional texts that the body names, null or not."""
        body = self._body
        return {field: self.text(field) for field in among if field in body}

    def mandatory_text(self, field: str) -> str:
        """Read a text that is not blank."""
        if is_blank(self._body.get(field)):
            self.fail(field, MANDATORY)
            return ""
        return self.text(field) or ""

    def choice(self, field: str, choices: Sequence[Choice]) -> Choice | None:
        """Read one of a few texts; null stays null."""
        value = self._body.get(field)
        if value is None:
            return None
        for choice in choices:
            if choice == value:
                return choice
        self.fail(field, INVALID)
        return None

    def mandatory_choice(self, field: str, choices: Sequence[Choice]) -> Choice:
        """Read one of a few texts; anything else, absence too, is `value_is_invalid`."""
        choice = self.choice(field, choices)
        if choice is None:
            self.fail(field, INVALID)
            return choices[0]
        return choice

    def flag(self, field: str) -> bool | None:
        """Read a boolean, also spelled as text or 0 and 1; null stays null."""
        value = self._body.get(field)
        if value is None or isinstance(value, bool):
            return value
        text = scalar_text(value)
        if text is not None and text.lower() in _TRUE:
            return True
        if text is None or text.lower() not in _FALSE:
            self.fail(field, INVALID)
        return False

    def integer(self, field: str, least: int, most: int) -> int | None:
        """Read a whole number in [least, most]; null stays null."""
        value = self._body.get(field)
        if value is None:
            return None
        number = integer(value)
        if number is None:
            self.fail(field, INVALID)
        elif not least <= number <= most:
            self.fail(field, OUT_OF_RANGE)
        return number

    def mapping(self, field: str) -> Mapping[str, Any]:
        """Read an object; empty when absent or null."""
        value = self._body.get(field)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.fail(field, INVALID)
            return {}
        return value

    def objects(self, field: str) -> list[Mapping[str, Any]] | None:
        """Read a list of objects; None when absent or null."""
        value = self._body.get(field)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            self.fail(field, INVALID)
            return []
        return value
