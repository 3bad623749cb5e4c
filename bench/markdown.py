"""Tables of Markdown, as all pages here have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def row(cells: Iterable[str]) -> str:
    """Return a line of a table."""
    told = " | ".join(each.replace("|", "\\|") for each in cells)
    return f"| {told} |"


def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return the lines of a table."""
    return [row(head), "|---" * len(head) + "|", *map(row, rows)]
