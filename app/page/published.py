"""What was published of a period of a subscription: every record, as the topic has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.billing_periods.instants import parse_iso8601_ms
from app.page.downloads import downloads
from app.page.figures import NOTHING, address, bucket, figure, in_words, time, whole
from app.page.html import Html, Node, el, markup
from app.page.subscription import About
from app.page.tables import Column, Row, table


def records_part(about: About, rows: Sequence[Mapping[str, str]], total: int, period: str) -> Html:
    """Return what was published of a period, every revision, as rows of a download."""
    columns = (
        Column("Charge"),
        Column("Units", "number"),
        Column("Change", "number"),
        Column("Revision", "number"),
        Column("Why"),
        Column("Cut"),
        Column("Filter"),
        Column("Group"),
        Column("Events", "number"),
    )
    more = f", first {whole(len(rows))} of {whole(total)}" if total > len(rows) else ""

    def source(number: str) -> str:
        return address(
            "page",
            "records.csv",
            subscription=about.name,
            period=period,
            organization=about.organization,
            page=number,
        )

    filtered = {row["charge_code"] for row in rows if row["filters"]}
    shown = (Row(row["id"], _record(about, row, filtered)) for row in sorted(rows, key=_by_figure))
    return markup(
        table("published", f"Published records{more}", columns, shown, "Nothing is published yet."),
        downloads(
            total, source, f"meter records {about.name} --from {period} --all-revisions -o csv"
        ),
    )


def _by_figure(row: Mapping[str, str]) -> tuple[bool, str, str, str, int]:
    """Return what records are ordered by: figures with their revisions, then the completions."""
    names = row["charge_code"], row["filters"], row["grouped_by"]
    return row["type"] == "period.completed", *names, int(row["revision"])


def _record(about: About, row: Mapping[str, str], filtered: set[str]) -> tuple[Node, ...]:
    if row["type"] == "period.completed":
        what, figures = "the period is complete", (NOTHING, NOTHING)
    else:
        what = row["charge_code"]
        change = row["delta_units"]
        figures = (figure(row["units"]), figure(change, signed=True) if change else NOTHING)
    return (
        what,
        *figures,
        _revision(about, row),
        in_words(row["revision_reason"] or row["closing_reason"] or NOTHING),
        time(parse_iso8601_ms(row["closed_at"]), about.timezone),
        row["filters"] or (bucket(None) if row["charge_code"] in filtered else NOTHING),
        row["grouped_by"] or NOTHING,
        row["events_count"] or NOTHING,
    )


def _revision(about: About, row: Mapping[str, str]) -> Node:
    """Return a revision; one after the first leads to the events that made it."""
    number = int(row["revision"])
    if number == 0 or not row["billable_metric_code"]:
        return whole(number)
    made_by = address(
        "subscriptions",
        about.name,
        "explain",
        row["billable_metric_code"],
        organization=about.organization,
        at=row["period_from"],
        charge=row["charge_code"],
        since_revision=str(number - 1),
    )
    told = f"{whole(number)}: events since revision {number - 1}"
    return el("a", whole(number), href=made_by, aria_label=told)
