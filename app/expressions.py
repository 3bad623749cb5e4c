"""Metric expressions: parse once, evaluate exactly on each event (metering-semantics §1.7).

InvalidExpression   the text is no expression; the metric is refused
EvaluationFailed    the event lacks what the expression needs; the event is ignored
TooCostly           evaluating it costs more than an event may; the event is ignored

What an evaluation costs is counted in units (`app.bounds.limits.EXPRESSION_UNITS`): a function of
the expression and of the event's bytes, never of the time it takes.
"""

import re
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
from functools import cache, lru_cache
from typing import Final, NamedTuple, Protocol, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import LarkError, VisitError

from app.bounds.limits import EXPRESSION_NODES, EXPRESSION_UNITS
from app.numbers import (
    MAX_FRACTION_DIGITS,
    ZERO,
    InvalidValue,
    bounded,
    literal_text,
    number_or_text,
    parse_text,
)

MAX_LENGTH: Final = 10_000
MAX_DEPTH: Final = 64
MAX_ROUNDING_DIGITS: Final = 38

EXPECTED_DECIMAL: Final = "Expected a decimal"
"""Why an expression fails, in Lago's words, as the other messages are."""

Result = Decimal | str
Properties = Mapping[str, bytes]
"""Property names with the JSON literal of each value."""

# Long enough for any sensible product; what does not fit fails instead of being rounded.
_ARITHMETIC: Final = Context(prec=1000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_DIVISION: Final = Context(
    prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow]
)
_QUANTIZING: Final = Context(prec=1100, traps=[InvalidOperation, Overflow])

NO_BUDGET: Final = 1 << 62
"""For events of before there were units."""

_UNIT_DIGITS: Final = 40
_UNIT_CHARACTERS: Final = 64
_UNIT_BYTES: Final = 64
_FIRST_READ: Final = 3
"""What the first read of a property costs beyond any other."""
_ROUNDING_UNITS: Final = 4

_NODE: Final = re.compile(r"'[^']*'|[0-9]+(?:\.[0-9]+)?|event\.[A-Za-z0-9_.]+|[-+*/]", re.ASCII)

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


class TooCostly(EvaluationFailed):
    """Evaluating the expression for this event would cost more units than an event may."""

    def __init__(self) -> None:
        super().__init__(f"the expression costs more than {EXPRESSION_UNITS} units")


class ExpressionScope:
    """What an expression sees of one event, and the units it has left."""

    __slots__ = ("as_lago", "code", "properties", "read", "timestamp_ms", "units")

    def __init__(
        self, code: str, timestamp_ms: int, properties: Properties, units: int, *, as_lago: bool
    ):
        self.code = code
        self.timestamp_ms = timestamp_ms
        """Milliseconds since the epoch."""
        self.properties = properties
        self.units = units
        self.as_lago = as_lago
        self.read: dict[str, Result] = {}
        """Properties that were read before."""

    def spend(self, units: int) -> None:
        """Pay for what comes; raises `TooCostly`."""
        self.units -= units
        if self.units < 0:
            raise TooCostly

    def paid(self, result: Decimal) -> Decimal:
        """Pay for the digits of a result."""
        text = str(result)
        # At least as long as its digits are many.
        if len(text) >= _UNIT_DIGITS:
            self.spend(_digits_in(text) // _UNIT_DIGITS)
        return result


_Evaluate = Callable[[ExpressionScope], Result]


class _Node(NamedTuple):
    depth: int
    evaluate: _Evaluate
    properties: frozenset[str] = frozenset()
    units: int = 1
    """What it and all below it cost whatever the event is."""
    timed: bool = False
    """Whether the event's time is in it."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression; `properties` names every property it reads."""

    text: str
    properties: frozenset[str]
    _evaluate: _Evaluate
    units: int
    """What evaluating it costs at least."""
    timed: bool
    """Whether it reads the event's time."""

    @property
    def writes_greatest(self) -> bool:
        """Whether the result may hang on how the greatest number is written."""
        text = self.text.lower()
        return "greatest" in text and "concat" in text

    def evaluate(
        self,
        code: str,
        timestamp_ms: int,
        properties: Properties,
        units: int = EXPRESSION_UNITS,
        *,
        as_lago: bool = True,
    ) -> Result:
        """Compute the value for one event, exactly; `EvaluationFailed` when there is none.

        `TooCostly` when it would take more units. `as_lago`: numbers are written as Lago does, the
        time of the event without zeros at its end, and of equal ones the last as the greatest.
        """
        scope = ExpressionScope(code, timestamp_ms, properties, units, as_lago=as_lago)
        scope.spend(self.units)
        try:
            return self._evaluate(scope)
        except DecimalException as error:
            raise EvaluationFailed(EXPECTED_DECIMAL) from error


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
    return Expression(text, node.properties, node.evaluate, node.units, node.timed)


def check_size(text: str) -> None:
    """Refuse a text of too many nodes before it is parsed; raises `InvalidExpression`."""
    for count, _ in enumerate(_NODE.finditer(text), 1):
        if count > EXPRESSION_NODES:
            raise InvalidExpression(f"the expression has more than {EXPRESSION_NODES} nodes")


def result_value(result: Result) -> Decimal | None:
    """Read a result as a quantity; None for text that is no number, `InvalidValue` if too long."""
    return bounded(result) if isinstance(result, Decimal) else parse_text(result)


def rounded_value(result: Result) -> Decimal | None:
    """Read a result as `result_value` does, rounded half to even to the digits of a value.

    A quotient such as a third has no end, and a product may have too many: neither is the sender's
    fault.
    """
    if isinstance(result, Decimal):
        exponent = result.as_tuple().exponent
        if isinstance(exponent, int) and exponent < -MAX_FRACTION_DIGITS:
            result = result.quantize(_quantum(MAX_FRACTION_DIGITS), ROUND_HALF_EVEN, _QUANTIZING)
    return result_value(result)


def result_text(result: Result) -> str:
    """Read a result as property text, numbers without exponent."""
    return result if isinstance(result, str) else literal_text(result)


def _digits_in(text: str) -> int:
    """Count the digits of a number's text, from the first that is not zero on."""
    digits = text.partition("E")[0].lstrip("-0.")
    return len(digits) - ("." in digits)


def _number(value: Result) -> Decimal:
    if isinstance(value, str):
        raise EvaluationFailed(EXPECTED_DECIMAL)
    return value


def _divide(left: Decimal, right: Decimal) -> Decimal:
    if not right:
        raise EvaluationFailed("Division by zero")
    return _DIVISION.divide(left, right)


_OPERATIONS: Final[Mapping[str, Callable[[Decimal, Decimal], Decimal]]] = {
    "+": _ARITHMETIC.add,
    "-": _ARITHMETIC.subtract,
    "*": _ARITHMETIC.multiply,
    "/": _divide,
}


def _concat(values: Sequence[Result], scope: ExpressionScope) -> Result:
    texts = list(map(result_text, values))
    scope.spend(sum(map(len, texts)) // _UNIT_CHARACTERS)
    return "".join(texts)


def _least(values: Sequence[Result], scope: ExpressionScope) -> Result:
    return min(map(_number, values))


def _greatest(values: Sequence[Result], scope: ExpressionScope) -> Result:
    numbers = list(map(_number, values))
    # It is the first of equal ones.
    return max(reversed(numbers) if scope.as_lago else numbers)


def _rounding(mode: str) -> "_Apply":
    def rounded(values: Sequence[Result], scope: ExpressionScope) -> Result:
        digits = _digits(_number(values[1])) if len(values) > 1 else 0
        return _quantize(_number(values[0]), digits, mode)

    return rounded


@lru_cache(maxsize=1_024)
def _digits(value: Decimal) -> int:
    """Truncate a number of digits towards zero."""
    if value.copy_abs() >= MAX_ROUNDING_DIGITS + 1:
        raise EvaluationFailed(EXPECTED_DECIMAL)
    return int(value)


@cache
def _quantum(digits: int) -> Decimal:
    return Decimal((0, (1,), -digits))


def _quantize(value: Decimal, digits: int, mode: str) -> Decimal:
    rounded = value.quantize(_quantum(digits), mode, _QUANTIZING)
    return _QUANTIZING.add(rounded, ZERO)


class _Apply(Protocol):
    """A function of evaluated arguments; it pays for what depends on them."""

    def __call__(self, values: Sequence[Result], scope: ExpressionScope) -> Result: ...


class _Function(NamedTuple):
    least: int
    most: int
    apply: _Apply
    units: int = 1
    units_an_argument: int = 0


_FUNCTIONS: Final = {
    "concat": _Function(1, MAX_LENGTH, _concat),
    "round": _Function(1, 2, _rounding(ROUND_HALF_UP), _ROUNDING_UNITS),
    "ceil": _Function(1, 2, _rounding(ROUND_CEILING), _ROUNDING_UNITS),
    "floor": _Function(1, 2, _rounding(ROUND_FLOOR), _ROUNDING_UNITS),
    "least": _Function(1, MAX_LENGTH, _least, 0, 1),
    "greatest": _Function(1, MAX_LENGTH, _greatest, 0, 1),
}


def _property(name: str, scope: ExpressionScope) -> Result:
    """Return a property, read once an evaluation."""
    value = scope.read.get(name)
    if value is None:
        raw = scope.properties.get(name)
        if raw is None:
            raise EvaluationFailed(f"Variable: {name} not found")
        scope.spend(_FIRST_READ + len(bytes(raw)) // _UNIT_BYTES)
        value = scope.read[name] = _read_property(raw)
    return value


def _read_property(raw: bytes) -> Result:
    try:
        value = number_or_text(raw)
    except InvalidValue as error:
        raise EvaluationFailed(EXPECTED_DECIMAL) from error
    if value is None:
        raise EvaluationFailed(EXPECTED_DECIMAL)
    return value


def _chain(first: _Evaluate, rest: Sequence[tuple[str, _Evaluate]]) -> _Evaluate:
    steps = [(_OPERATIONS[operator], evaluate) for operator, evaluate in rest]

    def evaluate(scope: ExpressionScope) -> Result:
        total = _number(first(scope))
        for operation, operand in steps:
            total = scope.paid(operation(total, _number(operand(scope))))
        return total

    return evaluate


def _parent(children: Sequence[_Node], evaluate: _Evaluate, units: int) -> _Node:
    """Make a node above others; `units`: what it costs itself."""
    depth = 1 + max(child.depth for child in children)
    if depth > MAX_DEPTH:
        raise InvalidExpression(f"the expression is nested deeper than {MAX_DEPTH}")
    properties = frozenset[str]().union(*(child.properties for child in children))
    spent = units + sum(child.units for child in children)
    return _Node(depth, evaluate, properties, spent, any(child.timed for child in children))


@v_args(inline=True)
class _Compiler(Transformer[Token, _Node]):
    """Turns the grammar's rules into nodes, bottom-up while parsing."""

    def additive(self, first: _Node, *rest: Token | _Node) -> _Node:
        operators = [str(token) for token in rest[::2]]
        operands = [node for node in rest[1::2] if isinstance(node, _Node)]
        pairs = zip(operators, (node.evaluate for node in operands), strict=True)
        chain = _chain(first.evaluate, list(pairs))
        return _parent([first, *operands], chain, len(operands))

    product = additive

    def negation(self, operand: _Node) -> _Node:
        def negated(scope: ExpressionScope) -> Result:
            return scope.paid(_ARITHMETIC.minus(_number(operand.evaluate(scope))))

        return _parent([operand], negated, 1)

    def group(self, inner: _Node) -> _Node:
        return _parent([inner], inner.evaluate, 0)

    def number(self, token: Token) -> _Node:
        value = Decimal(str(token))
        return _Node(1, lambda scope: value, units=1 + _digits_in(str(value)) // _UNIT_DIGITS)

    def string(self, token: Token) -> _Node:
        text = str(token)[1:-1]
        return _Node(1, lambda scope: text)

    def event_code(self) -> _Node:
        def code(scope: ExpressionScope) -> Result:
            scope.spend(len(scope.code) // _UNIT_CHARACTERS)
            return scope.code

        return _Node(1, code)

    def event_timestamp(self) -> _Node:
        def seconds(scope: ExpressionScope) -> Result:
            whole, rest = divmod(scope.timestamp_ms, 1_000)
            if scope.as_lago and not rest:
                return Decimal(whole)
            exact = Decimal(scope.timestamp_ms).scaleb(-3, _ARITHMETIC)
            return exact.normalize(_ARITHMETIC) if scope.as_lago else exact

        return _Node(1, seconds, timed=True)

    def event_property(self, token: Token) -> _Node:
        name = str(token).removeprefix("event.properties.")
        return _Node(1, lambda scope: _property(name, scope), frozenset({name}))

    def call(self, token: Token, *arguments: _Node) -> _Node:
        name = str(token).lower()
        function = _FUNCTIONS[name]
        if not function.least <= len(arguments) <= function.most:
            raise InvalidExpression(f"{name} does not take {len(arguments)} arguments")
        evaluators = [argument.evaluate for argument in arguments]
        return _parent(
            arguments,
            lambda scope: function.apply([each(scope) for each in evaluators], scope),
            function.units + function.units_an_argument * len(arguments),
        )


_PARSER: Final = Lark(_GRAMMAR, parser="lalr", transformer=_Compiler(), maybe_placeholders=False)
