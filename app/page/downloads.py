"""Buttons that download CSV: all of it if one answer holds it, else part by part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from app.page.figures import whole
from app.page.html import Html, el

ROWS: Final = 1_000
"""Items of one download: what a page of the API has at most."""
_PARTS: Final = 10


def downloads(total: int, source: Callable[[str], str], otherwise: str) -> Html | None:
    """Return a button for each part; `source` says where a page is, `otherwise` how to get all."""
    if not total:
        return None
    if total <= ROWS:
        return el("p", _button("Download all as CSV", source("1")))
    buttons = []
    for number in range(min(-(-total // ROWS), _PARTS)):
        first, last = number * ROWS + 1, min((number + 1) * ROWS, total)
        words = f"CSV of {whole(first)} to {whole(last)}"
        buttons += [_button(words, source(str(number + 1))), " "]
    return el("p", buttons, f"All {whole(total)} at once: ", el("code", otherwise))


def _button(words: str, source: str) -> Html:
    return el("button", words, type="button", hx_get=source, hx_swap="download")
