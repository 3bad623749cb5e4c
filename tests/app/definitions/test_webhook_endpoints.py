"""Webhook endpoints as definitions of an organization."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions import commands
from app.definitions.model import WebhookEndpoint
from app.definitions.outcome import Rejected
from app.definitions.sizes import oversized
from tests.world.definitions_log import ORG, Log

URL = "https://hooks.example/a"
OTHER = "00000000-0000-4000-8000-00000000000f"


def made(log: Log, **changes: Any) -> WebhookEndpoint:
    created = log.accept(commands.create_webhook_endpoint(ORG, {"webhook_url": URL, **changes}))
    assert isinstance(created, WebhookEndpoint)
    return created


def ids(log: Log, organization_id: str = ORG) -> list[str]:
    return list(log.definitions.webhook_endpoints.of(organization_id))


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({}, {"webhook_url": ["value_is_mandatory", "url_invalid"]}),
        ({"webhook_url": " "}, {"webhook_url": ["value_is_mandatory", "url_invalid"]}),
        *(
            ({"webhook_url": url}, {"webhook_url": ["url_invalid"]})
            for url in (
                "hooks.example",
                "ftp://hooks.example",
                "file:///etc/passwd",
                "http://",
                "http://a b",
                "http://a\nb",
                "http://a:0",
                "http://a:99999",
                "http://[::1",
                5,
                ["http://a"],
            )
        ),
        ({"webhook_url": URL, "signature_algo": "md5"}, {"signature_algo": ["value_is_invalid"]}),
        ({"webhook_url": URL, "event_types": "plan.created"}, {"event_types": ["must_be_array"]}),
        ({"webhook_url": URL, "event_types": ["plan.eaten"]}, {"event_types": ["invalid_types"]}),
        ({"webhook_url": URL, "event_types": [5]}, {"event_types": ["invalid_types"]}),
        (
            {"webhook_url": "x", "signature_algo": 1, "event_types": {}},
            {
                "webhook_url": ["url_invalid"],
                "signature_algo": ["value_is_invalid"],
                "event_types": ["must_be_array"],
            },
        ),
    ],
    ids=str,
)
def test_what_an_endpoint_may_not_be(body: dict[str, Any], details: dict[str, list[str]]) -> None:
    refused = Log().refuse(commands.create_webhook_endpoint(ORG, body))
    assert refused == Rejected(422, "validation_errors", details)


def test_one_has_defaults_and_what_is_given() -> None:
    log = Log()
    plain = made(log)
    assert (plain.signature_algo, plain.name, plain.event_types) == ("jwt", None, None)
    assert plain.created_at_ms == log.now_ms
    given = made(
        log,
        webhook_url="http://[::1]:8000/b?c=d",
        signature_algo="hmac",
        name="b",
        event_types=["event.error", "plan.created", "event.error"],
    )
    assert (given.signature_algo, given.name) == ("hmac", "b")
    assert given.event_types == ("event.error", "plan.created")
    assert given.wants("event.error")
    assert not given.wants("customer.created")
    everything = made(log, webhook_url="http://c", event_types=["*"])
    assert everything.event_types is None
    assert everything.wants("customer.created")


def test_a_url_is_there_once_in_an_organization() -> None:
    log = Log()
    first, second = made(log), made(log, webhook_url="http://b")
    taken = Rejected(422, "validation_errors", {"webhook_url": ["value_already_exist"]})
    again = {"webhook_url": URL}
    assert log.refuse(commands.create_webhook_endpoint(ORG, again)) == taken
    assert log.refuse(commands.update_webhook_endpoint(ORG, second.id, again)) == taken
    log.accept(commands.update_webhook_endpoint(ORG, first.id, again))
    log.accept(commands.create_webhook_endpoint(OTHER, again))


def test_absent_keys_stay_and_a_deleted_one_is_gone() -> None:
    log = Log()
    first = made(log, name="a", signature_algo="hmac", event_types=["event.error"])
    body = {"name": None, "event_types": None}
    changed = log.accept(commands.update_webhook_endpoint(ORG, first.id, body))
    assert (changed.webhook_url, changed.signature_algo) == (URL, "hmac")
    assert (changed.name, changed.event_types) == (None, None)
    assert log.accept(commands.delete_webhook_endpoint(ORG, first.id)) == changed
    assert ids(log) == []
    unknown = Rejected(404, "webhook_endpoint_not_found")
    assert log.refuse(commands.delete_webhook_endpoint(ORG, first.id)) == unknown
    assert log.refuse(commands.update_webhook_endpoint(ORG, first.id, body)) == unknown


def test_another_organization_reaches_none_of_them() -> None:
    log = Log()
    first = made(log)
    unknown = Rejected(404, "webhook_endpoint_not_found")
    assert log.refuse(commands.delete_webhook_endpoint(OTHER, first.id)) == unknown
    assert ids(log) == [first.id]


def test_an_organization_has_ten() -> None:
    log = Log()
    for number in range(10):
        made(log, webhook_url=f"http://h{number}")
    refused = log.refuse(commands.create_webhook_endpoint(ORG, {"webhook_url": URL}))
    assert refused.details == {"base": ["exceeded_limit"]}
    log.accept(commands.delete_webhook_endpoint(ORG, ids(log)[0]))
    made(log)


def test_a_long_one_is_refused_at_the_door() -> None:
    long = commands.create_webhook_endpoint(
        ORG, {"webhook_url": URL + "x" * 1_024, "name": "n" * 256}
    )
    assert oversized(long) == Rejected(
        422,
        "validation_errors",
        {"name": ["value_is_too_long"], "webhook_url": ["value_is_too_long"]},
    )


def test_no_figure_hangs_on_one() -> None:
    log = Log()
    command = commands.create_webhook_endpoint(ORG, {"webhook_url": URL})
    outcome = log.append(command)
    assert not isinstance(outcome, Rejected)
    assert outcome.impact is None
