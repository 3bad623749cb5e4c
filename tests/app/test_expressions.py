"""Expressions: what parses, what it is worth, and why it fails."""

import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.expressions import (
    NO_BUDGET,
    EvaluationFailed,
    InvalidExpression,
    Result,
    TooCostly,
    check_size,
    parse,
    result_text,
    result_value,
    rounded_value,
)
from app.numbers import InvalidValue
from tests.conformance.files import VECTORS
from tests.conformance.wire import check_expression_vector

AT_MS = 1_741_007_009_344
PROPERTIES: Mapping[str, bytes] = {
    "n": b"1.25",
    "text": b'"eu"',
    "numeric": b'"12.50"',
    "long": b'"' + b"9" * 60 + b'"',
    "huge": b"1e400",
    "exponent": b"1e3",
    "exponent_text": b'"1e3"',
    "flag": b"true",
    "nothing": b"null",
    "object": b"{}",
    "signed": b'"+5"',
    "point": b'".5"',
    "half": b'"-2.5E-2"',
    "whole": b'"5."',
    "blank": b'" 12"',
    "underscore": b'"1_000"',
    "hexadecimal": b'"0x10"',
    "dot": b'"."',
    "empty": b'""',
    "fraction": b'"1e-39"',
    "nested": b"[1]",
}


def evaluate(text: str, properties: Mapping[str, bytes] = PROPERTIES) -> Result:
    return parse(text).evaluate("storage", AT_MS, properties)


def expression_vectors() -> list[Any]:
    path = VECTORS / "aggregation" / "expressions.json"
    return [pytest.param(each, id=each["id"]) for each in json.loads(path.read_text())]


@pytest.mark.parametrize("vector", expression_vectors())
def test_vectors(vector: dict[str, Any]) -> None:
    assert check_expression_vector(vector) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3 * 4 - 6 / 2", "11"),
        ("(2 + 3) * 4", "20"),
        ("8 / 4 / 2", "1"),
        ("8-4-2", "2"),
        ("- 2 * -3", "6"),
        ("-(1 + 2)", "-3"),
        ("-event.properties.n", "-1.25"),
        ("  event.properties.n  ", "1.25"),
        ("event.timestamp", "1741007009.344"),
        ("event.properties.exponent + 1", "1001"),
        ("event.properties.exponent_text * 2", "2000"),
        ("event.properties.signed * 2", "10"),
        ("event.properties.point * 2", "1"),
        ("event.properties.half * 2", "-0.05"),
        ("event.properties.whole * 2", "10"),
        ("round(2.345, 1.5)", "2.3"),
        ("round(25, -1.9)", "30"),
        ("ceil(1.234, 0.9)", "2"),
        ("floor(1.9, -0.9)", "1"),
        ("round(1, 38.9)", "1"),
        ("round(1.5, 0 * event.properties.exponent)", "2"),
        ("round(-2.5)", "-3"),
        ("round(2.5)", "3"),
        ("Round(12345, -2)", "12300"),
        ("ROUND(1.2345, 1 + 1)", "1.23"),
        ("ceil(-1.5)", "-1"),
        ("Floor(-1.5)", "-2"),
        ("floor (1.29, 1)", "1.2"),
        ("least(3, 1, 2)", "1"),
        ("Least(event.properties.n)", "1.25"),
        ("greatest(1)", "1"),
        ("GREATEST(3, event.properties.numeric, 2)", "12.5"),
        ("0.1 + 0.2", "0.3"),
        ("1 / 3 * 3", "0." + "9" * 100),
        ("2 / 3", "0." + "6" * 99 + "7"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert evaluate(text) == Decimal(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("concat('a', 'b')", "ab"),
        ("Concat(event.code, '-', event.properties.text)", "storage-eu"),
        ("concat(1.50, '/', 0 * -1)", "1.50/0"),
        ("concat(event.properties.numeric)", "12.50"),
        ("concat(event.properties.exponent)", "1000"),
        ("concat(event.properties.exponent_text)", "1000"),
        ("concat(event.properties.point)", "0.5"),
        ("concat(event.properties.flag)", "true"),
        ("concat(event.properties.text, '-', event.properties.nothing)", "eu-"),
        ("event.properties.nothing", ""),
        ("event.properties.blank", " 12"),
        ("event.properties.underscore", "1_000"),
        ("event.properties.hexadecimal", "0x10"),
        ("event.properties.dot", "."),
        ("event.properties.empty", ""),
        ("concat('1', '2')", "12"),
        ("concat(round(1234, -2))", "1200"),
        ("event.code", "storage"),
        ("''", ""),
        ("'12'", "12"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert evaluate(text) == expected


@pytest.mark.parametrize(
    ("text", "at_ms", "before", "as_lago"),
    [
        ("event.timestamp", 1_741_007_009_000, "1741007009.000", "1741007009"),
        ("concat(1, event.timestamp)", 1_741_007_009_500, "11741007009.500", "11741007009.5"),
        ("event.timestamp", 1_741_007_009_344, "1741007009.344", "1741007009.344"),
        ("event.timestamp", 1_741_007_000_000, "1741007000.000", "1741007000"),
        ("event.timestamp", 0, "0.000", "0"),
        ("event.timestamp", -1_500, "-1.500", "-1.5"),
        ("concat(greatest(1.0, 1))", 0, "1.0", "1"),
        ("concat(greatest(1, 1.0, 0.5))", 0, "1", "1.0"),
        ("concat(least(1.0, 1))", 0, "1.0", "1.0"),
    ],
)
def test_numbers_are_written_as_lago_does(text: str, at_ms: int, before: str, as_lago: str) -> None:
    found = [
        result_text(parse(text).evaluate("storage", at_ms, {}, as_lago=each))
        for each in (False, True)
    ]
    assert found == [before, as_lago]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "units",
        "1.1.1",
        "1 2",
        "1.",
        ".5",
        "1e3",
        "--2",
        "+2",
        "1 +",
        "1\t+ 2",
        "1\n",
        "rOUND(1)",
        "rounded(1)",
        "round()",
        "round(1, 2, 3)",
        "round(1",
        "least()",
        "concat()",
        "concat('a)",
        "event",
        "event.codes",
        "event . code",
        "event.id",
        "event.properties",
        "event.properties.1a",
        "event.properties.a.b",
        "event.properties.é",
        "(" * 70 + "1" + ")" * 70,
        "1" + "+1" * 5000,
    ],
)
def test_invalid(text: str) -> None:
    with pytest.raises(InvalidExpression):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("event.properties.absent", "Variable: absent not found"),
        ("concat(event.properties.text, event.properties.absent)", "Variable: absent not found"),
        ("event.properties.nested", "Expected a decimal"),
        ("concat(event.properties.object)", "Expected a decimal"),
        ("event.properties.huge", "Expected a decimal"),
        ("concat(event.properties.long)", "Expected a decimal"),
        ("concat(event.properties.fraction)", "Expected a decimal"),
        ("event.properties.underscore + 1", "Expected a decimal"),
        ("event.properties.nothing + 1", "Expected a decimal"),
        ("event.properties.flag * 2", "Expected a decimal"),
        ("'1' + 1", "Expected a decimal"),
        ("event.code + 1", "Expected a decimal"),
        ("-'1'", "Expected a decimal"),
        ("least('a', 1)", "Expected a decimal"),
        ("round('a')", "Expected a decimal"),
        ("round(1, 39)", "Expected a decimal"),
        ("ceil(1, -39)", "Expected a decimal"),
        ("floor(1, 1" + "0" * 30 + ")", "Expected a decimal"),
        (" * ".join(["9" * 90] * 12), "Expected a decimal"),
        ("1 / 0", "Division by zero"),
        ("1 / (1 - 1)", "Division by zero"),
    ],
)
def test_failures(text: str, message: str) -> None:
    with pytest.raises(EvaluationFailed) as failed:
        evaluate(text)
    assert str(failed.value) == message


def test_long_chains_need_no_stack() -> None:
    assert parse("+".join(["1"] * 4000)).evaluate("storage", AT_MS, {}, NO_BUDGET) == 4000


def test_the_properties_read_are_named() -> None:
    expression = parse("concat(event.properties.a, round(-event.properties.b_2 * 2))")
    assert expression.properties == {"a", "b_2"}


@pytest.mark.parametrize(
    ("result", "value", "text"),
    [
        (Decimal("1.50"), Decimal("1.5"), "1.50"),
        (Decimal("1E+3"), Decimal(1000), "1000"),
        ("12", Decimal(12), "12"),
        ("1e3", None, "1e3"),
        ("eu", None, "eu"),
    ],
)
def test_results_as_values_and_texts(result: Result, value: Decimal | None, text: str) -> None:
    assert result_value(result) == value
    assert result_text(result) == text


def test_a_result_with_too_many_digits_is_no_value() -> None:
    with pytest.raises(InvalidValue):
        result_value(evaluate("1 / 3"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 / 3", "0." + "3" * 38),
        ("-2 / 3", "-0." + "6" * 37 + "7"),
        ("1 / 1099511627776", "0.00000000000090949470177292823791503906"),
        ("1 / 4", "0.25"),
        ("'x'", None),
    ],
)
def test_a_rounded_result_has_the_digits_of_a_value(text: str, value: str | None) -> None:
    assert rounded_value(evaluate(text)) == (None if value is None else Decimal(value))


def test_a_rounded_result_may_have_too_many_integer_digits() -> None:
    with pytest.raises(InvalidValue):
        rounded_value(evaluate("1" + "0" * 38 + " / 1"))


numbers = st.decimals("-1000", "1000", places=3)


@given(numbers, numbers, numbers)
def test_arithmetic_is_that_of_fractions(a: Decimal, b: Decimal, c: Decimal) -> None:
    properties = {"a": str(a).encode(), "b": str(b).encode(), "c": str(c).encode()}
    text = "event.properties.a - event.properties.b * event.properties.c + event.properties.a"
    result = evaluate(text, properties)
    assert isinstance(result, Decimal)
    assert Fraction(result) == Fraction(a) - Fraction(b) * Fraction(c) + Fraction(a)


@given(st.text(alphabet="evntcod.properis+-*/()'0123456789, round", max_size=60))
def test_any_text_parses_or_is_invalid(text: str) -> None:
    try:
        expression = parse(text)
    except InvalidExpression:
        return
    assert expression.text == text


D = "event.properties.d"


@pytest.mark.parametrize(
    ("text", "properties", "units"),
    [
        ("1", {}, 1),
        ("1" * 80, {}, 3),
        ("-1", {}, 2),
        ("1+2*3", {}, 5),
        ("(((1)))", {}, 1),
        ("event.timestamp", {}, 1),
        ("event.code", {}, 1),
        (D, {"d": b"1"}, 4),
        (D, {"d": b'"%s"' % (b"x" * 126)}, 6),
        (f"{D}+{D}", {"d": b"1"}, 6),
        ("1/3", {}, 5),
        ("round(1.5)", {}, 5),
        ("ceil(1.5, 1)", {}, 6),
        ("least(1,2,3)", {}, 6),
        ("concat('a','b')", {}, 3),
        (f"concat({D},{D})", {"d": b'"%s"' % (b"x" * 62)}, 8),
    ],
)
def test_what_an_evaluation_costs(text: str, properties: dict[str, bytes], units: int) -> None:
    expression = parse(text)
    expression.evaluate("storage", AT_MS, properties, units)
    with pytest.raises(TooCostly):
        expression.evaluate("storage", AT_MS, properties, units - 1)


def test_a_property_is_paid_for_before_it_is_read() -> None:
    with pytest.raises(TooCostly):
        evaluate(f"concat({D})", {"d": b'"%s"' % (b"x" * 70_000)})


@pytest.mark.parametrize(
    "text", ["+".join(["1"] * 250) + "+", "least(" + "1," * 499 + "'a+b')", "-" * 499 + "(1)"]
)
def test_nodes_are_counted_before_parsing(text: str) -> None:
    check_size(text)
    with pytest.raises(InvalidExpression):
        check_size(text + "+1")
