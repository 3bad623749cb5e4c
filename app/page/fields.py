"""Fields of forms: a label each, and what is wrong where it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

from app.page.figures import address, in_words, link_to
from app.page.html import Html, Node, el, markup

Errors = Mapping[str, Sequence[str]]

Kind = Literal["metric", "plan"]
"""What is edited."""


def form_view(kind: Kind, title: str, form: Html, organization: str | None, *before: Node) -> Html:
    """Return the fragment around a form, and the place for what it would change."""
    return markup(
        el("h1", title),
        el("p", link_to("All metrics and plans", "definitions", organization=organization)),
        *before,
        el("div", form, id=kind),
        el("div", id="preview", role="status"),
    )


def edit_form(post: Callable[[str], str], errors: Errors, *fields: Node) -> Html:
    """Return a form whose change is looked at before it is saved."""
    return el(
        "form",
        error_summary(errors),
        *fields,
        el("p", el("button", "Preview the change", type="submit")),
        hx_post=post("preview"),
        hx_target="#preview",
        hx_swap="innerHTML",
        data_once=True,
        novalidate=True,
    )


def posting(kind: Kind, organization: str | None, *, is_new: bool) -> partial[str]:
    """Return what says where the parts of a form are sent to, by their names."""
    new = "yes" if is_new else None
    return partial(address, "page", kind, organization=organization, new=new)


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
