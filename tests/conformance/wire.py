"""Check conformance vectors of modes `expression`, `rounding` and `timestamp`.

Each check takes one vector as read from JSON and returns the differences found, in words.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from app.expressions import EvaluationFailed, InvalidExpression, Result, parse
from app.numbers import InvalidValue, parse_text, plain, round_units
from app.wire.events import LAGO_NAMES, build_event
from app.wire.refusals import ElementRefused, RefusalCode
from app.wire.timestamps import JsonNumber, parse_timestamp

Vector = Mapping[str, Any]

_INVALID_FORMAT = "invalid_format"


def check_expression_vector(vector: Vector) -> list[str]:
    """Evaluate the metric's expression on the vector's events."""
    expected = vector["expect"]
    found = [_evaluated(vector["metric"].get("expression"), event) for event in vector["events"]]
    if "error" in expected:
        return [f"{got!r} is not {expected['error']}" for got in found if got != expected]
    wanted = _comparable(str(expected["value"]))
    return [
        f"{got!r} is not {wanted!r}"
        for got in found
        if "value" not in got or _comparable(got["value"]) != wanted
    ]


def check_rounding_vector(vector: Vector) -> list[str]:
    """Round `input_units` by the metric's function and precision."""
    metric = vector["metric"]
    units = round_units(
        Decimal(str(vector["input_units"])),
        metric.get("rounding_function"),
        metric.get("rounding_precision"),
    )
    wanted = Decimal(str(vector["expect"]["units"]))
    return [] if units == wanted else [f"units {plain(units)} are not {plain(wanted)}"]


def check_timestamp_vector(vector: Vector) -> list[str]:
    """Read each event's timestamp by the Kafka rules."""
    expected = vector["expect"]
    differences = []
    for event in vector["events"]:
        try:
            got = {"epoch": plain(Decimal(_timestamp_ms(event.get("timestamp"))).scaleb(-3))}
        except ElementRefused:
            got = {"error": _INVALID_FORMAT}
        wanted = (
            {"epoch": plain(Decimal(str(expected["epoch"])))}
            if "epoch" in expected
            else {"error": expected["error"]}
        )
        if got != wanted:
            differences.append(f"{got} is not {wanted}")
    return differences


def _evaluated(text: str | None, event: Mapping[str, Any]) -> dict[str, Result]:
    if not (text or "").strip():
        return {"error": "value_is_mandatory"}
    try:
        expression = parse(text or "")
    except InvalidExpression:
        return {"error": "invalid_expression"}
    # Without a timestamp it is now, which no vector can expect a value of.
    timestamp_ms = parse_timestamp(_scalar(event.get("timestamp") or 0))
    given = event.get("properties") or {}
    properties = {name: _literal(value) for name, value in given.items()}
    try:
        return {"value": expression.evaluate(event.get("code") or "", timestamp_ms, properties)}
    except EvaluationFailed:
        return {"error": "invalid_event"}


def _comparable(value: Result) -> Result:
    try:
        number = parse_text(value) if isinstance(value, str) else value
    except InvalidValue:
        # An expression may have more digits than a value.
        number = Decimal(value)
    return value if number is None else number


def _timestamp_ms(value: object) -> int:
    """As a raw record with this value has it. Raises `ElementRefused`."""
    identity = {"external_subscription_id": "s", "transaction_id": "t", "code": "c"}
    fields = {name: _literal(text) for name, text in identity.items()}
    if value is not None:
        fields["timestamp"] = _literal(value)
    event = build_event(fields, LAGO_NAMES, b"")
    if event.timestamp_ms is None:
        raise ElementRefused(
            RefusalCode.INVALID_TIMESTAMP, "without a timestamp it is the append time"
        )
    return event.timestamp_ms


def _scalar(value: str | int | float | Decimal) -> str | int:
    return value if isinstance(value, str | int) else JsonNumber(value)


def _literal(value: object) -> bytes:
    return str(value).encode() if isinstance(value, Decimal) else msgspec.json.encode(value)
