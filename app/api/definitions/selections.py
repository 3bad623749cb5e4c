"""What a query selects of customers and subscriptions, by Lago's names (metering-semantics §7)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from app.api.definitions.definitions_json import currency_of
from app.api.definitions.organizations import ENTITY_CODE
from app.api.http.errors import invalid, not_found
from app.api.http.query import Query
from app.definitions.contacts import CUSTOMER_TYPES, country_codes
from app.definitions.currencies import CURRENCIES
from app.definitions.fields import is_blank
from app.definitions.model import Customer, Plan
from app.definitions.state import Definitions

_SEARCHED = ("name", "firstname", "lastname", "legal_name", "email")
_PLACES = {"states": "state", "zipcodes": "zipcode"}
BOOLEANS = ("true", "false")
_ACCOUNT_TYPES = ("customer", "partner")

CustomerTest = Callable[[Customer], bool]
PlanTest = Callable[[Plan | None], bool]


def check_billing_entities(query: Query) -> None:
    """Raise 404 for a billing entity that is not there; all is of the one that is."""
    if set(query.texts("billing_entity_codes", bare=False)) - {ENTITY_CODE}:
        raise not_found("billing_entity")


def check_billing_entity(body: Mapping[str, Any]) -> None:
    """Raise 404 for a body that is for another billing entity."""
    code = body.get("billing_entity_code")
    if not is_blank(code) and code != ENTITY_CODE:
        raise not_found("billing_entity")


def customer_tests(definitions: Definitions, query: Query) -> list[CustomerTest]:
    """Return what a listed customer has to pass. Raises 422."""
    errors: dict[str, Any] = {}
    tests: list[CustomerTest] = []
    for name, field in _PLACES.items():
        tests += _one_of(field, query.texts(name))
    tests += _one_of("country", _known(query, "countries", country_codes(), errors))
    currencies = _known(query, "currencies", sorted(CURRENCIES), errors)
    if currencies:
        tests.append(lambda customer: currency_of(definitions, customer) in currencies)
    accounts = _known(query, "account_type", _ACCOUNT_TYPES, errors)
    if accounts and "customer" not in accounts:
        tests.append(lambda customer: False)
    tests += _typed(query, errors)
    taxed = _flag(query, "has_tax_identification_number", errors)
    if taxed is not None:
        tests.append(lambda c: bool(_attribute(c, "tax_identification_number")) == taxed)
    tests += _described(query, errors)
    if errors:
        raise invalid(errors)
    term = (query.text("search_term") or "").strip().casefold()
    # As in Lago, who is named by the id is not searched for.
    if term and query.text("external_id") is None:
        tests.append(lambda customer: any(term in text.casefold() for text in _texts(customer)))
    return tests


def plan_tests(query: Query) -> list[PlanTest]:
    """Return what the plan of a listed subscription has to pass."""
    tests: list[PlanTest] = []
    code, currency = query.text("plan_code"), query.text("currency")
    if code is not None:
        tests.append(lambda plan: plan is not None and plan.code == code)
    if currency is not None:
        tests.append(lambda plan: plan is not None and plan.amount_currency == currency)
    # The first spelling is Lago's older one.
    name = "overridden" if query.text("overridden") is not None else "overriden"
    if query.text(name) is not None:
        overridden = query.flag(name, default=True)
        tests.append(lambda plan: plan is not None and (plan.parent_id is not None) == overridden)
    return tests


def passes(definitions: Definitions, plan_id: str, tests: list[PlanTest]) -> bool:
    """Return whether the plan of an id passes all tests."""
    plan = definitions.plan_by_id(plan_id)
    return all(test(plan) for test in tests)


def _attribute(customer: Customer, name: str) -> Any:
    return customer.attributes.get(name)


def _texts(customer: Customer) -> list[str]:
    return [customer.external_id, *(_attribute(customer, name) or "" for name in _SEARCHED)]


def _one_of(field: str, wanted: Collection[str]) -> list[CustomerTest]:
    return [lambda customer: _attribute(customer, field) in wanted] if wanted else []


def _typed(query: Query, errors: dict[str, Any]) -> list[CustomerTest]:
    kind, typed = query.text("customer_type"), _flag(query, "has_customer_type", errors)
    if kind is not None and kind not in CUSTOMER_TYPES:
        errors["customer_type"] = [must_be(CUSTOMER_TYPES)]
    elif kind is not None and typed is False:
        errors["customer_type"] = ["must be nil when has_customer_type is false"]
    elif kind is not None:
        return _one_of("customer_type", (kind,))
    if typed is None:
        return []
    return [lambda customer: bool(_attribute(customer, "customer_type")) == typed]


def _described(query: Query, errors: dict[str, Any]) -> list[CustomerTest]:
    """Return the test of metadata: a key has the value, or is missing where the value is blank."""
    wanted = query.members("metadata")
    nested = sorted({key.partition("]")[0] for key in wanted if "]" in key})
    if nested:
        errors["metadata"] = {key: ["must be a string"] for key in nested}
    if nested or not wanted:
        return []
    blank = {key for key, value in wanted.items() if not value.strip()}
    given = {(key, value) for key, value in wanted.items() if key not in blank}

    def fits(customer: Customer) -> bool:
        pairs = {(each["key"], each["value"]) for each in _attribute(customer, "metadata") or ()}
        return given <= pairs and blank.isdisjoint(key for key, _ in pairs)

    return [fits]


def _flag(query: Query, name: str, errors: dict[str, Any]) -> bool | None:
    word = (query.text(name) or "").lower()
    if word and word not in BOOLEANS:
        errors[name] = [must_be(BOOLEANS)]
    return word == "true" if word in BOOLEANS else None


def _known(query: Query, name: str, known: Collection[str], errors: dict[str, Any]) -> list[str]:
    texts = query.texts(name)
    wrong = {str(i): [must_be(known)] for i, text in enumerate(texts) if text not in known}
    if wrong:
        errors[name] = wrong
    return texts


def must_be(known: Collection[str]) -> str:
    """Return Lago's code of a text that is none of a few."""
    return f"must be one of: {', '.join(known)}"
