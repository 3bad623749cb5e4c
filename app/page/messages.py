"""What a view says when it has nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.page.figures import address, in_words
from app.page.html import Html, Node, el, markup

_WORDS: Final = {
    "subscription_not_found": "There is no subscription of this name.",
    "customer_not_found": "There is no customer of this name.",
    "event_not_found": "No event of this id has come.",
    "usage_period_not_found": "The subscription has no such period.",
    "billable_metric_not_found": "There is no metric of this code.",
    "plan_not_found": "There is no plan of this code.",
    "dead_letter_not_found": "There is no such dead letter, or it names another organization.",
    "validation_errors": "What is asked for is not understood.",
    "beyond_retention": "Kafka keeps the events no longer.",
}


def refusal(status: int, body: Mapping[str, Any]) -> Html:
    """Return why there is nothing to see, and a way back."""
    code = str(body.get("code", body.get("error", "")))
    words = _WORDS.get(code, f"{in_words(code)}.")
    return markup(
        el("h1", "Nothing to show"),
        el("p", words, class_="empty", data_status="bad", data_code=status),
        details(body),
        el("p", el("a", "Back to the overview", href="/")),
    )


def details(body: Mapping[str, Any]) -> Node:
    """Return what is wrong with which field; None: that is not told."""
    told = body.get("error_details")
    if not isinstance(told, Mapping):
        return None
    return el("ul", (el("li", f"{field}: {_joined(codes)}") for field, codes in told.items()))


def _joined(codes: object) -> str:
    listed = codes if isinstance(codes, list) else [codes]
    return ", ".join(in_words(str(each)) for each in listed)


def choose_organization(known: Sequence[str], path: str) -> Html:
    """Return the organizations that an operator may look at."""
    links = (
        el("li", el("a", each, href=f"{path}{address(organization=each)[1:]}")) for each in known
    )
    return markup(
        el("h1", "Choose an organization"),
        el("ul", links) if known else el("p", "There is none yet.", class_="empty"),
    )
