"""The form of a plan: its fields, and its charges with filters and groups.

Of a charge only what the form shows is sent; all else, prices among it, stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from app.billing_periods.grid import INTERVALS
from app.definitions.charges import CHARGE_MODELS
from app.definitions.model import Charge, ChargeFilter, listed_group_keys
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
from app.page.html import Html, button, el, markup

LARGEST: Final = 100
"""Charges that a form may have."""
_SPELLING: Final = frozenset("=|;\n\r")
"""What separates keys and values in the text of a filter."""


class FilledCharge(NamedTuple):
    """A charge as the form holds it."""

    id: str = ""
    """"": there is no such charge yet."""
    metric: str = ""
    """Code of its metric."""
    charge_model: str = "standard"
    groups: str = ""
    """Keys, by comma."""
    filters: str = ""
    """One a line: key=value|value; key=value."""
    prorated: bool = False
    pay_in_advance: bool = False
    removed: bool = False

    @classmethod
    def of_charge(cls, charge: Charge, metric: str) -> FilledCharge:
        """Return a charge that there is."""
        return cls(
            id=charge.id,
            metric=metric,
            charge_model=charge.charge_model,
            groups=_groups_text(charge),
            filters="\n".join(map(_filter_text, charge.filters)),
            prorated=charge.prorated,
            pay_in_advance=charge.pay_in_advance,
        )

    def body(self, old: Charge | None) -> dict[str, Any]:
        """Return the object that the API takes; `old`: the charge as it is."""
        properties = dict(old.properties) if old is not None else {}
        if old is None or self.groups != _groups_text(old):
            properties.pop("grouped_by", None)
            properties["pricing_group_keys"] = _listed(self.groups, ",")
        if self.charge_model == "standard":
            properties.setdefault("amount", "0")
        named = {} if old is None else {"id": old.id}
        return {
            **named,
            "billable_metric_code": self.metric,
            "charge_model": self.charge_model,
            "prorated": self.prorated,
            "pay_in_advance": self.pay_in_advance,
            "properties": properties,
            "filters": self._filters(old, properties),
        }

    def _filters(self, old: Charge | None, properties: Mapping[str, Any]) -> list[dict[str, Any]]:
        known = {} if old is None else {_filter_text(each): each for each in old.filters}
        if old is not None and not all(map(_is_spelled, old.filters)):
            return [_filter_body(each) for each in old.filters]
        bodies = []
        for line in map(str.strip, self.filters.splitlines()):
            if line in known:
                bodies.append(_filter_body(known[line]))
            elif line:
                # It groups as its charge does; a filter without keys of its own would not.
                bodies.append({"values": _values(line), "properties": dict(properties)})
        return bodies


def _groups_text(charge: Charge) -> str:
    return ", ".join(listed_group_keys(charge.properties))


def _filter_text(one: ChargeFilter) -> str:
    return "; ".join(f"{key}={'|'.join(values)}" for key, values in one.values.items())


def _is_spelled(one: ChargeFilter) -> bool:
    """Return whether its text says exactly what it is."""
    texts = [*one.values, *(text for values in one.values.values() for text in values)]
    return all(text == text.strip() and not _SPELLING & set(text) for text in texts)


def _filter_body(one: ChargeFilter) -> dict[str, Any]:
    return {
        "values": {key: list(values) for key, values in one.values.items()},
        "properties": dict(one.properties),
        "invoice_display_name": one.invoice_display_name,
    }


def _values(line: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in _listed(line, ";"):
        key, _, values = part.partition("=")
        found.setdefault(key.strip(), []).extend(_listed(values, "|"))
    return found


def _listed(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


class FilledPlan(NamedTuple):
    """What the form holds."""

    name: str = ""
    code: str = ""
    interval: str = "monthly"
    amount_currency: str = "EUR"
    charges: tuple[FilledCharge, ...] = (FilledCharge(),)

    @classmethod
    def of_form(cls, fields: Mapping[str, Sequence[str]]) -> FilledPlan:
        """Return what was sent."""

        def text(name: str) -> str:
            return fields.get(name, [""])[-1].strip()

        def charge(number: str) -> FilledCharge:
            return FilledCharge(
                id=text(f"id-{number}"),
                metric=text(f"metric-{number}"),
                charge_model=text(f"charge_model-{number}"),
                groups=text(f"groups-{number}"),
                filters=text(f"filters-{number}").replace("\r\n", "\n"),
                prorated=f"prorated-{number}" in fields,
                pay_in_advance=f"pay_in_advance-{number}" in fields,
                removed=f"removed-{number}" in fields,
            )

        return cls(
            name=text("name"),
            code=text("code"),
            interval=text("interval"),
            amount_currency=text("amount_currency"),
            charges=tuple(map(charge, fields.get("charge", [])[:LARGEST])),
        )

    def body(self, old: Mapping[str, Charge], *, is_new: bool) -> dict[str, Any]:
        """Return the object that the API takes; `old`: charges that there are, by id."""
        kept = [one for one in self.charges if not one.removed and (one.id or one.metric)]
        only_new = {"amount_cents": 0, "pay_in_advance": False} if is_new else {}
        return {
            **only_new,
            "name": self.name,
            "code": self.code,
            "interval": self.interval,
            "amount_currency": self.amount_currency,
            "charges": [one.body(old.get(one.id)) for one in kept],
        }


def plan_form_view(
    filled: FilledPlan, metrics: Sequence[str], organization: str | None, *, is_new: bool
) -> Html:
    """Return the fragment; `metrics`: codes to choose from."""
    title = "New plan" if is_new else f"Change plan {filled.code}"
    options = (el("option", value=code) for code in metrics)
    codes = el("datalist", options, id="metric-codes")
    fields = form(filled, organization, {}, is_new=is_new)
    return form_view("plan", title, fields, organization, codes)


def too_large(code: str, charges: int) -> Html:
    """Return how to change a plan that a form cannot hold."""
    return markup(
        el("h1", f"Change plan {code}"),
        el("p", f"It has {charges} charges, and a form holds {LARGEST}. Change it by file:"),
        el("p", el("code", "meter get plan CODE -o json > plan.json; meter apply -f plan.json")),
    )


def form(filled: FilledPlan, organization: str | None, errors: Errors, *, is_new: bool) -> Html:
    """Return the form alone, as it is shown again with errors or one charge more."""
    post = posting("plan", organization, is_new=is_new)
    add = button("Add a charge", "#plan", hx_post=post("charge"))
    return edit_form(
        post,
        errors,
        text_field("name", "Name", filled.name, errors),
        text_field("code", "Code", filled.code, errors, locked=not is_new),
        choice_field("interval", "Interval", INTERVALS, filled.interval),
        text_field(
            "amount_currency", "Currency (nothing is priced)", filled.amount_currency, errors
        ),
        (_charge(number, one) for number, one in enumerate(filled.charges)),
        field_errors("charges", errors),
        el("p", add),
    )


def _charge(number: int, one: FilledCharge) -> Html:
    def name(field: str) -> str:
        return f"{field}-{number}"

    metric = el(
        "input",
        id=name("metric"),
        name=name("metric"),
        value=one.metric,
        list="metric-codes",
        readonly=bool(one.id),
        autocomplete="off",
    )
    filters = el(
        "textarea",
        one.filters,
        id=name("filters"),
        name=name("filters"),
        spellcheck="false",
    )
    title = f"Charge {number + 1}{f' on {one.metric}' if one.metric else ''}"
    return el(
        "fieldset",
        el("legend", title),
        el("input", type="hidden", name="charge", value=str(number)),
        el("input", type="hidden", name=name("id"), value=one.id),
        el("p", el("label", "Metric, by its code", for_=name("metric")), metric, class_="field"),
        choice_field(name("charge_model"), "Model", CHARGE_MODELS, one.charge_model),
        text_field(name("groups"), "Properties to group by, with commas between", one.groups, {}),
        el(
            "p",
            el("label", "Filters, one a line, as region=eu|us; tier=1", for_=name("filters")),
            filters,
            class_="field",
        ),
        check_field(name("prorated"), "Prorated", one.prorated),
        check_field(name("pay_in_advance"), "Paid in advance, event by event", one.pay_in_advance),
        check_field(name("removed"), "Remove this charge", one.removed),
        class_="field",
    )
