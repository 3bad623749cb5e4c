"""Files of events: each kind gives Lago's fields, as they are spelled."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click
import pyarrow as pa
import pytest
from pyarrow import parquet

from app.cli.event_rows import as_sent, mapping, named, read_rows
from app.cli.exits import WrongUsage
from app.cli.send import send

EVENT = {
    "transaction_id": "t1",
    "external_subscription_id": "s",
    "code": "storage",
    "timestamp": "1767225600",
    "properties": {"gb": "1.10"},
}
COLUMNS = {"transaction_id": "id", "timestamp": "ts", "properties.gb": "size"}


def rows(content: bytes, name: str, columns: dict[str, str] | None = None) -> list[Any]:
    return list(read_rows(io.BytesIO(content), name, columns or {}))


def test_json_lines_keep_the_digits_of_numbers() -> None:
    line = b'{"transaction_id":"t1","external_subscription_id":"s","code":"c","more":1,'
    ((number, row),) = rows(b"\n" + line + b'"properties":{"gb":1.10}}\n', "-")
    assert number == 2
    assert row == {
        "transaction_id": "t1",
        "external_subscription_id": "s",
        "code": "c",
        "properties": {"gb": Decimal("1.10")},
    }
    assert str(row["properties"]["gb"]) == "1.10"


def test_a_cloud_event_has_other_names() -> None:
    line = (
        b'{"specversion":"1.0","id":"t1","source":"x","type":"storage","subject":"s",'
        b'"time":"2026-01-01T00:00:00.5Z","data":{"gb":"1.10"}}'
    )
    ((_, row),) = rows(line, "events.jsonl")
    assert as_sent(row) == EVENT | {"timestamp": "1767225600.500"}


@pytest.mark.parametrize("header", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a byte order mark"])
def test_csv_by_columns(header: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        header + b"id,external_subscription_id,code,ts,size,other\nt1,s,storage,1767225600,1.10,\n"
    )
    assert rows(text, "a.CSV", COLUMNS) == [(2, EVENT)]
    assert capsys.readouterr().err.startswith("Left out: other. A property's column is named ")
    with pytest.raises(WrongUsage, match="has no column size"):
        rows(b"id,ts\n", "a.csv", COLUMNS)


def test_parquet_by_columns() -> None:
    table = pa.table(
        {
            "id": ["t1", "t2"],
            "external_subscription_id": ["s", "s"],
            "code": ["storage", None],
            "ts": [datetime(2026, 1, 1, tzinfo=UTC)] * 2,
            "size": pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)),
            "properties.ratio": [0.1, 0.2],
        }
    )
    file = io.BytesIO()
    parquet.write_table(table, file)
    first, second = (as_sent(row) for _, row in rows(file.getvalue(), "a.parquet", COLUMNS))
    assert first["timestamp"] == "1767225600.000"
    assert {name: str(value) for name, value in first["properties"].items()} == {
        "gb": "1.10",
        "ratio": "0.1",
    }
    assert "code" not in second


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"transaction_id":"\xff"}', "line 1 is no JSON: "),
        pytest.param(b'{"a":' * 100_000, "line 1 is no JSON: ", id="deep"),
        (b"{]", "line 1 is no JSON: "),
        (b"[]", "line 1 is no JSON object"),
        (b'{"transaction_id":"a"}', "--map"),
    ],
)
def test_what_is_no_event_is_named(line: bytes, told: str) -> None:
    def names() -> list[tuple[str, str]]:
        return [named(number, row) for number, row in rows(line, "x")]

    with pytest.raises(WrongUsage, match=told):
        names()


@pytest.mark.parametrize("text", ["timestamp", "when=ts", "code="])
def test_a_mapping_names_a_field_and_a_column(text: str) -> None:
    with pytest.raises(click.BadParameter, match="FIELD=COLUMN"):
        mapping(click.Context(send), send.params[1], (text,))
