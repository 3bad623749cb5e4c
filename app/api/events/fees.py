"""Lago's fee where nothing is priced: what it has beside the usage that it is for."""

from __future__ import annotations

from typing import Any


def unpriced(currency: object) -> dict[str, Any]:
    """Return what a price, an invoice or a payment would fill of a fee."""
    return {
        "lago_fixed_charge_id": None,
        "lago_invoice_id": None,
        "lago_true_up_fee_id": None,
        "lago_true_up_parent_fee_id": None,
        "lago_original_fee_id": None,
        "pay_in_advance": True,
        "amount_cents": 0,
        "amount_currency": currency,
        "precise_amount": "0.0",
        "precise_total_amount": "0.0",
        "precise_unit_amount": "0.0",
        "precise_coupons_amount_cents": "0.0",
        "sub_total_excluding_taxes_amount_cents": 0,
        "sub_total_excluding_taxes_precise_amount_cents": "0.0",
        "taxes_amount_cents": 0,
        "taxes_precise_amount": "0.0",
        "taxes_rate": 0.0,
        "total_amount_cents": 0,
        "total_amount_currency": currency,
        "payment_status": "pending",
        "description": None,
        "succeeded_at": None,
        "failed_at": None,
        "refunded_at": None,
        "amount_details": {},
        "self_billed": False,
        "pricing_unit_details": None,
        "presentation_breakdowns": [],
        "applied_taxes": [],
    }
