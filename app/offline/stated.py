"""What a statement is about, and whether its records are those that its logs make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from app.billing_periods.instants import parse_iso8601_ms
from app.billing_periods.timezones import local_date
from app.wire.arrivals import SubscriptionKey
from app.wire.usage_records import PublishedRecord

FORMAT: Final = 1
"""Version of the file; a checker knows those up to its own."""

NAMES: Final = (
    "statement.json",
    "records.jsonl",
    "events.csv",
    "events.jsonl",
    "definitions.jsonl",
    "README.txt",
)
SUMS: Final = "SHA256SUMS"
OMITTED: Final = "omitted"
"""Type of a definition that is not shown; nothing applies it."""
_TYPES: Final = ("usage.recorded", "usage.revised")
_STATED: Final = (
    "id",
    "revision",
    "units",
    "prorated_units",
    "total_aggregated_units",
    "precise_total_amount_cents",
    "events_count",
    "digest",
    "closed_at",
)


class NoStatement(Exception):
    """There is no such figure, or no one figure; the message says what to do."""


@dataclass(frozen=True)
class Wanted:
    """Which figure is stated."""

    organization_id: str
    external_subscription_id: str
    metric_code: str
    period: str
    """How the period's first local date begins: 2026-10 or 2026-10-01."""
    charge_code: str | None = None

    @property
    def name(self) -> SubscriptionKey:
        return self.organization_id, self.external_subscription_id

    def is_of(self, record: dict[str, Any]) -> bool:
        """Return True for a record of the figure, of whatever period."""
        return (
            record.get("type") in _TYPES
            and record["organization_id"] == self.organization_id
            and record["external_subscription_id"] == self.external_subscription_id
            and record["billable_metric"]["code"] == self.metric_code
            and self.charge_code in (None, record["charge"]["code"])
        )

    def chosen(self, values: Iterable[bytes]) -> list[bytes]:
        """Return the records of the figure in their order. Raises NoStatement."""
        found: dict[str, list[bytes]] = {}
        for value in values:
            record = _decoded(value)
            if record is not None and self.is_of(record):
                period = record["period"]
                starts = str(local_date(parse_iso8601_ms(period["from"]) or 0, period["timezone"]))
                if starts.startswith(self.period):
                    found.setdefault(period["from"], []).append(value)
        if not found:
            raise NoStatement(
                f"Nothing is published of {self.metric_code} of {self.external_subscription_id} in "
                f"a period that begins in {self.period}."
            )
        if len(found) > 1:
            raise NoStatement(f"Several periods begin in {self.period}: {', '.join(found)}.")
        (records,) = found.values()
        return sorted(set(records), key=_order)


def _decoded(value: bytes) -> dict[str, Any] | None:
    try:
        record = msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _order(value: bytes) -> tuple[str, int]:
    record = msgspec.json.decode(value)
    return record["cell_id"], record["revision"]


class Verdict(NamedTuple):
    """What a check found out."""

    records: int
    """Records that the logs make, byte by byte."""
    differences: tuple[str, ...]


def compared(
    wanted: Wanted, stated: dict[str, Any], values: Sequence[bytes], made: Iterable[PublishedRecord]
) -> Verdict:
    """Compare the records and figures of a statement to what a fold of its logs has made."""
    folded = {
        record.value
        for record in made
        if (found := _decoded(record.value)) is not None
        and wanted.is_of(found)
        and found["period"] == stated["period"]
    }
    given = set(values)
    differences = [f"record {_id(value)} is not what the logs make" for value in given - folded]
    differences += [f"record {_id(value)} is missing" for value in folded - given]
    newest: dict[str, dict[str, Any]] = {}
    for record in sorted(map(msgspec.json.decode, values), key=lambda one: int(one["revision"])):
        newest[record["cell_id"]] = record
    cells = {cell["cell_id"]: cell for cell in stated["cells"]}
    for cell_id in sorted(newest.keys() | cells.keys()):
        record, cell = newest.get(cell_id, {}), cells.get(cell_id, {})
        differences += [
            f"statement.json says {cell.get(name)!r} and the record {record.get(name)!r} for "
            f"{name} of cell {cell_id}"
            for name in _STATED
            if cell.get(name) != record.get(name)
        ]
    return Verdict(len(given & folded), tuple(sorted(differences)))


def _id(value: bytes) -> str:
    record = _decoded(value) or {}
    return f"{record.get('id', 'without an id')}, revision {record.get('revision')},"
