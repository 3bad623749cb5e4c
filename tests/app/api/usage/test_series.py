"""`GET …/usage/series`: an answer of any length is written by small steps."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from app.api.answering.streams import pieces
from app.api.http.json_text import whole
from app.api.usage.series import series_json
from app.meter.evidence import ChargeUsageSeries, UsageSeries, WindowUsage
from app.meter.usage import AsOf
from tests.world.clock import HOUR_MS

WINDOWS = 200


def series(charges: int, windows: int) -> UsageSeries:
    values = tuple(
        WindowUsage(n * HOUR_MS, (n + 1) * HOUR_MS, Decimal(n), Decimal("2.50"), n)
        for n in range(windows)
    )
    return UsageSeries(
        external_subscription_id="s",
        metric_code="m",
        aggregation_type="sum_agg" if charges else None,
        charges=tuple(ChargeUsageSeries(f"{n}", f"c{n}", values) for n in range(charges)),
        as_of=AsOf(0, 0, 0, 0),
    )


def test_each_window_is_shown() -> None:
    value = {
        "from": "1970-01-01T01:00:00.000Z",
        "until": "1970-01-01T02:00:00.000Z",
        "units": "1.0",
        "total_aggregated_units": "2.5",
        "events_count": 1,
    }
    shown = whole(series_json(series(2, 2), "hour", "UTC"))
    assert list(shown) == [
        "external_subscription_id",
        "billable_metric_code",
        "aggregation_type",
        "window",
        "timezone",
        "charges",
        "as_of",
    ]
    assert [charge["charge_code"] for charge in shown["charges"]] == ["c0", "c1"]
    assert [list(charge["values"][1].items()) for charge in shown["charges"]] == [
        list(value.items())
    ] * 2
    assert whole(series_json(series(0, 2), "hour", "UTC"))["charges"] == []


def test_no_piece_of_an_answer_holds_many_windows() -> None:
    shown = [series_json(series(3, WINDOWS), "hour", "UTC") for _ in range(2)]
    made = list(pieces(shown[0]))
    assert b"".join(made) == msgspec.json.encode(whole(shown[1]))
    assert max(piece.count(b"events_count") for piece in made) == 1
