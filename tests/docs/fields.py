"""What each field of a record says, and when it is null; docs/usage-records.md prints it."""

from __future__ import annotations

from typing import Final, NamedTuple


class Told(NamedTuple):
    """One field."""

    words: str
    null: str = ""
    """When it is null; empty: never."""


_NAMES: Final = {
    "schema_version": Told("2; what changes the meaning of a field raises it"),
    "type": Told("which record this is"),
    "id": Told("the same whoever computes it: a second copy of a record has the same"),
    "cell_id": Told("one figure: a charge, filter and group in a period"),
    "revision": Told("0 first, then one more each time; the highest one holds"),
    "organization_id": Told("whose it is"),
    "external_customer_id": Told("the customer"),
    "external_subscription_id": Told("the subscription, as events name it"),
    "lago_subscription_id": Told("our id of the subscription"),
    "plan_code": Told("the plan that was in force"),
}
_PERIOD: Final = {
    "period": Told(
        "`from` and `to`, its first and its last second; `timezone`; days of a whole one"
    ),
}
_CHARGE: Final = {
    "lago_charge_id": Told("our id of the charge"),
    "lago_charge_filter_id": Told("our id of the filter", "everything that no filter takes"),
    "charge": Told("the charge with its prices, as the plan had it"),
    "amount_currency": Told("the currency of the plan"),
    "billable_metric": Told("the metric"),
    "filters": Told("the values of the filter", "everything that no filter takes"),
    "grouped_by": Told("the group, by key", "the charge is not grouped"),
}
_CLOSING: Final = {
    "closing_reason": Told("why the period ended; see below"),
    "closed_at": Told("the cut: what was appended until then is in the figure"),
    "final_after": Told("after it no event changes the period"),
    "definitions_offset": Told("how far the definitions were applied"),
}

USAGE_RECORD: Final = {
    **_NAMES,
    **_CHARGE,
    **_PERIOD,
    **_CLOSING,
    "units": Told("the figure; never below 0"),
    "prorated_units": Told("the quantity for the amount", "the charge is not prorated"),
    "total_aggregated_units": Told("of an average the level at the end, else the figure; print it"),
    "precise_total_amount_cents": Told("the amount of a dynamic charge", "no event carried one"),
    "events_count": Told(
        "how many events; of a recurring metric all of them, of a unique count the figure"
    ),
    "previous_units": Told("what the revision before said", "`revision` is 0"),
    "delta_units": Told("`units` less `previous_units`: invoice or credit it", "`revision` is 0"),
    "billing": Told("`arrears`: bill it; `none`: nothing more; `renewal`: `units` in full"),
    "billed_in_advance": Told("what instant records have billed", "`pay_in_advance` is false"),
    "presentation_breakdowns": Told(
        "the figure by presentation keys, to print", "the charge has no such keys"
    ),
    "per_event": Told(
        "figures of single events, for prices that need them", "the price needs none"
    ),
    "revision_reason": Told("why it changed; see below", "`revision` is 0"),
    "digest": Told("a sum over what was counted; rule 2 adds them up"),
}

PERIOD_COMPLETED: Final = {
    **_NAMES,
    **_PERIOD,
    **_CLOSING,
    "records_count": Told("how many cells of the period there are"),
    "digest": Told("the sum of their digests, modulo 2¹²⁸"),
}

INSTANT_RECORD: Final = {
    **_NAMES,
    **_CHARGE,
    **_PERIOD,
    "instant_id": Told("one event in one cell: of several revisions the highest holds"),
    "event_transaction_id": Told("the event"),
    "event_timestamp": Told("its time"),
    "position": Told("where it lies in the log"),
    "units": Told("what the event adds to bill"),
    "prorated_units": Told("the quantity for the amount", "the charge is not prorated"),
    "applied_units": Told("what the event said"),
    "units_before": Told("what was billed before it"),
    "units_after": Told("what is billed with it"),
    "current_units": Told("the level with it"),
    "peak_units": Told("the highest level so far"),
    "presentation_by": Told("values of the presentation keys", "the charge has no such keys"),
    "precise_total_amount_cents": Told("the amount of a dynamic charge", "no event carried one"),
    "events_count": Told("1; 0 when it was cancelled or counts elsewhere"),
    "previous_units": Told("what the revision before said", "`revision` is 0"),
    "delta_units": Told("`units` less `previous_units`", "`revision` is 0"),
    "revision_reason": Told("why it changed", "`revision` is 0"),
    "closed_at": Told("the step of the close grid that published it"),
    "definitions_offset": Told("how far the definitions were applied"),
}

CLOSING_REASONS: Final = {
    "period_end": "the period was over",
    "termination": "the subscription ended within it, asked for or by its `ending_at`",
    "plan_change": "the subscription went to another plan within it",
}

REVISION_REASONS: Final = {
    "late_events": "an event came after the cut: a further line, or a credit note",
    "correction": "an event was cancelled or amended: the same",
    "definition": "a history record let the period fold under other definitions: the same",
}
