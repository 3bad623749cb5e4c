"""The objects that the definitions log describes. All immutable: a change makes a new version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from app.billing_periods.grid import BillingTime, Interval
from app.definitions.aggregation_types import AGGREGATION_TYPES, AggregationType

ALL_FILTER_VALUES = "__ALL_FILTER_VALUES__"
TARGET_WALLET_KEY = "target_wallet_code"
"""The property that names the wallet an event is for."""
DEFAULT_TIMEZONE = "UTC"
MAX_DAYS = 36_500
"""Longest wait a setting may have, in days: due times then stay before the year 9999."""
MAX_WAIT_S = MAX_DAYS * 86_400

FOLD_VERSION = 2
"""Version of everything that shapes a figure or a record; state of a newer one is refused."""

EXACT_ENDS = 4
"""An upgrade may come where a period ends, and no move makes one of hours."""
WHOLE_ENDS = 5
"""An upgrade that comes where a period ends leaves none of what recurs to the next plan.

And no move makes a period of 26 hours.
"""

ClosingReason = Literal["period_end", "termination", "plan_change"]
"""Why a period of a subscription ended."""

SubscriptionStatus = Literal["pending", "active", "terminated", "canceled"]
RoundingFunction = Literal["round", "ceil", "floor"]
WeightedInterval = Literal["seconds"]
Partitioner = Literal["crc32", "murmur2"]
"""Hash that finds the partition of a key: that of librdkafka, or of the Java client."""

LatePolicy = Literal["revise", "refuse"]
"""What becomes of an event after due time."""

OnTermination = Literal["generate", "skip"]
"""What a termination does about the period that it ends."""


class MetricFilter(msgspec.Struct, frozen=True):
    """One dimension of a metric: a property key and the values it may take."""

    key: str
    values: tuple[str, ...]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A billable metric (metering-semantics §1)."""

    id: str
    organization_id: str
    code: str
    name: str
    aggregation_type: AggregationType
    description: str | None = None
    field_name: str | None = None
    expression: str | None = None
    recurring: bool = False
    rounding_function: RoundingFunction | None = None
    rounding_precision: int | None = None
    weighted_interval: WeightedInterval | None = None
    filters: tuple[MetricFilter, ...] = ()
    created_at_ms: int
    counts_after_ms: int = -1
    """Events appended until then never count: an earlier metric of the code was deleted then."""

    @property
    def allowed_values(self) -> dict[str, frozenset[str]]:
        """Values that filters of a charge may name, by key."""
        return {each.key: frozenset(each.values) for each in self.filters}


class ChargeFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket of a charge: property values that select events. List order in the charge is age."""

    id: str
    values: Mapping[str, tuple[str, ...]]
    invoice_display_name: str | None = None
    properties: Mapping[str, Any] = {}


def listed_group_keys(properties: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the property keys that a charge or a bucket groups by, in the listed order."""
    # `grouped_by` is what `pricing_group_keys` was called before.
    keys = properties.get("pricing_group_keys") or properties.get("grouped_by") or ()
    if not isinstance(keys, (list, tuple)):
        return ()
    return tuple(key for key in keys if isinstance(key, str))


def listed_presentation_keys(properties: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the property keys that the usage of a charge is also shown by, in the listed order."""
    keys = properties.get("presentation_group_keys") or ()
    if not isinstance(keys, (list, tuple)):
        return ()
    values = (key.get("value") for key in keys if isinstance(key, Mapping))
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str) and value))


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A metric applied by a plan. `properties` are echoed; only what groups by them is used."""

    id: str
    metric_id: str
    code: str
    charge_model: str
    created_at_ms: int
    number: int = 0
    """Greater than those of the charges of the plan that were made before it."""
    parent_id: str | None = None
    """Id of the charge of the parent plan that it is a copy of."""
    invoice_display_name: str | None = None
    pay_in_advance: bool = False
    prorated: bool = False
    invoiceable: bool = True
    regroup_paid_fees: str | None = None
    min_amount_cents: int = 0
    accepts_target_wallet: bool = False
    properties: Mapping[str, Any] = {}
    filters: tuple[ChargeFilter, ...] = ()

    def is_billed_at_once(self, metric: Metric) -> bool:
        """Return True if each event is billed when it comes: the charge is paid in advance."""
        return self.pay_in_advance and AGGREGATION_TYPES[metric.aggregation_type].in_advance

    def group_keys(self, bucket: ChargeFilter | None) -> tuple[str, ...]:
        """Return the keys that a bucket groups by; None is the default bucket.

        A filter's own keys hold in its bucket, also when it has none and the charge has some. Where
        the charge accepts a target wallet, every bucket is split by it as well.
        """
        texts = listed_group_keys(self.properties if bucket is None else bucket.properties)
        if self.accepts_target_wallet and TARGET_WALLET_KEY not in texts:
            return (*texts, TARGET_WALLET_KEY)
        return texts

    def presentation_keys(self, bucket: ChargeFilter | None) -> tuple[str, ...]:
        """Return the keys that usage of a bucket is also shown by, beside those that group it."""
        keys = listed_presentation_keys(self.properties)
        if not keys:
            return ()
        grouping = self.group_keys(bucket)
        return tuple(key for key in keys if key not in grouping)

    @property
    def presents(self) -> bool:
        """Whether its usage is also shown by other keys than those that group it."""
        return bool(listed_presentation_keys(self.properties))


AlertType = Literal["billable_metric_current_usage_units", "billable_metric_lifetime_usage_units"]


class AlertThreshold(msgspec.Struct, frozen=True):
    """Units at which an alert is triggered; a recurring one is a step that is reached again."""

    code: str | None
    value: Decimal
    recurring: bool = False


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A wish to be told when the usage of a metric reaches thresholds; it outlives plans."""

    id: str
    organization_id: str
    external_subscription_id: str
    alert_type: AlertType
    code: str
    name: str | None = None
    metric_id: str
    thresholds: tuple[AlertThreshold, ...]
    created_at_ms: int

    @property
    def is_of_life(self) -> bool:
        """Whether it is about all usage since its subscription began."""
        return self.alert_type == "billable_metric_lifetime_usage_units"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan: an interval and a list of charges. Prices are stored and echoed, never computed."""

    id: str
    organization_id: str
    code: str
    name: str
    interval: Interval
    amount_cents: int
    amount_currency: str
    created_at_ms: int
    pay_in_advance: bool = False
    description: str | None = None
    invoice_display_name: str | None = None
    trial_period: float | None = None
    bill_charges_monthly: bool | None = None
    bill_fixed_charges_monthly: bool | None = None
    charges: Sequence[Charge] = ()
    metadata: Mapping[str, Any] | None = None
    parent_id: str | None = None
    """Id of the plan that it is a copy of, for one subscription with terms of its own."""

    @property
    def items(self) -> int:
        """How many items of a step it is: itself, its charges and their filters."""
        return 1 + sum(1 + len(charge.filters) for charge in self.charges)


class Customer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A customer. `attributes` holds the fields that are only echoed (name, currency …)."""

    id: str
    organization_id: str
    external_id: str
    created_at_ms: int
    updated_at_ms: int
    timezone: str | None = None
    grace_days: int | None = None
    """`billing_configuration.invoice_grace_period`; None means the organization's."""
    attributes: Mapping[str, Any] = {}


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """What an organization says of itself; its one billing entity is the same object."""

    id: str
    created_at_ms: int
    updated_at_ms: int
    timezone: str = DEFAULT_TIMEZONE
    """The timezone of customers that have none of their own."""
    grace_days: int | None = None
    """Grace of customers that have none of their own; None means the settings' grace_s."""
    attributes: Mapping[str, Any] = {}


SignatureAlgorithm = Literal["jwt", "hmac"]
SIGNATURE_ALGORITHMS: tuple[SignatureAlgorithm, ...] = ("jwt", "hmac")

WEBHOOK_TYPES = (
    "billable_metric.created",
    "billable_metric.updated",
    "billable_metric.deleted",
    "plan.created",
    "plan.updated",
    "plan.deleted",
    "customer.created",
    "customer.updated",
    "subscription.started",
    "subscription.updated",
    "subscription.terminated",
    "subscription.canceled",
    "subscription.termination_alert",
    "event.error",
    "events.errors",
    "alert.triggered",
    "fee.created",
)
"""All that `meter webhooks` tells."""


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A URL that an organization wants to be told at. The engine does nothing by it."""

    id: str
    organization_id: str
    webhook_url: str
    created_at_ms: int
    signature_algo: SignatureAlgorithm = "jwt"
    name: str | None = None
    event_types: tuple[str, ...] | None = None
    """Some of `WEBHOOK_TYPES`; None: all."""

    def wants(self, webhook_type: str) -> bool:
        """Return True if the endpoint is to be told of a type."""
        return self.event_types is None or webhook_type in self.event_types


class Subscription(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One subscription. Its status at a moment follows from its times; nothing schedules a change.

    Pending before `started_at_ms`, terminated from `terminated_at_ms` (exclusive end of its usage).
    """

    id: str
    organization_id: str
    external_id: str
    external_customer_id: str
    plan_id: str
    billing_time: BillingTime
    subscription_at_ms: int
    started_at_ms: int
    created_at_ms: int
    name: str | None = None
    ending_at_ms: int | None = None
    """A wished end; it ends the subscription unless `terminated_at_ms` is earlier."""
    terminated_at_ms: int | None = None
    canceled_at_ms: int | None = None
    """Set when a pending subscription was canceled: it never had usage."""
    replaced_by: str | None = None
    """Id of the subscription that takes its place: the end is a plan change."""
    previous_subscription_id: str | None = None
    upgraded: bool = False
    """True when `replaced_by` has a plan at least as dear: the end was immediate."""
    parent_plan_id: str | None = None
    """Id of the plan that its own plan is a child of."""
    activated_at_ms: int | None = None
    """When it became active, if not at its start: one that starts later today is active at once."""
    on_termination_invoice: OnTermination = "generate"
    """`skip`: a termination publishes nothing of the period that it ends."""
    superseded_at_ms: int | None = None
    """Start of a later subscription that has all of its usage from then on; None: there is none."""

    @property
    def usage_end_ms(self) -> int | None:
        """Exclusive end of what counts in it, in ms, or None while it has no end."""
        superseded_ms = self.superseded_at_ms
        if superseded_ms is None:
            return self.end_ms
        end_ms = self.end_ms
        return None if end_ms is None else min(end_ms, superseded_ms)

    @property
    def end_ms(self) -> int | None:
        """Exclusive end of usage in ms, or None while it has no end."""
        ending_ms, terminated_ms = self.ending_at_ms, self.terminated_at_ms
        if ending_ms is None or terminated_ms is None:
            return terminated_ms if ending_ms is None else ending_ms
        return min(ending_ms, terminated_ms)

    @property
    def plan_ids(self) -> tuple[str, ...]:
        """Ids of the plans that it counts for: its own, and the parent of that."""
        if self.parent_plan_id is None:
            return (self.plan_id,)
        return self.plan_id, self.parent_plan_id

    @property
    def active_from_ms(self) -> int:
        """When its status becomes active; usage counts from `started_at_ms`."""
        if self.activated_at_ms is None:
            return self.started_at_ms
        return min(self.activated_at_ms, self.started_at_ms)

    def status_at(self, at_ms: int) -> SubscriptionStatus:
        """Return the status at a moment (ms)."""
        if self.canceled_at_ms is not None:
            return "canceled"
        end_ms = self.end_ms
        if end_ms is not None and end_ms <= at_ms:
            return "terminated"
        return "active" if self.active_from_ms <= at_ms else "pending"


class HistoryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Makes published periods fold under the definitions at this record (records-and-cuts §7)."""

    organization_id: str
    metric_ids: tuple[str, ...] = ()
    charge_ids: tuple[str, ...] = ()
    from_ms: int
    to_ms: int
    """Periods that start in [from_ms, to_ms)."""
    append_time_ms: int
    offset: int

    def covers(self, start_ms: int, due_at_ms: int) -> bool:
        """Return True for a period of its range that had its first cut before this record."""
        return self.from_ms <= start_ms < self.to_ms and due_at_ms < self.append_time_ms

    def names(self, charge: Charge) -> bool:
        """Return True if the record names a charge, what it is a copy of, or its metric."""
        named = charge.id in self.charge_ids or charge.metric_id in self.metric_ids
        return named or charge.parent_id in self.charge_ids


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """Raw records, or one element of a raw record, that nothing counts."""

    id: str
    """Id of the command that set it aside."""
    partition: int
    offset: int
    count: int
    """Number of offsets from `offset` on, with or without a record at each."""
    index: int | None
    """Index of the element in the record's array; None: the records as a whole."""
    code: str
    message: str
    append_time_ms: int


class Lift(msgspec.Struct, frozen=True, kw_only=True):
    """Takes the set-aside record with this id off the list."""

    id: str


class Grant(msgspec.Struct, frozen=True):
    """Permission for raw records of exactly these bytes to correct and to admit events."""

    sha256: bytes
    """Digest of the raw record, from `app.wire.grants.digest_of`."""


ProducerTrust = Literal["claimed", "topic", "header"]


class SettingsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that shape bytes: part of the definitions log, never of a worker's environment."""

    home_partitioner: Partitioner = "crc32"
    close_grid_s: int = 60
    revise_every_s: int = 3600
    late_window_s: int = 40 * 86_400
    late_policy: LatePolicy = "revise"
    grace_s: int = 0
    close_elapsed: bool = True
    implicit_plan: bool = False
    max_groups: int = 10_000
    default_organization_id: str | None = None
    fold_version: int = FOLD_VERSION
    """Rules and records of an earlier version hold until a record with a later one."""
    tzdata_version: str = ""
    input_limits: int = 0
    """1: raw records appended after this one keep to `app.bounds.limits`.

    0: as before there were any limits. 2: results of expressions are rounded as well. 3: an empty
    text bills nothing at once. 4 and 5: `end_rules`, for periods that are fixed after this record.
    5: expressions write numbers as Lago does, and usage-changed tells of no alert.
    """
    producer_trust: ProducerTrust = "claimed"
    """Source of a raw record's organization: the record, the default organization or a gateway."""
    producers_may_correct: bool = True
    producers_may_admit: bool = True
    """False: a raw record needs a grant to correct or to admit.

    A change of trust holds for raw records appended `TRUST_AFTER_MS` after it.
    """
    usage_changed: bool = False
    """True: usage-changed tells whose usage has changed. A change holds from the next cut on."""
    daily_records: bool = False
    """True: usage-daily has a record a day of each cell. A change holds from the next cut on."""

    @property
    def writes_as_lago(self) -> bool:
        """Whether expressions write numbers as Lago does, of events that come now."""
        return self.input_limits >= 5

    @property
    def changes_without_alerts(self) -> bool:
        """Whether usage-changed passes over what only an alert asks for."""
        return self.input_limits >= 5

    @property
    def end_rules(self) -> int:
        """The number by which periods end: `EXACT_ENDS`, `WHOLE_ENDS`, or 0, those of before."""
        return self.input_limits if self.input_limits >= EXACT_ENDS else 0
