"""CSV of what the API answers, for whoever asks with `format=csv` or by Accept."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from aiohttp import web

from app.api.answering.call import Call, Reply
from app.api.answering.streams import parts_of, streamed
from app.api.http.errors import FieldErrors, invalid
from app.bounds.turns import Work

CSV: Final = "text/csv"
NEXT_PAGE: Final = "Meter-Next-Page"
"""Header of CSV, which has no `meta`: the number of the next page, absent on the last one."""
_JSON: Final = "application/json"
_FORMATS: Final = ("json", "csv")


def check_format(call: Call, errors: FieldErrors) -> None:
    """Note a format that there is not."""
    call.query.one_of("format", _FORMATS, errors)


def asks_for_csv(call: Call) -> bool:
    """Return whether the answer is to be CSV: `format` decides, then Accept. Raises 422."""
    errors: FieldErrors = {}
    named: str | None = call.query.one_of("format", _FORMATS, errors)
    if errors:
        raise invalid(errors)
    if named is not None:
        return named == "csv"
    weights = _weights(call.request.headers.getall("Accept", []))
    return weights.get(CSV, 0.0) > weights.get(_JSON, 0.0)


def _weights(headers: Iterable[str]) -> Mapping[str, float]:
    """Return the media types that Accept names, each with its weight."""
    found: dict[str, float] = {}
    for part in ",".join(headers).split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            found[name] = float(weight)
        except ValueError:
            found[name] = 0.0
    return found


async def csv_answer(
    call: Call, text: AsyncGenerator[bytes, None], meta: Mapping[str, Any] | None = None
) -> Reply | web.StreamResponse:
    """Answer CSV, and which page comes next if `meta` says that there is one."""
    number = None if meta is None else meta["next_page"]
    headers = {} if number is None else {NEXT_PAGE: str(number)}
    return await streamed(call, text, CSV, headers)


def csv_parts(
    call: Call, work: Work, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> AsyncGenerator[bytes, None]:
    """Return a header and rows as CSV by parts, made in turns; no columns: rows alone."""
    header = [columns] if columns else []
    return parts_of(call.api.turns, work, map(_line, chain(header, rows)))


def csv_lines(rows: Iterable[Sequence[str]]) -> bytes:
    """Return a few rows as CSV."""
    return b"".join(map(_line, rows))


def _line(row: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(row)
    return text.getvalue().encode()
