"""Usage of a subscription over time: a place for the chart, and its numbers."""

from __future__ import annotations

from app.meter.evidence import UsageSeries
from app.page.figures import count, figure, time
from app.page.html import Html, el, markup
from app.page.tables import Column, Row, table


def series_part(series: UsageSeries, window: str, timezone: str) -> Html:
    """Return usage over time: a place for the chart, and its numbers as a table."""
    charges = series.charges
    if not charges:
        return markup(el("h2", "Usage over time"), el("p", "No charge counts it.", class_="empty"))
    columns = [Column("From"), *(Column(each.charge_code, "number") for each in charges)]
    windows = list(zip(*(each.values for each in charges), strict=True))
    rows = (
        Row(
            str(values[0].from_ms),
            (time(values[0].from_ms, timezone), *(figure(value.units) for value in values)),
        )
        for values in windows
    )
    title = f"{series.metric_code} by {window}, {timezone}"
    numbers = table("series-numbers", title, columns, rows, "Nothing.")
    return markup(
        el("h2", f"Usage by {window}"),
        el("div", data_chart="series-numbers", aria_hidden="true", class_="chart"),
        el("details", el("summary", f"Numbers of {count(len(windows), window)}"), numbers),
    )
