"""The form of a billable metric: its fields, and an example to try it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from app.definitions.aggregation_types import AGGREGATION_TYPES, PLACEHOLDER, TypeRules
from app.page.fields import (
    Errors,
    check_field,
    choice_field,
    edit_form,
    field_errors,
    form_view,
    posting,
    text_field,
)
from app.page.html import Html, Node, button, el

LOCKED: Final = "A plan uses it: only name, description and filters can change."
_EXAMPLE: Final = '{"code": "%s", "properties": {"%s": 1}}'


class Filled(NamedTuple):
    """What the form holds."""

    name: str = ""
    code: str = ""
    description: str = ""
    aggregation_type: str = PLACEHOLDER
    field_name: str = ""
    recurring: bool = False
    rounding_function: str = ""
    rounding_precision: str = ""
    expression: str = ""
    filters: tuple[tuple[str, str], ...] = ()
    """(key, its values, one a line)"""

    @classmethod
    def of_form(cls, fields: Mapping[str, Sequence[str]]) -> Filled:
        """Return what was sent."""
        texts = {
            name: fields[name][-1].strip()
            for name in cls._fields
            if name in fields and name not in ("filters", "recurring")
        }
        keys, values = fields.get("filter_key", ()), fields.get("filter_values", ())
        filters = tuple(zip(keys, values, strict=False))
        return cls(**texts, recurring="recurring" in fields, filters=filters)

    def body(self, *, locked: bool) -> dict[str, Any]:
        """Return the object that the API takes."""
        filters = [
            {"key": key.strip(), "values": [v.strip() for v in values.splitlines() if v.strip()]}
            for key, values in self.filters
            if key.strip() or values.strip()
        ]
        always = {"name": self.name, "description": self.description or None, "filters": filters}
        if locked:
            return {"code": self.code, **always}
        over_time = AGGREGATION_TYPES.get(self.aggregation_type)
        precision = self.rounding_precision
        return {
            **always,
            "code": self.code,
            "aggregation_type": self.aggregation_type,
            "field_name": self.field_name or None,
            "recurring": self.recurring,
            "weighted_interval": "seconds" if over_time and over_time.over_time else None,
            "rounding_function": self.rounding_function or None,
            "rounding_precision": int(precision) if precision.lstrip("-").isdecimal() else None,
            "expression": self.expression or None,
        }


def metric_view(
    filled: Filled,
    organization: str | None,
    *,
    is_new: bool,
    locked: bool = False,
    used: Node = None,
) -> Html:
    """Return the fragment."""
    title = "New billable metric" if is_new else f"Billable metric {filled.code}"
    fields = form(filled, organization, is_new, locked, {})
    return form_view("metric", title, fields, organization, used)


def form(
    filled: Filled, organization: str | None, is_new: bool, locked: bool, errors: Errors
) -> Html:
    """Return the form alone, as it is shown again with errors or one filter more."""
    post = posting("metric", organization, is_new=is_new)
    return edit_form(
        post,
        errors,
        text_field("name", "Name", filled.name, errors),
        text_field("code", "Code", filled.code, errors, locked=locked or not is_new),
        text_field("description", "Description (optional)", filled.description, errors),
        el("p", LOCKED, class_="quiet") if locked else None,
        _types(filled, locked),
        text_field(
            "field_name", "Property to aggregate on", filled.field_name, errors, locked=locked
        ),
        check_field(
            "recurring", "Recurring: carried from period to period", filled.recurring, locked=locked
        ),
        choice_field(
            "rounding_function",
            "Rounding",
            ("", "round", "ceil", "floor"),
            filled.rounding_function,
            locked=locked,
        ),
        text_field(
            "rounding_precision",
            "Decimals to round to",
            filled.rounding_precision,
            errors,
            locked=locked,
        ),
        _expression(filled, errors, locked, post),
        _filters(filled, post("filter")),
    )


def _types(filled: Filled, locked: bool) -> Html:
    def choice(name: str, rules: TypeRules) -> Html:
        field = el(
            "input",
            type="radio",
            id=f"type-{name}",
            name="aggregation_type",
            value=name,
            checked=name == filled.aggregation_type,
            disabled=locked,
        )
        words = el("small", f" {rules.words}")
        return el("p", field, " ", el("label", name, words, for_=f"type-{name}"))

    legend = el("legend", "Aggregation type")
    choices = (choice(*each) for each in AGGREGATION_TYPES.items())
    return el("fieldset", legend, choices, class_="field")


def _expression(filled: Filled, errors: Errors, locked: bool, post: Callable[[str], str]) -> Html:
    source = post("try")
    example = _EXAMPLE % (filled.code or "code", filled.field_name or "value")
    field = el(
        "textarea",
        filled.expression,
        id="expression",
        name="expression",
        readonly=locked,
        spellcheck="false",
        hx_post=source,
        hx_trigger="input changed delay:300ms",
        hx_target="#tried",
        hx_swap="innerHTML",
        hx_sync="replace",
    )
    return el(
        "fieldset",
        el("legend", "Expression (optional)"),
        el(
            "p",
            el("label", "Value of an event, as event.properties.gb * 2", for_="expression"),
            field,
        ),
        field_errors("expression", errors),
        example_field(example, source),
        el(
            "div",
            button("Choose one that has come", "#examples", hx_post=post("examples")),
            id="examples",
        ),
        el("p", "Type an expression to try it on the example.", id="tried", role="status"),
        class_="field",
    )


def example_field(text: str, source: str, *, at_once: bool = False) -> Html:
    """Return the example event that an expression is tried on; `at_once`: without typing."""
    typed = "input changed delay:300ms"
    return el(
        "p",
        el("label", "Example event", for_="example"),
        el(
            "textarea",
            text,
            id="example",
            name="example",
            spellcheck="false",
            hx_post=source,
            hx_trigger=f"load, {typed}" if at_once else typed,
            hx_target="#tried",
            hx_swap="innerHTML",
        ),
        id="example-place",
    )


def examples_part(texts: Sequence[str], source: str) -> Html:
    """Return a choice of events that have come."""
    if not texts:
        return el("p", "No event of this code is at home on this worker.")
    options = (el("option", text, value=text) for text in texts)
    choice = el(
        "select",
        el("option", "choose one", value=""),
        options,
        id="chosen",
        name="chosen",
        hx_post=source,
        hx_trigger="change",
        hx_target="#example-place",
        hx_swap="outerHTML",
    )
    return el("p", el("label", "Newest events of this code", for_="chosen"), choice)


def _filters(filled: Filled, source: str) -> Html:
    rows = (_filter(number, *each) for number, each in enumerate(filled.filters, 1))
    add = button("Add a filter", "#metric", hx_post=source)
    return el("fieldset", el("legend", "Filters"), rows, el("p", add), id="filters", class_="field")


def _filter(number: int, key: str, values: str) -> Html:
    key_id, values_id = f"filter-{number}", f"filter-values-{number}"
    return el(
        "p",
        el("label", f"Key of filter {number}", for_=key_id),
        el("input", id=key_id, name="filter_key", value=key, autocomplete="off"),
        el("label", "Values, one a line", for_=values_id),
        el("textarea", values, id=values_id, name="filter_values"),
    )
