"""What a statement is about, and whether its records are those that its logs make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from app.billing_periods.instants import iso_milliseconds, parse_iso8601_ms
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
    "cell_id",
    "id",
    "revision",
    "filters",
    "grouped_by",
    "units",
    "prorated_units",
    "total_aggregated_units",
    "precise_total_amount_cents",
    "events_count",
    "digest",
    "closed_at",
    "final_after",
)


class NoStatement(Exception):
    """There is no such figure, or no one figure; the message says what to do."""


@dataclass(frozen=True)
class StatedFigure:
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


def last_cut_ms(records: Iterable[bytes]) -> int:
    """Return the cut of the newest record of a figure."""
    cuts = [parse_iso8601_ms(msgspec.json.decode(value)["closed_at"]) for value in records]
    return max(cut or 0 for cut in cuts)


def figure(wanted: StatedFigure, chosen: Sequence[bytes], tzdata: str) -> dict[str, Any]:
    """Return what statement.json says of records in their order, made with this tzdata."""
    newest = {record["cell_id"]: record for record in map(msgspec.json.decode, chosen)}
    first = next(iter(newest.values()))
    return {
        "format": FORMAT,
        "organization_id": wanted.organization_id,
        "external_customer_id": first["external_customer_id"],
        "external_subscription_id": wanted.external_subscription_id,
        "billable_metric": first["billable_metric"],
        "charge_code": wanted.charge_code,
        "period": first["period"],
        "cut": iso_milliseconds(last_cut_ms(chosen)),
        "cells": [
            {name: record[name] for name in _STATED} | {"charge_code": record["charge"]["code"]}
            for record in newest.values()
        ],
        "versions": {"schema_version": first["schema_version"], "tzdata": tzdata},
    }


class StatementVerdict(NamedTuple):
    """What a check found out."""

    records: int
    """Records that the logs make, byte by byte."""
    differences: tuple[str, ...]


def compared(
    wanted: StatedFigure,
    stated: dict[str, Any],
    values: Sequence[bytes],
    made: Iterable[PublishedRecord],
) -> StatementVerdict:
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
    chosen = sorted(given, key=_order)
    if list(values) != chosen:
        differences.append("records.jsonl has its records twice or in another order")
    if chosen:
        differences += _told_otherwise(stated, figure(wanted, chosen, stated["versions"]["tzdata"]))
    return StatementVerdict(len(given & folded), tuple(sorted(differences)))


def _told_otherwise(stated: dict[str, Any], told: dict[str, Any]) -> Iterator[str]:
    """Yield where statement.json says something else than the records tell."""
    cells, others = ({one["cell_id"]: one for one in each["cells"]} for each in (stated, told))
    names = sorted(cells.keys() | others.keys())
    of_cells = ((f" of cell {name}", cells.get(name, {}), others.get(name, {})) for name in names)
    for where, said, recorded in (("", stated, told), *of_cells):
        for name in sorted(said.keys() | recorded.keys()):
            if name != "cells" and said.get(name) != recorded.get(name):
                yield (
                    f"statement.json says {said.get(name)!r} and the records "
                    f"{recorded.get(name)!r} for {name}{where}"
                )
    if [one["cell_id"] for one in stated["cells"]] != list(others):
        yield "statement.json has its cells twice, in another order, or not all of them"


def _id(value: bytes) -> str:
    record = _decoded(value) or {}
    return f"{record.get('id', 'without an id')}, revision {record.get('revision')},"
