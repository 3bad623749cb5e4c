"""Values of events, read as a metric says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple
from weakref import WeakSet

import msgspec

from app.bounds.at_hand import keep
from app.bounds.limits import EXPRESSION_UNITS, VALUE_BYTES
from app.definitions.input_limits import InputLimits
from app.definitions.model import Metric
from app.expressions import (
    NO_BUDGET,
    EvaluationFailed,
    Expression,
    TooCostly,
    parse,
    result_text,
    result_value,
    rounded_value,
)
from app.kernel.twin import MOST_NAMES
from app.numbers import (
    EXACT,
    ZERO,
    InvalidValue,
    canonical,
    group_text,
    parse_value,
    property_text,
)
from app.wire.arrivals import Arrival, Position
from app.wire.properties import read_properties
from tables.aggregation import KEPT, Kept
from tables.not_counted import Reason
from tables.registry import AGGREGATIONS

Properties = Mapping[str, msgspec.Raw]


def read_of(arrival: Arrival) -> tuple[str, int, Properties, int]:
    """Return what tells the value of an event, and the cell that it belongs to."""
    event = arrival.event
    properties = read_properties(event.properties)
    return event.code, arrival.timestamp_ms, properties, arrival.append_time_ms


class Ignored(NamedTuple):
    """Why an event does not count for a charge: a code for trace and explain."""

    reason: Reason


class Value(NamedTuple):
    """What an event brings to one aggregation."""

    number: Decimal
    """0 where the type needs none."""
    text: str
    """unique_count: the property text."""
    adds: bool
    digest_text: str
    """The value as the digest names it (records-and-cuts §11)."""


Overwriter = Callable[[str, int, Properties, int], Properties]
"""(code, timestamp ms, properties, append time ms) to the properties as the metric's expression
leaves them."""


def overwriter(metric: Metric, keys: Collection[str], limits: InputLimits) -> Overwriter | None:
    """Return what puts an expression's result in place of the property: filters and groups see it.

    None where that property is none of the keys that are looked at.
    """
    field = metric.field_name
    if not metric.expression or field not in keys or field is None:
        return None
    expression = parse(metric.expression)
    limited_after_ms, _, _, as_lago_after_ms = limits

    def overwritten(
        code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> Properties:
        units = EXPRESSION_UNITS if append_time_ms > limited_after_ms else NO_BUDGET
        as_lago = append_time_ms > as_lago_after_ms
        result = expression.evaluate(code, timestamp_ms, properties, units, as_lago=as_lago)
        text = result_text(result)
        return {**properties, field: msgspec.Raw(msgspec.json.encode(text))}

    return overwritten


ValueReader = Callable[[str, int, Properties, int], Value | Ignored]
"""(code, timestamp ms, properties, append time ms) to the value of the event."""

_COUNTED = Value(ZERO, "", True, "")

# Plain __new__: the generated one costs three times as much, on every event.
_new = tuple.__new__


def value_reader(metric: Metric, limits: InputLimits) -> ValueReader:
    """Return how the metric reads an event's value (metering-semantics §4.1, §4.6)."""
    expression = parse(metric.expression) if metric.expression else None
    field = metric.field_name or ""
    match AGGREGATIONS[metric.aggregation_type].reads:
        case "nothing":
            return _count_reader(expression, limits)
        case "operation":
            return _unique_reader(field, expression, limits)
        case "number":
            return _number_reader(field, expression, limits)


def _count_reader(expression: Expression | None, limits: InputLimits) -> ValueReader:
    limited_after_ms, _, _, as_lago_after_ms = limits

    def read(
        code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> Value | Ignored:
        if expression is not None:
            units = EXPRESSION_UNITS if append_time_ms > limited_after_ms else NO_BUDGET
            as_lago = append_time_ms > as_lago_after_ms
            try:
                expression.evaluate(code, timestamp_ms, properties, units, as_lago=as_lago)
            except TooCostly:
                return Ignored("expression_too_costly")
            except EvaluationFailed:
                return Ignored("expression_failed")
        return _COUNTED

    return read


def _number_reader(field: str, expression: Expression | None, limits: InputLimits) -> ValueReader:
    limited_after_ms, rounded_after_ms, _, as_lago_after_ms = limits

    def read(
        code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> Value | Ignored:
        try:
            if expression is not None:
                units = EXPRESSION_UNITS if append_time_ms > limited_after_ms else NO_BUDGET
                as_lago = append_time_ms > as_lago_after_ms
                result = expression.evaluate(code, timestamp_ms, properties, units, as_lago=as_lago)
                rounds = append_time_ms > rounded_after_ms
                number = rounded_value(result) if rounds else result_value(result)
            else:
                raw = properties.get(field)
                if raw is None:
                    return Ignored("missing_property")
                literal = str(raw, "utf-8")
                value = _NUMBERS.get(literal)
                if value is not None:
                    return value
                number = parse_value(raw)
                if number is not None:
                    return _remember_number(literal, number)
        except InvalidValue:
            return Ignored("invalid_value")
        except TooCostly:
            return Ignored("expression_too_costly")
        except EvaluationFailed:
            return Ignored("expression_failed")
        if number is None:
            return Ignored("not_numeric")
        return _new(Value, (number, "", True, canonical(number)))

    return read


def number_of(literal: str) -> Value | None:
    """Return what an event brings whose property has this literal; None: it is no number."""
    try:
        number = parse_value(literal.encode())
    except InvalidValue:
        return None
    return None if number is None else _remember_number(literal, number)


Apply = Callable[[Any, Decimal, int, Position], None]
"""Takes state, number, event time and position."""


class Reading(NamedTuple):
    """How `app.kernel` reads events that fall into one cell, and folds them into its state."""

    field: str | tuple[str, ...] | None
    most_text: int
    numbers: dict[str, Value] | None
    number_of: Callable[[str], Value | None]
    ordered: bool
    zero: Decimal
    add: Callable[[Decimal, Decimal], Decimal]
    apply: Apply | None
    kept: int
    """How `apply` keeps numbers: index in `KEPT`."""
    fma: Callable[[Decimal, int, Decimal], Decimal]
    """How products with event times are added."""


def reading_of(
    metric: Metric, apply: Apply | None, kept: Kept = "", *, ordered: bool
) -> Reading | None:
    """Return how the events of a metric are read; None: an expression has to see each of them.

    `apply`: takes their numbers, if any does; `kept`: as an aggregation says. `ordered`: it looks
    at their positions.
    """
    reads = AGGREGATIONS[metric.aggregation_type].reads
    most_text = VALUE_BYTES // 4
    parts = (ordered, ZERO, EXACT.add, apply, KEPT.index(kept), EXACT.fma)
    if metric.expression:
        computed = _computed(metric.expression, metric.code) if reads == "number" else None
        if computed is None:
            return None
        return Reading(computed.names, most_text, computed.values, computed.value_of, *parts)
    field = None if reads == "nothing" else metric.field_name or ""
    numbers = _NUMBERS if reads == "number" else None
    return Reading(field, most_text, numbers, number_of, *parts)


class _Computed:
    """What an expression makes of some properties, which are all that it reads of an event."""

    _all: ClassVar[WeakSet[_Computed]] = WeakSet()
    _remembered: ClassVar[int] = 0
    """How many values they all remember, at most."""

    def __init__(self, expression: Expression, code: str):
        self._expression, self._code = expression, code
        self.names = tuple(sorted(expression.properties))
        self.values: dict[str, Value] = {}
        self._all.add(self)

    def value_of(self, literals: str) -> Value | None:
        """Return what an event brings whose properties have these; None: it has to be looked at."""
        properties = dict(zip(self.names, _decode_list(f"[{literals}]"), strict=True))
        try:
            result = self._expression.evaluate(self._code, 0, properties, CHEAP_UNITS)
            number = result_value(result)
        except (InvalidValue, EvaluationFailed):
            return None
        if number is None:
            return None
        value = _new(Value, (number, "", True, canonical(number)))
        if len(literals) <= _MOST_LITERALS:
            self._remember(literals, value)
        return value

    def _remember(self, literals: str, value: Value) -> None:
        if _Computed._remembered >= _MAX_NUMBERS:
            for each in self._all:
                each.values.clear()
            _Computed._remembered = 0
        _Computed._remembered += 1
        self.values[literals] = value


CHEAP_UNITS = 24
"""With so many units an expression is evaluated among thousands of events in one step."""

_MOST_LITERALS = 128
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


@lru_cache(maxsize=4_096)
def _computed(text: str, code: str) -> _Computed | None:
    """Return what computes the values of an expression; None: more than properties decides them."""
    expression = parse(text)
    cheap = expression.units <= CHEAP_UNITS and 0 < len(expression.properties) <= MOST_NAMES
    decided = not (expression.timed or expression.writes_greatest)
    return _Computed(expression, code) if cheap and decided else None


# Streams repeat numbers, so that most literals are one lookup.
_NUMBERS: dict[str, Value] = {}
_MAX_NUMBERS = 8192


def _remember_number(literal: str, number: Decimal) -> Value:
    value = _new(Value, (number, "", True, canonical(number)))
    return keep(_NUMBERS, literal, value, _MAX_NUMBERS)


def _unique_reader(field: str, expression: Expression | None, limits: InputLimits) -> ValueReader:
    limited_after_ms, _, _, as_lago_after_ms = limits

    def read(
        code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> Value | Ignored:
        limited = append_time_ms > limited_after_ms
        text: str | None
        if expression is not None:
            units = EXPRESSION_UNITS if limited else NO_BUDGET
            as_lago = append_time_ms > as_lago_after_ms
            try:
                text = result_text(
                    expression.evaluate(code, timestamp_ms, properties, units, as_lago=as_lago)
                )
            except TooCostly:
                return Ignored("expression_too_costly")
            except EvaluationFailed:
                return Ignored("expression_failed")
        else:
            text = text_of(properties, field)
        if text is None:
            return Ignored("missing_property")
        if limited and is_long(text):
            return Ignored("value_too_long")
        operation = text_of(properties, "operation_type")
        if operation not in (None, "", "add", "remove"):
            return Ignored("unknown_operation_type")
        if operation == "remove":
            return _new(Value, (ZERO, text, False, f"remove:{text}"))
        return _new(Value, (ZERO, text, True, f"add:{text}"))

    return read


def is_long(text: str) -> bool:
    """Return whether a unique value or a group value is longer than one may be."""
    # A character has at most four bytes: most texts are never encoded.
    return len(text) > VALUE_BYTES // 4 and len(text.encode()) > VALUE_BYTES


def text_of(properties: Properties, key: str) -> str | None:
    """Return the text of a property; None: the event has none."""
    raw = properties.get(key)
    return None if raw is None else property_text(raw)


def group_of(properties: Properties, key: str) -> str | None:
    """Return the text that a property groups by; None: the event has none."""
    raw = properties.get(key)
    return None if raw is None else group_text(raw)


UNITS_AN_EVENT = 12
"""Folding an event takes as long as evaluating so many units of an expression."""

UNITS_A_SPAN = 4
"""Folding it into one more span takes as long as so many."""

UNITS_A_MEMBER = 60
"""Folding it into a unique count takes as long as so many where its member has to be looked at: an
event that comes late may find operations of many cuts there.
"""
