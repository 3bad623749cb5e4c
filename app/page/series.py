"""Usage of a subscription over time: a place for the chart, and its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from app.meter.evidence import UsageSeries
from app.page.figures import count, figure, time
from app.page.html import Html, el, markup
from app.page.tables import Column, Row, table_parts


def series_part(series: UsageSeries, window: str, timezone: str) -> Iterator[Html]:
    """Yield usage over time by parts: a place for the chart, and its numbers as a table."""
    charges = series.charges
    if not charges:
        yield markup(el("h2", "Usage over time"), el("p", "No charge counts it.", class_="empty"))
        return
    columns = [Column("From"), *(Column(each.charge_code, "number") for each in charges)]
    rows = (
        Row(
            str(values[0].from_ms),
            (time(values[0].from_ms, timezone), *(figure(value.units) for value in values)),
        )
        for values in zip(*(each.values for each in charges), strict=True)
    )
    title = f"{series.metric_code} by {window}, {timezone}"
    yield markup(
        el("h2", f"Usage by {window}"),
        el("div", data_chart="series-numbers", aria_hidden="true", class_="chart"),
    )
    windows = len(charges[0].values)
    yield Html(f"<details>{el('summary', f'Numbers of {count(windows, window)}')}")
    yield from table_parts("series-numbers", title, columns, rows, "Nothing.")
    yield Html("</details>")
