"""The implicit plan: an unknown subscription read as if monthly with every metric, unpublished.

external_customer_id = external_subscription_id, ids are UUIDv5, calendar months in UTC, one
standard charge per live metric with the metric's filter keys as groups (records-and-cuts §7).
"""

from __future__ import annotations

from functools import lru_cache
from uuid import NAMESPACE_URL, uuid5

from app.billing_periods.grid import PeriodGrid
from app.definitions.alike_terms import Terms
from app.definitions.by_identity import ByIdentity
from app.definitions.input_limits import InputLimits
from app.definitions.model import Charge, Metric, Plan, SettingsRecord, Subscription
from app.definitions.periods import NEVER_MS
from app.definitions.timeline import Timeline
from app.uuids import Uuids
from tables.cells.keys import SpanKey
from tables.routing.plan import ChargeFolds, SpanPlan

PLAN_CODE = "implicit"
_NAMESPACE = uuid5(NAMESPACE_URL, "meterstream:implicit-plan")
_IDS = Uuids(_NAMESPACE)


def implicit_span(
    folds: ChargeFolds,
    name: tuple[str, str],
    metric: Metric,
    settings: SettingsRecord,
    limits: InputLimits,
) -> SpanPlan:
    """Return the one span of a metric for an implicit subscription, without end."""
    charge, timeline = implicit_charge(metric), implicit_timeline(settings)
    key = SpanKey(subscription_id(*name), charge.id, timeline.until(0)[0].start_ms)
    fold = folds.fold_of(charge, metric, "UTC", limits)
    return SpanPlan(key, fold, timeline, NEVER_MS)


@lru_cache(maxsize=4)
def implicit_timeline(settings: SettingsRecord) -> Timeline:
    """Return the months since 1970: hundreds, which are the same for everyone."""
    subscription = implicit_subscription("", "", 0)
    grid = PeriodGrid("monthly", "calendar", subscription.subscription_at_ms, "UTC")
    terms = Terms(
        since_ms=0,
        subscription=subscription,
        grid=grid,
        grace_ms=0,
        close_grid_ms=settings.close_grid_s * 1000,
        late_window_ms=0,
        close_elapsed=True,
        refuses_late=False,
        revise_every_ms=settings.revise_every_s * 1000,
        max_groups=settings.max_groups,
        fold_version=settings.fold_version,
        end_rules=settings.end_rules,
    )
    return Timeline([terms], published=False)


@lru_cache(maxsize=1_024)
def subscription_id(organization_id: str, external_id: str) -> str:
    """Return the UUIDv5 of the implicit subscription."""
    name = f"subscription\0{organization_id}\0{external_id}"
    return _IDS.of(name.encode())


@lru_cache(maxsize=1_024)
def _plan_id(organization_id: str) -> str:
    return str(uuid5(_NAMESPACE, f"plan\0{organization_id}"))


def implicit_subscription(
    organization_id: str, external_id: str, started_at_ms: int
) -> Subscription:
    """Return the subscription that an unknown external id is read as."""
    return Subscription(
        id=subscription_id(organization_id, external_id),
        organization_id=organization_id,
        external_id=external_id,
        external_customer_id=external_id,
        plan_id=_plan_id(organization_id),
        billing_time="calendar",
        subscription_at_ms=started_at_ms,
        started_at_ms=started_at_ms,
        created_at_ms=started_at_ms,
    )


def implicit_charge(metric: Metric) -> Charge:
    """Return the charge on a metric, the same one for each version of it."""
    return _charges.of(metric)


def _charge_on(metric: Metric) -> Charge:
    """Make a standard charge grouped by the metric's filter keys."""
    keys = [f.key for f in metric.filters]
    return Charge(
        id=str(uuid5(_NAMESPACE, f"charge\0{metric.id}")),
        metric_id=metric.id,
        code=metric.code,
        charge_model="standard",
        created_at_ms=metric.created_at_ms,
        properties={"amount": "0", **({"pricing_group_keys": keys} if keys else {})},
    )


_charges = ByIdentity(_charge_on)


def implicit_plan(organization_id: str, charges: tuple[Charge, ...]) -> Plan:
    """Make the plan itself of its charges: one per live metric, ordered by code."""
    return Plan(
        id=_plan_id(organization_id),
        organization_id=organization_id,
        code=PLAN_CODE,
        name="Implicit",
        interval="monthly",
        amount_cents=0,
        amount_currency="USD",
        created_at_ms=0,
        charges=charges,
    )
