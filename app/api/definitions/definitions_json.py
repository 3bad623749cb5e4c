"""Definitions as Lago's JSON objects (metering-semantics §1.1, §7).

`at_ms` is the moment to tell status and counts for; it is never taken to be before the newest
definition, so that what was just defined shows at once whatever the reader's clock says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.billing_periods.grid import PeriodGrid
from app.billing_periods.instants import iso_milliseconds, iso_seconds
from app.billing_periods.timezones import local_date
from app.bounds.turns import Steps
from app.definitions.model import Charge, ChargeFilter, Customer, Metric, Plan, Subscription
from app.definitions.shapes import ADDRESS_KEYS, CUSTOMER_TEXT_KEYS
from app.definitions.state import Definitions

Json = dict[str, Any]

_NO_ADDRESS: Final = dict.fromkeys(ADDRESS_KEYS)
_NO_CONFIGURATION: Final[Json] = dict.fromkeys(
    (
        "invoice_grace_period",
        "payment_provider",
        "payment_provider_code",
        "document_locale",
        "subscription_invoice_issuing_date_anchor",
        "subscription_invoice_issuing_date_adjustment",
    )
)


def metric_json(defs: Definitions, metric: Metric, at_ms: int) -> Json:
    """Return the `billable_metric` object."""
    at_ms = max(at_ms, defs.append_time_ms)
    # At most as many as `limits.PLANS`, each one look at sorted moments: some ms in all.
    plan_ids = defs.families_using(metric.id)
    return {
        "lago_id": metric.id,
        "name": metric.name,
        "code": metric.code,
        "description": metric.description,
        "aggregation_type": metric.aggregation_type,
        "weighted_interval": metric.weighted_interval,
        "recurring": metric.recurring,
        "rounding_function": metric.rounding_function,
        "rounding_precision": metric.rounding_precision,
        "created_at": iso_seconds(metric.created_at_ms),
        "field_name": metric.field_name,
        "expression": metric.expression,
        "filters": [
            {"key": metric_filter.key, "values": sorted(metric_filter.values)}
            for metric_filter in sorted(metric.filters, key=lambda f: f.key)
        ],
        "active_subscriptions_count": sum(
            defs.active_subscriptions_count(plan_id, at_ms) for plan_id in plan_ids
        ),
        "draft_invoices_count": 0,
        "plans_count": len(plan_ids),
    }


def plan_json(defs: Definitions, plan: Plan, at_ms: int) -> Steps[Json]:
    """Return the `plan` object, with its charges; `pending_deletion` once it is deleted.

    In steps, for it looks at customers with several subscriptions: only a plan's own answer has
    their count.
    """
    at_ms = max(at_ms, defs.append_time_ms)
    told, index = _plan_json(defs, plan, at_ms), defs.subscription_index
    count = yield from index.customers_count(plan.id, at_ms, defs.append_time_ms)
    return {**told, "customers_count": count}


def _plan_json(defs: Definitions, plan: Plan, at_ms: int) -> Json:
    return {
        "lago_id": plan.id,
        "name": plan.name,
        "invoice_display_name": plan.invoice_display_name,
        "created_at": iso_seconds(plan.created_at_ms),
        "code": plan.code,
        "interval": plan.interval,
        "description": plan.description,
        "amount_cents": plan.amount_cents,
        "amount_currency": plan.amount_currency,
        "trial_period": plan.trial_period,
        "pay_in_advance": plan.pay_in_advance,
        "bill_charges_monthly": plan.bill_charges_monthly,
        "bill_fixed_charges_monthly": plan.bill_fixed_charges_monthly,
        "active_subscriptions_count": defs.active_subscriptions_count(plan.id, at_ms),
        "draft_invoices_count": 0,
        "parent_id": plan.parent_id,
        "pending_deletion": defs.plan_versions[plan.id].at() is None,
        "metadata": plan.metadata,
        "charges": [charge_json(defs, charge) for charge in plan.charges],
        "fixed_charges": [],
        "taxes": [],
        "usage_thresholds": [],
        "applicable_usage_thresholds": [],
        "entitlements": [],
    }


def charge_json(defs: Definitions, charge: Charge) -> Json:
    """Return one object of `plan.charges`."""
    metric = defs.metric_versions[charge.metric_id].last_before_deletion()
    return {
        "lago_id": charge.id,
        "lago_billable_metric_id": charge.metric_id,
        "billable_metric_code": metric.code if metric else None,
        "code": charge.code,
        "created_at": iso_seconds(charge.created_at_ms),
        "charge_model": charge.charge_model,
        "invoice_display_name": charge.invoice_display_name,
        "pay_in_advance": charge.pay_in_advance,
        "prorated": charge.prorated,
        "invoiceable": charge.invoiceable,
        "regroup_paid_fees": charge.regroup_paid_fees,
        "min_amount_cents": charge.min_amount_cents,
        "accepts_target_wallet": charge.accepts_target_wallet,
        "properties": _mirrored(charge.properties),
        "filters": [filter_json(charge, charge_filter) for charge_filter in charge.filters],
        "lago_parent_id": charge.parent_id,
        "taxes": [],
    }


def filter_json(charge: Charge, charge_filter: ChargeFilter) -> Json:
    """Return one object of `charge.filters`."""
    return {
        "lago_id": charge_filter.id,
        "charge_code": charge.code,
        "invoice_display_name": charge_filter.invoice_display_name,
        "properties": _mirrored(charge_filter.properties),
        "values": {key: list(texts) for key, texts in charge_filter.values.items()},
    }


def customer_json(defs: Definitions, customer: Customer) -> Json:
    """Return the `customer` object."""
    attributes = customer.attributes
    return {
        "lago_id": customer.id,
        "external_id": customer.external_id,
        "account_type": "customer",
        "billing_entity_code": "default",
        **{key: attributes.get(key) for key in CUSTOMER_TEXT_KEYS},
        "finalize_zero_amount_invoice": attributes.get("finalize_zero_amount_invoice") or "inherit",
        "currency": currency_of(defs, customer),
        "timezone": customer.timezone,
        "applicable_timezone": defs.timezone_of(customer.organization_id, customer),
        "net_payment_term": attributes.get("net_payment_term"),
        "created_at": iso_seconds(customer.created_at_ms),
        "updated_at": iso_seconds(customer.updated_at_ms),
        "skip_invoice_custom_sections": attributes.get("skip_invoice_custom_sections") or False,
        "billing_configuration": {
            **_NO_CONFIGURATION,
            **attributes.get("billing_configuration", {}),
            "invoice_grace_period": customer.grace_days,
        },
        "shipping_address": {**_NO_ADDRESS, **(attributes.get("shipping_address") or {})},
        "metadata": attributes.get("metadata", []),
        "integration_customers": [],
        "applicable_invoice_custom_sections": [],
        "taxes": [],
        "error_details": [],
    }


def currency_of(defs: Definitions, customer: Customer) -> str | None:
    """Return the currency of a customer; where none is given, that of its first plan."""
    own: str | None = customer.attributes.get("currency")
    if own is not None:
        return own
    first = next(iter(defs.subscriptions_of_customer(customer)), None)
    plan = None if first is None else defs.plan_by_id(first.plan_id)
    return None if plan is None else plan.amount_currency


def subscription_json(defs: Definitions, sub: Subscription, at_ms: int) -> Json:
    """Return the `subscription` object, with its plan."""
    at_ms = max(at_ms, defs.append_time_ms)
    status = sub.status_at(at_ms)
    started_at_ms = None if status in ("pending", "canceled") else sub.started_at_ms
    plan = defs.plan_by_id(sub.plan_id)
    customer = defs.customer_of(sub).at()
    timezone = defs.timezone_of(sub.organization_id, customer)
    return {
        "lago_id": sub.id,
        "external_id": sub.external_id,
        "lago_customer_id": customer.id if customer else None,
        "external_customer_id": sub.external_customer_id,
        "name": sub.name,
        "plan_code": plan.code if plan else None,
        "plan_amount_cents": plan.amount_cents if plan else None,
        "plan_amount_currency": plan.amount_currency if plan else None,
        "status": status,
        "billing_time": sub.billing_time,
        "subscription_at": iso_seconds(sub.subscription_at_ms),
        "started_at": _milliseconds(started_at_ms),
        "ending_at": _seconds(sub.ending_at_ms),
        "terminated_at": _milliseconds(sub.end_ms if status == "terminated" else None),
        "canceled_at": _seconds(sub.canceled_at_ms),
        "created_at": iso_seconds(sub.created_at_ms),
        "trial_ended_at": None,
        "on_termination_invoice": sub.on_termination_invoice,
        "on_termination_credit_note": None,
        **_plan_changes_json(defs, sub, timezone, at_ms),
        **_billing_period_json(sub, plan, timezone, None if started_at_ms is None else at_ms),
        "applicable_usage_thresholds": [],
        "plan": _plan_json(defs, plan, at_ms) if plan else None,
    }


def _mirrored(properties: Mapping[str, Any]) -> Json:
    """Return properties with the group keys under their present and their former name."""
    group_keys = properties.get("pricing_group_keys") or properties.get("grouped_by")
    if not group_keys:
        return dict(properties)
    return {**properties, "pricing_group_keys": group_keys, "grouped_by": group_keys}


def _plan_changes_json(defs: Definitions, sub: Subscription, timezone: str, at_ms: int) -> Json:
    previous = defs.subscription_by_id(sub.previous_subscription_id or "")
    following = defs.subscription_by_id(sub.replaced_by or "")
    downgrade_plan_date = None
    if following is not None and following.status_at(at_ms) == "pending":
        downgrade_plan_date = local_date(following.started_at_ms, timezone).isoformat()
    return {
        "previous_plan_code": defs.plan_code(previous.plan_id) if previous else None,
        "next_plan_code": defs.plan_code(following.plan_id) if following else None,
        "downgrade_plan_date": downgrade_plan_date,
    }


def _billing_period_json(
    sub: Subscription, plan: Plan | None, timezone: str, at_ms: int | None
) -> Json:
    """Return the usage period that holds now, or the last one; null while it has not started."""
    if at_ms is None or plan is None:
        return _period_json(None, None)
    grid = PeriodGrid(
        plan.interval,
        sub.billing_time,
        sub.subscription_at_ms,
        timezone,
        bool(plan.bill_charges_monthly),
    )
    end_ms = sub.end_ms
    within_ms = max(sub.started_at_ms, at_ms if end_ms is None else min(at_ms, end_ms - 1))
    k = grid.index_at(within_ms)
    next_ms = grid.start_ms(k + 1)
    to_ms = next_ms - 1000 if end_ms is None or end_ms >= next_ms else end_ms
    return _period_json(max(grid.start_ms(k), sub.started_at_ms), to_ms)


def _period_json(from_ms: int | None, to_ms: int | None) -> Json:
    return {
        "current_billing_period_started_at": _seconds(from_ms),
        "current_billing_period_ending_at": _seconds(to_ms),
    }


def _seconds(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso_seconds(at_ms)


def _milliseconds(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso_milliseconds(at_ms)
