"""An event cancelled or amended: the question, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from app.billing_periods.instants import parse_iso8601_ms
from app.page.figures import address, in_words, instant
from app.page.html import Html, Node, el, markup
from app.page.messages import details

Json = dict[str, Any]

_FOLLOWS: Final = "Figures follow at once, published periods by a revision."

_AMENDED: Final = ("code", "timestamp", "precise_total_amount_cents", "properties")

_AMENDED_CHARACTERS: Final = 65_536


def correction_forms(arrival: Json, event: Json | None, organization: str | None) -> Html:
    """Return the forms that correct an event; nothing is sent before a question is answered."""
    name = arrival["transaction_id"]
    cancel = _form(
        arrival,
        "cancel",
        organization,
        f"Cancel {name}? It is taken out of all that it counted in. {_FOLLOWS}",
        el("button", "Cancel this event"),
    )
    if event is None:
        return _section(cancel)
    amended = {key: event[key] for key in _AMENDED if event.get(key) is not None}
    amended["timestamp"] = _seconds(event["timestamp"])
    text = msgspec.json.format(msgspec.json.encode(amended), indent=2).decode()
    if len(text) > _AMENDED_CHARACTERS:
        command = el("code", f"meter events amend {arrival['external_subscription_id']} {name}")
        return _section(cancel, el("p", "It is too large to be amended here: ", command))
    amend = _form(
        arrival,
        "amend",
        organization,
        f"Put this in the place of {name}? {_FOLLOWS}",
        el("p", el("label", "Code, timestamp and properties, as JSON", for_="amended")),
        el("textarea", text, id="amended", name="event", spellcheck="false"),
        el("p", el("button", "Amend it")),
    )
    return _section(cancel, el("details", el("summary", "Amend this event"), amend, id="amend"))


def _seconds(timestamp: str) -> str:
    """Return a time as an event is sent with it."""
    at_ms = parse_iso8601_ms(timestamp) or 0
    return f"{at_ms // 1000}.{at_ms % 1000:03d}"


def _section(*nodes: Node) -> Html:
    return el(
        "section",
        el("h2", "Correct it"),
        *nodes,
        el("div", id="corrected", role="status", hx_morph_skip_children=True),
    )


def _form(
    arrival: Json, operation: str, organization: str | None, question: str, *nodes: Node
) -> Html:
    fields = {
        "operation": operation,
        "subscription": arrival["external_subscription_id"],
        "transaction_id": arrival["transaction_id"],
    }
    return el(
        "form",
        (el("input", type="hidden", name=name, value=value) for name, value in fields.items()),
        *nodes,
        hx_post=address("page", "events", "correct", organization=organization),
        hx_target="#corrected",
        hx_swap="innerHTML",
        hx_confirm=question,
    )


def refused_part(body: Mapping[str, Any]) -> Html:
    """Return why a correction was not sent."""
    return markup(el("p", "Nothing was sent.", class_="bad"), details(body))


def corrected_part(operation: str, arrival: Json | None, again: str) -> Html:
    """Return what came of a correction; None: it is in the log, and that is all that is known."""
    look = el("a", "Look at the event again", href=again)
    if arrival is None:
        late = "The correction is in the log. What came of it is not known yet; it may be refused. "
        return el("p", late, look)
    told = "cancelled" if operation == "cancel" else f"amended: {arrival['status']}"
    reason = arrival["reason"] if operation == "amend" else None
    cuts = {charge["counts_from_cut"] for charge in arrival["charges"]} - {None}
    follows = ("; published periods follow at the cut of ", instant(min(cuts))) if cuts else None
    because = f" ({in_words(reason)})" if reason else None
    return el("p", markup(f"The event is {told}", because, follows, ". ", look))
