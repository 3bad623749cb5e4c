"""Numbers: what counts as one, how it prints, how it rounds."""

import json
from decimal import Decimal, Inexact
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.numbers import (
    InvalidValue,
    bounded,
    ceil_at,
    exact_sum,
    group_text,
    is_white_space,
    natural,
    parse_value,
    plain,
    property_text,
    prorate,
    round_units,
    spelled,
    take_apart,
    weighted_average,
)
from tests.conformance.files import VECTORS
from tests.conformance.wire import check_rounding_vector

decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**37), max_value=10**37)


def rounding_vectors() -> list[Any]:
    path = VECTORS / "aggregation" / "rounding.json"
    return [pytest.param(each, id=each["id"]) for each in json.loads(path.read_text())]


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("12", "12"),
        ("-3.50", "-3.5"),
        ("1e3", "1000"),
        ("1E-2", "0.01"),
        ("-0", "0"),
        ("0e999999999999999999999", "0"),
        ('"12"', "12"),
        ('"0007"', "7"),
        ('"\\u0031"', "1"),
        ('"-3.50"', "-3.5"),
        ('""', None),
        ('" 12"', None),
        ('"12\\n"', None),
        ('"+5"', None),
        ('".5"', None),
        ('"5."', None),
        ('"1e3"', None),
        ('"1,000"', None),
        ('"1_000"', None),
        ('"٣"', None),
        ('"NaN"', None),
        ('"Infinity"', None),
        ("true", None),
        ("null", None),
        ("{}", None),
        ("[1]", None),
        ("9" * 38 + "." + "9" * 38, "9" * 38 + "." + "9" * 38),
        ('"' + "0" * 60 + '1"', "1"),
        ("1." + "0" * 60, "1"),
        ("100e-40", "0." + "0" * 37 + "1"),
    ],
)
def test_values(literal: str, expected: str | None) -> None:
    value = parse_value(literal.encode())
    assert value == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    "literal",
    [
        "1e999999",
        "1e-999999",
        "1e999999999999999999999",
        "1e400",
        "1e38",
        "1" * 39,
        "0." + "0" * 38 + "1",
        '"' + "1" * 39 + '"',
        '"' + "1." + "1" * 39 + '"',
        "1" * 60,
    ],
)
def test_too_many_digits(literal: str) -> None:
    with pytest.raises(InvalidValue):
        parse_value(literal.encode())


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("1", "1"),
        ("1.0", "1.0"),
        ('"1"', "1"),
        ("1e6", "1e6"),
        ("-0", "-0"),
        ("true", "true"),
        ("false", "false"),
        ('""', ""),
        ('"null"', "null"),
        ('"a\\"b\\u00e9"', 'a"bé'),
        ("null", None),
        ("{}", None),
        ("[]", None),
    ],
)
def test_property_text(literal: str, expected: str | None) -> None:
    assert property_text(literal.encode()) == expected


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ('""', None),
        ('" "', None),
        ('"\\t\\r\\n\\u000b\\u000c"', None),
        ('"\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\x85"', None),
        ('" a "', " a "),
        # Unicode takes neither separators of files nor what has no width for white space.
        ('"\\u001c"', "\x1c"),
        ('"\u200b"', "\u200b"),
        ("0", "0"),
        ("true", "true"),
        ("null", None),
        ("{}", None),
        ("[]", None),
    ],
)
def test_group_text(literal: str, expected: str | None) -> None:
    assert group_text(literal.encode()) == expected


def test_white_space_is_what_unicode_calls_so() -> None:
    separators = {chr(code) for code in range(0x1C, 0x20)}
    spaces = {chr(code) for code in range(0x110000) if chr(code).isspace()} - separators
    assert {chr(code) for code in range(0x110000) if is_white_space(chr(code))} == spaces


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("12", "12.0"),
        ("-0.0", "0.0"),
        ("-0", "0.0"),
        ("0E+3", "0.0"),
        ("1E+3", "1000.0"),
        ("1.500", "1.5"),
        ("100", "100.0"),
        ("-0.00000010", "-0.0000001"),
    ],
)
def test_plain(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0.0", "0"),
        ("0E+3", "0"),
        ("0E-9", "0"),
        ("-0.0", "0"),
        ("-0", "0"),
        ("10", "10"),
        ("1E+2", "100"),
        ("1.50", "1.5"),
        ("-2.0", "-2"),
    ],
)
def test_spelled(number: str, text: str) -> None:
    """What is equal is packed alike: of 0 and -0 a maximum keeps what came first."""
    assert spelled(Decimal(number)) == text


@pytest.mark.parametrize(
    ("number", "fits"),
    [("1E+37", True), ("1E+38", False), ("1E-38", True), ("1E-39", False), ("0E+99", True)],
)
def test_bounded(number: str, fits: bool) -> None:
    if fits:
        assert bounded(Decimal(number)) == Decimal(number)
    else:
        with pytest.raises(InvalidValue):
            bounded(Decimal(number))


@pytest.mark.parametrize("vector", rounding_vectors())
def test_rounding_vectors(vector: dict[str, Any]) -> None:
    assert check_rounding_vector(vector) == []


@pytest.mark.parametrize(
    ("value", "function", "precision", "expected"),
    [
        ("123.456", None, 1, "123.456"),
        ("-1.5", "round", None, "-2"),
        ("-1.2", "ceil", 0, "-1"),
        ("155", "round", -1, "160"),
        ("-155", "round", -1, "-160"),
        ("101", "ceil", -2, "200"),
        ("0.5", "round", -3, "0"),
        ("1.00000000000000000000000000000000000001", "ceil", 0, "2"),
    ],
)
def test_round_units(
    value: str, function: str | None, precision: int | None, expected: str
) -> None:
    assert round_units(Decimal(value), function, precision) == Decimal(expected)


def test_a_rounded_unit_prints_plain() -> None:
    assert plain(round_units(Decimal(155), "round", -1)) == "160.0"


def test_weighted_average_rounds_up_at_twenty_decimals() -> None:
    month_s = 31 * 86_400
    assert weighted_average(Decimal(2500) * 27 * 86_400, month_s) == Decimal(
        "2177.41935483870967741936"
    )


@pytest.mark.parametrize(
    ("unit_days", "days", "expected"),
    [("10", 31, "0.32259"), ("-10", 31, "-0.32258"), ("31", 31, "1"), ("0", 30, "0")],
)
def test_prorate_rounds_up_at_five_decimals(unit_days: str, days: int, expected: str) -> None:
    assert prorate(Decimal(unit_days), days) == Decimal(expected)


def test_a_sum_that_would_round_raises() -> None:
    with pytest.raises(Inexact):
        exact_sum([Decimal("1E+150"), Decimal("1E-150")])


@given(decimals)
def test_plain_text_reads_back(number: Decimal) -> None:
    text = plain(number)
    assert Decimal(text) == number
    assert "E" not in text
    assert "." in text


@given(st.lists(decimals))
def test_sums_do_not_depend_on_order(numbers: list[Decimal]) -> None:
    small = [number for number in numbers if number.adjusted() > -100]
    assert exact_sum(small) == exact_sum(reversed(small)) == sum(map(Fraction, small))


@given(st.fractions(), st.integers(0, 20))
def test_ceil_is_the_least_decimal_above(value: Fraction, digits: int) -> None:
    rounded = Fraction(ceil_at(value, digits))
    assert value <= rounded < value + Fraction(1, 10**digits)


@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,50})(\.[0-9]{1,50})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
)
def test_numbers_taken_apart_are_the_same_number(text: str) -> None:
    negative, coefficient, exponent = take_apart(text)
    value = Fraction(int(coefficient or 0)) * Fraction(10) ** exponent
    assert (-value if negative else value) == Fraction(text)


@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,50})(\.[0-9]{1,50})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
)
def test_a_value_counts_by_its_plain_form(text: str) -> None:
    whole, fraction = plain(Decimal(text)).lstrip("-").split(".")
    fits = len(whole) <= 38 and len(fraction) <= 38
    try:
        value = parse_value(text.encode())
    except InvalidValue:
        assert not fits
    else:
        assert fits
        assert value == Decimal(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        (" 1", None),
        ("\u0663", None),
        ("\u00b2", None),
    ],
)
def test_a_natural_number_is_plain_digits(text: str, number: int | None) -> None:
    assert natural(text) == number
