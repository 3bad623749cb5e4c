from typing import Any

import pytest

from app.definitions import commands
from app.definitions.model import Organization
from app.definitions.outcome import Applied, Impact, Rejected
from app.definitions.sizes import oversized
from app.definitions.terms import subscription_terms
from bench.growth.spent import steps_of
from tests.world.clock import ms
from tests.world.definitions_log import ORG, Log, metric_body

INVALID, OUT_OF_RANGE = ["value_is_invalid"], ["value_is_out_of_range"]


def said(log: Log, **changes: Any) -> Organization:
    made = log.accept(commands.update_organization(ORG, changes))
    assert isinstance(made, Organization)
    return made


def impact_of(log: Log, **changes: Any) -> Impact | None:
    outcome = log.append(commands.update_organization(ORG, changes))
    assert isinstance(outcome, Applied)
    return outcome.impact


def grace(days: Any) -> dict[str, Any]:
    return {"billing_configuration": {"invoice_grace_period": days}}


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"timezone": "Mars/Base"}, {"timezone": ["invalid_timezone"]}),
        ({"timezone": 5}, {"timezone": ["invalid_timezone"]}),
        (grace(-1), {"invoice_grace_period": OUT_OF_RANGE}),
        (grace("x"), {"invoice_grace_period": OUT_OF_RANGE}),
        (grace(1.5), {"invoice_grace_period": OUT_OF_RANGE}),
        ({"billing_configuration": 5}, {"billing_configuration": INVALID}),
        ({"default_currency": "XXX1"}, {"default_currency": INVALID}),
        ({"net_payment_term": -1}, {"net_payment_term": OUT_OF_RANGE}),
        ({"city": ["a"]}, {"city": INVALID}),
        (
            {"timezone": "x", **grace(-1)},
            {"timezone": ["invalid_timezone"], "invoice_grace_period": OUT_OF_RANGE},
        ),
    ],
    ids=str,
)
def test_what_an_organization_may_not_be(
    changes: dict[str, Any], details: dict[str, list[str]]
) -> None:
    refused = Log().refuse(commands.update_organization(ORG, changes))
    assert refused == Rejected(422, "validation_errors", details)


def test_an_update_changes_the_given_keys_only() -> None:
    log = Log()
    said(log, timezone="Europe/Paris", city="Paris", **grace(3))
    log.at("2024-02-01T00:00:00Z")
    new = said(log, country="FR", billing_configuration={"invoice_footer": "x"})
    assert (new.timezone, new.grace_days, new.updated_at_ms) == ("Europe/Paris", 3, log.now_ms)
    assert new.attributes == {"city": "Paris", "country": "FR", "invoice_footer": "x"}
    assert said(log, **grace(None)).grace_days is None
    for nothing in (None, "", "  "):
        said(log, timezone="Europe/Paris")
        assert said(log, timezone=nothing).timezone == "UTC"


def test_nothing_new_is_no_change() -> None:
    log = Log()
    said(log, timezone="Europe/Paris")
    versions = log.definitions.organization_versions(ORG)
    log.at("2024-02-01T00:00:00Z")
    said(log, timezone="Europe/Paris")
    said(log, city="Paris")
    assert list(versions.changes) == [ms("2024-01-31T01:00:00Z")]
    assert log.definitions.organizations(2) == [ORG]


def test_so_many_organizations_are_found_however_many_there_are() -> None:
    log = Log()
    for number in range(1_000):
        log.accept(commands.create_billable_metric(f"org-{number}", metric_body()))
    few, all_of_them = log.definitions.organizations(2), log.definitions.organizations(5_000)
    assert (len(few), len(all_of_them)) == (2, 1_000)
    assert set(few) < set(all_of_them)
    assert steps_of(lambda: log.definitions.organizations(2)) < 200


def test_a_long_text_is_refused_at_the_door() -> None:
    refused = oversized(commands.update_organization(ORG, {"city": "x" * 2_000}))
    assert refused is not None
    assert refused.details == {"city": ["value_is_too_long"]}


def test_timezone_and_grace_touch_usage_and_nothing_else_does() -> None:
    log = Log()
    assert impact_of(log, timezone="Asia/Tokyo") is None
    log.plan()
    log.subscribe()
    assert impact_of(log, timezone="Europe/Paris") == Impact(ORG)
    assert impact_of(log, **grace(2)) == Impact(ORG)
    assert impact_of(log, city="Paris", default_currency="EUR", net_payment_term=3) is None


def terms(log: Log) -> list[tuple[int, str, int]]:
    """Since when, timezone and days of grace of the one subscription."""
    (versions,) = log.definitions.subscriptions(ORG, "sub_1")
    found = subscription_terms(log.definitions, versions)
    return [(t.since_ms, t.grid.timezone, t.grace_ms // 86_400_000) for t in found]


def test_what_a_customer_says_goes_before_what_its_organization_says() -> None:
    log = Log("2024-01-01T00:00:00Z")
    log.plan()
    log.subscribe()
    said(log.at("2024-01-02"), timezone="Europe/Paris", **grace(4))
    log.at("2024-01-03").customer(timezone="UTC")
    log.at("2024-01-04").customer(**grace(0))
    said(log.at("2024-01-05"), timezone="Asia/Tokyo", **grace(9))
    log.at("2024-01-06").customer(timezone=None, **grace(None))
    assert terms(log) == [
        (ms("2024-01-01"), "UTC", 0),
        (ms("2024-01-02"), "Europe/Paris", 4),
        (ms("2024-01-03"), "UTC", 4),
        (ms("2024-01-04"), "UTC", 0),
        (ms("2024-01-06"), "Asia/Tokyo", 9),
    ]
    said(log.at("2024-01-07"), **grace(None))
    assert terms(log)[-1] == (ms("2024-01-07"), "Asia/Tokyo", 0)


def test_planned_downgrades_move_along() -> None:
    log = Log("2024-02-10T00:00:00Z")
    log.plan()
    log.plan("cheap", amount_cents=1)
    moving = log.subscribe()
    log.customer("cust_2", timezone="UTC")
    own = {"external_id": "sub_2", "external_customer_id": "cust_2"}
    staying = log.subscribe(**own)
    log.subscribe(plan_code="cheap")
    log.subscribe(plan_code="cheap", **own)
    said(log, timezone="America/New_York")
    moved, stayed = log.newest(moving), log.newest(staying)
    assert moved.terminated_at_ms == ms("2024-03-01T05:00:00Z")
    assert stayed.terminated_at_ms == ms("2024-03-01T00:00:00Z")
    following = log.definitions.subscription_by_id(moved.replaced_by or "")
    assert following is not None
    assert following.started_at_ms == moved.terminated_at_ms
    # A customer that gets the same timezone of its own moves nothing.
    log.customer(timezone="America/New_York")
    assert log.newest(moving) == moved


def test_a_subscription_of_today_is_active_by_the_organizations_calendar() -> None:
    log = Log("2024-01-31T20:00:00Z")
    log.plan()
    said(log, timezone="Asia/Tokyo")
    later = log.subscribe(subscription_at="2024-02-01T10:00:00Z")
    assert later.status_at(log.now_ms) == "active"
    waiting = log.subscribe(external_id="sub_2", subscription_at="2024-02-01T16:00:00Z")
    assert waiting.status_at(log.now_ms) == "pending"
