"""Metric expressions: parse once, evaluate exactly on each event (metering-semantics §1.7).

InvalidExpression   the text is no expression; the metric is refused
EvaluationFailed    the event lacks what the expression needs; the event is ignored
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from functools import lru_cache
from typing import Final, NamedTuple, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import LarkError, VisitError

from app.numbers import (
    ZERO,
    InvalidValue,
    bounded,
    literal_text,
    parse_text,
    parse_value,
    property_text,
)

MAX_LENGTH: Final = 10_000
MAX_DEPTH: Final = 64
MAX_ROUNDING_DIGITS: Final = 38

Result = Decimal | str
Properties = Mapping[str, bytes]
"""Property names with the JSON literal of each value."""

# Long enough for any sensible product; what does not fit fails instead of being rounded.
_ARITHMETIC: Final = Context(prec=1000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_DIVISION: Final = Context(
    prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow]
)
_QUANTIZING: Final = Context(prec=1100, traps=[InvalidOperation, Overflow])

_GRAMMAR: Final = r"""
    ?start: additive
    ?additive: product (ADDITIVE product)*
    ?product: unary (MULTIPLICATIVE unary)*
    ?unary: primary | "-" primary -> negation
    ?primary: call
        | NUMBER -> number
        | STRING -> string
        | "event.code" -> event_code
        | "event.timestamp" -> event_timestamp
        | PROPERTY -> event_property
        | "(" additive ")" -> group
    call: FUNCTION "(" additive ("," additive)* ")"
    ADDITIVE: "+" | "-"
    MULTIPLICATIVE: "*" | "/"
    NUMBER: /[0-9]+(\.[0-9]+)?/
    STRING: /'[^']*'/
    PROPERTY: /event\.properties\.[A-Za-z][A-Za-z0-9_]*/
    FUNCTION: "concat" | "CONCAT" | "Concat" | "round" | "ROUND" | "Round"
        | "ceil" | "CEIL" | "Ceil" | "floor" | "FLOOR" | "Floor"
        | "least" | "LEAST" | "Least" | "greatest" | "GREATEST" | "Greatest"
    %ignore / +/
"""


class InvalidExpression(ValueError):
    """The text does not parse, or is too long or too deep."""


class EvaluationFailed(ValueError):
    """The expression has no value for this event; the message says why."""


class Scope(NamedTuple):
    """What an expression sees of one event; the time is milliseconds since the epoch."""

    code: str
    timestamp_ms: int
    properties: Properties


_Evaluate = Callable[[Scope], Result]


class _Node(NamedTuple):
    depth: int
    evaluate: _Evaluate
    properties: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Expression:
    """A parsed expression; `properties` names every property it reads."""

    text: str
    properties: frozenset[str]
    _evaluate: _Evaluate

    def evaluate(self, code: str, timestamp_ms: int, properties: Properties) -> Result:
        """Compute the value for one event, exactly; `EvaluationFailed` when there is none."""
        try:
            return self._evaluate(Scope(code, timestamp_ms, properties))
        except Inexact as error:
            raise EvaluationFailed("the result has too many digits") from error
        except DecimalException as error:
            raise EvaluationFailed("the result is not a number") from error


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Parse an expression; raises `InvalidExpression`."""
    if len(text) > MAX_LENGTH:
        raise InvalidExpression(f"the expression is longer than {MAX_LENGTH} characters")
    try:
        # The embedded transformer turns the tree into one node, which the stub cannot know.
        node = cast(_Node, _PARSER.parse(text))
    except VisitError as error:
        if isinstance(error.orig_exc, InvalidExpression):
            raise error.orig_exc from None
        raise
    except LarkError as error:
        raise InvalidExpression("the expression does not parse") from error
    return Expression(text, node.properties, node.evaluate)


def result_value(result: Result) -> Decimal | None:
    """Read a result as a quantity; None for text that is no number, `InvalidValue` if too long."""
    return bounded(result) if isinstance(result, Decimal) else parse_text(result)


def result_text(result: Result) -> str:
    """Read a result as property text, numbers without exponent."""
    return result if isinstance(result, str) else literal_text(result)


def _number(value: Result) -> Decimal:
    if isinstance(value, str):
        raise EvaluationFailed(f"'{value[:40]}' is not a number")
    return value


def _divide(left: Decimal, right: Decimal) -> Decimal:
    if not right:
        raise EvaluationFailed("division by zero")
    return _DIVISION.divide(left, right)


_OPERATIONS: Final[Mapping[str, Callable[[Decimal, Decimal], Decimal]]] = {
    "+": _ARITHMETIC.add,
    "-": _ARITHMETIC.subtract,
    "*": _ARITHMETIC.multiply,
    "/": _divide,
}


def _concat(values: Sequence[Result]) -> Result:
    return "".join(map(result_text, values))


def _least(values: Sequence[Result]) -> Result:
    return min(map(_number, values))


def _greatest(values: Sequence[Result]) -> Result:
    return max(map(_number, values))


def _rounding(mode: str) -> Callable[[Sequence[Result]], Result]:
    def rounded(values: Sequence[Result]) -> Result:
        digits = _digits(_number(values[1])) if len(values) > 1 else 0
        return _quantize(_number(values[0]), digits, mode)

    return rounded


def _digits(value: Decimal) -> int:
    if value.copy_abs() > MAX_ROUNDING_DIGITS or value != value.to_integral_value():
        raise EvaluationFailed(f"digits must be an integer within ±{MAX_ROUNDING_DIGITS}")
    return int(value)


def _quantize(value: Decimal, digits: int, mode: str) -> Decimal:
    rounded = value.quantize(Decimal((0, (1,), -digits)), mode, _QUANTIZING)
    return _QUANTIZING.add(rounded, ZERO)


class _Function(NamedTuple):
    least: int
    most: int
    apply: Callable[[Sequence[Result]], Result]


_FUNCTIONS: Final = {
    "concat": _Function(1, MAX_LENGTH, _concat),
    "round": _Function(1, 2, _rounding(ROUND_HALF_UP)),
    "ceil": _Function(1, 2, _rounding(ROUND_CEILING)),
    "floor": _Function(1, 2, _rounding(ROUND_FLOOR)),
    "least": _Function(2, MAX_LENGTH, _least),
    "greatest": _Function(2, MAX_LENGTH, _greatest),
}


def _property(name: str, properties: Properties) -> Result:
    raw = properties.get(name)
    if raw is None:
        raise EvaluationFailed(f"the event has no property {name}")
    text = property_text(raw)
    if text is None:
        raise EvaluationFailed(f"property {name} is neither text nor a number")
    try:
        number = parse_value(raw)
    except InvalidValue as error:
        if str(raw, "utf-8")[0] == '"':
            return text
        raise EvaluationFailed(f"property {name} has too many digits") from error
    return text if number is None else number


def _chain(first: _Evaluate, rest: Sequence[tuple[str, _Evaluate]]) -> _Evaluate:
    steps = [(_OPERATIONS[operator], evaluate) for operator, evaluate in rest]

    def evaluate(scope: Scope) -> Result:
        total = _number(first(scope))
        for operation, operand in steps:
            total = operation(total, _number(operand(scope)))
        return total

    return evaluate


def _parent(children: Sequence[_Node], evaluate: _Evaluate) -> _Node:
    depth = 1 + max(child.depth for child in children)
    if depth > MAX_DEPTH:
        raise InvalidExpression(f"the expression is nested deeper than {MAX_DEPTH}")
    return _Node(depth, evaluate, frozenset().union(*(child.properties for child in children)))


@v_args(inline=True)
class _Compiler(Transformer[Token, _Node]):
    """Turns the grammar's rules into nodes, bottom-up while parsing."""

    def additive(self, first: _Node, *rest: Token | _Node) -> _Node:
        operators = [str(token) for token in rest[::2]]
        operands = [node for node in rest[1::2] if isinstance(node, _Node)]
        pairs = zip(operators, (node.evaluate for node in operands), strict=True)
        return _parent([first, *operands], _chain(first.evaluate, list(pairs)))

    product = additive

    def negation(self, operand: _Node) -> _Node:
        return _parent([operand], lambda scope: _ARITHMETIC.minus(_number(operand.evaluate(scope))))

    def group(self, inner: _Node) -> _Node:
        return _parent([inner], inner.evaluate)

    def number(self, token: Token) -> _Node:
        value = Decimal(str(token))
        return _Node(1, lambda scope: value)

    def string(self, token: Token) -> _Node:
        text = str(token)[1:-1]
        return _Node(1, lambda scope: text)

    def event_code(self) -> _Node:
        return _Node(1, lambda scope: scope.code)

    def event_timestamp(self) -> _Node:
        return _Node(1, lambda scope: Decimal(scope.timestamp_ms).scaleb(-3, _ARITHMETIC))

    def event_property(self, token: Token) -> _Node:
        name = str(token).removeprefix("event.properties.")
        return _Node(1, lambda scope: _property(name, scope.properties), frozenset({name}))

    def call(self, token: Token, *arguments: _Node) -> _Node:
        name = str(token).lower()
        function = _FUNCTIONS[name]
        if not function.least <= len(arguments) <= function.most:
            raise InvalidExpression(f"{name} does not take {len(arguments)} arguments")
        evaluators = [argument.evaluate for argument in arguments]
        return _parent(
            arguments, lambda scope: function.apply([each(scope) for each in evaluators])
        )


_PARSER: Final = Lark(_GRAMMAR, parser="lalr", transformer=_Compiler(), maybe_placeholders=False)
