"""Cause and cure of every code that a producer or a caller may meet; the reference prints them."""

from __future__ import annotations

from typing import Final

from app.page.causes import Advice
from app.webhooks.reasons import Reason

ANSWERS: Final = {
    "validation_errors": Advice(
        "422: fields of the body are wrong.", "`error_details` names each; see the table below."
    ),
    "feature_unavailable": Advice(
        "403: a thing of Lago that this product has not.", "See `docs/from-lago.md`."
    ),
    "endpoint_not_available": Advice(
        "403: a route of Lago that this product has not.", "Use the route that the text names."
    ),
    "write_action_not_allowed_for_": Advice(
        "403: the key may only read.", "Use a key with `access` `write`."
    ),
    "operator_access_required": Advice(
        "403: only an operator may ask that.", "Use a key with `access` `operator`."
    ),
    "organization_not_allowed": Advice(
        "403: the key is not of that organization, or nothing in the log is vouched for.",
        "Use its own key; an operator names one in `Meter-Organization`.",
    ),
    "page_header_missing": Advice(
        "403: a write without a key came without the header `Meter-Page`.",
        "Send a key.",
    ),
    "_not_found": Advice(
        "404: nothing has that name: `plan_not_found`, `subscription_not_found` and so on.",
        "Look at the list; a subscription may have another `status`.",
    ),
    "method_not_allowed": Advice(
        "405: the path takes other methods.", "The header `Allow` names them."
    ),
    "no_active_subscription": Advice(
        "405: the customer has no such subscription that runs.",
        "Ask `past_usage`, or create the subscription.",
    ),
    "full_usage_not_allowed": Advice(
        "405: `full_usage` was asked together with what it excludes.", "Ask for one of them."
    ),
    "request_timeout": Advice("408: the request did not come whole in time.", "Send it again."),
    "length_required": Advice(
        "411: neither a length nor chunks say where the body ends.", "Send `Content-Length`."
    ),
    "too_large": Advice(
        "413: the body, or the record made of it, is over the limit.",
        "Send less at once; `error_details` names the limit.",
    ),
    "content_encoding_not_supported": Advice(
        "415: the body is compressed.", "Send it uncompressed."
    ),
    "misdirected_request": Advice(
        "421: the worker was called by a name that is not its own.",
        "Call it by `METER_ADVERTISED_URL`, `localhost` or a loopback address.",
    ),
    "beyond_retention": Advice(
        "422: events that are needed are deleted from the raw topic.",
        "Nothing brings them back; the published records stay.",
    ),
    "cannot_be_set_aside": Advice(
        "422: the records are folded, so they may be published.",
        "Cancel their events: `meter events cancel`.",
    ),
    "set_aside": Advice(
        "422: the event is among records that no fold looks at.",
        "`meter set-aside lift` appends them anew.",
    ),
    "invalid_record": Advice(
        "422: a record of the definitions log is none.", "Tell us: no request makes one."
    ),
    "too_many_requests": Advice(
        "429: the organization's queue is full, or its key asks more than it may.",
        "Wait as long as `Retry-After` says.",
    ),
    "head_too_large": Advice(
        "431: the request line or the headers are over the limit.", "Send shorter ones."
    ),
    "internal_error": Advice("500: a defect of ours; the log of the worker has it.", "Tell us."),
    "temporarily_unavailable": Advice(
        "503: the partition is being taken over, or Kafka or a worker does not answer.",
        "Send the same again after `Retry-After`. A write may have been taken nevertheless, if "
        "Kafka had it and could not say so.",
    ),
    "not_folded_yet": Advice(
        "503: `wait_for` names a record that is not folded yet.", "Ask again."
    ),
    "time_budget_exceeded": Advice(
        "503: a scan took longer than it may.", "Ask for a shorter time or fewer events."
    ),
    "too_many_connections": Advice(
        "503: the worker has as many connections as it takes.", "Close some, or add workers."
    ),
}

WEBHOOKS: Final = {
    Reason.STATUS: Advice(
        "It answered another status than 200, 201, 202 or 204; the number stands behind it.",
        "The owner of the endpoint finds out why. A redirect (3xx): name the place it leads to.",
    ),
    Reason.NO_ANSWER: Advice(
        "No connection, or no answer, within 30 seconds.",
        "The owner looks for what drops packets, or answers before it does its work.",
    ),
    Reason.NAME_NOT_FOUND: Advice(
        "The name server of this machine does not know the host.",
        "Mend the host in the URL of the endpoint, or the name server.",
    ),
    Reason.REFUSED: Advice(
        "Nothing takes connections on that host and port.",
        "The owner starts it, or mends the port in the URL.",
    ),
    Reason.UNREACHABLE: Advice(
        "No way leads from this machine to the host.",
        "Look at routes, firewall and network policy of where the process runs.",
    ),
    Reason.NO_SOCKET: Advice(
        "This machine gives the process no further socket.",
        "Raise the limit of open files (`ulimit -n`) where the process runs.",
    ),
    Reason.CERTIFICATE: Advice(
        "Nobody whom this machine trusts vouches for the certificate, it is for another host, or "
        "it has expired.",
        "The owner renews it; an authority of one's own is named in `SSL_CERT_FILE`.",
    ),
    Reason.TLS: Advice(
        "There was no agreement on TLS. Mostly the port speaks plain HTTP.",
        "Mend the scheme or the port in the URL, or the versions of TLS there.",
    ),
    Reason.BROKEN_OFF: Advice(
        "The connection ended before the answer was whole.",
        "The owner finds out what closes it: a restart, a proxy, a limit of size.",
    ),
    Reason.NO_HTTP: Advice(
        "What came back is no HTTP.", "Mend the port in the URL: another program listens there."
    ),
    Reason.NO_URL: Advice("The URL names no host or port.", "Mend the URL of the endpoint."),
    Reason.FULL: Advice(
        "5,000 deliveries or 32 MiB wait for an endpoint that is slow or fails.",
        "The owner makes it answer within a second, or takes fewer `event_types`.",
    ),
    Reason.NO_HMAC_KEY: Advice(
        "The endpoint wants `hmac`, and its organization has no key.",
        "Set `METER_WEBHOOK_HMAC_KEYS`, and start the process again.",
    ),
    Reason.NO_PRIVATE_KEY: Advice(
        "The endpoint wants `jwt`, and there is no private key.",
        "Set `METER_WEBHOOK_PRIVATE_KEY_FILE`, and start the process again.",
    ),
}

FIELDS: Final = {
    "value_is_mandatory": Advice("The field is missing or empty.", "Send it."),
    "value_is_invalid": Advice("The value is none that the field can have.", "Send another one."),
    "value_is_out_of_range": Advice("The number is too large or too small.", "Send another one."),
    "value_already_exist": Advice("Another object has that code or id.", "Choose another one."),
    "value_already_exists": Advice("A filter of these values is there.", "Change that one."),
    "value_cannot_be_changed": Advice("The field stays as it was made.", "Leave it out."),
    "value_is_too_long": Advice("The text is over the limit.", "`meter limits` has the figure."),
    "value_is_duplicated": Advice("A value stands twice.", "Name it once."),
    "value_is_not_valid_number": Advice("The value is no number.", "Send a number."),
    "invalid_date": Advice("No date, or one that cannot be.", "Send ISO 8601."),
    "invalid_timezone": Advice("No timezone of that name is known.", "Send an IANA name."),
    "invalid_email_format": Advice("An email is none.", "Send one, or several between commas."),
    "language_code_invalid": Advice(
        "No document is in the language.", "Send en, fr, nb, de, it, es, sv, pt-BR or zh-TW."
    ),
    "not_a_valid_country_code": Advice("No country has the code.", "Send one of ISO 3166."),
    "invalid_value": Advice("The value is none of those allowed.", "The description names them."),
    "invalid_format": Advice("The value has another form than it needs.", "See `/openapi.json`."),
    "invalid_type": Advice("The value is of another type than it needs.", "See `/openapi.json`."),
    "invalid_types": Advice("A value in the list is not known.", "The description names them."),
    "invalid_amount": Advice("The price is no decimal.", "Send a decimal as text."),
    "invalid_expression": Advice(
        "The expression cannot be read, or is too long.",
        "Try it with `evaluate_expression`.",
    ),
    "invalid_event": Advice("The event cannot be evaluated.", "Look at the expression's fields."),
    "invalid_correction": Advice("The correction names no event.", "See `/openapi.json`."),
    "invalid_billable_metric_or_charge_model": Advice(
        "The charge model does not go with the metric.", "Choose another charge model."
    ),
    "invalid_aggregation_type_or_charge_model": Advice(
        "The charge model does not go with the aggregation type.", "Choose another one."
    ),
    "not_compatible_with_aggregation_type": Advice(
        "The aggregation type cannot be recurring.", "See `docs/aggregations.md`."
    ),
    "not_compatible_with_pay_in_advance": Advice(
        "A charge paid in advance has no minimum.", "Leave `min_amount_cents` out."
    ),
    "must_be_true_unless_pay_in_advance": Advice(
        "Only a charge paid in advance may be not invoiceable.", "Leave `invoiceable` out."
    ),
    "only_compatible_with_pay_in_advance_and_non_invoiceable": Advice(
        "Fees are regrouped of such charges only.", "Leave `regroup_paid_fees` out."
    ),
    "must be nil when has_customer_type is false": Advice(
        "A customer without a type has none of these types.", "Leave one of the two out."
    ),
    "must_be_array": Advice("The value is no list.", "Send a list."),
    "relation_must_exist": Advice("What it names is not there.", "Create that first."),
    "currencies_does_not_match": Advice(
        "A worker of before kept the currency of a customer with subscriptions.",
        "Send it to a worker of now.",
    ),
    "exceeded_limit": Advice("There are as many as there may be.", "Delete one first."),
    "url_invalid": Advice("No URL that webhooks may go to.", "Send an https URL."),
    "cannot_be_applied": Advice("No worker can apply it: a defect of ours.", "Tell us."),
    "alert_already_exists": Advice("An alert of that code is there.", "Change that one."),
    "duplicate_threshold_values": Advice("A threshold stands twice.", "Name it once."),
    "too_many_thresholds": Advice("An alert has at most 20 thresholds.", "Send fewer."),
    "too_many_events": Advice("The batch has more events than it may.", "Send at most 100."),
    "too_many_groups": Advice("The answer would show too many groups.", "Ask for fewer periods."),
    "too_many_keys": Advice("At most two keys present usage.", "Name two."),
    "limit_is_": Advice("It is over a limit, which the code names.", "Send less."),
    "more_than_": Advice("The answer would have more than the code names.", "Ask for less."),
    "must_be_before_to": Advice("`from` is not before `to`.", "Ask for a range that has a length."),
    "only_with_revisions": Advice(
        "The parameter reads all revisions.", "Ask with `revisions=true`."
    ),
    "not_published": Advice(
        "Nothing that is asked about was published in that revision.",
        "Ask `GET /usage_records` with `revisions=true` which there are.",
    ),
    "not_searchable": Advice(
        "The reason is known only when an event is shown: a copy, or one too late for the period.",
        "Ask by `status`, and look at the reasons of what is listed.",
    ),
    "range_too_wide": Advice("The range is longer than one answer may read.", "Ask by parts."),
    "no_events": Advice("The batch is empty.", "Send an event."),
    "feature_not_available": Advice("Lago has it, this product has not.", "Leave it out."),
    "recurring_value_is_negative": Advice("A recurring step is above 0.", "Send another one."),
    "does_not_match_an_instant_charge": Advice(
        "No charge of the metric is paid in advance.", "Send an event of one that is."
    ),
    "cannot be used with timestamp_from_started_at": Advice(
        "Both say where the list begins.", "Send one of them."
    ),
    "required with timestamp_from_started_at": Advice(
        "Which subscription's start is meant?", "Send `external_subscription_id`."
    ),
}
