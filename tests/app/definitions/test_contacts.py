"""How a customer is reached: as Lago writes and refuses it, at the door alone."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions import commands
from app.definitions.sizes import oversized
from tests.world.definitions_log import ORG, Log


def refused(**body: Any) -> object:
    found = oversized(commands.upsert_customer(ORG, {"external_id": "c", **body}))
    return None if found is None else found.details


def written(**body: Any) -> Any:
    return commands.upsert_customer(ORG, {"external_id": "c", **body}).payload["customer"]


@pytest.mark.parametrize(
    "email",
    [
        None,
        "",
        "ann@example.com",
        "Ann.O'Neil+lago@mail.example.co",
        "jo\u00e3o.silva@example.com",
        "a@b.c, d@e.f",
        '"ann lee"@example.com',
        "ann@[192.0.2.1]",
    ],
)
def test_what_is_an_email(email: str | None) -> None:
    assert refused(email=email) is None


@pytest.mark.parametrize(
    "email",
    ["ann", "ann@", "@example.com", "ann@example", "a..b@c.d", "a@b.c,", "a b@c.d", "a@-b.c"],
)
def test_what_is_no_email(email: str) -> None:
    assert refused(email=email) == {"email": ["invalid_email_format"]}


def test_what_cannot_be_seen_in_an_email_is_left_out() -> None:
    hidden = "\u200b\u200c\u200d\u00a0\u200e\u200f\ufeff"
    assert written(email=f" ann{hidden}\u2013lee@example.com ")["email"] == "ann-lee@example.com"


def test_countries_are_written_in_capitals() -> None:
    body = written(country="fr", shipping_address={"country": "de", "city": "Ulm"})
    assert (body["country"], body["shipping_address"]) == ("FR", {"country": "DE", "city": "Ulm"})


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({"country": "xx"}, {"country": ["not_a_valid_country_code"]}),
        (
            {"shipping_address": {"country": "XX"}},
            {"shipping_country": ["not_a_valid_country_code"]},
        ),
        ({"customer_type": "person"}, {"customer_type": ["value_is_invalid"]}),
        (
            {"finalize_zero_amount_invoice": "never"},
            {"finalize_zero_amount_invoice": ["invalid_value"]},
        ),
        ({"metadata": [{"key": "k", "value": " "}]}, {"value": ["value_is_mandatory"]}),
        ({"metadata": [{"key": "k"}]}, {"value": ["value_is_mandatory"]}),
        ({"metadata": [{"id": "i", "key": "k", "value": None}]}, {"value": ["value_is_mandatory"]}),
        (
            {"billing_configuration": {"document_locale": "zz-nope"}},
            {"document_locale": ["language_code_invalid"]},
        ),
        (
            {"billing_configuration": {"document_locale": ["en"]}},
            {"document_locale": ["language_code_invalid"]},
        ),
        (
            {"email": "ann", "timezone": "Mars/Base"},
            {"email": ["invalid_email_format"], "timezone": ["invalid_timezone"]},
        ),
    ],
)
def test_what_else_is_refused(body: dict[str, Any], details: dict[str, list[str]]) -> None:
    assert refused(**body) == details


def test_an_entry_of_metadata_named_by_its_id_keeps_its_value() -> None:
    locale = {"document_locale": "pt-BR"}
    assert refused(metadata=[{"id": "i", "key": "k"}], billing_configuration=locale) is None


def test_what_lies_in_the_log_already_stays() -> None:
    assert Log().customer(email="ann", country="XX").attributes["email"] == "ann"


def test_an_organization_is_held_to_the_same() -> None:
    found = oversized(commands.update_organization(ORG, {"email": "ann", "country": "fr"}))
    assert found is not None
    assert found.details == {"email": ["invalid_email_format"]}
