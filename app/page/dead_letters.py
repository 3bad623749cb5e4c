"""Dead letters: grouped by code, and one whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from app.meter.overview import DeadLetter, DeadLetterView
from app.page.causes import DEAD_LETTERS
from app.page.figures import NOTHING, address, bounded, link_to, time, whole
from app.page.html import Html, Node, button, el, markup
from app.page.replays import ANEW
from app.page.tables import Column, Row, facts, table

_HEX_BYTES: Final = 4_096
_SHOWN_BYTES: Final = 65_536


def letters_view(
    letters: Sequence[DeadLetterView],
    code: str | None,
    organization: str | None,
    older: str | None,
    *,
    of_topic: bool = False,
    begun: Html | None = None,
) -> Html:
    """Return the fragment: letters by code, and a list to mark some in.

    `of_topic`: a page of all that the topic has, and `older` is where the next one begins.
    `begun`: a replay that stopped, and can go on.
    """
    shown = [letter for letter in letters if code in (None, letter.code)]
    every = link_to("Show every code", "dead-letters", organization=organization)
    newest = el("a", "The newest", href=_list_address(code, organization))
    words = "Older ones" if of_topic else "All that the topic keeps, page by page"
    further = el("a", words, href=_list_address(code, organization, older)) if older else None
    return markup(
        el("h1", "Dead letters"),
        el(
            "p",
            "Events that were refused. ",
            "This is a page of what the topic keeps."
            if of_topic
            else "These are the newest that this worker has read; the topic keeps all of them.",
        ),
        el("p", newest if of_topic else None, " ", further, id="pages", data_once=of_topic),
        _groups(letters, organization),
        el("p", f"Only {code}. ", every) if code else None,
        el("div", begun, id="outcomes", role="status", hx_morph_skip_children=True),
        _list(shown, organization),
    )


def _list_address(code: str | None, organization: str | None, before: str | None = None) -> str:
    return address("dead-letters", code=code, before=before, organization=organization)


def _groups(letters: Sequence[DeadLetterView], organization: str | None) -> Html:
    by_code: dict[str, list[DeadLetterView]] = {}
    for letter in letters:
        by_code.setdefault(letter.code, []).append(letter)
    columns = (
        Column("Code", "short"),
        Column("Letters", "number"),
        Column("First"),
        Column("Last"),
        Column("Why"),
        Column("What to do"),
        Column("Replay"),
    )
    rows = (Row(code, _group(code, found, organization)) for code, found in sorted(by_code.items()))
    return table("codes", "By code", columns, rows, "No event was refused.")


def _group(
    code: str, found: Sequence[DeadLetterView], organization: str | None
) -> tuple[Node, ...]:
    told = DEAD_LETTERS.get(code)
    return (
        link_to(code, "dead-letters", code=code, organization=organization),
        whole(len(found)),
        time(min(letter.failed_at_ms for letter in found)),
        time(max(letter.failed_at_ms for letter in found)),
        NOTHING if told is None else told.cause,
        NOTHING if told is None else told.cure,
        button(
            "Replay all",
            "#outcomes",
            aria_label=f"Replay all refused as {code}",
            hx_get=address("page", "dead-letters", "replay", code=code, organization=organization),
        ),
    )


def _list(letters: Sequence[DeadLetterView], organization: str | None) -> Html:
    columns = (
        Column("Mark", "short"),
        Column("Letter", "short"),
        Column("Refused because"),
        Column("Code", "short"),
        Column("Failed"),
        Column("Event", "id"),
    )
    rows = (_letter(letter, organization) for letter in letters)
    marked = el("button", "Replay those marked") if letters else None
    return el(
        "form",
        table("letters", "Letters, newest first", columns, rows, "None."),
        marked,
        hx_post=address("page", "dead-letters", "replay", organization=organization),
        hx_target="#outcomes",
        hx_swap="innerHTML",
        hx_confirm=f"Replay the events that are marked? {ANEW}",
        id="marking",
    )


def _letter(letter: DeadLetterView, organization: str | None) -> Row:
    place = f"{letter.partition}/{letter.offset}"
    mark = el("input", type="checkbox", name="place", value=place, aria_label=f"Mark {place}")
    return Row(
        place,
        (
            mark,
            link_to(place, "dead-letters", *place.split("/"), organization=organization),
            bounded(letter.message),
            letter.code,
            time(letter.failed_at_ms),
            letter.value[:200],
        ),
    )


# One letter


def letter_view(letter: DeadLetter, organization: str | None) -> Html:
    """Return the fragment of one letter, with all its bytes."""
    view = letter.view
    place = f"{view.partition}/{view.offset}"
    told = DEAD_LETTERS.get(view.code)
    rows = (
        Row(f"{number} {name}", (name, _text(value)))
        for number, (name, value) in enumerate(letter.headers)
    )
    return markup(
        el("h1", "Dead letter ", el("span", place, class_="id")),
        el("p", f"Refused because {bounded(view.message)}", id="because"),
        el("p", f"{told.cause} {told.cure}") if told is not None else None,
        facts(
            (
                ("Code", view.code),
                ("Failed", time(view.failed_at_ms)),
                ("Raw position", el("span", view.source, class_="id")),
                (
                    "Key",
                    NOTHING if letter.key is None else el("span", _text(letter.key), class_="id"),
                ),
                ("Size", f"{whole(len(letter.value))} bytes"),
            )
        ),
        _value(letter.value),
        table("headers", "Headers", (Column("Name", "id"), Column("Text", "id")), rows, "None."),
        el("div", id="outcomes", role="status", hx_morph_skip_children=True),
        el(
            "form",
            el("input", type="hidden", name="place", value=place),
            el("button", "Replay it"),
            hx_post=address("page", "dead-letters", "replay", organization=organization),
            hx_target="#outcomes",
            hx_swap="innerHTML",
            hx_confirm=f"Replay {place}? {ANEW}",
        ),
        el("p", link_to("All dead letters", "dead-letters", organization=organization)),
    )


def _text(value: bytes) -> str:
    try:
        return bounded(value.decode(), _HEX_BYTES)
    except UnicodeDecodeError:
        return bounded(value[:_HEX_BYTES].hex(" "), _HEX_BYTES)


def _value(value: bytes) -> Html:
    """Return bytes as JSON if they are it, else as text, else as hex."""
    if not value:
        return el("p", "It has no bytes.", class_="empty")
    try:
        shown, kind = msgspec.json.format(value, indent=2).decode(), "JSON"
        msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _hex(value)
    cut = f", first {whole(_SHOWN_BYTES)} characters" if len(shown) > _SHOWN_BYTES else ""
    return markup(el("h2", f"Value as {kind}{cut}"), el("pre", shown[:_SHOWN_BYTES], tabindex=0))


def _hex(value: bytes) -> Html:
    lines = (
        f"{start:08x}  {part.hex(' '):<47}  {''.join(map(_printable, part))}"
        for start in range(0, min(len(value), _HEX_BYTES), 16)
        for part in [value[start : start + 16]]
    )
    cut = f", first {whole(_HEX_BYTES)} bytes" if len(value) > _HEX_BYTES else ""
    return markup(
        el("h2", f"Value in hex: it is no JSON{cut}"),
        el("pre", "\n".join(lines), id="hex", tabindex=0),
    )


def _printable(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 else "."
