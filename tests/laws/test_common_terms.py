"""A law of terms that the subscribers of a plan share: they are those that each has alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.definitions.terms import CommonTerms, subscription_terms
from tests.laws.lives import ZONES
from tests.world.definitions_log import ORG, Log, subscription_body

NAMES = ["sub_1", "sub_2", "sub_3"]
GRACE_DAYS = st.sampled_from([None, 0, 3])


def _of_organization(zone: str, days: int | None) -> Command:
    return commands.update_organization(
        ORG, {"timezone": zone, "billing_configuration": {"invoice_grace_period": days}}
    )


def _of_customer(zone: str | None, days: int | None) -> Command:
    said: dict[str, Any] = {"external_id": "cust_1", "timezone": zone}
    said["billing_configuration"] = {"invoice_grace_period": days}
    return commands.upsert_customer(ORG, said)


CHANGES = st.one_of(
    st.builds(
        lambda grace_s, grid_s, policy: commands.set_settings(
            SettingsRecord(grace_s=grace_s, close_grid_s=grid_s, late_policy=policy)
        ),
        st.sampled_from([0, 90]),
        st.sampled_from([60, 3600]),
        st.sampled_from(["accept", "refuse"]),
    ),
    st.builds(_of_organization, st.sampled_from(ZONES), GRACE_DAYS),
    st.builds(_of_customer, st.sampled_from([None, *ZONES]), GRACE_DAYS),
    st.builds(
        lambda monthly, name: commands.update_plan(
            ORG, "plan_code", {"bill_charges_monthly": monthly, "name": name}
        ),
        st.booleans(),
        st.sampled_from(["one", "other"]),
    ),
    st.just(commands.delete_plan(ORG, "plan_code")),
    st.just(commands.delete_customer(ORG, "cust_1")),
    st.sampled_from(NAMES).map(
        lambda name: commands.create_subscription(ORG, subscription_body(external_id=name))
    ),
    st.sampled_from(NAMES).map(lambda name: commands.terminate_subscription(ORG, name)),
)


@given(st.lists(st.tuples(CHANGES, st.integers(0, 2)), max_size=12), st.booleans())
def test_shared_terms_are_those_of_each_alone(
    changes: list[tuple[Command, int]], monthly: bool
) -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan(interval="yearly", bill_charges_monthly=monthly)
    log.customer()
    log.subscribe()
    common = CommonTerms(log.definitions)
    for change, later_ms in changes:
        log.now_ms += later_ms
        log.append(change)
        for name in NAMES:
            for versions in log.definitions.subscriptions(ORG, name):
                alone = common.of(versions)
                assert alone is None or alone == subscription_terms(log.definitions, versions)


def test_most_share_theirs() -> None:
    log = Log("2024-01-31T01:00:00Z")
    log.plan()
    common = CommonTerms(log.definitions)
    for name in NAMES:
        log.now_ms += 1
        log.customer(name)
        log.subscribe(external_id=name, external_customer_id=name)
        (versions,) = log.definitions.subscriptions(ORG, name)
        assert common.of(versions) is not None
