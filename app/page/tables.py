"""Tables: a caption, a header cell a column, a key a row. On a phone each row is a card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from app.page.html import Html, Node, attributes_of, el, markup


class Column(NamedTuple):
    """A column of a table."""

    title: str
    kind: str | None = None
    """Class of its cells: number, id, text, or short for what never breaks."""
    sorts: str | None = None
    """Address of the view that is sorted by it; None: it sorts nothing."""
    order: str | None = None
    """ascending or descending if the rows are sorted by it."""


class Row(NamedTuple):
    """A row of a table; the key stays the same while the row shows the same thing."""

    key: str
    cells: Sequence[Node]


def table(
    name: str, caption: Node, columns: Sequence[Column], rows: Iterable[Row], empty: Node
) -> Html:
    """Return a table, or what is said when it has no rows."""
    return Html("".join(table_parts(name, caption, columns, rows, empty)))


def table_parts(
    name: str, caption: Node, columns: Sequence[Column], rows: Iterable[Row], empty: Node
) -> Iterator[Html]:
    """Yield what `table` returns by parts, a row at a time: they may be very many, or very wide."""
    opened = [
        attributes_of({"class_": column.kind, "data_label": column.title}) for column in columns
    ]
    body = (_row(name, opened, row) for row in rows)
    first = next(body, None)
    if first is None:
        yield el("div", el("h2", caption), el("p", empty, class_="empty"), id=name)
        return
    head = markup(el("caption", el("h2", caption)), el("thead", el("tr", map(_head, columns))))
    yield Html(f"<div{attributes_of({'id': name, 'class_': 'cards'})}><table>{head}<tbody>")
    yield first
    yield from body
    yield Html("</tbody></table></div>")


def _head(column: Column) -> Html:
    title: Node = column.title
    if column.sorts is not None:
        title = el("a", column.title, href=column.sorts)
    return el("th", title, scope="col", class_=column.kind, aria_sort=column.order)


def _row(name: str, opened: Sequence[Html], row: Row) -> Html:
    cells = "".join(
        [
            f"<td{of_column}>{markup(node)}</td>"
            for of_column, node in zip(opened, row.cells, strict=True)
        ]
    )
    return el("tr", Html(cells), id=f"{name}.{quote(row.key, safe='')}")


def facts(pairs: Iterable[tuple[str, Node]]) -> Html:
    """Return names with what they are."""
    return el(
        "dl", (el("div", el("dt", name), el("dd", value)) for name, value in pairs), class_="facts"
    )
