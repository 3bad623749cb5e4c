"""Fields of forms: a label each, and what is wrong where it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.page.figures import in_words
from app.page.html import Html, Node, el

Errors = Mapping[str, Sequence[str]]


def error_summary(errors: Errors) -> Node:
    """Return everything that is wrong, spoken at once; None: nothing is."""
    if not errors:
        return None
    listed = (el("li", f"{field}: {_words(codes)}") for field, codes in errors.items())
    words = el("p", "It cannot be saved so:")
    return el("div", words, el("ul", listed), role="alert", class_="bad")


def _words(codes: Sequence[str]) -> str:
    return ", ".join(map(in_words, codes))


def field_errors(name: str, errors: Errors) -> Node:
    """Return what is wrong with a field."""
    codes = errors.get(name)
    if not codes:
        return None
    return el("small", _words(codes), id=f"{name}-error", class_="bad")


def text_field(name: str, label: str, value: str, errors: Errors, *, locked: bool = False) -> Html:
    """Return a field of text."""
    wrong = name in errors
    field = el(
        "input",
        id=name,
        name=name,
        value=value,
        readonly=locked,
        autocomplete="off",
        aria_invalid="true" if wrong else None,
        aria_describedby=f"{name}-error" if wrong else None,
    )
    return el("p", el("label", label, for_=name), field, field_errors(name, errors), class_="field")


def check_field(name: str, label: str, checked: bool, *, locked: bool = False) -> Html:
    """Return a box to check."""
    field = el("input", type="checkbox", id=name, name=name, checked=checked, disabled=locked)
    return el("p", field, " ", el("label", label, for_=name), class_="field")


def choice_field(
    name: str, label: str, options: Sequence[str], chosen: str, *, locked: bool = False
) -> Html:
    """Return a list to choose from; the empty choice is none."""
    choices = (
        el("option", each or "none", value=each, selected=each == chosen) for each in options
    )
    field = el("select", choices, id=name, name=name, disabled=locked)
    return el("p", el("label", label, for_=name), field, class_="field")
