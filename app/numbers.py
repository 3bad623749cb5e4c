"""Exact decimals: reading, printing, rounding and dividing quantities without a binary float.

A quantity is a `decimal.Decimal`. Sums run in `EXACT`, where a result that would have to be
rounded raises instead. Only the divisions named here round, each in its stated direction.
"""

import re
from collections.abc import Iterable
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from fractions import Fraction
from typing import Final, NamedTuple

import msgspec

MAX_INTEGER_DIGITS: Final = 38
MAX_FRACTION_DIGITS: Final = 38
PRORATION_DIGITS: Final = 5
WEIGHTED_SUM_DIGITS: Final = 20

EXACT: Final = Context(prec=200, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""The context of sums: 200 digits, `decimal.Inexact` rather than a rounded result."""

ZERO: Final = Decimal(0)

_ROUNDING_MODES: Final = {
    "round": ROUND_HALF_UP,
    "ceil": ROUND_CEILING,
    "floor": ROUND_FLOOR,
}
# Quantizing works on whole aggregates, which are longer than a sum's operands after divisions.
_WIDE: Final = Context(prec=2000, traps=[InvalidOperation, Overflow])

_PLAIN_TEXT: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_NUMBER: Final = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)([0-9]+))?", re.ASCII)
_ANY_SPELLING: Final = re.compile(
    r"([+-]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?", re.ASCII
)
_WHITE_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
)
# A literal this short without an exponent cannot hold more digits than a value may have.
_SHORT: Final = min(MAX_INTEGER_DIGITS, MAX_FRACTION_DIGITS)
_NATURAL_DIGITS: Final = 18
# No record is long enough for its digits to outweigh such an exponent.
_EXPONENT_CEILING: Final = 10**9


class InvalidValue(ValueError):
    """A number with more than 38 integer or 38 fraction digits in plain form."""


class Digits(NamedTuple):
    """A number taken apart: ±coefficient · 10^exponent; the coefficient "" is zero."""

    negative: bool
    coefficient: str
    exponent: int


def take_apart(text: str) -> Digits:
    """Split number text (optional sign, digits, fraction, exponent) without expanding it.

    The coefficient has no zeros at either end. Exponents beyond any record's length are clipped.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"not a number: {text[:40]!r}")
    sign, whole, fraction, exponent_sign, exponent_digits = match.groups("")
    digits = (whole + fraction).lstrip("0")
    coefficient = digits.rstrip("0")
    if not coefficient:
        return Digits(False, "", 0)
    shift = len(digits) - len(coefficient) - len(fraction)
    return Digits(
        sign == "-", coefficient, shift + _bounded_exponent(exponent_sign, exponent_digits)
    )


def _bounded_exponent(sign: str, digits: str) -> int:
    significant = digits.lstrip("0")
    size = int(significant or 0) if len(significant) < 10 else _EXPONENT_CEILING
    return -size if sign == "-" else size


def bounded_decimal(text: str) -> Decimal:
    """Read number text of any spelling; `InvalidValue` beyond 38 integer or fraction digits."""
    negative, coefficient, exponent = take_apart(text)
    if len(coefficient) + exponent > MAX_INTEGER_DIGITS or -exponent > MAX_FRACTION_DIGITS:
        raise InvalidValue(f"more than {MAX_INTEGER_DIGITS} integer or fraction digits")
    if not coefficient:
        return ZERO
    return Decimal(f"{'-' if negative else ''}{coefficient}E{exponent}")


def bounded(number: Decimal) -> Decimal:
    """Return the number unless it has more digits than a value may have (`InvalidValue`)."""
    if number.is_zero():
        return ZERO
    if -MAX_FRACTION_DIGITS <= number.adjusted() < MAX_INTEGER_DIGITS:
        exponent = number.normalize(_WIDE).as_tuple().exponent
        if isinstance(exponent, int) and -exponent <= MAX_FRACTION_DIGITS:
            return number
    raise InvalidValue(f"more than {MAX_INTEGER_DIGITS} integer or fraction digits")


def without_exponent(number: Decimal) -> Decimal:
    """Return the number with every integer digit spelled out: 5E+2 as 500."""
    exponent = number.as_tuple().exponent
    return EXACT.add(number, ZERO) if isinstance(exponent, int) and exponent > 0 else number


def parse_text(text: str) -> Decimal | None:
    """Read a string as Lago does: optional '-', digits, optional fraction; None if it is not one.

    Raises `InvalidValue` for a number with too many digits.
    """
    if _PLAIN_TEXT.fullmatch(text) is None:
        return None
    return Decimal(text) if len(text) <= _SHORT else bounded_decimal(text)


def parse_value(raw: bytes) -> Decimal | None:
    """Read a JSON literal as a quantity (metering-semantics §4.1); None when it is not numeric.

    `raw` holds one valid JSON value (bytes or `msgspec.Raw`). JSON numbers count in any spelling,
    strings only as plain decimals. Raises `InvalidValue` for a number with too many digits.
    """
    literal = str(raw, "utf-8")
    first = literal[0]
    if first == '"':
        return parse_text(_string(literal))
    if first not in "-0123456789":
        return None
    if len(literal) <= _SHORT and "e" not in literal and "E" not in literal:
        return Decimal(literal)
    return bounded_decimal(literal)


def number_or_text(raw: bytes) -> Decimal | str | None:
    """Read a JSON literal as an expression does (metering-semantics §1.7).

    A number or a text that spells one is a number; null is the empty text. None for an object or
    an array. Raises `InvalidValue` for a number with too many digits.
    """
    literal = str(raw, "utf-8")
    first = literal[0]
    if first == '"':
        text = _string(literal)
        number = parse_any_spelling(text)
        return text if number is None else number
    if first in "-0123456789":
        short = len(literal) <= _SHORT and "e" not in literal and "E" not in literal
        return Decimal(literal) if short else bounded_decimal(literal)
    if first in "{[":
        return None
    return "" if first == "n" else literal


def parse_any_spelling(text: str) -> Decimal | None:
    """Read a text as a number with a sign, an exponent or an empty side of its point, if any.

    None if it is no number. Raises `InvalidValue` for one with too many digits.
    """
    if _PLAIN_TEXT.fullmatch(text) is not None:
        return Decimal(text) if len(text) <= _SHORT else bounded_decimal(text)
    if not text or text[0] not in "+-.0123456789":
        return None
    match = _ANY_SPELLING.fullmatch(text)
    if match is None:
        return None
    sign, whole, fraction, exponent = match.groups("")
    return bounded_decimal(f"{sign}{whole or '0'}.{fraction or '0'}e{exponent or '0'}")


def property_text(raw: bytes) -> str | None:
    """Give the text of a JSON literal: strings unquoted, numbers and booleans as spelled.

    None for null, an object or an array: no filter matches, the null group, ignored for unique.
    """
    literal = str(raw, "utf-8")
    first = literal[0]
    if first == '"':
        return _string(literal)
    return None if first in "n{[" else literal


def group_text(raw: bytes) -> str | None:
    """Give the text of a JSON literal as a group has it: None, the null group, if it is blank."""
    literal = str(raw, "utf-8")
    first = literal[0]
    if first == '"':
        text = _string(literal)
        return None if is_white_space(text) else text
    return None if first in "n{[" else literal


def natural(text: str) -> int | None:
    """Return a whole number from 0 on, spelled in plain digits; None: it is none, or too long.

    An offset, or a number of anything that is counted, has at most 18 digits.
    """
    is_one = text.isascii() and text.isdecimal() and len(text) <= _NATURAL_DIGITS
    return int(text) if is_one else None


def is_white_space(text: str) -> bool:
    """Return True if a text has nothing but Unicode's white space, or nothing at all."""
    # Python takes four separators for white space that Unicode does not.
    return not text or (text.isspace() and not text.strip(_WHITE_SPACE))


def _string(literal: str) -> str:
    if "\\" in literal:
        return msgspec.json.decode(literal, type=str)
    return literal[1:-1]


def plain(number: Decimal) -> str:
    """Print without exponent or trailing zeros, at least one fraction digit, never -0.0."""
    text = str(number)
    if "E" in text:
        # Only an exponent needs the slower formatting.
        text = f"{number:f}"
    if "." not in text:
        text += ".0"
    elif text[-1] == "0":
        text = text.rstrip("0")
        if text[-1] == ".":
            text += "0"
    return "0.0" if text == "-0.0" else text


def spelled(number: Decimal) -> str:
    """Print without exponent or a fraction's trailing zeros: the one text of a stored number."""
    if not number:
        # As most amounts of events. Of 0 and -0 a maximum keeps what came first.
        return "0"
    text = str(number)
    if "E" in text:
        return plain(number).removesuffix(".0")
    if text[-1] != "0" or "." not in text:
        return text
    return text.rstrip("0").removesuffix(".")


def canonical(number: Decimal) -> str:
    """Give the one text of a number in digests: the same as in a record."""
    return plain(number)


def literal_text(number: Decimal) -> str:
    """Print without exponent, keeping the fraction digits the number has (1.50 stays `1.50`)."""
    return f"{number:f}" if number else f"{number.copy_abs():f}"


def exact_sum(numbers: Iterable[Decimal]) -> Decimal:
    """Add exactly; `decimal.Inexact` beyond 200 digits."""
    total = ZERO
    for number in numbers:
        total = EXACT.add(total, number)
    return total


def exact_difference(number: Decimal, less: Decimal) -> Decimal:
    """Subtract exactly; `decimal.Inexact` beyond 200 digits."""
    return EXACT.subtract(number, less)


def round_units(value: Decimal, function: str | None, precision: int | None) -> Decimal:
    """Apply a metric's rounding_function at rounding_precision decimals (null is 0).

    `round` takes halves away from zero, a negative precision rounds to tens, hundreds, …;
    without a function the value stays as it is (metering-semantics §1.6).
    """
    if function is None:
        return value
    return _quantize(value, precision or 0, _ROUNDING_MODES[function])


def ceil_at(value: Decimal | Fraction, digits: int) -> Decimal:
    """Round towards +infinity at `digits` decimals."""
    if isinstance(value, Decimal):
        return _quantize(value, digits, ROUND_CEILING)
    scaled = value * Fraction(10) ** digits
    return _ceil_ratio(scaled.numerator, scaled.denominator, digits)


def round_at(value: Fraction, digits: int) -> Decimal:
    """Round at `digits` decimals, halves away from zero."""
    scaled = abs(value) * Fraction(10) ** digits + Fraction(1, 2)
    rounded = scaled.numerator // scaled.denominator
    return Decimal(rounded if value >= 0 else -rounded).scaleb(-digits, _WIDE)


def _ceil_ratio(numerator: int, denominator: int, digits: int) -> Decimal:
    """Return the ratio rounded towards +infinity to an integer, as that many decimals."""
    return Decimal(-(-numerator // denominator)).scaleb(-digits, _WIDE)


def _quantize(value: Decimal, digits: int, rounding: str) -> Decimal:
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -exponent <= digits:
        return value
    rounded = value.quantize(Decimal((0, (1,), -digits)), rounding, _WIDE)
    return _WIDE.add(rounded, ZERO) if digits < 0 else rounded


def weighted_average(area: Decimal | Fraction, length: int) -> Decimal:
    """Divide the integral of a level over a period by its nominal length, ceil at 20 decimals.

    Both in the same unit of time, whichever that is.
    """
    return _ceil_divided(area, length, WEIGHTED_SUM_DIGITS)


def prorate(unit_days: Decimal | Fraction, days: int) -> Decimal:
    """Divide units · days by the days of the period, ceil at 5 decimals."""
    return _ceil_divided(unit_days, days, PRORATION_DIGITS)


def _ceil_divided(value: Decimal | Fraction, by: int, digits: int) -> Decimal:
    """Divide exactly, and round towards +infinity at that many decimals."""
    # Fractions would be put in lowest terms at each step.
    numerator, denominator = value.as_integer_ratio()
    return _ceil_ratio(numerator * 10**digits, denominator * by, digits)
