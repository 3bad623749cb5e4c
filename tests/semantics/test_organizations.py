"""Timezone and grace of an organization, from definitions and events to what is published."""

from __future__ import annotations

from typing import Any

from app.definitions import commands
from app.definitions.model import Organization
from tests.world.definitions import ORG
from tests.world.story import Story


def story(*, timezone: str | None = None) -> Story:
    """A count by month from 2024 on; two events around the end of January."""
    told = Story().metric("m", "count_agg").plan({})
    told.define("2023-12-31", commands.upsert_customer(ORG, customer(timezone)))
    told.subscribe()
    told.send("2024-01-31T22:30:00Z").send("2024-01-31T23:30:00Z")
    return told


def customer(timezone: str | None, **more: Any) -> dict[str, Any]:
    return {"external_id": "customer", "timezone": timezone, **more}


def said(told: Story, at: str, **body: Any) -> Story:
    return told.define(at, commands.update_organization(ORG, body))


def shown(told: Story, at: str = "2024-03-10") -> list[tuple[str, str, str, str]]:
    return [
        (r["period"]["from"], r["period"]["to"], r["units"], r["closed_at"])
        for r in told.records(at)
    ]


def test_a_customer_without_a_timezone_has_that_of_its_organization() -> None:
    told = said(story(), "2024-01-05", timezone="Europe/Paris")
    january = ("2024-01-01T00:00:00Z", "2024-01-31T22:59:59Z", "1.0", "2024-01-31T23:00:00.000Z")
    february = ("2024-01-31T23:00:00Z", "2024-02-29T22:59:59Z", "1.0", "2024-02-29T23:00:00.000Z")
    assert shown(told) == [january, february]
    running = told.usage("2024-02-10")
    assert running["from_datetime"] == "2024-01-31T23:00:00Z"
    assert running["issuing_date"] == "2024-02-29"


def test_a_customer_with_a_timezone_keeps_it() -> None:
    told = said(story(timezone="UTC"), "2024-01-05", timezone="Europe/Paris")
    (january,) = shown(told)
    assert january == (
        "2024-01-01T00:00:00Z",
        "2024-01-31T23:59:59Z",
        "2.0",
        "2024-02-01T00:00:00.000Z",
    )


def test_a_period_that_is_fixed_stays_and_the_next_is_joined_to_it() -> None:
    told = said(story(), "2024-02-05", timezone="Europe/Paris")
    told.send("2024-02-29T23:30:00Z").send("2024-02-29T22:30:00Z")
    assert [each[:3] for each in shown(told, "2024-04-10")] == [
        ("2024-01-01T00:00:00Z", "2024-01-31T23:59:59Z", "2.0"),
        ("2024-02-01T00:00:00Z", "2024-02-29T22:59:59Z", "1.0"),
        ("2024-02-29T23:00:00Z", "2024-03-31T21:59:59Z", "1.0"),
    ]


def test_grace_is_the_customers_then_the_organizations_then_that_of_the_settings() -> None:
    def closed(told: Story) -> str:
        (january,) = [each for each in shown(told) if each[0].startswith("2024-01")]
        return january[3]

    def with_grace(days: int | None) -> dict[str, Any]:
        return {"billing_configuration": {"invoice_grace_period": days}}

    told = said(story(), "2024-01-05", **with_grace(3))
    assert closed(told) == "2024-02-04T00:00:00.000Z"
    body = customer(None, **with_grace(0))
    told.define("2024-01-06", commands.upsert_customer(ORG, body))
    assert closed(told) == "2024-02-01T00:00:00.000Z"
    body = customer(None, **with_grace(None))
    told.define("2024-01-07", commands.upsert_customer(ORG, body))
    assert closed(told) == "2024-02-04T00:00:00.000Z"
    assert closed(said(told, "2024-02-02", **with_grace(None))) == "2024-02-02T00:00:00.000Z"


def test_a_change_in_grace_holds_for_the_period_in_grace() -> None:
    told = said(story(), "2024-01-05", billing_configuration={"invoice_grace_period": 5})
    said(told, "2024-02-03", timezone="Europe/Paris")
    assert [each[:3] for each in shown(told)] == [
        ("2024-01-01T00:00:00Z", "2024-01-31T22:59:59Z", "1.0"),
        ("2024-01-31T23:00:00Z", "2024-02-29T22:59:59Z", "1.0"),
    ]


def test_the_newest_version_is_the_one_that_is_shown() -> None:
    told = said(said(story(), "2024-01-05", timezone="Europe/Paris"), "2024-01-06", city="Paris")
    found = told.meter("2024-01-07").definitions.organization(ORG)
    assert isinstance(found, Organization)
    assert (found.timezone, found.attributes) == ("Europe/Paris", {"city": "Paris"})
