"""Cause and cure of what is refused or not counted, as the page and the reference say it."""

from __future__ import annotations

from typing import Final, NamedTuple


class Advice(NamedTuple):
    """Why a code comes, and what to do about it."""

    cause: str
    cure: str


DEAD_LETTERS: Final = {
    "invalid_json": Advice(
        "The value is no JSON, or its text is no UTF-8.",
        "Mend the producer; send the event anew under its id.",
    ),
    "invalid_event": Advice(
        "It is JSON, and no event: no object or array, or a field of a type that it cannot have.",
        "Compare it with `docs/schemas/raw-event.json`; send it anew.",
    ),
    "missing_field": Advice(
        "`transaction_id`, `external_subscription_id` or `code` is missing or empty.",
        "Send it with the field that the message names.",
    ),
    "invalid_timestamp": Advice(
        "`timestamp` is neither seconds since 1970 nor RFC 3339 with a zone.",
        "Send seconds, as a number or a text, or RFC 3339.",
    ),
    "timestamp_out_of_range": Advice(
        "`timestamp` is before 1970, or more than ten years ahead. Mostly it is milliseconds.",
        "Send seconds, not milliseconds.",
    ),
    "unknown_organization": Advice(
        "The event names no organization, and there is no default one.",
        "Send `organization_id`, or set `METER_DEFAULT_ORGANIZATION_ID` before the first start.",
    ),
    "too_large": Advice(
        "The event is over a limit of `meter limits`: its bytes, an id, its levels or its values.",
        "Send less in one event. `meter-left-out` names what only the raw record has.",
    ),
    "invalid_correction": Advice(
        "A correction names no event, or its new event is none.",
        "Use `meter events cancel` or `meter events amend`, which check it first.",
    ),
    "many_refused": Advice(
        "Of one record so many events were refused that one letter stands for all of them.",
        "Look at `meter-refused`, which counts them by code; mend the record; send it anew.",
    ),
    "too_late": Advice(
        "The event, or a copy of it, came after the late window of the period that holds it.",
        "If `meter trace` shows no copy that counts: credit or charge it by hand.",
    ),
    "period_closed": Advice(
        "`late_policy` is `refuse`, and the period that holds the event, or its copy, is closed.",
        "If `meter trace` shows no copy that counts: credit or charge it by hand, or let "
        "late events count from now on: `late_policy` `revise`.",
    ),
    "conflicting_duplicate": Advice(
        "An event of that `transaction_id` is there already, with another body or time.",
        "Use a new id for a new event. To change the first one: `meter events amend`.",
    ),
    "set_aside": Advice(
        "The record was named as one that no fold looks at.",
        "Find out why: `meter set-aside list`. `meter set-aside lift` appends it anew.",
    ),
    "beyond_retention": Advice(
        "A correction needs events that retention has deleted from `events-raw`.",
        "Credit or charge it by hand. Keep `events-raw` for ever: `retention.ms` -1.",
    ),
    "organization_not_allowed": Advice(
        "The producer may not send for that organization, or may not correct or admit.",
        "See `producer_trust` in `docs/THREATS.md`; use a key of the organization.",
    ),
}

NOT_COUNTED: Final = {
    "unknown_code": Advice(
        "No metric has the code.",
        "Define the metric, or mend the producer. Kept events count from then on.",
    ),
    "unknown_subscription": Advice(
        "No subscription has the id.",
        "Create it with its true `subscription_at`. Kept events count from then on.",
    ),
    "no_charge": Advice(
        "The plan has no charge of the metric.",
        "Add the charge. Kept events count in every period that is not published.",
    ),
    "outside_periods": Advice(
        "The timestamp is before the subscription starts, or after it has ended.",
        "Check the timestamp, and the start of the subscription.",
    ),
    "pending": Advice(
        "The subscription has not started yet.",
        "Nothing: it counts once a period holds its timestamp.",
    ),
    "missing_property": Advice(
        "The property that the metric reads is absent or empty.",
        "Amend the event: `meter events amend`; mend the producer.",
    ),
    "not_numeric": Advice(
        "The property should be a number and is none.",
        "Amend the event; send numbers, or numbers as text.",
    ),
    "invalid_value": Advice(
        "The value is no number that can be kept: more than 38 digits, or no finite one.",
        "Amend the event with a value in range.",
    ),
    "unknown_operation_type": Advice(
        "`operation_type` of a unique count is neither `add` nor `remove`.",
        "Amend the event.",
    ),
    "expression_failed": Advice(
        "The expression of the metric cannot be evaluated; the text says where.",
        "Try it with `POST /api/v1/billable_metrics/evaluate_expression`; mend event or metric.",
    ),
    "expression_too_costly": Advice(
        "The expression costs more than one event may.",
        "Write it shorter: `meter limits` has the figures.",
    ),
    "value_too_long": Advice(
        "A unique value, or the text of a group, is longer than it may be.",
        "Send a shorter value: `meter limits` has the figure.",
    ),
    "too_many_groups": Advice(
        "The charge has as many groups in the period as it may have.",
        "Group by something of fewer values, or raise `METER_MAX_GROUPS`.",
    ),
}
