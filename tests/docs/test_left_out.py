"""Fields of Lago's objects that have no place here: docs/rules/deviations.md names each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.api.definitions.definitions_json import (
    charge_json,
    customer_json,
    plan_json,
    subscription_json,
)
from app.bounds.turns import drained
from app.webhooks.records import fee_json
from tests.world.definitions_log import ORG, Log

DEVIATIONS = (Path(__file__).parents[2] / "docs" / "rules" / "deviations.md").read_text()

LAGO = {
    "plan": "lago_id name invoice_display_name created_at code interval description amount_cents "
    "amount_currency trial_period pay_in_advance bill_charges_monthly bill_fixed_charges_monthly "
    "customers_count active_subscriptions_count draft_invoices_count parent_id pending_deletion "
    "charges fixed_charges entitlements usage_thresholds applicable_usage_thresholds taxes",
    "charge": "lago_id lago_billable_metric_id code invoice_display_name billable_metric_code "
    "created_at charge_model invoiceable regroup_paid_fees pay_in_advance prorated "
    "min_amount_cents accepts_target_wallet properties applied_pricing_unit lago_parent_id filters "
    "taxes",
    "subscription": "lago_id external_id lago_customer_id external_customer_id name plan_code "
    "plan_amount_cents plan_amount_currency status billing_time subscription_at started_at "
    "trial_ended_at ending_at terminated_at canceled_at created_at previous_plan_code "
    "next_plan_code downgrade_plan_date current_billing_period_started_at "
    "current_billing_period_ending_at on_termination_credit_note on_termination_invoice "
    "progressive_billing_disabled consolidate_invoice purchase_order_number cancellation_reason "
    "activated_at entitlements payment_method plan applicable_usage_thresholds "
    "applied_invoice_custom_sections activation_rules",
    "customer": "lago_id billing_entity_code external_id account_type name firstname lastname "
    "customer_type sequential_id slug created_at updated_at country address_line1 address_line2 "
    "state zipcode email city url phone logo_url legal_name legal_number currency "
    "tax_identification_number timezone applicable_timezone net_payment_term "
    "external_salesforce_id finalize_zero_amount_invoice billing_configuration shipping_address "
    "skip_invoice_custom_sections metadata taxes integration_customers "
    "applicable_invoice_custom_sections error_details",
    "customer.billing_configuration": "invoice_grace_period payment_provider payment_provider_code "
    "document_locale subscription_invoice_issuing_date_anchor "
    "subscription_invoice_issuing_date_adjustment",
    "customer.shipping_address": "address_line1 address_line2 city zipcode state country",
    "customer.metadata": "lago_id key value display_in_invoice created_at",
    "charge.filters": "lago_id charge_code invoice_display_name properties values",
    "fee": "lago_id lago_charge_id lago_charge_filter_id lago_fixed_charge_id lago_invoice_id "
    "lago_true_up_fee_id lago_true_up_parent_fee_id lago_original_fee_id lago_subscription_id "
    "external_subscription_id lago_customer_id external_customer_id item pay_in_advance "
    "invoiceable amount_cents amount_currency precise_amount precise_total_amount "
    "taxes_amount_cents taxes_precise_amount taxes_rate total_aggregated_units total_amount_cents "
    "total_amount_currency units description precise_unit_amount precise_coupons_amount_cents "
    "sub_total_excluding_taxes_amount_cents sub_total_excluding_taxes_precise_amount_cents "
    "events_count payment_status created_at succeeded_at failed_at refunded_at amount_details "
    "self_billed pricing_unit_details presentation_breakdowns from_date to_date "
    "event_transaction_id applied_taxes",
    "fee.item": "type code name description invoice_display_name filters "
    "filter_invoice_display_name lago_item_id item_type grouped_by",
}
"""The keys of Lago's serializers, with all that its answers of one object include.

Those of an object, or of the first one of a list, in another stand behind a dot.
"""
MORE = {"plan": {"metadata"}}
"""Keys that Lago leaves out where nothing is set."""


def answers() -> dict[str, dict[str, Any]]:
    """One object of each kind."""
    log = Log("2024-01-31T01:00:00Z")
    log.metric(filters=[{"key": "region", "values": ["eu"]}])
    charge = {
        "billable_metric_code": "storage",
        "charge_model": "standard",
        "filters": [{"values": {"region": ["eu"]}}],
    }
    log.plan(charges=[charge])
    log.customer(metadata=[{"key": "k", "value": "v"}])
    log.subscribe()
    defs, now_ms = log.definitions, log.now_ms
    (plan,), (customer,) = defs.plans(ORG), defs.customers(ORG)
    subscription = defs.current_subscription(ORG, "sub_1", now_ms)
    assert subscription is not None
    return {
        "plan": drained(plan_json(defs, plan, now_ms)),
        "charge": charge_json(defs, plan.charges[0]),
        "subscription": subscription_json(defs, subscription, now_ms),
        "customer": customer_json(defs, customer),
        "fee": fee_json({}, None),
    }


def answer(kind: str) -> dict[str, Any]:
    name, _, within = kind.partition(".")
    found: Any = answers()[name]
    found = found[within] if within else found
    return found[0] if isinstance(found, list) else found  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", LAGO)
def test_each_field_that_is_left_out_is_told(kind: str) -> None:
    ours, theirs = set(answer(kind)), set(LAGO[kind].split())
    assert ours - theirs == MORE.get(kind, set())
    for name in (theirs - ours) | MORE.get(kind, set()):
        assert f"`{name}`" in DEVIATIONS, name
