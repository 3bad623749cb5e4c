"""Bodies of metrics, charges and plans, as REST and the definitions log take them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]


def metric(code: str, aggregation_type: str, **more: Any) -> Json:
    """Return a metric that is called like its code."""
    return {"name": code, "code": code, "aggregation_type": aggregation_type, **more}


def charge(code: str = "m", **more: Any) -> Json:
    """Return a standard charge on the metric of that code; `properties` come beside its price."""
    properties = {"amount": "1", **more.pop("properties", {})}
    return {
        "billable_metric_code": code,
        "charge_model": "standard",
        "properties": properties,
        **more,
    }


def plan(code: str, charges: Iterable[Json] = (), **more: Any) -> Json:
    """Return a monthly plan in arrears that costs nothing but its charges."""
    return {
        "name": code,
        "code": code,
        "interval": "monthly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": list(charges),
        **more,
    }
