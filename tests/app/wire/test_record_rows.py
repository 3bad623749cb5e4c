"""A record as a row: every figure as it is spelled, in columns that keep their places."""

from __future__ import annotations

from typing import Any

from app.wire.record_rows import COLUMNS, INSTANTS, pairs_text, row_of

RECORD: dict[str, Any] = {
    "type": "usage.revised",
    "revision": 1,
    "external_subscription_id": "s",
    "billable_metric": {"code": "gb", "name": "GB", "recurring": False},
    "charge": {"code": "c", "prorated": True},
    "period": {"from": "2026-10-01T00:00:00Z", "to": "2026-10-31T23:59:59Z", "timezone": "UTC"},
    "filters": {"region": ["eu", "us"]},
    "grouped_by": {"zone": None, "cloud": "aws"},
    "units": "0.10000000000000000000000000000000001",
    "prorated_units": None,
    "events_count": 3,
}


def test_a_row_has_the_texts_of_the_record() -> None:
    row = dict(zip(COLUMNS, row_of(RECORD), strict=True))
    assert {name: text for name, text in row.items() if text} == {
        "type": "usage.revised",
        "revision": "1",
        "external_subscription_id": "s",
        "billable_metric_code": "gb",
        "billable_metric_name": "GB",
        "recurring": "false",
        "charge_code": "c",
        "prorated": "true",
        "period_from": "2026-10-01T00:00:00Z",
        "period_to": "2026-10-31T23:59:59Z",
        "timezone": "UTC",
        "filters": "region=eu|us",
        "grouped_by": "zone=;cloud=aws",
        "units": "0.10000000000000000000000000000000001",
        "events_count": "3",
    }


def test_columns_keep_their_places() -> None:
    assert (COLUMNS[0], COLUMNS[19], COLUMNS[45], len(COLUMNS)) == (
        "type",
        "units",
        "schema_version",
        46,
    )
    assert set(COLUMNS) > INSTANTS
    assert pairs_text(None) == ""
