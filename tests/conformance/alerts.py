"""Conformance vectors of alerts: what one evaluation crosses, in the order it is published."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.definitions.model import AlertThreshold
from tables.crossing import crossed
from tests.conformance.comparison import Difference
from tests.conformance.files import Vector


def check_alert_vector(vector: Vector) -> list[Difference]:
    """Compare the thresholds that the product's own code crosses with those expected."""
    json = vector.json
    thresholds = [_threshold(described) for described in json["thresholds"]]
    found = crossed(thresholds, Decimal(json["previous"]), Decimal(json["current"]))
    expected = [_threshold(described) for described in json["expect"]["crossed"]]
    if found == expected:
        return []
    return [Difference("crossed", _printed(expected), _printed(found))]


def _threshold(described: Mapping[str, Any]) -> AlertThreshold:
    return AlertThreshold(described["code"], Decimal(described["value"]), described["recurring"])


def _printed(thresholds: list[AlertThreshold]) -> str:
    return ", ".join(
        f"{threshold.value} {threshold.code}{' (recurring)' if threshold.recurring else ''}"
        for threshold in thresholds
    )
