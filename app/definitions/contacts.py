"""How somebody is reached: only shown, yet refused at the door where Lago refuses it.

What lies in the log already stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from app.definitions.fields import INVALID, MANDATORY, Fields, is_blank

CUSTOMER_TYPES: Final = ("company", "individual")
_LOCALES: Final = ("en", "fr", "nb", "de", "it", "es", "sv", "pt-BR", "zh-TW")
_ZERO_AMOUNT_INVOICES: Final = ("inherit", "skip", "finalize")

_DASHES: Final = re.compile("[\u2012-\u2015\u2043\u2212]")
_INVISIBLE: Final = re.compile("[\u00a0\u200b-\u200f\ufeff]")
_WORD: Final = re.compile(r"[\w\u0300-\u036f!#$%&'*+/=?^`{|}~-]+")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII | re.IGNORECASE)

Body = Mapping[str, Any]


@lru_cache
def country_codes() -> tuple[str, ...]:
    """Return the codes of ISO 3166, and the one that Kosovo uses."""
    lines = (files("tzdata") / "zoneinfo" / "iso3166.tab").read_text("utf-8").splitlines()
    return (*(line[:2] for line in lines if line[2:3] == "\t"), "XK")


def tidied(body: Body) -> dict[str, Any]:
    """Return what of a body is written otherwise than it came: an email, codes of countries."""
    found: dict[str, Any] = {}
    email, country, address = (body.get(n) for n in ("email", "country", "shipping_address"))
    if isinstance(email, str):
        found["email"] = _INVISIBLE.sub("", _DASHES.sub("-", email)).strip()
    if isinstance(country, str):
        found["country"] = country.upper()
    if isinstance(address, Mapping) and isinstance(address.get("country"), str):
        found["shipping_address"] = {**address, "country": address["country"].upper()}
    return found


def note_contacts(fields: Fields, body: Body) -> None:
    """Note what Lago would refuse of a customer or an organization; blank texts are none."""
    email, address = body.get("email"), body.get("shipping_address")
    if isinstance(email, str) and email and not all(map(_is_email, email.split(","))):
        fields.fail("email", "invalid_email_format")
    _country(fields, "country", body.get("country"))
    if isinstance(address, Mapping):
        _country(fields, "shipping_country", address.get("country"))
    if body.get("customer_type") not in (None, "", *CUSTOMER_TYPES):
        fields.fail("customer_type", INVALID)
    _metadata(fields, body.get("metadata"))
    billing = body.get("billing_configuration")
    locale = billing.get("document_locale") if isinstance(billing, Mapping) else None
    if locale is not None and locale not in _LOCALES:
        fields.fail("document_locale", "language_code_invalid")
    if body.get("finalize_zero_amount_invoice") not in (None, *_ZERO_AMOUNT_INVOICES):
        fields.fail("finalize_zero_amount_invoice", "invalid_value")


def _metadata(fields: Fields, entries: object) -> None:
    """Note an entry without a value, unless it is named by an id: that one keeps what it has."""
    for entry in entries if isinstance(entries, list) else ():
        keeps = isinstance(entry, Mapping) and "value" not in entry and entry.get("id") is not None
        if isinstance(entry, Mapping) and not keeps and is_blank(entry.get("value")):
            fields.fail("value", MANDATORY)


def _country(fields: Fields, field: str, code: object) -> None:
    if isinstance(code, str) and code and code not in country_codes():
        fields.fail(field, "not_a_valid_country_code")


def _is_email(text: str) -> bool:
    local, _, domain = text.strip().rpartition("@")
    quoted = len(local) > 1 and local[0] == local[-1] == '"'
    literal = len(domain) > 1 and domain[0] == "[" and domain[-1] == "]"
    labels = domain.split(".")
    return (quoted or all(map(_WORD.fullmatch, local.split(".")))) and (
        literal or (len(labels) > 1 and all(map(_LABEL.fullmatch, labels)))
    )
